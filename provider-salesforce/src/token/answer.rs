//! Token responses: parsed leniently as to types, then checked strictly as to meaning.

use std::{fmt, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use grantry::{
    connection::Reason,
    integration::Client,
    provider::{Expiry, Failure, TokenSet},
    secret::Secret,
    time::Timestamp,
};
use oauth2::{AccessToken, RefreshToken, Scope, TokenResponse, basic::BasicTokenType};
use serde::{
    Deserialize, Serialize, Serializer,
    de::{Deserializer, Error as _},
};

use crate::{
    config::{self, Config},
    hosts,
    http::TOKEN_MEMBERS,
    json::Given,
    signature,
};

/// No access token is believed to live longer.
const LONGEST_LIFE: Duration = Duration::from_secs(365 * 24 * 3600);

const MAX_SCOPES: usize = 256;

/// The fields of Salesforce's token response that the broker uses (Salesforce Help, "OAuth 2.0 Web Server Flow" and
/// "OAuth 2.0 Refresh Token Flow"). `oauth2`'s own type rejects a whole response for a quoted `expires_in`.
pub(crate) struct Answer {
    access_token: AccessToken,
    token_type: Given,
    refresh_token: Option<RefreshToken>,
    expires_in: Given,
    scopes: Option<Vec<Scope>>,
    instance_url: Given,
    id: Given,
    issued_at: Given,
    signature: Given,
}

impl Answer {
    /// The token set of a code exchange. The response must name a user and an instance, and its signature, if
    /// present, must be valid.
    pub(crate) fn of_exchange(
        self,
        client: &Client<'_>,
        config: &Config,
        now: Timestamp,
    ) -> Result<TokenSet, Failure> {
        let refuse = |reason| Err(Failure::Unknown(reason));
        match &self.token_type {
            Given::Text(kind) if kind.eq_ignore_ascii_case("bearer") => {}
            _ => return refuse(Reason::TokenTypeUnsupported),
        }
        let (Some(id), Some(instance_url)) = (self.id.text(), self.instance_url.text()) else {
            return refuse(Reason::AnswerIncomplete);
        };
        let issued_at = self.issued_at.text().unwrap_or_default();
        let signed = match &self.signature {
            Given::Absent => true,
            Given::Text(text) => signature::valid(client.client_secret, id, issued_at, text),
            _ => false,
        };
        if !signed {
            return refuse(Reason::SignatureInvalid);
        }
        let Ok(subject) = hosts::subject(id, &config.login) else {
            return refuse(Reason::IdentityUrlRejected);
        };
        let Ok(instance_url) = config.instance(instance_url) else {
            return refuse(Reason::InstanceUrlRejected);
        };
        self.set(client, now, Some(instance_url), Some(subject))
    }

    /// The token set of a refresh. Anything invalid besides the tokens counts as omitted: these tokens are the only valid
    /// ones, and the stored instance URL has been checked.
    pub(crate) fn of_refresh(
        self,
        client: &Client<'_>,
        config: &Config,
        now: Timestamp,
    ) -> Result<TokenSet, Failure> {
        match &self.token_type {
            Given::Absent => {}
            Given::Text(kind) if kind.eq_ignore_ascii_case("bearer") => {}
            _ => tracing::warn!("a refresh answered with another token type than Bearer"),
        }
        let instance_url = self.instance_url.text().and_then(|url| {
            config
                .instance(url)
                .inspect_err(|error| {
                    tracing::warn!(why = error.why, "instance URL of a refresh not accepted");
                })
                .ok()
        });
        let subject = self.id.text().and_then(|id| {
            hosts::subject(id, &config.login)
                .inspect_err(|error| {
                    tracing::warn!(why = error.why, "identity URL of a refresh not accepted");
                })
                .ok()
        });
        self.set(client, now, instance_url, subject)
    }

    fn set(
        self,
        client: &Client<'_>,
        now: Timestamp,
        instance_url: Option<String>,
        subject: Option<String>,
    ) -> Result<TokenSet, Failure> {
        let session = config::session(client.options).unwrap_or(config::SESSION);
        let expiry = expiry(&self.expires_in, self.access_token.secret(), session, now);
        let access_token = Secret::new(self.access_token.into_secret());
        let refresh_token = self.refresh_token.map(|token| Secret::new(token.into_secret()));
        if !sound(&access_token) || refresh_token.as_ref().is_some_and(|token| !sound(token)) {
            return Err(Failure::Unknown(Reason::AnswerInvalid));
        }
        Ok(TokenSet {
            access_token,
            refresh_token,
            instance_url,
            scopes: self
                .scopes
                .map(|scopes| scopes.iter().map(|scope| scope.to_string()).collect()),
            expiry,
            subject,
        })
    }
}

/// Whether a token fits into a header: RFC 6750 section 2.1 allows less than visible ASCII.
fn sound(token: &Secret) -> bool {
    let bytes = token.expose().as_bytes();
    !bytes.is_empty() && bytes.iter().all(u8::is_ascii_graphic)
}

/// `expires_in`, else the `exp` of a JWT, else an assumption.
fn expiry(expires_in: &Given, access_token: &str, session: Duration, now: Timestamp) -> Expiry {
    let seconds = match expires_in {
        Given::Number(number) => Some(*number),
        Given::Text(text) if text.len() <= 20 => text.parse::<i64>().ok().map(|n| {
            #[expect(
                clippy::cast_precision_loss,
                reason = "what is too large to be exact is capped below"
            )]
            let seconds = n as f64;
            seconds
        }),
        _ => None,
    };
    if let Some(seconds) = seconds {
        let life = Duration::try_from_secs_f64(seconds.max(0.0).trunc()).unwrap_or(LONGEST_LIFE);
        return Expiry::Known(now + life.min(LONGEST_LIFE));
    }
    match jwt_end(access_token) {
        Some(end) => Expiry::Known(end.min(now + LONGEST_LIFE)),
        None => Expiry::Assumed(now + session),
    }
}

