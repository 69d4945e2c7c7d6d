//! C1–C3: a token set from and into SQLite.

use std::{
    cell::{Cell, RefCell},
    hint::black_box,
    path::Path,
};

use bytes::Bytes;
use futures_util::{FutureExt as _, future::join_all};
use grantry::{
    Broker,
    id::ConnectionId,
    store::{Revision, Stored, Swap},
    vault::{Keyring, TokenVault as _},
};
use grantry_store_sqlite::SqliteStore;
use rusqlite::{Connection, params};
use tokio::runtime::Runtime;

use crate::{
    measure::{Scale, Timer, Variant, interleave, shuffled},
    report::{Must, Row},
    vault::{AAD, Bare, context},
    world::{self, World},
};

/// Bytes of a token set under the seal.
const SET: usize = 287;
/// Rows that are written at the same time.
const AT_ONCE: usize = 64;

/// The limit: a table with a key and a sealed token set, with the settings of the store.
pub struct BareTable {
    db: Connection,
    next: Vec<u8>,
    written: u64,
}

impl std::fmt::Debug for BareTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BareTable")
    }
}

impl BareTable {
    /// A table with a row for each id.
    pub fn create(path: &Path, ids: &[ConnectionId], cipher: &Bare) -> Self {
        let db = Connection::open(path).unwrap();
        db.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA fullfsync = ON; PRAGMA mmap_size = 0;
             PRAGMA cache_size = -8192; PRAGMA temp_store = MEMORY;
             CREATE TABLE token (id TEXT PRIMARY KEY, sealed BLOB NOT NULL) STRICT; BEGIN;",
        )
        .unwrap();
        let set = vec![b'x'; SET];
        for id in ids {
            let row = params![id.as_str(), cipher.seal(AAD, &set)];
            db.prepare_cached("INSERT INTO token VALUES (?1, ?2)")
                .unwrap()
                .execute(row)
                .unwrap();
        }
        db.execute_batch("COMMIT").unwrap();
        Self {
            db,
            next: cipher.seal(AAD, &set),
            written: 0,
        }
    }

    /// A row's token set.
    pub fn select(&self, id: &ConnectionId) -> Vec<u8> {
        let mut select = self
            .db
            .prepare_cached("SELECT sealed FROM token WHERE id = ?1")
            .unwrap();
        select.query_row([id.as_str()], |row| row.get(0)).unwrap()
    }

    /// Writes a row, in a commit of its own. What is written must be new each time: SQLite writes nothing, and syncs
    /// nothing, for bytes that stand there already.
    pub fn commit(&mut self, id: &ConnectionId) {
        self.written += 1;
        self.next[..8].copy_from_slice(&self.written.to_le_bytes());
        let mut update = self
            .db
            .prepare_cached("UPDATE token SET sealed = ?2 WHERE id = ?1")
            .unwrap();
        update.execute(params![id.as_str(), self.next]).unwrap();
    }
}

/// All rows of this file.
pub fn rows(scale: Scale) -> Vec<Row> {
    let runtime = world::runtime();
    let directory = tempfile::tempdir().unwrap();
    let count = scale.pick(5_000, 20_000);
    let (world, ids) = runtime.block_on(async {
        let store = SqliteStore::open(directory.path().join("grantry.db"))
            .await
            .unwrap();
        let world = World::new(store, world::nowhere(), |b| b).await;
        let ids = world.connect(count).await;
        (world, ids)
    });
    let cipher = Bare::default();
    let mut bare = BareTable::create(&directory.path().join("bare.db"), &ids, &cipher);
    let mut rows = cold(scale, &runtime, &world, &ids, &bare, &cipher);
    rows.extend(writes(scale, &runtime, &world, &ids, &mut bare));
    rows
}

