//! The connect flow as a browser sees it. Cases are named after bad inputs (`../README.md`).

use grantry::{
    connection::Reason,
    provider::{Failure, Verdict},
    store::KeyKind,
};

use crate::{
    ask::Got,
    fake::Plan,
    world::{ADMIN, RETURN, Setup, World},
};

fn check_page(got: &Got) {
    assert_eq!(got.header("content-type"), "text/html; charset=utf-8");
    let policy = got.header("content-security-policy");
    assert!(
        policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
        "{policy}"
    );
    let text = got.text().to_ascii_lowercase();
    for tag in ["<a ", "<form", "<script", "<img", "<link", "href", "src=", "http"] {
        assert!(!text.contains(tag), "{tag} in {text}");
    }
    check_headers(got);
}

fn check_headers(got: &Got) {
    assert_eq!(got.header("referrer-policy"), "no-referrer");
    assert_eq!(got.header("cache-control"), "no-store");
    assert_eq!(got.header("x-content-type-options"), "nosniff");
    assert_eq!(got.header("x-frame-options"), "DENY");
}

#[tokio::test]
async fn the_whole_flow() {
    let world = World::new().await;
    let (got, state) = world
        .begin(&format!("public_key={}&redirect_uri={RETURN}", world.public_key))
        .await;
    check_headers(&got);
    let location = got.header("location");
    assert!(
        location.starts_with("https://login.test/authorize?code_challenge="),
        "{location}"
    );
    let set = got.header("set-cookie");
    assert!(set.starts_with("__Host-"), "{set}");
    for attribute in [
        "; Path=/",
        "; Secure",
        "; HttpOnly",
        "; SameSite=Lax",
        "; Max-Age=600",
    ] {
        assert!(set.contains(attribute), "{set}");
    }
    assert!(!set.contains("Domain"), "{set}");
    let secret = got.cookie().split_once('=').unwrap().1.to_owned();
    assert_eq!(secret.len(), 43, "256 bits");
    assert!(!location.contains(&secret));

    let back = world
        .back(&format!("code=c&state={state}"), &got.cookie())
        .send()
        .await;
    assert_eq!(back.status, 303);
    check_headers(&back);
    let location = back.header("location");
    let id = location
        .strip_prefix(&format!("{RETURN}?connection_id="))
        .unwrap();
    assert!(
        back.header("set-cookie").contains("Max-Age=0"),
        "the attempt is over"
    );
    assert_eq!(
        world.get(&format!("/api/v1/connections/{id}")).await["status"],
        "connected"
    );
}

#[tokio::test]
async fn without_a_redirect_uri_there_is_a_page() {
    let world = World::new().await;
    let got = world
        .connect_with(&format!("public_key={}", world.public_key))
        .await;
    assert_eq!(got.status, 200);
    check_page(&got);
    assert!(got.text().contains("connected"));
    // A redirect URI with a query of its own.
    let query = format!(
        "public_key={}&redirect_uri=https://app.example/query%3Fa=1",
        world.public_key
    );
    let got = world.connect_with(&query).await;
    assert!(
        got.header("location")
            .starts_with("https://app.example/query?a=1&connection_id=con_")
    );
}

#[tokio::test]
async fn over_http_on_loopback_the_cookie_has_another_name() {
    let world = World::with(Setup {
        public_url: "http://127.0.0.1:8080",
        ..Setup::default()
    })
    .await;
    let (got, state) = world.begin(&format!("public_key={}", world.public_key)).await;
    let set = got.header("set-cookie");
    assert!(!set.contains("__Host-") && !set.contains("Secure"), "{set}");
    assert!(set.contains("HttpOnly") && set.contains("SameSite=Lax"), "{set}");
    let back = world
        .back(&format!("code=c&state={state}"), &got.cookie())
        .send()
        .await;
    assert_eq!(back.status, 200);
}

