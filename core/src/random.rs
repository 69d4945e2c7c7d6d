//! Randomness, from the operating system only: a generator in user space could be duplicated by a snapshot or a fork.

use crate::error::{Code, Error};

/// `N` random bytes.
pub(crate) fn bytes<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| Error::new(Code::VaultUnavailable).because("randomness"))?;
    Ok(bytes)
}

/// A random id of 128 bits.
pub(crate) fn id() -> Result<u128, Error> {
    Ok(u128::from_le_bytes(bytes()?))
}

/// A byte to spread delays with; it guards nothing, so a missing one is no failure.
pub(crate) fn spread() -> u8 {
    bytes::<1>().map_or(128, |[byte]| byte)
}
