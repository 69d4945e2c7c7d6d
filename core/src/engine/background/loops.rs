//! The broker's loops: other processes' changes, uses, and due rows.

use std::{sync::Arc, time::Duration};

use tokio::sync::Notify;

use super::{context::Context, sweep::sweep};
use crate::{
    engine::limits,
    error::{Error, causes},
    store::Point,
};

/// How often the broker's loops run.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(
    not(feature = "conformance"),
    expect(unreachable_pub, reason = "simulations set it")
)]
pub struct Intervals {
    /// How often the store is asked for changes.
    pub look: Duration,
    /// How often uses are written down.
    pub flush: Duration,
    /// How often due rows are looked for.
    pub sweep: Duration,
}

impl Default for Intervals {
    fn default() -> Self {
        Self {
            look: limits::LOOK,
            flush: limits::FLUSH,
            sweep: limits::SWEEP,
        }
    }
}

/// Starts the loops. They end with the broker.
pub(crate) fn start(context: &Arc<Context>, intervals: Intervals, sweep_soon: Arc<Notify>) {
    let Intervals {
        look: every,
        flush,
        sweep: rest,
    } = intervals;
    let weak = Arc::downgrade(context);
    context.tasks.background(async move {
        let mut seen = Seen::default();
        loop {
            let Some(context) = weak.upgrade() else { return };
            // Without the store, cache hits end after a second, and rows are read instead.
            if let Err(error) = look(&context, &mut seen).await {
                tracing::warn!(
                    code = error.code().as_str(),
                    causes = causes(&error),
                    "the store's changes cannot be read"
                );
            }
            let connections = context.connections.clone();
            drop(context);
            if tokio::time::timeout(every, connections.connection_news())
                .await
                .is_ok()
            {
                // Related changes are then seen together, and no store is polled without a pause.
                tokio::time::sleep(limits::LULL.min(every)).await;
            }
        }
    });
    let weak = Arc::downgrade(context);
    context.tasks.background(async move {
        loop {
            tokio::time::sleep(flush).await;
            let Some(context) = weak.upgrade() else { return };
            flush_uses(&context).await;
            context.meter.return_unused().await;
        }
    });
    let weak = Arc::downgrade(context);
    context.tasks.background(async move {
        loop {
            let Some(context) = weak.upgrade() else { return };
            // This is the last reference to the broker, or it is shutting down.
            let alone = || Arc::strong_count(&context) == 1 || context.tasks.closing();
            if let Err(error) = sweep(&context, alone).await {
                tracing::warn!(
                    code = error.code().as_str(),
                    causes = causes(&error),
                    "due connections cannot be read"
                );
            }
            drop(context);
            // May be woken early, for instance by a freeze.
            let _ = tokio::time::timeout(rest, sweep_soon.notified()).await;
        }
    });
}

#[derive(Default)]
struct Seen {
    connections: Option<Point>,
    integrations: Option<u64>,
}

async fn look(context: &Context, seen: &mut Seen) -> Result<(), Error> {
    let begun = context.clock.tick();
    let integrations = context.directory.version().await?;
    if seen.integrations != Some(integrations) {
        context.directory.reload().await?;
        seen.integrations = Some(integrations);
    }
    let changes = context
        .connections
        .connection_changes(seen.connections.as_ref())
        .await?;
    // Rows that were read before the first look may have changed before it.
    context
        .cache
        .apply(&changes, changes.gap || seen.connections.is_none());
    seen.connections = Some(changes.next);
    context.freshness.heard_at(begun);
    Ok(())
}

/// Records when connections were last used, and their accounts' API usage. A crash loses at most two seconds of it.
pub(crate) async fn flush_uses(context: &Context) {
    let facts = context.cache.drain_uses();
    if !facts.is_empty()
        && let Err(error) = context.connections.touch_connections(&facts).await
    {
        tracing::warn!(
            causes = causes(&error),
            "the times of last use could not be written"
        );
    }
}
