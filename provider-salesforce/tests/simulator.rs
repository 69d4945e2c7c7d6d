//! The provider against the simulator: every method over real sockets.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail a test by panicking"
)]

use std::{collections::HashMap, sync::Arc, time::Duration};

use grantry::{
    connection::Reason,
    id::IntegrationId,
    integration::{Client, Offering, Options},
    provider::{
        AccessLife, AuthorizeRequest, CodeExchange, Expiry, Failure, Provider, ProviderHttp, Rotation,
        TokenHttp, TokenSet, Transport, Verdict,
    },
    secret::Secret,
    time::Timestamp,
    transport::HttpTransport,
};
use grantry_provider_salesforce::Salesforce;
use grantry_salesforce_simulator::{
    Config, DEFAULT_CLIENT_ID, DEFAULT_CLIENT_SECRET, DEFAULT_PASSWORD, Simulator, TokenFault, TokenFaultKind,
};
use serde_json::json;

const CALLBACK: &str = "http://127.0.0.1:8080/callback";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
const SARAH: &str = "sarah@acme.com";

/// A simulator, and everything that stands in a [`Client`] for it.
#[derive(Debug)]
struct World {
    simulator: Simulator,
    salesforce: Salesforce,
    transport: Arc<dyn Transport>,
    integration: IntegrationId,
    offering: Offering,
    client_id: String,
    client_secret: Secret,
    scopes: Vec<String>,
    options: Options,
}

impl World {
    async fn new() -> Self {
        let simulator = Simulator::start(Config::default()).await.unwrap();
        let salesforce = Salesforce::new();
        let transport = HttpTransport::builder()
            .allow_loopback(true)
            .connect_timeout(Duration::from_secs(2))
            .total_timeout(Duration::from_secs(2))
            .build()
            .unwrap();
        let options = json!({"loginUrl": simulator.login_url(), "prompt": "login consent"});
        Self {
            transport: Arc::new(transport),
            integration: IntegrationId::new("int_1").unwrap(),
            offering: salesforce.facts().offerings[0].clone(),
            client_id: DEFAULT_CLIENT_ID.to_owned(),
            client_secret: Secret::new(DEFAULT_CLIENT_SECRET),
            scopes: ["api", "refresh_token", "id"].map(str::to_owned).to_vec(),
            options: serde_json::from_value(options).unwrap(),
            simulator,
            salesforce,
        }
    }

    fn client(&self) -> Client<'_> {
        Client {
            integration: &self.integration,
            offering: &self.offering,
            client_id: &self.client_id,
            client_secret: &self.client_secret,
            scopes: &self.scopes,
            callback_url: CALLBACK,
            options: &self.options,
            allow_loopback: true,
        }
    }

    fn now(&self) -> Timestamp {
        Timestamp(self.simulator.now())
    }

    fn once(&self) -> TokenHttp {
        TokenHttp::new(self.transport.clone()).0
    }

    fn http(&self) -> ProviderHttp {
        ProviderHttp::new(self.transport.clone())
    }

    async fn exchange(&self, code: &str, verifier: &str) -> Result<TokenSet, Failure> {
        let request = CodeExchange {
            code: &Secret::new(code),
            code_verifier: &Secret::new(verifier),
            now: self.now(),
        };
        self.salesforce
            .exchange_code(self.once(), &self.client(), request)
            .await
    }

    async fn refresh(&self, token: &Secret) -> Result<TokenSet, Failure> {
        let (http, now) = (self.once(), self.now());
        self.salesforce.refresh(http, &self.client(), token, now).await
    }

    async fn connect(&self) -> TokenSet {
        let code = log_in(self, SARAH, "allow").await.remove("code").unwrap();
        self.exchange(&code, VERIFIER).await.unwrap()
    }

    async fn life(&self, set: &TokenSet) -> Result<AccessLife, Failure> {
        self.salesforce
            .access_life(&self.http(), &self.client(), set)
            .await
    }

    async fn verify(&self) -> Result<(), Failure> {
        self.salesforce.verify_client(&self.http(), &self.client()).await
    }
}

