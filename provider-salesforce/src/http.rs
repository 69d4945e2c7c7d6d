//! Requests and raw answers: the adapter that lets `oauth2` send once, and what is checked before anything is parsed.

use std::{
    collections::HashSet,
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
    Method, Request, Response, StatusCode,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue},
};
use oauth2::{AsyncHttpClient, HttpRequest, HttpResponse};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use url::form_urlencoded::Serializer;

use crate::errors::{self, Spends};

pub(crate) const AUTHORIZE: &str = "/services/oauth2/authorize";
pub(crate) const TOKEN: &str = "/services/oauth2/token";
pub(crate) const REVOKE: &str = "/services/oauth2/revoke";
pub(crate) const INTROSPECT: &str = "/services/oauth2/introspect";
pub(crate) const USERINFO: &str = "/services/oauth2/userinfo";

/// Token answers are flat but for a few small objects.
const MAX_DEPTH: usize = 32;

/// What `oauth2` gets to see of a failure.
#[derive(Debug)]
pub(crate) struct Sending(pub(crate) Failure);

impl fmt::Display for Sending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Sending {}

/// Lets `oauth2` send through a [`TokenHttp`], once, and judges the answer before `oauth2` parses it: only a sound
/// token object gets through.
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

    /// Whether nothing was given to the transport.
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
            .map_err(|error| Sending(unanswered(error)))?;
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

/// The body of an answer that is a token object; what else it means, otherwise.
fn token_object(answer: &Response<Bytes>, spends: Spends) -> Result<Vec<u8>, Failure> {
    if !answer.status().is_success() {
        return Err(errors::judge(
            spends,
            answer.status(),
            answer.headers(),
            answer.body(),
        ));
    }
    let names = object(answer.body()).ok_or(Failure::Unknown(Reason::AnswerInvalid))?;
    if names.error {
        // A code is gone in any case. A refresh token may have been spent by whatever went wrong behind a 200.
        return Err(match spends {
            Spends::Code => errors::judge(spends, answer.status(), answer.headers(), answer.body()),
            Spends::RefreshToken => Failure::Unknown(Reason::AnswerInvalid),
        });
    }
    if !names.access_token {
        return Err(Failure::Unknown(match spends {
            Spends::Code => Reason::AnswerIncomplete,
            Spends::RefreshToken => Reason::AnswerInvalid,
        }));
    }
    Ok(answer.body().to_vec())
}

/// What a request without an answer means.
pub(crate) fn unanswered(error: TransportError) -> Failure {
    match error {
        TransportError { sent: Sent::No, .. } => Failure::NotSent,
        TransportError {
            fault: TransportFault::TooLarge,
            ..
        } => Failure::Unknown(Reason::AnswerInvalid),
        _ => Failure::Unknown(Reason::AnswerLost),
    }
}

/// What an answer means that is neither success nor an OAuth error.
pub(crate) fn unreadable(status: StatusCode) -> Failure {
    Failure::Unknown(if status.is_server_error() {
        Reason::ServerUnavailable
    } else {
        Reason::AnswerInvalid
    })
}

/// Sends a request that may be repeated.
pub(crate) async fn send(http: &ProviderHttp, request: Request<Vec<u8>>) -> Result<Response<Bytes>, Failure> {
    http.send(request).await.map_err(unanswered)
}

/// A form, as the OAuth endpoints take it.
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

/// A request with an access token (RFC 6750 section 2.1). The caller answers for the host.
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

/// What the names in a JSON object tell.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Names {
    /// There is an `error`.
    pub(crate) error: bool,
    /// There is an `access_token`.
    pub(crate) access_token: bool,
}

/// Whether `body` is one JSON object in UTF-8, without byte order mark, of bounded depth, with every name once and
/// nothing behind it. RFC 8259 leaves the meaning of repeated names open, so they mean nothing here.
pub(crate) fn object(body: &[u8]) -> Option<Names> {
    let text = std::str::from_utf8(body).ok()?;
    if !shallow(text) {
        return None;
    }
    serde_json::from_str(text).ok()
}

fn shallow(text: &str) -> bool {
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'{' | b'[' if !quoted => depth += 1,
            b'}' | b']' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return false;
        }
    }
    true
}

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = Names;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Names, A::Error> {
                let mut seen = HashSet::new();
                while let Some(name) = map.next_key::<String>()? {
                    map.next_value::<IgnoredAny>()?;
                    if !seen.insert(name) {
                        return Err(serde::de::Error::custom("a name stands twice"));
                    }
                }
                Ok(Names {
                    error: seen.contains("error"),
                    access_token: seen.contains("access_token"),
                })
            }
        }

        deserializer.deserialize_map(Reader)
    }
}

#[cfg(test)]
pub(crate) mod testing {
    //! A transport that plays back, for the unit tests of this crate.

    use std::{collections::VecDeque, sync::Arc};

    use grantry::{
        async_trait,
        id::IntegrationId,
        integration::{Client, Environment, Offering, Options},
        provider::Transport,
    };

    use super::*;

    type Answer = Result<Response<Bytes>, TransportError>;

    #[derive(Debug)]
    pub(crate) struct Script {
        answers: Mutex<VecDeque<Answer>>,
        pub(crate) seen: Mutex<Vec<Request<Vec<u8>>>>,
    }

