//! A set that comes back after its connection was copied to another store: its presenter was paused or cut off meanwhile.
//! It may hold the only living tokens, so it is never revoked, and is kept where it came back.

use super::{
    protocol::{self, Commit, Policy},
    settle::{Lifeboat, Try},
};
use crate::{
    engine::Engine,
    event::What,
    integrations::Loaded,
    record::Record,
    store::{Revision, Swap},
};

impl Engine {
    /// Stores the set in the row that stayed behind, which goes on being moved: when the copy is run once more it takes the
    /// set along. What is not newer than the row is dropped, as it would be in a row that lives here.
    pub(super) async fn keep_for_copy(
        &self,
        boat: &mut Lifeboat,
        integration: &Loaded,
        policy: &Policy,
        record: &Record,
        revision: Revision,
    ) -> Try {
        let (Some(moved), Some((mut next, _))) = (&record.facts.moved, record.departed()) else {
            return Try::Conflict;
        };
        let row = match protocol::commit(&next.facts.row, boat.spent, boat.set, policy) {
            Commit::Write { row, .. } => row,
            Commit::Stored => return Try::Moved,
            Commit::Superseded | Commit::Ended => {
                tracing::error!(connection = %record.id, "a token set came back for a connection that was ended and copied to another store; its grant may live on at the provider");
                return Try::Moved;
            }
        };
        let Ok((sealed, key)) = self.seal_boat(boat, record, row.name).await else {
            return Try::Failed;
        };
        next.facts.row = row;
        let idle = integration.provider.idle_limit(&integration.client());
        next.take_set(&boat.grant, sealed, key, idle);
        let token = boat.token.clone();
        self.note(&mut next, "came_after_copy", None, Some(&token));
        let due_at = self.row(&next).index.due_at;
        next.depart(moved.copy, due_at);
        match self
            .stores
            .connections
            .swap_connection(&self.row(&next), revision)
            .await
        {
            Ok(Swap::Swapped(_)) => {
                self.emit(&record.integration, Some(&record.id), What::CameAfterCopy);
                tracing::error!(connection = %record.id, "a token set came back after its connection was copied to another store; run the copy once more, so that it gets there");
                Try::Moved
            }
            Ok(Swap::Missing) => Try::Ended(None),
            Ok(Swap::Conflict) => Try::Conflict,
            Err(_) => Try::Failed,
        }
    }
}
