//! Another implementation of `Connection` and `Integration`, as another crate would write one: it has nothing but what is
//! public. Everything is used through the traits.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::{
    collections::BTreeMap,
    error::Error as _,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::stream;
use grantry::{
    Connection, ConnectionPage, ConnectionQuery, ConnectionUpdate, Integration, async_trait,
    connect::{Link, NewLink},
    connection::{ConnectionView, Credentials, Decision, GrantVersion, Status},
    error::{Code, Error, causes},
    id::{ConnectionId, IntegrationId},
    integration::Environment,
    proxy::{ApiRequest, ApiResponse},
    secret::Secret,
    time::Timestamp,
};
use http::{Method, StatusCode};
use http_body::{Body as _, Frame};
use http_body_util::{BodyExt as _, Full, StreamBody};
use tokio::sync::mpsc;

/// A request as the far side got it.
#[derive(Debug)]
struct Got {
    parts: http::request::Parts,
    body: Bytes,
    limit: Option<Duration>,
}

/// A connection that is nowhere.
#[derive(Debug)]
struct Fake {
    view: Mutex<ConnectionView>,
    id: ConnectionId,
    generation: AtomicU64,
    got: Mutex<Vec<Got>>,
    /// The next answer.
    answer: Mutex<Option<ApiResponse>>,
}

impl Fake {
    fn new(id: &ConnectionId, integration: &IntegrationId, owner: &str) -> Self {
        let mut view = ConnectionView::new(id.clone(), integration.clone());
        owner.clone_into(&mut view.owner);
        Self {
            view: Mutex::new(view),
            id: id.clone(),
            generation: AtomicU64::new(1),
            got: Mutex::default(),
            answer: Mutex::default(),
        }
    }

    fn living(&self) -> Result<ConnectionView, Error> {
        let view = self.view.lock().unwrap().clone();
        if view.status == Status::Deleted {
            return Err(Code::ConnectionNotFound.into());
        }
        Ok(view)
    }

    fn set(&self) -> GrantVersion {
        GrantVersion {
            epoch: 1,
            generation: self.generation.load(Ordering::SeqCst),
        }
    }
}

#[async_trait]
impl Connection for Fake {
    fn id(&self) -> &ConnectionId {
        &self.id
    }

    async fn view(&self) -> Result<ConnectionView, Error> {
        self.living()
    }

    async fn update(&self, update: ConnectionUpdate) -> Result<ConnectionView, Error> {
        self.living()?;
        let mut view = self.view.lock().unwrap();
        view.owner = update.owner.unwrap_or_else(|| view.owner.clone());
        view.metadata = update.metadata.unwrap_or_else(|| view.metadata.clone());
        Ok(view.clone())
    }

    async fn disconnect(&self) -> Result<(), Error> {
        self.living()?;
        self.view.lock().unwrap().status = Status::Deleted;
        Ok(())
    }

    async fn history(&self) -> Result<Vec<Decision>, Error> {
        Ok(vec![Decision::new(Timestamp(0), "connected", self.set())])
    }

    async fn reconnect_link(&self) -> Result<Link, Error> {
        Ok(Link::new("https://connect.example/link", Timestamp(1)))
    }

    async fn credentials(&self) -> Result<Arc<Credentials>, Error> {
        self.credentials_valid_for(Duration::ZERO).await
    }

    async fn credentials_valid_for(&self, minimum: Duration) -> Result<Arc<Credentials>, Error> {
        self.living()?;
        let set = self.set();
        let credentials = Credentials::new(
            Secret::new(format!("access-{}", set.generation)),
            "https://instance.example".to_owned(),
            Environment::PRODUCTION,
            String::new(),
            Timestamp(0) + minimum,
            set,
        )?;
        Ok(Arc::new(credentials))
    }

    async fn refused(&self, set: GrantVersion) -> Result<Arc<Credentials>, Error> {
        if set == self.set() {
            self.generation.fetch_add(1, Ordering::SeqCst);
        }
        self.credentials().await
    }

    async fn send(&self, request: ApiRequest) -> Result<ApiResponse, Error> {
        self.living()?;
        let limit = request.time_limit();
        let (parts, body) = request.into_http()?.into_parts();
        let body = body.collect().await?.to_bytes();
        self.got.lock().unwrap().push(Got { parts, body, limit });
        let lost = || Error::new(Code::UpstreamLost).caused_by(std::io::Error::other("the cable is cut"));
        self.answer.lock().unwrap().take().ok_or_else(lost)
    }
}

/// An integration that is nowhere, or a door to it.
#[derive(Clone, Debug)]
struct FakeIntegration {
    all: Arc<BTreeMap<ConnectionId, Arc<Fake>>>,
    owner: Option<String>,
}