    impl Script {
        pub(crate) fn new(answers: impl IntoIterator<Item = Answer>) -> Arc<Self> {
            Arc::new(Self {
                answers: Mutex::new(answers.into_iter().collect()),
                seen: Mutex::default(),
            })
        }

        /// URLs asked, in order.
        pub(crate) fn urls(&self) -> Vec<String> {
            self.seen
                .lock()
                .unwrap()
                .iter()
                .map(|r| r.uri().to_string())
                .collect()
        }

        /// The form fields of request `n`.
        pub(crate) fn form(&self, n: usize) -> Vec<(String, String)> {
            let seen = self.seen.lock().unwrap();
            url::form_urlencoded::parse(seen[n].body()).into_owned().collect()
        }
    }

    #[async_trait]
    impl Transport for Script {
        async fn send(&self, request: Request<Vec<u8>>) -> Answer {
            self.seen.lock().unwrap().push(request);
            self.answers
                .lock()
                .unwrap()
                .pop_front()
                .expect("no more answers in the script")
        }
    }

    #[expect(
        clippy::unnecessary_wraps,
        reason = "a script also holds requests without an answer"
    )]
    pub(crate) fn answer(status: u16, body: impl Into<Vec<u8>>) -> Answer {
        Ok(Response::builder()
            .status(status)
            .body(Bytes::from(body.into()))
            .unwrap())
    }

    pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap()
            .block_on(future)
    }

    pub(crate) fn with_client<T>(options: &Options, f: impl FnOnce(&Client<'_>) -> T) -> T {
        let offering: Offering = crate::offering(Environment::Production);
        f(&Client {
            integration: &IntegrationId::new("int_1").unwrap(),
            offering: &offering,
            client_id: "3MVG9EXAMPLE",
            client_secret: &Secret::new("EXAMPLESECRET"),
            scopes: &["api".to_owned(), "refresh_token".to_owned()],
            callback_url: "https://app.example.com/callback/int_1",
            options,
            allow_loopback: false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{
        testing::{Script, answer, block_on},
        *,
    };

    #[test]
    fn sound_objects() {
        for (body, error, access_token) in [
            ("{}", false, false),
            (
                " {\"a\":{\"x\":1,\"y\":[\"]}{\\\"[\"]},\"b\":null} \n",
                false,
                false,
            ),
            (r#"{"error":"invalid_grant"}"#, true, false),
            (r#"{"access_token":"00D!x","state":{"error":1}}"#, false, true),
        ] {
            assert_eq!(
                object(body.as_bytes()),
                Some(Names { error, access_token }),
                "{body}"
            );
        }
    }

    #[test]
    fn unsound_objects() {
        let utf16: Vec<u8> = "{}".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let bomb = format!("{{\"a\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
        let open = "[".repeat(10_000);
        for body in [
            b"".as_slice(),
            b"null",
            b"[]",
            b"\"text\"",
            b"<html></html>",
            b"\xef\xbb\xbf{}",
            &utf16,
            b"{\"a\":\"\xff\"}",
            b"{\"a\":1,\"a\":1}",
            br#"{"access_token":"x","access_token":"y"}"#,
            br#"{"access_token":"x","access\u005ftoken":"y"}"#,
            b"{\"a\":1} {}",
            b"{\"a\":1",
            b"{\"a\":NaN}",
            b"{\"a\":1,}",
            b"access_token=x",
            bomb.as_bytes(),
            open.as_bytes(),
        ] {
            assert_eq!(object(body), None, "{:.60}", String::from_utf8_lossy(body));
        }
    }

    #[test]
    fn sends_once() {
        let script = Script::new([answer(200, r#"{"access_token":"00D!x"}"#), answer(200, "{}")]);
        let (http, presentation) = TokenHttp::new(script.clone());
        let once = Once::new(http, Spends::RefreshToken);
        assert!(once.unused());
        assert!(block_on(once.call(Request::new(Vec::new()))).is_ok());
        assert!(!once.unused() && presentation.answered());
        let second = block_on(once.call(Request::new(Vec::new()))).unwrap_err();
        assert_eq!(second.0, Failure::Unknown(Reason::AnswerLost));
        assert_eq!(script.seen.lock().unwrap().len(), 1);
    }

    #[test]
    fn unanswered_requests() {
        use TransportFault::{Connect, Forbidden, Reset, Timeout, TooLarge};
        for (sent, fault, expected) in [
            (Sent::No, Connect, Failure::NotSent),
            (Sent::No, Forbidden, Failure::NotSent),
            (Sent::Maybe, Timeout, Failure::Unknown(Reason::AnswerLost)),
            (Sent::Maybe, Reset, Failure::Unknown(Reason::AnswerLost)),
            (Sent::Maybe, TooLarge, Failure::Unknown(Reason::AnswerInvalid)),
        ] {
            assert_eq!(unanswered(TransportError { sent, fault }), expected);
        }
    }

    #[test]
    fn the_bearer_is_marked_sensitive() {
        let request = get("https://acme.my.salesforce.com/", &Secret::new("00D!secret")).unwrap();
        assert!(!format!("{request:?}").contains("secret"));
        assert!(get("https://acme.my.salesforce.com/", &Secret::new("a\r\nb")).is_err());
    }
}
