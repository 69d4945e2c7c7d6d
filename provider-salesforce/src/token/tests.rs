use std::time::Duration;

use grantry::{
    integration::Options,
    provider::{Expiry, Refusal, Sent, Transport, TransportError, TransportFault},
};
use serde_json::{Value, json};

use super::*;
use crate::http::testing::{Script, answer, block_on, with_client};

const NOW: Timestamp = Timestamp(1_795_334_400_000);
const ID: &str = "https://login.salesforce.com/id/00D5g00000A1b2CEAR/0055g00000D4e5FAAR";
const SUBJECT: &str = "00D5g00000A1b2CEAR/0055g00000D4e5FAAR";

/// The answer of the web server flow, with a signature that is right for `EXAMPLESECRET`.
fn sample() -> Value {
    json!({
        "access_token": "00D5g00000A1b2C!AQ8AQExampleExample_Example.Example",
        "refresh_token": "5Aep861ExampleExampleExampleExample.Example",
        "signature": "0gZY4A+qDtR0gynpZNknKYSYDtYj22X3HFBcXXrWh9k=",
        "scope": "refresh_token api id",
        "id_token": "eyJraWQiOiIyNTYifQ.e30.c2ln",
        "instance_url": "https://acme.my.salesforce.com",
        "id": ID,
        "token_type": "Bearer",
        "issued_at": "1795334400123",
    })
}

/// The sample with fields changed; null removes one.
fn sample_with(changes: Value) -> String {
    let (Value::Object(mut fields), Value::Object(changes)) = (sample(), changes) else {
        unreachable!();
    };
    for (name, value) in changes {
        if value == json!("<absent>") {
            fields.remove(&name);
        } else {
            fields.insert(name, value);
        }
    }
    Value::Object(fields).to_string()
}

fn exchanged(body: impl Into<Vec<u8>>) -> Result<TokenSet, Failure> {
    let (http, _) = TokenHttp::new(Script::new([answer(200, body)]));
    exchange_through(http)
}

fn exchange_through(http: TokenHttp) -> Result<TokenSet, Failure> {
    let request = CodeExchange {
        code: &Secret::new("aPrxExample.Example=="),
        code_verifier: &Secret::new("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
        now: NOW,
    };
    with_client(&Options::new(), |client| {
        block_on(exchange(http, client, &request))
    })
}

fn refreshed_through(http: TokenHttp) -> Result<TokenSet, Failure> {
    with_client(&Options::new(), |client| {
        block_on(refresh(http, client, &Secret::new("5Aep861Old"), NOW))
    })
}

fn refreshed(status: u16, body: impl Into<Vec<u8>>) -> Result<TokenSet, Failure> {
    let (http, _) = TokenHttp::new(Script::new([answer(status, body)]));
    refreshed_through(http)
}

fn form(script: &Script) -> Vec<(String, String)> {
    let mut form = script.form(0);
    form.sort();
    form
}

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect()
}

