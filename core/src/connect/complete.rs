//! From an authorization code to a stored connection.

use std::sync::Arc;

use super::{Attempt, connector::Connector};
use crate::{
    connection::{Profile, Reason, Status},
    engine::{
        directory::Loaded,
        ledger::{
            grant::Grant,
            record::{Facts, Record},
        },
        limits,
        protocol::{self, schedule},
        upstream::{Failed, is_refused},
    },
    error::{Code, Error, causes},
    event::What,
    id::{ConnectionId, IntegrationId},
    provider::{AccessLife, Expiry, TokenSet, Verdict},
    random,
    secret::{Secret, fingerprint},
    store::{Inserted, Removed, Swap},
};

/// A new grant, and whose it is.
struct Arrival {
    grant: Grant,
    subject: String,
    profile: Profile,
}

/// A new grant was not stored.
struct Lost {
    error: Error,
    /// Not stored, for certain.
    certain: bool,
}

impl Lost {
    /// The store did not answer: the grant may be stored all the same.
    fn unsure(cause: Option<Error>) -> Self {
        Self {
            error: cause.unwrap_or_else(|| Code::StoreUnavailable.into()),
            certain: false,
        }
    }
}

/// What went wrong before anything was written.
impl From<Error> for Lost {
    fn from(error: Error) -> Self {
        Self { error, certain: true }
    }
}

impl From<Code> for Lost {
    fn from(code: Code) -> Self {
        Error::from(code).into()
    }
}

impl Connector {
    /// Exchanges the code, identifies the user, and stores the connection.
    pub(super) async fn complete(
        self: &Arc<Self>,
        integration: &Arc<Loaded>,
        attempt: &Attempt,
        code: &Secret,
    ) -> Result<(ConnectionId, bool), Error> {
        let set = self.exchange(integration, attempt, code).await?;
        let token = set
            .refresh_token
            .as_ref()
            .unwrap_or(&set.access_token)
            .duplicate();
        let stored = match self.arrive(integration, set).await {
            Ok(arrival) => match &attempt.reconnect {
                None => self
                    .store_new(integration, attempt, arrival)
                    .await
                    .map(|id| (id, false)),
                Some(id) => self
                    .store_again(integration, attempt, id, arrival)
                    .await
                    .map(|()| (id.clone(), true)),
            },
            Err(error) => Err(error.into()),
        };
        if let Ok((id, _)) = &stored {
            self.confirm_connected(id);
        }
        stored.map_err(|lost| {
            if lost.certain {
                self.discard(integration, attempt.reconnect.clone(), token);
            } else {
                let causes = causes(&lost.error);
                tracing::error!(integration = %integration.id, causes, "a new connection may or may not be stored");
            }
            lost.error
        })
    }

    /// If a new connection is lost with a machine, its user connects again: the caller does not wait for the confirmation,
    /// and without one a warning is logged.
    fn confirm_connected(self: &Arc<Self>, id: &ConnectionId) {
        let (ledger, id) = (self.ledger.clone(), id.clone());
        self.tasks.spawn(async move {
            if let Ok((Some(stored), _)) = ledger.stored(&id).await {
                ledger.confirm(&id, stored.revision, "connect").await;
            }
        });
    }

    /// Revokes a grant that was not stored, in the background, unless the connection that was to be reconnected uses the
    /// same token.
    fn discard(self: &Arc<Self>, integration: &Arc<Loaded>, again: Option<ConnectionId>, token: Secret) {
        let (connector, integration) = (self.clone(), integration.clone());
        self.tasks.spawn(async move {
            if let Some(id) = again
                && !connector.lives_without(&id, &token).await
            {
                return;
            }
            // Best effort: no row holds it.
            let _ = connector.upstream.revoke(&integration.target(), &token).await;
        });
    }

    /// Whether a connection certainly does not use this refresh token.
    async fn lives_without(&self, id: &ConnectionId, token: &Secret) -> bool {
        let record = match self.ledger.read(id).await {
            Ok(Some(found)) => found.record,
            Ok(None) => return true,
            Err(_) => return false,
        };
        if record.facts.migrated.is_some() {
            // Its tokens are in another store.
            return false;
        }
        match self.ledger.open(&record).await {
            Ok(grant) => grant.refresh_token.as_ref() != Some(token),
            Err(_) => record.sealed.is_empty(),
        }
    }

    async fn exchange(
        &self,
        integration: &Loaded,
        attempt: &Attempt,
        code: &Secret,
    ) -> Result<TokenSet, Error> {
        let verifier = Secret::new(attempt.verifier.clone());
        let now = self.clock.wall();
        self.upstream
            .exchange_code(&integration.target(), code, &verifier, now)
            .await
            .map_err(|failed| self.connect_error(integration, failed))
    }

