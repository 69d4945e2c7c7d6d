//! Which tokens are in flight: guards that live as long as a request.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;

use crate::ids::Digest;
use crate::state::{Auth, Shared};

/// A client waits for the response to a request that presents this token.
#[derive(Debug)]
pub(crate) struct Waiting {
    shared: Arc<Shared>,
    digest: Digest,
}

impl Waiting {
    /// Registers a request. Also returns whether another request with the same token was in flight.
    pub(crate) fn register(shared: &Arc<Shared>, auth: &mut Auth, digest: Digest) -> (Self, bool) {
        let count = auth.waiting.entry(digest).or_insert(0);
        let overlap = *count > 0;
        *count += 1;
        (
            Self {
                shared: Arc::clone(shared),
                digest,
            },
            overlap || auth.processing.contains(&digest),
        )
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut auth = self.shared.auth();
        if let Some(count) = auth.waiting.get_mut(&self.digest) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                auth.waiting.remove(&self.digest);
            }
        }
    }
}

/// The simulator is processing this token: other requests with it are refused as such.
#[derive(Debug)]
pub(crate) struct Processing {
    shared: Arc<Shared>,
    digest: Digest,
}

impl Processing {
    /// Starts to process a token, unless another request does.
    pub(crate) fn start(shared: &Arc<Shared>, auth: &mut Auth, digest: Digest) -> Option<Self> {
        auth.processing.insert(digest).then(|| Self {
            shared: Arc::clone(shared),
            digest,
        })
    }
}

impl Drop for Processing {
    fn drop(&mut self) {
        self.shared.auth().processing.remove(&self.digest);
    }
}

/// A body that keeps its request's guards until it is written.
#[derive(Debug)]
pub(crate) struct HeldBody {
    pub(crate) body: Full<Bytes>,
    pub(crate) _waiting: Option<Waiting>,
    pub(crate) _processing: Option<Processing>,
}

impl Body for HeldBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
