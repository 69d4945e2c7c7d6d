//! Cached calls of other libraries, and maps that somebody would write by hand.

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use grantry::id::ConnectionId;
use huskarl::{
    cache::{InMemoryTokenCache, TokenError, TokenSource},
    core::platform::MaybeSendBoxFuture,
    grant::core::{RawTokenResponse, TokenResponse},
};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use yup_oauth2::{
    ApplicationSecret, CustomHyperClientBuilder, DeviceFlowAuthenticator, authenticator::Authenticator,
};

use crate::upstream::ACCESS_TOKEN;

type Fast<V> = papaya::HashMap<ConnectionId, V, foldhash::fast::RandomState>;

/// huskarl's cache over a source that is asked once.
pub type Huskarl = InMemoryTokenCache<Once>;

/// A token that lives for two hours.
#[derive(Debug)]
pub struct Once;

impl TokenSource for Once {
    fn token(&self) -> MaybeSendBoxFuture<'_, Result<Arc<TokenResponse>, TokenError>> {
        Box::pin(async {
            let raw = RawTokenResponse::builder()
                .access_token(ACCESS_TOKEN)
                .token_type("bearer")
                .expires_in(7200)
                .build();
            let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime)
                .tv_sec
                .cast_unsigned();
            let received = SystemTime::UNIX_EPOCH + Duration::from_secs(now);
            Ok(Arc::new(raw.into_token_response(None, received).unwrap()))
        })
    }
}

/// One of huskarl's caches.
pub fn huskarl() -> Huskarl {
    InMemoryTokenCache::builder().source(Once).build()
}

/// One of huskarl's caches for each connection, in a concurrent map.
pub fn huskarls(ids: &[ConnectionId]) -> Fast<Arc<Huskarl>> {
    map(ids, || Arc::new(huskarl()))
}

/// yup-oauth2 with one token for each connection, told apart by their scopes, all of them with an end.
pub async fn yup(directory: &Path, ids: &[ConnectionId]) -> Authenticator<HttpConnector> {
    let tokens: Vec<_> = ids
        .iter()
        .map(|id| {
            // The form in which `time` writes a moment: year, day of the year, time of day, offset.
            let token = serde_json::json!({
                "access_token": ACCESS_TOKEN,
                "refresh_token": null,
                "id_token": null,
                "expires_at": [2090, 1, 0, 0, 0, 0, 0, 0, 0],
            });
            serde_json::json!({ "scopes": [id.as_str()], "token": token })
        })
        .collect();
    let file = directory.join("yup.json");
    std::fs::write(&file, serde_json::to_vec(&tokens).unwrap()).unwrap();
    let http = Client::builder(hyper_util::rt::TokioExecutor::new()).build(HttpConnector::new());
    DeviceFlowAuthenticator::with_client(ApplicationSecret::default(), CustomHyperClientBuilder::from(http))
        .persist_tokens_to_disk(file)
        .build()
        .await
        .unwrap()
}

/// A locked map from which tokens are cloned.
pub fn locked(ids: &[ConnectionId]) -> Mutex<HashMap<ConnectionId, String>> {
    Mutex::new(ids.iter().map(|id| (own(id), ACCESS_TOKEN.to_owned())).collect())
}

/// A concurrent map from which shared tokens are cloned: it checks nothing, so it is the limit and no peer.
pub fn concurrent(ids: &[ConnectionId]) -> Fast<Arc<str>> {
    map(ids, || ACCESS_TOKEN.into())
}

fn map<V>(ids: &[ConnectionId], value: impl Fn() -> V) -> Fast<V> {
    let map = papaya::HashMap::with_hasher(foldhash::fast::RandomState::default());
    let pinned = map.pin();
    for id in ids {
        pinned.insert(own(id), value());
    }
    drop(pinned);
    map
}

/// The same id in memory of its own: clones share theirs, and what is read from a store or a request does not.
pub fn own(id: &ConnectionId) -> ConnectionId {
    ConnectionId::new(id.as_str()).unwrap()
}
