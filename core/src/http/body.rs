//! Response bodies: complete ones of ours, and the provider's as they stream through.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::{Full, combinators::UnsyncBoxBody};

use crate::{error::Error, proxy::ApiBody};

/// A request's body, type-erased.
pub(super) type Incoming = UnsyncBoxBody<Bytes, Error>;

/// The body of a response. Only a provider's response that streams through can fail, if it ends early.
pub struct Body(Inner);

enum Inner {
    Whole(Full<Bytes>),
    Api(ApiBody),
}

impl Body {
    pub(super) fn empty() -> Self {
        Self::whole(Bytes::new())
    }

    pub(super) fn whole(bytes: Bytes) -> Self {
        Self(Inner::Whole(Full::new(bytes)))
    }

    pub(super) fn api(body: ApiBody) -> Self {
        Self(Inner::Api(body))
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        match &mut self.get_mut().0 {
            Inner::Whole(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
            Inner::Api(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Inner::Whole(body) => body.is_end_stream(),
            Inner::Api(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Inner::Whole(body) => body.size_hint(),
            Inner::Api(body) => body.size_hint(),
        }
    }
}

/// Shows no content: it may be a token.
impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Inner::Whole(_) => "Body(whole)",
            Inner::Api(_) => "Body(stream)",
        })
    }
}
