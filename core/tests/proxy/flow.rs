//! Tokens, refusals, second tries, limits.

use std::{io::Write as _, time::Duration};

use bytes::Bytes;
use grantry::{
    connection::{Reason, Status},
    error::{Advice, Code, Error, causes},
    event::What,
    id::IntegrationId,
    provider::{Failure, Verdict},
    proxy::ApiRequest,
};

use crate::{
    upstream::{Then, Upstream, answer, ok, refusal},
    wire::chunks,
    world::{Refresh, World},
};

const LIMIT: usize = 1 << 20;

/// A server that accepts one token only.
fn picky(accepted: &'static str) -> Upstream {
    Upstream::start(move |_, seen, stream, _| {
        let fine = seen.all("authorization") == [format!("Bearer {accepted}")];
        stream.write_all(&if fine { ok("[]") } else { refusal() })?;
        Ok(Then::Keep)
    })
}

/// A refused call did not run: it is sent once more with the new token, whatever its method.
#[tokio::test]
async fn a_refused_call_is_sent_once_more() {
    for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] {
        let upstream = picky("access-2");
        let world = World::limited(&upstream.origin, Some(100)).await;
        let body = if matches!(method, "GET" | "HEAD") {
            ""
        } else {
            r#"{"Name":"Acme"}"#
        };
        let request = ApiRequest::new(method, "/a?b=c")
            .header("If-Match", "x")
            .body(body);
        let reply = world.send(request).await.unwrap();
        assert_eq!(reply.status, 200, "{method}");
        let seen = upstream.seen();
        assert_eq!((seen.len(), world.refreshes()), (2, 1));
        assert_eq!(seen[0].all("authorization"), ["Bearer access-1"]);
        assert_eq!(seen[1].all("authorization"), ["Bearer access-2"]);
        assert_eq!(seen[0].line(), seen[1].line());
        assert_eq!((seen[0].text(), seen[1].text()), (body, body));
        assert_eq!(seen[1].all("if-match"), ["x"]);
        // The first try is not counted.
        assert_eq!(world.counted().await, 1, "{method}");
    }
}

/// A hundred refusals at the same time cause one refresh.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_refusals_one_refresh() {
    let upstream = picky("access-2");
    let world = World::new(&upstream.origin).await;
    let calls = (0..100).map(|_| async {
        assert_eq!(world.send(ApiRequest::get("/a")).await.unwrap().status, 200);
    });
    futures_util::future::join_all(calls).await;
    assert_eq!(world.refreshes(), 1);
    assert!(upstream.calls() <= 200);
}

/// P38: one refresh, one second try, and then the provider's own answer.
#[tokio::test]
async fn a_second_refusal_passes() {
    let upstream = Upstream::always(refusal());
    let world = World::new(&upstream.origin).await;
    let reply = world.send(ApiRequest::post("/a").body("x")).await.unwrap();
    assert_eq!(reply.status, 401);
    assert_eq!(
        reply.text(LIMIT).await.unwrap(),
        r#"[{"errorCode":"INVALID_SESSION_ID"}]"#
    );
    assert_eq!((upstream.calls(), world.refreshes()), (2, 1));
}

/// A refresh may name another instance: the second try goes there.
#[tokio::test]
async fn the_second_try_follows_the_instance() {
    let (old, new) = (picky("none"), picky("access-2"));
    let world = World::new(&old.origin).await;
    world.moves_to(&new.origin);
    assert_eq!(world.send(ApiRequest::get("/a")).await.unwrap().status, 200);
    assert_eq!((old.calls(), new.calls()), (1, 1));
    assert!(
        old.seen()
            .iter()
            .all(|seen| seen.all("authorization") == ["Bearer access-1"])
    );
}

#[tokio::test]
async fn a_short_stream_is_sent_once_more() {
    let upstream = picky("access-2");
    let world = World::new(&upstream.origin).await;
    let body = chunks(vec!["hello ".into(), "world".into()], Duration::from_millis(5));
    let reply = world.send(ApiRequest::post("/a").stream(body)).await.unwrap();
    assert_eq!(reply.status, 200);
    let seen = upstream.seen();
    assert_eq!(seen[0].text(), "6\r\nhello \r\n5\r\nworld\r\n0\r\n\r\n");
    // What was kept has a length.
    assert_eq!(
        (seen[1].text(), seen[1].all("content-length")),
        ("hello world", vec!["11".to_owned()])
    );
}

