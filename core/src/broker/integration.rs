//! One integration, in process: what it is, what connects to it, and its switches.

use std::sync::Arc;

use async_trait::async_trait;

use super::{connection::ConnectionHandle, list::ListConnections, owner::OwnerHandle, parts::Shared};
use crate::{
    account::{Connection, ConnectionPage, ConnectionQuery, Integration},
    connect::{BeginConnect, Binding, Link, NewLink, Outcome},
    engine::directory::Switch,
    error::{Code, Error},
    event::What,
    id::{ConnectionId, IntegrationId, IntegrationRef},
    integration::{IntegrationUpdate, IntegrationView},
    secret::Secret,
    usage::Usage,
};

/// An integration of this broker. Making the handle looks nothing up; each method returns `integration_not_found` if there
/// is no such integration.
///
/// Cheap to make and to clone: it holds counted references and allocates nothing.
#[derive(Clone, Debug)]
pub struct IntegrationHandle {
    pub(super) shared: Shared,
    pub(super) which: IntegrationRef,
}

impl IntegrationHandle {
    /// Its id, which was made at random when the integration was, and which keys, events and logs name it by. A handle by id
    /// looks nothing up.
    ///
    /// # Errors
    /// `integration_not_found`: there is none with this slug.
    ///
    /// # Cancel safety
    /// Cancel safe: reading changes nothing.
    pub async fn id(&self) -> Result<IntegrationId, Error> {
        self.shared.parts.directory.stored_id_of(&self.which).await
    }

    /// A connection of this integration. For one of another integration each call returns `integration_mismatch`.
    pub fn connection(&self, id: &ConnectionId) -> ConnectionHandle {
        ConnectionHandle {
            shared: self.shared.clone(),
            id: id.clone(),
            integration: Some(self.which.clone()),
            owner: None,
        }
    }

    /// What belongs to this owner, the host's own id of its user, and nothing else. An empty owner owns nothing.
    pub fn owner(&self, owner: &str) -> OwnerHandle {
        OwnerHandle {
            shared: self.shared.clone(),
            integration: self.which.clone(),
            owner: owner.into(),
        }
    }

    /// The integration's connections, newest first. Deleted ones only when asked for. Await it for a page, or
    /// [`stream`](ListConnections::stream) all of them.
    ///
    /// # Errors
    /// `cursor_invalid`, `cursor_mismatch`, `cursor_expired`, `limit_invalid`, `limit_too_large`, `filter_invalid`.
    pub fn connections(&self) -> ListConnections {
        ListConnections::new(self.shared.parts.clone(), self.which.clone(), None)
    }

    /// Begins to connect an account: the first half of the web server flow (RFC 6749 section 4.1, PKCE by RFC 7636).
    /// `binding` proves who began; [`IntegrationHandle::finish_connect`] must be called with the same.
    ///
    /// # Errors
    /// `integration_not_found`, `integration_not_configured`, `integration_disabled`, `return_to_not_allowed`,
    /// `metadata_too_large`.
    pub fn begin_connect(&self, binding: Binding) -> BeginConnect {
        BeginConnect::new(self.shared.parts.connector.clone(), self.which.clone(), binding)
    }

    /// Begins the attempt that a connect or reconnect link stands for, and consumes the link.
    ///
    /// # Errors
    /// `link_invalid`, `link_expired`, `link_used`.
    ///
    /// # Cancel safety
    /// If dropped before it resolves, the link may be consumed.
    pub async fn begin_link(&self, token: &str, binding: Binding) -> Result<BeginConnect, Error> {
        let connector = &self.shared.parts.connector;
        connector.begin_link(&self.which, token, binding).await
    }

    /// Finishes a connect attempt: this integration's slug or id is in the callback's path, `query` is the callback's raw query.
    /// Denial and provider errors are outcomes; an `Err` means that the callback belongs to no attempt of this user.
    ///
    /// # Errors
    /// `state_unknown`, `browser_mismatch`, `callback_*`, `issuer_mismatch`.
    ///
    /// # Cancel safety
    /// Once the state is consumed the rest runs in a task of its own; dropping this future loses nothing.
    pub async fn finish_connect(&self, query: &str, binding: &Binding) -> Result<Outcome, Error> {
        let connector = &self.shared.parts.connector;
        connector.finish_connect(&self.which, query, binding).await
    }

    /// A one-use link that connects a new account, with the owner inside.
    ///
    /// # Errors
    /// `integration_not_found`, `return_to_not_allowed`, `metadata_too_large`, `field_invalid`.
    ///
    /// # Cancel safety
    /// Cancel safe: a link is not stored until it is used.
    pub async fn connect_link(&self, link: NewLink) -> Result<Link, Error> {
        self.shared.parts.connector.connect_link(&self.which, link).await
    }

    /// The integration's present state.
    ///
    /// # Errors
    /// `integration_not_found`.
    ///
    /// # Cancel safety
    /// Cancel safe: reading changes nothing.
    pub async fn view(&self) -> Result<IntegrationView, Error> {
        let id = self.id().await?;
        Ok(self.shared.parts.directory.load(&id).await?.1.view())
    }

    /// Changes the integration. Fields that the provider must accept are verified again.
    ///
    /// # Errors
    /// As [`Broker::create_integration`](crate::Broker::create_integration); `integration_not_found`.
    ///
    /// # Cancel safety
    /// If dropped before it resolves, the change is made completely or not at all, and may not be verified yet.
    pub async fn update(&self, update: IntegrationUpdate) -> Result<IntegrationView, Error> {
        let editor = &self.shared.parts.editor;
        let id = self.id().await?;
        let (changed, verify) = editor.update(&id, update).await?;
        let changed = if verify {
            editor.verify(&id).await?
        } else {
            changed
        };
        Ok(changed.view())
    }

