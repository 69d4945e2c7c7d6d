//! Proof key for code exchange (RFC 7636), method S256; `plain` is not supported.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::{error::Error, random, secret::Secret};

/// A verifier that stays here until the code is exchanged, and the challenge that travels ahead.
#[derive(Debug)]
pub struct Pkce {
    /// `code_verifier`: 256 random bits in base64url, new for each attempt.
    pub verifier: Secret,
    /// `code_challenge`.
    pub challenge: String,
}

impl Pkce {
    /// A new pair (RFC 7636 section 4.1).
    ///
    /// # Errors
    /// If the operating system gives no randomness.
    pub fn generate() -> Result<Self, Error> {
        let verifier = Secret::new(URL_SAFE_NO_PAD.encode(Zeroizing::new(random::bytes::<32>()?)));
        Ok(Self {
            challenge: challenge(&verifier),
            verifier,
        })
    }
}

/// `code_challenge` of `verifier` for method S256 (RFC 7636 section 4.2).
pub(crate) fn challenge(verifier: &Secret) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.expose()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_7636_appendix_b() {
        let verifier = Secret::new("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
        assert_eq!(
            challenge(&verifier),
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
        );
    }

    #[test]
    fn verifiers_are_new_and_well_formed() {
        let (a, b) = (Pkce::generate().unwrap(), Pkce::generate().unwrap());
        assert_ne!(a.verifier, b.verifier);
        for pair in [a, b] {
            assert_eq!((pair.verifier.expose().len(), pair.challenge.len()), (43, 43));
            assert_eq!(pair.challenge, challenge(&pair.verifier));
        }
    }
}
