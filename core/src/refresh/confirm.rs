//! Writes that must survive the loss of a machine. A store with replicas answers a write before they have it, and may then
//! forget it: a turn, and another process presents the same token; or a new set, and nobody else has it.

use std::{sync::Arc, time::Duration};

use super::{
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

/// What must be safe before a set is let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stands {
    /// The row that it was stored in.
    Set(Revision),
    /// The row of a reconnect: should that be lost, the connection lives on the set.
    Reconnect(Revision),
    /// Nothing: what was deleted or revoked is to end at once, whatever becomes of its row.
    Over,
}

impl Stands {
    /// A connection was ended by this row, or is gone.
    pub(super) fn ended(by: Option<&Stored>) -> Self {
        match by.map(|row| (row.row.index.status, row.revision)) {
            None | Some((Status::Deleted | Status::Revoked, _)) => Self::Over,
            Some((_, revision)) => Self::Reconnect(revision),
        }
    }
}

/// Keeps a set at hand that was stored, or whose connection was ended, until the store would not lose that with a machine;
/// if it did lose it, the set is stored again. The flight is over by then: callers are served, and the next refresh has its
/// own turn confirmed, which is written later than this set.
pub(super) fn keep_until_safe(
    engine: &Arc<Engine>,
    integration: &Arc<Loaded>,
    policy: &Policy,
    id: &ConnectionId,
    boat: Lifeboat,
    stands: Stands,
) {
    let (engine, integration) = (engine.clone(), integration.clone());
    let (policy, id) = (*policy, id.clone());
    engine
        .clone()
        .tasks
        .spawn(async move { Box::pin(until_safe(&engine, &integration, &policy, &id, boat, stands)).await });
}

async fn until_safe(
    engine: &Arc<Engine>,
    integration: &Arc<Loaded>,
    policy: &Policy,
    id: &ConnectionId,
    mut boat: Lifeboat,
    mut stands: Stands,
) {
    for round in 0.. {
        let is_safe = match stands {
            Stands::Set(revision) => engine.confirmed(id, revision, "set").await,
            Stands::Reconnect(revision) => {
                !policy.rules.confirm || engine.confirmed(id, revision, "reconnect").await
            }
            Stands::Over => true,
        };
        if is_safe {
            if !matches!(stands, Stands::Set(_)) {
                // Who ended it may not have seen this set.
                engine.owe_late(integration, id, &boat).await;
            }
            break;
        }
        let looks = engine.cache.looks();
        match engine.look_and_store(&mut boat, integration, policy, id).await {
            Try::Stored {
                record,
                revision,
                written,
            } => {
                let news = stands != Stands::Set(revision);
                stands = Stands::Set(revision);
                let first = !boat.taken;
                if first {
                    let _ = engine.landed(&mut boat, integration, &record, revision, looks);
                }
                if written && boat.verify {
                    let grant = boat.grant.duplicate();
                    if let Ok(entry) = engine.make_entry(&record, grant, Some(revision), integration) {
                        // Its own error says nothing new: callers meet it by themselves.
                        let _ = late::verify(engine, integration, id, entry, boat.ends).await;
                    }
                }
                // Somebody wrote the row for a reason of his own, or the end was lost.
                if news && (first || !written) {
                    continue;
                }
            }
            Try::Failed => {}
            Try::Conflict => continue,
            // Its token was presented since, in a turn that was confirmed; or it stands in the row that stayed behind when
            // the connection was copied, which was confirmed, too.
            Try::Superseded(_) | Try::Moved => break,
            Try::Ended(ended) => {
                let news = matches!(stands, Stands::Set(_));
                stands = Stands::ended(ended.as_ref());
                if news {
                    continue;
                }
            }
        }
        if boat.seat.lower(engine.clock.wall()) {
            engine.emit(&integration.id, Some(id), What::Unsaved);
            tracing::error!(connection = %id, "a token set is kept at hand, since what is stored might be lost with a machine");
        }
        tokio::time::sleep(schedule::store_retry(round, random::spread())).await;
    }
    if boat.seat.is_lowered() {
        engine.emit(&integration.id, Some(id), What::Saved);
    }
}
