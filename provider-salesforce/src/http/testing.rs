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
    let offering: Offering = crate::facts::offering(Environment::PRODUCTION);
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
