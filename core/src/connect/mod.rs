//! The connect flow: a browser goes to the provider with a one-use state and PKCE, and comes back with a code.
//!
//! The user who begins an attempt must be the one who finishes it: [`Binding`] is the host's proof, and neither half can be
//! called without it (RFC 9700 section 4.7 and its update on session fixation). What the callback is allowed to do comes
//! from the attempt stored at the beginning; the callback's own parameters are only checked against it.

mod begin;
mod complete;
mod connector;
mod finish;
mod link;

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

pub use begin::BeginConnect;
pub(crate) use connector::Connector;
pub(crate) use link::LinkKind;
pub use link::{Link, NewLink};

use crate::{
    engine::limits,
    error::{Code, Error},
    id::{ConnectionId, IntegrationId},
    oauth::RedirectUri,
    time::Timestamp,
    vault::{Purpose, SealContext},
};

/// Proof of who began a connect attempt: a session id, a signed-in user's id with a session secret, or a random cookie. The
/// same must be presented when the browser comes back. It should be hard to guess: 128 bits or more.
pub struct Binding([u8; 32]);

impl Binding {
    /// A binding to `proof`. Only its digest is kept.
    pub fn new(proof: impl AsRef<[u8]>) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"grantry binding\0");
        hash.update(proof.as_ref());
        Self(hash.finalize().into())
    }

    pub(crate) fn digest(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Binding")
    }
}

/// The first half of a connect attempt.
#[non_exhaustive]
pub struct Started {
    /// Where to send the browser (303). The state is in it: it is for this browser only.
    pub url: String,
    /// From then on the attempt cannot be finished.
    pub expires_at: Timestamp,
}

impl fmt::Debug for Started {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Started")
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// How a connect attempt ended, once it was matched to its user.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The account is connected.
    #[non_exhaustive]
    Connected {
        /// The connection.
        connection: ConnectionId,
        /// It existed before, and keeps its id.
        reconnected: bool,
        /// Where the host asked to send the browser.
        return_to: Option<String>,
    },
    /// Nothing was connected, and nothing that worked before was changed.
    #[non_exhaustive]
    Failed {
        /// What happened and what to do.
        error: Error,
        /// The same as an OAuth error code (RFC 6749 section 4.1.2.1), for the redirect.
        oauth_error: &'static str,
        /// Where the host asked to send the browser.
        return_to: Option<String>,
    },
}

impl Outcome {
    /// Where to send the browser: the host's redirect URI with `connection_id`, or with `error` and
    /// `error_description`. `None` if the host named none.
    pub fn redirect(&self) -> Option<String> {
        let (uri, parameters) = match self {
            Self::Connected {
                connection,
                return_to,
                ..
            } => (return_to, vec![("connection_id", connection.as_str())]),
            Self::Failed {
                error,
                oauth_error,
                return_to,
            } => (
                return_to,
                vec![
                    ("error", *oauth_error),
                    ("error_description", error.code().message()),
                ],
            ),
        };
        Some(RedirectUri::register(uri.as_ref()?).ok()?.append(&parameters))
    }
}

/// What is remembered of an attempt, sealed.
#[derive(Serialize, Deserialize)]
pub(crate) struct Attempt {
    integration: IntegrationId,
    verifier: String,
    /// The token host at the beginning: the code goes nowhere else.
    token_host: String,
    owner: String,
    metadata: BTreeMap<String, String>,
    return_to: Option<String>,
    reconnect: Option<ConnectionId>,
    allow_account_change: bool,
    /// The reconnect must not touch a connection of another owner.
    #[serde(default)]
    owner_only: bool,
    /// `owner` is that of the connection to be reconnected, as it was at the beginning. Attempts of older versions lack it.
    #[serde(default)]
    owner_pinned: bool,
}

impl Drop for Attempt {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.verifier);
    }
}

pub(crate) fn attempt_context(integration: &IntegrationId) -> SealContext<'_> {
    SealContext {
        purpose: Purpose::Pending,
        integration: integration.as_str(),
        subject: "",
        epoch: 0,
        generation: 0,
    }
}

/// Checks the host's labels: at most 32, keys of 1 to 64 and values of up to 512 characters.
pub(crate) fn check_metadata(metadata: &BTreeMap<String, String>) -> Result<(), Error> {
    let fits = metadata.len() <= limits::LABELS
        && metadata.iter().all(|(k, v)| {
            (1..=limits::LABEL_KEY).contains(&k.chars().count()) && v.chars().count() <= limits::LABEL_VALUE
        });
    if !fits {
        return Err(Code::MetadataTooLarge.into());
    }
    if metadata.iter().any(|(k, v)| k.contains('\0') || v.contains('\0')) {
        return Err(Error::new(Code::FieldInvalid).because("metadata"));
    }
    Ok(())
}

/// Checks the host's own id of its user: up to 256 characters.
pub(crate) fn check_owner(owner: &str) -> Result<(), Error> {
    if owner.chars().count() > limits::OWNER || owner.chars().any(char::is_control) {
        return Err(Error::new(Code::FieldInvalid).because("owner"));
    }
    Ok(())
}
