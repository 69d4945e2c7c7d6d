//! How servers are reached: addresses, users, TLS.

use std::time::Duration;

use grantry::{id::ConnectionId, store::ConnectionStore as _};
use grantry_redis_servers::{Cluster, Sentinels, Server};
use grantry_store_redis::{RedisStore, ServerWarning};

use crate::{
    opening::{charge, refused},
    outage::{all, insert},
};

#[tokio::test]
async fn an_address_must_be_one_of_redis() {
    for address in [
        "",
        "127.0.0.1:6379",
        "http://127.0.0.1",
        "redis://",
        "redis:///0",
        "redis+sentinel://127.0.0.1",
        "redis+sentinel://127.0.0.1,127.0.0.1/?prefix=x",
        "redis+cluster://127.0.0.1/1",
        "redis+cluster://127.0.0.1,/",
        "redis://127.0.0.1,127.0.0.2",
        "redis://127.0.0.1/?sentinel_password=secret",
        "redis+udp://127.0.0.1",
        "redis://u:secret@127.0.0.1/?wait_for_replicas=all",
        "redis://u:secret@127.0.0.1/zero",
        "redis://u:secret@127.0.0.1/?protocol=resp3",
        "redis://u:secret@127.0.0.1/?prefix=",
        "redis://u:secret@127.0.0.1/?prefix=a&prefix=b",
        "redis://u:secret@127.0.0.1/?prefix=%ff",
        "redis://u:secret@127.0.0.1/?prefix={x}",
        "rediss://u:secret@127.0.0.1/#insecure",
    ] {
        assert_eq!(refused(address).await, "redis_bad_address", "{address:?}");
    }
    let builder = RedisStore::builder("redis://u:secret@127.0.0.1");
    assert!(!format!("{builder:?}").contains("secret"));
}

#[tokio::test]
async fn a_user_needs_the_password() {
    let server = Server::start(&["--user", "grantry", "on", ">secret", "~*", "&*", "+@all"]);
    let with = |user: &str| format!("redis://{user}@127.0.0.1:{}", server.port());
    assert_eq!(
        charge(&RedisStore::open(&with("grantry:secret")).await.unwrap()).await,
        1
    );
    assert_eq!(refused(&with("grantry:secret2")).await, "redis_refused");
    assert_eq!(refused(&with("nobody:secret")).await, "redis_refused");

    let server = Server::start(&["--requirepass", "secret"]);
    assert_eq!(refused(&server.address()).await, "redis_refused");
    let address = format!("redis://:secret@127.0.0.1:{}", server.port());
    assert_eq!(charge(&RedisStore::open(&address).await.unwrap()).await, 1);
}

/// Users of the servers and users of the Sentinels are two things.
#[tokio::test]
async fn sentinels_and_servers_have_their_own_users() {
    let servers = Sentinels::start(&["--user", "grantry", "on", ">secret", "~*", "&*", "+@all"]);
    let hosts = servers.address();
    let hosts = hosts.trim_start_matches("redis+sentinel://");
    let with = |user: &str, query: &str| format!("redis+sentinel://{user}@{hosts}{query}");
    let watcher = "?sentinel_user=watcher&sentinel_password=watching";
    for address in [with("grantry:secret", ""), with("grantry:secret", watcher)] {
        let store = RedisStore::open(&address).await.unwrap();
        assert!(store.server_warnings().contains(&ServerWarning::NoMinReplicas));
        charge(&store).await;
    }
    let other_database = hosts.replace("/grantry", "/grantry/2");
    let store = RedisStore::open(&format!("redis+sentinel://{other_database}"))
        .await
        .unwrap();
    assert_eq!(charge(&store).await, 1);
    assert_eq!(refused(&with("grantry:secret2", "")).await, "redis_refused");
    let stranger = with(
        "grantry:secret",
        "?sentinel_user=watcher&sentinel_password=secret",
    );
    assert_eq!(refused(&stranger).await, "redis_refused");
    let nowhere = hosts.replace("/grantry", "/other");
    assert_eq!(
        refused(&format!("redis+sentinel://{nowhere}")).await,
        "redis_unreachable"
    );
}

/// The user that the documentation describes can do on a Cluster what is to be done there.
#[tokio::test]
async fn a_restricted_user_works_on_a_cluster() {
    let allowed = "+@read +@write +@scripting +@connection -@dangerous +time +info +config|get +publish +subscribe \
                   +cluster|slots";
    let user = ["--user", "grantry", "on", ">secret", "~mine:*", "&mine:*"];
    let settings: Vec<&str> = user
        .into_iter()
        .chain(allowed.split(' ').filter(|word| !word.is_empty()))
        .collect();
    let cluster = Cluster::start(&settings);
    let address = cluster.address().replace("//", "//grantry:secret@");
    let store = RedisStore::open(&format!("{address}?prefix=mine")).await.unwrap();
    for number in 0..20 {
        let id = format!("con_{number}");
        let revision = insert(&store, &id).await;
        let id = ConnectionId::new(&id).unwrap();
        assert!(store.confirm_connection(&id, revision).await.unwrap());
    }
    let listed = store.list_connections(&all(Some("con")), None, 50).await.unwrap();
    assert_eq!(listed.items.len(), 20);
    assert_eq!(charge(&store).await, 1);
    assert_eq!(
        refused(&format!(
            "{}?prefix=mine",
            cluster.address().replace("//", "//grantry:secret2@")
        ))
        .await,
        "redis_refused"
    );
}