/// Walks the browser's way by hand, and gives the callback's query.
async fn log_in(world: &World, username: &str, decision: &str) -> HashMap<String, String> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let browser = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap();
    let request = AuthorizeRequest {
        state: "Zk3",
        code_challenge: CHALLENGE,
        login_hint: Some(username),
    };
    let base = world.salesforce.authorize_url(&world.client(), &request).unwrap();
    let location = |answer: &reqwest::Response| {
        assert!(answer.status().is_redirection(), "{}", answer.status());
        base.join(answer.headers()["location"].to_str().unwrap()).unwrap()
    };
    let login = location(&browser.get(base.clone()).send().await.unwrap());
    let page = browser
        .get(login.clone())
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert!(page.contains(username), "the login hint fills the form");
    let flow = login
        .query_pairs()
        .find(|(name, _)| name == "flow")
        .unwrap()
        .1
        .into_owned();

    let form = [
        ("flow", flow.as_str()),
        ("username", username),
        ("pw", DEFAULT_PASSWORD),
    ];
    let answer = browser
        .post(base.join("/login").unwrap())
        .form(&form)
        .send()
        .await
        .unwrap();
    let cookie = answer.headers()["set-cookie"].to_str().unwrap();
    let cookie = cookie.split(';').next().unwrap().to_owned();
    assert_eq!(location(&answer).path(), "/consent");

    let form = [("flow", flow.as_str()), ("decision", decision)];
    let consent = browser
        .post(base.join("/consent").unwrap())
        .header("cookie", cookie)
        .form(&form);
    let callback = location(&consent.send().await.unwrap());
    assert!(callback.as_str().starts_with(CALLBACK), "{callback}");
    callback.query_pairs().into_owned().collect()
}

fn refused<T: std::fmt::Debug>(answer: Result<T, Failure>) -> (Verdict, Reason) {
    match answer {
        Err(Failure::Refused(refusal)) => (refusal.verdict, refusal.reason),
        other => panic!("not refused: {other:?}"),
    }
}

/// How many refresh requests have arrived, whatever became of them.
fn arrived(world: &World) -> u64 {
    world.simulator.counters()["token_refresh_token"]
        .as_u64()
        .unwrap()
}

#[tokio::test]
async fn connect_and_identify() {
    let world = World::new().await;
    let callback = log_in(&world, SARAH, "allow").await;
    assert_eq!(callback["state"], "Zk3");
    let set = world.exchange(&callback["code"], VERIFIER).await.unwrap();
    assert!(set.access_token.expose().starts_with("00D5g00000A1b2C!"));
    assert!(set.refresh_token.is_some());
    assert_eq!(set.instance_url.as_deref(), Some(world.simulator.instance_url()));
    assert_eq!(
        set.subject.as_deref(),
        Some("00D5g00000A1b2CEAR/0055g00000D4e5FAAR")
    );
    let mut scopes = set.scopes.clone().unwrap();
    scopes.sort();
    assert_eq!(scopes, ["api", "id", "refresh_token"]);
    assert!(matches!(set.expiry, Expiry::Assumed(_)));

    let found = world
        .salesforce
        .identify(&world.http(), &world.client(), &set)
        .await
        .unwrap();
    assert_eq!(found.user_id, "0055g00000D4e5FAAR");
    assert_eq!(found.org_id, "00D5g00000A1b2CEAR");
    assert_eq!((found.name.as_str(), found.email.as_str()), ("Sarah Chen", SARAH));
    assert_eq!(
        (found.org_name.as_str(), found.region.as_str()),
        ("Acme Corp", "USA123")
    );
}

#[tokio::test]
async fn a_user_who_says_no() {
    let world = World::new().await;
    let callback = log_in(&world, SARAH, "deny").await;
    assert!(callback["error"].starts_with("access"), "{callback:?}");
    assert!(!callback.contains_key("code"));
}

