//! Writes that must survive the loss of a machine. A store with replicas answers a write before they have it, and may then
//! forget it: a turn, and another process presents the same token; or a new set, and nobody else has it.

use std::{sync::Arc, time::Duration};

use super::{
    cache::Entry,
    late,
    protocol::{self, Policy},
    schedule,
    settle::{Lifeboat, Try},
};
use crate::{
    connection::Status,
    engine::Engine,
    error::{Code, Error},
    event::What,
    id::ConnectionId,
    integrations::Loaded,
    random,
    record::Record,
    store::{Revision, Stored},
    time::BootInstant,
};

/// How long the store is waited for. Nothing could be sent any more by then.
const LIMIT: Duration = Duration::from_secs(5);

/// Why a turn was not used.
pub(super) const NOT_CONFIRMED: &str = "not_confirmed";

/// The turn might be lost with a machine: nothing was sent.
pub(super) fn not_confirmed() -> Error {
    Error::new(Code::StoreUnavailable)
        .because(NOT_CONFIRMED)
        .retry_after(Duration::from_secs(2))
}

impl Engine {
    /// Whether the row of this revision is there and would survive the loss of a machine.
    pub(crate) async fn confirmed(&self, id: &ConnectionId, revision: Revision, write: &'static str) -> bool {
        let confirm = self.stores.connections.confirm_connection(id, revision);
        let confirmed = matches!(tokio::time::timeout(LIMIT, confirm).await, Ok(Ok(true)));
        if !confirmed {
            metrics::counter!("grantry_not_confirmed", "write" => write).increment(1);
            tracing::warn!(connection = %id, write, "a write is not known to survive the loss of a machine");
        }
        confirmed
    }
}

/// Whether the turn would survive the loss of a machine. Somebody may write the row meanwhile for a reason of his own; then
/// it is asked about the row as it stands now.
pub(super) async fn turn_is_safe(
    engine: &Engine,
    record: &mut Record,
    stored: &mut Stored,
    holder: u128,
) -> bool {
    if engine.confirmed(&record.id, stored.revision, "turn").await {
        return true;
    }
    let Ok((Some(again), _)) = engine.stores.connections.connection(&record.id).await else {
        return false;
    };
    let Ok(now) = Record::decode(&again) else {
        return false;
    };
    if again.revision == stored.revision || !protocol::holds(&now.facts.row, holder) {
        return false;
    }
    (*record, *stored) = (now, again);
    engine.confirmed(&record.id, stored.revision, "turn").await
}

/// Whether what ended the connection of a set would survive the loss of a machine: until then the connection may live on
/// that set again. One that was deleted or revoked is to end at once, whatever becomes of its row.
pub(super) async fn end_is_safe(engine: &Engine, id: &ConnectionId, ended: Option<&Stored>) -> bool {
    let Some(ended) = ended else { return true };
    let is_over = matches!(ended.row.index.status, Status::Deleted | Status::Revoked);
    is_over || engine.confirmed(id, ended.revision, "end").await
}

/// A set that was stored.
pub(super) struct Taken {
    pub(super) boat: Lifeboat,
    pub(super) revision: Revision,
    pub(super) entry: Arc<Entry>,
    /// When its access token ends.
    pub(super) ends: BootInstant,
}

/// Keeps a set at hand that was stored, until the store would not lose it with a machine; if it did lose it, the set is
/// stored again. The flight is over by then: callers are served, and the next refresh has its own turn confirmed, which
/// is written later than this set.
pub(super) fn keep_until_safe(
    engine: &Arc<Engine>,
    integration: &Arc<Loaded>,
    policy: &Policy,
    id: &ConnectionId,
    taken: Taken,
) {
    let (engine, integration) = (engine.clone(), integration.clone());
    let (policy, id) = (*policy, id.clone());
    engine
        .clone()
        .tasks
        .spawn(async move { Box::pin(until_safe(&engine, &integration, &policy, &id, taken)).await });
}

async fn until_safe(
    engine: &Arc<Engine>,
    integration: &Arc<Loaded>,
    policy: &Policy,
    id: &ConnectionId,
    taken: Taken,
) {
    let Taken {
        mut boat,
        mut revision,
        entry,
        ends,
    } = taken;
    for round in 0.. {
        if engine.confirmed(id, revision, "set").await {
            break;
        }
        match engine.look_and_store(&mut boat, integration, policy, id).await {
            // Somebody wrote the row for a reason of his own.
            Try::Stored {
                revision: newer,
                again: false,
                ..
            } if newer != revision => {
                revision = newer;
                continue;
            }
            Try::Stored {
                revision: newer,
                again,
                ..
            } => {
                revision = newer;
                if again && boat.verify {
                    // Its own error says nothing new: callers meet it by themselves.
                    let _ = late::verify(engine, integration, id, entry.clone(), ends).await;
                }
            }
            Try::Failed => {}
            Try::Conflict => continue,
            // Its token was presented since, in a turn that was confirmed; or it stands in the row that stayed behind when
            // the connection was copied, which was confirmed, too.
            Try::Superseded(_) | Try::Moved => break,
            Try::Ended(ended) => {
                if end_is_safe(engine, id, ended.as_ref()).await {
                    // Who ended it may not have seen this set.
                    engine.owe_late(integration, id, &boat).await;
                    break;
                }
            }
        }
        if boat.seat.lower(engine.clock.wall()) {
            engine.emit(&integration.id, Some(id), What::Unsaved);
            tracing::error!(connection = %id, "a new token set is stored, and might be lost with a machine");
        }
        tokio::time::sleep(schedule::store_retry(round, random::spread())).await;
    }
    if boat.seat.is_lowered() {
        engine.emit(&integration.id, Some(id), What::Saved);
    }
}
