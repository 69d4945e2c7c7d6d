//! Connected accounts, wherever their broker runs: in this process, behind the HTTP surface, or nowhere, in a test.
//!
//! Code that uses a connection is written against these traits. [`ConnectionHandle`](crate::ConnectionHandle) and
//! [`IntegrationHandle`](crate::IntegrationHandle) implement them in process, and have inherent methods of the same names
//! that box no future.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use async_trait::async_trait;

use crate::{
    connect::{Link, NewLink},
    connection::{ConnectionView, Credentials, Decision, GrantVersion, Status},
    error::Error,
    id::ConnectionId,
    integration::Environment,
    proxy::{ApiRequest, ApiResponse},
};

/// A connected account.
///
/// ```
/// use grantry::{Connection, error::Error, proxy::ApiRequest};
///
/// async fn accounts(connection: &dyn Connection) -> Result<String, Error> {
///     let request = ApiRequest::get("/v1/query").query("q", "SELECT Id, Name FROM Account");
///     connection.send(request).await?.text(1 << 20).await
/// }
/// ```
///
/// # Errors
/// Each method: `connection_not_found`, `integration_mismatch`; transient errors, with [`Error::advice`].
#[async_trait]
pub trait Connection: fmt::Debug + Send + Sync {
    /// Its id, which a reconnect keeps.
    fn id(&self) -> &ConnectionId;

    /// The connection's present state.
    ///
    /// # Errors
    /// Those of the trait.
    ///
    /// # Cancel safety
    /// Cancel safe: reading changes nothing.
    async fn view(&self) -> Result<ConnectionView, Error>;

    /// Changes owner or labels.
    ///
    /// # Errors
    /// `metadata_too_large`, `field_invalid`; those of the trait.
    ///
    /// # Cancel safety
    /// If dropped before it resolves, the change is made completely or not at all.
    async fn update(&self, update: ConnectionUpdate) -> Result<ConnectionView, Error>;

    /// Deletes the connection: at once at the broker, then its grant at the provider.
    ///
    /// # Errors
    /// `store_unavailable`, after which the call may be repeated; those of the trait.
    ///
    /// # Cancel safety
    /// If dropped before it resolves, the connection may or may not be deleted; if it is, its grant is still revoked.
    async fn disconnect(&self) -> Result<(), Error>;

    /// The last 16 decisions about it, oldest first. No secret is in them.
    ///
    /// # Errors
    /// Those of the trait.
    ///
    /// # Cancel safety
    /// Cancel safe: reading changes nothing.
    async fn history(&self) -> Result<Vec<Decision>, Error>;

    /// A one-use link with which its user reconnects it; the id is kept.
    ///
    /// # Errors
    /// Those of the trait.
    ///
    /// # Cancel safety
    /// Cancel safe: a link is not stored until it is used.
    async fn reconnect_link(&self) -> Result<Link, Error>;

    /// Credentials that stay valid for at least five more minutes, or for the minimum that the broker is configured with.
    ///
    /// # Errors
    /// `connection_expired`, `connection_revoked`: see [`Error::advice`]. Transient errors are returned only if no live
    /// token is available. Those of the trait.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing: a refresh that it waits for goes on.
    async fn credentials(&self) -> Result<Arc<Credentials>, Error>;

    /// Credentials that stay valid for at least `minimum`.
    ///
    /// # Errors
    /// As [`Connection::credentials`].
    ///
    /// # Cancel safety
    /// As [`Connection::credentials`].
    async fn credentials_valid_for(&self, minimum: Duration) -> Result<Arc<Credentials>, Error>;

    /// Reports that the provider refused the credentials of `version`, and returns newer ones. A hundred such reports about one
    /// set cause one refresh, and a report about an older set causes none.
    ///
    /// # Errors
    /// As [`Connection::credentials`].
    ///
    /// # Cancel safety
    /// As [`Connection::credentials`].
    async fn refused(&self, version: GrantVersion) -> Result<Arc<Credentials>, Error>;

    /// Calls the provider on the user's behalf. An implementation takes the request apart with [`ApiRequest::into_http`],
    /// and puts the answer together with [`ApiResponse::from_http`].
    ///
    /// # Errors
    /// `path_*` and `query_*` for requests that are never sent; `plan_limit_exceeded`; `upstream_*`; as
    /// [`Connection::credentials`]. A response of the provider is never an error, whatever its status.
    ///
    /// # Cancel safety
    /// Dropping the future aborts the call, which may have run at the provider.
    async fn send(&self, request: ApiRequest) -> Result<ApiResponse, Error>;
}

/// An integration, or the part of it that one owner may see. It does not tell its id: what is made by its slug or with a key
/// would have to ask for it, and nothing here takes one.
#[async_trait]
pub trait Integration: fmt::Debug + Send + Sync {
    /// A connection of this integration. Nothing is looked up yet: what does not belong here is refused by each call.
    fn connection(&self, id: &ConnectionId) -> Arc<dyn Connection>;

    /// What belongs to this owner and nothing else. An empty owner owns nothing.
    fn owner(&self, owner: &str) -> Arc<dyn Integration>;

    /// A page of its connections, newest first.
    ///
    /// # Errors
    /// `cursor_*`, `limit_*`, `filter_invalid`; those of the store.
    ///
    /// # Cancel safety
    /// Cancel safe: reading changes nothing.
    async fn connections(&self, query: ConnectionQuery) -> Result<ConnectionPage, Error>;

    /// A one-use link that connects a new account, with the owner inside.
    ///
    /// # Errors
    /// `integration_not_found`, `return_to_not_allowed`, `metadata_too_large`, `field_invalid`.
    ///
    /// # Cancel safety
    /// Cancel safe: a link is not stored until it is used.
    async fn connect_link(&self, link: NewLink) -> Result<Link, Error>;
}

/// What to change of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionUpdate {
    /// A new owner.
    pub owner: Option<String>,
    /// Labels that replace all present ones.
    pub metadata: Option<BTreeMap<String, String>>,
}

impl ConnectionUpdate {
    /// Assigns this owner; an empty string removes it.
    #[must_use]
    pub fn owner(mut self, owner: impl Into<String>) -> Self {
        self.owner = Some(owner.into());
        self
    }

    /// Replaces all labels.
    #[must_use]
    pub fn metadata(mut self, metadata: BTreeMap<String, String>) -> Self {
        self.metadata = Some(metadata);
        self
    }
}

/// Which connections to list, and which page of them. All conditions hold together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionQuery {
    /// With this status; `None` matches all but deleted ones.
    pub status: Option<Status>,
    /// In this environment.
    pub environment: Option<Environment>,
    /// Whose e-mail address has this substring, in any case. Empty matches all.
    pub email_contains: String,
    /// Of this owner.
    pub owner: Option<String>,
    /// With all these labels.
    pub metadata: BTreeMap<String, String>,
    /// Page size, 1 to 100; `None` means 20.
    pub limit: Option<u32>,
    /// Where an earlier page of the same conditions ended.
    pub cursor: Option<String>,
}

/// A page of a list.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ConnectionPage {
    /// The connections, newest first.
    pub connections: Vec<ConnectionView>,
    /// Where the next page begins; `None` on the last one. `[A-Za-z0-9_-]`, valid for a day.
    pub next_cursor: Option<String>,
}

impl ConnectionPage {
    /// A page, for those who implement [`Integration`].
    pub fn new(connections: Vec<ConnectionView>, next_cursor: Option<String>) -> Self {
        Self {
            connections,
            next_cursor,
        }
    }
}
