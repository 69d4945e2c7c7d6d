//! Which servers are taken, which are refused and with which code; and that what is not ours is left as it is.

use std::time::Duration;

use bytes::Bytes;
use grantry::{
    id::IntegrationId,
    store::{
        Charged, ConnectionStore as _, PendingRow, PendingStore as _, Put, StoreErrorKind, UsageKey,
        UsageStore as _,
    },
    time::Timestamp,
};
use grantry_redis_servers::Server;
use grantry_store_redis::{OpenError, RedisStore, ServerWarning};
use tokio::{io::AsyncWriteExt as _, net::TcpListener};

use crate::outage::{all, insert, row};

async fn warnings(address: &str) -> Vec<ServerWarning> {
    RedisStore::open(address)
        .await
        .unwrap()
        .server_warnings()
        .to_vec()
}

/// The code with which the address is refused. No text has a password.
pub(crate) async fn refused(address: &str) -> &'static str {
    let error = RedisStore::open(address).await.unwrap_err();
    let told = format!("{error} {error:?}");
    assert!(!told.contains("secret"), "{told}");
    error.code()
}

pub(crate) async fn charge(store: &RedisStore) -> u64 {
    let key = UsageKey {
        integration: IntegrationId::new("int").unwrap(),
        month: 202_611,
        day: 1,
    };
    match store.charge_usage(&key, 1, None).await.unwrap() {
        Charged::Counted(sum) | Charged::Refused(sum) => sum,
    }
}

#[tokio::test]
async fn stores_on_one_server_are_apart() {
    let server = Server::start(&[]);
    let at = server.address();
    let first = RedisStore::open(&at).await.unwrap();
    assert_eq!(charge(&first).await, 1);
    for address in [
        format!("{at}/1"),
        format!("{at}/?prefix=other"),
        format!("{at}/1?prefix=other"),
    ] {
        assert_eq!(
            charge(&RedisStore::open(&address).await.unwrap()).await,
            1,
            "{address}"
        );
    }
    let named = RedisStore::builder(&at).key_prefix("other").open().await.unwrap();
    assert_eq!(charge(&named).await, 2, "the same as in the address");
    assert_eq!(
        charge(&RedisStore::open(&at).await.unwrap()).await,
        2,
        "opened again"
    );
}

#[tokio::test]
async fn a_store_that_must_exist_is_not_made() {
    let server = Server::start(&[]);
    let existing = RedisStore::builder(&server.address()).must_exist(true);
    assert_eq!(
        existing.clone().open().await.unwrap_err().code(),
        "redis_no_store"
    );
    assert_eq!(server.command(&["DBSIZE"]), ":0\r\n", "nothing was written");
    charge(&RedisStore::open(&server.address()).await.unwrap()).await;
    assert_eq!(charge(&existing.open().await.unwrap()).await, 2);
}

#[tokio::test]
async fn every_key_has_the_prefix_and_a_slot() {
    let server = Server::start(&[]);
    let store = RedisStore::open(&format!("{}/?prefix=mine", server.address()))
        .await
        .unwrap();
    charge(&store).await;
    let keys = server.command(&["KEYS", "*"]);
    let keys: Vec<&str> = keys
        .lines()
        .filter(|line| !line.starts_with(['*', '$']))
        .collect();
    assert_eq!(keys.len(), 3, "{keys:?}");
    assert!(keys.iter().all(|key| key.starts_with("mine:{")), "{keys:?}");
}

/// What has expired by the caller's time is there until it is purged, or for a day: the server's clock ends nothing.
#[tokio::test]
async fn no_expiry_of_the_server_decides_anything() {
    let server = Server::start(&[]);
    let store = RedisStore::open(&server.address()).await.unwrap();
    let row = PendingRow {
        key: [0xab; 32],
        guard: [0; 32],
        expires_at: Timestamp(1000),
        body: Bytes::from_static(b"attempt"),
    };
    assert_eq!(store.put_pending(&row).await.unwrap(), Put::Stored);
    charge(&store).await;
    let left = async |key: &str| {
        let answer = server.command(&["TTL", key]);
        answer.trim_start_matches(':').trim_end().parse::<i64>().unwrap()
    };
    let day = 24 * 3600;
    let attempt = left(&format!("grantry:{{p0}}:a:{}", "ab".repeat(32))).await;
    assert!((day - 600..=day).contains(&attempt), "{attempt}");
    for key in ["{p0}:expiries", "{u0}:int:202611", "{u0}:months", "{s}:store"] {
        assert_eq!(left(&format!("grantry:{key}")).await, -1, "{key} never expires");
    }
}

