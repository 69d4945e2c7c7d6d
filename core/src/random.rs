//! Randomness, from the operating system only: a generator in user space could be duplicated by a snapshot or a fork.
//! A simulation that must replay is the exception, and asks for it.

/// The operating system gave no randomness.
#[derive(Debug, thiserror::Error)]
#[error("the operating system gave no randomness")]
pub(crate) struct NoRandomness(#[source] getrandom::Error);

/// `N` random bytes.
pub(crate) fn bytes<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    #[cfg(feature = "simulation")]
    if seeded::fill(&mut bytes) {
        return Ok(bytes);
    }
    getrandom::fill(&mut bytes).map_err(NoRandomness)?;
    Ok(bytes)
}

/// A random id of 128 bits.
pub(crate) fn id() -> Result<u128, NoRandomness> {
    Ok(u128::from_le_bytes(bytes()?))
}

/// An id that follows from this thread's seed, if it has one.
pub(crate) fn seeded_uuid() -> Option<uuid::Uuid> {
    #[cfg(feature = "simulation")]
    {
        let mut bytes = [0; 16];
        if seeded::fill(&mut bytes) {
            return Some(uuid::Builder::from_random_bytes(bytes).into_uuid());
        }
    }
    None
}

/// A byte to spread delays with; it guards nothing, so a missing one is no failure.
pub(crate) fn jitter() -> u8 {
    bytes::<1>().map_or(128, |[byte]| byte)
}

/// Bytes that a seed determines, for one thread that asked for them.
#[cfg(feature = "simulation")]
pub(crate) mod seeded {
    use std::cell::Cell;

    thread_local! {
        static STATE: Cell<Option<u64>> = const { Cell::new(None) };
    }

    /// From now on this thread's randomness follows from `seed`, or from nothing again.
    pub(crate) fn seed(seed: Option<u64>) {
        STATE.set(seed);
    }

    /// Fills `bytes` by SplitMix64, if this thread has a seed.
    pub(super) fn fill(bytes: &mut [u8]) -> bool {
        let Some(mut state) = STATE.get() else {
            return false;
        };
        for chunk in bytes.chunks_mut(8) {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^= z >> 31;
            chunk.copy_from_slice(&z.to_le_bytes()[..chunk.len()]);
        }
        STATE.set(Some(state));
        true
    }
}