    fn connect_error(&self, integration: &Loaded, failed: Failed) -> Error {
        let Failed { failure, unanswered } = failed;
        let reason = failure.reason();
        self.journal
            .emit(&integration.id, None, What::ConnectFailed(reason));
        if is_refused(&failure, Verdict::ClientMisconfigured) {
            return self.upstream.client_refused(&integration.target(), reason);
        }
        let code = match reason {
            Reason::InstanceUrlRejected => Code::InstanceUrlRejected,
            Reason::IdentityUrlRejected => Code::IdentityUrlRejected,
            Reason::SignatureInvalid => Code::SignatureInvalid,
            Reason::AnswerIncomplete => Code::TokenResponseIncomplete,
            Reason::AnswerInvalid => Code::TokenResponseInvalid,
            _ => Code::ProviderRejected,
        };
        unanswered.explain(Error::new(code).because(reason.as_str()))
    }

    /// Determines whose the new grant is, and when its access token ends.
    async fn arrive(&self, integration: &Loaded, set: TokenSet) -> Result<Arrival, Error> {
        let incomplete = |what| Error::new(Code::TokenResponseIncomplete).because(what);
        let subject = set.subject.clone().ok_or_else(|| incomplete("id"))?;
        let instance_url = set
            .instance_url
            .clone()
            .ok_or_else(|| incomplete("instance_url"))?;
        let target = integration.target();
        let profile = self
            .upstream
            .identify(&target, &set)
            .await
            .map_err(|failed| self.connect_error(integration, failed))?;
        let expiry = match self.upstream.access_life(&target, &set).await {
            Some(AccessLife::Alive(Some(at))) => Expiry::Known(at),
            _ => set.expiry,
        };
        let grant = Grant {
            access_token: set.access_token,
            refresh_token: set.refresh_token,
            instance_url,
            scopes: set.scopes.unwrap_or_else(|| integration.body.scopes.clone()),
            obtained_at: self.clock.wall(),
            expiry,
        };
        Ok(Arrival {
            grant,
            subject,
            profile,
        })
    }

    async fn store_new(
        self: &Arc<Self>,
        integration: &Arc<Loaded>,
        attempt: &Attempt,
        arrival: Arrival,
    ) -> Result<ConnectionId, Lost> {
        let Arrival {
            grant,
            subject,
            profile,
        } = arrival;
        let id = ConnectionId::generate();
        let row = protocol::first(random::id().map_err(Error::from)?);
        let now = self.clock.wall();
        let facts = Facts {
            row,
            provider: integration.offering.provider.clone(),
            environment: integration.offering.environment,
            profile,
            subject,
            owner: attempt.owner.clone(),
            metadata: attempt.metadata.clone(),
            scopes: grant.scopes.clone(),
            connected_at: now,
            obtained_at: now,
            access_ends: now,
            access_end_known: false,
            refresh_by: None,
            connected_with: row.write_id,
            owed: Vec::new(),
            migrated: None,
        };
        let mut record = Record::new(id.clone(), integration.id.clone(), facts);
        self.seal_into(&mut record, &grant, integration).await?;
        self.ledger.note(
            &mut record,
            "connected",
            None,
            grant
                .refresh_token
                .as_ref()
                .map(|t| fingerprint(t.expose()))
                .as_deref(),
        );
        self.still_usable(integration).await?;
        let mut cause = None;
        for round in 0..limits::CONNECT_WRITES {
            match self.ledger.insert(&record).await {
                // The id is random: if it is taken, an earlier try of ours was applied though its answer was lost.
                Ok(Inserted::Created(_) | Inserted::Occupied) => {}
                Err(error) => {
                    cause = Some(error);
                    tokio::time::sleep(schedule::store_retry(round, random::jitter())).await;
                    if !matches!(self.ledger.stored(&id).await, Ok((Some(_), _))) {
                        continue;
                    }
                }
            }
            self.not_left_behind(&integration.id, &id).await?;
            self.journal.emit(&integration.id, Some(&id), What::Connected);
            self.scopes_event(integration, &record);
            return Ok(id);
        }
        Err(Lost::unsure(cause))
    }

    /// The connection gets a new grant, which works; the old one is revoked afterwards.
    async fn store_again(
        self: &Arc<Self>,
        integration: &Arc<Loaded>,
        attempt: &Attempt,
        id: &ConnectionId,
        arrival: Arrival,
    ) -> Result<(), Lost> {
        let mut unsure = false;
        let written = self
            .write_again(integration, attempt, id, arrival, &mut unsure)
            .await;
        // Whatever came afterwards, a write without an answer may still be applied.
        written.map_err(|lost| Lost {
            certain: lost.certain && !unsure,
            ..lost
        })
    }

