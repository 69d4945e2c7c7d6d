//! Revocations owed to the provider. A connection ends in the store first, and the owed revocation is written in the
//! same swap; so it survives a crash, and the sweep finds it again.

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD_NO_PAD};

use super::protocol::schedule;
use crate::{
    connection::{Reason, Status},
    engine::Engine,
    error::Error,
    event::What,
    grant::{Grant, tokens_context},
    id::ConnectionId,
    integrations::Loaded,
    provider::{Failure, Verdict},
    random,
    record::{Owed, Record},
    store::Swap,
    vault::VaultError,
};

/// After so many failures a revocation is given up; what is left upstream is in the history.
const TRIES: u32 = 12;

/// How many revocations one task pays; the sweep comes back for more.
const ROUNDS: u32 = 32;
/// How long a request may take.
const LIMIT: Duration = Duration::from_secs(20);
/// For so long a revocation belongs to the process that began it; afterwards the sweeps take it for abandoned.
const CLAIM: Duration = Duration::from_secs(30);

/// What became of a revocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Paid {
    /// The grant is gone at the provider.
    Gone,
    /// The provider did not do it.
    Refused,
    /// It could not be asked, for a reason of ours.
    NotTried,
}

impl Engine {
    /// Pays what a connection owes, in a task of the broker's own.
    pub(crate) fn revoke_owed(self: &Arc<Self>, id: &ConnectionId) {
        let (engine, id) = (self.clone(), id.clone());
        self.tasks.spawn(async move {
            if let Err(error) = engine.pay(&id).await {
                // The row still says what is owed; the sweep comes back to it.
                tracing::warn!(connection = %id, code = error.code().as_str(), "revocation postponed");
            }
        });
    }

    /// Pays what a connection owes, whoever wrote it. Each is claimed in the row first, so that of several processes one
    /// pays it.
    pub(super) async fn pay(self: &Arc<Self>, id: &ConnectionId) -> Result<(), Error> {
        for _ in 0..ROUNDS {
            let now = self.clock.wall();
            let (Some(stored), _) = self.stores.connections.connection(id).await? else {
                return Ok(());
            };
            let mut record = Record::decode(&stored)?;
            let Some(owed) = record.facts.owed.iter_mut().find(|o| o.next <= now) else {
                return Ok(());
            };
            owed.next = now + CLAIM;
            let owed = owed.clone();
            let claimed = self
                .stores
                .connections
                .swap_connection(&self.row(&record), stored.revision)
                .await?;
            if let Swap::Swapped(revision) = claimed {
                let integration = self.integrations.get(self, &record.integration).await?;
                // Of a connection that lives on another set: should the row go back to this one, it must still work.
                let replaced = record.facts.row.status == Status::Connected;
                let paid = if replaced && !self.confirmed(id, revision, "revocation").await {
                    Paid::NotTried
                } else {
                    self.revoke_one(&record, &owed, &integration).await
                };
                self.book(id, &owed, paid).await?;
            }
        }
        Ok(())
    }

    /// Forgets what a connection owes: nobody knows the client any more with which it could be paid.
    pub(super) async fn give_up_owed(&self, id: &ConnectionId) -> Result<(), Error> {
        let (Some(stored), _) = self.stores.connections.connection(id).await? else {
            return Ok(());
        };
        let mut record = Record::decode(&stored)?;
        if std::mem::take(&mut record.facts.owed).is_empty() {
            return Ok(());
        }
        self.note(&mut record, "revocation_given_up", None, None);
        // On a conflict the next sweep looks again.
        let next = self.row(&record);
        let _ = self
            .stores
            .connections
            .swap_connection(&next, stored.revision)
            .await?;
        Ok(())
    }

    /// Asks the provider to revoke the set.
    async fn revoke_one(&self, record: &Record, owed: &Owed, integration: &Loaded) -> Paid {
        let context = tokens_context(&record.integration, &record.id, owed.name);
        let Ok(sealed) = BASE64_STANDARD_NO_PAD.decode(&owed.sealed) else {
            return Paid::Refused;
        };
        let opened = match self.vault.open(&context, &sealed).await {
            Ok(opened) => opened,
            Err(VaultError::Unavailable(_) | VaultError::UnknownKey) => return Paid::NotTried,
            Err(_) => return Paid::Refused,
        };
        let Ok(grant) = Grant::decode(opened.expose()) else {
            return Paid::Refused;
        };
        let token = grant.refresh_token.as_ref().unwrap_or(&grant.access_token);
        // The connection may live on the very same token again: then nothing is owed any more.
        match super::open(&*self.vault, record).await {
            Ok(living) if living.refresh_token.as_ref() == Some(token) => return Paid::Gone,
            Err(error) if error.is_retryable() => return Paid::NotTried,
            Ok(_) | Err(_) => {}
        }
        let (http, client) = (self.http(), integration.client());
        let host = self.hosts.get(integration.provider.token_host(&client));
        let revoke = integration.provider.revoke(&http, &client, token);
        let failure = match tokio::time::timeout(LIMIT, revoke).await {
            Ok(Ok(())) => {
                host.answered();
                return Paid::Gone;
            }
            Ok(Err(failure)) => failure,
            Err(_) => Failure::Unknown(Reason::AnswerLost),
        };
        host.failed(failure, self.clock.boot());
        match failure {
            Failure::Refused(refusal) if refusal.verdict == Verdict::GrantDead => Paid::Gone,
            _ => Paid::Refused,
        }
    }

    /// Writes down what became of one owed revocation.
    async fn book(&self, id: &ConnectionId, owed: &Owed, paid: Paid) -> Result<(), Error> {
        for _ in 0..8 {
            let (Some(stored), _) = self.stores.connections.connection(id).await? else {
                return Ok(());
            };
            let mut record = Record::decode(&stored)?;
            let Some(at) = record
                .facts
                .owed
                .iter()
                .position(|o| o.name == owed.name && o.sealed == owed.sealed)
            else {
                return Ok(());
            };
            let given_up = paid == Paid::Refused && owed.failures + 1 >= TRIES;
            let gone = paid == Paid::Gone;
            if gone || given_up {
                record.facts.owed.remove(at);
                let what = if gone {
                    "revoked_upstream"
                } else {
                    "revocation_given_up"
                };
                self.note(&mut record, what, None, None);
            } else {
                let entry = &mut record.facts.owed[at];
                // What is our own fault may last for days, and is no reason to give up.
                entry.failures += u32::from(paid == Paid::Refused);
                let failures = entry.failures.max(1);
                entry.next = self.clock.wall() + schedule::cooling(failures, None, random::spread());
            }
            if let Swap::Swapped(_) = self
                .stores
                .connections
                .swap_connection(&self.row(&record), stored.revision)
                .await?
            {
                if gone {
                    self.emit(&record.integration, Some(id), What::RevokedUpstream);
                }
                if given_up {
                    self.emit(&record.integration, Some(id), What::RevocationGivenUp);
                }
                return Ok(());
            }
        }
        Ok(())
    }
}
