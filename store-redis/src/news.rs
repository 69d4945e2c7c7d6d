//! Change notifications, for what other processes should see at once: a connection that ended, an integration that
//! was edited. Scripts publish on the store's channel, and subscribers poll.
//!
//! Nothing depends on them. A message may be lost, with a connection or a server, or because the user may not
//! publish; then the next poll sees the change.

use std::{sync::Arc, time::Duration};

use futures_util::{FutureExt as _, StreamExt as _};
use grantry::time::{BootInstant, Clock as _, SystemClock};
use redis::aio::{PubSubSink, PubSubStream};
use tokio::{sync::Mutex, task::JoinHandle};

use crate::{error::Failure, link::Link};

/// The pause between attempts to subscribe.
const PAUSE: Duration = Duration::from_secs(5);
/// How long an attempt to subscribe may take.
const LIMIT: Duration = Duration::from_secs(5);

/// A subscription to the store's channel, made on the first wait.
pub(crate) struct News {
    link: Arc<Link>,
    channel: String,
    /// Locked while a caller waits. A subscription in progress continues when they stop waiting.
    state: Mutex<State>,
}

#[derive(Default)]
enum State {
    /// Not subscribed yet.
    #[default]
    New,
    /// Subscribing, in a task of its own, since callers wait only briefly.
    Beginning(JoinHandle<Option<Listening>>),
    Listening(Listening),
    /// Subscribing failed; until then nothing is tried.
    BackingOff(BootInstant),
}

/// Both halves of the subscription: dropping the first would end the second.
struct Listening {
    _sink: PubSubSink,
    words: PubSubStream,
}

impl News {
    pub(crate) fn new(link: Arc<Link>, channel: String) -> Self {
        Self {
            link,
            channel,
            state: Mutex::default(),
        }
    }

    /// Resolves when changes should be polled now: on a message, or if messages may have been missed.
    pub(crate) async fn heard(&self) {
        let mut state = self.state.lock().await;
        loop {
            match &mut *state {
                State::New => *state = State::Beginning(begin(self.link.clone(), self.channel.clone())),
                State::Beginning(task) => {
                    if let Ok(Some(listening)) = task.await {
                        *state = State::Listening(listening);
                        return;
                    }
                    *state = State::BackingOff(SystemClock.boot() + PAUSE);
                }
                State::BackingOff(end) => {
                    let pause = *end - SystemClock.boot();
                    tokio::time::sleep(pause).await;
                    *state = State::New;
                }
                State::Listening(listening) => {
                    let heard = listening.words.next().await;
                    // One poll serves all messages that arrived meanwhile.
                    while let Some(Some(_)) = listening.words.next().now_or_never() {}
                    if heard.is_none() {
                        *state = State::New;
                    }
                    return;
                }
            }
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "it ends by itself within its limit, and nothing is lost with it"
)]
fn begin(link: Arc<Link>, channel: String) -> JoinHandle<Option<Listening>> {
    tokio::spawn(listen(link, channel))
}

/// Subscribes to a channel; `None` if that fails.
async fn listen(link: Arc<Link>, channel: String) -> Option<Listening> {
    let listen = async {
        let client = link.client().await?;
        let listening = async {
            let (mut sink, words) = client.get_async_pubsub().await?.split();
            sink.subscribe(channel).await?;
            Ok(Listening { _sink: sink, words })
        };
        listening.await.map_err(|error| Failure::of(&error))
    };
    tokio::time::timeout(LIMIT, listen).await.ok()?.ok()
}