#[tokio::test]
async fn codes_work_once_and_for_their_verifier() {
    let world = World::new().await;
    let code = log_in(&world, SARAH, "allow").await.remove("code").unwrap();
    let wrong = world.exchange(&code, &VERIFIER.to_lowercase()).await;
    assert_eq!(refused(wrong).0, Verdict::GrantDead);

    let code = log_in(&world, SARAH, "allow").await.remove("code").unwrap();
    world.exchange(&code, VERIFIER).await.unwrap();
    let again = world.exchange(&code, VERIFIER).await;
    assert_eq!(refused(again), (Verdict::GrantDead, Reason::CodeRejected));
    let junk = world.exchange("aPrxJunk", VERIFIER).await;
    assert_eq!(refused(junk), (Verdict::GrantDead, Reason::CodeRejected));
}

#[tokio::test]
async fn rotation_and_reuse() {
    let world = World::new().await;
    let first = world.connect().await;
    let spent = first.refresh_token.as_ref().unwrap();
    let second = world.refresh(spent).await.unwrap();
    assert_eq!(second.subject, first.subject);
    assert_eq!(second.instance_url, first.instance_url);
    let living = second.refresh_token.as_ref().unwrap();
    assert!(living != spent && second.access_token != first.access_token);

    let reused = world.refresh(spent).await;
    assert_eq!(
        refused(reused),
        (Verdict::GrantDead, Reason::GrantExpiredOrRevoked)
    );
    let ended = world.refresh(living).await;
    assert_eq!(
        refused(ended),
        (Verdict::GrantDead, Reason::GrantExpiredOrRevoked)
    );
    assert_eq!(world.life(&second).await, Ok(AccessLife::Dead));
}

#[tokio::test]
async fn without_rotation_the_token_stays() {
    let world = World::new().await;
    world.simulator.update(|settings| settings.rotation = false);
    let first = world.connect().await;
    let token = first.refresh_token.unwrap();
    for _ in 0..2 {
        assert!(world.refresh(&token).await.unwrap().refresh_token.is_none());
    }
}

#[tokio::test]
async fn two_at_once() {
    let world = World::new().await;
    let token = world.connect().await.refresh_token.unwrap();
    world.simulator.update(|settings| settings.token_latency_ms = 300);
    let (one, two) = tokio::join!(world.refresh(&token), world.refresh(&token));
    let (won, lost) = if one.is_ok() { (one, two) } else { (two, one) };
    assert!(won.is_ok());
    assert_eq!(refused(lost), (Verdict::InProgress, Reason::AlreadyProcessing));
}

#[tokio::test]
async fn revoked_tokens_are_gone() {
    let world = World::new().await;
    let set = world.connect().await;
    let token = set.refresh_token.as_ref().unwrap();
    for _ in 0..2 {
        let gone = world
            .salesforce
            .revoke(&world.http(), &world.client(), token)
            .await;
        assert_eq!(gone, Ok(()), "the second time it is not known any more");
    }
    world
        .simulator
        .update(|settings| settings.revoke_errors_as_json = true);
    assert_eq!(
        world
            .salesforce
            .revoke(&world.http(), &world.client(), token)
            .await,
        Ok(())
    );
    assert_eq!(
        refused(world.refresh(token).await).1,
        Reason::GrantExpiredOrRevoked
    );
    assert_eq!(world.life(&set).await, Ok(AccessLife::Dead));
}

#[tokio::test]
async fn lives_of_access_tokens() {
    let world = World::new().await;
    let set = world.connect().await;
    let Ok(AccessLife::Alive(Some(until))) = world.life(&set).await else {
        panic!("a new token lives, and its end is known");
    };
    let left = world.now().until(until);
    assert!(
        left > Duration::from_secs(118 * 60) && left <= Duration::from_secs(121 * 60),
        "{left:?}"
    );
    world.simulator.expire_sessions(None).unwrap();
    assert_eq!(world.life(&set).await, Ok(AccessLife::Dead));
    assert!(
        world
            .salesforce
            .identify(&world.http(), &world.client(), &set)
            .await
            .is_err()
    );
}

