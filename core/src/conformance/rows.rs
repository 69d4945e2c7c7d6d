//! Rows for the cases to write.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::{
    connection::{Attention, Status},
    id::{ConnectionId, IntegrationId, Slug},
    integration::Environment,
    store::{
        ConnectionFilter, ConnectionRow, ConnectionStore, Index, Inserted, Revision, StatusFilter, Stored,
        Swap,
    },
    time::Timestamp,
};

/// Results that a store must not fail to give.
pub(super) trait Works<T> {
    fn works(self) -> T;
}

impl<T> Works<T> for Result<T, crate::store::StoreError> {
    #[track_caller]
    fn works(self) -> T {
        match self {
            Ok(value) => value,
            Err(error) => panic!("the store failed: {error:?}"),
        }
    }
}

pub(super) fn connection(id: &str) -> ConnectionId {
    ConnectionId::new(id).unwrap()
}

pub(super) fn integration(id: &str) -> IntegrationId {
    IntegrationId::new(id).unwrap()
}

pub(super) fn slug(text: &str) -> Slug {
    Slug::new(text).unwrap()
}

/// An environment of which no list of a store's own can know.
pub(super) fn rehearsal() -> Environment {
    Environment::parse("pre-release_2").unwrap()
}

pub(super) fn labels<const N: usize>(labels: [(&str, &str); N]) -> BTreeMap<String, String> {
    labels
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// A plain row.
pub(super) fn row(id: &str) -> ConnectionRow {
    ConnectionRow {
        id: connection(id),
        index: Index {
            integration: integration("int_a"),
            environment: Environment::PRODUCTION,
            status: Status::Connected,
            attention: None,
            email: format!("{}@example.com", id.to_lowercase()),
            owner: "owner-1".to_owned(),
            metadata: labels([("team", "blue")]),
            connected_at: Timestamp(1_000),
            due_at: Some(Timestamp(5_000)),
            sealed_by: "key-1".to_owned(),
        },
        body: Bytes::from(format!("body of {id}")),
    }
}

/// A row that differs from [`row`] in everything but its id and integration.
pub(super) fn other(id: &str) -> ConnectionRow {
    let ConnectionRow { id: key, index, .. } = row(id);
    ConnectionRow {
        id: key,
        index: Index {
            integration: index.integration,
            environment: rehearsal(),
            status: Status::Expired,
            attention: Some(Attention::Expired),
            email: format!("{}@other.example", id.to_lowercase()),
            owner: "owner-2".to_owned(),
            metadata: labels([("team", "green"), ("tier", "1")]),
            connected_at: Timestamp(2_000),
            due_at: None,
            sealed_by: "key-2".to_owned(),
        },
        body: Bytes::from(format!("other body of {id}")),
    }
}

/// What finds the live rows of [`row`]'s integration.
pub(super) fn all() -> ConnectionFilter {
    ConnectionFilter {
        integration: integration("int_a"),
        status: StatusFilter::Live,
        environment: None,
        email_contains: None,
        owner: None,
        metadata: BTreeMap::new(),
    }
}

pub(super) fn with_email(text: &str) -> ConnectionFilter {
    ConnectionFilter {
        email_contains: Some(text.to_owned()),
        ..all()
    }
}

#[track_caller]
pub(super) fn created(inserted: Inserted) -> Revision {
    match inserted {
        Inserted::Created(revision) => revision,
        Inserted::Occupied => panic!("the id is said to be taken"),
    }
}

#[track_caller]
pub(super) fn swapped(swap: Swap) -> Revision {
    match swap {
        Swap::Swapped(revision) => revision,
        other => panic!("a swap of the present revision gave {other:?}"),
    }
}

pub(super) async fn insert(store: &impl ConnectionStore, row: &ConnectionRow) -> Revision {
    created(store.insert_connection(row).await.works())
}

pub(super) async fn swap(store: &impl ConnectionStore, row: &ConnectionRow, expected: Revision) -> Revision {
    swapped(store.swap_connection(row, expected).await.works())
}

pub(super) async fn get(store: &impl ConnectionStore, id: &str) -> Option<Stored> {
    store.connection(&connection(id)).await.works().0
}

/// The ids of a whole list, read page by page.
pub(super) async fn ids(store: &impl ConnectionStore, filter: &ConnectionFilter, limit: u32) -> Vec<String> {
    let mut ids: Vec<String> = Vec::new();
    let mut before: Option<ConnectionId> = None;
    loop {
        let page = store
            .list_connections(filter, before.as_ref(), limit)
            .await
            .works();
        assert!(
            page.items.len() <= usize::try_from(limit).unwrap(),
            "a page has at most `limit` entries"
        );
        ids.extend(page.items.iter().map(|stored| stored.row.id.to_string()));
        if !page.more {
            return ids;
        }
        before = page.items.last().map(|stored| stored.row.id.clone());
        assert!(
            before.is_some(),
            "an empty page with more to come cannot be gone on from"
        );
    }
}
