//! A request as handlers get it: routed, its key checked, its JSON body read.

use std::{pin::Pin, sync::Arc, time::Duration};

use http::{HeaderMap, Method, Response, request::Parts};
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use super::{
    body::{Body, Incoming},
    json,
    param::Param,
    problem::Problem,
    query::Query,
    shared::Shared,
    template::Template,
};
use crate::{
    Broker, ConnectionHandle,
    error::{Code, Error},
    id::{IdError, IntegrationId, IntegrationRef, Slug},
};

/// The input of a handler.
pub(super) struct Call {
    pub(super) shared: Arc<Shared>,
    /// The path of its route.
    pub(super) template: Template,
    /// The parameters that its route takes.
    pub(super) params: &'static [Param],
    pub(super) parts: Parts,
    pub(super) body: Content,
}

/// The future that a handler returns.
pub(super) type Reply = Pin<Box<dyn Future<Output = Result<Response<Body>, Problem>> + Send>>;

/// A request's body.
pub(super) enum Content {
    /// Read completely, for routes that take JSON.
    Json(Zeroizing<Vec<u8>>),
    /// Not read.
    Stream(Incoming),
}

impl Call {
    pub(super) fn broker(&self) -> &Broker {
        &self.shared.broker
    }

    pub(super) fn headers(&self) -> &HeaderMap {
        &self.parts.headers
    }

    pub(super) fn method(&self) -> &Method {
        &self.parts.method
    }

    /// How long until a response must have begun, minus a moment to send it.
    pub(super) fn time_limit(&self) -> Duration {
        self.shared.deadline.saturating_sub(self.shared.deadline / 50)
    }

    /// A segment of the path as it was sent.
    pub(super) fn segment(&self, name: &str) -> &str {
        self.template
            .param(self.parts.uri.path(), name)
            .unwrap_or_default()
    }

    /// An id in the path. Ids need no percent-encoding, so a segment with a `%` is not one.
    pub(super) fn id<T: std::str::FromStr<Err = IdError>>(&self, name: &str) -> Result<T, IdError> {
        self.segment(name).parse()
    }

    /// The integration in the path, by its id or its slug. A generated id has a `_`, and a slug none.
    pub(super) fn integration(&self) -> Result<IntegrationRef, IdError> {
        let text = self.segment("integrationId");
        match Slug::new(text) {
            Ok(slug) => Ok(slug.into()),
            Err(_) => Ok(IntegrationId::new(text)?.into()),
        }
    }

    /// The query, by its route's parameters.
    pub(super) fn query(&self) -> Result<Query<'_>, Error> {
        Query::strict(self.parts.uri.query(), self.params)
    }

    /// The JSON body.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        match &self.body {
            Content::Json(text) => json::parse(text),
            Content::Stream(_) => Err(Code::Internal.into()),
        }
    }

    /// The JSON body; no body means an empty object.
    pub(super) fn json_or_empty<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        match &self.body {
            Content::Json(text) if text.is_empty() => json::parse(b"{}"),
            _ => self.json(),
        }
    }
}

/// Adds to a connection's error the link with which its user reconnects.
pub(super) async fn explain(connection: &ConnectionHandle, error: Error) -> Problem {
    if !matches!(error.code(), Code::ConnectionExpired | Code::ConnectionRevoked) {
        return error.into();
    }
    // The link is sealed, not stored: a refused call costs no row. The response is useful without it, too.
    let url = connection
        .reconnect_link()
        .await
        .map(|link| link.url)
        .unwrap_or_default();
    Problem::from(error).reconnect_url(url)
}
