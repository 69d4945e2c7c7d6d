//! A store with connections in every state, an empty one whose clock stands elsewhere, and a judge of both.

use std::{collections::BTreeMap, sync::Arc};

use grantry::{
    connection::Status,
    copy::{Copy, Report},
    id::ConnectionId,
    store::{
        ConnectionFilter, ConnectionStore as _, KeyKind, KeyStore as _, MemoryStore, StatusFilter, Stored,
        UsageKey, UsageStore as _,
    },
    testing::{Answer, Seen, TestClock},
    time::Clock as _,
};

use crate::support::{SESSION, World, facts, pass, seconds};

/// The world's store is the source.
pub struct Two {
    pub world: World,
    pub target: MemoryStore,
}

impl Two {
    pub async fn new() -> Self {
        Self::of(World::new().await)
    }

    /// Both clocks have the same name, and the target's is hours ahead: a moment that is carried over as it is would look
    /// like one long ago.
    pub fn of(world: World) -> Self {
        let ahead = TestClock::new();
        ahead.step(seconds(100_000));
        Self {
            world,
            target: MemoryStore::new(Arc::new(ahead)),
        }
    }

    pub fn copy(&self) -> Copy {
        Copy::new(self.world.memory.clone(), self.target.clone()).clock(self.world.clock.clone())
    }

    pub async fn copied(&self) -> Report {
        self.copy().run(|_| {}).await.unwrap()
    }

    /// The row in the target.
    pub async fn there(&self, id: &ConnectionId) -> Stored {
        self.target.connection(id).await.unwrap().0.unwrap()
    }
}

/// Everything that can stand in a store.
pub async fn everything(world: &World) -> Vec<ConnectionId> {
    let broker = &world.one.broker;
    let mut ids = Vec::new();
    let expired = world.connect().await;
    world.clock.step(SESSION);
    world
        .upstream
        .end_grant(&world.seen(&world.row(&expired).await).await.refresh);
    assert!(broker.credentials(&expired).await.is_err());
    let lost = world.connect().await;
    let idle = world.connect().await;
    let (revoked, deleted) = (world.connect().await, world.connect().await);
    world.clock.step(SESSION);
    world.upstream.next(Answer::Lost);
    assert!(broker.credentials(&lost).await.is_err());
    broker.credentials(&idle).await.unwrap();
    world.upstream.set(|settings| settings.refuses_revocations = true);
    broker.connection(&revoked).revoke().await.unwrap();
    broker.connection(&deleted).disconnect().await.unwrap();
    ids.extend([expired, lost, idle, revoked, deleted]);
    let integration = Some(&world.integration);
    let first = broker.mint_key(KeyKind::Api, integration, None).await.unwrap();
    broker.mint_key(KeyKind::Public, integration, None).await.unwrap();
    broker.mint_key(KeyKind::Admin, None, None).await.unwrap();
    broker.revoke_key(integration, &first.id).await.unwrap();
    let (month, day) = world.clock.wall().calendar();
    let key = |month, day| UsageKey {
        integration: world.integration.clone(),
        month,
        day,
    };
    let _ = world
        .memory
        .charge_usage(&key(month, day), 41, None)
        .await
        .unwrap();
    // Revocations were tried and failed; used connections are written down.
    pass(seconds(5)).await;
    ids
}

/// Every row of a store, deleted ones too.
pub async fn rows(world: &World, store: &MemoryStore) -> BTreeMap<ConnectionId, Stored> {
    let mut all = BTreeMap::new();
    for status in [StatusFilter::Live, StatusFilter::Only(Status::Deleted)] {
        let filter = ConnectionFilter::of(&world.integration, status);
        let page = store.list_connections(&filter, None, 1000).await.unwrap();
        all.extend(
            page.items
                .into_iter()
                .map(|stored| (stored.row.id.clone(), stored)),
        );
    }
    all
}

pub fn is_migrated(stored: &Stored) -> bool {
    !facts(stored)["moved"].is_null()
}

/// In how many stores each connection lives, and that nothing is due where it does not.
pub async fn owners(world: &World, stores: [&MemoryStore; 2]) -> BTreeMap<ConnectionId, usize> {
    let mut owners = BTreeMap::new();
    for store in stores {
        for (id, stored) in rows(world, store).await {
            let lives = !is_migrated(&stored);
            assert!(lives || (stored.row.index.due_at.is_none() && stored.row.index.attention.is_none()));
            *owners.entry(id).or_default() += usize::from(lives);
        }
    }
    owners
}

/// Whether the target's row is the source's as it was, but for the store's own moments.
pub async fn same(world: &World, before: &Stored, after: &Stored) {
    let (Seen { row: old, .. }, Seen { row: new, .. }) = (world.seen(before).await, world.seen(after).await);
    assert_eq!(
        (old.version, old.write_id, old.status, old.reason),
        (new.version, new.write_id, new.status, new.reason)
    );
    assert_eq!(before.row.index, after.row.index);
    assert_eq!(before.hot, after.hot);
    let mut bodies = [facts(before), facts(after)];
    for body in &mut bodies {
        body["row"]["refresh"] = serde_json::Value::Null;
    }
    assert_eq!(bodies[0], bodies[1]);
    // Tokens and history, and what is owed.
    let parts = |seen: Seen| (seen.access, seen.refresh, seen.access_ends, seen.owed, seen.last);
    assert_eq!(parts(world.seen(before).await), parts(world.seen(after).await));
}

/// Keys and calls are the same in both.
pub async fn same_rest(two: &Two) {
    let (world, target) = (&two.world, &two.target);
    for integration in [None, Some(&world.integration)] {
        let keys = world.memory.list_keys(integration).await.unwrap();
        assert!(!keys.is_empty());
        assert_eq!(keys, target.list_keys(integration).await.unwrap());
    }
    let month = world.clock.wall().calendar().0;
    let days = world.memory.usage_days(&world.integration, month).await.unwrap();
    assert!(!days.is_empty());
    assert_eq!(days, target.usage_days(&world.integration, month).await.unwrap());
}
