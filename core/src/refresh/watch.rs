//! Step 12 and the broker's other loops: what other processes changed, what was used, what is due.

use std::{sync::Arc, time::Duration};

use super::sweep;
use crate::{engine::Engine, error::Error, store::Point};

/// How often the broker's loops run.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(
    not(feature = "conformance"),
    expect(unreachable_pub, reason = "simulations set it")
)]
pub struct Paces {
    /// How often the store is asked for changes.
    pub look: Duration,
    /// How often uses are written down.
    pub flush: Duration,
    /// How often due rows are looked for.
    pub sweep: Duration,
}

/// After news.
const LULL: Duration = Duration::from_millis(20);

impl Default for Paces {
    fn default() -> Self {
        Self {
            look: Duration::from_millis(250),
            flush: Duration::from_secs(2),
            sweep: Duration::from_secs(20),
        }
    }
}

/// Starts the loops. They end with the broker.
pub(crate) fn start(engine: &Arc<Engine>) {
    let Paces {
        look: every,
        flush,
        sweep: rest,
    } = engine.settings.paces;
    let weak = Arc::downgrade(engine);
    engine.tasks.background(async move {
        let mut seen = Seen::default();
        loop {
            let Some(engine) = weak.upgrade() else { return };
            // A store that does not answer: hits end after a second, and the row is read instead.
            if let Err(error) = look(&engine, &mut seen).await {
                tracing::warn!(code = error.code().as_str(), "the store's changes cannot be read");
            }
            let connections = engine.stores.connections.clone();
            drop(engine);
            if tokio::time::timeout(every, connections.connection_news())
                .await
                .is_ok()
            {
                // What changes with it is seen in one look, and no store is asked without a pause.
                tokio::time::sleep(LULL.min(every)).await;
            }
        }
    });
    let weak = Arc::downgrade(engine);
    engine.tasks.background(async move {
        loop {
            tokio::time::sleep(flush).await;
            let Some(engine) = weak.upgrade() else { return };
            engine.flush_uses().await;
            engine.meter.settle(&engine.tasks, &engine.stores).await;
        }
    });
    let weak = Arc::downgrade(engine);
    let soon = engine.sweep_soon.clone();
    engine.tasks.background(async move {
        loop {
            let Some(engine) = weak.upgrade() else { return };
            if let Err(error) = sweep::sweep(&engine).await {
                tracing::warn!(code = error.code().as_str(), "due connections cannot be read");
            }
            drop(engine);
            // Woken early, after a freeze say.
            let _ = tokio::time::timeout(rest, soon.notified()).await;
        }
    });
}

#[derive(Default)]
struct Seen {
    connections: Option<Point>,
    integrations: Option<u64>,
}

async fn look(engine: &Arc<Engine>, seen: &mut Seen) -> Result<(), Error> {
    let begun = engine.clock.tick();
    let integrations = engine.stores.integrations.integrations_version().await?;
    if seen.integrations != Some(integrations) {
        engine.integrations.reload(engine).await?;
        seen.integrations = Some(integrations);
    }
    let changes = engine
        .stores
        .connections
        .connection_changes(seen.connections.as_ref())
        .await?;
    // What was read before the first look may have changed before it, too.
    engine
        .cache
        .apply(&changes, changes.gap || seen.connections.is_none());
    seen.connections = Some(changes.next);
    engine.cache.freshness.heard_at(begun);
    Ok(())
}

impl Engine {
    /// Writes down when connections were last used, and their orgs' API usage. Losing this in a crash loses two seconds of it.
    pub(crate) async fn flush_uses(&self) {
        let facts = self.cache.drain_uses();
        if !facts.is_empty() && self.stores.connections.touch_connections(&facts).await.is_err() {
            tracing::warn!("the times of last use could not be written");
        }
    }
}
