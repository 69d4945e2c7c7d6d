//! Calls of the month, and a connection's history.

use http::StatusCode;

use super::{
    answer,
    call::{Call, Reply},
    shape::{HistoryBody, UsageBody},
};
use crate::{IntegrationHandle, id::ConnectionId};

/// `GET /api/v1/usage`.
pub(super) fn usage(_: Call, integration: IntegrationHandle) -> Reply {
    Box::pin(async move {
        let usage = integration.usage().await?;
        Ok(answer::json(StatusCode::OK, &UsageBody::from(usage)))
    })
}

/// `GET /api/v1/connections/{id}/history`.
pub(super) fn history(call: Call, integration: IntegrationHandle) -> Reply {
    Box::pin(async move {
        let id: ConnectionId = call.id("id")?;
        let history = integration
            .connection(&id)
            .history()
            .await?
            .into_iter()
            .map(Into::into)
            .collect();
        Ok(answer::json(StatusCode::OK, &HistoryBody { history }))
    })
}
