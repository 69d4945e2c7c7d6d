//! An integration's API and public keys. Two of a kind may be live at once, so that one can be replaced without a gap.

use http::StatusCode;

use super::{
    answer,
    call::{Call, Reply},
    problem::Problem,
    shape_admin::{CreateKey, CreatedKey, KeysBody},
};
use crate::{error::Code, id::KeyId, store::KeyKind, time::Timestamp};

/// `GET /api/v1/integrations/{integrationId}/keys`.
pub(super) fn list(call: Call) -> Reply {
    Box::pin(async move {
        let id = call.broker().integration(call.integration()?).view().await?.id;
        let rows = call.broker().keys(Some(&id)).await?;
        let keys = rows.iter().map(Into::into).collect();
        Ok(answer::json(StatusCode::OK, &KeysBody { keys }))
    })
}

/// `POST /api/v1/integrations/{integrationId}/keys`.
pub(super) fn create(call: Call) -> Reply {
    Box::pin(async move {
        let which = call.integration()?;
        let CreateKey { kind, expires_at } = call.json_or_empty()?;
        let kind = match kind.as_deref() {
            None | Some("api") => KeyKind::Api,
            Some("public") => KeyKind::Public,
            Some(_) => return Err(Problem::from(Code::FieldInvalid).because("kind")),
        };
        let expires_at = match expires_at {
            Some(text) => {
                let at: jiff::Timestamp = text
                    .parse()
                    .map_err(|_| Problem::from(Code::FieldInvalid).because("expiresAt"))?;
                Some(Timestamp(at.as_millisecond()))
            }
            None => None,
        };
        let id = call.broker().integration(which).id().await?;
        let key = call.broker().mint_key(kind, Some(&id), expires_at).await?;
        Ok(answer::json(StatusCode::CREATED, &CreatedKey::from(&key)))
    })
}

/// `DELETE /api/v1/integrations/{integrationId}/keys/{keyId}`.
pub(super) fn revoke(call: Call) -> Reply {
    Box::pin(async move {
        let which = call.integration()?;
        let key: KeyId = call.id("keyId")?;
        let id = call.broker().integration(which).id().await?;
        call.broker().revoke_key(Some(&id), &key).await?;
        Ok(answer::no_content())
    })
}
