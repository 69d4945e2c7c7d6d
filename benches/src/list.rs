//! C4 and C5: pages of connections among many.

use std::{collections::BTreeMap, hint::black_box, path::Path};

use futures_util::{FutureExt as _, StreamExt as _};
use grantry::{
    id::{ConnectionId, IntegrationId},
    store::{ConnectionFilter, ConnectionRow, Inserted, StatusFilter},
};
use grantry_store_sqlite::SqliteStore;
use rusqlite::{Connection, config::DbConfig, params};
use tokio::runtime::Runtime;

use crate::{
    measure::{Scale, Timer, Variant, interleave, p99},
    report::{Must, Row},
    world::{self, World},
};

/// Rows of a page.
pub(crate) const PAGE: u32 = 20;
/// Rows that are inserted at the same time.
const AT_ONCE: usize = 512;
/// From terms that nearly every address has to one that none has.
const TERMS: [&str; 6] = ["com", "a", "acme", "anna.7", "zebra-hill", "qqqq"];

/// The limit: the columns that a list shows, by the same index of the same file.
const BARE: &str = "SELECT id, environment, status, email, owner, metadata, connected_at, body FROM connection \
     INDEXED BY connection_live WHERE integration = ?1 AND status <> 'deleted' AND n < ?2 ORDER BY n DESC LIMIT ?3";

/// All rows of this file.
pub fn rows(scale: Scale) -> Vec<Row> {
    let runtime = world::runtime();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("grantry.db");
    let count = scale.pick(100_000, 1_000_000);
    let (world, ids) = runtime.block_on(async {
        let store = SqliteStore::open(&file).await.unwrap();
        let world = World::new(store, world::nowhere(), |b| b).await;
        let ids = fill(&world, count).await;
        (world, ids)
    });
    let mut rows = pages(scale, &runtime, &world, &ids, &file);
    rows.extend(searches(("C5", scale.pick(200, 1000)), &runtime, &world, count));
    rows
}

/// Makes one connection and inserts copies of its row under other ids and addresses.
pub(crate) async fn fill(world: &World, count: usize) -> Vec<ConnectionId> {
    let first = world.connect(1).await.remove(0);
    let read = world.stores.connections.connection(&first).await.unwrap();
    let row = read.0.unwrap().row;
    let mut ids: Vec<ConnectionId> = (1..count).map(|_| ConnectionId::generate()).collect();
    ids.sort();
    futures_util::stream::iter(ids.iter().enumerate())
        .map(|(n, id)| {
            let mut index = row.index.clone();
            index.email = address(n);
            index.owner = format!("user-{n}");
            let row = ConnectionRow {
                id: id.clone(),
                index,
                body: row.body.clone(),
            };
            async move {
                let inserted = world.stores.connections.insert_connection(&row).await.unwrap();
                assert!(matches!(inserted, Inserted::Created(_)));
            }
        })
        .buffer_unordered(AT_ONCE)
        .collect::<()>()
        .await;
    ids.insert(0, first);
    ids
}

fn address(n: usize) -> String {
    const NAMES: [&str; 8] = [
        "anna", "bjorn", "carla", "dmitri", "esther", "farid", "greta", "hugo",
    ];
    const HOSTS: [&str; 5] = [
        "acme.com",
        "globex.com",
        "initech.com",
        "umbrella.com",
        "example.org",
    ];
    if n % 20_011 == 20_000 {
        return format!("{n}@zebra-hill.test");
    }
    format!("{}.{n}@{}", NAMES[n % 8], HOSTS[n / 8 % 5])
}

/// Every connection that is not deleted.
pub(crate) fn all(world: &World) -> ConnectionFilter {
    ConnectionFilter {
        integration: world.integration.clone(),
        status: StatusFilter::Live,
        environment: None,
        email_contains: None,
        owner: None,
        metadata: BTreeMap::new(),
    }
}

