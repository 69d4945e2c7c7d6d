//! The authorization URL.

use grantry::{
    integration::Client,
    provider::{AuthorizeRequest, UrlError},
};
use oauth2::{AuthUrl, ClientId, CsrfToken, RedirectUrl, Scope, basic::BasicClient};
use url::Url;

use crate::{config::Config, http::AUTHORIZE};

/// The authorization request of RFC 6749 section 4.1.1 with the challenge of RFC 7636 section 4.3 (Salesforce Help,
/// "OAuth 2.0 Web Server Flow").
///
/// The challenge is already computed, while `oauth2` accepts one only together with its verifier; so it is added as
/// extra parameters.
pub(crate) fn url(client: &Client<'_>, request: &AuthorizeRequest<'_>) -> Result<Url, UrlError> {
    let config = Config::of(client).map_err(|_| UrlError { why: "host" })?;
    let endpoint = AuthUrl::new(config.login.url(AUTHORIZE)).map_err(|_| UrlError { why: "host" })?;
    let callback = RedirectUrl::new(client.callback_url.to_owned()).map_err(|_| UrlError { why: "host" })?;
    let oauth = BasicClient::new(ClientId::new(client.client_id.to_owned()))
        .set_auth_uri(endpoint)
        .set_redirect_uri(callback);
    let mut authorize = oauth
        .authorize_url(|| CsrfToken::new(request.state.to_owned()))
        .add_scopes(client.scopes.iter().cloned().map(Scope::new))
        .add_extra_param("code_challenge", request.code_challenge)
        .add_extra_param("code_challenge_method", "S256")
        .add_extra_param("prompt", config.prompt);
    if let Some(hint) = request.login_hint {
        authorize = authorize.add_extra_param("login_hint", hint);
    }
    Ok(authorize.url().0)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use grantry::integration::Options;
    use serde_json::json;

    use super::*;
    use crate::http::testing::with_client;

    fn pairs(options: &Options, hint: Option<&str>) -> (Url, BTreeMap<String, String>) {
        let request = AuthorizeRequest {
            state: "a+b/c=&d",
            code_challenge: "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
            login_hint: hint,
        };
        let found = with_client(options, |client| url(client, &request)).unwrap();
        let pairs: Vec<_> = found.query_pairs().into_owned().collect();
        let map: BTreeMap<_, _> = pairs.iter().cloned().collect();
        assert_eq!(map.len(), pairs.len(), "no parameter stands twice");
        (found, map)
    }

    #[test]
    fn every_parameter_and_no_other() {
        let (url, pairs) = pairs(&Options::new(), None);
        assert_eq!(url.origin().ascii_serialization(), "https://login.salesforce.com");
        assert_eq!(url.path(), "/services/oauth2/authorize");
        let expected = [
            ("client_id", "3MVG9EXAMPLE"),
            ("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"),
            ("code_challenge_method", "S256"),
            ("prompt", "login"),
            ("redirect_uri", "https://app.example.com/callback/int_1"),
            ("response_type", "code"),
            ("scope", "api refresh_token"),
            ("state", "a+b/c=&d"),
        ];
        assert_eq!(pairs, expected.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
    }

    #[test]
    fn options_and_hint() {
        let options = serde_json::from_value(
            json!({"loginUrl": "https://acme.my.salesforce.com/", "prompt": "login consent"}),
        )
        .unwrap();
        let (url, pairs) = pairs(&options, Some("ann+1@acme.example"));
        assert_eq!(url.host_str(), Some("acme.my.salesforce.com"));
        assert_eq!(pairs["prompt"], "login consent");
        assert_eq!(pairs["login_hint"], "ann+1@acme.example");
    }

    #[test]
    fn a_foreign_login_url_sends_nobody_anywhere() {
        let options = serde_json::from_value(json!({"loginUrl": "https://evil.test"})).unwrap();
        let request = AuthorizeRequest {
            state: "s",
            code_challenge: "c",
            login_hint: None,
        };
        assert!(with_client(&options, |client| url(client, &request)).is_err());
    }
}
