//! The rows of integrations.

use std::collections::BTreeMap;

use crate::{
    id::{IntegrationId, Slug},
    store::{IntegrationRow, Revision, StoredIntegration},
};

#[derive(Default)]
pub(super) struct Integrations {
    pub(super) rows: BTreeMap<IntegrationId, StoredIntegration>,
    pub(super) version: u64,
}

impl Integrations {
    /// The row with this slug. There are few rows.
    pub(super) fn named(&self, slug: &Slug) -> Option<&StoredIntegration> {
        self.rows
            .values()
            .find(|stored| stored.row.slug.as_ref() == Some(slug))
    }

    pub(super) fn put(&mut self, row: &IntegrationRow, revision: Revision) {
        self.version += 1;
        let row = row.clone();
        self.rows
            .insert(row.id.clone(), StoredIntegration { row, revision });
    }
}
