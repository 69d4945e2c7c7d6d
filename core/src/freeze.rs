//! Freezing: after a suspected leak nothing of an integration is served or refreshed any more, and every grant is revoked.
//!
//! The integration's row says that it is frozen, which is in force in every process within a second. Every process then
//! goes on with the revocations at its next sweep until all are done, so that a crash stops none of them.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt as _, stream};

use crate::{
    connection::Status,
    engine::Engine,
    error::{Code, Error, causes},
    event::What,
    id::{ConnectionId, IntegrationId},
    integrations::{Body, Freeze, Switch},
    refresh::Payer,
    store::{ConnectionFilter, StatusFilter, StoredIntegration, Swap},
};

/// Rows that are ended at once: a store that writes in groups then syncs once for all of them.
const AT_ONCE: usize = 64;
const PAGE: u32 = 256;
/// A connect attempt that was on its way when the freeze began has ended by then, so that a look at all rows which finds
/// nothing is the last one.
const SETTLED: Duration = Duration::from_secs(60);

impl Engine {
    /// Goes on with every freeze that is not done.
    pub(crate) async fn go_on_freezing(self: &Arc<Self>) -> Result<(), Error> {
        for stored in self.integrations.rows(self).await? {
            // One that cannot be read serves nothing, and is reported when it is used.
            if let Ok(body) = Body::decode(&stored)
                && body.away().is_none()
                && let Switch::Frozen(freeze) = &body.switch
                && !freeze.done
            {
                self.revoke_all(&stored, &body, freeze).await?;
            }
        }
        Ok(())
    }

    /// Revokes every connection of a frozen integration in the store; the sweep then tells the provider.
    async fn revoke_all(
        self: &Arc<Self>,
        stored: &StoredIntegration,
        body: &Body,
        freeze: &Freeze,
    ) -> Result<(), Error> {
        let id = &stored.row.id;
        let begun = self.clock.wall();
        let mut ended = 0;
        for status in [Status::Connected, Status::Expired] {
            ended += self.revoke_those(id, status).await?;
        }
        if ended > 0 {
            tracing::warn!(integration = %id, connections = ended, "connections of a frozen integration were revoked");
        }
        // What lies far ahead was written by a clock that was wrong, and must not keep it frozen for as long.
        let young = freeze.since.until(begun) < SETTLED && begun.until(freeze.since) < 60 * SETTLED;
        if ended > 0 || young {
            return Ok(());
        }
        let freeze = Freeze {
            done: true,
            ..freeze.clone()
        };
        let body = Body {
            switch: Switch::Frozen(freeze),
            ..body.clone()
        };
        // On a conflict the next sweep looks again.
        if let Swap::Swapped(_) = self
            .stores
            .integrations
            .swap_integration(&body.encode(id), stored.revision)
            .await?
        {
            self.emit(id, None, What::FreezeDone);
        }
        Ok(())
    }

    async fn revoke_those(self: &Arc<Self>, id: &IntegrationId, status: Status) -> Result<usize, Error> {
        let filter = ConnectionFilter::of(id, StatusFilter::Only(status));
        let mut before: Option<ConnectionId> = None;
        let mut ended = 0;
        loop {
            let page = self
                .stores
                .connections
                .list_connections(&filter, before.as_ref(), PAGE)
                .await?;
            before = page.items.last().map(|stored| stored.row.id.clone());
            let ids = page.items.into_iter().map(|stored| stored.row.id);
            let ends = ids.map(|id| async move {
                let end = self.end(None, &id, Status::Revoked, Payer::Sweep).await;
                (id, end)
            });
            let mut ends = stream::iter(ends).buffer_unordered(AT_ONCE);
            while let Some((id, end)) = ends.next().await {
                match end {
                    Ok(()) => ended += 1,
                    Err(error) if error.code() == Code::ConnectionNotFound => {}
                    // It serves nothing, but what is in it cannot be revoked.
                    Err(error) if !error.is_retryable() => {
                        tracing::error!(connection = %id, code = error.code().as_str(), causes = causes(&error), "a connection cannot be revoked");
                    }
                    Err(error) => return Err(error),
                }
            }
            if !page.more || before.is_none() {
                return Ok(ended);
            }
        }
    }
}
