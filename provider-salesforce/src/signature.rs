//! The signature of a token response.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use grantry::secret::Secret;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

/// Whether `signature` is the Base64 of HMAC-SHA256 over `id` and `issued_at` under the client secret (Salesforce Help,
/// "OAuth 2.0 Web Server Flow"). It covers neither the tokens nor the instance URL. Compared in constant time.
pub(crate) fn valid(client_secret: &Secret, id: &str, issued_at: &str, signature: &str) -> bool {
    let Ok(signature) = STANDARD.decode(signature) else {
        return false;
    };
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(client_secret.expose().as_bytes()) else {
        return false;
    };
    mac.update(id.as_bytes());
    mac.update(issued_at.as_bytes());
    mac.verify_slice(&signature).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "https://login.salesforce.com/id/00D5g00000A1b2CEAR/0055g00000D4e5FAAR";
    const SIGNATURE: &str = "0gZY4A+qDtR0gynpZNknKYSYDtYj22X3HFBcXXrWh9k=";

    #[test]
    fn known_answer() {
        let secret = Secret::new("EXAMPLESECRET");
        assert!(valid(&secret, ID, "1795334400123", SIGNATURE));
        assert!(!valid(&secret, ID, "1795334400124", SIGNATURE));
        assert!(!valid(&secret, &ID.to_lowercase(), "1795334400123", SIGNATURE));
        assert!(!valid(&Secret::new("other"), ID, "1795334400123", SIGNATURE));
        for bad in [
            "",
            "0gZY",
            "not base64!",
            &SIGNATURE[..43],
            &SIGNATURE.to_lowercase(),
        ] {
            assert!(!valid(&secret, ID, "1795334400123", bad), "{bad}");
        }
    }
}
