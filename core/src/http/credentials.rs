//! `GET /api/v1/connections/{id}/credentials`: a live access token, and the name of the set that it belongs to.

use std::{sync::Arc, time::Duration};

use http::{HeaderValue, StatusCode, header};

use super::{
    answer,
    call::{self, Call, Reply},
    query::{Query, number},
    shape::CredentialsBody,
};
use crate::{
    ConnectionHandle, IntegrationHandle,
    connection::{Credentials, GrantVersion},
    error::{Code, Error},
    id::ConnectionId,
};

/// The longest validity that can be asked for, in seconds: no access token reliably lives longer.
const LONGEST: u64 = 24 * 3600;

/// The caller's request.
struct Wish {
    minimum: Option<Duration>,
    refused: Option<GrantVersion>,
}

impl Wish {
    fn read(query: &Query<'_>) -> Result<Self, Error> {
        let invalid = |name| Error::new(Code::ParameterInvalid).because(name);
        let minimum = match query.get("minValidSeconds") {
            Some(text) => {
                let seconds = number(text).filter(|seconds| *seconds <= LONGEST);
                Some(Duration::from_secs(
                    seconds.ok_or_else(|| invalid("minValidSeconds"))?,
                ))
            }
            None => None,
        };
        let refused = match query.get("refused") {
            Some(text) => Some(set_of(text).ok_or_else(|| invalid("refused"))?),
            None => None,
        };
        Ok(Self { minimum, refused })
    }
}

/// Reads what [`etag`] wrote, with or without its quotes.
fn set_of(text: &str) -> Option<GrantVersion> {
    let text = text.strip_prefix("W/").unwrap_or(text);
    let text = text
        .strip_prefix('"')
        .map_or(Some(text), |text| text.strip_suffix('"'))?;
    let (epoch, generation) = text.split_once('.')?;
    Some(GrantVersion {
        epoch: number(epoch)?,
        generation: number(generation)?,
    })
}

fn etag(set: GrantVersion) -> Option<HeaderValue> {
    HeaderValue::try_from(format!("\"{set}\"")).ok()
}

async fn good_for(
    connection: &ConnectionHandle,
    minimum: Option<Duration>,
) -> Result<Arc<Credentials>, Error> {
    match minimum {
        Some(minimum) => connection.credentials_valid_for(minimum).await,
        None => connection.credentials().await,
    }
}

pub(super) fn get(call: Call, integration: IntegrationHandle) -> Reply {
    Box::pin(async move {
        let id: ConnectionId = call.id("id")?;
        let connection = integration.connection(&id);
        let Wish { minimum, refused } = Wish::read(&call.query()?)?;
        let found = match refused {
            // Refreshes only if that set is still the current one.
            Some(set) => connection.refused(set).await,
            None => good_for(&connection, minimum).await,
        };
        let found = match (found, refused, minimum) {
            (Ok(_), Some(_), Some(_)) => good_for(&connection, minimum).await,
            (found, _, _) => found,
        };
        let credentials = match found {
            Ok(credentials) => credentials,
            Err(error) => return Err(call::explain(&connection, error).await),
        };
        let mut response = answer::json(StatusCode::OK, &CredentialsBody::from(&*credentials));
        if let Some(etag) = etag(credentials.version) {
            response.headers_mut().insert(header::ETAG, etag);
        }
        Ok(response)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_named_by_an_etag() {
        let set = GrantVersion {
            epoch: 3,
            generation: 41,
        };
        let tag = etag(set).unwrap();
        assert_eq!(tag, "\"3.41\"");
        for text in ["\"3.41\"", "3.41", "W/\"3.41\""] {
            assert_eq!(set_of(text), Some(set), "{text}");
        }
        for text in [
            "",
            "3",
            "3.",
            ".4",
            "3.4.1",
            "\"3.41",
            "-3.41",
            "3.x",
            "99999999999999999999.1",
        ] {
            assert_eq!(set_of(text), None, "{text}");
        }
    }
}
