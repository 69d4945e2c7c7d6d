//! Bad inputs that need a whole broker: damaged rows, settings, flows that are forked. Those that one part answers alone
//! are tested beside that part; `README.md` has their letters.
#![cfg(feature = "http")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "all of this is a test"
)]

#[path = "http/ask.rs"]
#[allow(dead_code, reason = "shared with the tests of the HTTP surface")]
mod ask;
#[path = "http/fake.rs"]
#[allow(dead_code, reason = "shared with the tests of the HTTP surface")]
mod fake;
#[path = "http/world.rs"]
#[allow(dead_code, reason = "shared with the tests of the HTTP surface")]
mod world;

use std::{collections::BTreeSet, time::Duration};

use bytes::Bytes;
use fake::Fake;
use grantry::{
    Broker, Builder, ConfigError,
    error::{Code, Error},
    id::ConnectionId,
    secret::Secret,
    store::{
        ConnectionRow, ConnectionStore as _, MemoryStore, PendingRow, PendingStore as _, Put, Stored, Swap,
        Taken,
    },
    testing::State,
    time::Timestamp,
    vault::{Keyring, Purpose, SealContext, TokenVault as _},
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use world::{PUBLIC_URL, RETURN, World};

const LIST: &str = "/api/v1/connections";

// ---- Rows that are damaged ----

/// The parts of a row's body.
#[derive(Clone)]
struct Parts {
    sealed: Vec<u8>,
    history: Vec<u8>,
    /// As they are written: a parser would round their large numbers.
    facts: String,
}

impl Parts {
    fn of(body: &[u8]) -> Self {
        let cut = |at: usize| {
            let length = u32::from_le_bytes(body[at..at + 4].try_into().unwrap());
            let end = at + 4 + usize::try_from(length).unwrap();
            (body[at + 4..end].to_vec(), end)
        };
        let (sealed, at) = cut(1);
        let (history, at) = cut(at);
        let facts = String::from_utf8(body[at..].to_vec()).unwrap();
        Self {
            sealed,
            history,
            facts,
        }
    }

    fn body(&self) -> Bytes {
        let mut body = vec![1];
        for part in [&self.sealed, &self.history] {
            body.extend(u32::try_from(part.len()).unwrap().to_le_bytes());
            body.extend_from_slice(part);
        }
        body.extend(self.facts.bytes());
        body.into()
    }

    fn sealed(&self, sealed: impl Into<Vec<u8>>) -> Bytes {
        let sealed = sealed.into();
        Self {
            sealed,
            ..self.clone()
        }
        .body()
    }

    /// The body with another value of a field that is a number or a text.
    fn with(&self, name: &str, value: &str) -> Self {
        let start = self.facts.find(&format!("\"{name}\":")).unwrap() + name.len() + 3;
        let length = self.facts[start..].find([',', '}']).unwrap();
        let mut parts = self.clone();
        parts.facts.replace_range(start..start + length, value);
        parts
    }

    fn facts(&self, name: &str, value: &str) -> Bytes {
        self.with(name, value).body()
    }
}

/// Two connections in one world, and a way to put anything into a row.
struct Damage {
    world: World,
    one: ConnectionId,
    other: ConnectionId,
    ring: Keyring,
}

impl Damage {
    async fn new() -> Self {
        let world = World::new().await;
        let one = world.connect("ann@acme.example").await;
        let other = world.connect("bob@acme.example").await;
        let ring = Keyring::parse(&world.keys).unwrap();
        Self {
            world,
            one,
            other,
            ring,
        }
    }

    async fn row(&self, id: &ConnectionId) -> Stored {
        self.world.store.connection(id).await.unwrap().0.unwrap()
    }

    async fn parts(&self, id: &ConnectionId) -> Parts {
        Parts::of(&self.row(id).await.row.body)
    }

    /// Writes a body; everything else of the row stays.
    async fn write(&self, id: &ConnectionId, body: impl Into<Bytes>) -> Stored {
        let old = self.row(id).await;
        let next = ConnectionRow {
            body: body.into(),
            ..old.row
        };
        let swap = self.world.store.swap_connection(&next, old.revision).await;
        assert!(matches!(swap, Ok(Swap::Swapped(_))));
        self.row(id).await
    }

    /// A process that has seen nothing yet.
    fn process(&self) -> Broker {
        builder(&self.world, Keyring::parse(&self.world.keys).unwrap())
            .build()
            .unwrap()
    }

    /// Another process is asked for credentials: they are refused, the row is left as it is, and the other connection
    /// works.
    async fn refused(&self, name: &str, body: impl Into<Bytes>) -> Error {
        let damaged = self.write(&self.one, body).await;
        let broker = self.process();
        let error = broker.credentials(&self.one).await.expect_err(name);
        assert_eq!(
            self.row(&self.one).await,
            damaged,
            "{name}: the row is left as it is"
        );
        assert_eq!(self.world.fake.calls("refresh"), 0, "{name}");
        broker
            .credentials(&self.other)
            .await
            .unwrap_or_else(|e| panic!("{name}: {e:?}"));
        error
    }

    fn context<'a>(&'a self, id: &'a ConnectionId, parts: &Parts) -> SealContext<'a> {
        let facts: Value = serde_json::from_str(&parts.facts).unwrap();
        let name = &facts["row"]["name"];
        SealContext {
            purpose: Purpose::Tokens,
            integration: self.world.integration.as_str(),
            subject: id.as_str(),
            epoch: name["epoch"].as_u64().unwrap(),
            generation: name["generation"].as_u64().unwrap(),
        }
    }
}

fn builder(world: &World, ring: Keyring) -> Builder {
    Broker::builder(world.store.clone(), ring)
        .provider(world.fake.clone())
        .transport(world.fake.clone())
        .clock(world.clock.clone())
        .public_url(PUBLIC_URL)
}

fn told(error: &Error) -> (&'static str, Option<&'static str>) {
    (error.code().as_str(), error.reason())
}

#[tokio::test]
async fn rows_that_do_not_open() {
    let damage = Damage::new().await;
    let good = damage.parts(&damage.one).await;
    let foreign = damage.parts(&damage.other).await;
    let context = damage.context(&damage.one, &good);
    let seal = async |context: SealContext<'_>, text: &[u8]| damage.ring.seal(&context, text).await.unwrap();
    let opened = damage.ring.open(&context, &good.sealed).await.unwrap();
    let plain = opened.expose();
    let changed = |at: usize, byte: u8| {
        let mut sealed = good.sealed.clone();
        sealed[at] = byte;
        sealed
    };
    let tampered = ("tampered", None);
    let corrupt = ("connection_corrupt", Some("row_corrupt"));
    let envelope = ("tampered", Some("envelope_unknown"));
    let payload = ("connection_corrupt", Some("payload_version"));
    let mut newer = good.body().to_vec();
    newer[0] = 2;
    let elsewhere = SealContext {
        integration: "int_other",
        ..context
    };
    let purpose = SealContext {
        purpose: Purpose::ClientSecret,
        ..context
    };
    let version = SealContext {
        generation: context.generation + 1,
        ..context
    };
    let epoch = SealContext {
        epoch: context.epoch + 1,
        ..context
    };
    let rows: Vec<(&str, Bytes, _)> = vec![
        ("W01 nothing", Bytes::new(), corrupt),
        ("W01 no blob", good.sealed(""), tampered),
        ("W04 magic", good.sealed(changed(0, b'x')), envelope),
        ("W04 version", good.sealed(changed(3, 9)), envelope),
        (
            "W05",
            good.sealed(changed(5, good.sealed[5] ^ 1)),
            ("unknown_key", None),
        ),
        ("W06 another row's body", foreign.body(), tampered),
        (
            "W06 another row's blob",
            good.sealed(foreign.sealed.clone()),
            tampered,
        ),
        (
            "W06 another tenant",
            good.sealed(seal(elsewhere, plain).await),
            tampered,
        ),
        (
            "W06 another purpose",
            good.sealed(seal(purpose, plain).await),
            tampered,
        ),
        (
            "W06 another version",
            good.sealed(seal(version, plain).await),
            tampered,
        ),
        (
            "W06 another epoch",
            good.sealed(seal(epoch, plain).await),
            tampered,
        ),
        ("W07 body of a newer release", newer.into(), payload),
        (
            "W07 blob of a newer release",
            good.sealed(seal(context, b"\x02new").await),
            payload,
        ),
        ("W07 empty blob", good.sealed(seal(context, b"").await), payload),
        (
            "W07 cut blob",
            good.sealed(seal(context, &plain[..plain.len() - 1]).await),
            payload,
        ),
        ("W08 negative", good.facts("generation", "-1"), corrupt),
        (
            "W08 2^64",
            good.facts("generation", "18446744073709551616"),
            corrupt,
        ),
        (
            "W08 2^63",
            good.facts("generation", "9223372036854775808"),
            tampered,
        ),
        ("W09 status", good.facts("status", "\"gone\""), corrupt),
        ("W09 refresh", good.facts("refresh", "\"Resting\""), corrupt),
        (
            "W10 a lease without a holder",
            good.facts(
                "refresh",
                r#"{"Turn":{"until":{"era":1,"millis":0},"attempt":1}}"#,
            ),
            corrupt,
        ),
        (
            "no facts",
            Parts {
                facts: "{}".into(),
                ..good.clone()
            }
            .body(),
            corrupt,
        ),
        (
            "facts of another type",
            Parts {
                facts: "[]".into(),
                ..good.clone()
            }
            .body(),
            corrupt,
        ),
    ];
    for (row, body, expected) in rows {
        let error = damage.refused(row, body).await;
        assert_eq!(told(&error), expected, "{row}");
        assert_eq!(error.code().http_status(), 500, "{row}");
    }
    // What was there opens again: nothing was spoilt by asking.
    damage.write(&damage.one, good.body()).await;
    damage.process().credentials(&damage.one).await.unwrap();
    // A blob that was good before a refresh is no longer.
    damage.world.fake.person("ann@acme.example");
    damage.world.token_ends();
    let broker = damage.process();
    broker.credentials(&damage.one).await.unwrap();
    let now = damage.parts(&damage.one).await;
    assert_ne!(now.sealed, good.sealed);
    damage.write(&damage.one, now.sealed(good.sealed)).await;
    let error = damage.process().credentials(&damage.one).await.unwrap_err();
    assert_eq!(told(&error), tampered, "W06 the version before");
}

/// W06: whole bodies change places; each is refused in the place of the other, and nothing is presented.
#[tokio::test]
async fn bodies_that_changed_places() {
    let damage = Damage::new().await;
    let (one, other) = (damage.row(&damage.one).await, damage.row(&damage.other).await);
    let third = damage.world.connect("eve@acme.example").await;
    damage.write(&damage.one, other.row.body.clone()).await;
    damage.write(&damage.other, one.row.body.clone()).await;
    let broker = damage.process();
    damage.world.token_ends();
    for id in [&damage.one, &damage.other] {
        let before = damage.row(id).await;
        assert_eq!(broker.credentials(id).await.unwrap_err().code(), Code::Tampered);
        assert_eq!(damage.row(id).await, before);
    }
    assert_eq!(damage.world.fake.calls("refresh"), 0);
    broker.credentials(&third).await.unwrap();
}

/// W02 and W03 through the broker: wherever a body is cut or a bit of its seal flips, it is one typed error.
#[tokio::test]
async fn every_cut_and_every_flipped_bit() {
    let damage = Damage::new().await;
    let good = damage.row(&damage.one).await.row.body;
    let parts = damage.parts(&damage.one).await;
    let broker = damage.process();
    let judge = async |what: String, body: Bytes, codes: &[Code]| {
        let damaged = damage.write(&damage.one, body).await;
        let error = broker.credentials(&damage.one).await.expect_err(&what);
        assert!(codes.contains(&error.code()), "{what}: {error:?}");
        assert_eq!(damage.row(&damage.one).await, damaged, "{what}");
    };
    for length in 0..good.len() {
        judge(
            format!("W02 body at {length}"),
            good.slice(..length),
            &[Code::ConnectionCorrupt],
        )
        .await;
    }
    for length in 0..parts.sealed.len() {
        let cut = parts.sealed(&parts.sealed[..length]);
        judge(format!("W02 blob at {length}"), cut, &[Code::Tampered]).await;
    }
    // The format, the length and the blob.
    for bit in 0..(5 + parts.sealed.len()) * 8 {
        let mut body = good.to_vec();
        body[bit / 8] ^= 1 << (bit % 8);
        let codes = [Code::Tampered, Code::VaultKeyUnknown, Code::ConnectionCorrupt];
        judge(format!("W03 bit {bit}"), body.into(), &codes).await;
    }
    // What is not sealed may read otherwise, or not at all; it never brings a panic.
    for at in 5 + parts.sealed.len()..good.len() {
        let mut body = good.to_vec();
        body[at] ^= 1 << (at % 8);
        damage.write(&damage.one, body).await;
        if let Err(error) = broker.connection(&damage.one).view().await {
            assert!(
                matches!(error.code(), Code::ConnectionCorrupt | Code::ConnectionNotFound),
                "W03 byte {at}: {error:?}"
            );
        }
    }
    assert_eq!(damage.world.fake.calls("refresh"), 0);
    broker.credentials(&damage.other).await.unwrap();
}

/// W01: one row that cannot be read hides no list, and is told of where it is asked for.
#[tokio::test]
async fn a_damaged_row_in_a_list() {
    let damage = Damage::new().await;
    let world = &damage.world;
    damage.write(&damage.one, Bytes::new()).await;
    for query in ["", "?status=connected", "?search=ann"] {
        let page = world.get(&format!("{LIST}{query}")).await;
        let items = page["connections"].as_array().unwrap();
        let item = items
            .iter()
            .find(|i| i["connectionId"] == damage.one.as_str())
            .unwrap();
        assert_eq!(item["userEmail"], "ann@acme.example", "{query}");
        assert_eq!(item["connectedAt"], "2026-04-10T14:32:00.000Z", "{query}");
    }
    for rest in ["", "/credentials", "/history"] {
        let target = format!("{LIST}/{}{rest}", damage.one);
        world.api("GET", &target).refused(500, "connection_corrupt").await;
    }
    world.get(&format!("{LIST}/{}", damage.other)).await;
}

/// W11: times that nobody wrote read as the first or the last that can be written down.
#[tokio::test]
async fn times_without_sense() {
    for (millis, shown) in [
        (i64::MIN, "1970-01-01T00:00:00.000Z"),
        (-62_135_596_800_000, "1970-01-01T00:00:00.000Z"),
        (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
        (i64::MAX, "9999-12-31T23:59:59.999Z"),
    ] {
        let damage = Damage::new().await;
        let parts = damage.parts(&damage.one).await;
        let body = ["connected_at", "obtained_at", "access_ends", "refresh_by"]
            .iter()
            .fold(parts, |parts, name| parts.with(name, &millis.to_string()))
            .body();
        let old = damage.row(&damage.one).await;
        let mut next = old.row;
        next.body = body;
        next.index.connected_at = Timestamp(millis);
        next.index.due_at = Some(Timestamp(millis));
        let swap = damage.world.store.swap_connection(&next, old.revision).await;
        assert!(matches!(swap, Ok(Swap::Swapped(_))));
        let detail = damage.world.get(&format!("{LIST}/{}", damage.one)).await;
        assert_eq!(detail["connectedAt"], shown);
        assert_eq!(damage.world.get(LIST).await["totalCount"], 2);
        let got = damage.process().credentials(&damage.one).await.unwrap();
        assert_eq!(got.access_token.expose(), "access-1");
        damage.world.fake.person("ann@acme.example");
        damage.world.token_ends();
        damage.process().credentials(&damage.one).await.unwrap();
    }
}

/// W16: an attempt without its verifier fails, asks nobody, and is used up.
#[tokio::test]
async fn an_attempt_without_a_verifier() {
    let world = World::new().await;
    let ring = Keyring::parse(&world.keys).unwrap();
    let context = SealContext {
        purpose: Purpose::Pending,
        integration: world.integration.as_str(),
        subject: "",
        epoch: 0,
        generation: 0,
    };
    let (begun, state) = world.begin(&format!("public_key={}", world.public_key)).await;
    let secret = begun.cookie().split_once('=').unwrap().1.to_owned();
    let guard: [u8; 32] = Sha256::digest(format!("grantry binding\0{secret}")).into();
    let key = State::parse(&state).unwrap().digest();
    let now = Timestamp(0);
    let Taken::Row(sealed) = world.store.take_pending(&key, &guard, now).await.unwrap() else {
        panic!("the attempt is not there");
    };
    let opened = ring.open(&context, &sealed).await.unwrap();
    let mut attempt: Value = serde_json::from_slice(opened.expose()).unwrap();
    attempt.as_object_mut().unwrap().remove("verifier");
    let body = ring.seal(&context, attempt.to_string().as_bytes()).await.unwrap();
    let row = PendingRow {
        key,
        guard,
        expires_at: Timestamp(i64::MAX),
        body: body.into(),
    };
    assert_eq!(world.store.put_pending(&row).await.unwrap(), Put::Stored);
    let got = world
        .back(&format!("code=c&state={state}"), &begun.cookie())
        .send()
        .await;
    assert_eq!(
        (got.status.as_u16(), got.code().as_str()),
        (500, "store_corrupt"),
        "W16"
    );
    assert_eq!(world.fake.calls("exchange"), 0, "W16");
}

// ---- Settings ----

/// K09: keys that rows use are missing: the process starts, and tells of each row that it cannot open.
#[tokio::test]
async fn a_key_that_is_missing() {
    let damage = Damage::new().await;
    let added = Keyring::add_key(&damage.world.keys).unwrap();
    let promoted = Keyring::parse(&added).unwrap();
    let id = promoted.key_ids().nth(1).unwrap().to_owned();
    let both = Keyring::parse(&Keyring::promote(&added, &id).unwrap()).unwrap();
    let broker = builder(&damage.world, both).build().unwrap();
    broker.credentials(&damage.one).await.unwrap();
    let stranger = Keyring::parse(&Keyring::generate().unwrap()).unwrap();
    let broker = builder(&damage.world, stranger).build().unwrap();
    let before = damage.row(&damage.one).await;
    let error = broker.credentials(&damage.one).await.unwrap_err();
    assert_eq!(told(&error), ("unknown_key", None), "K09");
    assert_eq!(damage.row(&damage.one).await, before, "K09");
}

#[tokio::test]
async fn settings_that_cannot_be() {
    let fake = Fake::new("https://acme.instance.test");
    let build = |change: &dyn Fn(Builder) -> Builder| {
        let ring = Keyring::parse(&Keyring::generate().unwrap()).unwrap();
        let builder = Broker::builder(MemoryStore::default(), ring)
            .provider(fake.clone())
            .transport(fake.clone())
            .public_url(PUBLIC_URL);
        change(builder).build().map(drop)
    };
    for url in [
        "",
        "app.example",
        "http://app.example",
        "http://localhost:8080",
        "https://app.example/",
        "https://app.example/x/",
        "https://app.example/x/../y",
        "https://app.example/%2e%2e/y",
        "https://app.example/x?y",
        "https://app.example/x#y",
        "https://user:pw@app.example",
        "https://app.example./x",
        " https://app.example",
        "https://app.example\n",
        "javascript:alert(1)",
    ] {
        let error = build(&|b| b.public_url(url)).unwrap_err();
        assert_eq!(error, ConfigError::PublicUrl, "K11 {url:?}");
        assert!(error.to_string().starts_with("redirect_base_invalid"));
    }
    for url in [
        "https://app.example",
        "https://app.example:8443/x",
        "http://127.0.0.1:8080",
    ] {
        assert_eq!(build(&|b| b.public_url(url)), Ok(()), "K11 {url}");
    }
    let timings: [(&str, &dyn Fn(Builder) -> Builder); 5] = [
        ("minimum above a day", &|b| {
            b.minimum_validity(Duration::from_secs(24 * 3600 + 1))
        }),
        ("minimum of all time", &|b| b.minimum_validity(Duration::MAX)),
        ("no patience", &|b| b.refresh_timeout(Duration::ZERO)),
        ("endless patience", &|b| b.refresh_timeout(Duration::MAX)),
        ("no cache", &|b| b.cache_capacity(0)),
    ];
    for (name, change) in timings {
        let error = build(change).unwrap_err();
        assert!(matches!(error, ConfigError::Timing(_)), "K13 {name}");
        assert!(
            error.to_string().starts_with("timing_inconsistent: "),
            "K13 {name}"
        );
    }
    let twice = build(&|b| b.provider(fake.clone())).unwrap_err();
    assert!(matches!(twice, ConfigError::ProviderDuplicate(_)));
}

/// K01 to K08 as a host shows them: the stable code is in the text, and no key.
#[test]
fn a_line_that_is_no_keyring_is_not_shown() {
    let line = Keyring::generate().unwrap();
    let key = line.expose().split_once(':').unwrap().1;
    for (row, text) in [
        ("K02", format!("k1:{}", &key[1..])),
        ("K04", format!("{0},{0}", line.expose())),
        ("K05", format!("a:{key},b:{key}")),
        ("K06", format!("k.1:{key}")),
        ("K07", format!("a:{key}, b:{key}")),
    ] {
        let error = Keyring::parse(&Secret::new(text)).unwrap_err();
        assert!(error.code().starts_with("key"), "{row}");
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains(&key[2..12]), "{row}: {shown}");
    }
}

// ---- Flows ----

/// C27: two callbacks of one attempt at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_attempt_finished_twice_at_once() {
    let world = World::new().await;
    for _ in 0..20 {
        let (begun, state) = world
            .begin(&format!("public_key={}&redirect_uri={RETURN}", world.public_key))
            .await;
        let query = format!("code=c&state={state}");
        let mut both = tokio::task::JoinSet::new();
        for _ in 0..2 {
            both.spawn(world.back(&query, &begun.cookie()).send());
        }
        let got = both.join_all().await;
        let connected = got
            .iter()
            .filter(|g| g.header("location").contains("connection_id="));
        assert_eq!(connected.count(), 1, "C27");
        assert!(got.iter().any(|g| g.code() == "state_unknown"), "C27");
    }
    assert_eq!(world.fake.calls("exchange"), 20, "C27");
}