#[tokio::test]
async fn tls_is_checked() {
    let server = Server::start_tls(&[]);
    let address = format!("rediss://localhost:{}", server.port());
    let trusted = RedisStore::builder(&address)
        .root_certificates(server.root())
        .open();
    assert_eq!(charge(&trusted.await.unwrap()).await, 1);
    // The system's roots do not know it, and its certificate is for another name.
    assert_eq!(refused(&address).await, "redis_unreachable");
    let address = format!("rediss://127.0.0.1:{}", server.port());
    let other_name = RedisStore::builder(&address)
        .root_certificates(server.root())
        .open();
    assert_eq!(other_name.await.unwrap_err().code(), "redis_unreachable");
    let plain = format!("redis://localhost:{}", server.port());
    assert_eq!(refused(&plain).await, "redis_unreachable");
    let address = format!("rediss://localhost:{}", server.port());
    let no_roots = RedisStore::builder(&address).root_certificates("not PEM").open();
    assert_eq!(no_roots.await.unwrap_err().code(), "redis_bad_address");
}

/// As Redis is set unless told otherwise: whoever comes must show a certificate, too.
#[tokio::test]
async fn tls_may_want_a_certificate_of_ours() {
    let server = Server::start_tls(&["--tls-auth-clients", "yes"]);
    let address = format!("rediss://localhost:{}", server.port());
    let without = RedisStore::builder(&address).root_certificates(server.root());
    assert_eq!(
        without.clone().open().await.unwrap_err().code(),
        "redis_unreachable"
    );
    let (certificate, key) = server.certificate();
    let with = without.clone().client_certificate(certificate.clone(), key);
    assert_eq!(charge(&with.open().await.unwrap()).await, 1);
    let broken = without.client_certificate(certificate, "not PEM");
    assert_eq!(broken.open().await.unwrap_err().code(), "redis_bad_address");
}

/// What has a meaning in an address is written in percent there; a plus has none.
#[tokio::test]
async fn users_and_passwords_may_have_any_characters() {
    let server = Server::start(&["--user", "a/b", "on", ">p@ss:w/rd+?#", "~*", "&*", "+@all"]);
    let port = server.port();
    let address = format!("redis://a%2Fb:p%40ss%3Aw%2Frd+%3F%23@127.0.0.1:{port}/0?prefix=%6dine");
    assert_eq!(charge(&RedisStore::open(&address).await.unwrap()).await, 1);
    let same = format!("redis://a%2Fb:p%40ss%3Aw%2Frd%2B%3F%23@127.0.0.1:{port}?prefix=mine");
    assert_eq!(charge(&RedisStore::open(&same).await.unwrap()).await, 2);
}

#[tokio::test]
async fn a_host_may_be_an_address_of_version_6() {
    let server = Server::start(&["--bind", "127.0.0.1", "::1"]);
    let address = format!("redis://[::1]:{}", server.port());
    assert_eq!(charge(&RedisStore::open(&address).await.unwrap()).await, 1);
}

/// A Sentinel and the server that it names are both reached by TLS.
#[tokio::test]
async fn tls_reaches_through_sentinels() {
    let server = Server::start_tls(&[]);
    let sentinel = Server::start_tls_sentinel("mine", &server);
    let address = format!("rediss+sentinel://localhost:{}/mine", sentinel.port());
    let trusting = RedisStore::builder(&address).root_certificates(server.root());
    // The Sentinel looks for the server in its own time.
    let mut waits = 0;
    let store = loop {
        match trusting.clone().open().await {
            Ok(store) => break store,
            Err(error) => assert_eq!(error.code(), "redis_unreachable"),
        }
        waits += 1;
        assert!(waits < 300, "the Sentinel finds its server");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert_eq!(charge(&store).await, 1);
    assert_eq!(refused(&address).await, "redis_unreachable");
}

#[tokio::test]
async fn tls_reaches_a_cluster() {
    let server = Server::start_tls(&["--cluster-enabled", "yes", "--tls-cluster", "yes"]);
    let certificates = redis::TlsCertificates {
        client_tls: None,
        root_cert: Some(server.root()),
    };
    let address = format!("rediss://localhost:{}", server.port());
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = redis::Client::build_with_tls(&address[..], certificates).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let mut all_slots = redis::cmd("CLUSTER");
    all_slots.arg("ADDSLOTSRANGE").arg(0).arg(16383);
    all_slots.exec_async(&mut connection).await.unwrap();
    let address = address.replace("rediss", "rediss+cluster");
    let trusting = RedisStore::builder(&address).root_certificates(server.root());
    let mut waits = 0;
    let store = loop {
        match trusting.clone().open().await {
            Ok(store) => break store,
            Err(error) => assert_eq!(error.code(), "redis_unreachable"),
        }
        waits += 1;
        assert!(waits < 300, "the Cluster serves");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert_eq!(charge(&store).await, 1);
    assert_eq!(refused(&address).await, "redis_unreachable");
}
