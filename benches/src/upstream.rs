//! A server on a thread of its own: a token endpoint and a record of one kilobyte, both as cheap as can be.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{Router, extract::State, response::IntoResponse, routing::get, routing::post};
use bytes::Bytes;
use http::{HeaderValue, header::CONTENT_TYPE};

use crate::measure;

/// The access token of every answer, as long as Salesforce's.
pub const ACCESS_TOKEN: &str = "00D5g00000A1b2C!AQEAQMfXz6kDkxQ3Yk1v0iJcQbqfEr3bXw0m4mTnq1uWkZ3o0h8bq2pY6hQ7w9J5x1r8cV4nT0sLd2fGzK6yHjP3mB9aE7uR";
/// The refresh token of every answer.
pub const REFRESH_TOKEN: &str =
    "5Aep861TSESvWeug_xvFHRBTTbf_YrTWgEyjBJrfGrqCSUMcsmJ6eYfUgzWPqS0Gk3q8t7zV1nB5xR2wL9dHcKp";
/// The user and org of every connection, as Salesforce names them.
pub const SUBJECT: &str = "00D5g00000A1b2CEAR/0055g00000D4e5FAAR";
/// Where the token endpoint is.
pub const TOKEN_PATH: &str = "/services/oauth2/token";
/// Where the record is.
pub const RECORD_PATH: &str = "/services/data/v66.0/sobjects/Account/001xx000003DGb2AAG";

/// A running server; it ends with the process.
#[derive(Clone, Debug)]
pub struct Upstream {
    origin: String,
    told: Arc<Told>,
}

#[derive(Debug, Default)]
struct Told {
    exchanges: AtomicU64,
    latency: AtomicU64,
}

#[derive(Clone, Debug)]
struct Serving {
    told: Arc<Told>,
    tokens: Bytes,
    record: Bytes,
}

impl Upstream {
    /// Starts it, on this core alone if one is given.
    pub fn start(core: Option<usize>) -> Self {
        let told = Arc::<Told>::default();
        let serving = told.clone();
        let (ready, started) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            if core.is_some() {
                measure::pin(core);
            }
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                let origin = format!("http://{}", listener.local_addr().unwrap());
                ready.send(origin.clone()).unwrap();
                axum::serve(listener, router(&origin, serving)).await.unwrap();
            });
        });
        let origin = started.recv().unwrap();
        Self { origin, told }
    }

    /// Its origin.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// How many exchanges there were so far.
    pub fn exchanges(&self) -> u64 {
        self.told.exchanges.load(Ordering::Relaxed)
    }

    /// Lets the token endpoint take so long from now on.
    pub fn take_your_time(&self, latency: Duration) {
        let millis = u64::try_from(latency.as_millis()).unwrap_or(u64::MAX);
        self.told.latency.store(millis, Ordering::Relaxed);
    }
}

fn router(origin: &str, told: Arc<Told>) -> Router {
    let tokens = serde_json::json!({
        "access_token": ACCESS_TOKEN,
        "refresh_token": REFRESH_TOKEN,
        "scope": "api refresh_token",
        "instance_url": origin,
        "id": format!("{origin}/id/{}", SUBJECT),
        "token_type": "Bearer",
        "issued_at": "1763798400000",
    });
    let mut record =
        serde_json::json!({ "attributes": { "type": "Account" }, "Name": "Acme", "Description": "" });
    let missing = 1024 - record.to_string().len();
    record["Description"] = "x".repeat(missing).into();
    let serving = Serving {
        told,
        tokens: tokens.to_string().into(),
        record: record.to_string().into(),
    };
    Router::new()
        .route(TOKEN_PATH, post(exchange))
        .route(RECORD_PATH, get(fetch))
        .with_state(serving)
}

async fn exchange(State(serving): State<Serving>, _form: Bytes) -> impl IntoResponse {
    serving.told.exchanges.fetch_add(1, Ordering::Relaxed);
    let latency = serving.told.latency.load(Ordering::Relaxed);
    if latency > 0 {
        tokio::time::sleep(Duration::from_millis(latency)).await;
    }
    (
        [(CONTENT_TYPE, HeaderValue::from_static("application/json"))],
        serving.tokens,
    )
}

async fn fetch(State(serving): State<Serving>) -> impl IntoResponse {
    (
        [(CONTENT_TYPE, HeaderValue::from_static("application/json"))],
        serving.record,
    )
}