fn pages(scale: Scale, runtime: &Runtime, world: &World, ids: &[ConnectionId], file: &Path) -> Vec<Row> {
    let all = all(world);
    // The page before which everything but one page lies.
    let before = &ids[PAGE as usize + 1];
    let bare = Bare::open(file, &world.integration);
    let deep = bare.place(before);
    let cursor = runtime.block_on(last_cursor(world));
    let store = |before: Option<&ConnectionId>| {
        let page = world.stores.connections.list_connections(&all, before, PAGE);
        assert_eq!(
            black_box(page.now_or_never().unwrap().unwrap()).items.len(),
            PAGE as usize
        );
    };
    let public = |cursor: Option<&String>| {
        let list = world
            .broker
            .integration(&world.integration)
            .connections()
            .limit(PAGE);
        let list = cursor.map_or(list.clone(), |cursor| list.cursor(cursor));
        black_box(list.into_future().now_or_never().unwrap().unwrap());
    };
    let calls: u32 = 50;
    let [first, last, bare_first, bare_last, public_first, public_last] = interleave(
        Timer::Cpu,
        scale.pick(21, 61),
        [
            Variant::each("first page", calls, || store(None)),
            Variant::each("last page", calls, || store(Some(before))),
            Variant::each("bare SELECT", calls, || bare.page(i64::MAX)),
            Variant::each("bare SELECT", calls, || bare.page(deep)),
            Variant::each("first page", calls, || public(None)),
            Variant::each("last page", calls, || public(Some(&cursor))),
        ],
    );
    let path = |what: &str| format!("{what} of {} rows", ids.len());
    vec![
        Row::times(
            "C4",
            path("page of 20, first, store,"),
            &first,
            &bare_first,
            Must::AtMost(1.3),
        ),
        Row::times(
            "C4",
            path("page of 20, last, store,"),
            &last,
            &bare_last,
            Must::AtMost(1.3),
        ),
        Row::times(
            "C4",
            path("page of 20, last over first,"),
            &last,
            &first,
            Must::AtMost(1.2),
        ),
        Row::times(
            "C4",
            path("page of 20, first, whole call,"),
            &public_first,
            &bare_first,
            Must::Nothing,
        ),
        Row::times(
            "C4",
            path("page of 20, last, whole call,"),
            &public_last,
            &bare_last,
            Must::Nothing,
        ),
    ]
}

/// The cursor of the last page, which only a walk through all of them gives.
async fn last_cursor(world: &World) -> String {
    let mut cursor: Option<String> = None;
    loop {
        let list = world
            .broker
            .integration(&world.integration)
            .connections()
            .limit(100);
        let list = cursor.clone().map_or(list.clone(), |cursor| list.cursor(cursor));
        match list.await.unwrap().next_cursor {
            Some(next) => cursor = Some(next),
            None => return cursor.unwrap(),
        }
    }
}

/// Single calls, since the slowest count.
pub(crate) fn searches(
    (id, calls): (&'static str, usize),
    runtime: &Runtime,
    world: &World,
    count: usize,
) -> Vec<Row> {
    let search = |term: &str| {
        let list = world
            .broker
            .integration(&world.integration)
            .connections()
            .limit(PAGE)
            .email_contains(term);
        let begun = Timer::Wall.now();
        let found = runtime.block_on(list.into_future()).unwrap().connections.len();
        (Timer::Wall.now() - begun, found)
    };
    TERMS
        .iter()
        .map(|term| {
            search(term);
            #[expect(clippy::cast_precision_loss, reason = "nanoseconds of one call")]
            let figures: Vec<f64> = (0..calls).map(|_| search(term).0 as f64 / 1e6).collect();
            let path = format!("p99 of e-mail substring \"{term}\" among {count}, whole call");
            let found = format!("{} on the page", search(term).1);
            Row::figure(id, path, p99(figures), "ms", found, Must::AtMost(5.0))
        })
        .collect()
}

struct Bare {
    db: Connection,
    integration: String,
}

impl Bare {
    fn open(file: &Path, integration: &IntegrationId) -> Self {
        let db = Connection::open(file).unwrap();
        db.execute_batch("PRAGMA mmap_size = 0; PRAGMA cache_size = -8192;")
            .unwrap();
        // Without it the partial index would have the statement planned anew at each call.
        db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)
            .unwrap();
        let integration = integration.as_str().to_owned();
        Self { db, integration }
    }

    fn place(&self, id: &ConnectionId) -> i64 {
        self.db
            .query_row("SELECT n FROM connection WHERE id = ?1", [id.as_str()], |row| {
                row.get(0)
            })
            .unwrap()
    }

    fn page(&self, before: i64) {
        let mut select = self.db.prepare_cached(BARE).unwrap();
        let rows = select
            .query_map(params![self.integration, before, PAGE], |row| {
                let text = |column| row.get::<_, String>(column);
                let texts = (text(0)?, text(1)?, text(2)?, text(3)?, text(4)?, text(5)?);
                Ok((texts, row.get::<_, i64>(6)?, row.get::<_, Vec<u8>>(7)?))
            })
            .unwrap();
        let rows: Vec<_> = rows.map(Result::unwrap).collect();
        assert_eq!(black_box(rows).len(), PAGE as usize);
    }
}