/// A long stream is gone: the refusal is handed back, but the token is new already for the next call.
#[tokio::test]
async fn a_long_stream_is_not_sent_again() {
    let upstream = picky("access-2");
    let world = World::new(&upstream.origin).await;
    let body = || chunks(vec![Bytes::from(vec![b'x'; 40_000]); 3], Duration::ZERO);
    let reply = world.send(ApiRequest::post("/a").stream(body())).await.unwrap();
    assert_eq!(reply.status, 401);
    assert_eq!((upstream.calls(), world.refreshes()), (1, 1));
    assert_eq!(
        world
            .send(ApiRequest::post("/a").stream(body()))
            .await
            .unwrap()
            .status,
        200
    );
    assert_eq!(world.refreshes(), 1);
}

/// If the token cannot be refreshed, the caller gets our answer and not the provider's 401.
#[tokio::test]
async fn a_failed_refresh_is_our_answer() {
    let dead = Failure::refused(Verdict::GrantDead, Reason::GrantExpiredOrRevoked);
    let later = Failure::refused(Verdict::MayPass, Reason::ServerUnavailable);
    let rows = [
        (dead, "connection_expired"),
        (later, "refresh_cooling"),
        (Failure::Unknown(Reason::AnswerLost), "refresh_outcome_unknown"),
    ];
    for (failure, code) in rows {
        let upstream = Upstream::always(refusal());
        let world = World::new(&upstream.origin).await;
        world.refresh(Refresh::Fails(failure));
        let error = world.send(ApiRequest::get("/a")).await.unwrap_err();
        assert_eq!(error.code().as_str(), code);
        let retry = matches!(error.advice(), Advice::Retry { after } if after > Duration::ZERO);
        assert_eq!(retry, code.starts_with("refresh"), "{error:?}");
        assert_eq!((upstream.calls(), world.refreshes()), (1, 1));
        // And no second call goes out with a token that is known to be refused.
        assert_eq!(world.code(ApiRequest::get("/a")).await, code);
        assert_eq!((upstream.calls(), world.refreshes()), (1, 1));
        let status = world
            .broker
            .connection(&world.connection)
            .view()
            .await
            .unwrap()
            .status;
        assert_eq!(status == Status::Expired, code == "connection_expired");
    }
}

/// An answer that was lost may have been a call that ran: only what can run twice is sent again, and once.
#[tokio::test]
async fn lost_answers() {
    let lost = || (Vec::new(), Then::Close);
    for (method, calls) in [
        ("GET", 2),
        ("HEAD", 2),
        ("POST", 1),
        ("PUT", 1),
        ("PATCH", 1),
        ("DELETE", 1),
    ] {
        let upstream = Upstream::script(vec![lost(), (ok(""), Then::Close)]);
        let world = World::limited(&upstream.origin, Some(10)).await;
        let outcome = world.send(ApiRequest::new(method, "/a")).await;
        match calls {
            1 => assert_eq!(outcome.unwrap_err().code(), Code::UpstreamLost, "{method}"),
            _ => assert_eq!(outcome.unwrap().status, 200, "{method}"),
        }
        assert_eq!((upstream.calls(), world.counted().await), (calls, 1), "{method}");
    }
    let upstream = Upstream::script(vec![lost()]);
    let world = World::new(&upstream.origin).await;
    assert_eq!(world.code(ApiRequest::get("/a")).await, "upstream_lost");
    assert_eq!(upstream.calls(), 2);
}

/// What the network said is in the cause, for the log, and names nothing of the call.
#[tokio::test]
async fn causes_of_calls_that_got_no_answer() {
    let call = || ApiRequest::post("/a-path").query("q", "a-query").body("a-body");
    // Nobody listens there.
    let world = World::new("http://127.0.0.1:1").await;
    let unreachable = world.send(call()).await.unwrap_err();
    let upstream = Upstream::script(vec![(Vec::new(), Then::Close)]);
    let world = World::new(&upstream.origin).await;
    let lost = world.send(call()).await.unwrap_err();
    for (error, code, cause) in [
        (unreachable, Code::UpstreamUnreachable, "refused"),
        (lost, Code::UpstreamLost, "connection closed"),
    ] {
        assert_eq!(error, Error::new(code));
        let causes = causes(&error);
        assert!(causes.contains(cause), "{causes}");
        assert!(!causes.contains("a-"), "{causes}");
        assert!(!format!("{error} {error:?}").contains(cause), "{error:?}");
    }
}

