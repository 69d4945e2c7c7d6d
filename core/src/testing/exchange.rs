//! Requests to the fake provider, and the scripted responses.

use std::time::Duration;

use crate::provider::Refusal;

/// What a refresh leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// What the token deserves.
    Right,
    /// It is processed, and the answer is lost.
    Lost,
    /// It arrives, is never processed, and no answer comes.
    Dropped,
    /// It is processed so much later, and no answer comes.
    Later(Duration),
    /// It is processed, and answered after this time.
    Slow(Duration),
    /// It waits for this time; then it is processed and answered.
    Held(Duration),
    /// No connection can be made.
    NotSent,
    /// It is refused without being processed.
    Refused(Refusal),
}

/// A request as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// A refresh token was presented.
    Refresh(String),
    /// A code was presented.
    Code(String),
    /// A token was to be revoked.
    Revoke(String),
    /// Whether an access token works was asked.
    Life(String),
    /// Who it is was asked.
    Identify,
    /// Client id and secret were tried.
    Verify,
}