/// `exp` of a JWT (RFC 7519 section 4.1.4), unverified: it is only a hint when to refresh.
fn jwt_end(token: &str) -> Option<Timestamp> {
    #[derive(Deserialize)]
    struct Claims {
        exp: u64,
    }
    let mut parts = token.split('.');
    let (_, payload, _, None) = (parts.next()?, parts.next()?, parts.next()?, parts.next()) else {
        return None;
    };
    let claims: Claims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
    Some(Timestamp(0) + Duration::from_secs(claims.exp))
}

/// Reads the [`TOKEN_MEMBERS`] in their order. Only a textual `access_token` is required here; a `refresh_token` may be absent, null or
/// empty, and the stored one is then kept.
impl<'de> Deserialize<'de> for Answer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let [
            access_token,
            token_type,
            refresh_token,
            expires_in,
            scope,
            instance_url,
            id,
            issued_at,
            signature,
        ] = <[Given; TOKEN_MEMBERS.len()]>::deserialize(deserializer)?;
        let Given::Text(access_token) = access_token else {
            return Err(D::Error::missing_field("access_token"));
        };
        let refresh_token = match refresh_token {
            Given::Absent => None,
            Given::Text(text) if text.is_empty() => None,
            Given::Text(text) => Some(RefreshToken::new(text)),
            Given::Number(_) | Given::Other => return Err(D::Error::custom("refresh_token")),
        };
        let scopes = scope.text().map(|scope| {
            let words = scope.split_ascii_whitespace().take(MAX_SCOPES);
            words.map(|word| Scope::new(word.to_owned())).collect()
        });
        Ok(Self {
            access_token: AccessToken::new(access_token),
            token_type,
            refresh_token,
            expires_in,
            scopes,
            instance_url,
            id,
            issued_at,
            signature,
        })
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").finish_non_exhaustive()
    }
}

/// Required by `oauth2` but unused; serialises to nothing.
impl Serialize for Answer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit()
    }
}

impl TokenResponse for Answer {
    type TokenType = BasicTokenType;

    fn access_token(&self) -> &AccessToken {
        &self.access_token
    }

    fn token_type(&self) -> &BasicTokenType {
        &BasicTokenType::Bearer
    }

    fn expires_in(&self) -> Option<Duration> {
        None
    }

    fn refresh_token(&self) -> Option<&RefreshToken> {
        self.refresh_token.as_ref()
    }

    fn scopes(&self) -> Option<&Vec<Scope>> {
        self.scopes.as_ref()
    }
}
