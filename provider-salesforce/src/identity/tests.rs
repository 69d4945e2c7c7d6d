use std::sync::Arc;

use bytes::Bytes;
use grantry::{
    integration::Options,
    provider::{Expiry, Transport, TransportError},
    secret::Secret,
};
use http::Response;
use serde_json::json;

use super::*;
use crate::http::testing::{Script, answer, block_on, with_client};

const SUBJECT: &str = "00D5g00000A1b2CEAR/0055g00000D4e5FAAR";
const IDENTITY: &str = "https://login.salesforce.com/id/00D5g00000A1b2CEAR/0055g00000D4e5FAAR";
const USERINFO_URL: &str = "https://acme.my.salesforce.com/services/oauth2/userinfo";

type Answer = Result<Response<Bytes>, TransportError>;

fn set() -> TokenSet {
    TokenSet {
        access_token: Secret::new("00D5g00000A1b2C!AQ8"),
        refresh_token: None,
        instance_url: Some("https://acme.my.salesforce.com".to_owned()),
        scopes: None,
        expiry: Expiry::Assumed(Timestamp(0)),
        subject: Some(SUBJECT.to_owned()),
    }
}

fn who(script: &Arc<Script>, set: &TokenSet) -> Result<Profile, Failure> {
    let http = ProviderHttp::new(script.clone() as Arc<dyn Transport>);
    with_client(&Options::new(), |client| block_on(identify(&http, client, set)))
}

fn life(answers: Vec<Answer>) -> (Result<AccessLife, Failure>, Arc<Script>) {
    let script = Script::new(answers);
    let http = ProviderHttp::new(script.clone() as Arc<dyn Transport>);
    let found = with_client(&Options::new(), |client| {
        block_on(access_life(&http, client, &set()))
    });
    (found, script)
}

/// From the identity service.
fn ann() -> Answer {
    let body = json!({
        "id": IDENTITY, "asserted_user": true, "user_id": "0055g00000D4e5FAAR",
        "organization_id": "00D5g00000A1b2CEAR", "username": "ann@acme.example", "nick_name": "ann",
        "display_name": "Ann Example", "email": "ann@acme.example", "addr_street": null, "utcOffset": -28_800_000,
    });
    answer(200, body.to_string())
}

fn organization(id: &str, instance: &str) -> Answer {
    let body = json!({"totalSize": 1, "done": true, "records": [{
        "attributes": {"type": "Organization"}, "Id": id, "Name": "Acme", "InstanceName": instance,
        "IsSandbox": false, "OrganizationType": "Enterprise Edition",
    }]});
    answer(200, body.to_string())
}

fn ann_at(org_name: &str, region: &str) -> Profile {
    Profile {
        user_id: "0055g00000D4e5FAAR".to_owned(),
        email: "ann@acme.example".to_owned(),
        name: "Ann Example".to_owned(),
        org_id: "00D5g00000A1b2CEAR".to_owned(),
        org_name: org_name.to_owned(),
        region: region.to_owned(),
    }
}

#[test]
fn identity_service_and_organization() {
    let script = Script::new([ann(), organization("00D5g00000A1b2CEAR", "USA123")]);
    assert_eq!(who(&script, &set()).unwrap(), ann_at("Acme", "USA123"));
    let urls = script.urls();
    assert_eq!(urls[0], IDENTITY);
    assert!(
        urls[1].starts_with("https://acme.my.salesforce.com/services/data/v66.0/query?q=SELECT+Id%2C+Name"),
        "{}",
        urls[1]
    );
    let seen = script.seen.lock().unwrap();
    assert!(
        seen.iter()
            .all(|r| r.headers()["authorization"] == "Bearer 00D5g00000A1b2C!AQ8")
    );
}

#[test]
fn user_info_where_the_identity_service_does_not_tell() {
    let info = json!({
        "sub": IDENTITY, "user_id": "0055g00000D4e5F", "organization_id": "00D5g00000A1b2C",
        "name": "Ann Example", "email": "ann@acme.example",
    });
    for first in [
        answer(403, "Bad_OAuth_Token"),
        answer(302, ""),
        answer(503, ""),
        answer(200, "{}"),
    ] {
        let script = Script::new([
            first,
            answer(200, info.to_string()),
            organization("00D5g00000A1b2C", "NA44"),
        ]);
        assert_eq!(who(&script, &set()).unwrap(), ann_at("Acme", "NA"));
        assert_eq!(script.urls()[1], USERINFO_URL);
    }
}

