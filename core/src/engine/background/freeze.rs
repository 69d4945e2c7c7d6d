//! Freezing: after a suspected leak nothing of an integration is served or refreshed any more, and every grant is revoked.
//!
//! The freeze is a state of the integration's row, and takes effect in every process within a second. Every process then
//! continues the revocations at its sweeps until all are done, so that a crash stops none of them.

use std::pin::pin;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::context::Context;
use crate::{
    connection::Status,
    engine::{
        directory::{Body, Freeze, Switch},
        limits, pages,
        revoke::When,
        scope::Scope,
    },
    error::{Code, Error, causes},
    id::IntegrationId,
    store::{ConnectionFilter, StatusFilter, StoredIntegration},
};

/// Continues every freeze that is not done.
pub(super) async fn go_on(context: &Context) -> Result<(), Error> {
    for stored in context.directory.rows().await? {
        // An unreadable one serves nothing, and is reported when it is used.
        if let Ok(body) = Body::decode(&stored)
            && body.migrated().is_none()
            && let Switch::Frozen(freeze) = &body.switch
            && !freeze.done
        {
            revoke_all(context, &stored, &body, freeze).await?;
        }
    }
    Ok(())
}

/// Revokes every connection of a frozen integration in the store; the sweep then tells the provider.
async fn revoke_all(
    context: &Context,
    stored: &StoredIntegration,
    body: &Body,
    freeze: &Freeze,
) -> Result<(), Error> {
    let id = &stored.row.id;
    let begun = context.clock.wall();
    let mut ended = 0;
    for status in [Status::Connected, Status::Expired] {
        ended += revoke_those(context, id, status).await?;
    }
    if ended > 0 {
        tracing::warn!(integration = %id, connections = ended, "connections of a frozen integration were revoked");
    }
    // A time far ahead was written by a wrong clock, and must not keep it frozen until then.
    let young = freeze.since.until(begun) < limits::FREEZE_SETTLES
        && begun.until(freeze.since) < limits::FREEZE_BELIEVED;
    if ended > 0 || young {
        return Ok(());
    }
    // On a conflict the next sweep looks again.
    context.editor.freeze_is_done(stored, body, freeze).await
}

async fn revoke_those(context: &Context, id: &IntegrationId, status: Status) -> Result<usize, Error> {
    let filter = ConnectionFilter::of(id, StatusFilter::Only(status));
    let mut pages = pin!(pages::connections(&*context.connections, &filter));
    let mut ended = 0;
    while let Some(page) = pages.try_next().await? {
        let ids = page.into_iter().map(|stored| stored.row.id);
        let ends = ids.map(|id| async move {
            let end = context
                .revoker
                .end(Scope::default(), &id, Status::Revoked, When::Sweep)
                .await;
            (id, end)
        });
        let mut ends = stream::iter(ends).buffer_unordered(limits::FREEZE_AT_ONCE);
        while let Some((id, end)) = ends.next().await {
            match end {
                Ok(()) => ended += 1,
                Err(error) if error.code() == Code::ConnectionNotFound => {}
                // It serves nothing, but its tokens cannot be revoked.
                Err(error) if !error.is_retryable() => {
                    tracing::error!(connection = %id, code = error.code().as_str(), causes = causes(&error), "a connection cannot be revoked");
                }
                Err(error) => return Err(error),
            }
        }
    }
    Ok(ended)
}
