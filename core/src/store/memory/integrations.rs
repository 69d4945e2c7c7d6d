//! The rows of integrations.

use std::collections::BTreeMap;

use crate::{
    id::IntegrationId,
    store::{IntegrationRow, Revision, StoredIntegration},
};

#[derive(Default)]
pub(super) struct Integrations {
    pub(super) rows: BTreeMap<IntegrationId, StoredIntegration>,
    pub(super) version: u64,
}

impl Integrations {
    pub(super) fn put(&mut self, row: &IntegrationRow, revision: Revision) {
        self.version += 1;
        let row = row.clone();
        self.rows
            .insert(row.id.clone(), StoredIntegration { row, revision });
    }
}
