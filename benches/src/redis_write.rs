//! D3: compare-and-set of a connection's row.
//!
//! The bare script does for one key what ours does for the row, and no more. Ours keeps the list of what is due and the
//! history as well, in the same script: three writes into structures more.

use std::cell::{Cell, RefCell};

use bytes::Bytes;
use futures_util::future::join_all;
use grantry::{
    id::ConnectionId,
    store::{Stored, Swap},
    time::Timestamp,
};
use tokio::runtime::Runtime;

use crate::{
    measure::{Scale, Timer, Variant, interleave},
    redis_fixture::{Bare, key},
    report::{Must, Row},
    world::World,
};

/// Writes that are under way at the same time.
const AT_ONCE: usize = 64;
/// Writes of each, one after the other, in one round.
const EACH: usize = 16;

/// Compares the revision that a value begins with.
const COMPARE_AND_SET: &str = "local present = redis.call('GET', KEYS[1])
if string.sub(present, 1, 24) ~= ARGV[2] then return 0 end
redis.call('SET', KEYS[1], ARGV[1])
return 1";

/// A row as it stands, to be written again and again.
struct Ours {
    stored: RefCell<Stored>,
}

impl Ours {
    async fn read(world: &World, id: &ConnectionId) -> Self {
        let read = world.stores.connections.connection(id).await.unwrap();
        let stored = RefCell::new(read.0.unwrap());
        Self { stored }
    }

    /// As a refresh does: another body, and due at another time.
    async fn write(&self, world: &World) {
        let (mut row, expected) = {
            let stored = self.stored.borrow();
            (stored.row.clone(), stored.revision)
        };
        let mut body = row.body.to_vec();
        body[..8].copy_from_slice(&expected.counter.to_le_bytes());
        row.body = Bytes::from(body);
        // Each a while ahead of all others.
        let due = row.index.due_at.unwrap_or(Timestamp(0)).0;
        row.index.due_at = Some(Timestamp(due + 7_919_000));
        let swapped = world
            .stores
            .connections
            .swap_connection(&row, expected)
            .await
            .unwrap();
        let Swap::Swapped(revision) = swapped else {
            panic!("{swapped:?}");
        };
        let mut stored = self.stored.borrow_mut();
        stored.row = row;
        stored.revision = revision;
    }
}

/// A key with as long a value.
struct Theirs {
    key: String,
    value: RefCell<Vec<u8>>,
    written: Cell<u64>,
}

impl Theirs {
    async fn write(&self, bare: &Bare, script: &str) {
        let written = self.written.get() + 1;
        self.written.set(written);
        let (next, expected) = {
            let value = self.value.borrow();
            let mut next = value.clone();
            next[..8].copy_from_slice(&written.to_be_bytes());
            (next, value[..24].to_vec())
        };
        let mut call = redis::cmd("EVALSHA");
        call.arg(script).arg(1).arg(&self.key).arg(&next).arg(expected);
        assert_eq!(bare.ask::<i64>(&call).await, 1);
        *self.value.borrow_mut() = next;
    }
}

/// D3, among the connections that are there and those that are made here.
pub fn rows(scale: Scale, runtime: &Runtime, world: &World, bare: &Bare, what: &str) -> Vec<Row> {
    let (script, ours, theirs) = runtime.block_on(async {
        let script: String = bare
            .ask(redis::cmd("SCRIPT").arg("LOAD").arg(COMPARE_AND_SET))
            .await;
        let ids = world.connect(AT_ONCE).await;
        let ours = join_all(ids.iter().map(|id| Ours::read(world, id))).await;
        let theirs = join_all(ids.iter().map(async |id| {
            let own = format!("bare:{id}");
            let value = bare.get(&key(id)).await;
            bare.ask::<()>(redis::cmd("SET").arg(&own).arg(&value)).await;
            Theirs {
                key: own,
                value: RefCell::new(value),
                written: Cell::new(0),
            }
        }));
        (script, ours, theirs.await)
    });
    let calls = u32::try_from(AT_ONCE * EACH).unwrap();
    let [swap, set] = interleave(
        Timer::Wall,
        scale.pick(21, 61),
        [
            Variant::new("swap_connection", calls, || {
                runtime.block_on(join_all(ours.iter().map(async |row| {
                    for _ in 0..EACH {
                        row.write(world).await;
                    }
                })));
            }),
            Variant::new("compare and set", calls, || {
                runtime.block_on(join_all(theirs.iter().map(async |row| {
                    for _ in 0..EACH {
                        row.write(bare, &script).await;
                    }
                })));
            }),
        ],
    );
    let path = format!("compare-and-set of a row, 64 at a time, {what}");
    vec![Row::rates("D3", path, &swap, &set, Must::AtLeast(0.8))]
}
