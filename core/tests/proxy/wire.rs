//! What is on the wire.

use std::time::Duration;

use bytes::Bytes;
use grantry::{
    error::{Code, Error},
    proxy::ApiRequest,
};
use http_body::Frame;
use http_body_util::{Full, StreamBody};

use crate::{
    upstream::{Upstream, answer, ok},
    world::World,
};

const LIMIT: usize = 1 << 20;

/// A body of chunks, each after a pause.
pub(crate) fn chunks(
    chunks: Vec<Bytes>,
    pause: Duration,
) -> impl http_body::Body<Data = Bytes, Error = std::io::Error> + Send + 'static {
    StreamBody::new(futures_util::stream::unfold(
        chunks.into_iter(),
        move |mut rest| async move {
            let chunk = rest.next()?;
            tokio::time::sleep(pause).await;
            Some((Ok(Frame::data(chunk)), rest))
        },
    ))
}

#[tokio::test]
async fn a_get_is_these_bytes_and_no_others() {
    let upstream = Upstream::always(ok("{}"));
    let world = World::new(&upstream.origin).await;
    let path = "/services/data/v59.0/query?x=%C3%A9";
    let reply = world
        .send(ApiRequest::get(path).query("q", "SELECT Id FROM A"))
        .await
        .unwrap();
    assert_eq!(reply.status, 200);
    assert_eq!(reply.headers["content-type"], "application/json");
    assert_eq!(reply.bytes(LIMIT).await.unwrap(), "{}");
    let seen = upstream.seen();
    let host = upstream.origin.strip_prefix("http://").unwrap();
    let expected = format!(
        "GET {path}&q=SELECT%20Id%20FROM%20A HTTP/1.1\r\nhost: {host}\r\nuser-agent: grantry/{}\r\n\
         authorization: Bearer access-1",
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(seen[0].head, expected);
    assert!(seen[0].body.is_empty());
}

/// S50: for every path that passes, the string that was checked is the string on the wire.
#[tokio::test]
async fn paths_arrive_as_they_were_given() {
    let upstream = Upstream::always(ok("{}"));
    let world = World::new(&upstream.origin).await;
    let paths = [
        "/",
        "/a",
        "/a/",
        "/a;b=c/d",
        "/a:b@c",
        "/...",
        "/%41%7e",
        "/%C3%A9",
        "/a,b'(c)!*+$&=",
        "/a?",
        "/a?b",
        "/a?b=/../c",
        "/a?b=//evil.test",
        "/a?b=%25%0a%00",
        "/a?[x]|{y}^`",
        "/a?b??c",
        "/~user",
        "/.well-known/x",
    ];
    for path in paths {
        world.send(ApiRequest::get(path)).await.unwrap();
        assert_eq!(
            upstream.seen().last().unwrap().line(),
            format!("GET {path} HTTP/1.1")
        );
    }
}

/// Refused with a code, and not a byte anywhere, nor a call counted.
#[tokio::test]
async fn what_is_refused_reaches_nobody() {
    let upstream = Upstream::always(ok("{}"));
    let elsewhere = Upstream::always(ok("{}"));
    let world = World::limited(&upstream.origin, Some(10)).await;
    let host = elsewhere.origin.strip_prefix("http://").unwrap();
    let rows = [
        (ApiRequest::get(""), "path_empty"),
        (ApiRequest::get(format!("//{host}/x")), "path_has_authority"),
        (ApiRequest::get(&elsewhere.origin), "path_not_absolute"),
        (ApiRequest::get(format!("@{host}/x")), "path_not_absolute"),
        (ApiRequest::get(format!("/\\{host}/x")), "path_backslash"),
        (ApiRequest::get(format!("/\t/{host}/x")), "path_control_byte"),
        (ApiRequest::get("/a\r\nX: y"), "path_control_byte"),
        (ApiRequest::get("/a/%2e%2e/b"), "path_dot_segment"),
        (ApiRequest::get("/a?access_token=x"), "query_reserved"),
        (ApiRequest::get("/a").query("session", "x"), "query_reserved"),
        (
            ApiRequest::get("/a").header("bad name", "x"),
            "header_name_invalid",
        ),
        (
            ApiRequest::get("/a").header("accept", "x\r\ny: z"),
            "header_value_invalid",
        ),
        (ApiRequest::get("/a").body("x"), "body_not_allowed"),
        (ApiRequest::new("TRACE", "/a"), "method_not_allowed"),
        (ApiRequest::new("get", "/a"), "method_not_allowed"),
    ];
    for (request, code) in rows {
        assert_eq!(world.code(request).await, code);
    }
    assert_eq!(
        (
            upstream.connections(),
            elsewhere.connections(),
            world.counted().await
        ),
        (0, 0, 0)
    );
}

/// S45, P24 to P30: hostile headers, and exactly one `Authorization`, which is ours.
#[tokio::test]
async fn hostile_headers_do_not_arrive() {
    let upstream = Upstream::always(ok("{}"));
    let world = World::new(&upstream.origin).await;
    let hostile = [
        "Authorization",
        "AUTHORIZATION",
        "Author_ization",
        "Proxy-Authorization",
        "X-Authorization",
        "Cookie",
        "Cookie2",
        "Set-Cookie",
        "Host",
        "X-Host",
        "X-Forwarded-Host",
        "X-Forwarded-For",
        "X_Forwarded_For",
        "X-Forwarded-Proto",
        "X-Forwarded-Port",
        "X-Forwarded-Uri",
        "X-Forwarded-Prefix",
        "Forwarded",
        "X-Real-IP",
        "X_Real_IP",
        "True-Client-IP",
        "Via",
        "Content-Length",
        "Content_Length",
        "Transfer-Encoding",
        "Transfer_Encoding",
        "TE",
        "Trailer",
        "Upgrade",
        "Expect",
        "Proxy-Connection",
        "Keep-Alive",
        "HTTP2-Settings",
        "X-HTTP-Method-Override",
        "X-Original-URL",
        "X-Rewrite-URL",
        "X-Fake-Session",
        "X_Fake_Option",
        "Fake_Call_Options",
        "User-Agent",
        "Origin",
        "Referer",
        "X-Api-Key",
        "X-Connection-Id",
    ];
    let mut request = ApiRequest::post("/a")
        .body("0123456789")
        .header("X-Fake-Option", "1")
        .header("Fake-Call-Options", "2")
        .header("If-Match", "x");
    for name in hostile {
        request = request.header(name, "5");
    }
    request = request
        .header("Connection", "authorization, host, If-Match, close")
        .header("Accept", "a/b");
    world.send(request).await.unwrap();
    let seen = upstream.seen().remove(0);
    let mut names: Vec<_> = seen.headers().into_iter().map(|(name, _)| name).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "accept",
            "authorization",
            "content-length",
            "fake-call-options",
            "host",
            "user-agent",
            "x-fake-option"
        ]
    );
    assert_eq!(seen.all("authorization"), ["Bearer access-1"]);
    assert_eq!(
        seen.all("host"),
        [upstream.origin.strip_prefix("http://").unwrap()]
    );
    assert_eq!(
        (seen.all("content-length"), seen.text()),
        (vec!["10".to_owned()], "0123456789")
    );
}

