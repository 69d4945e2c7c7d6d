//! One connection, in process.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;

use super::parts::Shared;
use crate::{
    account::{Connection, ConnectionUpdate},
    connect::{Link, LinkKind, check_metadata, check_owner},
    connection::{ConnectionView, Credentials, Decision, GrantVersion, Status},
    engine::{ledger::Change, revoke::When, scope::Reach},
    error::Error,
    id::{ConnectionId, IntegrationId, IntegrationRef},
    proxy::{ApiRequest, ApiResponse},
};

/// A connection of this broker. Making the handle looks nothing up; each method returns `connection_not_found` if there is
/// no such connection. A handle made through an integration returns `integration_mismatch` for a connection of another
/// integration, or `integration_not_found` if there is no integration with its slug; one made through an owner finds only that
/// owner's.
///
/// Cheap to make and to clone: it holds counted references and allocates nothing.
#[derive(Clone, Debug)]
pub struct ConnectionHandle {
    pub(super) shared: Shared,
    pub(super) id: ConnectionId,
    pub(super) integration: Option<IntegrationRef>,
    pub(super) owner: Option<Arc<str>>,
}

impl ConnectionHandle {
    fn reach(&self) -> Reach<'_> {
        Reach {
            integration: self.integration.as_ref(),
            owner: self.owner.as_deref(),
        }
    }

    async fn integration(&self) -> Result<Option<IntegrationId>, Error> {
        self.shared.integration_of(self.reach()).await
    }

    /// Its id; it survives a reconnect.
    pub fn id(&self) -> &ConnectionId {
        &self.id
    }

    /// The connection's present state, unless it is deleted.
    ///
    /// # Errors
    /// `connection_not_found`, `integration_mismatch`.
    ///
    /// # Cancel safety
    /// Cancel safe: reading changes nothing.
    pub async fn view(&self) -> Result<ConnectionView, Error> {
        let integration = self.integration().await?;
        let scope = self.reach().by_id(integration.as_ref());
        let found = self.shared.parts.ledger.find(scope, &self.id).await?;
        Ok(found.record.view(found.hot))
    }

    /// Changes owner or labels. A new owner takes effect within a second, in every process.
    ///
    /// # Errors
    /// `connection_not_found`, `integration_mismatch`, `metadata_too_large`, `field_invalid`.
    ///
    /// # Cancel safety
    /// If dropped before it resolves, the change is made completely or not at all.
    pub async fn update(&self, update: ConnectionUpdate) -> Result<ConnectionView, Error> {
        if let Some(owner) = &update.owner {
            check_owner(owner)?;
        }
        if let Some(metadata) = &update.metadata {
            check_metadata(metadata)?;
        }
        let integration = self.integration().await?;
        let scope = self.reach().by_id(integration.as_ref());
        let updated = self
            .shared
            .parts
            .ledger
            .update(scope, &self.id, |record, hot| {
                if let Some(owner) = &update.owner {
                    record.facts.owner.clone_from(owner);
                }
                if let Some(metadata) = &update.metadata {
                    record.facts.metadata.clone_from(metadata);
                }
                Ok(Change::Write(record.view(hot)))
            })
            .await?;
        // In this process it takes effect at once.
        if update.owner.is_some()
            && let Some(entry) = self.shared.cache.get(&self.id)
        {
            entry.mark_stale();
        }
        Ok(updated)
    }

    /// Deletes the connection: at once here, then its grant at the provider. The owed revocation survives a crash.
    ///
    /// # Errors
    /// `connection_not_found`, `integration_mismatch`; `store_unavailable`, after which the call may be repeated.
    ///
    /// # Cancel safety
    /// If dropped before it resolves, the connection may or may not be deleted; if it is, its grant is still revoked.
    pub async fn disconnect(&self) -> Result<(), Error> {
        self.end(Status::Deleted).await
    }

    /// Revokes the connection: it is still listed, as `revoked`, and its user can reconnect it.
    ///
    /// # Errors
    /// As [`ConnectionHandle::disconnect`].
    ///
    /// # Cancel safety
    /// As [`ConnectionHandle::disconnect`].
    pub async fn revoke(&self) -> Result<(), Error> {
        self.end(Status::Revoked).await
    }

    async fn end(&self, status: Status) -> Result<(), Error> {
        let integration = self.integration().await?;
        let scope = self.reach().by_id(integration.as_ref());
        let revoker = &self.shared.parts.revoker;
        revoker.end(scope, &self.id, status, When::Now).await
    }

    /// The last 16 decisions about the connection, oldest first. No secret is in them.
    ///
    /// # Errors
    /// `connection_not_found`, `integration_mismatch`.
    ///
    /// # Cancel safety
    /// Cancel safe: reading changes nothing.
    pub async fn history(&self) -> Result<Vec<Decision>, Error> {
        let integration = self.integration().await?;
        let scope = self.reach().by_id(integration.as_ref());
        let found = self.shared.parts.ledger.find(scope, &self.id).await?;
        Ok(found.record.history())
    }

    /// A one-use link with which the user reconnects this connection; the id is kept. A link made through an owner is
    /// invalid once the connection belongs to another one.
    ///
    /// # Errors
    /// `connection_not_found`, `integration_mismatch`.
    ///
    /// # Cancel safety
    /// Cancel safe: a link is not stored until it is used.
    pub async fn reconnect_link(&self) -> Result<Link, Error> {
        let integration = self.integration().await?;
        let scope = self.reach().by_id(integration.as_ref());
        let parts = &self.shared.parts;
        let found = parts.ledger.find(scope, &self.id).await?;
        let integration = found.record.integration;
        let kind = LinkKind::Reconnect {
            connection: self.id.clone(),
            owner: Some(found.record.facts.owner),
            by_host: self.owner.is_none(),
        };
        parts.connector.seal_link(&integration, kind).await
    }

    /// Credentials that stay valid for at least five more minutes, or for the builder's `minimum_validity`. A cache hit
    /// does not allocate.
    ///
    /// # Errors
    /// `connection_not_found`, `integration_mismatch`, `connection_expired`, `connection_revoked`: see [`Error::advice`].
    /// Transient errors are returned only if no live token is available.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing: a refresh that it waits for goes on.
    #[inline]
    pub async fn credentials(&self) -> Result<Arc<Credentials>, Error> {
        self.credentials_valid_for(self.shared.parts.minimum).await
    }

    /// Credentials that stay valid for at least `minimum`.
    ///
    /// # Errors
    /// As [`ConnectionHandle::credentials`].
    ///
    /// # Cancel safety
    /// As [`ConnectionHandle::credentials`].
    pub async fn credentials_valid_for(&self, minimum: Duration) -> Result<Arc<Credentials>, Error> {
        self.shared.credentials(&self.id, self.reach(), minimum).await
    }

    /// Reads the credentials in memory without counting a reference, if they satisfy the usual minimum. `None` means that
    /// they would have to be fetched or refreshed first: use [`ConnectionHandle::credentials`].
    pub fn peek<T>(&self, read: impl FnOnce(&Credentials) -> T) -> Option<T> {
        let cache = &self.shared.cache;
        cache.hit(&self.id, self.reach(), |credentials| read(credentials))
    }

    /// Reports that the provider refused the credentials of `set`, and returns newer ones. A hundred such reports about one
    /// set cause one refresh, and a report about an older set causes none.
    ///
    /// # Errors
    /// As [`ConnectionHandle::credentials`].
    ///
    /// # Cancel safety
    /// As [`ConnectionHandle::credentials`].
    pub async fn refused(&self, set: GrantVersion) -> Result<Arc<Credentials>, Error> {
        let integration = self.integration().await?;
        let scope = self.reach().by_id(integration.as_ref());
        let refresher = &self.shared.parts.refresher;
        let entry = refresher.after_refusal(&self.id, scope, set).await?;
        Ok(entry.credentials.clone())
    }

    /// Calls the provider on the user's behalf.
    ///
    /// # Errors
    /// As [`ConnectionHandle::credentials`]; `path_*` and `query_*` for requests that are never sent;
    /// `plan_limit_exceeded`; `upstream_*`. A response of the provider is never an error, whatever its status.
    ///
    /// # Cancel safety
    /// Dropping the future aborts the call, which may have run at the provider.
    pub async fn send(&self, request: ApiRequest) -> Result<ApiResponse, Error> {
        self.send_to(None, request).await
    }

    /// Calls the provider, which must be the one that the caller expects.
    ///
    /// # Errors
    /// As [`ConnectionHandle::send`]; `provider_mismatch`.
    pub(crate) async fn send_to(
        &self,
        provider: Option<&str>,
        request: ApiRequest,
    ) -> Result<ApiResponse, Error> {
        let integration = self.integration().await?;
        let scope = self.reach().by_id(integration.as_ref());
        let proxy = &self.shared.parts.proxy;
        proxy.send(&self.id, scope, provider, request).await
    }
}

#[async_trait]
impl Connection for ConnectionHandle {
    fn id(&self) -> &ConnectionId {
        self.id()
    }

    async fn view(&self) -> Result<ConnectionView, Error> {
        self.view().await
    }

    async fn update(&self, update: ConnectionUpdate) -> Result<ConnectionView, Error> {
        self.update(update).await
    }

    async fn disconnect(&self) -> Result<(), Error> {
        self.disconnect().await
    }

    async fn history(&self) -> Result<Vec<Decision>, Error> {
        self.history().await
    }

    async fn reconnect_link(&self) -> Result<Link, Error> {
        self.reconnect_link().await
    }

    async fn credentials(&self) -> Result<Arc<Credentials>, Error> {
        self.credentials().await
    }

    async fn credentials_valid_for(&self, minimum: Duration) -> Result<Arc<Credentials>, Error> {
        self.credentials_valid_for(minimum).await
    }

    async fn refused(&self, set: GrantVersion) -> Result<Arc<Credentials>, Error> {
        self.refused(set).await
    }

    async fn send(&self, request: ApiRequest) -> Result<ApiResponse, Error> {
        self.send(request).await
    }
}
