//! Cases of API, public and admin keys.

use super::{
    AtOnce, Fixture, poll_and_drop,
    rows::{Works as _, integration},
};
use crate::{
    id::KeyId,
    store::{KeyInserted, KeyKind, KeyRevoked, KeyRow, KeyStore},
    time::Timestamp,
};

const NOW: Timestamp = Timestamp(1_000);

fn row(id: &str, kind: KeyKind, of: Option<&str>) -> KeyRow {
    KeyRow {
        id: key(id),
        kind,
        integration: of.map(integration),
        digest: [3; 32],
        digest_key: "key-1".to_owned(),
        created_at: Timestamp(500),
        expires_at: None,
        revoked_at: None,
    }
}

fn key(id: &str) -> KeyId {
    KeyId::new(id).unwrap()
}

async fn put(store: &impl KeyStore, row: &KeyRow, max_live: u32) {
    let inserted = store.insert_key(row, max_live, NOW).await.works();
    assert_eq!(inserted, KeyInserted::Created, "{}", row.id);
}

async fn list(store: &impl KeyStore, of: Option<&str>) -> Vec<String> {
    let of = of.map(integration);
    let keys = store.list_keys(of.as_ref()).await.works();
    keys.iter().map(|key| key.id.to_string()).collect()
}

/// A key comes back as it was written, through every handle and after reopening.
pub async fn keys_come_back<F: Fixture<Store: KeyStore>>(fixture: &F) {
    let (store, peer) = (fixture.open().await, fixture.open().await);
    let long = "k".repeat(128);
    let mut full = row(&long, KeyKind::Public, Some("int_a"));
    full.digest = std::array::from_fn(|i| u8::try_from(i * 8).unwrap());
    full.expires_at = Some(Timestamp::MAX);
    full.revoked_at = Some(Timestamp(0));
    full.digest_key = String::new();
    let rows = [
        full,
        row("K1", KeyKind::Api, Some("int_a")),
        row("k1", KeyKind::Admin, None),
    ];
    for row in &rows {
        assert_eq!(store.key(&row.id).await.works(), None);
        put(&store, row, 10).await;
        assert_eq!(peer.key(&row.id).await.works().as_ref(), Some(row));
    }
    drop((store, peer));
    let store = fixture.open().await;
    for row in rows {
        assert_eq!(store.key(&row.id).await.works(), Some(row));
    }
}

/// Keys are listed by integration, ascending by id; admin keys by themselves.
pub async fn keys_are_listed_by_integration<F: Fixture<Store: KeyStore>>(fixture: &F) {
    let (store, peer) = (fixture.open().await, fixture.open().await);
    for (id, kind, of) in [
        ("k5", KeyKind::Api, Some("int_a")),
        ("k2", KeyKind::Public, Some("int_a")),
        ("K9", KeyKind::Api, Some("int_a")),
        ("k3", KeyKind::Api, Some("int_b")),
        ("k4", KeyKind::Admin, None),
        ("k1", KeyKind::Admin, None),
    ] {
        put(&store, &row(id, kind, of), 10).await;
    }
    assert_eq!(list(&peer, Some("int_a")).await, ["K9", "k2", "k5"]);
    assert_eq!(list(&peer, Some("int_b")).await, ["k3"]);
    assert_eq!(list(&peer, Some("int_c")).await, Vec::<String>::new());
    assert_eq!(list(&peer, None).await, ["k1", "k4"]);
    let keys = peer.list_keys(Some(&integration("int_b"))).await.works();
    assert_eq!(keys, [row("k3", KeyKind::Api, Some("int_b"))]);
}

/// Only keys of the same kind and integration that are neither revoked nor expired count against `max_live`.
pub async fn only_live_keys_of_a_kind_count<F: Fixture<Store: KeyStore>>(fixture: &F) {
    let (store, peer) = (fixture.open().await, fixture.open().await);
    let mut expired = row("k1", KeyKind::Api, Some("int_a"));
    expired.expires_at = Some(NOW);
    put(&store, &expired, 1).await;
    put(&store, &row("k2", KeyKind::Api, Some("int_a")), 1).await;
    put(&store, &row("k3", KeyKind::Public, Some("int_a")), 1).await;
    put(&store, &row("k4", KeyKind::Api, Some("int_b")), 1).await;
    put(&store, &row("k5", KeyKind::Admin, None), 1).await;

    let one_too_many = row("k6", KeyKind::Api, Some("int_a"));
    let refused = peer.insert_key(&one_too_many, 1, NOW).await.works();
    assert_eq!(refused, KeyInserted::TooMany);
    assert_eq!(
        store.key(&one_too_many.id).await.works(),
        None,
        "a refused key is not stored"
    );
    for (id, max_live) in [("k7", 1), ("k8", 0)] {
        let admin = row(id, KeyKind::Admin, None);
        let refused = peer.insert_key(&admin, max_live, NOW).await.works();
        assert_eq!(refused, KeyInserted::TooMany);
    }
    let earlier = Timestamp(NOW.0 - 1);
    let refused = peer.insert_key(&one_too_many, 2, earlier).await.works();
    assert_eq!(refused, KeyInserted::TooMany, "the expired one was live before");
    let revoked = store.revoke_key(&key("k2"), NOW).await.works();
    assert_eq!(revoked, KeyRevoked::Revoked);
    // A revoked key counts no more.
    put(&peer, &one_too_many, 1).await;
}

