//! API calls, and what they are counted as. They go over real sockets, so time is not paused here.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    convert::Infallible,
    rc::Rc,
    time::Duration,
};

use bytes::Bytes;
use futures_util::StreamExt as _;
use grantry::{
    Broker,
    error::{Code, Error},
    id::{ConnectionId, IntegrationId},
    proxy::{ApiRequest, ApiResponse},
    testing::{Fault, Op},
};
use http_body_util::{BodyExt as _, StreamBody};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::{
    drop_at::drop_at,
    support::{SESSION, World, pass},
};

/// What is dropped here and not in the table of operations.
pub const OPERATIONS: [&str; 1] = ["ConnectionHandle::send"];

const A_LITTLE: Duration = Duration::from_millis(2);
const ANSWERS_LATE: Fault = Fault::SlowAnswer(A_LITTLE);
const ACTS_LATE: Fault = Fault::Slow(A_LITTLE);

/// An API that answers in parts, and refuses a token on order.
#[derive(Clone, Default)]
struct Api {
    arrived: Rc<Cell<u64>>,
    refused: Rc<RefCell<String>>,
}

impl Api {
    async fn serve(self, listener: TcpListener) {
        while let Ok((stream, _)) = listener.accept().await {
            let api = self.clone();
            tokio::task::spawn_local(async move { drop(api.converse(stream).await) });
        }
    }

