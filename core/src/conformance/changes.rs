//! Cases about the history of changes.

use std::{
    collections::BTreeMap,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use super::{
    AtOnce, Fixture, advance,
    rows::{Works as _, connection, insert, other, row, swap},
};
use crate::{
    store::{Changes, ConnectionStore, HotFacts, Inserted, Point, Removed, Revision, Swap},
    time::{Clock as _, SystemClock},
};

async fn now(store: &impl ConnectionStore) -> Point {
    let changes = store.connection_changes(None).await.works();
    assert_eq!(
        changes.changed,
        [],
        "who asks for the present point gets no changes"
    );
    assert!(!changes.gap, "who asks for the present point missed nothing");
    changes.next
}

async fn since(store: &impl ConnectionStore, point: &Point) -> Changes {
    let changes = store.connection_changes(Some(point)).await.works();
    assert!(!changes.gap, "a few changes are no gap");
    changes
}

fn told(changes: &Changes) -> BTreeMap<String, Revision> {
    let told: BTreeMap<_, _> = changes
        .changed
        .iter()
        .map(|change| (change.id.to_string(), change.revision))
        .collect();
    assert_eq!(told.len(), changes.changed.len(), "each row at most once");
    told
}

/// Inserts, swaps and removals of another handle are reported, each row once and with its present revision.
pub async fn changes_of_another_handle_are_told<F: Fixture<Store: ConnectionStore>>(fixture: &F) {
    let (store, peer) = (fixture.open().await, fixture.open().await);
    insert(&store, &row("con_0")).await;
    let begin = now(&store).await;
    assert_eq!(since(&store, &begin).await.changed, []);

    let inserted = insert(&peer, &row("con_1")).await;
    let first = since(&store, &begin).await;
    assert_eq!(told(&first), BTreeMap::from([("con_1".to_owned(), inserted)]));

    let second = swap(&peer, &row("con_1"), inserted).await;
    assert_eq!(
        told(&since(&store, &first.next).await),
        BTreeMap::from([("con_1".to_owned(), second)]),
        "a swap is told that changes nothing by which rows are found"
    );
    let third = swap(&peer, &other("con_1"), second).await;
    let after = since(&store, &first.next).await;
    assert_eq!(told(&after), BTreeMap::from([("con_1".to_owned(), third)]));
    assert_eq!(
        told(&since(&store, &begin).await),
        told(&after),
        "from the begin, too"
    );

    let removed = peer.remove_connection(&connection("con_1"), third).await.works();
    assert_eq!(removed, Removed::Gone);
    let gone = since(&store, &after.next).await;
    let told = told(&gone);
    assert_eq!(told.keys().collect::<Vec<_>>(), ["con_1"], "a removal is told");
    assert!(
        ![inserted, second, third].contains(&told["con_1"]),
        "who knows the last revision must see that something happened"
    );
    assert_eq!(
        since(&store, &gone.next).await.changed,
        [],
        "nothing is told twice"
    );
}

/// A removed row that is inserted again is reported with its present revision.
pub async fn a_row_that_came_back_is_told<F: Fixture<Store: ConnectionStore>>(fixture: &F) {
    let (store, peer) = (fixture.open().await, fixture.open().await);
    let begin = now(&store).await;
    let first = insert(&peer, &row("con_1")).await;
    let _ = peer.remove_connection(&connection("con_1"), first).await.works();
    let between = since(&store, &begin).await.next;
    let second = insert(&peer, &other("con_1")).await;
    for point in [begin, between] {
        let told = told(&since(&store, &point).await);
        assert_eq!(told, BTreeMap::from([("con_1".to_owned(), second)]));
    }
}

/// Writes that changed nothing are not reported, nor are hot facts.
pub async fn only_changes_are_told<F: Fixture<Store: ConnectionStore>>(fixture: &F) {
    let store = fixture.open().await;
    let stale = insert(&store, &row("con_1")).await;
    swap(&store, &row("con_1"), stale).await;
    let begin = now(&store).await;
    let occupied = store.insert_connection(&row("con_1")).await.works();
    assert_eq!(occupied, Inserted::Occupied);
    let conflict = store.swap_connection(&row("con_1"), stale).await.works();
    assert_eq!(conflict, Swap::Conflict);
    let missing = store.swap_connection(&row("con_2"), stale).await.works();
    assert_eq!(missing, Swap::Missing);
    let facts = HotFacts {
        last_active_at: Some(crate::time::Timestamp(9_000)),
        api_usage: None,
    };
    store
        .touch_connections(&[(connection("con_1"), facts)])
        .await
        .works();
    assert_eq!(since(&store, &begin).await.changed, []);
}

/// A point that was never reached is of another history: that is a gap.
pub async fn a_point_ahead_is_a_gap<F: Fixture<Store: ConnectionStore>>(fixture: &F) {
    let store = fixture.open().await;
    insert(&store, &row("con_1")).await;
    let here = now(&store).await;
    let ahead = Point(
        here.0
            .iter()
            .map(|number| number.wrapping_add(1_000_000))
            .collect(),
    );
    let changes = store.connection_changes(Some(&ahead)).await.works();
    assert!(changes.gap);
    assert_eq!(changes.next, here, "it goes on from where this history is");
}

/// A kind of write that is reported.
#[derive(Clone, Copy, Debug)]
enum Write {
    Insert,
    Swap,
    Remove,
}

impl Write {
    /// In the order in which they follow each other on one row.
    const ALL: [Self; 3] = [Self::Insert, Self::Swap, Self::Remove];

    /// Writes the row whose revision is `before`, and gives the revision that must be told; of a removal nobody knows it.
    async fn make(
        self,
        store: &impl ConnectionStore,
        id: &str,
        before: Option<Revision>,
    ) -> Option<Revision> {
        match (self, before) {
            (Self::Swap, Some(before)) => Some(swap(store, &other(id), before).await),
            (Self::Remove, Some(before)) => {
                let removed = store.remove_connection(&connection(id), before).await.works();
                assert_eq!(removed, Removed::Gone);
                None
            }
            (_, _) => Some(insert(store, &row(id)).await),
        }
    }
}

/// A point does not pass a write that is not visible yet. However far a write has come when it is held up, a watcher who
/// reads past a later write is told of it once it is done.
pub async fn a_write_that_is_late_is_told<F: Fixture<Store: ConnectionStore>>(fixture: &F) {
    /// More than any write waits.
    const STAGES: usize = 32;
    /// A store may let writes wait for each other, or reads for writes; then the late one is not held up for longer.
    const PATIENCE: Duration = Duration::from_millis(500);
    let (store, peer, watcher) = (fixture.open().await, fixture.open().await, fixture.open().await);
    for write in Write::ALL {
        for stage in 1..=STAGES {
            let [late, quick] = ["late", "quick"].map(|name| format!("con_{write:?}_{stage}_{name}"));
            let before = match write {
                Write::Insert => None,
                Write::Swap | Write::Remove => Some(insert(&store, &row(&late)).await),
            };
            let begin = now(&watcher).await;
            let mut held = pin!(write.make(&store, &late, before));
            let done = advance(held.as_mut(), stage).await;
            let mut overtaking = pin!(async {
                let revision = insert(&peer, &row(&quick)).await;
                let changes = since(&watcher, &begin).await;
                let told = told(&changes);
                assert_eq!(told.get(&quick), Some(&revision), "what was acknowledged is told");
                (told, changes.next)
            });
            let overtook = tokio::time::timeout(PATIENCE, overtaking.as_mut()).await;
            let ended = done.is_some();
            let revision = match done {
                Some(revision) => revision,
                None => held.await,
            };
            let (mut seen, point) = match overtook {
                Ok(overtook) => overtook,
                Err(_) => overtaking.await,
            };
            seen.extend(told(&since(&watcher, &point).await));
            assert!(
                is_told(&seen, &late, revision),
                "{write:?}, held up at its stage {stage}"
            );
            if ended {
                break;
            }
        }
    }
}

/// Whether this write of a row is among those that were told.
fn is_told(seen: &BTreeMap<String, Revision>, id: &str, revision: Option<Revision>) -> bool {
    let told = seen.get(id);
    told.is_some_and(|told| revision.is_none_or(|revision| *told == revision))
}

/// A watcher that goes from point to point while a crowd writes is told of every single write. Each row is written once
/// meanwhile, so that no later write of it makes up for one that is missed.
pub async fn a_watcher_misses_nothing<F: Fixture<Store: ConnectionStore>>(fixture: &F) {
    /// A quick store does many rounds in it, as it must: it is seldom between a number and its commit.
    const LONG_ENOUGH: Duration = Duration::from_secs(1);
    let handles = [fixture.open().await, fixture.open().await];
    let begun = SystemClock.boot();
    let ways = AtOnce::WAYS
        .into_iter()
        .chain(std::iter::repeat(AtOnce::Parallel));
    for (round, way) in ways.enumerate() {
        if round >= AtOnce::WAYS.len() && SystemClock.boot() - begun > LONG_ENOUGH {
            return;
        }
        let mut rows: Vec<Vec<Written>> = (0..WRITERS).map(|writer| fresh(round, writer)).collect();
        for write in Write::ALL {
            let seen;
            (rows, seen) = watched(&handles, way, write, rows).await;
            for (id, revision) in rows.iter().flatten() {
                assert!(is_told(&seen, id, *revision), "{write:?} of {id} ({way:?})");
            }
            assert_eq!(seen.len(), WRITERS * ROWS, "{write:?} ({way:?})");
        }
    }
}

const WRITERS: usize = 8;
/// Rows of each writer.
const ROWS: usize = 25;

/// A row's id and the revision that it has, if it is there and somebody knows it.
type Written = (String, Option<Revision>);

fn fresh(round: usize, writer: usize) -> Vec<Written> {
    (0..ROWS)
        .map(|n| (format!("con_{round}_{writer}_{n}"), None))
        .collect()
}

/// Lets each writer write its rows once, while one watches: gives the rows as they are now, and what was told.
async fn watched<S: ConnectionStore + Clone>(
    handles: &[S; 2],
    way: AtOnce,
    write: Write,
    rows: Vec<Vec<Written>>,
) -> (Vec<Vec<Written>>, BTreeMap<String, Revision>) {
    let begin = now(&handles[0]).await;
    let writing = Arc::new(AtomicUsize::new(WRITERS));
    // The last one has no rows, and watches.
    let calls = rows
        .into_iter()
        .chain([Vec::new()])
        .enumerate()
        .map(|(i, mut mine)| {
            let store = handles[i % 2].clone();
            let (writing, mut point) = (writing.clone(), begin.clone());
            async move {
                for (id, revision) in &mut mine {
                    *revision = write.make(&store, id, *revision).await;
                    tokio::task::yield_now().await;
                }
                let mut seen = BTreeMap::new();
                if i < WRITERS {
                    writing.fetch_sub(1, Ordering::SeqCst);
                    return (mine, seen);
                }
                loop {
                    let over = writing.load(Ordering::SeqCst) == 0;
                    let changes = since(&store, &point).await;
                    seen.extend(told(&changes));
                    point = changes.next;
                    if over {
                        return (mine, seen);
                    }
                    tokio::task::yield_now().await;
                }
            }
        });
    let (rows, seen): (Vec<_>, Vec<_>) = way.run(calls).await.into_iter().unzip();
    let rows = rows.into_iter().filter(|mine| !mine.is_empty()).collect();
    (rows, seen.into_iter().flatten().collect())
}