/// S46: each body has one framing, and it is hyper's.
#[tokio::test]
async fn bodies_are_framed_anew() {
    let upstream = Upstream::always(ok("{}"));
    let world = World::new(&upstream.origin).await;
    let stream = || chunks(vec!["hello ".into(), "world".into()], Duration::ZERO);
    let rows = [
        (
            ApiRequest::post("/a").json(&serde_json::json!({"a": 1})),
            Some("7"),
            r#"{"a":1}"#,
        ),
        (ApiRequest::post("/a"), Some("0"), ""),
        (ApiRequest::patch("/a").body(""), Some("0"), ""),
        (ApiRequest::delete("/a"), None, ""),
        (ApiRequest::delete("/a").body("x"), Some("1"), "x"),
        (
            ApiRequest::post("/a").stream(stream()),
            None,
            "6\r\nhello \r\n5\r\nworld\r\n0\r\n\r\n",
        ),
        (
            ApiRequest::put("/a").stream(Full::new(Bytes::from("abc"))),
            Some("3"),
            "abc",
        ),
    ];
    for (request, length, body) in rows {
        world.send(request).await.unwrap();
        let seen = upstream.seen().pop().unwrap();
        assert_eq!(
            seen.all("content-length").first().map(String::as_str),
            length,
            "{}",
            seen.head
        );
        assert_eq!(
            seen.all("transfer-encoding").len(),
            usize::from(body.ends_with("0\r\n\r\n")),
            "{}",
            seen.head
        );
        assert_eq!(seen.text(), body);
    }
}

/// Hosts send from spawned tasks.
#[tokio::test]
async fn a_call_can_move_between_threads() {
    fn movable<T: Send>(work: T) -> T {
        work
    }
    let upstream = Upstream::always(ok("{}"));
    let world = World::new(&upstream.origin).await;
    let body = chunks(vec!["x".into()], Duration::ZERO);
    let reply = movable(world.send(ApiRequest::post("/a").stream(body)))
        .await
        .unwrap();
    assert_eq!(movable(reply).status, 200);
}

