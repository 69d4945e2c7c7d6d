//! A future that is polled so often, and then dropped.

use std::{
    future::Future,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use tokio::sync::Notify;

struct Bell(Notify);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.notify_one();
    }
}

/// Polls `future` so often, each time when it was woken, and drops it. With `woken` it is dropped when what it waits for
/// has just come, and else as soon as it waits. Answers what it answered, if that was sooner.
pub async fn drop_at<T>(polls: u32, woken: bool, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let bell = Arc::new(Bell(Notify::new()));
    let waker = Waker::from(bell.clone());
    for poll in 1..=polls {
        if let Poll::Ready(answer) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return Some(answer);
        }
        if poll < polls || woken {
            let woken = tokio::time::timeout(Duration::from_secs(600), bell.0.notified());
            assert!(woken.await.is_ok(), "nobody woke it after {poll} polls");
        }
    }
    None
}
