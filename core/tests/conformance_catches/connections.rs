//! Connections, broken in many ways.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::Ordering,
};

use grantry::{
    async_trait,
    connection::{Attention, Status},
    id::{ConnectionId, IntegrationId},
    store::{
        Changes, ConnectionFilter, ConnectionRow, ConnectionStore, DueEntry, HotFacts, Index, Inserted,
        ListEntry, Page, Point, Removed, Revision, StatusFilter, StoreError, StoreErrorKind, Stored, Swap,
        Warning,
    },
    time::{StoreInstant, Timestamp},
};

use crate::{Broken, Fault};

impl Broken {
    fn spoiled(&self, row: &ConnectionRow) -> ConnectionRow {
        let mut row = row.clone();
        match self.fault {
            Fault::OwnerLost => row.index.owner.clear(),
            Fault::BodyCut => row.body.truncate(1000),
            Fault::IdsFolded | Fault::LongIdsCut => row.id = self.id(&row.id),
            Fault::TextTrimmed => row.index.owner = row.index.owner.trim().to_owned(),
            _ => {}
        }
        row
    }

    fn id(&self, id: &ConnectionId) -> ConnectionId {
        let text = match self.fault {
            Fault::IdsFolded => id.as_str().to_lowercase(),
            Fault::LongIdsCut => id.as_str().chars().take(127).collect(),
            _ => return id.clone(),
        };
        ConnectionId::new(&text).unwrap()
    }

    /// What callers are told of a revision.
    fn shown(&self, revision: Revision) -> Revision {
        match self.fault {
            Fault::RevisionReused => Revision {
                write: revision.counter.into(),
                ..revision
            },
            _ => revision,
        }
    }

    /// The revision to write with, if this store lets a write with `expected` pass.
    async fn accepted(&self, id: &ConnectionId, expected: Revision) -> Result<Revision, StoreError> {
        let Some(present) = self.inner.connection(id).await?.0.map(|stored| stored.revision) else {
            return Ok(expected);
        };
        let accepts = match self.fault {
            Fault::SwapIgnoresRevision => true,
            Fault::CounterOnly | Fault::RevisionReused => present.counter == expected.counter,
            Fault::WriteIdOnly => present.write == expected.write,
            _ => present == expected,
        };
        Ok(if accepts { present } else { expected })
    }

    async fn rows(&self) -> Result<Vec<Stored>, StoreError> {
        let mut rows = Vec::new();
        for integration in ["int_a", "int_b"] {
            for status in Status::ALL {
                let filter = ConnectionFilter {
                    integration: IntegrationId::new(integration).unwrap(),
                    status: StatusFilter::Only(status),
                    environment: None,
                    email_contains: None,
                    owner: None,
                    metadata: BTreeMap::new(),
                };
                rows.extend(self.inner.list_connections(&filter, None, u32::MAX).await?.items);
            }
        }
        rows.sort_by(|a, b| b.row.id.cmp(&a.row.id));
        Ok(rows)
    }

    fn fits(&self, filter: &ConnectionFilter, id: &ConnectionId, index: &Index) -> bool {
        let mut filter = filter.clone();
        let mut index = index.clone();
        match self.fault {
            Fault::IntegrationIgnored => index.integration = filter.integration.clone(),
            Fault::StatusIgnored => filter.status = StatusFilter::Only(index.status),
            Fault::LiveHasDeleted if filter.status == StatusFilter::Live => index.status = Status::Connected,
            Fault::LiveIsConnected if filter.status == StatusFilter::Live => {
                filter.status = StatusFilter::Only(Status::Connected);
            }
            Fault::EnvironmentIgnored => filter.environment = None,
            Fault::EmailIgnored => filter.email_contains = None,
            Fault::OwnerIgnored => filter.owner = None,
            Fault::EmptyOwnerIsNone if filter.owner.as_deref() == Some("") => filter.owner = None,
            Fault::LabelsIgnored => filter.metadata.clear(),
            Fault::AnyLabel => {
                let labels = std::mem::take(&mut filter.metadata);
                if !labels.is_empty() && !labels.iter().any(|(k, v)| index.metadata.get(k) == Some(v)) {
                    return false;
                }
            }
            Fault::LabelKeysOnly => {
                let labels = std::mem::take(&mut filter.metadata);
                if !labels.keys().all(|key| index.metadata.contains_key(key)) {
                    return false;
                }
            }
            Fault::LabelsJoined => {
                let join = |labels: BTreeMap<String, String>| -> BTreeMap<String, String> {
                    labels.into_iter().map(|(k, v)| (k + &v, String::new())).collect()
                };
                filter.metadata = join(filter.metadata);
                index.metadata = join(index.metadata);
            }
            Fault::FirstEmailFound => {
                let first = self.shared.first_emails.lock().unwrap();
                index.email = first.get(id).cloned().unwrap_or(index.email);
            }
            _ => {}
        }
        if let Some(text) = filter.email_contains.take()
            && !self.finds(&index.email, &text)
        {
            return false;
        }
        filter.matches(&index)
    }

