//! What comes back, from providers that behave and from those that do not.

use std::{
    io::{self, Read as _, Write as _},
    net::TcpStream,
    sync::atomic::Ordering,
    time::Duration,
};

use bytes::Bytes;
use grantry::{
    error::Code,
    proxy::{ApiRequest, ApiResponse},
};
use http_body::Body as _;

use crate::{
    upstream::{Then, Upstream, answer, ok},
    world::World,
};

const LIMIT: usize = 1 << 20;

async fn get(world: &World) -> ApiResponse {
    world.send(ApiRequest::get("/a")).await.unwrap()
}

/// S48, P37: a redirect is handed back; nobody follows it, and no token goes where it points.
#[tokio::test]
async fn redirects_are_not_followed() {
    let elsewhere = Upstream::always(ok("{}"));
    for status in [
        "301 Moved",
        "302 Found",
        "303 See Other",
        "307 Temporary",
        "308 Permanent",
        "300 Multiple",
        "304 X",
    ] {
        let location = format!("Location: {}/x\r\n", elsewhere.origin);
        let upstream = Upstream::always(answer(status, &location, ""));
        let world = World::new(&upstream.origin).await;
        let reply = get(&world).await;
        assert_eq!(reply.status.as_str(), &status[..3]);
        assert_eq!(
            reply.headers["location"].to_str().unwrap(),
            format!("{}/x", elsewhere.origin)
        );
        assert_eq!(upstream.calls(), 1);
    }
    assert_eq!(elsewhere.connections(), 0);
}

/// O06: what is not the host's business does not pass; what is the answer's does, compressed bodies included.
#[tokio::test]
async fn answers_pass_as_they_are() {
    let headers = "Content-Type: application/json;charset=UTF-8\r\nContent-Encoding: gzip\r\nETag: \"a\"\r\n\
                   Sforce-Limit-Info: api-usage=1/2\r\nSet-Cookie: sid=x\r\nStrict-Transport-Security: max-age=1\r\n\
                   Alt-Svc: h3\r\nKeep-Alive: 5\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nX-Other: y\r\n\
                   Transfer-Encoding: chunked\r\n";
    let bytes =
        format!("HTTP/1.1 418 Odd\r\n{headers}\r\n3\r\n\x1f\x08\x00\r\n2\r\nab\r\n0\r\nX-Trailer: z\r\n\r\n");
    let upstream = Upstream::always(bytes);
    let world = World::new(&upstream.origin).await;
    let reply = world
        .send(ApiRequest::get("/a").header("Accept-Encoding", "gzip"))
        .await
        .unwrap();
    assert_eq!(reply.status, 418);
    let mut names: Vec<_> = reply
        .headers
        .keys()
        .map(|name| name.as_str().to_owned())
        .collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "content-encoding",
            "content-type",
            "etag",
            "sforce-limit-info",
            "x-other"
        ]
    );
    assert_eq!(reply.bytes(LIMIT).await.unwrap(), "\x1f\x08\x00ab");
    assert_eq!(upstream.seen()[0].all("accept-encoding"), ["gzip"]);
}

#[tokio::test]
async fn answers_without_a_body() {
    let head = Upstream::always("HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n");
    let world = World::new(&head.origin).await;
    for _ in 0..3 {
        let reply = world.send(ApiRequest::head("/a")).await.unwrap();
        assert_eq!(reply.headers["content-length"], "12345");
        assert!(reply.body.is_end_stream());
        assert_eq!(reply.bytes(0).await.unwrap(), "");
    }
    assert_eq!(head.connections(), 1);
    let none = Upstream::always("HTTP/1.1 204 No Content\r\n\r\n");
    let world = World::new(&none.origin).await;
    for _ in 0..3 {
        let reply = world.send(ApiRequest::delete("/a")).await.unwrap();
        assert_eq!(
            (reply.status.as_u16(), reply.bytes(0).await.unwrap()),
            (204, Bytes::new())
        );
    }
    assert_eq!(none.connections(), 1);
}

/// P39: an answer that breaks off is never a clean end.
#[tokio::test]
async fn truncated_answers() {
    let rows = [
        ("Content-Length: 10\r\n\r\nabc", "upstream_truncated"),
        (
            "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
            "upstream_truncated",
        ),
        ("Transfer-Encoding: chunked\r\n\r\n5\r\nabc", "upstream_truncated"),
        (
            "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n",
            "upstream_protocol",
        ),
        (
            "Transfer-Encoding: chunked\r\n\r\n3\r\nabcdef\r\n",
            "upstream_protocol",
        ),
    ];
    for status in ["200 OK", "400 Bad Request"] {
        for (rest, code) in rows {
            let upstream =
                Upstream::script(vec![(format!("HTTP/1.1 {status}\r\n{rest}").into(), Then::Close)]);
            let world = World::new(&upstream.origin).await;
            let mut reply = world.send(ApiRequest::post("/a")).await.unwrap();
            let mut whole = Vec::new();
            let error = loop {
                match reply.body.next().await {
                    Some(Ok(chunk)) => whole.extend_from_slice(&chunk),
                    Some(Err(error)) => break error,
                    None => panic!("{rest:?} ended cleanly"),
                }
            };
            assert_eq!(error.code().as_str(), code, "{rest:?}");
            assert!(b"abc".starts_with(&whole) || whole == b"abc", "{whole:?}");
            assert!(reply.body.next().await.is_none());
            assert_eq!(upstream.calls(), 1);
        }
    }
}

