//! What this version must do with an old store. The judges are the simulator's log of presentations and its living grants.

use grantry_salesforce_simulator::Outcome;

use super::Opened;
use crate::support::eventually;

/// Three hours later their access tokens have expired; their refresh tokens are good.
const TO_REFRESH: [&str; 6] = [
    "connected",
    "refreshed",
    "old_key",
    "reconnected",
    "labelled",
    "arrived",
];

/// What the others are told, three hours later. None of their tokens is presented.
const TOLD: [(&str, &str); 9] = [
    ("turn", "refresh_outcome_unknown"),
    ("unknown", "refresh_outcome_unknown"),
    ("cooling", "refresh_cooling"),
    ("cooling_unknown", "refresh_cooling"),
    ("expired", "connection_expired"),
    ("revoked", "connection_revoked"),
    ("deleted", "connection_not_found"),
    ("disabled", "integration_disabled"),
    ("moved", "store_moved"),
];

pub(super) async fn judge(mut store: Opened) {
    is_as_it_was(&store).await;
    store.set_to_work();
    what_was_begun_can_be_finished(&store).await;
    let living = store.access("refreshed").await.unwrap();
    assert!(
        store.presented("refreshed").is_empty(),
        "its access token is still good"
    );
    store.pass_hours(3);
    for case in TO_REFRESH {
        let access = store.access(case).await.unwrap();
        assert_ne!(access, living);
        assert_eq!(store.access(case).await.unwrap(), access, "{case}: kept");
        let presented = store.presented(case);
        let [once] = &*presented else {
            panic!("{case}: {presented:?}")
        };
        // The stored token is of generation 1.
        assert_eq!(
            (once.result, once.generation),
            (Outcome::Granted, Some(1)),
            "{case}"
        );
    }
    for (case, told) in TOLD {
        assert_eq!(store.access(case).await.unwrap_err(), told, "{case}");
        assert!(store.presented(case).is_empty(), "{case}");
    }
    grants_end(&store).await;
    // A new process finds the new tokens in the store.
    store.set_to_work();
    for case in ["refreshed", "old_key"] {
        store.access(case).await.unwrap();
        assert_eq!(store.presented(case).len(), 1, "{case}: stored");
    }
    assert_eq!(
        store.access("connected").await.unwrap_err(),
        "connection_not_found"
    );
}

/// Lists, histories, keys and counts are what the older version showed.
async fn is_as_it_was(store: &Opened) {
    let (shown, known) = (store.shown().await, store.known.integrations());
    for (name, integration) in known.as_object().unwrap() {
        assert_eq!(&shown[name], integration, "{name}");
    }
    assert_eq!(&shown, known);
    for (key, is) in store.known.keys() {
        assert_eq!(store.verified(&key).await, is);
    }
    assert_eq!(&store.usage().await, store.known.usage());
}

async fn what_was_begun_can_be_finished(store: &Opened) {
    store.finish_attempt().await.unwrap();
    assert!(store.lives("pending"));
    assert_eq!(store.finish_attempt().await.unwrap_err(), "state_unknown");
    let [used, unused] = ["used", "unused"].map(|which| store.known.link(which));
    assert_eq!(store.open_link(&used).await.unwrap_err(), "link_used");
    store.open_link(&unused).await.unwrap();
}

/// A disconnect is revoked at the provider, and so is the revocation that the older version still owed.
async fn grants_end(store: &Opened) {
    assert!(store.lives("connected"));
    store.disconnect("connected").await.unwrap();
    for case in ["connected", "revoked"] {
        eventually("the grant ends at the provider", || async {
            (!store.lives(case)).then_some(())
        })
        .await;
    }
    eventually("the owed revocation is recorded as done", || async {
        (store.last("revoked").await == "revoked_upstream").then_some(())
    })
    .await;
}
