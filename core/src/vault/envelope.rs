//! The envelope: how a sealed blob is made and opened. Pure: the nonce is an argument.
//!
//! ```text
//! "gr1" | algorithm 1 | length of key id 1 | key id | nonce 24 | commitment 32 | ciphertext | tag 16
//! ```
//!
//! HKDF-SHA-256 (RFC 5869) makes three keys of a master key, once, when it is read: for sealing, for commitments and for
//! keyed digests. The cipher is XChaCha20-Poly1305, which takes a random nonce of 192 bits and derives a key of its own
//! from it. It does not bind a ciphertext to one key, so each blob carries a commitment, the HMAC of algorithm and nonce,
//! that is compared before anything is decrypted: no blob can be crafted that opens under two keys. Deriving it costs two
//! rounds of SHA-256 a blob; an HKDF a blob would cost seven and bind no more, since the keys hang on one master key.
//!
//! The associated data holds everything that a blob is bound to. Fields of fixed length come first, the others each after
//! its length, so that different contexts never encode alike.

use chacha20poly1305::{
    XChaCha20Poly1305,
    aead::{AeadInOut as _, KeyInit as _},
};
use hkdf::Hkdf;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;
use zeroize::{Zeroize as _, Zeroizing};

use super::{SealContext, VaultError};
use crate::secret::SecretBytes;

const MAGIC: &[u8; 3] = b"gr1";
/// XChaCha20-Poly1305 with HKDF-SHA-256. Other algorithms get other numbers.
const ALGORITHM: u8 = 1;
const PREFIX: usize = MAGIC.len() + 2;
pub(super) const NONCE: usize = 24;
const COMMITMENT: usize = 32;
const TAG: usize = 16;
/// The longest key id, in bytes.
pub(super) const MAX_KEY_ID: usize = 16;

/// A master key, expanded for use.
pub(super) struct MasterKey {
    id: String,
    cipher: XChaCha20Poly1305,
    /// HMAC with its key worked in. It is not wiped on drop; whoever reads it can open nothing with it.
    commitments: Hmac<Sha256>,
    digests: Zeroizing<[u8; 32]>,
}

impl MasterKey {
    /// Takes a key of 32 uniformly random bytes; the caller has checked it and its id.
    pub(super) fn new(id: String, key: &[u8; 32]) -> Result<Self, VaultError> {
        let (mut extracted, hkdf) = Hkdf::<Sha256>::extract(Some(b"gr1"), key);
        extracted.as_mut_slice().zeroize();
        let derive = |label: &[u8]| {
            let mut key = Zeroizing::new([0; 32]);
            hkdf.expand(label, key.as_mut())
                .map(|()| key)
                .map_err(|_| VaultError::Unavailable(None))
        };
        Ok(Self {
            id,
            cipher: XChaCha20Poly1305::new_from_slice(derive(b"gr1 seal")?.as_ref())
                .map_err(|_| VaultError::Unavailable(None))?,
            commitments: Hmac::new_from_slice(derive(b"gr1 commit")?.as_ref())
                .map_err(|_| VaultError::Unavailable(None))?,
            digests: derive(b"gr1 digest")?,
        })
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// HMAC-SHA-256 of `data` with a key of its own for each purpose.
    pub(super) fn digest(&self, purpose: &str, data: &[u8]) -> Result<[u8; 32], VaultError> {
        let mut key = Zeroizing::new([0; 32]);
        Hkdf::<Sha256>::from_prk(self.digests.as_ref())
            .map_err(|_| VaultError::Unavailable(None))?
            .expand(purpose.as_bytes(), key.as_mut())
            .map_err(|_| VaultError::Unavailable(None))?;
        let mac = Hmac::<Sha256>::new_from_slice(key.as_ref()).map_err(|_| VaultError::Unavailable(None))?;
        Ok(mac.chain_update(data).finalize().into_bytes().into())
    }

    fn commitment(&self, nonce: &[u8; NONCE]) -> [u8; COMMITMENT] {
        let mac = self.commitments.clone();
        mac.chain_update([ALGORITHM])
            .chain_update(nonce)
            .finalize()
            .into_bytes()
            .into()
    }
}

/// The parts of a blob, cut but not yet trusted.
pub(super) struct Envelope<'a> {
    /// The id of the key that it claims to be sealed with.
    pub(super) key_id: &'a str,
    nonce: &'a [u8; NONCE],
    commitment: &'a [u8; COMMITMENT],
    ciphertext: &'a [u8],
    tag: &'a [u8; TAG],
}