/// Two tabs of one browser, in any order; the jar holds both cookies.
#[tokio::test]
async fn two_tabs_both_work() {
    let world = World::new().await;
    let query = format!("public_key={}&redirect_uri={RETURN}", world.public_key);
    let (one, first) = world.begin(&query).await;
    let (two, second) = world.begin(&query).await;
    let jar = format!("sid=x; {}; {}", one.cookie(), two.cookie());
    for state in [second, first] {
        let back = world.back(&format!("code=c&state={state}"), &jar).send().await;
        assert!(
            back.header("location").contains("connection_id="),
            "{}",
            back.text()
        );
    }
    assert_eq!(world.get("/api/v1/connections").await["totalCount"], 2);
}

/// S01: whoever began must be the one who finishes.
#[tokio::test]
async fn another_browser_cannot_finish() {
    let world = World::new().await;
    let query = format!("public_key={}&redirect_uri={RETURN}", world.public_key);
    let (victim, state) = world.begin(&query).await;
    let (attacker, _) = world.begin(&query).await;
    let name = victim.cookie().split_once('=').unwrap().0.to_owned();
    let value = attacker.cookie().split_once('=').unwrap().1.to_owned();
    let planted = format!("{name}={value}");
    let twice = format!("{}; {planted}", victim.cookie());
    // C08 and C09; a cookie of another attempt under this one's name; one cookie too many.
    for cookie in ["", &attacker.cookie(), &planted, &twice, &format!("{name}=")] {
        let got = world.back(&format!("code=c&state={state}"), cookie).send().await;
        assert_eq!(
            (got.status.as_u16(), got.code().as_str()),
            (403, "browser_mismatch"),
            "{cookie}"
        );
        check_page(&got);
        assert!(got.header("set-cookie").is_empty());
    }
    assert_eq!(world.fake.calls("exchange"), 0);
    // Nothing of it used the attempt up.
    let back = world
        .back(&format!("code=c&state={state}"), &victim.cookie())
        .send()
        .await;
    assert!(back.header("location").contains("connection_id="));
}

