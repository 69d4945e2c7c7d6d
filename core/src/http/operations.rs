//! For operators: health, and freezing everything.

use http::StatusCode;

use super::{
    answer,
    call::{Call, Reply},
    shape_admin::{IntegrationBody, IntegrationsBody},
    shape_health::{FreezeWish, HealthBody},
};

/// `GET /api/v1/health`.
pub(super) fn health(call: Call) -> Reply {
    Box::pin(async move {
        let health = call.broker().health().await;
        Ok(answer::json(StatusCode::OK, &HealthBody::from(health)))
    })
}

/// `POST /api/v1/freeze`.
pub(super) fn freeze_all(call: Call) -> Reply {
    Box::pin(async move {
        let FreezeWish { reason } = call.json()?;
        let integrations = call.broker().freeze_all(&reason).await?;
        let integrations = integrations.into_iter().map(Into::into).collect();
        Ok(answer::json(StatusCode::OK, &IntegrationsBody { integrations }))
    })
}

/// `POST /api/v1/integrations/{integrationId}/freeze`.
pub(super) fn freeze(call: Call) -> Reply {
    Box::pin(async move {
        let which = call.integration()?;
        let FreezeWish { reason } = call.json()?;
        let frozen = call.broker().integration(which).freeze(&reason).await?;
        Ok(answer::json(StatusCode::OK, &IntegrationBody::from(frozen)))
    })
}
