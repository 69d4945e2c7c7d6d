//! Sealing: everything secret goes through a [`TokenVault`] before it reaches a store.

mod envelope;
mod keyring;
#[cfg(test)]
mod tests;

use std::fmt;

use async_trait::async_trait;

pub use keyring::{Keyring, KeyringError};

use crate::{
    error::{Code, Error},
    secret::SecretBytes,
};

/// What is sealed. A blob sealed for one purpose does not open for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Purpose {
    /// The token set of a connection.
    Tokens,
    /// The client secret of an integration.
    ClientSecret,
    /// A connect attempt's PKCE verifier.
    Pending,
    /// A list cursor.
    Cursor,
    /// A connect or reconnect link.
    Link,
}

impl Purpose {
    /// The purpose's text in the associated data.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tokens => "tokens",
            Self::ClientSecret => "client-secret",
            Self::Pending => "pending",
            Self::Cursor => "cursor",
            Self::Link => "link",
        }
    }
}

/// What a blob is bound to. It opens only under the same context.
#[derive(Clone, Copy, Debug)]
pub struct SealContext<'a> {
    /// What is sealed.
    pub purpose: Purpose,
    /// The integration, or empty.
    pub integration: &'a str,
    /// The connection or other row, or empty.
    pub subject: &'a str,
    /// The connection's epoch, or 0.
    pub epoch: u64,
    /// The token set's generation, or 0.
    pub generation: u64,
}

/// A keyed digest and the id of the key that made it.
#[derive(Clone, PartialEq, Eq)]
pub struct Mac {
    /// Which key.
    pub key: String,
    /// HMAC-SHA-256.
    pub digest: [u8; 32],
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mac({})", self.key)
    }
}

/// Why a vault failed. Equality ignores causes.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum VaultError {
    /// The blob was changed, cut or moved, or is not for this context.
    #[error("sealed data does not open")]
    Tampered,
    /// The blob is of a format that this version does not know.
    #[error("sealed data has an unknown format")]
    UnknownEnvelope,
    /// The blob was sealed with a key that was not given.
    #[error("sealed data names a key that was not given")]
    UnknownKey,
    /// The vault or the machine's randomness is unavailable now, and the cause, if known. It gets into the operator's log,
    /// and must not contain a secret.
    #[error("the vault is unavailable")]
    Unavailable(#[source] Option<Box<dyn std::error::Error + Send + Sync>>),
}

impl VaultError {
    /// [`VaultError::Unavailable`], and what caused it.
    pub fn unavailable(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Unavailable(Some(cause.into()))
    }
}

impl PartialEq for VaultError {
    fn eq(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

impl Eq for VaultError {}

impl fmt::Debug for VaultError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tampered => "Tampered",
            Self::UnknownEnvelope => "UnknownEnvelope",
            Self::UnknownKey => "UnknownKey",
            Self::Unavailable(_) => "Unavailable",
        })
    }
}

impl From<VaultError> for Error {
    fn from(error: VaultError) -> Self {
        match error {
            VaultError::Tampered => Self::new(Code::Tampered),
            VaultError::UnknownEnvelope => Self::new(Code::Tampered).because("envelope_unknown"),
            VaultError::UnknownKey => Self::new(Code::VaultKeyUnknown),
            VaultError::Unavailable(_) => Self::new(Code::VaultUnavailable),
        }
        .caused_by(error)
    }
}

/// Seals and opens secrets.
///
/// To be correct, an implementation must bind the whole [`SealContext`] as associated data, so that a blob moved to another
/// row, purpose or generation does not open, and must never return a part of the plaintext. An external key service fits
/// here, or behind the keys of a [`Keyring`].
#[async_trait]
pub trait TokenVault: fmt::Debug + Send + Sync + 'static {
    /// Seals `plaintext`.
    ///
    /// # Errors
    /// [`VaultError::Unavailable`] if it cannot be done now.
    ///
    /// # Cancel safety
    /// Cancel safe: sealing has no effect but its result.
    async fn seal(&self, context: &SealContext<'_>, plaintext: &[u8]) -> Result<Vec<u8>, VaultError>;

    /// Opens what [`TokenVault::seal`] gave for the same context.
    ///
    /// # Errors
    /// [`VaultError::Tampered`], [`VaultError::UnknownEnvelope`] and [`VaultError::UnknownKey`] are permanent for this blob
    /// and these keys; [`VaultError::Unavailable`] is transient.
    ///
    /// # Cancel safety
    /// Cancel safe: opening has no effect but its result.
    async fn open(&self, context: &SealContext<'_>, sealed: &[u8]) -> Result<SecretBytes, VaultError>;

    /// Checks that sealing would work now. Called before a refresh token is spent, so that what comes back can be stored.
    ///
    /// # Errors
    /// [`VaultError::Unavailable`] if it would not.
    ///
    /// # Cancel safety
    /// Cancel safe: checking changes nothing.
    async fn ready(&self) -> Result<(), VaultError>;

    /// A keyed digest of `data`: by the key `key`, or by the sealing key if none is named.
    ///
    /// # Errors
    /// [`VaultError::UnknownKey`] if the named key was not given; [`VaultError::Unavailable`] if it cannot be done now.
    ///
    /// # Cancel safety
    /// Cancel safe: a digest has no effect but its result.
    async fn mac(&self, purpose: &'static str, key: Option<&str>, data: &[u8]) -> Result<Mac, VaultError>;

    /// The id of the key that `sealed` was sealed with, if it can be determined.
    fn key_of(&self, sealed: &[u8]) -> Option<String>;
}
