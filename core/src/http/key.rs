//! Authentication. Keys are accepted only in the `Authorization` header.

use std::sync::Arc;

use http::{HeaderMap, header, request::Parts};
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq as _};
use url::form_urlencoded;

use crate::{
    Broker, IntegrationHandle,
    error::{Code, Error},
    id::IntegrationId,
    keys::{PresentedKey, VerifiedKey},
    secret::Secret,
    store::KeyKind,
};

/// The least length of an admin key.
pub(super) const ADMIN_MIN: usize = 32;

/// Headers that we read, and that must not be given twice.
const UNIQUE: [&str; 4] = [
    "authorization",
    "content-type",
    "x-connection-id",
    "x-integration-id",
];

/// Names under which people put secrets into URLs.
const SECRET_NAMES: &[&str] = &[
    "access_token",
    "admin_key",
    "api_key",
    "api_token",
    "apikey",
    "apitoken",
    "auth_token",
    "authorization",
    "bearer",
    "client_secret",
    "key",
    "oauth_token",
    "secret",
    "token",
    "x_api_key",
];

/// The admin keys that the host was given: digests only.
#[derive(Debug, Default)]
pub(super) struct AdminKeys(Vec<[u8; 32]>);

impl AdminKeys {
    /// Adds a key if it is acceptable: 32 or more visible ASCII characters.
    pub(super) fn add(&mut self, key: &Secret) -> bool {
        let good = is_admin_key(key.expose());
        if good {
            self.0.push(Sha256::digest(key.expose()).into());
        }
        good
    }

    /// Compares with every key, so that timing reveals nothing.
    fn hold(&self, text: &str) -> bool {
        let digest = Sha256::digest(text);
        let hits = self.0.iter().map(|known| known.ct_eq(digest.as_slice()));
        hits.fold(Choice::from(0), |any, hit| any | hit).into()
    }
}

fn is_admin_key(text: &str) -> bool {
    text.len() >= ADMIN_MIN && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Refuses requests that carry one of our headers twice.
pub(super) fn refuse_duplicates(headers: &HeaderMap) -> Result<(), Error> {
    let twice = UNIQUE
        .into_iter()
        .find(|name| headers.get_all(*name).iter().nth(1).is_some());
    twice.map_or(
        Ok(()),
        |name| Err(Error::new(Code::HeaderDuplicate).because(name)),
    )
}

/// Refuses URLs with a key in them: they end up in logs. If the query is meant for the provider, only our own keys are
/// looked for.
pub(super) fn refuse_in_url(parts: &Parts, admin: &AdminKeys, foreign: bool) -> Result<(), Error> {
    let ours = |text: &str| PresentedKey::parse(text).is_ok() || admin.hold(text);
    if parts.uri.path().split('/').any(ours) {
        return Err(Code::KeyInUrl.into());
    }
    let query = parts.uri.query().unwrap_or_default();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let name = name.to_ascii_lowercase().replace('-', "_");
        let named = !foreign && SECRET_NAMES.binary_search(&&*name).is_ok();
        if named || ours(&value) || ours(value.trim().trim_start_matches("Bearer ")) {
            return Err(Code::KeyInUrl.into());
        }
    }
    Ok(())
}

/// The text after `Bearer` (RFC 6750 section 2.1).
fn presented(headers: &HeaderMap) -> Result<&str, Error> {
    let value = headers.get(header::AUTHORIZATION).ok_or(Code::KeyMissing)?;
    let value = value
        .to_str()
        .map_err(|_| Error::new(Code::HeaderValueInvalid).because("authorization"))?;
    let (scheme, key) = value.split_once(' ').ok_or(Code::KeyMalformed)?;
    if scheme.eq_ignore_ascii_case("bearer") {
        Ok(key)
    } else {
        Err(Code::KeyMalformed.into())
    }
}

/// The integration that an API key opens.
pub(super) async fn api(
    broker: &Broker,
    admin: &AdminKeys,
    headers: &HeaderMap,
) -> Result<IntegrationHandle, Error> {
    let text = presented(headers)?;
    if admin.hold(text) {
        return Err(Code::KeyInsufficient.into());
    }
    let key = broker.verify_key(text).await?;
    let integration = of_kind(&key, KeyKind::Api)?.ok_or(Code::KeyInsufficient)?;
    if let Some(named) = headers.get("x-integration-id") {
        let named = named.to_str().map_err(|_| Code::IdInvalid)?;
        if IntegrationId::new(named)? != *integration {
            return Err(Code::IntegrationMismatch.into());
        }
    }
    Ok(broker.integration(integration))
}

/// Checks the key of an admin route: one of the host's, or an admin key that the broker made.
pub(super) async fn admin(broker: &Broker, admin: &AdminKeys, headers: &HeaderMap) -> Result<(), Error> {
    let text = presented(headers)?;
    if admin.hold(text) {
        return Ok(());
    }
    match broker.verify_key(text).await {
        Ok(key) => of_kind(&key, KeyKind::Admin).map(|_| ()),
        // It has the form of a host's admin key, but is not one.
        Err(error) if error.code() == Code::KeyMalformed && is_admin_key(text) => {
            Err(Code::KeyUnknown.into())
        }
        Err(error) => Err(error),
    }
}

fn of_kind(key: &VerifiedKey, kind: KeyKind) -> Result<Option<&IntegrationId>, Error> {
    if key.kind == kind {
        Ok(key.integration.as_ref())
    } else {
        Err(Code::KeyInsufficient.into())
    }
}

/// Checks the public key in a connect URL. No other key may be in a URL.
pub(super) async fn public(
    broker: &Broker,
    admin: &AdminKeys,
    text: &str,
    integration: &IntegrationHandle,
) -> Result<(), Error> {
    if admin.hold(text) {
        return Err(Code::KeyInUrl.into());
    }
    let key: Arc<VerifiedKey> = broker.verify_key(text).await?;
    if key.kind != KeyKind::Public {
        return Err(Code::KeyInUrl.into());
    }
    if key.integration == Some(integration.id().await?) {
        Ok(())
    } else {
        Err(Code::IntegrationMismatch.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_and_in_one_spelling() {
        assert!(SECRET_NAMES.is_sorted_by(|a, b| a < b));
        let plain = |name: &str| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        assert!(SECRET_NAMES.iter().all(|name| plain(name)));
    }
}
