//! The `state` parameter, which ties a callback to its attempt (RFC 6749 section 10.12).

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::{
    error::{Code, Error},
    random,
    secret::Secret,
};

/// 256 random bits in base64url: 43 characters.
const LENGTH: usize = 43;

/// A well-formed state. Whether it is known, the store decides.
///
/// Only its [`digest`](State::digest) is stored, so that reading the store does not enable anyone to finish an attempt.
#[derive(Debug, PartialEq, Eq)]
pub struct State(Secret);

impl State {
    /// A new state.
    ///
    /// # Errors
    /// If the operating system gives no randomness.
    pub fn generate() -> Result<Self, Error> {
        let bits = Zeroizing::new(random::bytes::<32>()?);
        Ok(Self(Secret::new(URL_SAFE_NO_PAD.encode(bits))))
    }

    /// Checks the form of a state that came back.
    ///
    /// # Errors
    /// [`Code::StateMalformed`] if it does not have the form of our states.
    pub fn parse(text: &str) -> Result<Self, Code> {
        let ours = text.len() == LENGTH
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if ours {
            Ok(Self(Secret::new(text)))
        } else {
            Err(Code::StateMalformed)
        }
    }

    /// The state as it travels through the browser.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }

    /// SHA-256 of the state: the key under which the attempt is stored.
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(self.0.expose()).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_is_well_formed_and_new() {
        let (a, b) = (State::generate().unwrap(), State::generate().unwrap());
        assert_ne!(a, b);
        assert_ne!(a.digest(), b.digest());
        let back = State::parse(a.expose()).unwrap();
        assert_eq!(back.digest(), a.digest());
        assert_eq!(format!("{a:?}"), "State([redacted])");
    }
}
