//! The provider that goes with [`FakeUpstream`].

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use url::{Url, form_urlencoded};

use super::upstream::FakeUpstream;
use crate::{
    connection::{Profile, Reason},
    integration::{Client, Environment, Offering, Options},
    provider::{
        AccessLife, ApiVerdict, AuthorizeRequest, CodeExchange, Expiry, Failure, OptionError, Provider,
        ProviderFacts, ProviderHttp, Refusal, Rotation, TokenHttp, TokenSet, TransportError, UrlError,
        Verdict,
    },
    secret::Secret,
    time::Timestamp,
};

/// A provider called `fake` with the offerings `fake/production` and `fake/sandbox`. It asks [`FakeUpstream`], through the
/// transport that the broker was given.
#[derive(Debug)]
pub struct FakeProvider {
    upstream: FakeUpstream,
    facts: ProviderFacts,
}

impl FakeProvider {
    /// The provider of these servers.
    pub fn new(upstream: &FakeUpstream) -> Self {
        let offering = |environment: Environment| Offering {
            id: format!("fake/{environment}"),
            provider: "fake".to_owned(),
            environment,
            label: "Fake".to_owned(),
            required_scopes: vec!["api".to_owned()],
            optional_scopes: vec!["web".to_owned()],
        };
        let offerings = [Environment::PRODUCTION, Environment::SANDBOX].map(offering);
        Self {
            upstream: upstream.clone(),
            facts: ProviderFacts::new("fake", offerings),
        }
    }
}

type Pairs = BTreeMap<String, String>;

fn request(path: &str, client: &Client<'_>, pairs: &[(&str, &str)]) -> http::Request<Vec<u8>> {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.extend_pairs(pairs);
    form.append_pair("client_secret", client.client_secret.expose());
    let mut request = http::Request::new(form.finish().into_bytes());
    *request.uri_mut() = format!("https://fake.test{path}").parse().unwrap_or_default();
    request
}

/// Reads a response, or why there is none.
fn read(answer: Result<http::Response<bytes::Bytes>, TransportError>) -> Result<Pairs, Failure> {
    let answer = answer.map_err(|_| Failure::Unknown(Reason::AnswerLost))?;
    let pairs: Pairs = form_urlencoded::parse(answer.body()).into_owned().collect();
    let Some(verdict) = pairs.get("verdict") else {
        return Ok(pairs);
    };
    let verdicts = [
        Verdict::GrantDead,
        Verdict::ClientMisconfigured,
        Verdict::MayPass,
        Verdict::InProgress,
    ];
    let verdict = verdicts.into_iter().find(|v| format!("{v:?}") == *verdict);
    let reason = Reason::ALL.iter().find(|r| r.as_str() == pairs["reason"]);
    Err(Failure::Refused(Refusal {
        verdict: verdict.unwrap_or(Verdict::MayPass),
        reason: reason.copied().unwrap_or(Reason::Unrecognized),
        retry_after: pairs["wait"].parse().ok().map(Duration::from_secs),
    }))
}

/// A response without content. A broken one cannot be read.
fn done(pairs: &Pairs) -> Result<(), Failure> {
    let done = pairs.contains_key("done");
    done.then_some(()).ok_or(Failure::Unknown(Reason::AnswerInvalid))
}

fn tokens(mut pairs: Pairs) -> Result<TokenSet, Failure> {
    let invalid = || Failure::Unknown(Reason::AnswerInvalid);
    let ends = pairs.get("ends").and_then(|e| e.parse().ok()).map(Timestamp);
    let ends = ends.ok_or_else(invalid)?;
    Ok(TokenSet {
        access_token: Secret::new(pairs.remove("access").ok_or_else(invalid)?),
        refresh_token: pairs.remove("refresh").map(Secret::new),
        instance_url: pairs.remove("instance"),
        scopes: pairs
            .remove("scopes")
            .map(|s| s.split(' ').map(str::to_owned).collect()),
        expiry: if pairs.contains_key("known") {
            Expiry::Known(ends)
        } else {
            Expiry::Assumed(ends)
        },
        subject: pairs.remove("subject"),
    })
}

