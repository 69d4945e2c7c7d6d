//! Runs owed revocations, one after the other. Each is claimed in the row first, so that of several processes one runs it,
//! and its outcome is written down. A claim that is lost costs a second revocation, which does no harm (RFC 7009 section 2.2).

use std::sync::Arc;

use base64::{Engine as _, prelude::BASE64_STANDARD_NO_PAD};

use super::Revoker;
use crate::{
    connection::Status,
    engine::{
        directory::Loaded,
        ledger::{
            Change,
            record::{Owed, Record},
        },
        limits,
        protocol::schedule,
        upstream::is_refused,
    },
    error::{Code, Error, causes},
    event::What,
    id::ConnectionId,
    provider::Verdict,
    random,
    store::{Revision, Swap},
};

/// The outcome of a revocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// The grant is gone at the provider, or nothing is owed any more.
    Gone,
    /// The provider did not do it, or the sealed set can never be opened.
    Refused,
    /// The provider was not asked, for a reason of ours.
    NotTried,
}

impl Revoker {
    /// Runs what a connection owes, in a task of its own.
    pub(crate) fn run_owed_behind(self: &Arc<Self>, id: &ConnectionId) {
        let (revoker, id) = (self.clone(), id.clone());
        self.tasks.spawn(async move {
            if let Err(error) = revoker.run_owed(&id).await {
                // It is still owed in the row; the sweep will retry.
                tracing::warn!(connection = %id, code = error.code().as_str(), causes = causes(&error), "revocation postponed");
            }
        });
    }

    /// Runs the revocations that a connection owes.
    ///
    /// # Errors
    /// Those of the store; revocations that were made are recorded or repeated.
    pub(crate) async fn run_owed(&self, id: &ConnectionId) -> Result<(), Error> {
        for _ in 0..limits::OWED_IN_A_ROW {
            let Some(found) = self.ledger.read(id).await? else {
                return Ok(());
            };
            let mut record = found.record;
            let now = self.ledger.wall();
            let Some(owed) = record.facts.owed.iter_mut().find(|o| o.next <= now) else {
                return Ok(());
            };
            owed.next = now + limits::OWED_CLAIM;
            let owed = owed.clone();
            if let Swap::Swapped(revision) = self.ledger.swap(&record, found.revision).await? {
                let integration = self.directory.get(&record.integration).await?;
                let outcome = self.run_claimed(&record, revision, &owed, &integration).await;
                self.record(id, &owed, outcome).await?;
            }
        }
        Ok(())
    }

    /// Forgets what a connection owes, because the client that could revoke it no longer exists.
    pub(crate) async fn give_up_owed(&self, id: &ConnectionId) -> Result<(), Error> {
        let given_up = self.ledger.amend(id, |record, _| {
            if std::mem::take(&mut record.facts.owed).is_empty() {
                return Ok(Change::Keep(()));
            }
            self.ledger.note(record, "revocation_given_up", None, None);
            Ok(Change::Write(()))
        });
        given_up.await?;
        Ok(())
    }

    async fn run_claimed(
        &self,
        record: &Record,
        claimed: Revision,
        owed: &Owed,
        integration: &Loaded,
    ) -> Outcome {
        // Of a connection that lives on another set: should the row go back to this one, it must still work.
        let replaced = record.facts.row.status == Status::Connected;
        if replaced && !self.ledger.confirm(&record.id, claimed, "revocation").await {
            return Outcome::NotTried;
        }
        let Ok(sealed) = BASE64_STANDARD_NO_PAD.decode(&owed.sealed) else {
            return Outcome::Refused;
        };
        let grant = match self.ledger.open_sealed(record, owed.version, &sealed).await {
            Ok(grant) => grant,
            // The key may be supplied later.
            Err(error) if matches!(error.code(), Code::VaultUnavailable | Code::VaultKeyUnknown) => {
                return Outcome::NotTried;
            }
            Err(_) => return Outcome::Refused,
        };
        let token = grant.revocable();
        // The connection may live on the very same token again: then nothing is owed any more.
        match self.ledger.open(record).await {
            Ok(living) if living.refresh_token.as_ref() == Some(token) => return Outcome::Gone,
            Err(error) if error.is_retryable() => return Outcome::NotTried,
            Ok(_) | Err(_) => {}
        }
        match self.upstream.revoke(&integration.target(), token).await {
            Ok(()) => Outcome::Gone,
            Err(failed) if is_refused(&failed.failure, Verdict::GrantDead) => Outcome::Gone,
            Err(_) => Outcome::Refused,
        }
    }

    /// Records the outcome of one owed revocation.
    async fn record(&self, id: &ConnectionId, owed: &Owed, outcome: Outcome) -> Result<(), Error> {
        let jitter = random::jitter();
        let told = self.ledger.amend(id, |record, _| {
            let same = |o: &Owed| o.version == owed.version && o.sealed == owed.sealed;
            let Some(at) = record.facts.owed.iter().position(same) else {
                return Ok(Change::Keep(None));
            };
            let given_up = outcome == Outcome::Refused && owed.failures + 1 >= limits::OWED_TRIES;
            let (note, what) = match outcome {
                Outcome::Gone => ("revoked_upstream", What::RevokedUpstream),
                _ if given_up => ("revocation_given_up", What::RevocationGivenUp),
                _ => {
                    let entry = &mut record.facts.owed[at];
                    // A fault of ours may last for days, and is no reason to give up.
                    entry.failures += u32::from(outcome == Outcome::Refused);
                    let wait = schedule::cooling(entry.failures.max(1), None, jitter);
                    entry.next = self.ledger.wall() + wait;
                    return Ok(Change::Write(None));
                }
            };
            record.facts.owed.remove(at);
            self.ledger.note(record, note, None, None);
            Ok(Change::Write(Some((record.integration.clone(), what))))
        });
        if let Some(Some((integration, what))) = told.await? {
            self.journal.emit(&integration, Some(id), what);
        }
        Ok(())
    }
}
