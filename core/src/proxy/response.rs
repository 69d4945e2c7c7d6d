//! What the provider answered, streamed.

use std::{
    borrow::Cow,
    collections::VecDeque,
    fmt, io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use serde::de::DeserializeOwned;
use tokio::time::Sleep;

use super::{host::Host, wire::Line};
use crate::error::{Code, Error};

/// The provider's answer, whatever its status: refusals and redirects are handed back as they came.
///
/// Headers of the connection to the provider, cookies and what a browser would take as the host's own policy are gone.
/// The body is neither decompressed nor held: it is read as the provider sends it, and dropping the answer aborts the
/// call.
#[derive(Debug)]
#[non_exhaustive]
pub struct ApiResponse {
    /// The status.
    pub status: StatusCode,
    /// The headers that pass.
    pub headers: HeaderMap,
    /// The body, as a stream.
    pub body: ApiBody,
}

impl ApiResponse {
    /// Reads the whole body.
    ///
    /// # Errors
    /// `answer_too_large` if it is longer than `limit` bytes; otherwise as [`ApiBody`].
    ///
    /// # Cancel safety
    /// Dropping the future aborts the call.
    pub async fn bytes(mut self, limit: usize) -> Result<Bytes, Error> {
        let too_large = || Error::new(Code::AnswerTooLarge);
        let expected = self.body.size_hint();
        if expected.lower() > limit as u64 {
            return Err(too_large());
        }
        let Some(first) = self.body.next().await.transpose()? else {
            return Ok(Bytes::new());
        };
        let mut length = first.len();
        let mut rest: Option<BytesMut> = None;
        loop {
            if length > limit {
                return Err(too_large());
            }
            let Some(next) = self.body.next().await.transpose()? else {
                break;
            };
            length += next.len();
            let rest = rest.get_or_insert_with(|| {
                let room = usize::try_from(expected.lower())
                    .unwrap_or(0)
                    .max(first.len() + next.len());
                let mut all = BytesMut::with_capacity(room.min(limit));
                all.extend_from_slice(&first);
                all
            });
            if length <= limit {
                rest.extend_from_slice(&next);
            }
        }
        Ok(rest.map_or(first, BytesMut::freeze))
    }

    /// Reads the whole body as JSON.
    ///
    /// # Errors
    /// `answer_invalid` if it is not the JSON that `T` stands for; otherwise as [`ApiResponse::bytes`].
    ///
    /// # Cancel safety
    /// Dropping the future aborts the call.
    pub async fn json<T: DeserializeOwned>(self, limit: usize) -> Result<T, Error> {
        let bytes = self.bytes(limit).await?;
        serde_json::from_slice(&bytes).map_err(|_| Error::new(Code::AnswerInvalid).because("json"))
    }

    /// Reads the whole body as UTF-8.
    ///
    /// # Errors
    /// `answer_invalid` if it is not UTF-8; otherwise as [`ApiResponse::bytes`].
    ///
    /// # Cancel safety
    /// Dropping the future aborts the call.
    pub async fn text(self, limit: usize) -> Result<String, Error> {
        let bytes = self.bytes(limit).await?;
        String::from_utf8(bytes.into()).map_err(|_| Error::new(Code::AnswerInvalid).because("utf8"))
    }

    /// The same as a response of the `http` crate, to be passed on.
    pub fn into_http(self) -> http::Response<ApiBody> {
        let mut response = http::Response::new(self.body);
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }
}

/// The body of an answer.
///
/// It ends cleanly only if the provider's answer did. It fails with `upstream_truncated` if the provider closed early,
/// `upstream_protocol` if its framing is wrong, and `upstream_timeout` if nothing came for a minute.
pub struct ApiBody {
    /// What was read ahead.
    front: VecDeque<Bytes>,
    /// What is still to come; gone when it ended or broke off.
    incoming: Option<Incoming>,
    /// How it broke off, if that was found when reading ahead.
    failed: Option<Error>,
    /// The connection, until it is ready for another request.
    line: Option<(Arc<Host>, Line)>,
    idle: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
    waiting: bool,
}

impl ApiBody {
    pub(super) fn new(incoming: Incoming, host: &Arc<Host>, line: Line, idle: Duration) -> Self {
        // A short answer was read whole already: the connection is free.
        let line = if line.sender.is_ready() {
            host.put_back(line);
            None
        } else {
            Some((host.clone(), line))
        };
        Self {
            front: VecDeque::new(),
            incoming: Some(incoming),
            failed: None,
            line,
            idle,
            stalled: None,
            waiting: false,
        }
    }

    /// The next chunk; `None` after the last.
    ///
    /// # Errors
    /// As the type says.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Result<Bytes, Error>> {
        std::future::poll_fn(|cx| self.poll_chunk(cx)).await
    }

    /// Reads ahead until `limit` bytes, the end or the deadline.
    pub(super) async fn read_ahead(&mut self, limit: usize, mut deadline: Pin<&mut Sleep>) {
        let mut bytes = 0;
        while bytes < limit && self.incoming.is_some() {
            let chunk = std::future::poll_fn(|cx| match self.poll_incoming(cx) {
                Poll::Ready(chunk) => Poll::Ready(Some(chunk)),
                Poll::Pending => deadline.as_mut().poll(cx).map(|()| None),
            });
            match chunk.await {
                Some(Some(Ok(chunk))) => {
                    bytes += chunk.len();
                    self.front.push_back(chunk);
                }
                Some(Some(Err(error))) => self.failed = Some(error),
                Some(None) | None => return,
            }
        }
    }

    /// The first bytes of what was read ahead.
    pub(super) fn prefix(&self, limit: usize) -> Cow<'_, [u8]> {
        match self.front.len() {
            0 => Cow::Borrowed(&[]),
            1 => Cow::Borrowed(&self.front[0][..limit.min(self.front[0].len())]),
            _ => Cow::Owned(self.front.iter().flatten().copied().take(limit).collect()),
        }
    }

    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
        if let Some(chunk) = self.front.pop_front() {
            return Poll::Ready(Some(Ok(chunk)));
        }
        if let Some(error) = self.failed.take() {
            return Poll::Ready(Some(Err(error)));
        }
        self.poll_incoming(cx)
    }

    fn poll_incoming(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
        loop {
            let Some(incoming) = &mut self.incoming else {
                return Poll::Ready(None);
            };
            match Pin::new(incoming).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    self.waiting = false;
                    // Trailers are headers that nobody judged.
                    if let Ok(chunk) = frame.into_data() {
                        return Poll::Ready(Some(Ok(chunk)));
                    }
                }
                Poll::Ready(Some(Err(error))) => {
                    self.abort();
                    return Poll::Ready(Some(Err(broken(error))));
                }
                Poll::Ready(None) => {
                    self.incoming = None;
                    self.release();
                    return Poll::Ready(None);
                }
                Poll::Pending => {
                    std::task::ready!(self.poll_stalled(cx));
                    self.abort();
                    return Poll::Ready(Some(Err(Error::new(Code::UpstreamTimeout).because("stalled"))));
                }
            }
        }
    }

    /// Ready when nothing came for too long.
    fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.waiting {
            self.waiting = true;
            let sleep = tokio::time::sleep(self.idle);
            match &mut self.stalled {
                Some(stalled) => stalled.as_mut().set(sleep),
                None => self.stalled = Some(Box::pin(sleep)),
            }
        }
        self.stalled
            .as_mut()
            .map_or(Poll::Pending, |stalled| stalled.as_mut().poll(cx))
    }

    /// Closes the connection.
    fn abort(&mut self) {
        self.incoming = None;
        self.line = None;
    }

    fn release(&mut self) {
        if let Some((host, line)) = self.line.take() {
            host.put_back(line);
        }
    }
}

