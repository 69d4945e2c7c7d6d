//! One connection to a provider: hyper over a stream that counts.

use std::{
    io,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use hyper::client::conn::http1::{Connection, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::body::Outgoing;

/// The most bytes that may come before a response's body: its header section, which has a limit of its own, and
/// informational responses (1xx). Generous, because the beginning of a body may arrive before the headers are seen.
const MAX_HEAD: usize = 4 << 20;
/// How often an idle connection is checked; if unused between two checks, it is closed.
const LOOK: Duration = Duration::from_secs(15);

/// What is known of a connection, shared by its user and the task that drives it.
#[derive(Debug, Default)]
pub(super) struct State {
    busy: AtomicBool,
    uses: AtomicU32,
    written: AtomicU64,
    /// Bytes read since the request was handed over; none are counted once the header section is there.
    head: AtomicUsize,
    in_head: AtomicBool,
}

impl State {
    /// Bytes written so far.
    pub(super) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Whether more came before the response than is allowed.
    pub(super) fn is_flooded(&self) -> bool {
        self.head.load(Ordering::Relaxed) > MAX_HEAD
    }

    fn is_too_much(&self, bytes: usize) -> bool {
        self.in_head.load(Ordering::Relaxed)
            && self
                .head
                .fetch_add(bytes, Ordering::Relaxed)
                .saturating_add(bytes)
                > MAX_HEAD
    }
}

/// A connection that requests can be sent on, one at a time.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) sender: SendRequest<Outgoing>,
    pub(super) state: Arc<State>,
}

impl Line {
    /// Takes the line for one request.
    pub(super) fn begin(&self) {
        self.state.busy.store(true, Ordering::Release);
        self.state.uses.fetch_add(1, Ordering::AcqRel);
        self.state.head.store(0, Ordering::Relaxed);
        self.state.in_head.store(true, Ordering::Relaxed);
    }

    /// The header section of the response is there.
    pub(super) fn answered(&self) {
        self.state.in_head.store(false, Ordering::Relaxed);
    }

    /// The line is idle.
    pub(super) fn rest(&self) {
        self.state.busy.store(false, Ordering::Release);
    }
}

/// Drives a connection until it ends or has been idle for a while. A request that is handed over just as it is closed comes
/// back unsent.
pub(super) async fn drive<T>(connection: Connection<TokioIo<Counted<T>>, Outgoing>, state: Arc<State>)
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let mut connection = pin!(connection);
    let mut seen = None;
    while tokio::time::timeout(LOOK, connection.as_mut()).await.is_err() {
        let uses = state.uses.load(Ordering::Acquire);
        if !state.busy.load(Ordering::Acquire) && seen == Some(uses) {
            return;
        }
        seen = Some(uses);
    }
}

/// A stream that counts bytes.
#[derive(Debug)]
pub(super) struct Counted<T> {
    stream: T,
    state: Arc<State>,
}

impl<T> Counted<T> {
    pub(super) fn new(stream: T, state: Arc<State>) -> Self {
        Self { stream, state }
    }

    fn wrote(&self, result: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(bytes)) = result {
            self.state.written.fetch_add(*bytes as u64, Ordering::Relaxed);
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Counted<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if self.state.is_too_much(buf.filled().len() - before) {
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        read
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Counted<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.wrote(&result);
        result
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.wrote(&result);
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
