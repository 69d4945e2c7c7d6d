//! A copy that ends at any call to a store, before or after it had its effect, and is run again.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use grantry::{
    copy::{Copy, CopyError},
    store::MemoryStore,
    testing::{Fault, FaultyStore, Weather},
};

use crate::{
    support::World,
    two::{Two, everything, is_migrated, owners, rows, same, same_rest},
};

/// A way to a store that is cut at the call of this number.
fn cut(store: &MemoryStore, calls: &Arc<AtomicU32>, at: u32, fault: Fault) -> FaultyStore {
    let calls = calls.clone();
    FaultyStore::over(store.clone()).under(move |_| {
        let call = calls.fetch_add(1, Ordering::SeqCst);
        let fault = match call {
            call if call < at => None,
            call if call == at => Some(fault),
            _ => Some(Fault::Before),
        };
        Weather {
            fault,
            ..Weather::default()
        }
    })
}

/// `false` once the copy ends before the call of this number.
async fn ends_at(at: u32, fault: Fault) -> bool {
    let two = Two::of(World::new().await);
    let world = &two.world;
    let ids = everything(world).await;
    world.one.broker.shutdown(std::time::Duration::from_secs(1)).await;
    let before = rows(world, &world.memory).await;
    assert_eq!(before.len(), ids.len());
    let calls = Arc::new(AtomicU32::new(0));
    let way = |store: &MemoryStore| cut(store, &calls, at, fault);
    let copy = Copy::new(way(&world.memory), way(&two.target)).clock(world.clock.clone());
    let cut = copy.run(|_| {}).await;
    for (id, owners) in owners(world, [&world.memory, &two.target]).await {
        assert!(owners <= 1, "{id} has {owners} owners after call {at}");
    }
    let report = two.copied().await;
    assert_eq!(report.connections, 5);
    assert_eq!((report.keys, report.integrations), (3, 1));
    let after = rows(world, &two.target).await;
    assert_eq!(after.len(), before.len());
    for (id, stored) in &after {
        same(world, &before[id], stored).await;
    }
    assert!(rows(world, &world.memory).await.values().all(is_migrated));
    same_rest(&two).await;
    // There is nothing left to do.
    let again = two.copied().await;
    assert_eq!((again.moved, again.connections), (0, 5));
    assert_eq!(rows(world, &two.target).await, after);
    match cut {
        Ok(_) => false,
        Err(CopyError::Store { .. }) => true,
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_call_it_ends_at_it_goes_on_and_nothing_has_two_owners() {
    for fault in [Fault::Before, Fault::After] {
        let mut at = 0;
        while ends_at(at, fault).await {
            at += 1;
        }
        assert!(at > 60, "{at} calls are too few to judge by");
    }
}

#[tokio::test(start_paused = true)]
async fn it_stops_between_two_rows_and_goes_on() {
    let two = Two::new().await;
    let ids = everything(&two.world).await;
    let copy = two.copy();
    copy.stop().now();
    assert_eq!(copy.run(|_| {}).await.unwrap_err().code(), "copy_stopped");
    let owners = owners(&two.world, [&two.world.memory, &two.target]).await;
    assert!(owners.values().all(|owners| *owners == 1));
    assert_eq!(two.copied().await.moved, u64::try_from(ids.len()).unwrap());
}

/// A source that might forget which connections are closed gives none of them away; a target that might forget them is not
/// told to be complete.
#[tokio::test(start_paused = true)]
async fn a_store_that_confirms_nothing_ends_the_copy() {
    for of_source in [true, false] {
        let two = Two::new().await;
        let ids = everything(&two.world).await;
        let (from, to) = (
            FaultyStore::over(two.world.memory.clone()),
            FaultyStore::over(two.target.clone()),
        );
        let doubtful = if of_source { &from } else { &to };
        doubtful.unconfirmed(0, u32::MAX);
        let copy = Copy::new(from.clone(), to.clone()).clock(two.world.clock.clone());
        let error = copy.run(|_| {}).await.unwrap_err();
        assert_eq!(error.code(), "store_unavailable");
        if of_source {
            assert!(rows(&two.world, &two.target).await.is_empty());
        }
        let owners = owners(&two.world, [&two.world.memory, &two.target]).await;
        assert!(owners.values().all(|owners| *owners <= 1));
        assert_eq!(two.copied().await.connections, u64::try_from(ids.len()).unwrap());
    }
}