#[tokio::test]
async fn callbacks_that_are_refused() {
    let world = World::new().await;
    let query = format!("public_key={}&redirect_uri={RETURN}", world.public_key);
    let (begun, state) = world.begin(&query).await;
    let other = "A".repeat(43);
    let many = "&x=1".repeat(200);
    let rows = [
        ("C01", String::new(), 400, "callback_missing_state"),
        ("C02", format!("state={state}"), 400, "callback_missing_code"),
        ("C03", "code=c".to_owned(), 400, "callback_missing_state"),
        ("C04", format!("code=c&state={other}"), 400, "state_unknown"),
        ("C07", "code=c&state=canary".to_owned(), 400, "state_malformed"),
        (
            "C10",
            format!("code=c&code=d&state={state}"),
            400,
            "callback_duplicate_parameter",
        ),
        (
            "C11",
            format!("code=c&state={state}&state={state}"),
            400,
            "callback_duplicate_parameter",
        ),
        (
            "C12",
            format!("code=c&st%61te={state}&state={state}"),
            400,
            "callback_duplicate_parameter",
        ),
        (
            "C13",
            format!("code=c&error=canary&state={state}"),
            400,
            "callback_conflicting",
        ),
        ("C21", "code=c&state=%ff%fe".to_owned(), 400, "state_malformed"),
        (
            "C22",
            format!("code=&state={state}"),
            400,
            "callback_missing_code",
        ),
        (
            "C23",
            format!("code={}&state={state}", "c".repeat(5000)),
            400,
            "code_malformed",
        ),
        (
            "C23",
            format!("code=c%0d%0a&state={state}"),
            400,
            "code_malformed",
        ),
        (
            "C25",
            format!("access_token=canary&state={state}"),
            400,
            "implicit_not_supported",
        ),
        (
            "C26",
            format!("code=c&state={state}{many}"),
            400,
            "callback_too_many_parameters",
        ),
    ];
    for (row, query, status, code) in rows {
        let got = world.back(&query, &begun.cookie()).send().await;
        assert_eq!(
            (got.status.as_u16(), got.code().as_str()),
            (status, code),
            "{row}"
        );
        check_page(&got);
        assert!(
            !got.text().contains("canary") && !got.text().contains(&state),
            "{row} repeats what was sent"
        );
    }
    // C24.
    let target = format!("/callback/{}?code=c&state={state}", world.integration);
    for method in ["POST", "HEAD", "PUT"] {
        let got = world
            .bare(method, &target)
            .header("cookie", begun.cookie())
            .send()
            .await;
        assert_eq!(
            (got.status.as_u16(), got.header("allow")),
            (405, "GET"),
            "{method}"
        );
        check_headers(&got);
    }
    // C20.
    let (elsewhere, _) = world.another().await;
    let (fresh, fresh_state) = world.begin(&query_of(&world)).await;
    let target = format!("/callback/{elsewhere}?code=c&state={fresh_state}");
    let got = world
        .bare("GET", &target)
        .header("cookie", fresh.cookie())
        .send()
        .await;
    assert_eq!(
        (got.status.as_u16(), got.code().as_str()),
        (400, "callback_integration_mismatch")
    );
    assert_eq!(world.fake.calls("exchange"), 0);
    // C05, C06, C27: used once, then unknown.
    let back = world
        .back(&format!("code=c&state={state}"), &begun.cookie())
        .send()
        .await;
    assert_eq!(back.status, 303, "all of that used nothing up");
    let again = world
        .back(&format!("code=c&state={state}"), &begun.cookie())
        .send()
        .await;
    assert_eq!(
        (again.status.as_u16(), again.code().as_str()),
        (400, "state_unknown")
    );
    let (late, late_state) = world.begin(&query_of(&world)).await;
    world.clock.pass(std::time::Duration::from_secs(11 * 60));
    let got = world
        .back(&format!("code=c&state={late_state}"), &late.cookie())
        .send()
        .await;
    assert_eq!(got.code(), "state_unknown");
    assert_eq!(got.text(), again.text());
}

fn query_of(world: &World) -> String {
    format!("public_key={}&redirect_uri={RETURN}", world.public_key)
}

#[tokio::test]
async fn refusals_of_the_provider_go_back_in_our_own_words() {
    let world = World::new().await;
    // C14, C15, C16, C17.
    let rows = [
        ("error=access_denied", "access_denied"),
        ("error=access-denied", "access_denied"),
        ("error=%3Cscript%3E&error_description=canary", "server_error"),
        ("code=c&iss=https://evil.test", "server_error"),
        ("code=c&iss=https://login.test/", "server_error"),
    ];
    for (query, error) in rows {
        let (begun, state) = world.begin(&query_of(&world)).await;
        let got = world
            .back(&format!("{query}&state={state}"), &begun.cookie())
            .send()
            .await;
        let location = got.header("location").to_owned();
        assert_eq!(got.status, 303, "{query}");
        assert!(
            location.starts_with(&format!("{RETURN}?error={error}&error_description=")),
            "{location}"
        );
        assert!(
            !location.contains("canary") && !location.contains("%3C"),
            "{location}"
        );
        check_headers(&got);
    }
    assert_eq!(world.fake.calls("exchange"), 0);

    // Without a redirect URI they end on a page: 403 for a denial, 502 for the provider's fault.
    let refusal = |reason| Plan::Fails(Failure::refused(Verdict::GrantDead, reason));
    let rows = [
        ("error=access_denied", Plan::Well, 403, "access_denied"),
        ("error=server_error", Plan::Well, 502, "provider_rejected"),
        ("code=c", refusal(Reason::CodeRejected), 502, "provider_rejected"),
        (
            "code=c",
            refusal(Reason::AnswerIncomplete),
            502,
            "token_response_incomplete",
        ),
        (
            "code=c",
            refusal(Reason::SignatureInvalid),
            502,
            "token_response_signature_invalid",
        ),
    ];
    for (query, plan, status, code) in rows {
        world.fake.plan("exchange", plan);
        let (begun, state) = world.begin(&format!("public_key={}", world.public_key)).await;
        let got = world
            .back(&format!("{query}&state={state}"), &begun.cookie())
            .send()
            .await;
        assert_eq!(
            (got.status.as_u16(), got.code().as_str()),
            (status, code),
            "{query}"
        );
        check_page(&got);
        assert!(got.header("set-cookie").contains("Max-Age=0"));
    }
    assert_eq!(world.get("/api/v1/connections").await["totalCount"], 0);
}

