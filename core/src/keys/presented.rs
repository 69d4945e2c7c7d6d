//! The format of keys: scanners can recognise a leaked one, and a mistyped one is rejected without asking the store.
//!
//! ```text
//! grantry_api_ | key id, 10 of base62 | _ | secret, 43 of base62 | checksum, 6 of base62
//! ```
//!
//! 43 random characters of base62 hold 256 bits. The checksum is the CRC-32 of all before it; it guards against typing
//! errors and nothing else. One double-click selects the whole key.

use std::fmt;

use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::{
    error::{Code, Error},
    id::KeyId,
    random,
    secret::Secret,
    store::KeyKind,
};

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const PREFIX: usize = 12;
const ID: usize = 10;
const SECRET: usize = 43;
const CHECKSUM: usize = 6;
const BODY: usize = PREFIX + ID + 1 + SECRET;

fn prefix(kind: KeyKind) -> &'static str {
    match kind {
        KeyKind::Api => "grantry_api_",
        KeyKind::Public => "grantry_pub_",
        KeyKind::Admin => "grantry_adm_",
    }
}

/// A presented key: well formed, not yet verified. Prints as its public part.
pub struct PresentedKey {
    kind: KeyKind,
    id: KeyId,
    text: Secret,
}

impl PresentedKey {
    /// Checks length, prefix, alphabet and checksum.
    ///
    /// # Errors
    /// [`Code::KeyMalformed`] if `text` cannot be a key.
    pub fn parse(text: &str) -> Result<Self, Code> {
        Self::read(text).ok_or(Code::KeyMalformed)
    }

    fn read(text: &str) -> Option<Self> {
        let (body, checksum) = text.split_at_checked(BODY)?;
        let kind = [KeyKind::Api, KeyKind::Public, KeyKind::Admin]
            .into_iter()
            .find(|kind| body.starts_with(prefix(*kind)))?;
        let (id, secret) = body.get(PREFIX..)?.split_once('_')?;
        let plain = |part: &str| part.bytes().all(|b| b.is_ascii_alphanumeric());
        let well_formed = id.len() == ID && plain(id) && plain(secret) && checksum.as_bytes() == crc(body);
        if !well_formed {
            return None;
        }
        Some(Self {
            kind,
            id: KeyId::new(id).ok()?,
            text: Secret::new(text),
        })
    }

    /// A new key.
    pub(super) fn generate(kind: KeyKind) -> Result<Self, Error> {
        let mut text = Zeroizing::new(String::with_capacity(BODY + CHECKSUM));
        text.push_str(prefix(kind));
        push_random(&mut text, ID)?;
        text.push('_');
        push_random(&mut text, SECRET)?;
        for character in crc(&text) {
            text.push(char::from(character));
        }
        Self::read(&text).ok_or_else(|| Error::new(Code::Internal))
    }

    /// The kind that it claims.
    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    /// Its public part.
    pub fn id(&self) -> &KeyId {
        &self.id
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.text.expose().as_bytes()
    }

    pub(super) fn into_secret(self) -> Secret {
        self.text
    }

    /// SHA-256 of the whole key.
    pub(super) fn digest(&self) -> [u8; 32] {
        Sha256::digest(self.bytes()).into()
    }
}

impl fmt::Debug for PresentedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", prefix(self.kind), self.id)
    }
}

/// Appends `count` characters, each as likely as any other: bytes past the last multiple of 62 are not used.
fn push_random(text: &mut String, count: usize) -> Result<(), Error> {
    let end = text.len() + count;
    while text.len() < end {
        let bytes = Zeroizing::new(random::bytes::<64>()?);
        let fair = bytes.iter().filter(|byte| **byte < 62 * 4);
        for byte in fair.take(end - text.len()) {
            text.push(char::from(ALPHABET[usize::from(byte % 62)]));
        }
    }
    Ok(())
}

fn crc(body: &str) -> [u8; CHECKSUM] {
    let mut rest = crc32fast::hash(body.as_bytes());
    let mut checksum = [b'0'; CHECKSUM];
    for character in checksum.iter_mut().rev() {
        *character = ALPHABET[rest as usize % ALPHABET.len()];
        rest /= 62;
    }
    checksum
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The form is public: scanners and other programs rely on it.
    const KNOWN: &str = "grantry_api_0123456789_ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopq";

    fn known() -> String {
        let mut text = KNOWN.to_owned();
        text.extend(crc(KNOWN).map(char::from));
        text
    }

    #[test]
    fn keys_that_are_made_are_well_formed_and_new() {
        for kind in [KeyKind::Api, KeyKind::Public, KeyKind::Admin] {
            let (a, b) = (
                PresentedKey::generate(kind).unwrap(),
                PresentedKey::generate(kind).unwrap(),
            );
            assert_ne!(a.digest(), b.digest());
            assert_ne!(a.id(), b.id());
            assert_eq!(a.kind(), kind);
            assert_eq!(a.bytes().len(), 72);
        }
    }

    #[test]
    fn a_known_key_stays_one() {
        assert_eq!(&known()[66..], "4dGAx0");
        let key = PresentedKey::parse(&known()).unwrap();
        assert_eq!((key.kind(), key.id().as_ref()), (KeyKind::Api, "0123456789"));
        assert_eq!(format!("{key:?}"), "grantry_api_0123456789");
    }

    /// The bad inputs A02, A03, A10 and A12, as far as the text of the key goes.
    #[test]
    fn what_is_no_key() {
        let good = known();
        let mut cases = vec![
            String::new(),
            "grantry_api_".into(),
            format!(" {good}"),
            format!("{good} "),
            format!("{good}\n"),
            format!("\"{good}\""),
            format!("Bearer {good}"),
            format!("{good},{good}"),
            "x".repeat(1 << 20),
            "é".repeat(36),
            good.replace("grantry_api_", "grantry_pub_"),
            good.replace("grantry_api_", "grantry_xyz_"),
            good.to_uppercase(),
            good.replace("_ABC", "-ABC"),
            good.replace("_ABC", "A_BC"),
            good.replace('Z', "é"),
        ];
        // A03: every single wrong character is noticed, and every cut.
        for at in 0..good.len() {
            let mut wrong = good.clone().into_bytes();
            wrong[at] = if wrong[at] == b'x' { b'y' } else { b'x' };
            cases.push(String::from_utf8(wrong).unwrap());
            cases.push(good[..at].into());
        }
        for text in cases {
            assert_eq!(
                PresentedKey::parse(&text).err(),
                Some(Code::KeyMalformed),
                "{text}"
            );
        }
    }

    #[test]
    fn characters_are_equally_likely() {
        let mut text = String::new();
        push_random(&mut text, 62_000).unwrap();
        for character in ALPHABET {
            let count = text.bytes().filter(|b| b == character).count();
            // 1000 expected; six standard deviations.
            assert!((810..=1190).contains(&count), "{count}");
        }
    }
}