/// P40, O02 to O04, O06: what is not HTTP, or too much of it.
#[tokio::test]
async fn answers_that_are_not_http() {
    let many = "x: y\r\n".repeat(100_000);
    let rows: Vec<(&str, Vec<u8>)> = vec![
        ("no HTTP", b"SSH-2.0-OpenSSH_9.2\r\n\r\n".to_vec()),
        ("HTTP/0.9", b"<html></html>\r\n\r\n".to_vec()),
        ("another version", b"HTTP/3.7 200 OK\r\n\r\n".to_vec()),
        ("bad status", b"HTTP/1.1 20x OK\r\n\r\n".to_vec()),
        (
            "two lengths",
            b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd".to_vec(),
        ),
        (
            "bad length",
            b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n".to_vec(),
        ),
        (
            "2 MB header",
            format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "y".repeat(2 << 20)).into_bytes(),
        ),
        (
            "100,000 headers",
            format!("HTTP/1.1 200 OK\r\n{many}\r\n").into_bytes(),
        ),
        ("NUL in a header", b"HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n".to_vec()),
        (
            "switching protocols",
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n".to_vec(),
        ),
    ];
    for (name, bytes) in rows {
        let upstream = Upstream::script(vec![(bytes, Then::Close)]);
        let world = World::new(&upstream.origin).await;
        assert_eq!(
            world.code(ApiRequest::get("/a")).await,
            "upstream_protocol",
            "{name}"
        );
        assert_eq!(upstream.calls(), 1, "{name}");
    }
}

/// P40: a flood of interim answers ends long before the time limit.
#[tokio::test]
async fn interim_answers() {
    let few = Upstream::always([b"HTTP/1.1 100 Continue\r\n\r\n".repeat(5), ok("{}")].concat());
    let world = World::new(&few.origin).await;
    assert_eq!(get(&world).await.status, 200);
    let flood = Upstream::start(|_, _, stream, _| {
        let many = b"HTTP/1.1 102 Processing\r\n\r\n".repeat(1000);
        loop {
            stream.write_all(&many)?;
        }
    });
    let world = World::new(&flood.origin).await;
    let begun = std::time::Duration::from_secs(5);
    let code = tokio::time::timeout(begun, world.code(ApiRequest::get("/a")))
        .await
        .unwrap();
    assert_eq!(code, "upstream_protocol");
}

/// A provider that says nothing: the caller gets an answer in time, and the call is not made again.
#[tokio::test]
async fn silence() {
    let upstream = Upstream::start(|_, _, stream, _| wait_for_the_client(stream));
    let world = World::limited(&upstream.origin, Some(10)).await;
    let limit = Duration::from_millis(200);
    assert_eq!(
        world.code(ApiRequest::get("/a").timeout(limit)).await,
        "upstream_timeout"
    );
    assert_eq!(
        world.code(ApiRequest::post("/a").timeout(limit)).await,
        "upstream_timeout"
    );
    assert_eq!((upstream.calls(), world.counted().await), (2, 2));
    eventually(|| upstream.aborted.load(Ordering::SeqCst) == 2).await;
}

/// A body that stalls for a minute fails; one that trickles does not.
#[tokio::test]
async fn stalled_answers() {
    let upstream = Upstream::start(|_, _, stream, _| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")?;
        wait_for_the_client(stream)
    });
    let world = World::new(&upstream.origin).await;
    let mut reply = get(&world).await;
    assert_eq!(reply.body.next().await.unwrap().unwrap(), "abc");
    // From here on time passes whenever nothing else happens.
    tokio::time::pause();
    let error = reply.body.next().await.unwrap().unwrap_err();
    assert_eq!(
        (error.code(), error.reason()),
        (Code::UpstreamTimeout, Some("stalled"))
    );
    tokio::time::resume();
    eventually(|| upstream.aborted.load(Ordering::SeqCst) == 1).await;
}

/// Waits until the client is gone.
fn wait_for_the_client(stream: &mut TcpStream) -> io::Result<Then> {
    let mut byte = [0];
    match stream.read(&mut byte) {
        Ok(0) => Err(io::ErrorKind::ConnectionAborted.into()),
        Ok(_) => panic!("more than one request on a line"),
        Err(error) => Err(error),
    }
}