#[async_trait]
impl Integration for FakeIntegration {
    fn connection(&self, id: &ConnectionId) -> Arc<dyn Connection> {
        self.all[id].clone()
    }

    fn owner(&self, owner: &str) -> Arc<dyn Integration> {
        let owner = Some(owner.to_owned());
        Arc::new(Self {
            owner,
            ..self.clone()
        })
    }

    async fn connections(&self, query: ConnectionQuery) -> Result<ConnectionPage, Error> {
        let limit = usize::try_from(query.limit.unwrap_or(20)).unwrap();
        let views = self.all.values().map(|fake| fake.view.lock().unwrap().clone());
        let theirs = views.filter(|view| self.owner.as_ref().is_none_or(|owner| *owner == view.owner));
        let mut rest = theirs.skip_while(|view| {
            query
                .cursor
                .as_ref()
                .is_some_and(|at| view.id.as_str() < at.as_str())
        });
        let page = rest.by_ref().take(limit).collect();
        Ok(ConnectionPage::new(
            page,
            rest.next().map(|view| view.id.to_string()),
        ))
    }

    async fn connect_link(&self, link: NewLink) -> Result<Link, Error> {
        Ok(Link::new(
            format!("https://connect.example/{}", link.owner),
            Timestamp(1),
        ))
    }
}

fn fake() -> Fake {
    Fake::new(
        &ConnectionId::new("con_1").unwrap(),
        &IntegrationId::new("int_1").unwrap(),
        "ann",
    )
}

fn is_sync<T: Send + Sync>(_: &T) {}

