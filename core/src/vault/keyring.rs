//! The vault that comes with the broker: master keys in one line of text.

use std::fmt;

use async_trait::async_trait;
use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::{
    Mac, SealContext, TokenVault, VaultError,
    envelope::{self, Envelope, MasterKey},
};
use crate::{
    random,
    secret::{Secret, SecretBytes},
};

/// The length of a key in bytes.
const KEY: usize = 32;
/// 32 random bytes have fewer different values than this about once in 10^20 keys.
const FEWEST_DIFFERENT_BYTES: usize = 12;

const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// Why a line is not a keyring. Keys are named by id, never by their text; where even the id may be a misplaced key, the
/// entry is named by its number.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyringError {
    /// There is no key.
    #[error("no keys were given; make some with Keyring::generate")]
    Empty,
    /// There is white space inside the line.
    #[error("white space inside the line of keys; write id:base64,id:base64 without any")]
    WhiteSpace,
    /// An entry has no id, or one that is not 1 to 16 of `[A-Za-z0-9_-]`.
    #[error("entry {entry} does not begin with an id of 1 to 16 letters, digits, '_' or '-' and a colon")]
    IdInvalid {
        /// The number of the entry, from 1.
        entry: usize,
    },
    /// Two keys have one id.
    #[error("two keys have the id {id}")]
    IdDuplicate {
        /// The id.
        id: String,
    },
    /// A key is not base64, or mixes both alphabets of base64.
    #[error("key {id} is not base64 (standard or URL-safe, not both at once)")]
    Encoding {
        /// The key's id.
        id: String,
    },
    /// A key has not exactly 32 bytes.
    #[error("key {id} does not have 32 bytes; base64 of 32 bytes has 43 characters, or 44 with '='")]
    Length {
        /// The key's id.
        id: String,
    },
    /// A key cannot have come from a random generator.
    #[error("key {id} is not random")]
    Weak {
        /// The key's id.
        id: String,
    },
    /// Two ids have the same key.
    #[error("the keys {first} and {second} are the same")]
    Reused {
        /// The id of the one.
        first: String,
        /// The id of the other.
        second: String,
    },
    /// There is no key with this id in the line.
    #[error("there is no key with that id")]
    IdUnknown,
    /// The operating system gave no randomness.
    #[error("the operating system gives no randomness")]
    Randomness,
}

impl KeyringError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Empty => "keyring_empty",
            Self::WhiteSpace => "keyring_white_space",
            Self::IdInvalid { .. } => "key_id_invalid",
            Self::IdDuplicate { .. } => "key_id_duplicate",
            Self::Encoding { .. } => "key_encoding",
            Self::Length { .. } => "key_length",
            Self::Weak { .. } => "key_weak",
            Self::Reused { .. } => "key_reused",
            Self::IdUnknown => "key_id_unknown",
            Self::Randomness => "randomness_unavailable",
        }
    }
}

/// Master keys by id: the first seals, all of them open.
///
/// # Rotation without downtime
/// 1. [`Keyring::add_key`] puts a new key last: give every process the new line. All can open with it, none seals.
/// 2. [`Keyring::promote`] puts it first: give every process that line.
/// 3. Seal the stored data again, and drop the old key when nothing, backups included, is sealed with it any more.
///
/// ```
/// use grantry::vault::Keyring;
///
/// let line = Keyring::generate()?;
/// let keyring = Keyring::parse(&line)?;
/// assert_eq!(keyring.key_ids().count(), 1);
/// # Ok::<(), grantry::vault::KeyringError>(())
/// ```
pub struct Keyring {
    sealing: MasterKey,
    /// The keys that only open.
    others: Vec<MasterKey>,
}

impl Keyring {
    /// Reads `id:base64,id:base64`, each key 32 bytes in standard or URL-safe base64, with or without padding. White
    /// space around the whole line is ignored, because files end in a newline.
    ///
    /// # Errors
    /// [`KeyringError`] says what is wrong, without showing a key.
    pub fn parse(line: &Secret) -> Result<Self, KeyringError> {
        let line = line.expose().trim();
        if line.is_empty() {
            return Err(KeyringError::Empty);
        }
        if line.contains(char::is_whitespace) {
            return Err(KeyringError::WhiteSpace);
        }
        let mut read: Vec<(&str, Zeroizing<[u8; KEY]>)> = Vec::new();
        for (index, entry) in line.split(',').enumerate() {
            let (id, text) = entry
                .split_once(':')
                .filter(|(id, _)| envelope::is_key_id(id))
                .ok_or(KeyringError::IdInvalid { entry: index + 1 })?;
            let key = decode(id, text)?;
            for (other, other_key) in &read {
                if *other == id {
                    return Err(KeyringError::IdDuplicate { id: id.into() });
                }
                if bool::from(other_key.ct_eq(key.as_ref())) {
                    return Err(KeyringError::Reused {
                        first: (*other).into(),
                        second: id.into(),
                    });
                }
            }
            read.push((id, key));
        }
        let mut keys = read.iter().map(|(id, key)| {
            // The lengths are right, so the derivation has nothing to complain about.
            MasterKey::new((*id).into(), key).map_err(|_| KeyringError::Length { id: (*id).into() })
        });
        Ok(Self {
            sealing: keys.next().ok_or(KeyringError::Empty)??,
            others: keys.collect::<Result<_, _>>()?,
        })
    }