#[tokio::test]
async fn the_client_is_told_apart() {
    let mut world = World::new().await;
    assert_eq!(world.verify().await, Ok(()));

    world.client_secret = Secret::new("wrong");
    let misconfigured = |reason| (Verdict::ClientMisconfigured, reason);
    assert_eq!(
        refused(world.verify().await),
        misconfigured(Reason::ClientSecretInvalid)
    );
    let refresh = world.refresh(&Secret::new("5Aep861Junk")).await;
    assert_eq!(refused(refresh), misconfigured(Reason::ClientSecretInvalid));

    world.client_id = "3MVG9Nobody".to_owned();
    assert_eq!(
        refused(world.verify().await),
        misconfigured(Reason::ClientIdInvalid)
    );

    world
        .options
        .insert("loginUrl".to_owned(), json!("http://127.0.0.1:1"));
    assert_eq!(world.verify().await, Err(Failure::NotSent));
}

#[tokio::test]
async fn answers_that_get_lost_or_spoilt() {
    use TokenFaultKind::{
        AnswerLost, Drip, FailedAfterCommit, Garbage, Hang, Html503, Late, Redirect, RequestLost, Truncated,
    };
    let world = World::new().await;
    let lost = Reason::AnswerLost;
    let invalid = Reason::AnswerInvalid;
    let unavailable = Reason::ServerUnavailable;
    let garbage = |body: &str| Garbage {
        body: body.to_owned(),
        content_type: "application/json".to_owned(),
    };
    for (fault, reason) in [
        (AnswerLost, lost),
        (Hang { processed: true }, lost),
        (Hang { processed: false }, lost),
        (RequestLost, lost),
        (Drip { ms: 1000 }, lost),
        (
            Late {
                ms: 60_000,
                close: false,
            },
            lost,
        ),
        (Late { ms: 50, close: true }, lost),
        (Truncated, lost),
        (Html503, unavailable),
        (FailedAfterCommit { status: 500 }, unavailable),
        (
            Redirect {
                location: format!("{}/elsewhere", world.simulator.instance_url()),
                status: 307,
            },
            invalid,
        ),
        (garbage("<html></html>"), invalid),
        (garbage("{\"error\":\"invalid_grant\"}"), invalid),
        (garbage("{}"), invalid),
    ] {
        let token = world.connect().await.refresh_token.unwrap();
        world
            .simulator
            .add_token_fault(TokenFault::next_refresh(fault.clone()));
        let before = arrived(&world);
        let found = world.refresh(&token).await.map(|_| ());
        assert_eq!(found, Err(Failure::Unknown(reason)), "{fault:?}");
        assert_eq!(arrived(&world) - before, 1, "{fault:?}: repeated by itself");
    }
}