#[async_trait]
impl Provider for FakeProvider {
    fn facts(&self) -> &ProviderFacts {
        &self.facts
    }

    fn check_options(&self, _: &Offering, _: &Options, _: bool) -> Result<(), OptionError> {
        Ok(())
    }

    fn rotation(&self, _: &Client<'_>) -> Rotation {
        self.upstream.settings().rotation
    }

    fn idle_limit(&self, _: &Client<'_>) -> Option<Duration> {
        self.upstream.settings().idle_limit
    }

    fn grants_per_user(&self, _: &Client<'_>) -> Option<u32> {
        None
    }

    fn token_host(&self, _: &Client<'_>) -> String {
        "fake.test".to_owned()
    }

    fn issuer(&self, _: &Client<'_>) -> Option<String> {
        self.upstream.settings().issuer
    }

    fn authorize_url(&self, _: &Client<'_>, request: &AuthorizeRequest<'_>) -> Result<Url, UrlError> {
        let parameters = [
            ("state", request.state),
            ("code_challenge", request.code_challenge),
        ];
        Url::parse_with_params("https://fake.test/authorize", parameters)
            .map_err(|_| UrlError { why: "host" })
    }

    async fn exchange_code(
        &self,
        http: TokenHttp,
        client: &Client<'_>,
        exchange: CodeExchange<'_>,
    ) -> Result<TokenSet, Failure> {
        let pairs = [
            ("token", exchange.code.expose()),
            ("verifier", exchange.code_verifier.expose()),
        ];
        tokens(read(http.send(request("/code", client, &pairs)).await)?)
    }

    async fn refresh(
        &self,
        http: TokenHttp,
        client: &Client<'_>,
        refresh_token: &Secret,
        _: Timestamp,
    ) -> Result<TokenSet, Failure> {
        let pairs = [("token", refresh_token.expose())];
        tokens(read(http.send(request("/refresh", client, &pairs)).await)?)
    }

    async fn revoke(&self, http: &ProviderHttp, client: &Client<'_>, token: &Secret) -> Result<(), Failure> {
        let pairs = [("token", token.expose())];
        done(&read(http.send(request("/revoke", client, &pairs)).await)?)
    }

    async fn access_life(
        &self,
        http: &ProviderHttp,
        client: &Client<'_>,
        set: &TokenSet,
    ) -> Result<AccessLife, Failure> {
        let pairs = [("token", set.access_token.expose())];
        let answer = read(http.send(request("/life", client, &pairs)).await)?;
        match answer.get("alive").map(String::as_str) {
            Some("true") => Ok(AccessLife::Alive(None)),
            Some(_) => Ok(AccessLife::Dead),
            None => Err(Failure::Unknown(Reason::AnswerInvalid)),
        }
    }

    async fn identify(
        &self,
        http: &ProviderHttp,
        client: &Client<'_>,
        _: &TokenSet,
    ) -> Result<Profile, Failure> {
        let mut answer = read(http.send(request("/identify", client, &[])).await)?;
        let email = answer.remove("email");
        Ok(Profile {
            email: email.ok_or(Failure::Unknown(Reason::AnswerInvalid))?,
            ..Profile::default()
        })
    }

    async fn verify_client(&self, http: &ProviderHttp, client: &Client<'_>) -> Result<(), Failure> {
        done(&read(http.send(request("/verify", client, &[])).await)?)
    }

    fn classify_api_response(&self, status: http::StatusCode, _: &http::HeaderMap, _: &[u8]) -> ApiVerdict {
        ApiVerdict {
            token_refused: status == http::StatusCode::UNAUTHORIZED,
            ..ApiVerdict::default()
        }
    }

    fn check_instance_url(&self, client: &Client<'_>, url: &str) -> Result<String, UrlError> {
        let api = url.starts_with("https://") && url.ends_with(".api.test");
        let loopback = client.allow_loopback && url.starts_with("http://127.0.0.1:");
        if api || loopback {
            Ok(url.to_owned())
        } else {
            Err(UrlError { why: "host" })
        }
    }
}