    /// A line with one new key, for [`Keyring::parse`]. Its id is random, so that keys of two installations are not
    /// confused.
    ///
    /// # Errors
    /// [`KeyringError::Randomness`] if the operating system gives none.
    pub fn generate() -> Result<Secret, KeyringError> {
        let id: [u8; 4] = random::bytes().map_err(|_| KeyringError::Randomness)?;
        let key: Zeroizing<[u8; KEY]> = random::bytes().map_err(|_| KeyringError::Randomness)?.into();
        let id = format!("k{:08x}:", u32::from_be_bytes(id));
        let mut line = Zeroizing::new(String::with_capacity(64));
        line.push_str(&id);
        URL_SAFE.encode_string(key.as_ref(), &mut line);
        Ok(Secret::new(std::mem::take(&mut *line)))
    }

    /// `line` with a new key at its end, where it opens but does not seal.
    ///
    /// # Errors
    /// [`KeyringError`] if `line` is not a keyring, or without randomness.
    pub fn add_key(line: &Secret) -> Result<Secret, KeyringError> {
        Self::parse(line)?;
        let new = Self::generate()?;
        Ok(join(&[line.expose().trim(), new.expose()]))
    }

    /// `line` with the key `id` in front, where it seals.
    ///
    /// # Errors
    /// [`KeyringError`] if `line` is not a keyring or has no such key.
    pub fn promote(line: &Secret, id: &str) -> Result<Secret, KeyringError> {
        Self::parse(line)?;
        let is_it = |entry: &&str| entry.split_once(':').is_some_and(|(name, _)| name == id);
        let entries = || line.expose().trim().split(',');
        let first = entries().find(is_it).ok_or(KeyringError::IdUnknown)?;
        let mut ordered = vec![first];
        ordered.extend(entries().filter(|entry| !is_it(entry)));
        Ok(join(&ordered))
    }

    /// The id of the key that seals.
    pub fn sealing_key(&self) -> &str {
        self.sealing.id()
    }

    /// The ids of all keys, the sealing one first.
    pub fn key_ids(&self) -> impl Iterator<Item = &str> {
        self.keys().map(MasterKey::id)
    }

    fn keys(&self) -> impl Iterator<Item = &MasterKey> {
        std::iter::once(&self.sealing).chain(&self.others)
    }

    pub(super) fn key(&self, id: &str) -> Result<&MasterKey, VaultError> {
        self.keys()
            .find(|key| key.id() == id)
            .ok_or(VaultError::UnknownKey)
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keyring")?;
        f.debug_list().entries(self.key_ids()).finish()
    }
}

#[async_trait]
impl TokenVault for Keyring {
    async fn seal(&self, context: &SealContext<'_>, plaintext: &[u8]) -> Result<Vec<u8>, VaultError> {
        let nonce = random::bytes().map_err(VaultError::unavailable)?;
        envelope::seal(&self.sealing, &nonce, context, plaintext)
    }

    async fn open(&self, context: &SealContext<'_>, sealed: &[u8]) -> Result<SecretBytes, VaultError> {
        let envelope = Envelope::parse(sealed)?;
        envelope.open(self.key(envelope.key_id)?, context)
    }

    async fn ready(&self) -> Result<(), VaultError> {
        Ok(())
    }

    async fn mac(&self, purpose: &'static str, key: Option<&str>, data: &[u8]) -> Result<Mac, VaultError> {
        let key = key.map_or(Ok(&self.sealing), |id| self.key(id))?;
        Ok(Mac {
            key: key.id().into(),
            digest: key.digest(purpose, data)?,
        })
    }

    fn key_of(&self, sealed: &[u8]) -> Option<String> {
        Envelope::parse(sealed)
            .ok()
            .map(|envelope| envelope.key_id.into())
    }
}

fn decode(id: &str, text: &str) -> Result<Zeroizing<[u8; KEY]>, KeyringError> {
    let encoding = || KeyringError::Encoding { id: id.into() };
    let length = || KeyringError::Length { id: id.into() };
    let standard = text.contains(['+', '/']);
    let url_safe = text.contains(['-', '_']);
    let engine = match (standard, url_safe) {
        (true, true) => return Err(encoding()),
        (true, false) => STANDARD,
        (false, _) => URL_SAFE,
    };
    // Hexadecimal has 64 characters; anything longer is a mistake.
    let mut buffer = Zeroizing::new([0; 96]);
    if text.len() > 128 {
        return Err(length());
    }
    let read = engine
        .decode_slice(text, buffer.as_mut())
        .map_err(|_| encoding())?;
    let bytes = buffer.get(..read).unwrap_or_default();
    let key: &[u8; KEY] = bytes.try_into().map_err(|_| length())?;
    let mut seen = [false; 256];
    for byte in key {
        seen[usize::from(*byte)] = true;
    }
    if seen.iter().filter(|seen| **seen).count() < FEWEST_DIFFERENT_BYTES {
        return Err(KeyringError::Weak { id: id.into() });
    }
    Ok(Zeroizing::new(*key))
}

fn join(entries: &[&str]) -> Secret {
    let length = entries.iter().map(|entry| entry.len() + 1).sum();
    let mut line = String::with_capacity(length);
    for (index, entry) in entries.iter().enumerate() {
        if index > 0 {
            line.push(',');
        }
        line.push_str(entry);
    }
    Secret::new(line)
}