    fn finds(&self, email: &str, text: &str) -> bool {
        match self.fault {
            Fault::EmailPattern => like(
                &email.chars().collect::<Vec<_>>(),
                &format!("%{text}%").chars().collect::<Vec<_>>(),
            ),
            Fault::EmailPrefix => email.starts_with(text),
            Fault::EmailFolded => email.to_lowercase().contains(&text.to_lowercase()),
            Fault::ShortTextsFindNothing => text.len() > 2 && email.contains(text),
            Fault::PiecesSuffice if text.len() > 3 => {
                let pieces: BTreeSet<_> = email.as_bytes().windows(3).collect();
                text.as_bytes().windows(3).all(|piece| pieces.contains(piece))
            }
            _ => email.contains(text),
        }
    }

    fn show(&self, mut stored: Stored) -> Stored {
        stored.revision = self.shown(stored.revision);
        let hot = self.shared.hot.lock().unwrap();
        match self.fault {
            Fault::TouchGoesBack | Fault::TouchClears | Fault::RemoveKeepsFacts => {
                stored.hot = hot.get(&stored.row.id).copied().unwrap_or_default();
            }
            Fault::SwapDropsFacts if stored.revision.counter > 1 => stored.hot = HotFacts::default(),
            _ => {}
        }
        stored
    }
}

/// What SQL's LIKE makes of a text.
fn like(text: &[char], pattern: &[char]) -> bool {
    match (pattern, text) {
        ([], _) => text.is_empty(),
        (['%', rest @ ..], _) => (0..=text.len()).any(|skip| like(&text[skip..], rest)),
        (['_', rest @ ..], [_, tail @ ..]) => like(tail, rest),
        ([c, rest @ ..], [d, tail @ ..]) => c == d && like(tail, rest),
        (_, []) => false,
    }
}

#[async_trait]
impl ConnectionStore for Broken {
    async fn insert_connection(&self, row: &ConnectionRow) -> Result<Inserted, StoreError> {
        let number = self.take_number().await;
        let row = self.spoiled(row);
        let present = self.inner.connection(&row.id).await?.0;
        let email = row.index.email.clone();
        self.shared
            .first_emails
            .lock()
            .unwrap()
            .entry(row.id.clone())
            .or_insert(email);
        self.dawdle(Fault::RacyInsert).await;
        let inserted = match (self.fault, present) {
            (Fault::InsertReplaces, Some(stored)) => {
                let Swap::Swapped(revision) = self.inner.swap_connection(&row, stored.revision).await? else {
                    return Ok(Inserted::Occupied);
                };
                Inserted::Created(revision)
            }
            (Fault::RacyInsert, None) => {
                if let Some(stored) = self.inner.connection(&row.id).await?.0 {
                    let _ = self.inner.remove_connection(&row.id, stored.revision).await?;
                }
                self.inner.insert_connection(&row).await?
            }
            (Fault::TornInsert, None) => {
                let mut begun = row.clone();
                begun.index.email.clear();
                let inserted = self.inner.insert_connection(&begun).await?;
                self.dawdle(Fault::TornInsert).await;
                if let Inserted::Created(revision) = inserted {
                    let _ = self.inner.swap_connection(&row, revision).await?;
                }
                inserted
            }
            _ => self.inner.insert_connection(&row).await?,
        };
        self.commit_number(number, &row.id).await?;
        Ok(match inserted {
            Inserted::Created(revision) => Inserted::Created(self.shown(revision)),
            Inserted::Occupied => Inserted::Occupied,
        })
    }

