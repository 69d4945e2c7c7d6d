//! The provider's response, streamed.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt as _, combinators::UnsyncBoxBody};
use serde::de::DeserializeOwned;

use super::{
    arriving::Arriving,
    body::{Unshared, ours},
    headers,
};
use crate::error::{Code, Error};

/// The provider's response, whatever its status: refusals and redirects are returned as they are.
///
/// Without headers of the connection to the provider, cookies, and headers that a browser would take as the host's own
/// policy. The body is neither decompressed nor buffered: it is read as the provider sends it, and dropping the response
/// aborts the call.
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
    /// Makes a response for other implementations of [`Connection`](crate::Connection). Headers that do not pass are
    /// dropped, and the body is streamed.
    ///
    /// If the body fails, its reader gets `upstream_truncated`, or the body's error if that is an [`Error`].
    ///
    /// ```
    /// use grantry::proxy::ApiResponse;
    ///
    /// let answer = ApiResponse::from_http(http::Response::new("{}".to_owned()));
    /// assert_eq!(answer.status, 200);
    /// ```
    pub fn from_http<B>(response: http::Response<B>) -> Self
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (parts, body) = response.into_parts();
        let mut headers = parts.headers;
        headers::filter_answer(&mut headers);
        let body = body.map_err(|error| ours(error, || Code::UpstreamTruncated.into()));
        Self {
            status: parts.status,
            headers,
            body: ApiBody(Source::Given(Unshared::new(UnsyncBoxBody::new(body)))),
        }
    }

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
    /// `answer_invalid` if it is not the JSON of a `T`; otherwise as [`ApiResponse::bytes`].
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

    /// Converts it to a response of the `http` crate.
    pub fn into_http(self) -> http::Response<ApiBody> {
        let mut response = http::Response::new(self.body);
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }
}

/// The body of a response.
///
/// It ends cleanly only if the provider's response did. It fails with `upstream_truncated` if the provider closed early,
/// `upstream_protocol` if its framing is wrong, and `upstream_timeout` if nothing came for a minute.
pub struct ApiBody(Source);

enum Source {
    /// Of this process's connection to the provider.
    Provider(Arriving),
    /// Handed over with [`ApiResponse::from_http`].
    Given(Unshared<UnsyncBoxBody<Bytes, Error>>),
}

impl From<Arriving> for ApiBody {
    fn from(body: Arriving) -> Self {
        Self(Source::Provider(body))
    }
}

impl ApiBody {
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

    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
        let body = match &mut self.0 {
            Source::Provider(body) => return body.poll_chunk(cx),
            Source::Given(body) => body.get(),
        };
        loop {
            match std::task::ready!(Pin::new(&mut *body).poll_frame(cx)) {
                None => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                // Trailers are headers that nothing has checked.
                Some(Ok(frame)) => {
                    if let Ok(chunk) = frame.into_data() {
                        return Poll::Ready(Some(Ok(chunk)));
                    }
                }
            }
        }
    }
}

impl Body for ApiBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        self.get_mut().poll_chunk(cx).map_ok(Frame::data)
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Source::Provider(body) => body.is_over(),
            Source::Given(body) => body.peek(Body::is_end_stream),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Source::Provider(body) => body.size_hint(),
            Source::Given(body) => body.peek(Body::size_hint),
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