    /// `unsure` is set once a write got no answer.
    async fn write_again(
        self: &Arc<Self>,
        integration: &Arc<Loaded>,
        attempt: &Attempt,
        id: &ConnectionId,
        arrival: Arrival,
        unsure: &mut bool,
    ) -> Result<(), Lost> {
        let Arrival {
            grant,
            subject,
            profile,
        } = arrival;
        let set = random::id().map_err(Error::from)?;
        let token = grant.refresh_token.as_ref().map(|t| fingerprint(t.expose()));
        self.still_usable(integration).await?;
        let mut cause = None;
        for round in 0..limits::CONNECT_WRITES {
            let found = match self.ledger.read(id).await {
                Ok(Some(found)) => found,
                Ok(None) => return Err(Code::ConnectionNotFound.into()),
                Err(error) if !error.is_retryable() => return Err(error.into()),
                Err(error) => {
                    cause = Some(error);
                    tokio::time::sleep(schedule::store_retry(round, random::jitter())).await;
                    continue;
                }
            };
            let mut record = found.record;
            if record.facts.connected_with == set {
                self.reconnected(integration, &record);
                return Ok(());
            }
            if (attempt.owner_pinned || attempt.owner_only) && record.facts.owner != attempt.owner {
                return Err(if attempt.owner_only {
                    Code::ConnectionNotFound.into()
                } else {
                    Code::OwnerMismatch.into()
                });
            }
            if record.facts.migrated.is_some() {
                return Err(Code::StoreMoved.into());
            }
            if record.facts.row.status == Status::Deleted {
                return Err(Code::ConnectionNotFound.into());
            }
            if record.facts.subject != subject && !attempt.allow_account_change {
                return Err(Code::AccountMismatch.into());
            }
            let owed = match self.ledger.open(&record).await {
                Ok(old) => old.refresh_token.is_none() || old.refresh_token != grant.refresh_token,
                // It may be the very same token.
                Err(error) if error.is_retryable() => return Err(error.into()),
                // A set that does not open cannot be revoked, either.
                Err(_) => false,
            };
            if !owed {
                record.sealed = bytes::Bytes::new();
            }
            record.owe_set(self.clock.wall());
            record.facts.row = protocol::reconnect(&record.facts.row, set);
            record.facts.connected_with = set;
            record.facts.subject.clone_from(&subject);
            record.facts.profile = profile.clone();
            record.facts.connected_at = self.clock.wall();
            record.facts.metadata.extend(attempt.metadata.clone());
            self.seal_into(&mut record, &grant, integration).await?;
            self.ledger
                .note(&mut record, "reconnected", None, token.as_deref());
            match self.ledger.swap(&record, found.revision).await {
                Ok(Swap::Swapped(_)) => {
                    self.reconnected(integration, &record);
                    return Ok(());
                }
                Ok(Swap::Missing) => return Err(Code::ConnectionNotFound.into()),
                Ok(Swap::Conflict) => {}
                Err(error) => {
                    (*unsure, cause) = (true, Some(error));
                    tokio::time::sleep(schedule::store_retry(round, random::jitter())).await;
                }
            }
        }
        Err(Lost {
            certain: true,
            ..Lost::unsure(cause)
        })
    }

    /// A copy to another store marks the integration and then lists its connections. If there is no mark after the insert,
    /// the connection is in that list; if there is one, it may have missed it, and is taken back unless it was copied.
    async fn not_left_behind(&self, integration: &IntegrationId, id: &ConnectionId) -> Result<(), Lost> {
        if !self.directory.is_migrated(integration).await {
            return Ok(());
        }
        let Ok((Some(stored), _)) = self.ledger.stored(id).await else {
            return Ok(());
        };
        if Record::decode(&stored).is_ok_and(|record| record.facts.migrated.is_some()) {
            return Ok(());
        }
        match self.ledger.remove(id, stored.revision).await {
            Ok(Removed::Gone) => Err(Code::StoreMoved.into()),
            // Copied meanwhile. If that is unknown it is left, and taken along when the copy is run once more.
            Ok(Removed::Conflict | Removed::Missing) | Err(_) => Ok(()),
        }
    }

    /// Checked again right before the write: the provider may have taken a minute, and no grant may outlive a freeze that
    /// began meanwhile.
    async fn still_usable(&self, integration: &Loaded) -> Result<(), Error> {
        self.directory.get(&integration.id).await?.usable()
    }

    fn reconnected(self: &Arc<Self>, integration: &Loaded, record: &Record) {
        self.cache.remove(&record.id);
        self.journal
            .emit(&integration.id, Some(&record.id), What::Reconnected);
        self.scopes_event(integration, record);
        self.revoker.run_owed_behind(&record.id);
    }

    fn scopes_event(&self, integration: &Loaded, record: &Record) {
        let asked = &integration.body.scopes;
        if asked.iter().any(|s| !record.facts.scopes.contains(s)) {
            self.journal
                .emit(&integration.id, Some(&record.id), What::ScopesDiffer);
        }
    }

    async fn seal_into(&self, record: &mut Record, grant: &Grant, integration: &Loaded) -> Result<(), Error> {
        let name = record.facts.row.version;
        let sealed = self
            .ledger
            .seal(&record.integration, &record.id, name, grant)
            .await?;
        record.take_set(grant, sealed.bytes, sealed.key, integration.idle_limit());
        Ok(())
    }
}