#[tokio::test]
async fn a_request_can_be_read() {
    let fake = fake();
    let connection: &dyn Connection = &fake;
    let answer = || ApiResponse::from_http(http::Response::new(Full::<Bytes>::default()));
    let chunks = ["ab", "cd"].map(|chunk| Ok::<_, Error>(Frame::data(Bytes::from(chunk))));
    let requests = [
        ApiRequest::get("/v1/query?x=1")
            .query("q", "a b")
            .header("accept", "text/plain")
            .header("cookie", "a=b")
            .header("x-hop", "gone")
            .header("connection", "x-hop")
            .timeout(Duration::from_secs(7)),
        ApiRequest::patch("/v1/contacts/42").json(&serde_json::json!({ "name": "Ann" })),
        ApiRequest::post("/v1/files").stream(StreamBody::new(stream::iter(chunks))),
    ];
    assert_eq!(
        (requests[0].method(), requests[0].target()),
        (&Method::GET, "/v1/query?x=1&q=a%20b")
    );
    for request in requests {
        *fake.answer.lock().unwrap() = Some(answer());
        connection.send(request).await.unwrap();
    }
    let got = fake.got.lock().unwrap();
    let [query, update, upload] = &got[..] else {
        panic!("{got:?}")
    };
    assert_eq!(
        (&query.parts.method, query.limit),
        (&Method::GET, Some(Duration::from_secs(7)))
    );
    assert_eq!(query.parts.uri, "/v1/query?x=1&q=a%20b");
    let names: Vec<_> = query.parts.headers.keys().map(http::HeaderName::as_str).collect();
    assert_eq!(names, ["accept"]);
    assert_eq!((&update.parts.method, update.limit), (&Method::PATCH, None));
    assert_eq!(update.parts.headers["content-type"], "application/json");
    assert_eq!(
        (&*update.body, &*upload.body),
        (&br#"{"name":"Ann"}"#[..], &b"abcd"[..])
    );
}

#[tokio::test]
async fn a_bad_request_is_refused_before_it_is_read() {
    let fake = fake();
    let connection: &dyn Connection = &fake;
    for (request, code) in [
        (ApiRequest::new("TRACE", "/v1"), Code::MethodNotAllowed),
        (ApiRequest::get("/../admin"), Code::PathDotSegment),
        (
            ApiRequest::get("/v1").query("access_token", "x"),
            Code::QueryReserved,
        ),
        (ApiRequest::get("/v1").body("x"), Code::BodyNotAllowed),
    ] {
        assert_eq!(connection.send(request).await.unwrap_err().code(), code);
    }
    assert!(fake.got.lock().unwrap().is_empty());
    // A stream that fails on the way is the caller's fault, and so it is told.
    let broken = stream::iter([Err::<Frame<Bytes>, _>(Error::new(Code::BodyTooLarge))]);
    let request = ApiRequest::post("/v1").stream(StreamBody::new(broken));
    assert_eq!(
        connection.send(request).await.unwrap_err().code(),
        Code::BodyTooLarge
    );
}

#[tokio::test]
async fn an_answer_streams() {
    let fake = fake();
    let connection: &dyn Connection = &fake;
    let (chunks, mut body) = mpsc::unbounded_channel::<Result<Frame<Bytes>, std::io::Error>>();
    let response = http::Response::builder()
        .status(429)
        .header("retry-after", "7")
        .header("set-cookie", "session=HIDDEN")
        .body(StreamBody::new(stream::poll_fn(move |cx| body.poll_recv(cx))));
    *fake.answer.lock().unwrap() = Some(ApiResponse::from_http(response.unwrap()));
    let mut answer = connection.send(ApiRequest::get("/v1")).await.unwrap();
    is_sync(&answer);
    assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(answer.headers["retry-after"], "7");
    assert!(!answer.headers.contains_key("set-cookie"));
    for chunk in ["first", "second"] {
        // Nothing is read ahead: each is there once it was sent.
        chunks.send(Ok(Frame::data(chunk.into()))).unwrap();
        assert_eq!(answer.body.next().await.unwrap().unwrap(), chunk);
        assert!(!answer.body.is_end_stream());
    }
    chunks.send(Err(std::io::Error::other("HIDDEN"))).unwrap();
    let error = answer.body.next().await.unwrap().unwrap_err();
    assert_eq!(error.code(), Code::UpstreamTruncated);
    assert!(error.source().is_none(), "a foreign text may hold anything");

    let whole = http::Response::new(Full::new(Bytes::from("{\"a\":1}")));
    *fake.answer.lock().unwrap() = Some(ApiResponse::from_http(whole));
    let answer = connection.send(ApiRequest::get("/v1")).await.unwrap();
    assert_eq!(answer.body.size_hint().exact(), Some(7));
    let json: serde_json::Value = answer.json(100).await.unwrap();
    assert_eq!(json["a"], 1);

    let error = connection.send(ApiRequest::get("/v1")).await.unwrap_err();
    assert_eq!(
        (error.code(), &*causes(&error)),
        (Code::UpstreamLost, "the cable is cut")
    );
}

#[tokio::test]
async fn code_that_uses_a_connection_does_not_know_which() {
    let connection: &dyn Connection = &fake();
    let view = connection.view().await.unwrap();
    assert_eq!(
        (&view.id, view.owner.as_str(), view.status),
        (connection.id(), "ann", Status::Connected)
    );
    let labels = BTreeMap::from([("team".to_owned(), "blue".to_owned())]);
    let update = ConnectionUpdate::default().owner("bob").metadata(labels.clone());
    let view = connection.update(update).await.unwrap();
    assert_eq!((view.owner.as_str(), view.metadata), ("bob", labels));

    let held = connection
        .credentials_valid_for(Duration::from_secs(60))
        .await
        .unwrap();
    assert_eq!(
        (held.access_token.expose(), held.expires_at),
        ("access-1", Timestamp(60_000))
    );
    let newer = connection.refused(held.version).await.unwrap();
    assert_eq!(newer.authorization, "Bearer access-2");
    let again = connection.refused(held.version).await.unwrap();
    assert_eq!(again.version, connection.credentials().await.unwrap().version);

    assert_eq!(connection.history().await.unwrap()[0].what, "connected");
    assert_eq!(
        connection.reconnect_link().await.unwrap().url,
        "https://connect.example/link"
    );
    connection.disconnect().await.unwrap();
    let gone = [
        connection.view().await.err(),
        connection.credentials().await.err(),
        connection.send(ApiRequest::get("/v1")).await.err(),
    ];
    assert!(
        gone.iter()
            .all(|error| error.as_ref().unwrap().code() == Code::ConnectionNotFound)
    );
}

#[tokio::test]
async fn code_that_lists_connections_does_not_know_where() {
    let id = IntegrationId::new("int_1").unwrap();
    let all = ["ann", "bob", "ann"].iter().enumerate().map(|(n, owner)| {
        let connection = ConnectionId::new(&format!("con_{n}")).unwrap();
        (connection.clone(), Arc::new(Fake::new(&connection, &id, owner)))
    });
    let integration: &dyn Integration = &FakeIntegration {
        all: Arc::new(all.collect()),
        owner: None,
    };
    let mut query = ConnectionQuery::default();
    query.limit = Some(1);
    let mut seen = Vec::new();
    let ann = integration.owner("ann");
    loop {
        let page = ann.connections(query.clone()).await.unwrap();
        for view in page.connections {
            let connection = ann.connection(&view.id);
            seen.push((
                connection.id().to_string(),
                connection.view().await.unwrap().owner,
            ));
        }
        query.cursor = page.next_cursor;
        if query.cursor.is_none() {
            break;
        }
    }
    assert_eq!(
        seen,
        [
            ("con_0".to_owned(), "ann".to_owned()),
            ("con_2".to_owned(), "ann".to_owned())
        ]
    );
    let link = integration
        .connect_link(NewLink::default().owner("ann"))
        .await
        .unwrap();
    assert_eq!(&*link.url, "https://connect.example/ann");
}