    async fn connection(&self, id: &ConnectionId) -> Result<(Option<Stored>, StoreInstant), StoreError> {
        let (stored, mut now) = self.inner.connection(&self.id(id)).await?;
        match self.fault {
            Fault::TimeGoesBack => {
                let calls = self.shared.calls.fetch_add(1, Ordering::SeqCst);
                now.millis = u64::MAX - u64::try_from(calls).unwrap();
            }
            Fault::EraOfHandle => now.clock_id = u64::try_from(self.handle).unwrap(),
            _ => {}
        }
        let stored = stored.filter(|_| !self.has(Fault::MemoryOfHandle) || self.handle == 0);
        Ok((stored.map(|stored| self.show(stored)), now))
    }

    async fn confirm_connection(&self, id: &ConnectionId, revision: Revision) -> Result<bool, StoreError> {
        Ok(!self.has(Fault::NeverConfirms) && self.inner.confirm_connection(id, revision).await?)
    }

    async fn swap_connection(&self, next: &ConnectionRow, expected: Revision) -> Result<Swap, StoreError> {
        let number = self.take_number().await;
        let mut next = self.spoiled(next);
        let present = self.inner.connection(&next.id).await?.0;
        let mut expected = self.accepted(&next.id, expected).await?;
        let Some(stored) = present else {
            if self.has(Fault::SwapCreates) {
                let _ = self.inner.insert_connection(&next).await?;
            }
            return Ok(Swap::Missing);
        };
        match self.fault {
            Fault::RevisionKept if stored.revision == expected && stored.row == next => {
                return Ok(Swap::Swapped(expected));
            }
            Fault::SwapKeepsAttention => next.index.attention = stored.row.index.attention,
            Fault::SwapKeepsDue => next.index.due_at = stored.row.index.due_at,
            Fault::RacySwap if stored.revision == expected => {
                self.dawdle(Fault::RacySwap).await;
                let present = self.inner.connection(&next.id).await?.0;
                expected = present.map_or(expected, |stored| stored.revision);
            }
            Fault::TornSwap if stored.revision == expected => {
                let mut begun = next.clone();
                begun.body = stored.row.body.clone();
                if let Swap::Swapped(revision) = self.inner.swap_connection(&begun, expected).await? {
                    expected = revision;
                }
                self.dawdle(Fault::TornSwap).await;
            }
            _ => {}
        }
        let swapped = self.inner.swap_connection(&next, expected).await?;
        self.commit_number(number, &next.id).await?;
        Ok(match swapped {
            Swap::Swapped(revision) => Swap::Swapped(self.shown(revision)),
            other => other,
        })
    }

    async fn remove_connection(&self, id: &ConnectionId, expected: Revision) -> Result<Removed, StoreError> {
        let number = self.take_number().await;
        let present = self.inner.connection(id).await?.0;
        let mut expected = self.accepted(id, expected).await?;
        if let Some(stored) = present {
            match self.fault {
                Fault::RemoveDoesNothing if stored.revision == expected => return Ok(Removed::Gone),
                Fault::RemoveIgnoresRevision => expected = stored.revision,
                _ => {}
            }
            let mut last = self.shared.last_revisions.lock().unwrap();
            last.insert(id.clone(), stored.revision);
        }
        let removed = self.inner.remove_connection(id, expected).await?;
        self.commit_number(number, id).await?;
        Ok(removed)
    }

