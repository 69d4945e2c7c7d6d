//! F1 and F2: refreshes.
//!
//! The broker opens a new connection for each presentation (a reused one may be dead, and then nobody knows whether the
//! token was spent), so the same exchange by reqwest does so, too; with a pool it is a row for comparison.

use std::{cell::RefCell, sync::Arc};

use futures_util::future::join_all;
use grantry::{
    connection::GrantVersion,
    id::{ConnectionId, IntegrationId},
    integration::{Client, Options},
    provider::{Provider as _, TokenHttp, Transport},
    secret::Secret,
    time::{Clock as _, SystemClock},
    transport::HttpTransport,
};
use grantry_provider_salesforce::Salesforce;
use grantry_store_sqlite::SqliteStore;
use tokio::runtime::Runtime;

use crate::{
    measure::{self, Scale, Timer, Variant, interleave},
    proxy,
    report::{Must, Row},
    sqlite::BareTable,
    upstream::{REFRESH_TOKEN, TOKEN_PATH, Upstream},
    vault::{AAD, Bare},
    world::{self, World},
};

/// Refreshes at the same time in the wide rows.
const WIDE: u32 = 64;

/// The exchange by reqwest, its answer parsed.
pub async fn raw(client: &reqwest::Client, url: &str) -> String {
    let form = [
        ("grant_type", "refresh_token"),
        ("refresh_token", REFRESH_TOKEN),
        ("client_id", "3MVG9bench"),
        ("client_secret", "5E3C0DE5"),
    ];
    let answer = client.post(url).form(&form).send().await.unwrap();
    let mut answer: serde_json::Value = answer.json().await.unwrap();
    match answer["access_token"].take() {
        serde_json::Value::String(token) => token,
        other => panic!("no token: {other}"),
    }
}

/// All rows of this file.
pub fn rows(scale: Scale) -> Vec<Row> {
    measure::pin(Some(0));
    let upstream = world::upstream(Some(0));
    let mut rows = exchanges(scale, &upstream);
    measure::pin(None);
    rows.extend(whole(scale, &world::upstream(None)));
    rows
}

/// Salesforce's exchange through the transport, without a broker.
struct Exchange {
    salesforce: Salesforce,
    transport: Arc<dyn Transport>,
    integration: IntegrationId,
    options: Options,
    secret: Secret,
    token: Secret,
}

impl Exchange {
    async fn run(&self) {
        let client = Client {
            integration: &self.integration,
            offering: &self.salesforce.facts().offerings[0],
            client_id: "3MVG9bench",
            client_secret: &self.secret,
            scopes: &[],
            callback_url: "http://127.0.0.1:8080/callback/int_1",
            options: &self.options,
            allow_loopback: true,
        };
        let (http, _) = TokenHttp::new(self.transport.clone());
        let set = self
            .salesforce
            .refresh(http, &client, &self.token, SystemClock.wall())
            .await;
        drop(set.unwrap());
    }
}

/// F1.
fn exchanges(scale: Scale, upstream: &Upstream) -> Vec<Row> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let exchange = Exchange {
        salesforce: Salesforce::new(),
        transport: Arc::new(HttpTransport::builder().allow_loopback(true).build().unwrap()),
        integration: IntegrationId::new("int_1").unwrap(),
        options: [("loginUrl".to_owned(), upstream.origin().into())].into(),
        secret: Secret::new("5E3C0DE5"),
        token: Secret::new(REFRESH_TOKEN),
    };
    let url = format!("{}{TOKEN_PATH}", upstream.origin());
    let (fresh, pooled) = (proxy::client(false), proxy::client(true));
    let calls: u32 = 64;
    let (exchange, url, fresh, pooled, runtime) = (&exchange, &url, &fresh, &pooled, &runtime);
    let [ours, raw_fresh, raw_pooled] = interleave(
        Timer::Wall,
        scale.pick(31, 81),
        [
            Variant::each("provider", calls, || runtime.block_on(exchange.run())),
            Variant::each("reqwest, new connection", calls, || {
                drop(runtime.block_on(raw(fresh, url)));
            }),
            Variant::each("reqwest, kept connection", calls, || {
                drop(runtime.block_on(raw(pooled, url)));
            }),
        ],
    );
    let [wide, raw_wide] = interleave(
        Timer::Wall,
        scale.pick(21, 61),
        [
            Variant::new("provider", WIDE, || {
                runtime.block_on(join_all((0..WIDE).map(|_| exchange.run())));
            }),
            Variant::new("reqwest, new connection", WIDE, || {
                runtime.block_on(join_all((0..WIDE).map(|_| raw(fresh, url))));
            }),
        ],
    );
    vec![
        Row::times(
            "F1",
            "refresh exchange, one at a time",
            &ours,
            &raw_fresh,
            Must::AtMost(1.05),
        ),
        Row::times(
            "F1",
            "refresh exchange, one at a time",
            &ours,
            &raw_pooled,
            Must::Nothing,
        ),
        Row::times(
            "F1",
            "refresh exchange, 64 at a time",
            &wide,
            &raw_wide,
            Must::AtMost(1.10),
        ),
    ]
}

