//! A family of tokens: all that stem from one approval.

use crate::clock::Millis;
use crate::ids::Digest;

/// All tokens that stem from one approval.
#[derive(Debug)]
pub(crate) struct Family {
    pub(crate) user: usize,
    pub(crate) client_id: String,
    pub(crate) scope: String,
    pub(crate) nonce: Option<String>,
    pub(crate) issued_at: Millis,
    pub(crate) last_used: Millis,
    pub(crate) alive: bool,
    /// The valid refresh token; none if the grant has none.
    pub(crate) refresh: Option<Living>,
    pub(crate) sessions: Vec<Box<str>>,
}

/// The refresh token of a family that is valid now.
#[derive(Debug)]
pub(crate) struct Living {
    pub(crate) token: String,
    pub(crate) digest: Digest,
    pub(crate) generation: u64,
}

/// What is known about a refresh token that was ever issued.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RefreshRecord {
    pub(crate) family: usize,
    pub(crate) generation: u64,
    pub(crate) spent_at: Option<Millis>,
}

/// An access token.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) family: usize,
    pub(crate) issued_at: Millis,
    pub(crate) last_active: Millis,
    pub(crate) timeout: Millis,
}

impl Session {
    pub(crate) fn ends_at(&self) -> Millis {
        self.last_active + self.timeout
    }
}

impl Family {
    pub(crate) fn has_scope(&self, wanted: &str) -> bool {
        self.scope.split(' ').any(|scope| scope == wanted)
    }
}