    /// Replaces the client secret and verifies it.
    ///
    /// # Errors
    /// `integration_not_found`, `field_invalid`.
    ///
    /// # Cancel safety
    /// As [`IntegrationHandle::update`].
    pub async fn set_client_secret(&self, secret: Secret) -> Result<IntegrationView, Error> {
        let editor = &self.shared.parts.editor;
        let id = self.id().await?;
        editor.set_secret(&id, &secret).await?;
        Ok(editor.verify(&id).await?.view())
    }

    /// Asks the provider whether client id and secret are right. Wrong ones turn the integration into a draft; if the
    /// provider cannot be reached, only the reason changes.
    ///
    /// # Errors
    /// `integration_not_found`.
    ///
    /// # Cancel safety
    /// If dropped before it resolves, the provider's verdict may not be recorded: repeat the call.
    pub async fn verify(&self) -> Result<IntegrationView, Error> {
        let id = self.id().await?;
        Ok(self.shared.parts.editor.verify(&id).await?.view())
    }

    /// Switches the integration off: within a second no process serves its connections. Running refreshes store their
    /// sets, and keep-alive goes on.
    ///
    /// # Errors
    /// `integration_not_found`.
    ///
    /// # Cancel safety
    /// If dropped before it resolves, it may or may not be switched off.
    pub async fn disable(&self) -> Result<IntegrationView, Error> {
        self.switch(&Switch::Disabled, What::IntegrationDisabled).await
    }

    /// Switches the integration on again. A frozen one can be enabled once all its connections are revoked.
    ///
    /// # Errors
    /// `integration_not_found`, `integration_freezing`.
    ///
    /// # Cancel safety
    /// If dropped before it resolves, it may or may not be switched on.
    pub async fn enable(&self) -> Result<IntegrationView, Error> {
        self.switch(&Switch::On, What::IntegrationEnabled).await
    }

    async fn switch(&self, to: &Switch, what: What) -> Result<IntegrationView, Error> {
        let id = self.id().await?;
        Ok(self.shared.parts.editor.switch(&id, to, what).await?.view())
    }

    /// Freezes the integration, for instance after a suspected leak: within a second no process serves or refreshes its
    /// connections, and every connection is revoked, here and then at the provider. The revocations survive a crash, are
    /// sent at the sweep's pace ([`KeepAlive::at_once`](super::KeepAlive::at_once)) and go on in whichever process runs. A
    /// token set that comes back later is revoked, too.
    ///
    /// [`IntegrationHandle::enable`] ends a freeze once all connections are revoked; their users then connect again.
    /// `reason` is shown as the integration's `state_reason`: 1 to 200 visible characters.
    ///
    /// # Errors
    /// `integration_not_found`, `field_invalid`.
    ///
    /// # Cancel safety
    /// If dropped before it resolves, the integration may or may not be frozen.
    pub async fn freeze(&self, reason: &str) -> Result<IntegrationView, Error> {
        let id = self.id().await?;
        self.shared.freeze(&id, reason).await
    }

    /// Removes the integration, which must have no connections, and its keys. Its slug is free then.
    ///
    /// # Errors
    /// `integration_in_use`, `integration_not_found`; `store_unavailable`, after which the call may be repeated, by the id:
    /// the integration may be gone, and keys of it left.
    ///
    /// # Cancel safety
    /// Runs in a task of its own: no key outlives its integration because a caller was dropped.
    pub async fn delete(&self) -> Result<(), Error> {
        let (parts, which) = (self.shared.parts.clone(), self.which.clone());
        let work = async move {
            let id = parts.directory.stored_id_of(&which).await?;
            let removed = parts.editor.remove(&id, &*parts.stores.connections).await;
            let gone = match &removed {
                Ok(()) => true,
                // An earlier removal may not have reached its keys.
                Err(error) => error.code() == Code::IntegrationNotFound,
            };
            if gone {
                parts.stores.keys.remove_keys(&id).await?;
            }
            removed
        };
        let aborted = || Error::new(Code::Internal).because("delete_aborted");
        self.shared.parts.tasks.run(work).await.ok_or_else(aborted)?
    }

    /// The calls of the current calendar month (UTC).
    ///
    /// # Errors
    /// `integration_not_found`.
    ///
    /// # Cancel safety
    /// Cancel safe: reading changes nothing.
    pub async fn usage(&self) -> Result<Usage, Error> {
        let parts = &self.shared.parts;
        let integration = parts.directory.find(&self.which).await?;
        let limit = integration.body.monthly_limit;
        parts.meter.usage(&integration.id, limit).await
    }
}

#[async_trait]
impl Integration for IntegrationHandle {
    fn connection(&self, id: &ConnectionId) -> Arc<dyn Connection> {
        Arc::new(self.connection(id))
    }

    fn owner(&self, owner: &str) -> Arc<dyn Integration> {
        Arc::new(self.owner(owner))
    }

    async fn connections(&self, query: ConnectionQuery) -> Result<ConnectionPage, Error> {
        self.connections().query(query).await
    }

    async fn connect_link(&self, link: NewLink) -> Result<Link, Error> {
        self.connect_link(link).await
    }
}
