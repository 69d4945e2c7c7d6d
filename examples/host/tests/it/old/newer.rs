//! Rows in a newer format, as a newer version would have written them.

use std::collections::BTreeMap;

use grantry::store::{Stored, Stores, Swap};

use super::{Known, Opened};
use crate::support::eventually;

/// One that callers use, and two that the sweep finds due.
const NEWER: [&str; 3] = ["connected", "turn", "unknown"];

pub(super) async fn judge(stores: Stores, known: Known) {
    for case in NEWER {
        let mut next = row(&stores, &known, case).await;
        // Only the first byte keeps its meaning: the number of the format.
        next.row.body = vec![next.row.body[0] + 1, 0xff].into();
        let swap = stores.connections.swap_connection(&next.row, next.revision).await;
        assert!(matches!(swap.unwrap(), Swap::Swapped(_)));
    }
    let before = rows(&stores, &known).await;
    let mut store = Opened::new(stores.clone(), known.clone()).await;
    store.set_to_work();
    store.pass_hours(3);
    for case in NEWER {
        let refused = [
            store.access(case).await.map(drop),
            store.disconnect(case).await,
            store.revoke(case).await,
            store.rename(case).await,
        ];
        for refused in refused {
            assert_eq!(
                refused.unwrap_err(),
                "connection_corrupt payload_version",
                "{case}"
            );
        }
    }
    let main = &store.shown().await["main"]["connections"];
    assert_eq!(
        main["connected"]["owner"], "owner of connected",
        "listed all the same"
    );
    assert_eq!(main["connected"]["history"], "connection_corrupt payload_version");
    // Other rows are not held up: the sweep has been through what is due.
    eventually("the sweep pays what is due", || async {
        (!store.lives("revoked")).then_some(())
    })
    .await;
    store.access("refreshed").await.unwrap();
    assert_eq!(rows(&stores, &known).await, before);
    for case in NEWER {
        assert!(store.lives(case) && store.presented(case).is_empty(), "{case}");
    }
}

async fn rows(stores: &Stores, known: &Known) -> BTreeMap<&'static str, Stored> {
    let mut rows = BTreeMap::new();
    for case in NEWER {
        rows.insert(case, row(stores, known, case).await);
    }
    rows
}

async fn row(stores: &Stores, known: &Known, case: &str) -> Stored {
    let read = stores.connections.connection(&known.connection(case)).await;
    read.unwrap().0.unwrap()
}