impl<'a> Envelope<'a> {
    /// Cuts `blob` into its parts.
    pub(super) fn parse(blob: &'a [u8]) -> Result<Self, VaultError> {
        let Some((magic, rest)) = blob.split_first_chunk::<3>() else {
            return Err(VaultError::Tampered);
        };
        if magic != MAGIC {
            return Err(VaultError::UnknownEnvelope);
        }
        let [algorithm, id_length, rest @ ..] = rest else {
            return Err(VaultError::Tampered);
        };
        if *algorithm != ALGORITHM {
            return Err(VaultError::UnknownEnvelope);
        }
        Self::cut(usize::from(*id_length), rest).ok_or(VaultError::Tampered)
    }

    fn cut(id_length: usize, rest: &'a [u8]) -> Option<Self> {
        let (id, rest) = rest.split_at_checked(id_length)?;
        let key_id = std::str::from_utf8(id).ok().filter(|id| is_key_id(id))?;
        let (nonce, rest) = rest.split_first_chunk()?;
        let (commitment, rest) = rest.split_first_chunk()?;
        let (ciphertext, tag) = rest.split_last_chunk()?;
        Some(Self {
            key_id,
            nonce,
            commitment,
            ciphertext,
            tag,
        })
    }

    /// Opens it with the key that it names.
    pub(super) fn open(&self, key: &MasterKey, context: &SealContext<'_>) -> Result<SecretBytes, VaultError> {
        if !bool::from(key.commitment(self.nonce).ct_eq(self.commitment)) {
            return Err(VaultError::Tampered);
        }
        let mut text = Zeroizing::new(self.ciphertext.to_vec());
        key.cipher
            .decrypt_inout_detached(
                self.nonce.into(),
                &associated_data(&key.id, context)?,
                text.as_mut_slice().into(),
                self.tag.into(),
            )
            .map_err(|_| VaultError::Tampered)?;
        Ok(SecretBytes::new(std::mem::take(&mut *text)))
    }
}

/// Seals `plaintext`. A nonce must never be used twice with one key.
pub(super) fn seal(
    key: &MasterKey,
    nonce: &[u8; NONCE],
    context: &SealContext<'_>,
    plaintext: &[u8],
) -> Result<Vec<u8>, VaultError> {
    let aad = associated_data(&key.id, context)?;
    let id_length = u8::try_from(key.id.len()).map_err(|_| VaultError::Unavailable(None))?;
    let header = PREFIX + key.id.len() + NONCE + COMMITMENT;
    // Its full length at once: a buffer that grows would leave a copy of the plaintext behind.
    let mut blob = Vec::with_capacity(header + plaintext.len() + TAG);
    blob.extend_from_slice(MAGIC);
    blob.extend_from_slice(&[ALGORITHM, id_length]);
    blob.extend_from_slice(key.id.as_bytes());
    blob.extend_from_slice(nonce);
    blob.extend_from_slice(&key.commitment(nonce));
    blob.extend_from_slice(plaintext);
    let body = blob.get_mut(header..).unwrap_or_default();
    let Ok(tag) = key.cipher.encrypt_inout_detached(nonce.into(), &aad, body.into()) else {
        blob.zeroize();
        return Err(VaultError::Unavailable(None));
    };
    blob.extend_from_slice(&tag);
    Ok(blob)
}

/// Whether `text` can name a key: 1 to 16 of `[A-Za-z0-9_-]`.
pub(super) fn is_key_id(text: &str) -> bool {
    (1..=MAX_KEY_ID).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

fn associated_data(key_id: &str, context: &SealContext<'_>) -> Result<Vec<u8>, VaultError> {
    // All fields are listed, so that a new field of the context cannot be forgotten here.
    let SealContext {
        purpose,
        integration,
        subject,
        epoch,
        generation,
    } = *context;
    let texts = [key_id, purpose.as_str(), integration, subject];
    let length = 20 + texts.iter().map(|text| text.len() + 4).sum::<usize>();
    let mut data = Vec::with_capacity(length);
    data.extend_from_slice(MAGIC);
    data.push(ALGORITHM);
    data.extend_from_slice(&epoch.to_be_bytes());
    data.extend_from_slice(&generation.to_be_bytes());
    for text in texts {
        let length = u32::try_from(text.len()).map_err(|_| VaultError::Tampered)?;
        data.extend_from_slice(&length.to_be_bytes());
        data.extend_from_slice(text.as_bytes());
    }
    Ok(data)
}
