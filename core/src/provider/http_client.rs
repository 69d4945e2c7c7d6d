//! How providers send requests: those that spend something are sent once, and there is no other way to send.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};

use async_trait::async_trait;
use bytes::Bytes;

/// The largest answer that is read from a provider's OAuth endpoints, in bytes. It guards memory only: an answer to a rotation
/// that is not read to its end is a lost grant.
pub const MAX_ANSWER: usize = 16 << 20;

/// Whether a failed request reached the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// Certainly not.
    No,
    /// It may have.
    Maybe,
}

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TransportFault {
    /// The URL may not be called: not https, or a forbidden address.
    Forbidden,
    /// No connection could be made.
    Connect,
    /// It took too long.
    Timeout,
    /// The connection broke.
    Reset,
    /// The answer is larger than [`MAX_ANSWER`].
    TooLarge,
    /// This [`TokenHttp`] was used before.
    AlreadyUsed,
}

/// A request that got no response. The message contains no URL and no foreign text; the underlying error, such as
/// "connection refused", is its [`source`](std::error::Error::source), for the operator's log.
///
/// Equality ignores the source.
#[derive(Clone, thiserror::Error)]
#[error("request failed: {fault:?}")]
pub struct TransportError {
    /// Whether it reached the provider.
    pub sent: Sent,
    /// What went wrong.
    pub fault: TransportFault,
    #[source]
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl TransportError {
    /// A failure without a cause of its own.
    pub const fn new(sent: Sent, fault: TransportFault) -> Self {
        Self {
            sent,
            fault,
            source: None,
        }
    }

    /// Attaches the cause, for logs. It must not contain a secret, a URL, or any part of the request.
    #[must_use]
    pub fn caused_by(mut self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(Arc::from(cause.into()));
        self
    }
}

impl PartialEq for TransportError {
    fn eq(&self, other: &Self) -> bool {
        (self.sent, self.fault) == (other.sent, other.fault)
    }
}

impl Eq for TransportError {}

/// Without the cause.
impl fmt::Debug for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransportError")
            .field("sent", &self.sent)
            .field("fault", &self.fault)
            .finish_non_exhaustive()
    }
}

/// Sends one request to a provider's OAuth endpoint.
///
/// To be correct, an implementation must send at most once, follow no redirect, reuse no idle connection, answer
/// [`Sent::No`] only if not one byte of the request can have reached the provider, and cut answers at [`MAX_ANSWER`].
#[async_trait]
pub trait Transport: fmt::Debug + Send + Sync + 'static {
    /// Sends `request` and reads the whole answer, whatever its status.
    ///
    /// # Errors
    /// [`TransportError`] if no whole answer came, and whether the request may have reached the provider.
    ///
    /// # Cancel safety
    /// The request may have been sent and processed; its answer is lost. Nothing is sent after the drop.
    async fn send(&self, request: http::Request<Vec<u8>>) -> Result<http::Response<Bytes>, TransportError>;
}

/// For requests that may be repeated: identity, introspection, revocation, verification.
#[derive(Clone, Debug)]
pub struct ProviderHttp(Arc<dyn Transport>);

impl ProviderHttp {
    /// Sends through `transport`.
    pub fn new(transport: Arc<dyn Transport>) -> Self {
        Self(transport)
    }

    /// Sends `request`.
    ///
    /// # Errors
    /// [`TransportError`] if no whole answer came.
    ///
    /// # Cancel safety
    /// The request may have been processed; it is safe to repeat.
    pub async fn send(
        &self,
        request: http::Request<Vec<u8>>,
    ) -> Result<http::Response<Bytes>, TransportError> {
        self.0.send(request).await
    }
}

const UNUSED: u8 = 0;
const SENDING: u8 = 1;
const NOT_SENT: u8 = 2;
const ANSWERED: u8 = 3;
const LOST: u8 = 4;

/// What happened to the request of a [`TokenHttp`], as seen by core, which trusts this over what the provider's code
/// reports.
#[derive(Clone, Debug, Default)]
pub struct Presentation(Arc<AtomicU8>);

impl Presentation {
    /// Nothing was sent, for certain.
    pub fn certainly_not_sent(&self) -> bool {
        matches!(self.0.load(Ordering::Acquire), UNUSED | NOT_SENT)
    }

    /// A whole answer was read.
    pub fn answered(&self) -> bool {
        self.0.load(Ordering::Acquire) == ANSWERED
    }
}

/// For the one request that spends a code or a refresh token. It sends once and is consumed by it.
#[derive(Debug)]
pub struct TokenHttp {
    transport: Arc<dyn Transport>,
    presentation: Presentation,
}

impl TokenHttp {
    /// A client for one request, and the record of what became of it.
    pub fn new(transport: Arc<dyn Transport>) -> (Self, Presentation) {
        let presentation = Presentation::default();
        (
            Self {
                transport,
                presentation: presentation.clone(),
            },
            presentation,
        )
    }

    /// Sends `request`.
    ///
    /// # Errors
    /// [`TransportError`] if no whole answer came.
    ///
    /// # Cancel safety
    /// Once polled, the request may have been processed, and what it spends is spent: the [`Presentation`] is neither
    /// certainly not sent nor answered.
    pub async fn send(
        self,
        request: http::Request<Vec<u8>>,
    ) -> Result<http::Response<Bytes>, TransportError> {
        self.presentation.0.store(SENDING, Ordering::Release);
        let answer = self.transport.send(request).await;
        let state = match &answer {
            Ok(_) => ANSWERED,
            Err(TransportError { sent: Sent::No, .. }) => NOT_SENT,
            Err(TransportError {
                sent: Sent::Maybe, ..
            }) => LOST,
        };
        self.presentation.0.store(state, Ordering::Release);
        answer
    }
}