/// C1: in CPU time, since both sides read inline and from the machine's own cache of the file.
fn cold(
    scale: Scale,
    runtime: &Runtime,
    world: &World,
    ids: &[ConnectionId],
    bare: &BareTable,
    cipher: &Bare,
) -> Vec<Row> {
    let rounds = scale.pick(21, 61);
    let calls = u32::try_from(ids.len() / 2 / (rounds + 1)).unwrap().min(300);
    let order: Vec<&ConnectionId> = shuffled(ids.len()).into_iter().map(|i| &ids[i]).collect();
    let batches: Vec<&[&ConnectionId]> = order.chunks_exact(calls as usize).collect();
    // It has seen none of these connections, only their integration.
    let fresh: Broker = {
        let _inside = runtime.enter();
        world::broker(&world.stores, &world::keyring(), world::nowhere(), |b| b)
    };
    let first = fresh.integration(&world.integration);
    runtime.block_on(first.view()).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));
    // Both of ours read through one pool, and whoever reads a row second finds its pages there: so each has rows of its
    // own.
    let (of_whole, of_read) = batches.split_at(rounds + 1);
    let (mut at, mut bare_at, mut read_at) = (of_whole.iter(), of_whole.iter(), of_read.iter());
    let [whole, select_and_open, select] = interleave(
        Timer::Cpu,
        rounds,
        [
            Variant::new("credentials", calls, || {
                for id in *at.next().unwrap() {
                    let _ = black_box(fresh.credentials(id).now_or_never().unwrap().unwrap());
                }
            }),
            Variant::new("SELECT + open", calls, || {
                for id in *bare_at.next().unwrap() {
                    black_box(cipher.open(AAD, &bare.select(id)));
                }
            }),
            Variant::new("store.connection", calls, || {
                for id in *read_at.next().unwrap() {
                    let read = world.stores.connections.connection(id);
                    let _ = black_box(read.now_or_never().unwrap().unwrap());
                }
            }),
        ],
    );
    vec![
        Row::times(
            "C1",
            "cold credentials() from SQLite",
            &whole,
            &select_and_open,
            Must::AtMost(1.5),
        ),
        Row::times(
            "C1",
            "of which: the store's read",
            &select,
            &select_and_open,
            Must::Nothing,
        ),
    ]
}

/// A row as it stands, to be written again and again.
struct Writable {
    stored: RefCell<Stored>,
}

impl Writable {
    /// Seals a token set and swaps the row for one with it.
    async fn write(&self, world: &World, keyring: &Keyring, text: &[u8]) {
        let sealed = keyring.seal(&context(), text).await.unwrap();
        let (mut row, expected): (_, Revision) = {
            let stored = self.stored.borrow();
            (stored.row.clone(), stored.revision)
        };
        // The body of a real row, whose first part is the sealed token set.
        let mut body = row.body.to_vec();
        body[5..5 + SET].copy_from_slice(&sealed[..SET]);
        row.body = Bytes::from(body);
        match world
            .stores
            .connections
            .swap_connection(&row, expected)
            .await
            .unwrap()
        {
            Swap::Swapped(revision) => self.stored.borrow_mut().revision = revision,
            other => panic!("{other:?}"),
        }
    }
}

/// C2 and C3.
fn writes(
    scale: Scale,
    runtime: &Runtime,
    world: &World,
    ids: &[ConnectionId],
    bare: &mut BareTable,
) -> Vec<Row> {
    let keyring = Keyring::parse(&world::keyring()).unwrap();
    let text = vec![b'x'; SET];
    let ids = &ids[..AT_ONCE];
    let rows: Vec<Writable> = ids
        .iter()
        .map(|id| {
            let read = runtime.block_on(world.stores.connections.connection(id)).unwrap();
            Writable {
                stored: RefCell::new(read.0.unwrap()),
            }
        })
        .collect();
    let calls: u32 = 32;
    let at = Cell::new(0_usize);
    let next = || at.replace((at.get() + 1) % AT_ONCE);
    let [ours, commit] = interleave(
        Timer::Wall,
        scale.pick(15, 41),
        [
            Variant::new("seal + swap", calls, || {
                runtime.block_on(async {
                    for _ in 0..calls {
                        rows[next()].write(world, &keyring, &text).await;
                    }
                });
            }),
            Variant::new("one-row commit", calls, || {
                for _ in 0..calls {
                    bare.commit(&ids[next()]);
                }
            }),
        ],
    );
    let at_once = u32::try_from(AT_ONCE).unwrap();
    let [grouped, one_by_one] = interleave(
        Timer::Wall,
        scale.pick(11, 31),
        [
            Variant::new("seal + swap", at_once, || {
                runtime.block_on(async {
                    let writes = rows.iter().map(|row| row.write(world, &keyring, &text));
                    join_all(writes).await;
                });
            }),
            Variant::new("one commit each", at_once, || {
                for id in ids {
                    bare.commit(id);
                }
            }),
        ],
    );
    vec![
        Row::times(
            "C2",
            "durable write: seal and swap, FULL",
            &ours,
            &commit,
            Must::AtMost(1.3),
        ),
        Row::rates(
            "C3",
            "64 durable writes at once, FULL",
            &grouped,
            &one_by_one,
            Must::AtLeast(3.0),
        ),
    ]
}