/// Never a redirect, whatever the redirect URI says: the page stands before it.
#[tokio::test]
async fn what_cannot_begin() {
    let world = World::new().await;
    let (other, _) = world.another().await;
    let key = &world.public_key;
    let api = &world.api_key;
    let good = format!("/connect/{}?public_key={key}", world.integration);
    let cut = &key[..key.len() - 1];
    let long = "a".repeat(3000);
    let here = format!("/connect/{}", world.integration);
    let rows = [
        (here.clone(), 400, "public_key_missing"),
        (format!("{here}?public_key="), 401, "key_malformed"),
        (format!("{here}?public_key={cut}"), 401, "key_malformed"),
        (format!("{here}?public_key=%3Cscript%3E"), 401, "key_malformed"),
        (format!("{here}?public_key={api}"), 400, "key_in_url"),
        (format!("{here}?public_key={ADMIN}"), 400, "key_in_url"),
        (
            format!("{here}?public_key={key}&public_key={key}"),
            400,
            "parameter_duplicate",
        ),
        (
            format!("{here}?public_key={key}&link=x"),
            400,
            "parameter_invalid",
        ),
        (format!("{here}?link=x"), 400, "link_invalid"),
        (
            format!("/connect/{other}?public_key={key}"),
            403,
            "integration_mismatch",
        ),
        (
            format!("/connect/int_unknown?public_key={key}"),
            403,
            "integration_mismatch",
        ),
        (
            format!("/connect/a%2Fb?public_key={key}"),
            400,
            "id_invalid_character",
        ),
        (format!("/connect/?public_key={key}"), 400, "id_empty"),
        (format!("{good}&redirect_uri="), 400, "return_to_not_allowed"),
        (
            format!("{good}&redirect_uri=https://evil.test/done"),
            400,
            "return_to_not_allowed",
        ),
        (
            format!("{good}&redirect_uri=https://app.example@evil.test/done"),
            400,
            "return_to_not_allowed",
        ),
        (
            format!("{good}&redirect_uri=https://app.example/done%3Fx=1"),
            400,
            "return_to_not_allowed",
        ),
        (
            format!("{good}&redirect_uri=//evil.test"),
            400,
            "return_to_not_allowed",
        ),
        (
            format!("{good}&redirect_uri=javascript:alert(1)"),
            400,
            "return_to_not_allowed",
        ),
        (
            format!("{good}&redirect_uri=https://app.example/{long}"),
            400,
            "return_to_too_long",
        ),
        (
            format!("{good}&redirect_uri={RETURN}&redirect_uri={RETURN}"),
            400,
            "parameter_duplicate",
        ),
    ];
    for (target, status, code) in rows {
        let got = world.bare("GET", &target).send().await;
        assert_eq!(
            (got.status.as_u16(), got.code().as_str()),
            (status, code),
            "{target}"
        );
        check_page(&got);
        assert!(
            got.header("location").is_empty() && got.header("set-cookie").is_empty(),
            "{target}"
        );
        assert!(
            !got.text().contains("evil") && !got.text().contains("alert"),
            "{target}"
        );
    }
    // What others append to links is passed over; a slash at the end is, too.
    let got = world
        .bare(
            "GET",
            &format!("/connect/{}/?utm_source=x&public_key={key}", world.integration),
        )
        .send()
        .await;
    assert_eq!(got.status, 303);

    world
        .broker
        .integration(&world.integration)
        .disable()
        .await
        .unwrap();
    let got = world.bare("GET", &good).send().await;
    assert_eq!(
        (got.status.as_u16(), got.code().as_str()),
        (403, "integration_disabled")
    );
    world
        .broker
        .integration(&world.integration)
        .enable()
        .await
        .unwrap();
    let bad = Failure::refused(Verdict::ClientMisconfigured, Reason::ClientIdInvalid);
    world.fake.plan("verify", Plan::Fails(bad));
    world
        .broker
        .integration(&world.integration)
        .verify()
        .await
        .unwrap();
    let got = world.bare("GET", &good).send().await;
    assert_eq!(
        (got.status.as_u16(), got.code().as_str()),
        (409, "integration_not_configured")
    );
    let revoked = world
        .broker
        .mint_key(KeyKind::Public, Some(&world.integration), None)
        .await
        .unwrap();
    world
        .broker
        .revoke_key(Some(&world.integration), &revoked.id)
        .await
        .unwrap();
    let got = world
        .bare("GET", &format!("{here}?public_key={}", revoked.secret.expose()))
        .send()
        .await;
    assert_eq!((got.status.as_u16(), got.code().as_str()), (401, "key_revoked"));
}

