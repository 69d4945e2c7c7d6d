//! The end of a host: what runs is finished and stored. And what operators look at while it lives.

use std::sync::Arc;

use grantry_salesforce_simulator::{TokenFault, TokenFaultKind};
use reqwest::Method;
use rustix::process::Signal;
use serde_json::json;
use tokio::{io::AsyncWriteExt as _, net::TcpStream};

use crate::support::{World, eventually};

const SARAH: &str = "sarah@acme.com";

/// Whether a caller waits or has left, a refresh that was sent is stored before the host ends.
#[tokio::test]
async fn a_running_refresh_is_stored_before_the_end() {
    for patient in [true, false] {
        let world = World::new().await;
        let mut host = world.launch().start().await;
        let integration = world.integrate(&host, json!({})).await;
        let key = &integration.api_key;
        let id = world.connect(&host, &integration, SARAH).await;
        let etag = host
            .credentials(&id, key)
            .await
            .expect(200)
            .header("etag")
            .replace('"', "");
        world
            .simulator
            .add_token_fault(TokenFault::next_refresh(TokenFaultKind::Late {
                ms: 1500,
                close: false,
            }));
        let path = format!("/api/v1/connections/{id}/credentials?refused={etag}");
        let answer = {
            let waiting = host.get(&path, key);
            let sent = eventually("the token is presented", || async {
                (!world.simulator.report(0).in_flight.is_empty()).then_some(())
            });
            let (mut waiting, mut sent) = (Box::pin(waiting), Box::pin(sent));
            tokio::select! {
                answer = &mut waiting => panic!("too early: {answer:?}"),
                () = &mut sent => {}
            }
            host.signal(Signal::TERM);
            if patient { Some(waiting.await) } else { None }
        };
        assert!(host.ended().await.success());
        assert_eq!(world.presentations().len(), 1);

        let again = world
            .launch()
            .argument("--public-url")
            .argument(&host.base_url)
            .start()
            .await;
        let served = again.credentials(&id, key).await.expect(200);
        assert_eq!(served.header("etag"), "\"1.2\"");
        if let Some(answer) = answer {
            assert_eq!(
                answer.expect(200).field("accessToken"),
                served.field("accessToken")
            );
        }
        let call = json!({ "method": "GET", "path": "/services/data/v66.0/limits" });
        again.proxy(&id, key, &call).await.expect(200);
        assert_eq!(world.presentations().len(), 1);
    }
}

#[tokio::test]
async fn clients_that_do_not_finish_are_cut_off() {
    let world = World::new().await;
    let mut host = world
        .launch()
        .argument("--drain-seconds")
        .argument("1")
        .start()
        .await;
    let mut half = TcpStream::connect(host.address()).await.unwrap();
    half.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n")
        .await
        .unwrap();
    let mut idle = TcpStream::connect(host.address()).await.unwrap();
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    host.admin(Method::GET, "/api/v1/offerings", None)
        .await
        .expect(200);
    assert!(host.terminate().await.success());
}

#[tokio::test]
async fn operators_find_health_metrics_and_the_description() {
    let world = World::new().await;
    let host = Arc::new(world.launch().start().await);
    let integration = world.integrate(&host, json!({})).await;
    let id = world.connect(&host, &integration, SARAH).await;
    host.get(
        &format!("/api/v1/connections/{id}/credentials?refused=1.1"),
        &integration.api_key,
    )
    .await
    .expect(200);
    let open = async |path: &str| {
        host.try_call(Method::GET, path, None, None)
            .await
            .unwrap()
            .expect(200)
    };
    assert_eq!(open("/healthz").await.text, "ok");
    assert_eq!(open("/readyz").await.text, "ready");
    let metrics = open("/metrics").await.text;
    for line in [
        r#"grantry_http_requests{route="/api/v1/connections/{id}/credentials",status="200"} 1"#,
        r#"grantry_http_requests{route="/callback/{integrationId}",status="303"} 1"#,
        r#"grantry_presentations{attempt="first"} 1"#,
        r#"grantry_refreshes{outcome="ok"} 1"#,
    ] {
        assert!(metrics.contains(line), "no {line} in:\n{metrics}");
    }
    let document = open("/openapi.json").await.json();
    assert_eq!(document["openapi"], "3.1.0");
    for route in grantry::http::routes() {
        // OpenAPI knows no parameter over several segments.
        let path = route.template.replace("...}", "}");
        assert!(document["paths"].get(&path).is_some(), "{path} is not described");
    }
}
