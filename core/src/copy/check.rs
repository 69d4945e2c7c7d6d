//! Compares both stores before anything is used in the target.

use std::{collections::BTreeMap, pin::pin};

use futures_util::TryStreamExt as _;

use super::{CopyError, Report, Run};
use crate::{
    connection::Status,
    engine::{ledger::record::Record, pages},
    id::IntegrationId,
    store::{ConnectionFilter, StatusFilter, StoreError, Stores},
};

/// How many connections each key sealed.
type ByKey = BTreeMap<String, u64>;

impl Run<'_> {
    /// Lists both stores. An integration that was already open in the target has changed since, and is not compared.
    pub(super) async fn check(
        &self,
        copied: &[(IntegrationId, bool)],
        report: &Report,
    ) -> Result<(), CopyError> {
        let mut all = ByKey::new();
        for (id, _) in copied.iter().filter(|(_, opened)| !opened) {
            self.go_on()?;
            let source = tally(self.from, id, true).await;
            let source = source.map_err(CopyError::source)?;
            let target = tally(self.to, id, false).await;
            let target = target.map_err(CopyError::target)?;
            if source != target {
                return Err(CopyError::Mismatch(format!(
                    "integration {id} has {} connections in the source and {} in the target",
                    source.values().sum::<u64>(),
                    target.values().sum::<u64>(),
                )));
            }
            for (key, connections) in source {
                *all.entry(key).or_default() += connections;
            }
        }
        let counted = self.to.connections.connections_by_key().await;
        let counted: ByKey = counted.map_err(CopyError::target)?.into_iter().collect();
        for (key, listed) in &all {
            // It may count more: rows of removed integrations are not listed.
            let counted = counted.get(key).copied().unwrap_or_default();
            if counted < *listed {
                return Err(CopyError::Mismatch(format!(
                    "the target lists {listed} connections that key '{key}' sealed, and counts {counted}"
                )));
            }
        }
        let listed: u64 = all.values().sum();
        if copied.iter().all(|(_, opened)| !opened) && listed != report.connections {
            return Err(CopyError::Mismatch(format!(
                "{} connections were copied, and {listed} are there",
                report.connections
            )));
        }
        Ok(())
    }
}

/// What an integration's lists show: of the source those that were moved, of the target those that were not.
async fn tally(stores: &Stores, integration: &IntegrationId, moved: bool) -> Result<ByKey, StoreError> {
    let mut found = ByKey::new();
    for status in [StatusFilter::Live, StatusFilter::Only(Status::Deleted)] {
        let filter = ConnectionFilter::of(integration, status);
        let mut pages = pin!(pages::connections(&*stores.connections, &filter));
        while let Some(rows) = pages.try_next().await? {
            for stored in rows {
                let read = Record::decode(&stored);
                if read.is_ok_and(|record| record.facts.migrated.is_some() == moved) {
                    *found.entry(stored.row.index.sealed_by).or_default() += 1;
                }
            }
        }
    }
    Ok(found)
}
