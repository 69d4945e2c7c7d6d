//! Identifiers and tokens in Salesforce's formats.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac as _};
use sha2::{Digest as _, Sha256};

/// SHA-256 of a token: the key under which refresh tokens are kept.
pub(crate) type Digest = [u8; 32];

const TOKEN_ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._";
const SUFFIX_ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ012345";
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Adds the three characters of the case checksum to a 15-character id.
pub(crate) fn to_18(id: &str) -> String {
    let mut out = String::with_capacity(18);
    out.push_str(id);
    for group in id.as_bytes().chunks(5) {
        let index = group.iter().enumerate().fold(0_usize, |bits, (place, byte)| {
            bits | (usize::from(byte.is_ascii_uppercase()) << place)
        });
        out.push(char::from(SUFFIX_ALPHABET[index & 31]));
    }
    out
}

/// The 15-character form of an id, if it is one of 15 characters, or of 18 with the right checksum.
pub(crate) fn to_15(id: &str) -> Option<&str> {
    if !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    match id.len() {
        15 => Some(id),
        18 => id.get(..15).filter(|short| to_18(short).eq_ignore_ascii_case(id)),
        _ => None,
    }
}

/// A record id: key prefix, a pod of two characters, and a running number in base 62.
pub(crate) fn record_id(prefix: &str, pod: &str, number: u64) -> String {
    let mut digits = [b'0'; 10];
    let mut rest = number;
    for place in digits.iter_mut().rev() {
        let digit = usize::try_from(rest % 62).unwrap_or(0);
        *place = BASE62[digit];
        rest /= 62;
    }
    let mut short = String::with_capacity(15);
    short.push_str(prefix);
    short.push_str(pod);
    short.extend(digits.iter().map(|byte| char::from(*byte)));
    to_18(&short)
}

/// Random characters of the token alphabet; six random bits each.
pub(crate) fn random(length: usize) -> String {
    let mut bytes = vec![0_u8; length];
    if getrandom::fill(&mut bytes).is_err() {
        // A stand-in for tests may continue with weak tokens, but never with equal ones.
        weak_fill(&mut bytes);
    }
    bytes
        .iter()
        .map(|byte| char::from(TOKEN_ALPHABET[usize::from(byte & 63)]))
        .collect()
}

fn weak_fill(bytes: &mut [u8]) {
    use std::hash::{BuildHasher as _, RandomState};
    for chunk in bytes.chunks_mut(8) {
        let random = RandomState::new().hash_one(chunk.len()).to_le_bytes();
        chunk.copy_from_slice(&random[..chunk.len()]);
    }
}

/// An access token of an org: `00D…!…`, about 112 characters.
pub(crate) fn access_token(org15: &str) -> String {
    let mut token = String::with_capacity(112);
    token.push_str(org15);
    token.push_str("!AQ");
    token.push_str(&random(94));
    token
}

/// A refresh token: `5Aep861…`.
pub(crate) fn refresh_token() -> String {
    let mut token = String::from("5Aep861");
    token.push_str(&random(80));
    token
}

/// An authorization code: `aPrx…==`.
pub(crate) fn code() -> String {
    let mut code = String::from("aPrx");
    code.push_str(&random(74));
    code.push_str("==");
    code
}

/// SHA-256 of a text.
pub(crate) fn digest(text: &str) -> Digest {
    Sha256::digest(text.as_bytes()).into()
}

/// The first 16 hexadecimal digits of a digest: identifies a token in the log without revealing it.
pub(crate) fn fingerprint(digest: &Digest) -> String {
    hex(&digest[..8])
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut out = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        out.push(char::from(DIGITS[usize::from(byte >> 4)]));
        out.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    out
}

/// The `signature` of a token answer: HMAC-SHA256 of identity URL and `issued_at`, keyed with the client's secret.
pub(crate) fn signature(secret: &str, id: &str, issued_at: &str) -> String {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else {
        return String::new();
    };
    mac.update(id.as_bytes());
    mac.update(issued_at.as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_agree_with_published_ids() {
        for id in [
            "001D000000IqhSLIAZ",
            "001R00000064wdtIAA",
            "003RO0000035WQgYAM",
            "001D000000IRFmaIAH",
        ] {
            assert_eq!(to_18(&id[..15]), id);
            assert_eq!(to_15(id), Some(&id[..15]));
        }
        assert_eq!(to_15("001D000000IqhSLIAA"), None);
        assert_eq!(to_15("001D000000IqhS-"), None);
    }

    #[test]
    fn the_signature_has_the_known_value() {
        let id = "https://login.salesforce.com/id/00D5g00000A1b2CEAR/0055g00000D4e5FAAR";
        let signature = signature("EXAMPLESECRET", id, "1795334400123");
        assert_eq!(signature, "0gZY4A+qDtR0gynpZNknKYSYDtYj22X3HFBcXXrWh9k=");
    }

    #[test]
    fn tokens_have_the_wire_shapes() {
        let access = access_token("00D5g00000A1b2C");
        assert_eq!(access.len(), 112);
        assert!(access.starts_with("00D5g00000A1b2C!AQ"));
        assert!(refresh_token().starts_with("5Aep861"));
        assert!(code().ends_with("=="));
        assert_eq!(record_id("003", "5g", 61).len(), 18);
        assert_ne!(random(40), random(40));
    }
}