/// C14, C16, C17 and C19: what is answered so has used the attempt up.
#[tokio::test]
async fn attempts_that_are_burned() {
    let world = World::new().await;
    for (row, query) in [
        ("C14", "error=access_denied"),
        ("C16", "error=%3Cscript%3E"),
        ("C17", "code=c&iss=https://evil.test"),
        ("C19", "code=c&iss=https://LOGIN.test"),
    ] {
        let (begun, state) = world.begin(&format!("public_key={}", world.public_key)).await;
        let first = world
            .back(&format!("{query}&state={state}"), &begun.cookie())
            .send()
            .await;
        assert!(first.status.as_u16() >= 400, "{row}");
        if row == "C17" || row == "C19" {
            assert_eq!(
                (first.status.as_u16(), first.code().as_str()),
                (400, "issuer_mismatch"),
                "{row}"
            );
        }
        let again = world
            .back(&format!("code=c&state={state}"), &begun.cookie())
            .send()
            .await;
        assert_eq!(again.code(), "state_unknown", "{row}");
    }
    assert_eq!(world.fake.calls("exchange"), 0);
}

// ---- Lists, ids, names ----

/// L07: the rows on both sides of a cursor go; what is left comes once, and nothing is passed over.
#[tokio::test]
async fn a_cursor_to_a_row_that_is_gone() {
    let world = World::new().await;
    let mut made = Vec::new();
    for n in 0..6 {
        made.push(world.connect(&format!("u{n}@acme.example")).await);
    }
    made.reverse();
    let first = world.get(&format!("{LIST}?limit=2")).await;
    let cursor = first["nextCursor"].as_str().unwrap();
    for id in &made[1..3] {
        world.broker.connection(id).disconnect().await.unwrap();
    }
    let row = world.store.connection(&made[1]).await.unwrap().0.unwrap();
    let removed = world.store.remove_connection(&made[1], row.revision).await;
    assert_eq!(removed.unwrap(), grantry::store::Removed::Gone);
    let rest = world.get(&format!("{LIST}?limit=10&cursor={cursor}")).await;
    assert_eq!(
        ids(&rest),
        made[3..].iter().map(ToString::to_string).collect::<Vec<_>>(),
        "L07"
    );
}