#[test]
fn a_code_exchange() {
    let script = Script::new([answer(200, sample().to_string())]);
    let (http, presentation) = TokenHttp::new(script.clone());
    let set = exchange_through(http).unwrap();
    assert!(presentation.answered());
    assert_eq!(
        set.access_token.expose(),
        "00D5g00000A1b2C!AQ8AQExampleExample_Example.Example"
    );
    assert_eq!(
        set.refresh_token.unwrap().expose(),
        "5Aep861ExampleExampleExampleExample.Example"
    );
    assert_eq!(
        set.instance_url.as_deref(),
        Some("https://acme.my.salesforce.com")
    );
    assert_eq!(set.scopes.unwrap(), ["refresh_token", "api", "id"]);
    assert_eq!(set.subject.as_deref(), Some(SUBJECT));
    assert_eq!(set.expiry, Expiry::Assumed(NOW + Duration::from_secs(2 * 3600)));

    assert_eq!(
        script.urls(),
        ["https://login.salesforce.com/services/oauth2/token"]
    );
    assert_eq!(
        form(&script),
        pairs(&[
            ("client_id", "3MVG9EXAMPLE"),
            ("client_secret", "EXAMPLESECRET"),
            ("code", "aPrxExample.Example=="),
            ("code_verifier", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
            ("grant_type", "authorization_code"),
            ("redirect_uri", "https://app.example.com/callback/int_1"),
        ])
    );
    let seen = script.seen.lock().unwrap();
    assert!(
        !seen[0].headers().contains_key("authorization"),
        "one way of naming the client"
    );
}

#[test]
fn a_refresh_sends_no_scope() {
    let script = Script::new([answer(200, r#"{"access_token":"00D5g00000A1b2C!New"}"#)]);
    let (http, _) = TokenHttp::new(script.clone());
    let set = refreshed_through(http).unwrap();
    assert_eq!(set.access_token.expose(), "00D5g00000A1b2C!New");
    assert!(set.refresh_token.is_none() && set.instance_url.is_none());
    assert!(set.scopes.is_none() && set.subject.is_none());
    assert_eq!(
        form(&script),
        pairs(&[
            ("client_id", "3MVG9EXAMPLE"),
            ("client_secret", "EXAMPLESECRET"),
            ("grant_type", "refresh_token"),
            ("refresh_token", "5Aep861Old"),
        ])
    );
}

/// Name of the row, body, reason at a code exchange, whether a refresh takes the tokens.
fn rows() -> Vec<(&'static str, Vec<u8>, Option<Reason>, bool)> {
    use Reason::{
        AnswerIncomplete, AnswerInvalid, IdentityUrlRejected, InstanceUrlRejected, SignatureInvalid,
        TokenTypeUnsupported,
    };
    let with = |changes: Value| sample_with(changes).into_bytes();
    let twice = format!("{{\"access_token\":\"00D!x\",{}", &sample().to_string()[1..]).into_bytes();
    let deep = format!(
        "{{\"x\":{}1{},{}",
        "[".repeat(10_000),
        "]".repeat(10_000),
        &sample().to_string()[1..]
    );
    let utf16: Vec<u8> = sample()
        .to_string()
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    let latin1 = [
        b"{\"x\":\"\xe9\",".as_slice(),
        &sample().to_string().as_bytes()[1..],
    ]
    .concat();
    let absent = "<absent>";
    vec![
        ("J01", with(json!({})), None, true),
        (
            "J02",
            with(json!({"instance_url": "https://acme.my.salesforce.com/"})),
            None,
            true,
        ),
        (
            "J03",
            with(json!({"instance_url": "http://acme.my.salesforce.com"})),
            Some(InstanceUrlRejected),
            true,
        ),
        (
            "J04",
            with(json!({"instance_url": "https://acme.my.salesforce.com.evil.test"})),
            Some(InstanceUrlRejected),
            true,
        ),
        (
            "J07",
            with(json!({"instance_url": "https://acme.my.salesforce.com:8443"})),
            Some(InstanceUrlRejected),
            true,
        ),
        (
            "J13",
            with(json!({"instance_url": "https://ACME.My.Salesforce.com"})),
            None,
            true,
        ),
        (
            "J15 number",
            with(json!({"instance_url": 7})),
            Some(AnswerIncomplete),
            true,
        ),
        (
            "J15 null",
            with(json!({"instance_url": null})),
            Some(AnswerIncomplete),
            true,
        ),
        (
            "J15 array",
            with(json!({"instance_url": ["https://acme.my.salesforce.com"]})),
            Some(AnswerIncomplete),
            true,
        ),
        (
            "J15 missing",
            with(json!({"instance_url": absent})),
            Some(AnswerIncomplete),
            true,
        ),
        (
            "J16",
            with(json!({"instance_url": "x".repeat(10_000)})),
            Some(InstanceUrlRejected),
            true,
        ),
        (
            "J18 missing",
            with(json!({"access_token": absent})),
            Some(AnswerIncomplete),
            false,
        ),
        (
            "J18 null",
            with(json!({"access_token": null})),
            Some(AnswerIncomplete),
            false,
        ),
        (
            "J18 number",
            with(json!({"access_token": 7})),
            Some(AnswerInvalid),
            false,
        ),
        (
            "J18 empty",
            with(json!({"access_token": ""})),
            Some(AnswerInvalid),
            false,
        ),
        (
            "J18 CR LF",
            with(json!({"access_token": "00D!x\r\nHost: evil.test"})),
            Some(AnswerInvalid),
            false,
        ),
        (
            "J18 space",
            with(json!({"access_token": "00D!x y"})),
            Some(AnswerInvalid),
            false,
        ),
        (
            "J18 not ASCII",
            with(json!({"access_token": "00D!é"})),
            Some(AnswerInvalid),
            false,
        ),
        (
            "J18 64 kB",
            with(json!({"access_token": "x".repeat(65_536)})),
            None,
            true,
        ),
        (
            "refresh_token CR LF",
            with(json!({"refresh_token": "5Aep\r\n"})),
            Some(AnswerInvalid),
            false,
        ),
        (
            "refresh_token number",
            with(json!({"refresh_token": 7})),
            Some(AnswerInvalid),
            false,
        ),
        (
            "J19 mac",
            with(json!({"token_type": "mac"})),
            Some(TokenTypeUnsupported),
            true,
        ),
        (
            "J19 number",
            with(json!({"token_type": 7})),
            Some(TokenTypeUnsupported),
            true,
        ),
        (
            "J19 missing",
            with(json!({"token_type": absent})),
            Some(TokenTypeUnsupported),
            true,
        ),
        ("J19 case", with(json!({"token_type": "bEARER"})), None, true),
        (
            "J20 NaN",
            b"{\"access_token\":\"00D!x\",\"expires_in\":NaN}".to_vec(),
            Some(TokenTypeUnsupported),
            true,
        ),
        ("J21", twice, Some(AnswerInvalid), false),
        (
            "J23 HTML",
            b"<html><body>Maintenance</body></html>".to_vec(),
            Some(AnswerInvalid),
            false,
        ),
        (
            "J23 BOM",
            [b"\xef\xbb\xbf", sample().to_string().as_bytes()].concat(),
            None,
            true,
        ),
        ("J23 UTF-16", utf16, Some(AnswerInvalid), false),
        ("J23 Latin-1", latin1, None, true),
        (
            "J23 gzip",
            b"\x1f\x8b\x08\x00".to_vec(),
            Some(AnswerInvalid),
            false,
        ),
        ("J23 empty", Vec::new(), Some(AnswerInvalid), false),
        (
            "J23 truncated",
            sample().to_string().into_bytes()[..100].to_vec(),
            Some(AnswerInvalid),
            false,
        ),
        (
            "J23 form",
            b"access_token=00D!x&token_type=Bearer".to_vec(),
            Some(AnswerInvalid),
            false,
        ),
        (
            "J23 array",
            format!("[{}]", sample()).into_bytes(),
            Some(AnswerInvalid),
            false,
        ),
        (
            "J23 two objects",
            format!("{0}{0}", sample()).into_bytes(),
            Some(AnswerInvalid),
            false,
        ),
        ("J24", deep.into_bytes(), None, true),
        (
            "J25 wrong",
            with(json!({"signature": "AAAA"})),
            Some(SignatureInvalid),
            true,
        ),
        (
            "J25 number",
            with(json!({"signature": 7})),
            Some(SignatureInvalid),
            true,
        ),
        (
            "J25 other time",
            with(json!({"issued_at": "1795334400124"})),
            Some(SignatureInvalid),
            true,
        ),
        (
            "J25 no time",
            with(json!({"issued_at": absent})),
            Some(SignatureInvalid),
            true,
        ),
        ("J25 absent", with(json!({"signature": absent})), None, true),
        (
            "id missing",
            with(json!({"id": absent})),
            Some(AnswerIncomplete),
            true,
        ),
        ("id number", with(json!({"id": 7})), Some(AnswerIncomplete), true),
        (
            "J26",
            with(json!({"id": ID.replace("login.salesforce.com", "evil.test"), "signature": absent})),
            Some(IdentityUrlRejected),
            true,
        ),
        (
            "J26 path",
            with(json!({"id": "https://login.salesforce.com/id/x/y", "signature": absent})),
            Some(IdentityUrlRejected),
            true,
        ),
    ]
}

#[test]
fn answers_at_connect() {
    for (row, body, reason, _) in rows() {
        let found = exchanged(body).map(|_| ());
        let expected = reason.map_or(Ok(()), |reason| Err(Failure::Unknown(reason)));
        assert_eq!(found, expected, "{row}");
    }
}

#[test]
fn answers_to_a_refresh() {
    for (row, body, _, taken) in rows() {
        let found = refreshed(200, body).map(|_| ());
        let expected = if taken {
            Ok(())
        } else {
            Err(Failure::Unknown(Reason::AnswerInvalid))
        };
        assert_eq!(found, expected, "{row}");
    }
}

#[test]
fn a_refresh_takes_no_foreign_place_over() {
    let set = refreshed(
        200,
        sample_with(json!({"instance_url": "https://evil.test", "id": "https://evil.test/id/x/y"})),
    )
    .unwrap();
    assert_eq!((set.instance_url, set.subject), (None, None));
    // J17: the org moved within Salesforce.
    let moved = json!({"instance_url": "https://acme-two.my.salesforce.com/"});
    let set = refreshed(200, sample_with(moved)).unwrap();
    assert_eq!(
        set.instance_url.as_deref(),
        Some("https://acme-two.my.salesforce.com")
    );
    // J28: who it is now is for the engine to compare.
    let other = json!({"id": "https://login.salesforce.com/id/00D7Q00000G10bX/0057Q00000Hn0aA"});
    let set = refreshed(200, sample_with(other)).unwrap();
    assert_ne!(set.subject.as_deref(), Some(SUBJECT));
}

#[test]
fn an_omitted_refresh_token_is_no_refresh_token() {
    for value in [json!(null), json!(""), json!("<absent>")] {
        let set = refreshed(200, sample_with(json!({"refresh_token": value}))).unwrap();
        assert!(set.refresh_token.is_none(), "{value}");
    }
}

#[test]
fn granted_scopes() {
    // J27: told as they are; the engine compares.
    for (scope, expected) in [
        (json!("api"), Some(vec!["api"])),
        (json!(" api  id "), Some(vec!["api", "id"])),
        (json!(""), Some(vec![])),
        (json!(7), None),
        (json!("<absent>"), None),
    ] {
        let set = refreshed(200, sample_with(json!({"scope": scope}))).unwrap();
        let expected = expected.map(|e| e.into_iter().map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(set.scopes, expected, "{scope}");
    }
}

#[test]
fn lifetimes() {
    let year = Expiry::Known(NOW + Duration::from_secs(8760 * 3600));
    let known = |seconds| Expiry::Known(NOW + Duration::from_secs(seconds));
    let assumed = Expiry::Assumed(NOW + Duration::from_secs(2 * 3600));
    for (given, expected) in [
        (json!(3600), known(3600)),
        (json!("3600"), known(3600)),
        (json!(3.7), known(3)),
        (json!(0), known(0)),
        (json!(-1), known(0)),
        (json!("-1"), known(0)),
        (json!(1e30), year),
        (json!(u64::MAX), year),
        (json!(i64::MIN), known(0)),
        (json!("NaN"), assumed),
        (json!("soon"), assumed),
        (json!(""), assumed),
        (json!(null), assumed),
        (json!(true), assumed),
        (json!([3600]), assumed),
        (json!({"seconds": 3600}), assumed),
        (json!("<absent>"), assumed),
    ] {
        let set = refreshed(200, sample_with(json!({"expires_in": given}))).unwrap();
        assert_eq!(set.expiry, expected, "{given}");
    }
}

#[test]
fn the_end_that_a_jwt_names() {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as B64};
    let jwt = |claims: &str| {
        format!(
            "{}.{}.c2ln",
            B64.encode(r#"{"alg":"RS256","typ":"JWT"}"#),
            B64.encode(claims)
        )
    };
    let seconds = NOW.millis() / 1000;
    let assumed = Expiry::Assumed(NOW + Duration::from_secs(2 * 3600));
    for (token, expected) in [
        (
            jwt(&format!("{{\"exp\":{}}}", seconds + 900)),
            Expiry::Known(NOW + Duration::from_secs(15 * 60)),
        ),
        (
            jwt(&format!("{{\"exp\":{}}}", u64::MAX)),
            Expiry::Known(NOW + Duration::from_secs(8760 * 3600)),
        ),
        (jwt("{}"), assumed),
        (jwt("{\"exp\":-1}"), assumed),
        (jwt("{\"exp\":\"tomorrow\"}"), assumed),
        (jwt("not json"), assumed),
        ("a.b.c".to_owned(), assumed),
        (format!("{}.d", jwt("{\"exp\":1}")), assumed),
        ("00D5g00000A1b2C!AQ8.AQ.Ex".to_owned(), assumed),
    ] {
        let set = refreshed(200, sample_with(json!({"access_token": token}))).unwrap();
        assert_eq!(set.expiry, expected, "{token}");
    }
    // `expires_in` comes first.
    let both = json!({"access_token": jwt("{\"exp\":1}"), "expires_in": 60});
    let set = refreshed(200, sample_with(both)).unwrap();
    assert_eq!(set.expiry, Expiry::Known(NOW + Duration::from_secs(60)));
}

#[test]
fn an_error_behind_a_200() {
    // J22: a code is gone either way; a refresh token may have been spent.
    let body = r#"{"error":"invalid_grant","error_description":"invalid authorization code"}"#;
    assert_eq!(
        exchanged(body).unwrap_err(),
        Failure::refused(Verdict::GrantDead, Reason::CodeRejected)
    );
    let body = r#"{"error":"invalid_grant","error_description":"expired access/refresh token"}"#;
    assert_eq!(
        refreshed(200, body).unwrap_err(),
        Failure::Unknown(Reason::AnswerInvalid)
    );
}

#[test]
fn refusals_and_unknown_outcomes() {
    let dead = r#"{"error":"invalid_grant","error_description":"expired access/refresh token"}"#;
    for (status, body, expected) in [
        (
            400,
            dead,
            Failure::refused(Verdict::GrantDead, Reason::GrantExpiredOrRevoked),
        ),
        (
            400,
            r#"{"error":"invalid_grant","error_description":"token request is already being processed"}"#,
            Failure::refused(Verdict::InProgress, Reason::AlreadyProcessing),
        ),
        (
            503,
            r#"{"error":"service_unavailable"}"#,
            Failure::refused(Verdict::MayPass, Reason::ServerUnavailable),
        ),
        (302, dead, Failure::Unknown(Reason::AnswerInvalid)),
        (307, "", Failure::Unknown(Reason::AnswerInvalid)),
        (204, "", Failure::Unknown(Reason::AnswerInvalid)),
        (400, "<html></html>", Failure::Unknown(Reason::AnswerInvalid)),
        (502, "<html></html>", Failure::Unknown(Reason::ServerUnavailable)),
    ] {
        assert_eq!(refreshed(status, body).unwrap_err(), expected, "{status} {body}");
    }
    // Whatever the number behind the 2, tokens are tokens.
    assert!(refreshed(201, sample().to_string()).is_ok());
}

#[test]
fn requests_without_an_answer() {
    for (sent, fault, expected) in [
        (Sent::No, TransportFault::Connect, Failure::NotSent),
        (
            Sent::Maybe,
            TransportFault::Timeout,
            Failure::Unknown(Reason::AnswerLost),
        ),
    ] {
        let (http, _) = TokenHttp::new(Script::new([Err(TransportError::new(sent, fault))]));
        assert_eq!(refreshed_through(http).unwrap_err(), expected);
    }
}

#[test]
fn a_foreign_login_url_gets_no_token() {
    let options: Options = serde_json::from_value(json!({"loginUrl": "https://evil.test"})).unwrap();
    let script = Script::new([]);
    with_client(&options, |client| {
        let (http, presentation) = TokenHttp::new(script.clone());
        let found = block_on(refresh(http, client, &Secret::new("5Aep861"), NOW));
        assert_eq!(found.unwrap_err(), Failure::NotSent);
        assert!(presentation.certainly_not_sent());
    });
    assert!(script.urls().is_empty());
}

fn through<T, F: Future<Output = T>>(
    transport: &std::sync::Arc<Script>,
    f: impl FnOnce(ProviderHttp) -> F,
) -> T {
    block_on(f(ProviderHttp::new(
        transport.clone() as std::sync::Arc<dyn Transport>
    )))
}

#[test]
fn revocation() {
    let unknown = |reason| Err(Failure::Unknown(reason));
    for (status, body, expected) in [
        (200, "", Ok(())),
        (400, "error=invalid_token&error_description=invalid+token", Ok(())),
        (400, "error=unsupported_token_type&error_description=x", Ok(())),
        (
            400,
            r#"{"error":"invalid_token","error_description":"x"}"#,
            Ok(()),
        ),
        (400, r#"{"error":"unsupported_token_type"}"#, Ok(())),
        (
            400,
            "error=invalid_token&error=server_error",
            unknown(Reason::AnswerInvalid),
        ),
        (400, "", unknown(Reason::AnswerInvalid)),
        (
            401,
            r#"{"error":"invalid_token"}"#,
            Err(Failure::Refused(Refusal {
                verdict: Verdict::MayPass,
                reason: Reason::Unrecognized,
                retry_after: Some(Duration::from_secs(30)),
            })),
        ),
        (
            400,
            "error=server_error",
            Err(Failure::refused(Verdict::MayPass, Reason::ServerUnavailable)),
        ),
        (302, "", unknown(Reason::AnswerInvalid)),
        (503, "<html></html>", unknown(Reason::ServerUnavailable)),
    ] {
        let script = Script::new([answer(status, body)]);
        let found = with_client(&Options::new(), |client| {
            through(&script, |http| async move {
                revoke(&http, client, &Secret::new("5Aep861")).await
            })
        });
        assert_eq!(found, expected, "{status} {body}");
        assert_eq!(
            script.urls(),
            ["https://login.salesforce.com/services/oauth2/revoke"]
        );
        assert_eq!(form(&script), pairs(&[("token", "5Aep861")]));
    }
}

#[test]
fn verification_of_the_client() {
    let wrong = |reason| Err(Failure::refused(Verdict::ClientMisconfigured, reason));
    for (status, error, description, expected) in [
        (400, "invalid_grant", "expired access/refresh token", Ok(())),
        (400, "invalid_grant", "invalid refresh token", Ok(())),
        (400, "invalid_grant", "ip restricted", Ok(())),
        (
            400,
            "invalid_client_id",
            "client identifier invalid",
            wrong(Reason::ClientIdInvalid),
        ),
        (
            400,
            "invalid_client",
            "invalid client credentials",
            wrong(Reason::ClientSecretInvalid),
        ),
        (400, "invalid_client", "", wrong(Reason::ClientInvalid)),
        (
            400,
            "unsupported_grant_type",
            "grant type not supported",
            wrong(Reason::RequestRejected),
        ),
        (
            400,
            "invalid_grant",
            "request not supported on this domain",
            wrong(Reason::ClientMisconfigured),
        ),
        (
            400,
            "server_error",
            "",
            Err(Failure::refused(Verdict::MayPass, Reason::ServerUnavailable)),
        ),
        (
            500,
            "invalid_grant",
            "expired access/refresh token",
            Err(Failure::refused(Verdict::MayPass, Reason::ServerUnavailable)),
        ),
        (
            400,
            "inactive_user",
            "",
            Err(Failure::Unknown(Reason::AnswerInvalid)),
        ),
        (
            302,
            "invalid_grant",
            "",
            Err(Failure::Unknown(Reason::AnswerInvalid)),
        ),
        (
            200,
            "invalid_grant",
            "",
            Err(Failure::Unknown(Reason::AnswerInvalid)),
        ),
    ] {
        let body = json!({"error": error, "error_description": description}).to_string();
        let script = Script::new([answer(status, body)]);
        let found = with_client(&Options::new(), |client| {
            through(&script, |http| async move { verify(&http, client).await })
        });
        assert_eq!(found, expected, "{status} {error} {description}");
        assert_eq!(
            form(&script),
            pairs(&[
                ("client_id", "3MVG9EXAMPLE"),
                ("client_secret", "EXAMPLESECRET"),
                ("grant_type", "refresh_token"),
                ("refresh_token", NO_TOKEN),
            ])
        );
    }
    let script = Script::new([Err(TransportError::new(Sent::No, TransportFault::Connect))]);
    let found = with_client(&Options::new(), |client| {
        through(&script, |http| async move { verify(&http, client).await })
    });
    assert_eq!(found, Err(Failure::NotSent));
}

#[test]
fn nothing_of_an_answer_shows() {
    let body = sample_with(json!({"expires_in": {"x": 1}}));
    let parsed: Answer = serde_json::from_value(json!([
        "00D!AQ8AQ",
        "Bearer",
        "5Aep861",
        null,
        null,
        null,
        null,
        null,
        null
    ]))
    .unwrap();
    assert_eq!(format!("{parsed:?}"), "Answer { .. }");
    assert_eq!(serde_json::to_string(&parsed).unwrap(), "null");
    let set = refreshed(200, body).unwrap();
    let shown = format!("{set:?}");
    assert!(!shown.contains("AQ8AQ") && !shown.contains("5Aep861"), "{shown}");
    let bad = r#"{"access_token":"00D!hunter2","token_type":{"x":"hunter2"}}"#;
    let error = exchanged(bad).unwrap_err();
    assert!(!format!("{error:?} {error}").contains("hunter2"));
}
