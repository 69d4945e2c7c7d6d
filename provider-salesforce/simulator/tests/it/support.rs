//! A browser and a client, as far as the tests need them.

use std::collections::HashMap;
use std::sync::Once;

use grantry_salesforce_simulator::{
    Config, DEFAULT_CLIENT_ID, DEFAULT_CLIENT_SECRET, DEFAULT_PASSWORD, Settings, Simulator,
};
use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, Url};
use serde_json::Value;

pub(crate) const CALLBACK: &str = "http://localhost:8080/callback";
pub(crate) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
pub(crate) const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// A simulator and an HTTP client that follows no redirects.
pub(crate) struct Lab {
    pub(crate) simulator: Simulator,
    pub(crate) http: Client,
}

impl Lab {
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let mut config = Config::default();
        change(&mut config.settings);
        Self::from(config).await
    }

    pub(crate) async fn from(config: Config) -> Self {
        let simulator = Simulator::start(config).await.unwrap();
        Self {
            simulator,
            http: http_client(),
        }
    }

    pub(crate) fn login(&self, path: &str) -> String {
        format!("{}{path}", self.simulator.login_url())
    }

    pub(crate) fn instance(&self, path: &str) -> String {
        format!("{}{path}", self.simulator.instance_url())
    }

    /// Grants tokens to sarah without the pages.
    pub(crate) fn grant(&self) -> Tokens {
        self.grant_to("sarah@acme.com")
    }

    pub(crate) fn grant_to(&self, username: &str) -> Tokens {
        Tokens::read(&Value::Object(
            self.simulator.grant(username, None, None).unwrap(),
        ))
    }

    /// Posts a form to the token endpoint, with the default client's credentials in it.
    pub(crate) async fn token(&self, fields: &[(&str, &str)]) -> (u16, Value) {
        self.try_token(fields).await.unwrap()
    }

    pub(crate) async fn try_token(&self, fields: &[(&str, &str)]) -> Result<(u16, Value), reqwest::Error> {
        let mut form = vec![
            ("client_id", DEFAULT_CLIENT_ID),
            ("client_secret", DEFAULT_CLIENT_SECRET),
        ];
        form.extend(fields);
        let response = self
            .http
            .post(self.login("/services/oauth2/token"))
            .form(&form)
            .send()
            .await?;
        let status = response.status().as_u16();
        let body = response.bytes().await?;
        let body = serde_json::from_slice(&body)
            .unwrap_or_else(|_| Value::from(String::from_utf8_lossy(&body).into_owned()));
        Ok((status, body))
    }

    pub(crate) async fn refresh(&self, token: &str) -> (u16, Value) {
        self.token(&[("grant_type", "refresh_token"), ("refresh_token", token)])
            .await
    }

    pub(crate) async fn try_refresh(&self, token: &str) -> Result<(u16, Value), reqwest::Error> {
        self.try_token(&[("grant_type", "refresh_token"), ("refresh_token", token)])
            .await
    }

    /// The status of a REST call with this access token.
    pub(crate) async fn rest_status(&self, access_token: &str) -> u16 {
        let url = self.instance("/services/data/v66.0/limits");
        self.http
            .get(url)
            .bearer_auth(access_token)
            .send()
            .await
            .unwrap()
            .status()
            .as_u16()
    }

    pub(crate) async fn control(&self, body: Value) -> Value {
        let url = self.simulator.control_url();
        let response = self.http.post(url).json(&body).send().await.unwrap();
        assert_eq!(response.status(), 200);
        response.json().await.unwrap()
    }

    pub(crate) fn browser(&self) -> Browser<'_> {
        Browser {
            lab: self,
            cookies: HashMap::new(),
        }
    }

    pub(crate) fn authorize_url(&self, changes: &[(&str, Option<&str>)]) -> String {
        let mut pairs = vec![
            ("response_type", "code"),
            ("client_id", DEFAULT_CLIENT_ID),
            ("redirect_uri", CALLBACK),
            ("scope", "api refresh_token id"),
            ("state", "s 1"),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
        ];
        for (name, value) in changes {
            pairs.retain(|(other, _)| other != name);
            pairs.extend(value.map(|value| (*name, value)));
        }
        Url::parse_with_params(&self.login("/services/oauth2/authorize"), pairs)
            .unwrap()
            .into()
    }

    /// Goes through login and consent as this user; gives the query of the callback.
    pub(crate) async fn connect(&self, username: &str, url: &str) -> HashMap<String, String> {
        let mut browser = self.browser();
        let login = browser.get(url).await.next();
        let consent = browser.log_in(&login, username, DEFAULT_PASSWORD).await.next();
        let callback = if consent.contains("/consent") {
            browser.decide(&consent, "allow").await.next()
        } else {
            consent
        };
        query(&callback)
    }

    pub(crate) async fn code(&self) -> String {
        let mut answer = self.connect("sarah@acme.com", &self.authorize_url(&[])).await;
        answer.remove("code").unwrap()
    }

    pub(crate) async fn exchange(&self, code: &str, verifier: Option<&str>) -> (u16, Value) {
        let mut fields = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", CALLBACK),
        ];
        fields.extend(verifier.map(|verifier| ("code_verifier", verifier)));
        self.token(&fields).await
    }
}