/// What a broken answer is.
fn broken(error: hyper::Error) -> Error {
    let cause = std::error::Error::source(&error).and_then(|cause| cause.downcast_ref::<io::Error>());
    let framing =
        cause.is_some_and(|e| matches!(e.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData));
    Error::new(if framing {
        Code::UpstreamProtocol
    } else {
        Code::UpstreamTruncated
    })
    .caused_by(error)
}

impl Body for ApiBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        self.get_mut().poll_chunk(cx).map_ok(Frame::data)
    }

    fn is_end_stream(&self) -> bool {
        self.front.is_empty()
            && self.failed.is_none()
            && self.incoming.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let ahead: u64 = self.front.iter().map(|chunk| chunk.len() as u64).sum();
        let rest = self
            .incoming
            .as_ref()
            .map_or(SizeHint::with_exact(0), Incoming::size_hint);
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower() + ahead);
        if let Some(upper) = rest.upper()
            && self.failed.is_none()
        {
            hint.set_upper(upper + ahead);
        }
        hint
    }
}

impl Drop for ApiBody {
    fn drop(&mut self) {
        // A reader who knows the length does not ask for the end.
        if self.incoming.as_ref().is_some_and(Incoming::is_end_stream) {
            self.release();
        }
    }
}

impl fmt::Debug for ApiBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiBody")
            .field("ended", &self.is_end_stream())
            .finish_non_exhaustive()
    }
}