/// What came is taken, whatever stands beside it: the token that was spent for it is gone.
#[tokio::test]
async fn an_answer_that_came_is_never_lost() {
    use TokenFaultKind::{Extra, Oversized};
    let world = World::new().await;
    let extra = |member: &str| Extra {
        member: member.to_owned(),
    };
    let deep = format!("\"x\":{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    for fault in [
        Oversized { bytes: 300_000 },
        Oversized { bytes: 8 << 20 },
        extra(r#""name":"\ud83d""#),
        extra(r#""name":"\x""#),
        extra("\"name\":\"a\tb\""),
        extra(r#""expires_in":"soon""#),
        extra(r#""expires_in":[7200]"#),
        extra(r#""expires_in":1e999"#),
        extra(r#""claims":NaN"#),
        extra(r#""id_token":7,"id_token":8"#),
        extra(&deep),
    ] {
        let token = world.connect().await.refresh_token.unwrap();
        world
            .simulator
            .add_token_fault(TokenFault::next_refresh(fault.clone()));
        let set = world.refresh(&token).await;
        let shown = format!("{fault:.80?}");
        let newer = set.unwrap_or_else(|failure| panic!("{failure}: {shown}"));
        // It works, and so does what is to be presented next.
        assert!(
            world.refresh(&newer.refresh_token.unwrap()).await.is_ok(),
            "{shown}"
        );
    }
    // At the connect, too.
    for fault in [
        Oversized { bytes: 300_000 },
        extra(r#""name":"\ud83d""#),
        extra(&deep),
    ] {
        world.simulator.add_token_fault(TokenFault::once(fault));
        assert!(world.connect().await.refresh_token.is_some());
    }
}

#[tokio::test]
async fn refusals_on_order() {
    let world = World::new().await;
    let token = world.connect().await.refresh_token.unwrap();
    for (error, description, status, retry_after, verdict, reason) in [
        (
            "server_error",
            "",
            500,
            Some(7),
            Verdict::MayPass,
            Reason::ServerUnavailable,
        ),
        (
            "invalid_grant",
            "ip restricted",
            400,
            None,
            Verdict::MayPass,
            Reason::IpRestricted,
        ),
        (
            "invalid_grant",
            "never seen",
            400,
            None,
            Verdict::MayPass,
            Reason::Unrecognized,
        ),
        (
            "inactive_user",
            "user is inactive",
            400,
            None,
            Verdict::GrantDead,
            Reason::UserInactive,
        ),
    ] {
        world
            .simulator
            .add_token_fault(TokenFault::next_refresh(TokenFaultKind::Error {
                error: error.to_owned(),
                error_description: description.to_owned(),
                status,
                retry_after,
            }));
        let before = arrived(&world);
        let found = world.refresh(&token).await;
        assert_eq!(arrived(&world) - before, 1, "{error}: repeated by itself");
        if let (Some(seconds), Err(Failure::Refused(refusal))) = (retry_after, &found) {
            assert_eq!(refusal.retry_after, Some(Duration::from_secs(seconds.into())));
        }
        assert_eq!(refused(found), (verdict, reason), "{error}: {description}");
    }
    assert!(
        world.refresh(&token).await.is_ok(),
        "none of them spent the token"
    );
}

/// What an admin of the org switches, as the user's tokens see it: refused for now, or for good, and never spent.
#[tokio::test]
async fn what_an_admin_switches() {
    let world = World::new().await;
    let set = world.connect().await;
    let token = set.refresh_token.as_ref().unwrap();
    let org = "00D5g00000A1b2CEAR";
    let simulator = &world.simulator;
    let an_hour = Some(Duration::from_secs(3600));
    let refusal = async || match world.refresh(token).await {
        Err(Failure::Refused(refusal)) => refusal,
        other => panic!("not refused: {other:?}"),
    };

    simulator.set_ip_allowed(org, false).unwrap();
    let found = refusal().await;
    assert_eq!(
        (found.verdict, found.reason, found.retry_after),
        (Verdict::MayPass, Reason::IpRestricted, an_hour)
    );
    let alive = world.life(&set).await;
    assert!(
        matches!(alive, Ok(AccessLife::Alive(_))),
        "access tokens go on: {alive:?}"
    );
    simulator.set_ip_allowed(org, true).unwrap();

    simulator.set_org_active(org, false).unwrap();
    let found = refusal().await;
    assert_eq!(
        (found.verdict, found.reason, found.retry_after),
        (Verdict::MayPass, Reason::OrgInactive, an_hour)
    );
    assert_eq!(
        world.life(&set).await,
        Err(Failure::Unknown(Reason::AnswerInvalid)),
        "a locked org may be opened again: no proof of death"
    );
    simulator.set_org_active(org, true).unwrap();

    simulator.set_active(SARAH, false).unwrap();
    let found = refusal().await;
    assert_eq!(
        (found.verdict, found.reason),
        (Verdict::GrantDead, Reason::UserInactive)
    );
    assert_eq!(world.life(&set).await, Ok(AccessLife::Dead));
    simulator.set_active(SARAH, true).unwrap();

    assert!(world.refresh(token).await.is_ok(), "none of them spent the token");
}

/// The same at the end of a login: the user learns why.
#[tokio::test]
async fn an_admin_says_no_while_somebody_connects() {
    let world = World::new().await;
    let org = "00D5g00000A1b2CEAR";
    let code = log_in(&world, SARAH, "allow").await.remove("code").unwrap();
    world.simulator.set_ip_allowed(org, false).unwrap();
    let found = refused(world.exchange(&code, VERIFIER).await);
    assert_eq!(found, (Verdict::MayPass, Reason::IpRestricted));
    world.simulator.set_ip_allowed(org, true).unwrap();

    let code = log_in(&world, SARAH, "allow").await.remove("code").unwrap();
    world.simulator.set_org_active(org, false).unwrap();
    let found = refused(world.exchange(&code, VERIFIER).await);
    assert_eq!(found, (Verdict::MayPass, Reason::OrgInactive));
}

#[tokio::test]
async fn a_hostile_answer_at_connect() {
    let world = World::new().await;
    let hostile = [
        (
            json!({"instance_url": "https://acme.my.salesforce.com.evil.test"}),
            Reason::InstanceUrlRejected,
        ),
        (
            json!({"instance_url": "http://127.0.0.66:80"}),
            Reason::InstanceUrlRejected,
        ),
        (json!({"signature": "AAAA"}), Reason::SignatureInvalid),
        (
            json!({"id": "https://evil.test/id/00D5g00000A1b2CEAR/0055g00000D4e5FAAR"}),
            Reason::IdentityUrlRejected,
        ),
        (json!({"omit_fields": ["id"]}), Reason::AnswerIncomplete),
        (json!({"omit_fields": ["instance_url"]}), Reason::AnswerIncomplete),
        (json!({"omit_fields": ["access_token"]}), Reason::AnswerIncomplete),
        (
            json!({"extra_fields": {"token_type": "mac"}}),
            Reason::TokenTypeUnsupported,
        ),
    ];
    for (change, reason) in hostile {
        let honest = world.simulator.settings();
        let serde_json::Value::Object(fields) = change.clone() else {
            unreachable!()
        };
        let changed = honest.clone().merged(fields).unwrap();
        world.simulator.update(|settings| *settings = changed);
        let code = log_in(&world, SARAH, "allow").await.remove("code").unwrap();
        let found = world.exchange(&code, VERIFIER).await.map(|_| ());
        assert_eq!(found, Err(Failure::Unknown(reason)), "{change}");
        world.simulator.update(|settings| *settings = honest);
    }
    world
        .simulator
        .update(|settings| settings.instance_url_slash = true);
    let set = world.connect().await;
    assert_eq!(set.instance_url.as_deref(), Some(world.simulator.instance_url()));
}

#[tokio::test]
async fn what_the_options_say() {
    let mut world = World::new().await;
    let login = world.simulator.login_url().to_owned();
    {
        let client = world.client();
        let salesforce = &world.salesforce;
        assert_eq!(
            salesforce.token_host(&client),
            login.trim_start_matches("http://")
        );
        assert_eq!(salesforce.issuer(&client).as_deref(), Some(login.as_str()));
        assert_eq!(salesforce.rotation(&client), Rotation::Strict);
        assert_eq!(
            salesforce.idle_limit(&client),
            Some(Duration::from_secs(30 * 24 * 3600))
        );
        let instance = format!("{}/", world.simulator.instance_url());
        assert_eq!(
            salesforce.check_instance_url(&client, &instance).as_deref(),
            Ok(world.simulator.instance_url())
        );
        assert!(
            salesforce
                .check_instance_url(&client, "http://127.0.0.66:9")
                .is_err()
        );
        let strict = Client {
            allow_loopback: false,
            ..client
        };
        assert!(salesforce.check_instance_url(&strict, &instance).is_err());
        assert!(
            salesforce
                .check_options(&world.offering, &world.options, true)
                .is_ok()
        );
        assert!(
            salesforce
                .check_options(&world.offering, &world.options, false)
                .is_err()
        );
    }
    world.options.insert("rotation".to_owned(), json!("reusable"));
    world.options.insert("idleDays".to_owned(), json!(0));
    world.options.insert("sessionMinutes".to_owned(), json!(15));
    let client = world.client();
    assert_eq!(world.salesforce.rotation(&client), Rotation::Reusable);
    assert_eq!(world.salesforce.idle_limit(&client), None);
    let (begun, session) = (world.now(), Duration::from_secs(15 * 60));
    let Expiry::Assumed(ends) = world.connect().await.expiry else {
        panic!("nobody said when it ends");
    };
    assert!(begun + session <= ends && ends <= world.now() + session);
}
