//! The kinds of error codes, from which the advice to the caller follows.

/// What kind of failure a code stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// The request is wrong.
    Request,
    /// The key is missing, wrong or not allowed to do this.
    Key,
    /// A connect attempt failed; the user begins again.
    Connect,
    /// The user must connect again.
    Reconnect,
    /// The integration or the host is configured wrongly.
    Configuration,
    /// Transient.
    Retry,
    /// Whether the call ran at the provider is not known.
    Outcome,
    /// A limit is reached.
    Limit,
    /// A fault of the broker or of its data.
    Internal,
}
