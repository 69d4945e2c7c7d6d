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
/// Each method: `connection_not_found`, `integration_mismatch`; errors that may pass, with [`Error::advice`].
#[async_trait]
pub trait Connection: fmt::Debug + Send + Sync {
    /// Its id; it survives a reconnect.
    fn id(&self) -> &ConnectionId;

    /// The connection as it stands.
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
    /// Dropped before it is answered, it is changed wholly or not at all.
    async fn update(&self, update: ConnectionUpdate) -> Result<ConnectionView, Error>;

    /// Deletes the connection: at once at the broker, then its grant at the provider.
    ///
    /// # Errors
    /// `store_unavailable`, after which the call may be repeated; those of the trait.
    ///
    /// # Cancel safety
    /// Dropped before it is answered, it is deleted or not; if it is, its grant is revoked all the same.
    async fn disconnect(&self) -> Result<(), Error>;

    /// The last 16 decisions about it, oldest first. No secret is in them.
    ///
    /// # Errors
    /// Those of the trait.
    ///
    /// # Cancel safety
    /// Cancel safe: reading changes nothing.
    async fn history(&self) -> Result<Vec<Decision>, Error>;

    /// A one-use link with which its user connects it again; its id stays.
    ///
    /// # Errors
    /// Those of the trait.
    ///
    /// # Cancel safety
    /// Cancel safe: a link is stored nowhere before it is used.
    async fn reconnect_link(&self) -> Result<Link, Error>;

    /// Credentials that are good for five more minutes at least, or as the broker was told.
    ///
    /// # Errors
    /// `connection_expired`, `connection_revoked`: see [`Error::advice`]. Errors that may pass are answered only if no
    /// living token is at hand. Those of the trait.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing: a refresh that it waits for goes on.
    async fn credentials(&self) -> Result<Arc<Credentials>, Error>;

    /// Credentials that are good for `minimum` more at least.
    ///
    /// # Errors
    /// As [`Connection::credentials`].
    ///
    /// # Cancel safety
    /// As [`Connection::credentials`].
    async fn credentials_valid_for(&self, minimum: Duration) -> Result<Arc<Credentials>, Error>;

    /// A call was refused with the credentials of `version`: gets newer ones. A hundred such reports about one set cause one
    /// refresh, and a report about an older set causes none.
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
    /// [`Connection::credentials`]. An answer of the provider is never an error, whatever its status.
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
    /// Cancel safe: a link is stored nowhere before it is used.
    async fn connect_link(&self, link: NewLink) -> Result<Link, Error>;
}

/// What to change of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionUpdate {
    /// A new owner.
    pub owner: Option<String>,
    /// New labels, in place of all old ones.
    pub metadata: Option<BTreeMap<String, String>>,
}

impl ConnectionUpdate {
    /// Gives it to this owner; an empty one is none.
    #[must_use]
    pub fn owner(mut self, owner: impl Into<String>) -> Self {
        self.owner = Some(owner.into());
        self
    }

    /// Puts these labels in place of all old ones.
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
    /// With this status; `None` is any but deleted.
    pub status: Option<Status>,
    /// In this environment.
    pub environment: Option<Environment>,
    /// Whose e-mail address has this substring, in any case. Empty is any.
    pub email_contains: String,
    /// Of this owner.
    pub owner: Option<String>,
    /// With all these labels.
    pub metadata: BTreeMap<String, String>,
    /// How many: 1 to 100; `None` is 20.
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
    /// Where the next page begins; `None` on the last one. `[A-Za-z0-9_-]`, good for a day.
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