#[test]
fn an_org_that_does_not_tell_stays_nameless() {
    for third in [
        answer(403, "[]"),
        answer(200, "{}"),
        answer(200, r#"{"records":[]}"#),
        answer(200, "<html>"),
        organization("00D7Q00000G10bX", "DEU12"),
    ] {
        let script = Script::new([ann(), third]);
        assert_eq!(who(&script, &set()).unwrap(), ann_at("", ""));
    }
}

#[test]
fn nobody_is_identified_by_guess() {
    let script = Script::new([answer(403, "Bad_OAuth_Token"), answer(403, "Bad_OAuth_Token")]);
    assert_eq!(
        who(&script, &set()),
        Err(Failure::refused(Verdict::MayPass, Reason::ApprovalMissing))
    );
    let script = Script::new([answer(503, ""), answer(503, "")]);
    assert_eq!(
        who(&script, &set()),
        Err(Failure::Unknown(Reason::ServerUnavailable))
    );
    let other = TokenSet {
        subject: Some("00D7Q00000G10bXXXX/0057Q00000Hn0aAXXX".to_owned()),
        ..set()
    };
    assert_eq!(
        who(&Script::new([ann()]), &other),
        Err(Failure::Unknown(Reason::IdentityChanged))
    );
}

#[test]
fn a_foreign_instance_gets_no_bearer() {
    let foreign = TokenSet {
        instance_url: Some("https://evil.test".to_owned()),
        subject: None,
        ..set()
    };
    let script = Script::new([ann()]);
    assert_eq!(who(&script, &foreign).unwrap(), ann_at("", ""));
    assert_eq!(
        script.urls(),
        ["https://login.salesforce.com/services/oauth2/userinfo"]
    );
}

#[test]
fn regions() {
    for (instance, expected) in [
        ("NA44", "NA"),
        ("na44", "NA"),
        ("EU5", "EU"),
        ("AP12", "AP"),
        ("CS81", "CS81"),
        ("UM1", "UM1"),
        ("USA123", "USA123"),
        ("USA123S", "USA123S"),
        ("DEU12", "DEU12"),
        ("", ""),
    ] {
        assert_eq!(region(instance), expected);
    }
}

#[test]
fn names_are_cut_and_cleaned() {
    let body = json!({"a": format!(" x\n\u{0}{}", "é".repeat(300)), "b": 7});
    assert_eq!(text(&body, "a").chars().count(), 254);
    assert!(text(&body, "a").starts_with("xé"));
    assert_eq!(text(&body, "b"), "");
    assert_eq!(text(&body, "c"), "");
}

#[test]
fn lives_of_access_tokens() {
    let at = Timestamp(1_795_348_800_000);
    let (found, script) = life(vec![answer(
        200,
        r#"{"active":true,"exp":1795348800,"iat":1795341600}"#,
    )]);
    assert_eq!(found, Ok(AccessLife::Alive(Some(at))));
    assert_eq!(
        script.urls(),
        ["https://login.salesforce.com/services/oauth2/introspect"]
    );
    let mut form = script.form(0);
    form.sort();
    let names: Vec<_> = form.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["client_id", "client_secret", "token", "token_type_hint"]);

    let (found, _) = life(vec![answer(200, r#"{"active":true}"#)]);
    assert_eq!(found, Ok(AccessLife::Alive(None)));
}

#[test]
fn inactive_is_checked() {
    for (second, expected) in [
        (answer(200, "{}"), Ok(AccessLife::Alive(None))),
        (answer(403, "Bad_OAuth_Token"), Ok(AccessLife::Dead)),
        (answer(401, ""), Ok(AccessLife::Dead)),
        (
            answer(403, "No_Access"),
            Err(Failure::Unknown(Reason::AnswerInvalid)),
        ),
        (answer(503, ""), Err(Failure::Unknown(Reason::ServerUnavailable))),
    ] {
        let (found, script) = life(vec![answer(200, r#"{"active":false}"#), second]);
        assert_eq!(found, expected);
        assert_eq!(script.urls()[1], USERINFO_URL);
    }
}

#[test]
fn what_introspection_cannot_tell() {
    for (status, body, expected) in [
        (
            400,
            r#"{"error":"invalid_client","error_description":"invalid client credentials"}"#,
            Failure::refused(Verdict::ClientMisconfigured, Reason::ClientSecretInvalid),
        ),
        (200, "{}", Failure::Unknown(Reason::AnswerInvalid)),
        (
            200,
            r#"{"active":"true"}"#,
            Failure::Unknown(Reason::AnswerInvalid),
        ),
        (200, "<html>", Failure::Unknown(Reason::AnswerInvalid)),
        (302, r#"{"error":"x"}"#, Failure::Unknown(Reason::AnswerInvalid)),
        (500, "", Failure::Unknown(Reason::ServerUnavailable)),
    ] {
        assert_eq!(
            life(vec![answer(status, body)]).0,
            Err(expected),
            "{status} {body}"
        );
    }
}
