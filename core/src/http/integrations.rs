//! Integrations as an admin key sees them.

use http::{Response, StatusCode};

use super::{
    answer,
    body::Body,
    call::{Call, Reply},
    problem::Problem,
    shape_admin::{
        CreateIntegration, CreatedIntegration, IntegrationBody, IntegrationsBody, NewSecret, OfferingsBody,
        UpdateIntegration,
    },
};
use crate::{
    Broker, IntegrationUpdate, NewIntegration, NewKey,
    error::{Code, Error},
    id::{IntegrationId, Slug},
    integration::IntegrationView,
    store::KeyKind,
};

fn shown(integration: Result<IntegrationView, Error>) -> Result<Response<Body>, Problem> {
    Ok(answer::json(StatusCode::OK, &IntegrationBody::from(integration?)))
}

/// `GET /api/v1/offerings`.
pub(super) fn offerings(call: Call) -> Reply {
    Box::pin(async move {
        let offerings = call.broker().offerings().into_iter().map(Into::into).collect();
        Ok(answer::json(StatusCode::OK, &OfferingsBody { offerings }))
    })
}

/// `POST /api/v1/integrations`.
pub(super) fn create(call: Call) -> Reply {
    Box::pin(async move {
        let new: CreateIntegration = call.json()?;
        let broker = call.broker();
        let slug = new.slug.as_deref().map(Slug::new).transpose();
        let new = NewIntegration {
            slug: slug.map_err(|_| Problem::from(Code::FieldInvalid).because("slug"))?,
            name: new.name,
            offering: new.offering,
            client_id: new.client_id,
            client_secret: new.client_secret.0,
            scopes: new.scopes.unwrap_or_default(),
            redirect_uris: new.redirect_uris.unwrap_or_default(),
            monthly_limit: new.monthly_limit,
            options: new.options.unwrap_or_default(),
        };
        let integration = broker.create_integration(new).await?;
        match first_keys(broker, &integration.id).await {
            Ok((public, api)) => {
                let body = CreatedIntegration {
                    integration: integration.into(),
                    public_key: public.secret.expose(),
                    api_key: api.secret.expose(),
                };
                Ok(answer::json(StatusCode::CREATED, &body))
            }
            Err(error) => {
                // Its keys are lost; the caller will create it again.
                let _ = broker.integration(&integration.id).delete().await;
                Err(error.into())
            }
        }
    })
}

async fn first_keys(broker: &Broker, id: &IntegrationId) -> Result<(NewKey, NewKey), Error> {
    let public = broker.mint_key(KeyKind::Public, Some(id), None).await?;
    let api = broker.mint_key(KeyKind::Api, Some(id), None).await?;
    Ok((public, api))
}

/// `GET /api/v1/integrations`.
pub(super) fn list(call: Call) -> Reply {
    Box::pin(async move {
        let integrations = call
            .broker()
            .integrations()
            .await?
            .into_iter()
            .map(Into::into)
            .collect();
        Ok(answer::json(StatusCode::OK, &IntegrationsBody { integrations }))
    })
}

/// `GET /api/v1/integrations/{integrationId}`.
pub(super) fn get(call: Call) -> Reply {
    Box::pin(async move {
        let which = call.integration()?;
        shown(call.broker().integration(which).view().await)
    })
}

/// `PATCH /api/v1/integrations/{integrationId}`.
pub(super) fn update(call: Call) -> Reply {
    Box::pin(async move {
        let which = call.integration()?;
        let UpdateIntegration {
            name,
            client_id,
            scopes,
            redirect_uris,
            monthly_limit,
            options,
        } = call.json()?;
        let update = IntegrationUpdate {
            name,
            client_id,
            scopes,
            redirect_uris,
            monthly_limit,
            options,
        };
        shown(call.broker().integration(which).update(update).await)
    })
}

/// `PUT /api/v1/integrations/{integrationId}/secret`.
pub(super) fn secret(call: Call) -> Reply {
    Box::pin(async move {
        let which = call.integration()?;
        let NewSecret { client_secret } = call.json()?;
        shown(
            call.broker()
                .integration(which)
                .set_client_secret(client_secret.0)
                .await,
        )
    })
}

/// `POST /api/v1/integrations/{integrationId}/verify`.
pub(super) fn verify(call: Call) -> Reply {
    Box::pin(async move {
        let which = call.integration()?;
        shown(call.broker().integration(which).verify().await)
    })
}

/// `POST /api/v1/integrations/{integrationId}/disable`.
pub(super) fn disable(call: Call) -> Reply {
    Box::pin(async move {
        let which = call.integration()?;
        shown(call.broker().integration(which).disable().await)
    })
}

/// `POST /api/v1/integrations/{integrationId}/enable`.
pub(super) fn enable(call: Call) -> Reply {
    Box::pin(async move {
        let which = call.integration()?;
        shown(call.broker().integration(which).enable().await)
    })
}

/// `DELETE /api/v1/integrations/{integrationId}`.
pub(super) fn delete(call: Call) -> Reply {
    Box::pin(async move {
        let which = call.integration()?;
        call.broker().integration(which).delete().await?;
        Ok(answer::no_content())
    })
}