/// S02: only a window that navigates can begin or finish; clients that are no browsers say nothing of the kind.
#[tokio::test]
async fn only_navigations_begin() {
    let world = World::new().await;
    let target = format!("/connect/{}?public_key={}", world.integration, world.public_key);
    let rows = [
        ("cross-site", "navigate", "document", true),
        ("same-origin", "navigate", "document", true),
        ("none", "navigate", "document", true),
        ("cross-site", "no-cors", "image", false),
        ("cross-site", "navigate", "iframe", false),
        ("cross-site", "cors", "empty", false),
        ("same-origin", "cors", "empty", false),
        ("cross-site", "no-cors", "script", false),
        ("cross-site", "navigate", "object", false),
    ];
    for (site, mode, dest, allowed) in rows {
        let got = world
            .bare("GET", &target)
            .header("sec-fetch-site", site)
            .header("sec-fetch-mode", mode)
            .header("sec-fetch-dest", dest)
            .send()
            .await;
        if allowed {
            assert_eq!(got.status, 303, "{site} {mode} {dest}");
        } else {
            assert_eq!(
                (got.status.as_u16(), got.code().as_str()),
                (403, "navigation_required"),
                "{site} {mode} {dest}"
            );
            assert!(got.header("set-cookie").is_empty());
        }
    }
    let (begun, state) = world.begin(&query_of(&world)).await;
    let got = world
        .back(&format!("code=c&state={state}"), &begun.cookie())
        .header("sec-fetch-dest", "iframe")
        .send()
        .await;
    assert_eq!(got.code(), "navigation_required");
    let got = world
        .back(&format!("code=c&state={state}"), &begun.cookie())
        .send()
        .await;
    assert_eq!(got.status, 303, "nothing was used up");
}

/// A closed tab loses nothing: the request is dropped while the provider still thinks.
#[tokio::test(start_paused = true)]
async fn a_closed_tab_loses_nothing() {
    let world = World::new().await;
    let (begun, state) = world.begin(&query_of(&world)).await;
    world.fake.plan("identify", Plan::Hangs);
    let back = world
        .back(&format!("code=c&state={state}"), &begun.cookie())
        .send();
    assert!(
        tokio::time::timeout(std::time::Duration::from_millis(200), back)
            .await
            .is_err()
    );
    assert_eq!(world.fake.calls("exchange"), 1);
    // The second question for the person is answered; the first one is given up by the broker's own limit.
    world.fake.plan("identify", Plan::Well);
    for _ in 0..300 {
        if world.get("/api/v1/connections").await["totalCount"] == 1 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("the connection was lost");
}
