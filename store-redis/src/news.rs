//! Hearing of what other processes should see at once: a connection that ended, an integration that was changed. Scripts
//! publish a word on the store's channel, and whoever hears it looks.
//!
//! Nothing depends on it. A word may be lost, with a connection or a server or because the user may not publish; then the
//! change is seen when it is looked for.

use std::{sync::Arc, time::Duration};

use futures_util::{FutureExt as _, StreamExt as _};
use grantry::time::{BootInstant, Clock as _, SystemClock};
use redis::aio::{PubSubSink, PubSubStream};
use tokio::{sync::Mutex, task::JoinHandle};

use crate::{error::Failure, link::Link};

/// Between two tries to listen.
const REST: Duration = Duration::from_secs(5);
/// How long listening may take to begin.
const LIMIT: Duration = Duration::from_secs(5);

/// The store's channel, to which this process listens once somebody waits for news.
pub(crate) struct News {
    link: Arc<Link>,
    channel: String,
    /// Whoever waits has the lock; what was begun goes on when they do not wait any more.
    state: Mutex<State>,
}

#[derive(Default)]
enum State {
    /// Nobody has listened yet.
    #[default]
    New,
    /// A task of its own, since those who wait do so for a short time only.
    Beginning(JoinHandle<Option<Listening>>),
    Listening(Listening),
    /// It could not be begun.
    Resting(BootInstant),
}

/// Both halves: dropping the first would end the second.
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

    /// Ends when a word was heard, or when words may have been missed.
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
                    *state = State::Resting(SystemClock.boot() + REST);
                }
                State::Resting(end) => {
                    let rest = *end - SystemClock.boot();
                    tokio::time::sleep(rest).await;
                    *state = State::New;
                }
                State::Listening(listening) => {
                    let heard = listening.words.next().await;
                    // Those that came meanwhile are told with it.
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

/// Listens to a channel; `None` if that cannot be.
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