/// A connection and the set that was handed out last.
struct Current {
    id: ConnectionId,
    set: RefCell<GrantVersion>,
}

impl Current {
    /// Reports the set as refused, which brings a new one.
    async fn refresh(&self, world: &World) {
        let seen = *self.set.borrow();
        let newer = world
            .broker
            .connection(&self.id)
            .refused(seen)
            .await
            .unwrap()
            .version;
        assert!(newer > seen);
        *self.set.borrow_mut() = newer;
    }
}

/// F2.
fn whole(scale: Scale, upstream: &Upstream) -> Vec<Row> {
    let runtime: Runtime = world::runtime();
    let directory = tempfile::tempdir().unwrap();
    let (world, connections) = runtime.block_on(async {
        let store = SqliteStore::open(directory.path().join("grantry.db"))
            .await
            .unwrap();
        let world = World::new(store, upstream.origin(), |b| b).await;
        let mut connections = Vec::new();
        for id in world.connect(WIDE as usize).await {
            let set = RefCell::new(world.broker.credentials(&id).await.unwrap().version);
            connections.push(Current { id, set });
        }
        (world, connections)
    });
    let cipher = Bare::default();
    let ids: Vec<ConnectionId> = connections.iter().map(|c| c.id.clone()).collect();
    let bare = RefCell::new(BareTable::create(
        &directory.path().join("bare.db"),
        &ids,
        &cipher,
    ));
    let url = format!("{}{TOKEN_PATH}", upstream.origin());
    let client = proxy::client(false);
    let set = [b'x'; 287];
    let parts = |id: &ConnectionId| {
        // The intent and the new set: as many commits as ours.
        bare.borrow_mut().commit(id);
        std::hint::black_box(cipher.seal(AAD, &set));
        bare.borrow_mut().commit(id);
    };
    let calls: u32 = 16;
    let [ours, parts_one, raw_one] = interleave(
        Timer::Wall,
        scale.pick(21, 61),
        [
            Variant::new("refused()", calls, || {
                runtime.block_on(async {
                    for connection in connections.iter().take(calls as usize) {
                        connection.refresh(&world).await;
                    }
                });
            }),
            Variant::new("raw + seal + 2 commits", calls, || {
                for id in &ids[..calls as usize] {
                    runtime.block_on(raw(&client, &url));
                    parts(id);
                }
            }),
            Variant::new("raw exchange", calls, || {
                for _ in 0..calls {
                    runtime.block_on(raw(&client, &url));
                }
            }),
        ],
    );
    let [ours_wide, parts_wide] = interleave(
        Timer::Wall,
        scale.pick(11, 31),
        [
            Variant::new("refused()", WIDE, || {
                runtime.block_on(join_all(connections.iter().map(|c| c.refresh(&world))));
            }),
            Variant::new("raw + seal + 2 commits", WIDE, || {
                runtime.block_on(join_all((0..WIDE).map(|_| raw(&client, &url))));
                ids.iter().for_each(parts);
            }),
        ],
    );
    vec![
        Row::times(
            "F2",
            "whole refresh, durable, one at a time",
            &ours,
            &parts_one,
            Must::AtMost(1.10),
        ),
        Row::times(
            "F2",
            "whole refresh, durable, one at a time",
            &ours,
            &raw_one,
            Must::Nothing,
        ),
        Row::rates(
            "F2",
            "whole refreshes, durable, 64 at a time",
            &ours_wide,
            &parts_wide,
            Must::Nothing,
        ),
    ]
}