fn ids(page: &Value) -> Vec<String> {
    let items = page["connections"].as_array().unwrap().iter();
    items
        .map(|i| i["connectionId"].as_str().unwrap().to_owned())
        .collect()
}

/// L13: fifty walks while connections come and go: each sees every one that stays exactly once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn walks_in_a_crowd() {
    let world = World::new().await;
    let mut stay = BTreeSet::new();
    let mut go = Vec::new();
    for n in 0..40 {
        let id = world.connect(&format!("u{n}@acme.example")).await;
        if n % 4 == 0 {
            go.push(id);
        } else {
            stay.insert(id.to_string());
        }
    }
    let mut walks = tokio::task::JoinSet::new();
    for limit in 1..=50_u32 {
        let integration = world.broker.integration(&world.integration);
        walks.spawn(async move {
            let mut seen = Vec::new();
            let mut cursor = None;
            loop {
                let mut list = integration.connections().limit(1 + limit % 7);
                if let Some(cursor) = cursor {
                    list = list.cursor(cursor);
                }
                let page = list.await.unwrap();
                seen.extend(page.connections.iter().map(|c| c.id.to_string()));
                tokio::task::yield_now().await;
                match page.next_cursor {
                    Some(next) => cursor = Some(next),
                    None => return seen,
                }
            }
        });
    }
    for id in &go {
        world.broker.connection(id).disconnect().await.unwrap();
        world.connect("late@acme.example").await;
    }
    while let Some(walk) = walks.join_next().await {
        let walk = walk.unwrap();
        let unique: BTreeSet<_> = walk.iter().cloned().collect();
        assert_eq!(unique.len(), walk.len(), "L13: one came twice");
        assert!(unique.is_superset(&stay), "L13: one was passed over");
    }
}

