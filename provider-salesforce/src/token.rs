//! Requests to the token endpoint, and their outcomes.

mod answer;

use grantry::{
    connection::Reason,
    integration::Client,
    provider::{CodeExchange, Failure, ProviderHttp, TokenHttp, TokenSet, Verdict},
    secret::Secret,
    time::Timestamp,
};
use http::StatusCode;
use oauth2::{
    AuthType, AuthorizationCode, ClientId, ClientSecret, EndpointNotSet, EndpointSet, PkceCodeVerifier,
    RedirectUrl, RefreshToken, RequestTokenError, StandardRevocableToken, TokenUrl,
    basic::{BasicErrorResponse, BasicRevocationErrorResponse, BasicTokenIntrospectionResponse},
};

use crate::{
    config::Config,
    errors::{OauthError, Spends, unreadable},
    http::{Once, REVOKE, Sending, TOKEN, post, send},
};
use answer::Answer;

type OauthClient = oauth2::Client<
    BasicErrorResponse,
    Answer,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointSet,
>;

/// Client id and secret are sent in the body; see the crate's documentation.
fn oauth(client: &Client<'_>, config: &Config) -> Result<OauthClient, Failure> {
    let endpoint = TokenUrl::new(config.login.url(TOKEN)).map_err(|_| Failure::NotSent)?;
    let id = ClientId::new(client.client_id.to_owned());
    let secret = ClientSecret::new(client.client_secret.expose().to_owned());
    Ok(oauth2::Client::new(id)
        .set_client_secret(secret)
        .set_auth_type(AuthType::RequestBody)
        .set_token_uri(endpoint))
}

/// The outcome of a request that `oauth2` gave up on. Its own messages may quote the response, and are dropped.
fn failure(once: &Once, error: &RequestTokenError<Sending, BasicErrorResponse>) -> Failure {
    match error {
        RequestTokenError::Request(Sending(failure)) => *failure,
        _ if once.unused() => Failure::NotSent,
        _ => Failure::Unknown(Reason::AnswerInvalid),
    }
}

/// RFC 6749 section 4.1.3 with RFC 7636 section 4.5.
pub(crate) async fn exchange(
    http: TokenHttp,
    client: &Client<'_>,
    request: &CodeExchange<'_>,
) -> Result<TokenSet, Failure> {
    let config = Config::of(client).map_err(|_| Failure::NotSent)?;
    let callback = RedirectUrl::new(client.callback_url.to_owned()).map_err(|_| Failure::NotSent)?;
    let oauth = oauth(client, &config)?.set_redirect_uri(callback);
    let once = Once::new(http, Spends::Code);
    let answer = oauth
        .exchange_code(AuthorizationCode::new(request.code.expose().to_owned()))
        .set_pkce_verifier(PkceCodeVerifier::new(request.code_verifier.expose().to_owned()))
        .request_async(&once)
        .await
        .map_err(|error| failure(&once, &error))?;
    answer.of_exchange(client, &config, request.now)
}

/// RFC 6749 section 6, without `scope`.
pub(crate) async fn refresh(
    http: TokenHttp,
    client: &Client<'_>,
    refresh_token: &Secret,
    now: Timestamp,
) -> Result<TokenSet, Failure> {
    let config = Config::of(client).map_err(|_| Failure::NotSent)?;
    let oauth = oauth(client, &config)?;
    let token = RefreshToken::new(refresh_token.expose().to_owned());
    let once = Once::new(http, Spends::RefreshToken);
    let answer = oauth
        .exchange_refresh_token(&token)
        .request_async(&once)
        .await
        .map_err(|error| failure(&once, &error))?;
    answer.of_refresh(client, &config, now)
}

/// RFC 7009 as far as Salesforce follows it: the token alone, and HTTP 400 for an unknown token (Salesforce Help,
/// "Revoke OAuth Tokens"). Either way the token is gone.
pub(crate) async fn revoke(http: &ProviderHttp, client: &Client<'_>, token: &Secret) -> Result<(), Failure> {
    let config = Config::of(client).map_err(|_| Failure::NotSent)?;
    let request = post(&config.login.url(REVOKE), &[("token", token.expose())])?;
    let answer = send(http, request).await?;
    if answer.status() == StatusCode::OK {
        return Ok(());
    }
    // The error has been seen in both formats.
    let error = OauthError::from_json(answer.body()).or_else(|| form_error(answer.body()));
    match error {
        Some(e)
            if answer.status() == StatusCode::BAD_REQUEST
                && ["invalid_token", "unsupported_token_type"].contains(&e.error.as_str()) =>
        {
            Ok(())
        }
        Some(e) if !answer.status().is_redirection() => Err(Failure::Refused(
            e.row(Spends::RefreshToken)
                .refusal(answer.status(), answer.headers()),
        )),
        _ => Err(unreadable(answer.status())),
    }
}

fn form_error(body: &[u8]) -> Option<OauthError> {
    let find = |wanted: &str| {
        let mut found = url::form_urlencoded::parse(body).filter(|(name, _)| name == wanted);
        match (found.next(), found.next()) {
            (Some((_, value)), None) => Some(value.into_owned()),
            _ => None,
        }
    };
    Some(OauthError {
        error: find("error")?,
        error_description: find("error_description"),
    })
}

/// Not a token: a refresh with it shows whether the client is accepted, since Salesforce checks the client id, then
/// the secret, then the token.
const NO_TOKEN: &str = "grantry.verifies.the.client";

/// Attempts a refresh with something that is not a token.
pub(crate) async fn verify(http: &ProviderHttp, client: &Client<'_>) -> Result<(), Failure> {
    let config = Config::of(client).map_err(|_| Failure::NotSent)?;
    let fields = [
        ("grant_type", "refresh_token"),
        ("refresh_token", NO_TOKEN),
        ("client_id", client.client_id),
        ("client_secret", client.client_secret.expose()),
    ];
    let answer = send(http, post(&config.login.url(TOKEN), &fields)?).await?;
    let status = answer.status();
    let error = match OauthError::from_json(answer.body()) {
        Some(error) if status.is_client_error() || status.is_server_error() => error,
        _ => return Err(unreadable(status)),
    };
    let row = error.row(Spends::RefreshToken);
    let refusal = row.refusal(status, answer.headers());
    match refusal.verdict {
        _ if status.is_client_error() && row.client_passed() => Ok(()),
        // Other verdicts are about a grant, and there was none.
        Verdict::ClientMisconfigured | Verdict::MayPass => Err(Failure::Refused(refusal)),
        Verdict::GrantDead | Verdict::InProgress => Err(Failure::Unknown(Reason::AnswerInvalid)),
    }
}

#[cfg(test)]
mod tests;
