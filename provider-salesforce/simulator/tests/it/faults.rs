//! Each fault of the token endpoint.

use std::time::Duration;

use grantry_salesforce_simulator::{Outcome, Presentation, TokenFault, TokenFaultKind};
use serde_json::Value;

use crate::support::{Lab, Tokens};

async fn with_fault(kind: TokenFaultKind) -> (Lab, Tokens) {
    let lab = Lab::start().await;
    lab.simulator.add_token_fault(TokenFault::next_refresh(kind));
    let tokens = lab.grant();
    (lab, tokens)
}

fn only_entry(lab: &Lab) -> Presentation {
    let log = lab.simulator.log();
    assert_eq!(log.len(), 1, "{log:?}");
    log[0].clone()
}

/// The token was rotated although the client got nothing: its next try ends the family.
async fn is_spent(lab: &Lab, tokens: &Tokens, fault: &str) {
    let entry = only_entry(lab);
    assert_eq!(
        (entry.result, entry.fault.as_deref()),
        (Outcome::Granted, Some(fault))
    );
    assert_eq!(lab.simulator.families()[0].generation, 2);
    assert_eq!(lab.refresh(&tokens.refresh).await.0, 400);
    let last = lab.simulator.log().pop().unwrap();
    assert_eq!(
        (last.result, last.family_revoked, last.in_flight_overlap),
        (Outcome::Reused, true, false)
    );
}

/// The token is as good as before.
async fn is_unspent(lab: &Lab, tokens: &Tokens, fault: &str) {
    let entry = only_entry(lab);
    assert_eq!(
        (entry.result, entry.fault.as_deref()),
        (Outcome::NotProcessed, Some(fault))
    );
    assert_eq!(lab.refresh(&tokens.refresh).await.0, 200);
}

#[tokio::test]
async fn errors_on_order() {
    let (lab, tokens) = with_fault(TokenFaultKind::Error {
        error: "server_error".into(),
        error_description: "come back".into(),
        status: 429,
        retry_after: Some(7),
    })
    .await;
    let (status, body) = lab.refresh(&tokens.refresh).await;
    assert_eq!((status, body["error"].as_str()), (429, Some("server_error")));
    is_unspent(&lab, &tokens, "error").await;
}

#[tokio::test]
async fn lost_answers_and_lost_requests() {
    let (lab, tokens) = with_fault(TokenFaultKind::AnswerLost).await;
    assert!(lab.try_refresh(&tokens.refresh).await.is_err());
    is_spent(&lab, &tokens, "answer_lost").await;
    let (lab, tokens) = with_fault(TokenFaultKind::RequestLost).await;
    assert!(lab.try_refresh(&tokens.refresh).await.is_err());
    is_unspent(&lab, &tokens, "request_lost").await;
}

#[tokio::test]
async fn hanging_requests() {
    for processed in [false, true] {
        let (lab, tokens) = with_fault(TokenFaultKind::Hang { processed }).await;
        let hanging = lab.try_refresh(&tokens.refresh);
        assert!(
            tokio::time::timeout(Duration::from_millis(200), hanging)
                .await
                .is_err()
        );
        // The connection is gone only once the server has seen it.
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(lab.simulator.report(0).in_flight.is_empty());
        if processed {
            is_spent(&lab, &tokens, "hang").await;
        } else {
            is_unspent(&lab, &tokens, "hang").await;
        }
        lab.simulator.shutdown().await;
    }
}

#[tokio::test]
async fn an_open_hanging_request_counts_as_in_flight() {
    let (lab, tokens) = with_fault(TokenFaultKind::Hang { processed: false }).await;
    let hanging = lab.try_refresh(&tokens.refresh);
    let second = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(lab.simulator.report(0).in_flight.len(), 1);
        lab.refresh(&tokens.refresh).await
    };
    tokio::select! {
        _ = hanging => panic!("it was to hang"),
        (status, _) = second => assert_eq!(status, 200),
    }
    assert!(lab.simulator.log()[1].in_flight_overlap);
}

#[tokio::test]
async fn dripping_and_truncated_answers() {
    let (lab, tokens) = with_fault(TokenFaultKind::Drip { ms: 1 }).await;
    let (status, body) = lab.refresh(&tokens.refresh).await;
    assert_eq!(status, 200);
    assert!(body["refresh_token"].is_string());
    assert_eq!(only_entry(&lab).fault.as_deref(), Some("drip"));

    let (lab, tokens) = with_fault(TokenFaultKind::Truncated).await;
    assert!(lab.try_refresh(&tokens.refresh).await.is_err());
    is_spent(&lab, &tokens, "truncated").await;
}