/// D10.
#[tokio::test]
async fn labels_that_are_no_labels() {
    let world = World::new().await;
    let id = world.connect("ann@acme.example").await;
    let target = format!("{LIST}/{id}");
    let patch = |metadata: Value| world.api("PATCH", &target).json(json!({ "metadata": metadata }));
    patch(json!({ "a": "x".repeat(65_000) }))
        .refused(413, "metadata_too_large")
        .await;
    patch(json!({ "k".repeat(65): "x" }))
        .refused(413, "metadata_too_large")
        .await;
    let deep = (0..100).fold(json!("x"), |inner, _| json!([inner]));
    patch(json!({ "a": deep })).refused(400, "field_invalid").await;
    let plain = json!({ "__proto__": "x", "constructor": "{}", "ключ": "\u{202e}" });
    let changed = patch(plain.clone()).granted(200).await;
    assert_eq!(changed["metadata"], plain, "D10");
    let found = world.get(&format!("{LIST}?metadata.__proto__=x")).await;
    assert_eq!(ids(&found), [id.to_string()], "D10");
}

/// D08: what belongs to nobody and what is malformed are told apart, and neither says what exists elsewhere.
#[tokio::test]
async fn an_unknown_id_is_told_like_a_deleted_one() {
    let world = World::new().await;
    let id = world.connect("ann@acme.example").await;
    world.broker.connection(&id).disconnect().await.unwrap();
    let ask = |id: &str| world.api("GET", &format!("{LIST}/{id}"));
    let deleted = ask(id.as_str()).refused(404, "connection_not_found").await;
    let unknown = ask("con_unknown").refused(404, "connection_not_found").await;
    assert_eq!(deleted.text(), unknown.text(), "D08");
}

/// A10 and P33, as far as the service itself is asked: servers cut such headers with 431 before.
#[tokio::test]
async fn headers_and_methods() {
    let world = World::new().await;
    let long = format!("Bearer {}", "x".repeat(1 << 20));
    world
        .bare("GET", LIST)
        .header("authorization", long)
        .refused(401, "key_malformed")
        .await;
    let id = world.connect("ann@acme.example").await;
    for method in ["TRACE", "CONNECT", "FOO", "get"] {
        world
            .api(method, &format!("{LIST}/{id}/proxy/services"))
            .refused(405, "method_not_allowed")
            .await;
    }
}
