//! Connections as an API key sees them: list, read, change, delete, reconnect.

use http::StatusCode;

use super::{
    answer,
    call::{Call, Reply},
    problem::Problem,
    query::number,
    shape::{ConnectionDetail, ConnectionList, LinkBody, NewConnectLink, UpdateConnection},
};
use crate::{
    ConnectionUpdate, IntegrationHandle,
    connect::NewLink,
    connection::Status,
    error::{Code, Error},
    id::ConnectionId,
};

/// `GET /api/v1/connections`.
pub(super) fn list(call: Call, integration: IntegrationHandle) -> Reply {
    Box::pin(async move {
        let query = call.query()?;
        let invalid = |name| Error::new(Code::FilterInvalid).because(name);
        let mut list = integration.connections();
        if let Some(text) = query.get("status") {
            list = list.status(Status::parse(text).ok_or_else(|| invalid("status"))?);
        }
        if let Some(text) = query.get("environment") {
            let offerings = call.broker().offerings();
            let mut known = offerings.iter().map(|offering| offering.environment);
            let environment = known.find(|environment| environment.as_str() == text);
            list = list.environment(environment.ok_or_else(|| invalid("environment"))?);
        }
        if let Some(text) = query.get("search") {
            list = list.email_contains(text);
        }
        if let Some(owner) = query.get("owner") {
            list = list.owner(owner);
        }
        for (key, value) in query.under("metadata.") {
            list = list.metadata(key, value);
        }
        if let Some(text) = query.get("limit") {
            list = list.limit(number(text).ok_or(Code::LimitInvalid)?);
        }
        if let Some(cursor) = query.get("cursor") {
            list = list.cursor(cursor);
        }
        let page = list.await?;
        let body = ConnectionList {
            total_count: page.connections.len(),
            connections: page.connections.iter().map(Into::into).collect(),
            next_cursor: page.next_cursor,
        };
        Ok(answer::json(StatusCode::OK, &body))
    })
}

/// `GET /api/v1/connections/{id}`.
pub(super) fn get(call: Call, integration: IntegrationHandle) -> Reply {
    Box::pin(async move {
        let id: ConnectionId = call.id("id")?;
        let connection = integration.connection(&id).view().await?;
        Ok(answer::json(StatusCode::OK, &ConnectionDetail::from(&connection)))
    })
}

/// `PATCH /api/v1/connections/{id}`.
pub(super) fn update(call: Call, integration: IntegrationHandle) -> Reply {
    Box::pin(async move {
        let id: ConnectionId = call.id("id")?;
        let UpdateConnection { owner, metadata } = call.json()?;
        let update = ConnectionUpdate { owner, metadata };
        let connection = integration.connection(&id).update(update).await?;
        Ok(answer::json(StatusCode::OK, &ConnectionDetail::from(&connection)))
    })
}

/// `DELETE /api/v1/connections/{id}`.
pub(super) fn delete(call: Call, integration: IntegrationHandle) -> Reply {
    Box::pin(async move {
        let id: ConnectionId = call.id("id")?;
        integration.connection(&id).disconnect().await?;
        Ok(answer::no_content())
    })
}

/// `POST /api/v1/connections/{id}/reconnect`.
pub(super) fn reconnect(call: Call, integration: IntegrationHandle) -> Reply {
    Box::pin(async move {
        let id: ConnectionId = call.id("id")?;
        let link = integration.connection(&id).reconnect_link().await?;
        Ok(answer::json(StatusCode::CREATED, &LinkBody::from(link)))
    })
}

/// `POST /api/v1/connect-links`.
pub(super) fn connect_link(call: Call, integration: IntegrationHandle) -> Reply {
    Box::pin(async move {
        let NewConnectLink {
            owner,
            redirect_uri,
            metadata,
        } = call.json_or_empty()?;
        let link = NewLink {
            owner: owner.unwrap_or_default(),
            metadata: metadata.unwrap_or_default(),
            redirect_uri,
        };
        let link = integration.connect_link(link).await.map_err(Problem::from)?;
        Ok(answer::json(StatusCode::CREATED, &LinkBody::from(link)))
    })
}