#[tokio::test]
async fn pages_and_redirects() {
    let (lab, tokens) = with_fault(TokenFaultKind::Html503).await;
    let (status, body) = lab.refresh(&tokens.refresh).await;
    assert_eq!(status, 503);
    assert!(body.as_str().unwrap().contains("<html>"));
    is_unspent(&lab, &tokens, "html_503").await;

    let (lab, tokens) = with_fault(TokenFaultKind::FailedAfterCommit { status: 502 }).await;
    assert_eq!(lab.refresh(&tokens.refresh).await.0, 502);
    is_spent(&lab, &tokens, "5xx_after_commit").await;

    let elsewhere = TokenFaultKind::Redirect {
        location: "https://elsewhere.invalid/".into(),
        status: 307,
    };
    let (lab, tokens) = with_fault(elsewhere).await;
    assert_eq!(lab.refresh(&tokens.refresh).await.0, 307);
    is_unspent(&lab, &tokens, "redirect").await;
}

#[tokio::test]
async fn answers_that_are_none() {
    let garbage = TokenFaultKind::Garbage {
        body: "{}".into(),
        content_type: "application/json".into(),
    };
    let (lab, tokens) = with_fault(garbage).await;
    assert_eq!(
        lab.refresh(&tokens.refresh).await,
        (200, Value::Object(serde_json::Map::new()))
    );
    is_spent(&lab, &tokens, "garbage_200").await;

    let (lab, tokens) = with_fault(TokenFaultKind::Oversized { bytes: 300_000 }).await;
    let (status, body) = lab.refresh(&tokens.refresh).await;
    assert!(status == 200 && body.to_string().len() > 300_000 && body["access_token"].is_string());

    let member = r#""note":{"x":[1]}"#.to_owned();
    let (lab, tokens) = with_fault(TokenFaultKind::Extra { member }).await;
    let (status, body) = lab.refresh(&tokens.refresh).await;
    assert!(status == 200 && body["note"]["x"][0] == 1 && body["access_token"].is_string());
}

#[tokio::test]
async fn late_requests() {
    let (lab, tokens) = with_fault(TokenFaultKind::Late {
        ms: 200,
        close: false,
    })
    .await;
    let start = lab.simulator.now();
    assert_eq!(lab.refresh(&tokens.refresh).await.0, 200);
    assert!(lab.simulator.now() - start >= 200);

    // Closed at once, processed later: what the client presents meanwhile is processed first.
    let (lab, tokens) = with_fault(TokenFaultKind::Late { ms: 200, close: true }).await;
    assert!(lab.try_refresh(&tokens.refresh).await.is_err());
    assert!(lab.simulator.log().is_empty());
    let (status, body) = lab.refresh(&tokens.refresh).await;
    assert_eq!(status, 200);
    assert_eq!(lab.rest_status(body["access_token"].as_str().unwrap()).await, 200);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let log = lab.simulator.log();
    assert_eq!(
        (log[1].result, log[1].fault.as_deref()),
        (Outcome::Reused, Some("late"))
    );
    assert!(log[1].arrived_at <= log[0].arrived_at && log[1].family_revoked);
    assert_eq!(lab.rest_status(body["access_token"].as_str().unwrap()).await, 401);
}

#[tokio::test]
async fn faults_choose_their_requests() {
    let lab = Lab::start().await;
    let mut fault = TokenFault::next_refresh(TokenFaultKind::Html503).times(2);
    fault.username = Some("tom@acme.com".into());
    fault.skip = 1;
    lab.simulator.add_token_fault(fault);
    let sarah = lab.grant();
    assert_eq!(lab.refresh(&sarah.refresh).await.0, 200);
    let mut tom = lab.grant_to("tom@acme.com");
    tom = Tokens::read(&lab.refresh(&tom.refresh).await.1);
    assert_eq!(lab.refresh(&tom.refresh).await.0, 503);
    assert_eq!(lab.refresh(&tom.refresh).await.0, 503);
    assert_eq!(lab.refresh(&tom.refresh).await.0, 200);
}

#[tokio::test]
async fn a_code_exchange_meets_faults_too() {
    let lab = Lab::start().await;
    lab.simulator
        .add_token_fault(TokenFault::once(TokenFaultKind::Html503));
    let code = lab.code().await;
    assert_eq!(lab.exchange(&code, Some(crate::support::VERIFIER)).await.0, 503);
    assert_eq!(lab.exchange(&code, Some(crate::support::VERIFIER)).await.0, 200);
}

#[tokio::test]
async fn shutdown_does_not_wait_for_hanging_requests() {
    let (lab, tokens) = with_fault(TokenFaultKind::Hang { processed: false }).await;
    let Lab { simulator, http } = lab;
    let url = format!("{}/services/oauth2/token", simulator.login_url());
    let form = [
        ("grant_type", "refresh_token"),
        ("refresh_token", tokens.refresh.as_str()),
    ];
    let hanging = http.post(url).form(&form).send();
    let shutdown = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        simulator.shutdown().await;
    };
    let both = async { tokio::join!(hanging, shutdown) };
    let (answer, ()) = tokio::time::timeout(Duration::from_secs(5), both).await.unwrap();
    assert!(answer.is_err());
}
