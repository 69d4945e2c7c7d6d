//! The first half: remember who began what, and send the browser to the provider.

use std::{
    collections::BTreeMap,
    future::{Future, IntoFuture},
    pin::Pin,
    sync::Arc,
};

use zeroize::Zeroizing;

use super::{Attempt, Binding, Started, attempt_context, check_metadata, check_owner, connector::Connector};
use crate::{
    connection::Status,
    engine::{limits::ATTEMPT_LIFE, scope::Scope},
    error::{Code, Error},
    id::{ConnectionId, IntegrationId, IntegrationRef},
    integration::IntegrationState,
    oauth::{Pkce, RedirectUri, State},
    provider::AuthorizeRequest,
    store::{PendingRow, Put},
};

/// A connect attempt to begin. Await it.
#[derive(Debug)]
#[must_use = "await it to begin"]
pub struct BeginConnect {
    connector: Arc<Connector>,
    integration: IntegrationRef,
    binding: Binding,
    /// `None` if the host did not say: nobody for a new connection, its present owner for a reconnect.
    owner: Option<String>,
    metadata: BTreeMap<String, String>,
    return_to: Option<String>,
    reconnect: Option<ConnectionId>,
    allow_account_change: bool,
    /// The owner, if the attempt was begun through one.
    door: Option<String>,
}

impl BeginConnect {
    pub(crate) fn new(connector: Arc<Connector>, integration: IntegrationRef, binding: Binding) -> Self {
        Self {
            connector,
            integration,
            binding,
            owner: None,
            metadata: BTreeMap::new(),
            return_to: None,
            reconnect: None,
            allow_account_change: false,
            door: None,
        }
    }

    /// Connects accounts of this owner only. An empty one connects nothing.
    pub(crate) fn behind(mut self, owner: &str) -> Self {
        self.door = Some(owner.to_owned());
        self.owner(owner)
    }

    /// The host's own id of its user. Up to 256 characters. Through an owner's handle it is set, and any other is refused.
    pub fn owner(mut self, owner: impl Into<String>) -> Self {
        self.owner = Some(owner.into());
        self
    }

    /// The host's labels. At most 32, keys of up to 64 and values of up to 512 characters.
    pub fn metadata(mut self, metadata: BTreeMap<String, String>) -> Self {
        self.metadata = metadata;
        self
    }

    /// Where to send the browser afterwards: one of the integration's redirect URIs.
    pub fn return_to(mut self, uri: impl Into<String>) -> Self {
        self.return_to = Some(uri.into());
        self
    }

    /// Reconnects an existing connection, which keeps its id and its owner. With another [`BeginConnect::owner`] than the
    /// connection's it is `owner_mismatch`: a change of owner is a call of its own.
    pub fn reconnect(mut self, connection: ConnectionId) -> Self {
        self.reconnect = Some(connection);
        self
    }

    /// Permits a reconnect to another account than the connection had.
    pub fn allow_account_change(mut self) -> Self {
        self.allow_account_change = true;
        self
    }

    async fn begin(mut self) -> Result<Started, Error> {
        let connector = &self.connector;
        check_owner(self.owner.as_deref().unwrap_or_default())?;
        if self
            .door
            .as_ref()
            .is_some_and(|door| door.is_empty() || self.owner.as_ref() != Some(door))
        {
            return Err(Error::new(Code::FieldInvalid).because("owner"));
        }
        check_metadata(&self.metadata)?;
        let integration = connector.directory.find(&self.integration).await?;
        integration.usable()?;
        if integration.body.state() != IntegrationState::Configured {
            return Err(Code::IntegrationNotConfigured.into());
        }
        if let Some(uri) = &self.return_to {
            RedirectUri::choose(&integration.body.redirect_uris, uri)?;
        }
        let login_hint = match &self.reconnect {
            Some(id) => {
                let (owner, email) = self.reconnectable(&integration.id, id).await?;
                self.owner = Some(owner);
                Some(email)
            }
            None => None,
        };
        let client = integration.client();
        let state = State::generate()?;
        let pkce = Pkce::generate()?;
        let request = AuthorizeRequest {
            state: state.expose(),
            code_challenge: &pkce.challenge,
            login_hint: login_hint.as_deref().filter(|hint| !hint.is_empty()),
        };
        let url = integration
            .provider
            .authorize_url(&client, &request)
            .map_err(|_| Error::new(Code::OptionInvalid).because("login_url"))?;
        let attempt = Attempt {
            integration: integration.id.clone(),
            verifier: pkce.verifier.expose().to_owned(),
            token_host: integration.provider.token_host(&client),
            owner: self.owner.unwrap_or_default(),
            metadata: self.metadata,
            return_to: self.return_to,
            reconnect: self.reconnect,
            allow_account_change: self.allow_account_change,
            owner_only: self.door.is_some(),
            owner_pinned: true,
        };
        let plain = Zeroizing::new(serde_json::to_vec(&attempt).map_err(|_| Error::new(Code::Internal))?);
        let sealed = connector
            .vault
            .seal(&attempt_context(&attempt.integration), &plain)
            .await?;
        let expires_at = connector.clock.wall() + ATTEMPT_LIFE;
        let row = PendingRow {
            key: state.digest(),
            guard: *self.binding.digest(),
            expires_at,
            body: sealed.into(),
        };
        if connector.pending.put_pending(&row).await? == Put::Occupied {
            // The state is random.
            return Err(Error::new(Code::Internal).because("state_taken"));
        }
        Ok(Started {
            url: url.into(),
            expires_at,
        })
    }

    /// The connection's owner, and its user's e-mail address, if it may be connected again.
    async fn reconnectable(
        &self,
        integration: &IntegrationId,
        id: &ConnectionId,
    ) -> Result<(String, String), Error> {
        let found = self.connector.ledger.read(id).await?;
        let record = found.ok_or(Code::ConnectionNotFound)?.record;
        let scope = Scope {
            integration: Some(integration),
            owner: self.door.as_deref(),
        };
        scope.admit(&record.integration, &record.facts.owner)?;
        if record.facts.migrated.is_some() {
            return Err(Code::StoreMoved.into());
        }
        if record.facts.row.status == Status::Deleted {
            return Err(Code::ConnectionNotFound.into());
        }
        if self
            .owner
            .as_ref()
            .is_some_and(|owner| *owner != record.facts.owner)
        {
            return Err(Code::OwnerMismatch.into());
        }
        Ok((record.facts.owner, record.facts.profile.email))
    }
}

impl IntoFuture for BeginConnect {
    type Output = Result<Started, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.begin())
    }
}