    async fn converse(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut seen = Vec::new();
        while stream.read_buf(&mut seen).await? > 0 {
            let text = String::from_utf8_lossy(&seen).to_ascii_lowercase();
            if !is_whole(&text) {
                continue;
            }
            self.arrived.set(self.arrived.get() + 1);
            let refused = self.refused.borrow().clone();
            seen.clear();
            if !refused.is_empty() && text.contains(&refused) {
                stream
                    .write_all(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n")
                    .await?;
                continue;
            }
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
                .await?;
            for part in ["2\r\nab\r\n", "2\r\ncd\r\n", "0\r\n\r\n"] {
                pass(A_LITTLE).await;
                stream.write_all(part.as_bytes()).await?;
            }
        }
        Ok(())
    }
}

/// Whether a request has arrived with its body, which is chunked or of known length.
fn is_whole(request: &str) -> bool {
    let Some((head, body)) = request.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head
        .split_once("content-length: ")
        .map_or("0", |(_, rest)| rest.lines().next().unwrap());
    if head.contains("transfer-encoding") {
        body.ends_with("0\r\n\r\n")
    } else {
        body.len() >= length.parse().unwrap()
    }
}

/// A connection that made one call, on a store that is late.
async fn stage(late: Fault) -> (World, ConnectionId, Api) {
    let world = World::new().await;
    let api = Api::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    tokio::task::spawn_local(api.clone().serve(listener));
    world.upstream.set(|settings| {
        settings.instance_url = origin;
        settings.takes = A_LITTLE;
    });
    let id = world.connect().await;
    let first = world
        .one
        .broker
        .connection(&id)
        .send(ApiRequest::get("/first"))
        .await;
    read(first).await.unwrap();
    for op in [Op::Read, Op::Swap, Op::Integrations, Op::Usage] {
        world.one.store.script(op, 0, u32::MAX, late);
    }
    (world, id, api)
}

async fn read(answer: Result<ApiResponse, Error>) -> Result<(), Code> {
    let body = answer.map_err(|error| error.code())?.body;
    assert_eq!(body.collect().await.unwrap().to_bytes(), "abcd");
    Ok(())
}

/// A body that comes in parts.
fn parts() -> ApiRequest {
    let parts = futures_util::stream::iter(["one", "two", "three"]).then(|part| async move {
        pass(A_LITTLE).await;
        Ok::<_, Infallible>(http_body::Frame::data(Bytes::from(part)))
    });
    ApiRequest::post("/parts").stream(StreamBody::new(Box::pin(parts)))
}

/// The calls of this month, once those are given back that are on their way: no more than two if all is right.
async fn settled_count(broker: &Broker, integration: &IntegrationId) -> u64 {
    let mut counted = u64::MAX;
    for _ in 0..500 {
        counted = broker.integration(integration).usage().await.unwrap().calls;
        if counted <= 2 {
            break;
        }
        pass(A_LITTLE).await;
    }
    counted
}

async fn judge(world: &World, id: &ConnectionId, api: &Api, polls: u32) {
    // A refresh that is on its way ends before the clock goes on.
    world.access(id).await;
    let counted = settled_count(&world.one.broker, &world.integration).await;
    assert!(
        counted <= 2,
        "one call is counted as {}, dropped after {polls} polls",
        counted - 1
    );
    assert!(
        counted == 2 || api.arrived.get() == 1,
        "a call that arrived is not counted"
    );
    assert!(counted == 1 || polls > 0);
    world.clock.step(SESSION);
    let read = world
        .one
        .broker
        .connection(id)
        .send(ApiRequest::get("/after"))
        .await;
    assert!(read.is_ok(), "dropped after {polls} polls: {read:?}");
    let presented = world.upstream.presented();
    let different: BTreeSet<_> = presented.iter().collect();
    assert_eq!(different.len(), presented.len(), "presented twice: {presented:?}");
}

/// Drops `call` after every number of polls; `prepare` says what is to happen to it.
async fn drop_everywhere(
    prepare: impl Fn(&World, &Api),
    request: impl Fn() -> ApiRequest,
    woken: bool,
    within: bool,
) {
    for polls in 0..500 {
        let (world, id, api) = stage(ANSWERS_LATE).await;
        prepare(&world, &api);
        let broker = world.one.broker.clone();
        let call = async {
            let answer = if within {
                let integration = broker.integration(&world.integration);
                integration.connection(&id).send(request()).await
            } else {
                broker.connection(&id).send(request()).await
            };
            read(answer).await
        };
        let answer = drop_at(polls, woken, call).await;
        judge(&world, &id, &api, polls).await;
        if let Some(answer) = answer {
            assert_eq!(answer, Ok(()));
            return;
        }
    }
    panic!("it does not end");
}

#[tokio::test]
async fn a_dropped_call_is_counted_once_at_most_and_spends_no_token_twice() {
    let all = async {
        for within in [false, true] {
            let end = |world: &World, _: &Api| world.clock.step(SESSION);
            Box::pin(drop_everywhere(end, || ApiRequest::get("/x"), within, within)).await;
            let refuse = |_: &World, api: &Api| *api.refused.borrow_mut() = "bearer access-0-0".to_owned();
            Box::pin(drop_everywhere(refuse, parts, !within, within)).await;
        }
    };
    tokio::task::LocalSet::new().run_until(Box::pin(all)).await;
}

/// Calls are reserved in blocks; who asks for the count, or shuts down, gives the rest of a block back.
#[tokio::test]
async fn who_goes_away_while_calls_are_given_back_loses_none() {
    let all = async {
        for (shuts_down, late) in [(false, ANSWERS_LATE), (false, ACTS_LATE), (true, ACTS_LATE)] {
            for polls in 0..100 {
                let (world, id, _api) = stage(late).await;
                let broker = world.one.broker.clone();
                read(broker.connection(&id).send(ApiRequest::get("/second")).await)
                    .await
                    .unwrap();
                let give_back = async {
                    if shuts_down {
                        broker.shutdown(Duration::from_secs(1)).await;
                    } else {
                        broker.integration(&world.integration).usage().await.unwrap();
                    }
                };
                let ended = drop_at(polls, false, give_back).await.is_some();
                if shuts_down {
                    broker.shutdown(Duration::from_secs(1)).await;
                }
                let later = world.process().broker;
                let broker = if shuts_down { &later } else { &broker };
                let counted = settled_count(broker, &world.integration).await;
                assert_eq!(counted, 2, "{shuts_down}, {late:?}, dropped after {polls} polls");
                if ended {
                    break;
                }
            }
        }
    };
    tokio::task::LocalSet::new().run_until(Box::pin(all)).await;
}
