//! Calls to the provider, described in JSON or passed through. What happens on the wire is proved by the proxy's own
//! tests; here it is about what the surface makes of requests and answers.

use std::{io::Write as _, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt as _, StreamBody};
use serde_json::{Value, json};

use crate::{
    ask::Ask,
    fake::{dead, unavailable},
    upstream::{Then, Upstream, answer, ok, refusal},
    world::{Setup, World},
};

const JSON: &str = "/api/v1/proxy/fake";

async fn connected(upstream: &Upstream) -> (World, String) {
    let world = World::at(&upstream.origin).await;
    let id = world.connect("ann@acme.example").await.to_string();
    (world, id)
}

fn call(world: &World, id: &str, body: Value) -> Ask {
    world.api("POST", JSON).header("x-connection-id", id).json(body)
}

#[tokio::test]
async fn a_described_call_is_sent_and_answered_unchanged() {
    let upstream = Upstream::always(answer(
        "200 OK",
        "Content-Type: application/json;charset=UTF-8\r\nSforce-Limit-Info: api-usage=1/2\r\nSet-Cookie: a=b\r\n",
        r#"{"records":[ 1,2.50 ]}"#,
    ));
    let (world, id) = connected(&upstream).await;
    let body = json!({
        "method": "GET",
        "path": "/services/data/v59.0/query?a=1",
        "query": { "q": "SELECT Id FROM Account WHERE Name = 'é&'", "n": 20, "big": 12_345_678_901_234_567_890_u64, "b": true, "none": null },
        "data": { "left": "out" },
    });
    let got = call(&world, &id, body).send().await;
    assert_eq!(
        (got.status.as_u16(), got.text()),
        (200, r#"{"records":[ 1,2.50 ]}"#)
    );
    assert_eq!(got.header("content-type"), "application/json;charset=UTF-8");
    assert_eq!(got.header("sforce-limit-info"), "api-usage=1/2");
    assert_eq!(got.header("set-cookie"), "");
    let seen = &upstream.seen()[0];
    let line = seen.line();
    let path = "GET /services/data/v59.0/query?a=1&";
    assert!(line.starts_with(path), "{line}");
    for pair in [
        "q=SELECT%20Id%20FROM%20Account%20WHERE%20Name%20%3D%20%27%C3%A9%26%27",
        "n=20",
        "big=12345678901234567890",
        "b=true",
    ] {
        assert!(line.contains(pair), "{line}");
    }
    assert!(!line.contains("none"));
    assert_eq!(seen.all("authorization"), ["Bearer access-1"]);
    assert!(seen.body.is_empty());
    assert!(seen.all("x-connection-id").is_empty());
}

/// Order and spelling of what is sent stay as the caller wrote them.
#[tokio::test]
async fn data_is_sent_as_it_was_written() {
    let upstream = Upstream::always(ok("{}"));
    let (world, id) = connected(&upstream).await;
    let data = r#"{"z": 1.0, "a": 12345678901234567890123, "e": 1e2, "s": "\u00e9"}"#;
    let text =
        format!(r#"{{"path": "/x", "query": {{"z": 1.50, "a": 1e2}}, "data": {data}, "method": "POST"}}"#);
    let ask = world
        .api("POST", JSON)
        .header("x-connection-id", &id)
        .header("content-type", "application/json");
    assert_eq!(ask.body(text).send().await.status, 200);
    let seen = &upstream.seen()[0];
    assert_eq!(seen.line(), "POST /x?z=1.50&a=1e2 HTTP/1.1");
    assert_eq!(seen.text(), data);
    assert_eq!(seen.all("content-type"), ["application/json"]);
    for (method, data, sent) in [
        ("PATCH", json!([1]), "[1]"),
        ("PUT", json!("x"), "\"x\""),
        ("POST", json!(null), ""),
        ("DELETE", json!({}), "{}"),
    ] {
        call(
            &world,
            &id,
            json!({ "method": method, "path": "/x", "query": null, "data": data }),
        )
        .send()
        .await;
        let seen = upstream.seen().pop().unwrap();
        assert_eq!(
            (seen.line().split(' ').next().unwrap(), seen.text()),
            (method, sent)
        );
    }
}

#[tokio::test]
async fn answers_keep_status_type_and_body() {
    let rows = [
        (
            "201 Created",
            "Content-Type: application/json\r\n",
            r#"{"id":"1"}"#,
            201,
            "application/json",
        ),
        (
            "400 Bad Request",
            "Content-Type: application/json\r\n",
            r#"[{"errorCode":"MALFORMED_QUERY"}]"#,
            400,
            "application/json",
        ),
        (
            "404 Not Found",
            "Content-Type: application/json\r\n",
            r#"[{"errorCode":"NOT_FOUND"}]"#,
            404,
            "application/json",
        ),
        (
            "500 Oops",
            "Content-Type: text/html\r\n",
            "<h1>x</h1>",
            500,
            "text/html",
        ),
        ("200 OK", "Content-Type: text/csv\r\n", "a,b", 200, "text/csv"),
        ("302 Found", "Location: https://elsewhere.test/\r\n", "", 302, ""),
        (
            "403 Forbidden",
            "Content-Type: application/json\r\n",
            r#"[{"errorCode":"REQUEST_LIMIT_EXCEEDED"}]"#,
            403,
            "application/json",
        ),
        (
            "503 Busy",
            "Content-Type: application/json\r\nRetry-After: 9\r\n",
            "[]",
            503,
            "application/json",
        ),
    ];
    for (status, headers, body, expected, content_type) in rows {
        let upstream = Upstream::always(answer(status, headers, body));
        let (world, id) = connected(&upstream).await;
        let got = call(&world, &id, json!({ "method": "GET", "path": "/x" }))
            .send()
            .await;
        assert_eq!(
            (got.status.as_u16(), got.text(), got.header("content-type")),
            (expected, body, content_type)
        );
        assert_eq!(got.header("cache-control"), "no-store");
        let raw = world
            .api("GET", &format!("/api/v1/connections/{id}/proxy/x"))
            .send()
            .await;
        assert_eq!(
            (raw.status.as_u16(), raw.text(), raw.header("content-type")),
            (expected, body, content_type)
        );
        assert_eq!(upstream.calls(), 2, "nothing is followed or repeated");
    }
}

/// The only form of 204 that the published client reads as success.
#[tokio::test]
async fn no_content_has_a_content_type() {
    for headers in ["", "Content-Type: text/plain\r\n"] {
        let upstream = Upstream::always(format!("HTTP/1.1 204 No Content\r\n{headers}\r\n"));
        let (world, id) = connected(&upstream).await;
        let got = call(&world, &id, json!({ "method": "DELETE", "path": "/x" }))
            .send()
            .await;
        assert_eq!((got.status.as_u16(), got.body.len()), (204, 0));
        assert_eq!(got.header("content-type"), "application/json");
        assert_eq!(got.headers.get_all("content-type").iter().count(), 1);
    }
}

#[tokio::test]
async fn calls_that_are_never_sent() {
    let upstream = Upstream::always(ok("{}"));
    let (world, id) = connected(&upstream).await;
    let get = |path: &str| json!({ "method": "GET", "path": path });
    let rows = [
        (get(""), 400, "path_empty"),
        (get("services/data"), 400, "path_not_absolute"),
        (get("//evil.test/x"), 400, "path_has_authority"),
        (get("https://evil.test/x"), 400, "path_not_absolute"),
        (get("/\\evil.test/x"), 400, "path_backslash"),
        (get("/a\r\nX: y"), 400, "path_control_byte"),
        (get("/a%0d%0aX:y"), 400, "path_encoded_control"),
        (get("/services/../secur"), 400, "path_dot_segment"),
        (get("/services/%2e%2e/x"), 400, "path_dot_segment"),
        (get("/..%2fx"), 400, "path_encoded_separator"),
        (get("/%zz"), 400, "path_bad_percent"),
        (get("/a#frag"), 400, "path_fragment"),
        (get("/é"), 400, "path_not_ascii"),
        (get(&format!("/{}", "x".repeat(9000))), 414, "path_too_long"),
        (get("/a//b"), 400, "path_empty_segment"),
        (
            json!({ "method": "GET", "path": "/a", "query": { "access_token": "x" } }),
            400,
            "query_reserved",
        ),
        (
            json!({ "method": "GET", "path": "/a", "query": { "q": [1] } }),
            400,
            "field_invalid",
        ),
        (
            json!({ "method": "GET", "path": "/a", "query": { "q": { "canary": 1 } } }),
            400,
            "field_invalid",
        ),
        (
            json!({ "method": "GET", "path": "/a", "query": "q=1" }),
            400,
            "field_invalid",
        ),
        (json!({ "method": "TRACE", "path": "/a" }), 400, "field_invalid"),
        (json!({ "method": "HEAD", "path": "/a" }), 400, "field_invalid"),
        (json!({ "method": "get", "path": "/a" }), 400, "field_invalid"),
        (json!({ "method": "G ET", "path": "/a" }), 400, "field_invalid"),
        (json!({ "method": "", "path": "/a" }), 400, "field_invalid"),
        (json!({ "method": null, "path": "/a" }), 400, "field_invalid"),
        (json!({ "path": "/a" }), 400, "field_missing"),
        (json!({ "method": "GET" }), 400, "field_missing"),
        (json!({ "method": "GET", "path": 7 }), 400, "field_invalid"),
        (
            json!({ "method": "GET", "path": "/a", "baseUrl": "https://evil.test" }),
            400,
            "field_unknown",
        ),
        (json!([]), 400, "body_invalid"),
    ];
    for (body, status, code) in rows {
        let got = call(&world, &id, body).refused(status, code).await;
        assert!(
            !got.text().contains("evil") && !got.text().contains("canary"),
            "{}",
            got.text()
        );
    }
    let good = json!({ "method": "GET", "path": "/x" });
    world
        .api("POST", JSON)
        .json(good.clone())
        .refused(400, "connection_id_missing")
        .await;
    call(&world, "", good.clone()).refused(400, "id_empty").await;
    call(&world, "a b", good.clone())
        .refused(400, "id_invalid_character")
        .await;
    call(&world, "con_unknown", good.clone())
        .refused(404, "connection_not_found")
        .await;
    call(&world, &id, good.clone())
        .header("x-connection-id", &id)
        .refused(400, "header_duplicate")
        .await;
    let other = world
        .api("POST", "/api/v1/proxy/hubspot")
        .header("x-connection-id", &id);
    other.json(good.clone()).refused(400, "provider_mismatch").await;
    let (_, key) = world.another().await;
    let foreign = world.bare("POST", JSON).key(&key).header("x-connection-id", &id);
    foreign.json(good).refused(403, "integration_mismatch").await;
    assert_eq!(upstream.calls(), 0);
}

#[tokio::test]
async fn bodies_of_up_to_6_mib() {
    let upstream = Upstream::always(ok("{}"));
    let (world, id) = connected(&upstream).await;
    let body = |size: usize| json!({ "method": "POST", "path": "/x", "data": "x".repeat(size) });
    assert_eq!(call(&world, &id, body(5 << 20)).send().await.status, 200);
    call(&world, &id, body(6 << 20))
        .refused(413, "body_too_large")
        .await;
}

#[tokio::test]
async fn a_refused_token_is_cured_once() {
    let upstream = Upstream::script(vec![(refusal(), Then::Keep), (ok(r#"{"id":1}"#), Then::Keep)]);
    let (world, id) = connected(&upstream).await;
    let got = call(&world, &id, json!({ "method": "POST", "path": "/x", "data": {} }))
        .send()
        .await;
    assert_eq!((got.status.as_u16(), got.text()), (200, r#"{"id":1}"#));
    assert_eq!((upstream.calls(), world.fake.calls("refresh")), (2, 1));
    // A 401 that no refresh cures passes raw.
    let upstream = Upstream::always(refusal());
    let (world, id) = connected(&upstream).await;
    let got = call(&world, &id, json!({ "method": "GET", "path": "/x" }))
        .send()
        .await;
    assert_eq!(
        (got.status.as_u16(), got.json()),
        (401, json!([{ "errorCode": "INVALID_SESSION_ID" }]))
    );
    assert_eq!((upstream.calls(), world.fake.calls("refresh")), (2, 1));
}

/// If the token was refused and cannot be refreshed now, the answer is ours, not the provider's 401.
#[tokio::test]
async fn a_refused_token_that_cannot_be_cured() {
    for (plan, status, code) in [
        (dead(), 401, "connection_expired"),
        (unavailable(), 503, "refresh_cooling"),
    ] {
        let upstream = Upstream::always(refusal());
        let (world, id) = connected(&upstream).await;
        world.fake.plan("refresh", plan);
        let got = call(&world, &id, json!({ "method": "GET", "path": "/x" }))
            .refused(status, code)
            .await;
        if status == 401 {
            assert!(got.json()["reconnectUrl"].as_str().unwrap().contains("?link="));
        } else {
            assert!(!got.header("retry-after").is_empty());
        }
        let target = format!("/api/v1/connections/{id}/proxy/x");
        world.api("PATCH", &target).body("x").refused(status, code).await;
    }
}

#[tokio::test]
async fn the_plan_limit() {
    let upstream = Upstream::always(ok("{}"));
    let world = World::with(Setup {
        instance: upstream.origin.clone(),
        monthly_limit: Some(2),
        ..Setup::default()
    })
    .await;
    let id = world.connect("ann@acme.example").await.to_string();
    let get = || call(&world, &id, json!({ "method": "GET", "path": "/x" }));
    assert_eq!(get().send().await.status, 200);
    assert_eq!(
        world
            .api("GET", &format!("/api/v1/connections/{id}/proxy/x"))
            .send()
            .await
            .status,
        200
    );
    for _ in 0..2 {
        let got = get().refused(429, "plan_limit_exceeded").await;
        let body = got.json();
        assert_eq!(
            (&body["planLimit"], &body["currentUsage"]),
            (&json!(2), &json!(2))
        );
        assert_eq!(body["offerings"], json!(["fake/production", "fake/sandbox"]));
        // Until the first of May.
        assert_eq!(got.header("retry-after"), "1762080");
    }
    assert_eq!(upstream.calls(), 2, "refused calls reach nobody");
    let usage = world.get("/api/v1/usage").await;
    assert_eq!((&usage["calls"], &usage["limit"]), (&json!(2), &json!(2)));
    assert_eq!(usage["days"], json!([{ "date": "2026-04-10", "calls": 2 }]));
}

#[tokio::test]
async fn a_provider_that_cannot_be_reached() {
    let world = World::at("http://127.0.0.1:9").await;
    let id = world.connect("ann@acme.example").await.to_string();
    let got = call(&world, &id, json!({ "method": "GET", "path": "/x" }))
        .refused(502, "upstream_unreachable")
        .await;
    assert!(
        !got.header("retry-after").is_empty(),
        "nothing was sent, so it may be sent again"
    );
    // An answer that is lost: whether the call ran is not known, and nothing invites to repeat it.
    let upstream = Upstream::start(|_, _, _, _| Ok(Then::Close));
    let (world, id) = connected(&upstream).await;
    let got = call(&world, &id, json!({ "method": "POST", "path": "/x" }))
        .refused(502, "upstream_lost")
        .await;
    assert_eq!((got.header("retry-after"), upstream.calls()), ("", 1));
}

#[tokio::test]
async fn a_provider_that_takes_too_long() {
    let upstream = Upstream::start(|_, _, _, _| {
        std::thread::sleep(Duration::from_secs(4));
        Ok(Then::Close)
    });
    let world = World::with(Setup {
        instance: upstream.origin.clone(),
        deadline: Duration::from_secs(1),
        ..Setup::default()
    })
    .await;
    let id = world.connect("ann@acme.example").await.to_string();
    call(&world, &id, json!({ "method": "GET", "path": "/x" }))
        .refused(504, "upstream_timeout")
        .await;
    world
        .api("GET", &format!("/api/v1/connections/{id}/proxy/x"))
        .refused(504, "upstream_timeout")
        .await;
}

#[tokio::test]
async fn raw_calls_pass_as_they_are() {
    let upstream = Upstream::always(answer(
        "200 OK",
        "Content-Type: image/png\r\nETag: \"x\"\r\n",
        "\u{1}\u{2}",
    ));
    let (world, id) = connected(&upstream).await;
    let base = format!("/api/v1/connections/{id}/proxy");
    for (method, path, line) in [
        (
            "GET",
            "/services/data/v59.0/query?q=a%20b+c&r",
            "/services/data/v59.0/query?q=a%20b+c&r",
        ),
        ("DELETE", "/x/", "/x/"),
        ("PUT", "/a%C3%A9;v=1", "/a%C3%A9;v=1"),
        ("HEAD", "/x", "/x"),
        ("GET", "/", "/"),
    ] {
        let got = world.api(method, &format!("{base}{path}")).send().await;
        assert_eq!(got.status, 200, "{method} {path}");
        assert_eq!(
            (got.header("content-type"), got.header("etag")),
            ("image/png", "\"x\"")
        );
        let seen = upstream.seen().pop().unwrap();
        assert_eq!(seen.line(), format!("{method} {line} HTTP/1.1"));
    }
    let ask = world
        .api("POST", &format!("{base}/x"))
        .header("content-type", "text/csv")
        .header("fake-option", "false");
    ask.header("cookie", "a=b")
        .header("content-length", "7")
        .body("a,b\n1,2")
        .send()
        .await;
    let seen = upstream.seen().pop().unwrap();
    assert_eq!(
        (seen.text(), seen.all("content-type")),
        ("a,b\n1,2", vec!["text/csv".to_owned()])
    );
    assert_eq!(seen.all("fake-option"), ["false"]);
    assert!(seen.all("cookie").is_empty());
    assert_eq!(seen.all("authorization"), ["Bearer access-1"]);

    let calls = upstream.calls();
    for (method, path, status, code) in [
        ("GET", "", 400, "path_empty"),
        ("GET", "//evil.test/", 400, "path_has_authority"),
        ("GET", "/a/../b", 400, "path_dot_segment"),
        ("GET", "/a?access_token=x", 400, "query_reserved"),
    ] {
        world
            .api(method, &format!("{base}{path}"))
            .refused(status, code)
            .await;
    }
    world
        .api("GET", &format!("{base}/x"))
        .header("content-length", "1")
        .body("x")
        .refused(400, "body_not_allowed")
        .await;
    for method in ["TRACE", "OPTIONS", "CONNECT", "FOO"] {
        let got = world
            .api(method, &format!("{base}/x"))
            .refused(405, "method_not_allowed")
            .await;
        assert_eq!(got.header("allow"), "GET, HEAD, POST, PUT, PATCH, DELETE");
    }
    assert_eq!(upstream.calls(), calls);
}

/// Both ways in pieces: 32 MiB up while nothing is buffered whole, and an answer that begins before it ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn raw_bodies_stream() {
    let upstream = Upstream::start(|_, seen, stream, _| {
        write!(
            stream,
            "HTTP/1.1 200 OK\r\nX-Received: {}\r\nContent-Length: 6\r\n\r\nabc",
            seen.body.len()
        )?;
        stream.flush()?;
        std::thread::sleep(Duration::from_millis(300));
        stream.write_all(b"def")?;
        Ok(Then::Keep)
    });
    let (world, id) = connected(&upstream).await;
    let chunks =
        (0..512).map(|_| Ok::<_, std::io::Error>(http_body::Frame::data(Bytes::from(vec![b'x'; 64 * 1024]))));
    let body = StreamBody::new(futures_util::stream::iter(chunks));
    let request = http::Request::post(format!("/api/v1/connections/{id}/proxy/upload"))
        .header("authorization", format!("Bearer {}", world.api_key))
        .body(body)
        .unwrap();
    let response = world.service.handle(request).await;
    assert_eq!(response.status(), 200);
    let received: usize = response.headers()["x-received"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!(received >= 32 << 20, "{received}");
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "abcdef");

    // A caller that breaks off breaks the call off.
    let broken = StreamBody::new(futures_util::stream::iter([
        Ok(http_body::Frame::data(Bytes::from_static(b"x"))),
        Err(std::io::Error::other("canary")),
    ]));
    let request = http::Request::post(format!("/api/v1/connections/{id}/proxy/upload"))
        .header("authorization", format!("Bearer {}", world.api_key))
        .body(broken)
        .unwrap();
    let response = world.service.handle(request).await;
    assert_eq!(response.status(), 400);
    let text = response.into_body().collect().await.unwrap().to_bytes();
    assert!(text.starts_with(b"{\"error\":\"body_invalid\""), "{text:?}");
}