    async fn list_connections(
        &self,
        filter: &ConnectionFilter,
        before: Option<&ConnectionId>,
        limit: u32,
    ) -> Result<Page<ListEntry>, StoreError> {
        let all = self.rows().await?;
        if let Some(before) = before
            && self.has(Fault::CursorMustExist)
            && all.iter().all(|stored| stored.row.id != *before)
        {
            let items = Vec::new();
            return Ok(Page { items, more: false });
        }
        let mut items: Vec<Stored> = all
            .into_iter()
            .filter(|stored| self.fits(filter, &stored.row.id, &stored.row.index))
            .map(|stored| self.show(stored))
            .collect();
        let calls = self.shared.calls.load(Ordering::SeqCst);
        match (self.fault, before) {
            (Fault::Ascending, _) => items.reverse(),
            (Fault::CursorRepeats, Some(before)) => items.retain(|stored| stored.row.id <= *before),
            (Fault::PagesByOffset, Some(_)) => drop(items.drain(..calls.min(items.len()))),
            (Fault::PagesByOffset, None) => self.shared.calls.store(0, Ordering::SeqCst),
            (_, Some(before)) => items.retain(|stored| stored.row.id < *before),
            _ => {}
        }
        if self.has(Fault::ListWithoutFacts) {
            for stored in &mut items {
                stored.hot = HotFacts::default();
            }
        }
        let limit = usize::try_from(limit).unwrap();
        let more = match self.fault {
            Fault::NeverMore => false,
            Fault::MoreWhenFull => items.len() >= limit,
            _ => items.len() > limit,
        };
        if !self.has(Fault::LimitIgnored) {
            items.truncate(limit);
        }
        if self.has(Fault::PagesByOffset) {
            self.shared.calls.fetch_add(items.len(), Ordering::SeqCst);
        }
        Ok(Page { items, more })
    }

    async fn due_connections(
        &self,
        until: Timestamp,
        after: Option<&DueEntry>,
        limit: u32,
    ) -> Result<Page<DueEntry>, StoreError> {
        let mut items: Vec<DueEntry> = Vec::new();
        for stored in self.rows().await? {
            let Index { due_at, status, .. } = stored.row.index;
            if self.has(Fault::DueLiveOnly) && status == Status::Deleted {
                continue;
            }
            let id = stored.row.id;
            items.extend(due_at.map(|due_at| DueEntry { due_at, id }));
        }
        items.sort();
        if self.has(Fault::DueById) {
            items.sort_by(|a, b| a.id.cmp(&b.id));
        }
        items.retain(|entry| match self.fault {
            Fault::DueBefore => entry.due_at < until,
            _ => entry.due_at <= until,
        });
        if let Some(after) = after {
            items.retain(|entry| match self.fault {
                Fault::DueTiesSkipped => entry.due_at > after.due_at,
                Fault::DueRepeats => entry >= after,
                Fault::DueById => entry.id > after.id,
                _ => entry > after,
            });
        }
        let limit = usize::try_from(limit).unwrap();
        let more = items.len() > limit - usize::from(self.has(Fault::DueMoreWhenFull));
        items.truncate(limit);
        Ok(Page { items, more })
    }

    async fn connections_needing_attention(
        &self,
        attention: Attention,
        before: Option<&ConnectionId>,
        limit: u32,
    ) -> Result<Page<ListEntry>, StoreError> {
        let mut items = self.rows().await?;
        items.retain(|stored| {
            let Index {
                attention: own,
                status,
                ..
            } = stored.row.index;
            let fits = own == Some(attention) || (own.is_some() && self.has(Fault::AttentionsMixed));
            fits && !(status == Status::Deleted && self.has(Fault::AttentionLiveOnly))
        });
        if self.has(Fault::AttentionsAscend) {
            items.reverse();
        }
        if let Some(before) = before {
            items.retain(|stored| match self.fault {
                Fault::AttentionRepeats => stored.row.id <= *before,
                Fault::AttentionsAscend => stored.row.id > *before,
                _ => stored.row.id < *before,
            });
        }
        let limit = usize::try_from(limit).unwrap();
        let more = items.len() > limit && !self.has(Fault::AttentionNeverMore);
        items.truncate(limit);
        let items = items.into_iter().map(|stored| self.show(stored)).collect();
        Ok(Page { items, more })
    }

    fn warnings(&self) -> Vec<Warning> {
        self.inner.warnings()
    }

