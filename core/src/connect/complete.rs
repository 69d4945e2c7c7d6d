//! From an authorization code to a stored connection.

use std::{sync::Arc, time::Duration};

use super::Attempt;
use crate::{
    connection::{Profile, Reason, Status},
    engine::Engine,
    error::{Code, Error, causes},
    event::What,
    grant::{Grant, tokens_context},
    id::{ConnectionId, IntegrationId},
    integrations::{Body, Loaded},
    provider::{AccessLife, CodeExchange, Expiry, Failure, TokenHttp, TokenSet, Verdict},
    random,
    record::{Facts, Record},
    refresh::protocol::{self, schedule},
    secret::{Secret, fingerprint},
    store::{Inserted, Removed, StoreError, Swap},
};

/// How long the provider may take for each question.
const LIMIT: Duration = Duration::from_secs(20);
/// How often a write is tried before a new grant is given up.
const WRITES: u32 = 8;

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
    fn unsure(cause: Option<StoreError>) -> Self {
        let error = Error::new(Code::StoreUnavailable);
        Self {
            error: match cause {
                Some(cause) => error.caused_by(cause),
                None => error,
            },
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

impl Engine {
    /// Exchanges the code, finds out who it is, and stores the connection.
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
                tracing::error!(integration = %integration.id, causes, "whether a new connection is stored is not known");
            }
            lost.error
        })
    }

    /// If a new connection is lost with a machine, its user connects again: nobody waits for certainty, and a warning is
    /// all that comes of doubt.
    fn confirm_connected(self: &Arc<Self>, id: &ConnectionId) {
        let (engine, id) = (self.clone(), id.clone());
        self.tasks.spawn(async move {
            if let Ok((Some(stored), _)) = engine.stores.connections.connection(&id).await {
                engine.confirmed(&id, stored.revision, "connect").await;
            }
        });
    }

    /// A grant that nobody keeps must not be left at the provider. It is revoked behind the user's back, unless the
    /// connection that was to be connected again lives on the same token.
    fn discard(self: &Arc<Self>, integration: &Arc<Loaded>, again: Option<ConnectionId>, token: Secret) {
        let (engine, integration) = (self.clone(), integration.clone());
        self.tasks.spawn(async move {
            if let Some(id) = again
                && !engine.lives_without(&id, &token).await
            {
                return;
            }
            let (http, client) = (engine.http(), integration.client());
            let revoke = integration.provider.revoke(&http, &client, &token);
            let _ = tokio::time::timeout(LIMIT, revoke).await;
        });
    }

    /// Whether a connection certainly does not live on this refresh token.
    async fn lives_without(&self, id: &ConnectionId, token: &Secret) -> bool {
        let Ok((stored, _)) = self.stores.connections.connection(id).await else {
            return false;
        };
        let Some(stored) = stored else { return true };
        let Ok(record) = Record::decode(&stored) else {
            return false;
        };
        if record.facts.moved.is_some() {
            // What it lives on stands in another store.
            return false;
        }
        match crate::refresh::open(&*self.vault, &record).await {
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
        let (http, _) = TokenHttp::new(self.transport.clone());
        let verifier = Secret::new(attempt.verifier.clone());
        let request = CodeExchange {
            code,
            code_verifier: &verifier,
            now: self.clock.wall(),
        };
        let client = integration.client();
        let exchange = integration.provider.exchange_code(http, &client, request);
        match tokio::time::timeout(LIMIT, exchange).await {
            Ok(Ok(set)) => Ok(set),
            Ok(Err(failure)) => Err(self.connect_error(integration, &failure)),
            Err(_) => Err(Error::new(Code::ProviderRejected).because(Reason::AnswerLost.as_str())),
        }
    }

    fn connect_error(&self, integration: &Loaded, failure: &Failure) -> Error {
        let reason = failure.reason();
        self.emit(&integration.id, None, What::ConnectFailed(reason));
        if let Failure::Refused(refusal) = failure
            && refusal.verdict == Verdict::ClientMisconfigured
        {
            return self.client_refused(integration, reason);
        }
        let code = match reason {
            Reason::InstanceUrlRejected => Code::InstanceUrlRejected,
            Reason::IdentityUrlRejected => Code::IdentityUrlRejected,
            Reason::SignatureInvalid => Code::SignatureInvalid,
            Reason::AnswerIncomplete => Code::TokenResponseIncomplete,
            Reason::AnswerInvalid => Code::TokenResponseInvalid,
            _ => Code::ProviderRejected,
        };
        Error::new(code).because(reason.as_str())
    }

    /// Finds out who the new grant belongs to and how long it lives.
    async fn arrive(&self, integration: &Loaded, set: TokenSet) -> Result<Arrival, Error> {
        let incomplete = |what| Error::new(Code::TokenResponseIncomplete).because(what);
        let subject = set.subject.clone().ok_or_else(|| incomplete("id"))?;
        let instance_url = set
            .instance_url
            .clone()
            .ok_or_else(|| incomplete("instance_url"))?;
        let client = integration.client();
        let http = self.http();
        let mut profile = Err(Failure::Unknown(Reason::AnswerLost));
        for _ in 0..2 {
            let identify = integration.provider.identify(&http, &client, &set);
            profile = tokio::time::timeout(LIMIT, identify).await.unwrap_or(profile);
            if profile.is_ok() {
                break;
            }
        }
        let profile = profile.map_err(|failure| self.connect_error(integration, &failure))?;
        let life = integration.provider.access_life(&http, &client, &set);
        let expiry = match tokio::time::timeout(LIMIT, life).await {
            Ok(Ok(AccessLife::Alive(Some(at)))) => Expiry::Known(at),
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
            connected_with: row.set,
            owed: Vec::new(),
            moved: None,
        };
        let mut record = Record::new(id.clone(), integration.id.clone(), facts);
        self.seal_into(&mut record, &grant, integration).await?;
        self.note(
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
        let row = self.row(&record);
        let mut cause = None;
        for round in 0..WRITES {
            match self.stores.connections.insert_connection(&row).await {
                // The id is random: if it is taken, an earlier try of ours was applied though its answer was lost.
                Ok(Inserted::Created(_) | Inserted::Occupied) => {}
                Err(error) => {
                    cause = Some(error);
                    tokio::time::sleep(schedule::store_retry(round, random::spread())).await;
                    if !matches!(self.stores.connections.connection(&id).await, Ok((Some(_), _))) {
                        continue;
                    }
                }
            }
            self.not_left_behind(&integration.id, &id).await?;
            self.emit(&integration.id, Some(&id), What::Connected);
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
        let Arrival {
            grant,
            subject,
            profile,
        } = arrival;
        let set = random::id().map_err(Error::from)?;
        let token = grant.refresh_token.as_ref().map(|t| fingerprint(t.expose()));
        self.still_usable(integration).await?;
        let (mut unsure, mut cause) = (false, None);
        for round in 0..WRITES {
            let stored = match self.stores.connections.connection(id).await {
                Ok((Some(stored), _)) => stored,
                Ok((None, _)) => return Err(Code::ConnectionNotFound.into()),
                Err(error) => {
                    cause = Some(error);
                    tokio::time::sleep(schedule::store_retry(round, random::spread())).await;
                    continue;
                }
            };
            let mut record = Record::decode(&stored)?;
            if record.facts.connected_with == set {
                self.reconnected(integration, &record);
                return Ok(());
            }
            if record.facts.moved.is_some() {
                return Err(Code::StoreMoved.into());
            }
            if record.facts.row.status == Status::Deleted {
                return Err(Code::ConnectionNotFound.into());
            }
            if record.facts.subject != subject && !attempt.allow_account_change {
                return Err(Code::AccountMismatch.into());
            }
            let owed = match crate::refresh::open(&*self.vault, &record).await {
                Ok(old) => old.refresh_token.is_none() || old.refresh_token != grant.refresh_token,
                // It may be the very same token.
                Err(error) if error.is_retryable() => return Err(error.into()),
                // What does not open cannot be revoked, either.
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
            if !attempt.owner.is_empty() {
                record.facts.owner.clone_from(&attempt.owner);
            }
            record.facts.metadata.extend(attempt.metadata.clone());
            self.seal_into(&mut record, &grant, integration).await?;
            self.note(&mut record, "reconnected", None, token.as_deref());
            match self
                .stores
                .connections
                .swap_connection(&self.row(&record), stored.revision)
                .await
            {
                Ok(Swap::Swapped(_)) => {
                    self.reconnected(integration, &record);
                    return Ok(());
                }
                Ok(Swap::Missing) => return Err(Code::ConnectionNotFound.into()),
                Ok(Swap::Conflict) => {}
                Err(error) => {
                    (unsure, cause) = (true, Some(error));
                    tokio::time::sleep(schedule::store_retry(round, random::spread())).await;
                }
            }
        }
        Err(Lost {
            certain: !unsure,
            ..Lost::unsure(cause)
        })
    }

    /// A copy to another store marks the integration and then lists its connections. Who reads no mark after the insert is
    /// in that list; who reads one may have come too late for it, and takes the connection back unless it went along.
    async fn not_left_behind(&self, integration: &IntegrationId, id: &ConnectionId) -> Result<(), Lost> {
        let Ok(Some(stored)) = self.stores.integrations.integration(integration).await else {
            return Ok(());
        };
        if Body::decode(&stored).is_ok_and(|body| body.away().is_none()) {
            return Ok(());
        }
        let Ok((Some(stored), _)) = self.stores.connections.connection(id).await else {
            return Ok(());
        };
        if Record::decode(&stored).is_ok_and(|record| record.facts.moved.is_some()) {
            return Ok(());
        }
        let removed = self
            .stores
            .connections
            .remove_connection(id, stored.revision)
            .await;
        match removed {
            Ok(Removed::Gone) => Err(Code::StoreMoved.into()),
            // Copied meanwhile. What nobody knows stays, and goes along when the copy is run once more.
            Ok(Removed::Conflict | Removed::Missing) | Err(_) => Ok(()),
        }
    }

    /// Asked again right before the write: the provider may have taken minutes, and no grant must outlive a freeze that
    /// began meanwhile.
    async fn still_usable(&self, integration: &Loaded) -> Result<(), Error> {
        self.integrations.get(self, &integration.id).await?.usable()
    }

    fn reconnected(self: &Arc<Self>, integration: &Loaded, record: &Record) {
        self.cache.remove(&record.id);
        self.emit(&integration.id, Some(&record.id), What::Reconnected);
        self.scopes_event(integration, record);
        self.revoke_owed(&record.id);
    }

    fn scopes_event(&self, integration: &Loaded, record: &Record) {
        let asked = &integration.body.scopes;
        if asked.iter().any(|s| !record.facts.scopes.contains(s)) {
            self.emit(&integration.id, Some(&record.id), What::ScopesDiffer);
        }
    }

    async fn seal_into(&self, record: &mut Record, grant: &Grant, integration: &Loaded) -> Result<(), Error> {
        let context = tokens_context(&record.integration, &record.id, record.facts.row.name);
        let sealed = self.vault.seal(&context, &grant.encode()).await?;
        let key = self.vault.key_of(&sealed).unwrap_or_default();
        let idle = integration.provider.idle_limit(&integration.client());
        record.take_set(grant, sealed.into(), key, idle);
        Ok(())
    }
}
