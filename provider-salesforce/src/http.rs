//! Requests and raw responses, and the adapter through which `oauth2` sends once.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{Mutex, PoisonError},
};

use bytes::Bytes;
use grantry::{
    connection::Reason,
    provider::{Failure, ProviderHttp, Sent, TokenHttp, TransportError, TransportFault},
    secret::Secret,
};
use http::{
    Method, Request, Response,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue},
};
use oauth2::{AsyncHttpClient, HttpRequest, HttpResponse};
use url::form_urlencoded::Serializer;

use crate::{
    errors::{self, Spends},
    json::{self, Given},
};

pub(crate) const AUTHORIZE: &str = "/services/oauth2/authorize";
pub(crate) const TOKEN: &str = "/services/oauth2/token";
pub(crate) const REVOKE: &str = "/services/oauth2/revoke";
pub(crate) const INTROSPECT: &str = "/services/oauth2/introspect";
pub(crate) const USERINFO: &str = "/services/oauth2/userinfo";

/// A failure in the form that `oauth2` passes on.
#[derive(Debug)]
pub(crate) struct Sending(pub(crate) Failure);

impl fmt::Display for Sending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Sending {}

/// Lets `oauth2` send once through a [`TokenHttp`], and checks the response before `oauth2` parses it: only a
/// well-formed token object gets through.
#[derive(Debug)]
pub(crate) struct Once {
    http: Mutex<Option<TokenHttp>>,
    spends: Spends,
}

impl Once {
    pub(crate) fn new(http: TokenHttp, spends: Spends) -> Self {
        Self {
            http: Mutex::new(Some(http)),
            spends,
        }
    }

    fn take(&self) -> Option<TokenHttp> {
        self.http.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Whether nothing has been sent.
    pub(crate) fn unused(&self) -> bool {
        self.http.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, Sending> {
        let Some(http) = self.take() else {
            return Err(Sending(Failure::Unknown(Reason::AnswerLost)));
        };
        let answer = http
            .send(request)
            .await
            .map_err(|error| Sending(unanswered(&error)))?;
        let body = token_object(&answer, self.spends).map_err(Sending)?;
        Ok(Response::new(body))
    }
}

impl<'c> AsyncHttpClient<'c> for Once {
    type Error = Sending;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, Sending>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.send(request))
    }
}

/// What a token response is read for, in the order in which `oauth2` is given it.
pub(crate) const TOKEN_MEMBERS: [&str; 9] = [
    "access_token",
    "token_type",
    "refresh_token",
    "expires_in",
    "scope",
    "instance_url",
    "id",
    "issued_at",
    "signature",
];

/// The values of [`TOKEN_MEMBERS`] as a JSON array, if the body is a token object; otherwise what the response means.
fn token_object(answer: &Response<Bytes>, spends: Spends) -> Result<Vec<u8>, Failure> {
    if !answer.status().is_success() {
        return Err(errors::judge(
            spends,
            answer.status(),
            answer.headers(),
            answer.body(),
        ));
    }
    let invalid = Failure::Unknown(Reason::AnswerInvalid);
    let [error] = json::members(answer.body(), ["error"]).ok_or(invalid)?;
    let found = json::members(answer.body(), TOKEN_MEMBERS).ok_or(invalid)?;
    if error != Given::Absent {
        // An authorization code is spent in any case. A refresh token may have been spent by whatever failed behind a
        // 200.
        return Err(match spends {
            Spends::Code => errors::judge(spends, answer.status(), answer.headers(), answer.body()),
            Spends::RefreshToken => Failure::Unknown(Reason::AnswerInvalid),
        });
    }
    if found[0] == Given::Absent {
        return Err(Failure::Unknown(match spends {
            Spends::Code => Reason::AnswerIncomplete,
            Spends::RefreshToken => Reason::AnswerInvalid,
        }));
    }
    serde_json::to_vec(&found).map_err(|_| invalid)
}

/// What a request without a response means.
pub(crate) fn unanswered(error: &TransportError) -> Failure {
    match error {
        TransportError { sent: Sent::No, .. } => Failure::NotSent,
        TransportError {
            fault: TransportFault::TooLarge,
            ..
        } => Failure::Unknown(Reason::AnswerInvalid),
        _ => Failure::Unknown(Reason::AnswerLost),
    }
}

/// Sends a request that may be repeated.
pub(crate) async fn send(http: &ProviderHttp, request: Request<Vec<u8>>) -> Result<Response<Bytes>, Failure> {
    http.send(request).await.map_err(|error| unanswered(&error))
}

/// A form post, as OAuth endpoints expect it.
pub(crate) fn post(url: &str, fields: &[(&str, &str)]) -> Result<Request<Vec<u8>>, Failure> {
    let body = Serializer::new(String::new()).extend_pairs(fields).finish();
    Request::builder()
        .method(Method::POST)
        .uri(url)
        .header(ACCEPT, "application/json")
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(body.into_bytes())
        .map_err(|_| Failure::NotSent)
}

/// A request with a bearer token (RFC 6750 section 2.1). The caller must have checked the host.
pub(crate) fn get(url: &str, access_token: &Secret) -> Result<Request<Vec<u8>>, Failure> {
    let mut bearer =
        HeaderValue::from_str(&format!("Bearer {}", access_token.expose())).map_err(|_| Failure::NotSent)?;
    bearer.set_sensitive(true);
    Request::builder()
        .uri(url)
        .header(ACCEPT, "application/json")
        .header(AUTHORIZATION, bearer)
        .body(Vec::new())
        .map_err(|_| Failure::NotSent)
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
