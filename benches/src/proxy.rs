//! E1: an API call through the broker and the same call without it.

use futures_util::future::join_all;
use grantry::{Broker, id::ConnectionId, proxy::ApiRequest, store::MemoryStore};
use http::header::AUTHORIZATION;
use tokio::runtime::Runtime;

use crate::{
    measure::{self, Scale, Timer, Variant, interleave},
    report::{Must, Row},
    upstream::{ACCESS_TOKEN, RECORD_PATH, Upstream},
    world::{self, World},
};

/// Calls at the same time in the wide row.
const WIDE: u32 = 64;
/// The longest answer that is read.
const LIMIT: usize = 1 << 16;

/// A broker with one connection to a server, and a client of reqwest.
#[derive(Debug)]
pub struct Both {
    /// One thread; the broker's loops run while a call waits.
    pub runtime: Runtime,
    broker: Broker,
    id: ConnectionId,
    direct: reqwest::Client,
    url: String,
}

impl Both {
    /// Everything on one core, if one is given.
    pub fn new(core: Option<usize>) -> (Self, Upstream) {
        let upstream = world::upstream(core);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let (broker, id) = runtime.block_on(async {
            let world = World::new(MemoryStore::default(), upstream.origin(), |b| b).await;
            let id = world.connect(1).await.remove(0);
            (world.broker, id)
        });
        let url = format!("{}{RECORD_PATH}", upstream.origin());
        let both = Self {
            runtime,
            broker,
            id,
            direct: client(true),
            url,
        };
        (both, upstream)
    }

    /// One call through the broker.
    pub async fn through_broker(&self) {
        let answer = self
            .broker
            .connection(&self.id)
            .send(ApiRequest::get(RECORD_PATH))
            .await
            .unwrap();
        assert_eq!(answer.bytes(LIMIT).await.unwrap().len(), 1024);
    }

    /// One call without it.
    pub async fn direct(&self) {
        let call = self.direct.get(&self.url).header(AUTHORIZATION, bearer());
        assert_eq!(call.send().await.unwrap().bytes().await.unwrap().len(), 1024);
    }
}

/// A client of reqwest; one that keeps connections, or one that makes a new one for each request, as the broker does for
/// token endpoints.
pub fn client(keeps: bool) -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = reqwest::Client::builder().no_proxy().http1_only();
    let idle = if keeps { usize::MAX } else { 0 };
    builder.pool_max_idle_per_host(idle).build().unwrap()
}

fn bearer() -> http::HeaderValue {
    let mut value = http::HeaderValue::from_str(&format!("Bearer {ACCESS_TOKEN}")).unwrap();
    value.set_sensitive(true);
    value
}

/// All rows of this file.
pub fn rows(scale: Scale) -> Vec<Row> {
    let mut rows = Vec::new();
    // Loopback calls between two cores take one of two times, as the other core is awake or not; on one core they take
    // one.
    measure::pin(Some(0));
    let (both, _upstream) = Both::new(Some(0));
    let calls: u32 = 200;
    let [broker, direct] = interleave(
        Timer::Wall,
        scale.pick(31, 101),
        [
            Variant::new("broker.send", calls, || {
                both.runtime.block_on(async {
                    for _ in 0..calls {
                        both.through_broker().await;
                    }
                });
            }),
            Variant::new("reqwest", calls, || {
                both.runtime.block_on(async {
                    for _ in 0..calls {
                        both.direct().await;
                    }
                });
            }),
        ],
    );
    rows.push(Row::times(
        "E1",
        "call through the proxy, 1 KB, one at a time",
        &broker,
        &direct,
        Must::AtMost(1.05),
    ));
    let each: u32 = 20;
    let [broker, direct] = interleave(
        Timer::Wall,
        scale.pick(21, 61),
        [
            Variant::new("broker.send", WIDE * each, || {
                both.runtime.block_on(join_all((0..WIDE).map(|_| async {
                    for _ in 0..each {
                        both.through_broker().await;
                    }
                })));
            }),
            Variant::new("reqwest", WIDE * each, || {
                both.runtime.block_on(join_all((0..WIDE).map(|_| async {
                    for _ in 0..each {
                        both.direct().await;
                    }
                })));
            }),
        ],
    );
    rows.push(Row::rates(
        "E1",
        "calls through the proxy, 1 KB, 64 at a time",
        &broker,
        &direct,
        Must::AtLeast(0.95),
    ));
    measure::pin(None);
    rows
}
