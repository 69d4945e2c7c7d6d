//! Request bodies.

use std::{
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;

use crate::error::{Code, Error};

/// How much of a stream is kept so that it can be sent again.
const KEPT: usize = 64 * 1024;

/// A body before it is sent.
pub(super) enum Content {
    None,
    Whole(Bytes),
    Stream(Tape),
}

impl Content {
    /// The body to send: `None` if it was sent before and is not kept.
    pub(super) fn outgoing(&mut self) -> Option<Outgoing> {
        Some(match self {
            Self::None => Outgoing::Whole(Bytes::new()),
            Self::Whole(bytes) => Outgoing::Whole(bytes.clone()),
            Self::Stream(tape) => tape.outgoing()?,
        })
    }

    /// Whether it may take so long to send that the time limit must depend on progress.
    pub(super) fn is_long(&self) -> bool {
        match self {
            Self::None => false,
            Self::Whole(bytes) => bytes.len() > 1 << 20,
            Self::Stream(_) => true,
        }
    }

    /// Whether its last byte was handed over.
    pub(super) fn is_over(&self) -> bool {
        match self {
            Self::Stream(tape) => tape.kept().ended,
            Self::None | Self::Whole(_) => true,
        }
    }

    /// What went wrong with it on the caller's side.
    pub(super) fn fault(&self) -> Option<Error> {
        match self {
            Self::Stream(tape) => tape.kept().fault.clone(),
            Self::None | Self::Whole(_) => None,
        }
    }
}

/// Converts an error of somebody's stream; the text of a foreign one is dropped.
pub(super) fn ours(
    error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    foreign: impl FnOnce() -> Error,
) -> Error {
    match error.into().downcast::<Error>() {
        Ok(error) => *error,
        Err(_) => foreign(),
    }
}

/// An error of the caller's stream.
pub(super) fn foreign(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    ours(error, || Error::new(Code::BodyInvalid).because("stream"))
}

/// Makes a body `Sync` that is not. It is polled through `&mut`, which takes no lock.
pub(super) struct Unshared<B>(Mutex<B>);

impl<B> Unshared<B> {
    pub(super) fn new(body: B) -> Self {
        Self(Mutex::new(body))
    }

    pub(super) fn get(&mut self) -> &mut B {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn peek<T>(&self, look: impl FnOnce(&B) -> T) -> T {
        look(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The body of a request, for other implementations of [`Connection`](crate::Connection); made by
/// [`ApiRequest::into_http`](super::ApiRequest::into_http). It fails if the caller's stream does.
pub struct ApiRequestBody(Unshared<Outgoing>);

impl ApiRequestBody {
    pub(super) fn new(body: Outgoing) -> Self {
        Self(Unshared::new(body))
    }
}

impl Body for ApiRequestBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        Pin::new(self.get_mut().0.get()).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.peek(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.peek(Body::size_hint)
    }
}

/// Shows no content: it may be a secret.
impl fmt::Debug for ApiRequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiRequestBody").finish_non_exhaustive()
    }
}

/// A stream, and a copy of what was sent of it while that is small.
pub(super) struct Tape {
    /// Until it is sent. The mutex is never locked: it only makes a call `Sync`.
    body: Mutex<Option<UnsyncBoxBody<Bytes, Error>>>,
    kept: Arc<Mutex<Kept>>,
}

#[derive(Default)]
pub(super) struct Kept {
    chunks: Vec<Bytes>,
    bytes: usize,
    /// More was sent than is kept.
    over: bool,
    ended: bool,
    fault: Option<Error>,
}

impl Tape {
    pub(super) fn new(body: UnsyncBoxBody<Bytes, Error>) -> Self {
        Self {
            body: Mutex::new(Some(body)),
            kept: Arc::default(),
        }
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn outgoing(&mut self) -> Option<Outgoing> {
        if let Some(body) = self.body.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            self.kept().ended = body.is_end_stream();
            return Some(Outgoing::Stream {
                body,
                kept: self.kept.clone(),
            });
        }
        let mut kept = self.kept();
        if kept.over || !kept.ended {
            return None;
        }
        if kept.chunks.len() > 1 {
            let whole = kept.chunks.concat();
            kept.chunks = vec![whole.into()];
        }
        Some(Outgoing::Whole(kept.chunks.first().cloned().unwrap_or_default()))
    }
}

/// A body while it is sent.
pub(super) enum Outgoing {
    Whole(Bytes),
    Stream {
        body: UnsyncBoxBody<Bytes, Error>,
        kept: Arc<Mutex<Kept>>,
    },
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let (body, kept) = match self.get_mut() {
            Self::Whole(bytes) if bytes.is_empty() => return Poll::Ready(None),
            Self::Whole(bytes) => return Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Stream { body, kept } => (body, kept),
        };
        loop {
            let frame = std::task::ready!(Pin::new(&mut *body).poll_frame(cx));
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            match frame {
                None => {
                    kept.ended = true;
                    return Poll::Ready(None);
                }
                Some(Err(error)) => {
                    kept.fault = Some(error.clone());
                    return Poll::Ready(Some(Err(error)));
                }
                Some(Ok(frame)) => {
                    // Trailers are headers that nothing has checked.
                    let Ok(data) = frame.into_data() else { continue };
                    kept.bytes = kept.bytes.saturating_add(data.len());
                    if kept.bytes > KEPT {
                        kept.over = true;
                        kept.chunks = Vec::new();
                    } else {
                        kept.chunks.push(data.clone());
                    }
                    // A body of known length may not be polled for its end.
                    kept.ended = body.is_end_stream();
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Stream { body, .. } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Stream { body, .. } => body.size_hint(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{BodyExt as _, StreamBody};

    fn tape(chunks: Vec<Result<Bytes, std::io::Error>>) -> Content {
        let frames = futures_util::stream::iter(chunks.into_iter().map(|chunk| chunk.map(Frame::data)));
        Content::Stream(Tape::new(UnsyncBoxBody::new(
            StreamBody::new(frames).map_err(foreign),
        )))
    }

    #[tokio::test]
    async fn a_short_stream_can_be_sent_again() {
        let mut content = tape(vec![Ok("ab".into()), Ok("cd".into())]);
        let first = content.outgoing().unwrap();
        assert!(content.outgoing().is_none(), "still on its way");
        assert_eq!(first.collect().await.unwrap().to_bytes(), "abcd");
        for _ in 0..2 {
            assert_eq!(
                content.outgoing().unwrap().collect().await.unwrap().to_bytes(),
                "abcd"
            );
        }
    }

    #[tokio::test]
    async fn a_long_stream_is_not_kept() {
        let mut content = tape(vec![Ok(Bytes::from(vec![0; KEPT])), Ok("x".into())]);
        let first = content.outgoing().unwrap();
        assert_eq!(first.collect().await.unwrap().to_bytes().len(), KEPT + 1);
        assert!(content.outgoing().is_none());
    }

    #[tokio::test]
    async fn the_text_of_a_foreign_error_is_dropped() {
        let mut content = tape(vec![Ok("ab".into()), Err(std::io::Error::other("secret"))]);
        let error = content.outgoing().unwrap().collect().await.unwrap_err();
        assert_eq!(
            (error.code(), error.reason()),
            (Code::BodyInvalid, Some("stream"))
        );
        assert_eq!(content.fault(), Some(error));
        assert!(content.outgoing().is_none());
    }
}
