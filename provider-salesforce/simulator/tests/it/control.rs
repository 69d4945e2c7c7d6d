//! The control API and the log, over HTTP.

use serde_json::{Value, json};

use crate::support::{Lab, Tokens};

#[tokio::test]
async fn settings_are_shown_and_changed() {
    let lab = Lab::start().await;
    let shown: Value = lab
        .http
        .get(lab.simulator.control_url())
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(shown["settings"]["rotation"], true);
    assert_eq!(shown["users"][0]["username"], "sarah@acme.com");
    let changed = lab
        .control(json!({
            "rotation": false, "session_minutes": 15, "instance_url": "https://evil.example",
            "omit_fields": ["signature"], "extra_fields": { "state": "x" },
        }))
        .await;
    assert_eq!(changed["settings"]["session_minutes"], 15);
    let (_, body) = lab.refresh(&lab.grant().refresh).await;
    assert_eq!(
        (&body["instance_url"], &body["state"]),
        (&json!("https://evil.example"), &json!("x"))
    );
    assert!(body.get("signature").is_none() && body.get("refresh_token").is_none());
    lab.control(json!({ "instance_url": null, "instance_url_slash": true, "omit_fields": [] }))
        .await;
    let (_, body) = lab.refresh(&lab.grant().refresh).await;
    assert_eq!(body["instance_url"], format!("{}/", lab.simulator.instance_url()));

    for wrong in [
        json!({ "rotations": true }),
        json!({ "rotation": 1 }),
        json!({ "revoke_user": "x" }),
        json!([]),
    ] {
        let answer = lab
            .http
            .patch(lab.simulator.control_url())
            .json(&wrong)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 400, "{wrong}");
    }
}

#[tokio::test]
async fn actions_are_done() {
    let lab = Lab::start().await;
    let before = lab.simulator.now();
    let tokens = lab.grant();
    lab.control(json!({ "advance_seconds": 60 })).await;
    assert!(lab.simulator.now() - before >= 60_000);
    assert_eq!(lab.rest_status(&tokens.access).await, 200);
    let done = lab.control(json!({ "expire_sessions": "sarah@acme.com" })).await;
    assert_eq!(done["done"]["sessions_expired"], 1);
    assert_eq!(lab.rest_status(&tokens.access).await, 401);
    lab.control(json!({ "deactivate_user": "sarah@acme.com" })).await;
    assert_eq!(
        lab.refresh(&tokens.refresh).await.1["error_description"],
        "user is inactive"
    );
    lab.control(json!({ "activate_user": "sarah@acme.com" })).await;
    let tokens = Tokens::read(&lab.refresh(&tokens.refresh).await.1);
    let done = lab.control(json!({ "revoke_user": "sarah@acme.com" })).await;
    assert_eq!(done["done"]["families_revoked"], 1);
    assert_eq!(lab.refresh(&tokens.refresh).await.0, 400);
    let client = json!({ "client_id": "mine", "client_secret": "s", "callbacks": ["http://localhost:1/cb"] });
    let shown = lab.control(json!({ "client": client })).await;
    assert_eq!(shown["clients"].as_array().unwrap().len(), 2);
    let granted: Value = lab
        .http
        .post(lab.login("/__control/grant"))
        .json(&json!({ "username": "greta@globex.com", "client_id": "mine", "scope": "api" }))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert!(granted["access_token"].is_string() && granted.get("refresh_token").is_none());
}

#[tokio::test]
async fn faults_are_ordered_over_http() {
    let lab = Lab::start().await;
    let faults = json!({
        "token": [{ "kind": "error", "error": "invalid_grant", "error_description": "ip restricted", "times": 2 }],
        "instance": [{ "kind": "unauthorized" }],
    });
    let url = lab.login("/__control/faults");
    let shown: Value = lab
        .http
        .post(&url)
        .json(&faults)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(shown["token"][0]["times"], 2);
    let tokens = lab.grant();
    assert_eq!(lab.rest_status(&tokens.access).await, 401);
    assert_eq!(
        lab.refresh(&tokens.refresh).await.1["error_description"],
        "ip restricted"
    );
    let left: Value = lab.http.delete(&url).send().await.unwrap().json().await.unwrap();
    assert_eq!(left, json!({ "token": [], "instance": [] }));
    assert_eq!(lab.refresh(&tokens.refresh).await.0, 200);
    lab.control(json!({ "token_faults": [{ "kind": "answer_lost" }] }))
        .await;
    assert_eq!(lab.simulator.faults().token.len(), 1);
    let wrong = lab
        .http
        .post(&url)
        .json(&json!({ "token": [{ "kind": "nonsense" }] }))
        .send()
        .await
        .unwrap();
    assert_eq!(wrong.status(), 400);
}

#[tokio::test]
async fn the_log_is_read_in_parts() {
    let lab = Lab::start().await;
    let mut token = lab.grant().refresh;
    for _ in 0..3 {
        token = Tokens::read(&lab.refresh(&token).await.1).refresh;
    }
    let read = async |since: &str| -> Value {
        lab.http
            .get(lab.login(&format!("/__log{since}")))
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap()
    };
    let all = read("").await;
    assert_eq!(
        (all["next"].as_u64(), all["entries"].as_array().unwrap().len()),
        (Some(3), 3)
    );
    let part = read("?since=2").await;
    assert_eq!(part["entries"][0]["seq"], 2);
    assert_eq!(part["entries"].as_array().unwrap().len(), 1);
    assert_eq!(read("?since=99").await["entries"], json!([]));
    assert_eq!(
        part["families"][0]["token_fingerprint"],
        part["entries"][0]["new_fingerprint"]
    );
    assert!(!all.to_string().contains("5Aep861"), "no token is in the log");
}