#[tokio::test]
async fn connections_are_kept_and_their_answers_too() {
    let upstream = Upstream::always(ok("{}"));
    let world = World::new(&upstream.origin).await;
    for round in 0..20 {
        let reply = world.send(ApiRequest::get("/a")).await.unwrap();
        match round % 3 {
            0 => drop(reply),
            1 => assert_eq!(reply.text(LIMIT).await.unwrap(), "{}"),
            _ => {
                let json: serde_json::Value = reply.json(LIMIT).await.unwrap();
                assert!(json.is_object());
            }
        }
    }
    assert_eq!((upstream.calls(), upstream.connections()), (20, 1));
    assert!(upstream.seen().iter().all(|seen| seen.connection == 0));
}

/// Two accounts on two hosts at the same time: each host sees its own token and nothing else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_goes_to_its_own_origin_only() {
    let (one, two) = (Upstream::always(ok("1")), Upstream::always(ok("2")));
    let world = World::new(&one.origin).await;
    let other = world.connect(&two.origin).await;
    let calls = (0..200).map(|n| {
        let (world, other) = (&world, &other);
        async move {
            let (id, body) = if n % 2 == 0 {
                (&world.connection, "1")
            } else {
                (other, "2")
            };
            let reply = world
                .broker
                .connection(id)
                .send(ApiRequest::get("/a"))
                .await
                .unwrap();
            assert_eq!(reply.text(LIMIT).await.unwrap(), body);
        }
    });
    futures_util::future::join_all(calls).await;
    for (upstream, token) in [(&one, "Bearer access-1"), (&two, "Bearer access-2")] {
        let seen = upstream.seen();
        assert_eq!(seen.len(), 100);
        assert!(seen.iter().all(|seen| seen.all("authorization") == [token]));
    }
}

/// P34, P36: a caller's body that fails ends the call at the provider too, and is not sent again.
#[tokio::test]
async fn a_broken_upload_breaks_the_call() {
    let upstream = Upstream::always(ok("{}"));
    let world = World::new(&upstream.origin).await;
    let broken = |error: Result<Error, std::io::Error>| {
        let error: Box<dyn std::error::Error + Send + Sync> = match error {
            Ok(error) => Box::new(error),
            Err(error) => Box::new(error),
        };
        let begin = futures_util::stream::iter([Ok(Frame::data(Bytes::from("abc")))]);
        let end = futures_util::stream::once(async move {
            tokio::time::sleep(Duration::from_millis(50)).await;
            Err(error)
        });
        StreamBody::new(futures_util::StreamExt::chain(begin, end))
    };
    let cap = broken(Ok(Error::new(Code::BodyTooLarge)));
    assert_eq!(
        world.code(ApiRequest::post("/a").stream(cap)).await,
        "body_too_large"
    );
    let gone = broken(Err(std::io::Error::other("secret")));
    let error = world.send(ApiRequest::post("/a").stream(gone)).await.unwrap_err();
    assert_eq!(
        (error.code(), error.reason()),
        (Code::BodyInvalid, Some("stream"))
    );
    assert!(!format!("{error:?} {error}").contains("secret"));
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(
        upstream
            .seen()
            .iter()
            .all(|seen| seen.head.ends_with("x-cut-off: yes") && seen.text() == "3\r\nabc\r\n"),
        "{:?}",
        upstream.seen()
    );
    assert_eq!(upstream.calls(), 2);
}

/// A long upload may take longer than the time limit as long as it moves, and a stalled one may not.
#[tokio::test]
async fn uploads_are_judged_by_progress() {
    let upstream = Upstream::always(answer("201 Created", "", ""));
    let world = World::new(&upstream.origin).await;
    let pieces = vec![Bytes::from(vec![b'x'; 1000]); 12];
    let moving = chunks(pieces.clone(), Duration::from_millis(100));
    let request = ApiRequest::post("/a")
        .stream(moving)
        .timeout(Duration::from_millis(300));
    assert_eq!(world.send(request).await.unwrap().status, 201);
    let stalled = chunks(pieces, Duration::from_secs(30));
    let error = world
        .send(
            ApiRequest::post("/a")
                .stream(stalled)
                .timeout(Duration::from_millis(300)),
        )
        .await
        .unwrap_err();
    assert_eq!(
        (error.code(), error.reason()),
        (Code::UpstreamTimeout, Some("body_stalled"))
    );
}