/// A connection that the provider closed while it was idle costs nobody a call, POST included.
#[tokio::test]
async fn a_connection_that_closed_while_idle() {
    let upstream = Upstream::script(vec![(ok("{}"), Then::Close)]);
    let world = World::new(&upstream.origin).await;
    for _ in 0..3 {
        let reply = world.send(ApiRequest::post("/a").body("x")).await.unwrap();
        assert_eq!(reply.status, 200);
        drop(reply);
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    assert_eq!((upstream.calls(), upstream.connections()), (3, 3));
}

/// P42: refused and counted by nobody.
#[tokio::test]
async fn the_plan_limit() {
    let upstream = Upstream::always(ok("{}"));
    let world = World::limited(&upstream.origin, Some(2)).await;
    for _ in 0..2 {
        world.send(ApiRequest::get("/a")).await.unwrap();
    }
    let error = world.send(ApiRequest::get("/a")).await.unwrap_err();
    assert_eq!(error.code(), Code::PlanLimitExceeded);
    assert_eq!(error.plan().map(|plan| (plan.limit, plan.used)), Some((2, 2)));
    assert_eq!((upstream.calls(), world.counted().await), (2, 2));
}

/// A call that was certainly not sent is not counted.
#[tokio::test]
async fn unreachable_calls_are_not_counted() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let world = World::limited(&format!("http://{closed}"), Some(5)).await;
    for _ in 0..10 {
        assert_eq!(
            world.code(ApiRequest::post("/a").body("x")).await,
            "upstream_unreachable"
        );
    }
    assert_eq!(world.counted().await, 0);
}

/// P43 and S47 at the last gate: whatever the token set names, no private address is dialled.
#[tokio::test]
async fn private_targets() {
    let upstream = Upstream::always(ok("{}"));
    let port = upstream.origin.rsplit(':').next().unwrap();
    for origin in [
        format!("https://localhost:{port}"),
        format!("http://localhost:{port}"),
        format!("https://127.1:{port}"),
        format!("https://2130706433:{port}"),
        format!("https://0x7f.1:{port}"),
        "https://10.0.0.1".to_owned(),
        "https://169.254.169.254".to_owned(),
        format!("https://[::ffff:127.0.0.1]:{port}"),
        format!("http://user@127.0.0.1:{port}"),
        format!("http://127.0.0.1:{port}/x"),
    ] {
        let world = World::new(&origin).await;
        assert_eq!(
            world.code(ApiRequest::get("/a")).await,
            "target_address_forbidden",
            "{origin}"
        );
        assert_eq!(world.counted().await, 0);
    }
    assert_eq!(upstream.connections(), 0);
}

#[tokio::test]
async fn what_does_not_speak_tls_gets_no_call() {
    let upstream = Upstream::start(|_, _, _, _| panic!("a request arrived"));
    // It answers a hello with what is no TLS.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let _ = (&stream).write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    let world = World::limited(&format!("https://{address}"), Some(5)).await;
    assert_eq!(world.code(ApiRequest::get("/a")).await, "upstream_tls");
    assert_eq!((upstream.connections(), world.counted().await), (0, 0));
}

#[tokio::test]
async fn a_connection_of_another_integration_sends_nothing() {
    let upstream = Upstream::always(ok("{}"));
    let world = World::new(&upstream.origin).await;
    let here = world
        .broker
        .integration(&world.integration)
        .connection(&world.connection);
    assert_eq!(here.send(ApiRequest::get("/a")).await.unwrap().status, 200);
    let other = world.broker.integration(IntegrationId::generate());
    let error = other
        .connection(&world.connection)
        .send(ApiRequest::get("/a"))
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::IntegrationMismatch);
    assert_eq!(upstream.calls(), 1);
}

/// A limit that the provider reports passes raw, and is told once until a call gets through again.
#[tokio::test]
async fn the_providers_limit() {
    let limited = || {
        (
            answer(
                "403 Forbidden",
                "Retry-After: 7\r\n",
                r#"[{"errorCode":"LIMIT"}]"#,
            ),
            Then::Keep,
        )
    };
    let upstream = Upstream::script(vec![limited(), limited(), (ok("{}"), Then::Keep), limited()]);
    let world = World::new(&upstream.origin).await;
    for (status, told) in [(403, 1), (403, 1), (200, 1), (403, 2)] {
        let reply = world.send(ApiRequest::get("/a")).await.unwrap();
        assert_eq!(reply.status, status);
        if status == 403 {
            assert_eq!(reply.headers["retry-after"], "7");
            assert_eq!(reply.text(LIMIT).await.unwrap(), r#"[{"errorCode":"LIMIT"}]"#);
        }
        assert_eq!(world.events(&What::ProviderLimitReached), told);
    }
}

#[tokio::test]
async fn usage_that_answers_tell_is_written_down() {
    let upstream = Upstream::start(|number, _, stream, _| {
        stream.write_all(&answer("200 OK", &format!("X-Usage: {number}/15000\r\n"), ""))?;
        Ok(Then::Keep)
    });
    let world = World::new(&upstream.origin).await;
    for _ in 0..5 {
        world.send(ApiRequest::get("/a")).await.unwrap();
    }
    world.broker.shutdown(Duration::from_secs(5)).await;
    let hot = world.hot().await;
    assert_eq!(hot.api_usage, Some((5, 15_000)));
    assert!(hot.last_active_at.is_some());
}