    async fn connection_news(&self) {
        self.inner.connection_news().await;
    }

    async fn connection_changes(&self, since: Option<&Point>) -> Result<Changes, StoreError> {
        if let Some(changes) = self.by_number(since) {
            return Ok(changes);
        }
        let mut changes = self.inner.connection_changes(since).await?;
        self.dawdle(Fault::RacyPoint).await;
        let rows: BTreeSet<_> = self
            .rows()
            .await?
            .into_iter()
            .map(|stored| stored.row.id)
            .collect();
        match self.fault {
            Fault::RemovalsUntold => changes.changed.retain(|change| rows.contains(&change.id)),
            Fault::SwapsUntold => {
                let is_swap = |revision: Revision| revision.counter > 1;
                changes
                    .changed
                    .retain(|change| !is_swap(change.revision) || !rows.contains(&change.id));
            }
            Fault::RemovalAsItWas => {
                let last = self.shared.last_revisions.lock().unwrap();
                for change in &mut changes.changed {
                    if !rows.contains(&change.id) {
                        change.revision = last[&change.id];
                    }
                }
            }
            Fault::ToldTwice => changes.changed.extend(changes.changed.clone()),
            Fault::PointTooFar if since.is_some() => changes.next.0[0] += 1,
            Fault::ReturnUntold => {
                let last = self.shared.last_revisions.lock().unwrap();
                changes.changed.retain(|change| !last.contains_key(&change.id));
            }
            Fault::GapUntold => changes.gap = false,
            Fault::RacyPoint => changes.next = self.inner.connection_changes(None).await?.next,
            _ => {}
        }
        for change in &mut changes.changed {
            change.revision = self.shown(change.revision);
        }
        Ok(changes)
    }

    async fn touch_connections(&self, facts: &[(ConnectionId, HotFacts)]) -> Result<(), StoreError> {
        for (id, facts) in facts {
            let stored = self.inner.connection(id).await?.0;
            match (self.fault, &stored) {
                (Fault::TouchStopsAtUnknown, None) => return Ok(()),
                (Fault::TouchFailsAtUnknown, None) => {
                    return Err(StoreError::bare(StoreErrorKind::Invalid, "touch_connections"));
                }
                (Fault::TouchBumps | Fault::TouchTold, Some(stored)) => {
                    let _ = self.inner.swap_connection(&stored.row, stored.revision).await?;
                }
                (Fault::TornTouch, Some(_)) => {
                    let time = HotFacts {
                        api_usage: None,
                        ..*facts
                    };
                    self.inner.touch_connections(&[(id.clone(), time)]).await?;
                    self.dawdle(Fault::TornTouch).await;
                }
                _ => {}
            }
            if stored.is_some() {
                let mut hot = self.shared.hot.lock().unwrap();
                let hot = hot.entry(id.clone()).or_default();
                if self.has(Fault::TouchClears) {
                    *hot = *facts;
                } else {
                    hot.last_active_at = facts.last_active_at.or(hot.last_active_at);
                    hot.api_usage = facts.api_usage.or(hot.api_usage);
                }
            }
            self.inner.touch_connections(&[(id.clone(), *facts)]).await?;
        }
        Ok(())
    }

    async fn connections_by_key(&self) -> Result<Vec<(String, u64)>, StoreError> {
        let mut counts = BTreeMap::new();
        for stored in self.rows().await? {
            let Index {
                integration,
                status,
                sealed_by,
                ..
            } = stored.row.index;
            let counted = match self.fault {
                Fault::CountsLiveOnly => status != Status::Deleted,
                Fault::CountsOneIntegration => integration.as_str() == "int_a",
                _ => true,
            };
            *counts.entry(sealed_by).or_default() += u64::from(counted);
        }
        Ok(counts.into_iter().collect())
    }

    async fn has_connections(&self, integration: &IntegrationId) -> Result<bool, StoreError> {
        Ok(self.rows().await?.into_iter().any(|stored| {
            let index = stored.row.index;
            (index.integration == *integration || self.has(Fault::OthersCount))
                && (index.status != Status::Deleted || self.has(Fault::DeletedCount))
        }))
    }
}
