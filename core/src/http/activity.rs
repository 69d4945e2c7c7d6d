//! What happened: calls of the month, and a connection's history.

use http::StatusCode;

use super::{
    answer,
    call::{Call, Reply},
    shape::{HistoryBody, UsageBody},
};
use crate::{Within, id::ConnectionId};

/// `GET /api/v1/usage`.
pub(super) fn usage(_: Call, within: Within) -> Reply {
    Box::pin(async move {
        let usage = within.usage().await?;
        Ok(answer::json(StatusCode::OK, &UsageBody::from(usage)))
    })
}

/// `GET /api/v1/connections/{id}/history`.
pub(super) fn history(call: Call, within: Within) -> Reply {
    Box::pin(async move {
        let id: ConnectionId = call.id("id")?;
        let history = within.history(&id).await?.into_iter().map(Into::into).collect();
        Ok(answer::json(StatusCode::OK, &HistoryBody { history }))
    })
}
