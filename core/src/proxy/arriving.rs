//! The body of a provider's response, as it arrives.

use std::{
    borrow::Cow,
    collections::VecDeque,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, SizeHint};
use hyper::body::Incoming;
use tokio::time::Sleep;

use super::{host::Host, wire::Line};
use crate::error::{Code, Error};

/// The rest of a response, and its connection.
pub(super) struct Arriving {
    /// Chunks that were read ahead.
    front: VecDeque<Bytes>,
    /// The rest; `None` once it ended or broke off.
    incoming: Option<Incoming>,
    /// How it broke off, if that was found when reading ahead.
    failed: Option<Error>,
    /// The connection, until it is ready for another request.
    line: Option<(Arc<Host>, Line)>,
    idle: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
    waiting: bool,
}

impl Arriving {
    pub(super) fn new(incoming: Incoming, host: &Arc<Host>, line: Line, idle: Duration) -> Self {
        // A short response has been read already: the connection is free.
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

    pub(super) fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
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
                    // Trailers are headers that nothing has checked.
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

    pub(super) fn is_over(&self) -> bool {
        self.front.is_empty()
            && self.failed.is_none()
            && self.incoming.as_ref().is_none_or(Incoming::is_end_stream)
    }

    pub(super) fn size_hint(&self) -> SizeHint {
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

/// Classifies a broken response.
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

impl Drop for Arriving {
    fn drop(&mut self) {
        // A reader that knows the length may not poll for the end.
        if self.incoming.as_ref().is_some_and(Incoming::is_end_stream) {
            self.release();
        }
    }
}