/// However many keys are made at once, no more than `max_live` are.
pub async fn the_limit_holds_in_a_race<F: Fixture<Store: KeyStore>>(fixture: &F) {
    let handles = [fixture.open().await, fixture.open().await];
    for (of, way) in ["int_a", "int_b"].into_iter().zip(AtOnce::WAYS) {
        let calls = (0..16).map(|i| {
            let store = handles[i % 2].clone();
            let mine = row(&format!("{of}_{i}"), KeyKind::Api, Some(of));
            async move { store.insert_key(&mine, 2, NOW).await.works() }
        });
        let results = way.run(calls).await;
        let created = results.iter().filter(|key| **key == KeyInserted::Created).count();
        assert_eq!(created, 2, "{way:?}");
        assert!(!results.contains(&KeyInserted::Occupied), "{way:?}");
        assert_eq!(list(&handles[0], Some(of)).await.len(), 2, "{way:?}");
    }
}

/// A taken id is no other key's, and the first key stays; also where no further key may be live.
pub async fn a_taken_id_stays<F: Fixture<Store: KeyStore>>(fixture: &F) {
    let (store, peer) = (fixture.open().await, fixture.open().await);
    let first = row("k1", KeyKind::Api, Some("int_a"));
    put(&store, &first, 2).await;
    for (of, max_live) in [("int_b", 2), ("int_a", 2), ("int_a", 1)] {
        let mut second = row("k1", KeyKind::Api, Some(of));
        second.digest = [4; 32];
        let inserted = peer.insert_key(&second, max_live, NOW).await.works();
        assert_eq!(inserted, KeyInserted::Occupied);
        assert_eq!(store.key(&key("k1")).await.works().as_ref(), Some(&first));
    }
}

/// A key is revoked once; the time of the first revocation stays.
pub async fn a_key_is_revoked_once<F: Fixture<Store: KeyStore>>(fixture: &F) {
    let handles = [fixture.open().await, fixture.open().await];
    let missing = handles[0].revoke_key(&key("k9"), NOW).await.works();
    assert_eq!(missing, KeyRevoked::Missing);
    for (id, way) in ["k1", "k2"].into_iter().zip(AtOnce::WAYS) {
        let written = row(id, KeyKind::Api, Some("int_a"));
        put(&handles[0], &written, 2).await;
        let calls = (0..16_i64).map(|i| {
            let store = handles[usize::from(i % 2 == 0)].clone();
            async move { (i, store.revoke_key(&key(id), Timestamp(2_000 + i)).await.works()) }
        });
        let results = way.run(calls).await;
        assert!(
            results.iter().all(|(_, how)| *how != KeyRevoked::Missing),
            "{way:?}"
        );
        let first: Vec<_> = results
            .iter()
            .filter(|(_, how)| *how == KeyRevoked::Revoked)
            .collect();
        assert_eq!(first.len(), 1, "{way:?}");
        let expected = KeyRow {
            revoked_at: Some(Timestamp(2_000 + first[0].0)),
            ..written
        };
        assert_eq!(handles[0].key(&key(id)).await.works(), Some(expected));
    }
}

/// The keys of one integration are removed, and no others.
pub async fn keys_of_an_integration_are_removed<F: Fixture<Store: KeyStore>>(fixture: &F) {
    let (store, peer) = (fixture.open().await, fixture.open().await);
    for (id, kind, of) in [
        ("k1", KeyKind::Api, Some("int_a")),
        ("k2", KeyKind::Public, Some("int_a")),
        ("k3", KeyKind::Api, Some("int_b")),
        ("k4", KeyKind::Admin, None),
    ] {
        put(&store, &row(id, kind, of), 10).await;
    }
    peer.remove_keys(&integration("int_a")).await.works();
    peer.remove_keys(&integration("int_c")).await.works();
    assert_eq!(list(&store, Some("int_a")).await, Vec::<String>::new());
    assert_eq!(store.key(&key("k1")).await.works(), None);
    assert_eq!(list(&store, Some("int_b")).await, ["k3"]);
    assert_eq!(list(&store, None).await, ["k4"]);
}

/// A dropped write is wholly done or wholly undone.
pub async fn a_dropped_write_is_whole<F: Fixture<Store: KeyStore>>(fixture: &F) {
    let (store, peer) = (fixture.open().await, fixture.open().await);
    for polls in 0..12 {
        let written = row(&format!("k{polls}"), KeyKind::Api, Some("int_a"));
        let ended = poll_and_drop(store.insert_key(&written, 100, NOW), polls).await;
        let seen = peer.key(&written.id).await.works();
        assert!(
            seen.is_none() || seen.as_ref() == Some(&written),
            "after {polls} polls"
        );
        assert!(ended.is_none() || seen.is_some(), "an acknowledged key is there");
        let inserted = peer.insert_key(&written, 100, NOW).await.works();
        assert!(
            seen.is_none() || inserted == KeyInserted::Occupied,
            "after {polls} polls"
        );
        assert_eq!(peer.key(&written.id).await.works().as_ref(), Some(&written));
        let dropped = poll_and_drop(store.revoke_key(&written.id, Timestamp(1)), polls).await;
        let again = peer.revoke_key(&written.id, Timestamp(2)).await.works();
        let now = again == KeyRevoked::Revoked;
        assert!(dropped.is_none() || !now, "an acknowledged revocation holds");
        let at = peer.key(&written.id).await.works().unwrap().revoked_at;
        assert_eq!(at, Some(Timestamp(if now { 2 } else { 1 })));
    }
}
