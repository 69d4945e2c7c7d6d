//! What admins switch: orgs that are locked, and addresses that get no tokens.

use grantry_salesforce_simulator::{DEFAULT_PASSWORD, Outcome};
use serde_json::{Value, json};

use crate::support::{Lab, Tokens};

const ACME: &str = "00D5g00000A1b2CEAR";
const SARAH: &str = "sarah@acme.com";

fn oauth(error: &str, description: &str) -> Value {
    json!({ "error": error, "error_description": description })
}

/// Status and body of a resource of the instance host.
async fn get(lab: &Lab, url: &str, access: &str) -> (u16, String) {
    let answer = lab.http.get(url).bearer_auth(access).send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

#[tokio::test]
async fn a_locked_org_refuses_everything_and_forgets_nothing() {
    let lab = Lab::start().await;
    let tokens = lab.grant();
    let code = lab.code().await;
    let other = lab.grant_to("greta@globex.com");
    lab.simulator.set_org_active(ACME, false).unwrap();

    let locked = oauth("inactive_org", "org locked, closed or suspended");
    assert_eq!(lab.refresh(&tokens.refresh).await, (400, locked.clone()));
    let entry = lab.simulator.log().pop().unwrap();
    assert_eq!(
        (entry.result, entry.living_generation),
        (Outcome::InactiveOrg, Some(1))
    );
    let verifier = Some("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
    assert_eq!(lab.exchange(&code, verifier).await, (400, locked));

    let (status, body) = get(&lab, &lab.instance("/services/data/v66.0/limits"), &tokens.access).await;
    assert_eq!(status, 403);
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body[0]["errorCode"], "ORG_LOCKED");
    let userinfo = lab.login("/services/oauth2/userinfo");
    assert_eq!(
        get(&lab, &userinfo, &tokens.access).await,
        (404, "Inactive".to_owned())
    );
    let mut browser = lab.browser();
    let login = browser.get(&lab.authorize_url(&[])).await.next();
    assert_eq!(browser.log_in(&login, SARAH, DEFAULT_PASSWORD).await.status, 200);

    assert_eq!(lab.rest_status(&other.access).await, 200, "another org is open");
    assert_eq!(lab.refresh(&other.refresh).await.0, 200);

    lab.simulator.set_org_active(ACME, true).unwrap();
    assert_eq!(lab.rest_status(&tokens.access).await, 200);
    assert_eq!(lab.refresh(&tokens.refresh).await.0, 200);
    assert!(lab.simulator.set_org_active("00D000000000000", false).is_err());
}

#[tokio::test]
async fn a_restricted_address_gets_no_tokens() {
    let lab = Lab::start().await;
    let tokens = lab.grant();
    let code = lab.code().await;
    lab.simulator.set_ip_allowed(&ACME[..15], false).unwrap();

    let restricted = oauth("invalid_grant", "ip restricted");
    assert_eq!(lab.refresh(&tokens.refresh).await, (400, restricted.clone()));
    let entry = lab.simulator.log().pop().unwrap();
    assert_eq!(
        (entry.result, entry.living_generation),
        (Outcome::IpRestricted, Some(1))
    );
    let verifier = Some("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
    assert_eq!(lab.exchange(&code, verifier).await, (400, restricted));
    assert_eq!(lab.rest_status(&tokens.access).await, 200, "access tokens go on");

    lab.simulator.set_ip_allowed(ACME, true).unwrap();
    assert_eq!(lab.refresh(&tokens.refresh).await.0, 200, "nothing was spent");
    assert!(lab.simulator.set_ip_allowed("Acme", false).is_err());
}

#[tokio::test]
async fn admins_act_over_http_too() {
    let lab = Lab::start().await;
    let mut token = lab.grant().refresh;
    for (off, on, error) in [
        ("deactivate_org", "activate_org", "inactive_org"),
        ("restrict_ip", "allow_ip", "invalid_grant"),
    ] {
        let shown = lab.control(json!({ off: ACME })).await;
        let user = &shown["users"][0];
        assert_eq!(user["org_active"] == false, off == "deactivate_org");
        assert_eq!(user["ip_allowed"] == false, off == "restrict_ip");
        assert_eq!(lab.refresh(&token).await.1["error"], error);
        lab.control(json!({ on: ACME })).await;
        token = Tokens::read(&lab.refresh(&token).await.1).refresh;
        assert!(!token.is_empty());
        let wrong = lab
            .http
            .post(lab.simulator.control_url())
            .json(&json!({ off: "nobody" }));
        assert_eq!(wrong.send().await.unwrap().status(), 400);
    }
}