/// A client without a pool, so that each request stands alone.
pub(crate) fn http_client() -> Client {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        rustls::crypto::ring::default_provider()
            .install_default()
            .unwrap();
    });
    Client::builder().redirect(Policy::none()).build().unwrap()
}

/// The tokens of an answer.
pub(crate) struct Tokens {
    pub(crate) access: String,
    pub(crate) refresh: String,
}

impl Tokens {
    pub(crate) fn read(body: &Value) -> Self {
        let field = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        Self {
            access: field("access_token"),
            refresh: field("refresh_token"),
        }
    }
}

/// The parameters of a URL's query.
pub(crate) fn query(url: &str) -> HashMap<String, String> {
    Url::parse(url).unwrap().query_pairs().into_owned().collect()
}

/// Keeps cookies.
pub(crate) struct Browser<'l> {
    lab: &'l Lab,
    pub(crate) cookies: HashMap<String, String>,
}

/// An answer that the browser got.
pub(crate) struct Page {
    pub(crate) status: u16,
    pub(crate) location: Option<String>,
    pub(crate) content_type: String,
    pub(crate) text: String,
}

impl Page {
    /// Where the redirect goes.
    pub(crate) fn next(&self) -> String {
        assert_eq!(self.status, 302, "{}", self.text);
        self.location.clone().unwrap()
    }

    /// The value of the hidden field that names the flow.
    fn flow(&self) -> String {
        let start = self.text.find(r#"name="flow" value=""#).unwrap() + 19;
        self.text[start..].split('"').next().unwrap().to_owned()
    }
}

impl Browser<'_> {
    pub(crate) async fn get(&mut self, url: &str) -> Page {
        let url = self.absolute(url);
        let response = self
            .lab
            .http
            .get(url)
            .header(COOKIE, self.cookie_header())
            .send()
            .await
            .unwrap();
        self.take(response).await
    }

    pub(crate) async fn post(&mut self, path: &str, form: &[(&str, &str)]) -> Page {
        let request = self
            .lab
            .http
            .post(self.lab.login(path))
            .header(COOKIE, self.cookie_header());
        let response = request.form(form).send().await.unwrap();
        self.take(response).await
    }

    pub(crate) async fn log_in(&mut self, url: &str, username: &str, password: &str) -> Page {
        let page = self.get(url).await;
        assert_eq!(page.status, 200);
        self.post(
            "/login",
            &[("flow", &page.flow()), ("username", username), ("pw", password)],
        )
        .await
    }

    pub(crate) async fn decide(&mut self, url: &str, decision: &str) -> Page {
        let page = self.get(url).await;
        assert_eq!(page.status, 200);
        self.post("/consent", &[("flow", &page.flow()), ("decision", decision)])
            .await
    }

    pub(crate) async fn choose(&mut self, url: &str, choice: &str) -> Page {
        let page = self.get(url).await;
        assert_eq!(page.status, 200);
        self.post("/select", &[("flow", &page.flow()), ("choice", choice)])
            .await
    }

    fn absolute(&self, url: &str) -> String {
        if url.starts_with('/') {
            self.lab.login(url)
        } else {
            url.to_owned()
        }
    }

    fn cookie_header(&self) -> String {
        self.cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect::<Vec<_>>()
            .join("; ")
    }

    async fn take(&mut self, response: Response) -> Page {
        for cookie in response.headers().get_all(SET_COOKIE) {
            let pair = cookie.to_str().unwrap().split(';').next().unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
        let header = |name| {
            response
                .headers()
                .get(name)
                .map(|value| value.to_str().unwrap().to_owned())
        };
        Page {
            status: response.status().as_u16(),
            location: header(LOCATION),
            content_type: header(reqwest::header::CONTENT_TYPE).unwrap_or_default(),
            text: response.text().await.unwrap(),
        }
    }
}