async fn eventually(done: impl Fn() -> bool) {
    for _ in 0..500 {
        if done() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it did not happen");
}

/// P36: a caller who goes away takes the call at the provider along, before the answer and in the midst of it.
#[tokio::test]
async fn dropping_aborts() {
    let upstream = Upstream::start(|number, _, stream, _| {
        if number == 2 {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nabc")?;
        }
        wait_for_the_client(stream)
    });
    let world = World::new(&upstream.origin).await;
    let call = world.send(ApiRequest::post("/a"));
    assert!(
        tokio::time::timeout(Duration::from_millis(100), call)
            .await
            .is_err()
    );
    eventually(|| upstream.aborted.load(Ordering::SeqCst) == 1).await;
    let mut reply = world.send(ApiRequest::post("/a")).await.unwrap();
    assert_eq!(reply.body.next().await.unwrap().unwrap(), "abc");
    drop(reply);
    eventually(|| upstream.aborted.load(Ordering::SeqCst) == 2).await;
    assert_eq!(upstream.calls(), 2, "and nothing is sent again");
}

const HUGE: usize = 200 << 20;

fn huge(stream: &mut TcpStream, upstream: &Upstream) -> io::Result<Then> {
    let block = vec![b'x'; 64 * 1024];
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {HUGE}\r\n\r\n")?;
    for _ in 0..HUGE / block.len() {
        stream.write_all(&block)?;
        upstream.written.fetch_add(block.len(), Ordering::SeqCst);
    }
    Ok(Then::Keep)
}

/// O05: 200 MB pass through, and what nobody reads is not fetched.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_stream_in_constant_memory() {
    let upstream = Upstream::start(|_, _, stream, upstream| huge(stream, upstream));
    let world = World::new(&upstream.origin).await;
    let mut reply = get(&world).await;
    // The reader waits, so the writer must: what is under way is what sockets and one buffer hold.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let ahead = upstream.written.load(Ordering::SeqCst);
    assert!(ahead < 20 << 20, "{ahead} bytes were fetched for nobody");
    let before = resident();
    let (mut total, mut most) = (0, 0);
    while let Some(chunk) = reply.body.next().await {
        total += chunk.unwrap().len();
        if total % (10 << 20) < 64 * 1024 {
            most = most.max(resident());
        }
    }
    assert_eq!(total, HUGE);
    let grown = most.saturating_sub(before);
    assert!(grown < 16 << 20, "{grown} bytes more");
    // And the connection is good for the next call.
    let next = get(&world).await;
    assert_eq!(upstream.connections(), 1);
    assert_eq!(next.bytes(1000).await.unwrap_err().code(), Code::AnswerTooLarge);
}

/// The resident memory of this process in bytes.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<usize>().ok())
        .unwrap_or(0)
        * 4096
}

#[tokio::test]
async fn limits_and_forms_of_reading() {
    let upstream = Upstream::script(vec![
        (ok("0123456789"), Then::Keep),
        (ok("0123456789"), Then::Keep),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n01234\r\n5\r\n56789\r\n0\r\n\r\n"
                .to_vec(),
            Then::Keep,
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n01234\r\n5\r\n56789\r\n0\r\n\r\n"
                .to_vec(),
            Then::Keep,
        ),
        (answer("200 OK", "", "{secret"), Then::Keep),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n\xff\xfe".to_vec(),
            Then::Keep,
        ),
    ]);
    let world = World::new(&upstream.origin).await;
    assert_eq!(
        get(&world).await.bytes(9).await.unwrap_err().code(),
        Code::AnswerTooLarge
    );
    assert_eq!(get(&world).await.bytes(10).await.unwrap(), "0123456789");
    assert_eq!(
        get(&world).await.bytes(9).await.unwrap_err().code(),
        Code::AnswerTooLarge
    );
    assert_eq!(get(&world).await.bytes(10).await.unwrap(), "0123456789");
    let error = get(&world)
        .await
        .json::<serde_json::Value>(LIMIT)
        .await
        .unwrap_err();
    assert_eq!(
        (error.code(), error.reason()),
        (Code::AnswerInvalid, Some("json"))
    );
    let error = get(&world).await.text(LIMIT).await.unwrap_err();
    assert_eq!(error.reason(), Some("utf8"));
}

/// The body of a refusal is looked at, and still all there.
#[tokio::test]
async fn long_refusals_are_whole() {
    let body = "x".repeat(300_000);
    let upstream = Upstream::always(answer("400 Bad Request", "", &body));
    let world = World::new(&upstream.origin).await;
    let reply = get(&world).await;
    assert_eq!(reply.body.size_hint().exact(), Some(300_000));
    assert!(reply.bytes(LIMIT).await.unwrap() == body);
}