#[tokio::test]
async fn a_server_that_drops_keys_is_refused() {
    for policy in ["allkeys-lru", "allkeys-lfu", "allkeys-random"] {
        let server = Server::start(&["--maxmemory-policy", policy]);
        assert_eq!(refused(&server.address()).await, "redis_evicts", "{policy}");
        assert_eq!(server.command(&["DBSIZE"]), ":0\r\n", "nothing was written");
    }
    let server = Server::start(&["--maxmemory-policy", "volatile-lru", "--appendfsync", "always"]);
    assert_eq!(
        warnings(&server.address()).await,
        [ServerWarning::AttemptsMayBeEvicted]
    );
}

#[tokio::test]
async fn a_server_that_keeps_nothing_is_refused() {
    let server = Server::start(&["--appendonly", "no"]);
    assert_eq!(refused(&server.address()).await, "redis_keeps_nothing");
    assert_eq!(server.command(&["DBSIZE"]), ":0\r\n", "nothing was written");
    let accepted = RedisStore::builder(&server.address())
        .accept_loss(true)
        .open()
        .await
        .unwrap();
    assert_eq!(accepted.server_warnings(), [ServerWarning::KeepsNothing]);

    let replica = Server::start(&["--replicaof", "127.0.0.1", &server.port().to_string()]);
    let mut waits = 0;
    while !server.command(&["INFO", "replication"]).contains("state=online") {
        waits += 1;
        assert!(waits < 1000, "the replica does not come");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(
        warnings(&server.address()).await,
        [ServerWarning::NoAppendOnly, ServerWarning::NoMinReplicas]
    );
    assert_eq!(refused(&replica.address()).await, "redis_other_role");
}

#[tokio::test]
async fn an_operator_is_told_how_writes_are_kept() {
    for (sync, expected) in [
        ("always", vec![]),
        ("everysec", vec![ServerWarning::SyncedEachSecond]),
        ("no", vec![ServerWarning::NeverSynced]),
    ] {
        let server = Server::start(&["--appendfsync", sync]);
        let mut warnings = warnings(&server.address()).await;
        if warnings.contains(&ServerWarning::DiskNotConfirmed) {
            // It depends on the server's version.
            assert_eq!(sync, "everysec");
            warnings.retain(|warning| *warning != ServerWarning::DiskNotConfirmed);
        }
        assert_eq!(warnings, expected, "{sync}");
    }
    let silent = [
        ("-config", vec![ServerWarning::DurabilityUnknown]),
        ("-info", vec![ServerWarning::DurabilityUnknown]),
    ];
    for (forbidden, expected) in silent {
        let user = ["--user", "grantry", "on", ">secret", "~*", "+@all", forbidden];
        let server = Server::start(&user);
        let address = format!("redis://grantry:secret@127.0.0.1:{}", server.port());
        let store = RedisStore::open(&address).await.unwrap();
        assert_eq!(store.server_warnings(), expected, "{forbidden}");
        let codes: Vec<&str> = store.warnings().iter().map(|warning| warning.code).collect();
        assert_eq!(codes, ["redis_durability_unknown"], "health() says so");
        assert_eq!(charge(&store).await, 1);
    }
}

#[tokio::test]
async fn a_server_is_no_cluster() {
    let server = Server::start(&[]);
    let address = server.address().replace("redis://", "redis+cluster://");
    assert_eq!(refused(&address).await, "redis_other_role");
}

#[tokio::test]
async fn a_node_of_a_cluster_is_refused() {
    let server = Server::start(&["--cluster-enabled", "yes"]);
    assert_eq!(refused(&server.address()).await, "redis_other_role");
}

#[tokio::test]
async fn data_of_others_is_left_as_it_is() {
    let server = Server::start(&[]);
    server.command(&["SET", "grantry:{s}:store", "theirs"]);
    assert_eq!(refused(&server.address()).await, "redis_foreign_data");
    assert_eq!(server.command(&["GET", "grantry:{s}:store"]), "$6\r\ntheirs\r\n");

    for (field, value) in [("format", "3"), ("buckets", "many")] {
        server.command(&["FLUSHALL"]);
        server.command(&["HSET", "grantry:{s}:store", field, value]);
        assert_eq!(refused(&server.address()).await, "redis_other_release");
    }
}

#[tokio::test]
async fn a_newer_release_s_store_is_left_as_it_is() {
    let server = Server::start(&[]);
    insert(&RedisStore::open(&server.address()).await.unwrap(), "con_1").await;
    // The second record lacks a field that this release adds to incomplete records of its own format.
    for newer in [["HSET", "format", "3"], ["HDEL", "buckets", "moved"]] {
        let [command, field, value] = newer;
        server.command(&[command, "grantry:{s}:store", field, value]);
        let before = changes(&server);
        let error = RedisStore::open(&server.address()).await.unwrap_err();
        assert_eq!(error.code(), "redis_other_release");
        assert!(error.to_string().contains("format 3"), "{error}");
        assert_eq!(changes(&server), before, "nothing was written");
    }
}

/// How many writes changed the server's data.
fn changes(server: &Server) -> u64 {
    let answer = server.command(&["INFO", "persistence"]);
    let count = answer.split("rdb_changes_since_last_save:").nth(1).unwrap();
    count.lines().next().unwrap().parse().unwrap()
}

/// Into how many parts the connections are spread was decided when the store was made, also if it lies elsewhere now.
#[tokio::test]
async fn a_store_keeps_its_parts() {
    let server = Server::start(&[]);
    server.command(&["HSET", "grantry:{s}:store", "format", "1", "buckets", "64"]);
    let store = RedisStore::open(&server.address()).await.unwrap();
    for number in 0..20 {
        insert(&store, &format!("con_{number}")).await;
    }
    let keys = server.command(&["KEYS", "grantry:{c*}:lists"]);
    assert!(keys.lines().count() > 10, "{keys}");
    let again = RedisStore::open(&server.address()).await.unwrap();
    let listed = again.list_connections(&all(None), None, 50).await.unwrap();
    assert_eq!(listed.items.len(), 20);
}

/// What lives on a full server is served on, also by a process that starts now.
#[tokio::test]
async fn a_store_on_a_full_server_can_be_opened() {
    let server = Server::start(&[]);
    let store = RedisStore::open(&server.address()).await.unwrap();
    insert(&store, "con_1").await;
    server.command(&["CONFIG", "SET", "maxmemory", "1"]);
    let again = RedisStore::builder(&server.address()).must_exist(true);
    let again = again.open().await.unwrap();
    let listed = again.list_connections(&all(None), None, 50).await.unwrap();
    assert_eq!(listed.items.len(), 1);
    let other = format!("{}?prefix=other", server.address());
    assert_eq!(refused(&other).await, "redis_takes_no_writes");
}

/// Processes that all come back at once may be more than it takes: none of them is told that its data is damaged.
#[tokio::test]
async fn a_server_with_too_many_clients_is_unavailable() {
    let server = Server::start(&[]);
    let store = RedisStore::open(&server.address()).await.unwrap();
    insert(&store, "con_1").await;
    let client = redis::Client::open(server.address()).unwrap();
    let mut only = client.get_multiplexed_async_connection().await.unwrap();
    let mut say = async |words: &[&str]| {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]).exec_async(&mut only).await.unwrap();
    };
    say(&["CONFIG", "SET", "maxclients", "1"]).await;
    say(&["CLIENT", "KILL", "TYPE", "normal"]).await;
    assert_eq!(refused(&server.address()).await, "redis_unreachable");
    for _ in 0..5 {
        let read = store.connection(&row("con_1", 0).id).await;
        assert_eq!(read.unwrap_err().kind(), StoreErrorKind::Unavailable);
        // Until it tries to connect again.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn what_does_not_answer_is_given_up() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = nobody.local_addr().unwrap().port();
    let address = format!("redis://u:secret@127.0.0.1:{port}");
    // Connections are taken, and nothing is ever said.
    let silent = RedisStore::builder(&address)
        .time_limit(Duration::from_millis(100))
        .open();
    assert!(matches!(silent.await.unwrap_err(), OpenError::Unreachable { .. }));
    let talking = async {
        loop {
            let (mut stream, _) = nobody.accept().await.unwrap();
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    };
    tokio::select! {
        code = refused(&address) => assert_eq!(code, "redis_unreachable"),
        () = talking => {}
    }
    drop(nobody);
    assert_eq!(refused(&address).await, "redis_unreachable");
}

#[tokio::test]
async fn a_server_that_forgot_the_scripts_is_given_them() {
    let server = Server::start(&[]);
    let store = RedisStore::open(&server.address()).await.unwrap();
    for sum in 1..=3 {
        assert_eq!(charge(&store).await, sum);
        assert_eq!(server.command(&["SCRIPT", "FLUSH"]), "+OK\r\n");
    }
}
