//! Remembers why a request got no response, independently of what the provider's code reports.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};

use crate::{
    error::Error,
    provider::{Transport, TransportError},
};

/// The transport of one call to a provider.
#[derive(Debug)]
pub(crate) struct Witness {
    inner: Arc<dyn Transport>,
    /// Of the last request, if it got no response.
    error: Mutex<Option<TransportError>>,
}

impl Witness {
    pub(crate) fn new(inner: Arc<dyn Transport>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            error: Mutex::default(),
        })
    }

    /// Why the last request got no response, if so.
    pub(crate) fn unanswered(&self) -> Unanswered {
        Unanswered(self.error.lock().unwrap_or_else(PoisonError::into_inner).take())
    }
}

#[async_trait]
impl Transport for Witness {
    async fn send(&self, request: Request<Vec<u8>>) -> Result<Response<Bytes>, TransportError> {
        let answer = self.inner.send(request).await;
        *self.error.lock().unwrap_or_else(PoisonError::into_inner) = answer.as_ref().err().cloned();
        answer
    }
}

/// Why a provider did not respond, if the transport knows.
#[derive(Debug, Default)]
pub(crate) struct Unanswered(Option<TransportError>);

impl Unanswered {
    /// Attaches it to `error` as the cause.
    pub(crate) fn explain(self, error: Error) -> Error {
        match self.0 {
            Some(cause) => error.caused_by(cause),
            None => error,
        }
    }
}
