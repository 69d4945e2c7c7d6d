//! Answers that are lost on the way: the server did it, and the store does not hear of it. What may be asked again is,
//! what may not is an error, and nothing is done twice.

use std::{
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use grantry::{
    id::IntegrationId,
    store::{
        Charged, ConnectionStore as _, PendingRow, PendingStore as _, Put, StoreErrorKind, Swap, Taken,
        UsageKey, UsageStore as _,
    },
    time::Timestamp,
};
use grantry_redis_servers::Server;
use grantry_store_redis::RedisStore;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::{Notify, Semaphore},
};

use crate::outage::{insert, row};

/// Stands between a store and its server, and cuts the connection in place of the next answer when told to.
struct Between {
    port: u16,
    cut: Arc<AtomicBool>,
    /// Connections that it may take.
    open: Arc<Semaphore>,
}

impl Between {
    async fn start(server: &Server) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let between = Self {
            port: listener.local_addr().unwrap().port(),
            cut: Arc::default(),
            open: Arc::new(Semaphore::new(1)),
        };
        let (cut, open, port) = (between.cut.clone(), between.open.clone(), server.port());
        #[expect(clippy::disallowed_methods, reason = "it ends with the test's runtime")]
        tokio::spawn(async move {
            loop {
                open.acquire().await.unwrap().forget();
                let (store, _) = listener.accept().await.unwrap();
                let server = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
                pass_on(store, server, &cut).await;
            }
        });
        between
    }

    async fn store(&self) -> RedisStore {
        RedisStore::open(&format!("redis://127.0.0.1:{}", self.port))
            .await
            .unwrap()
    }

    /// Loses the next answer. The store can come back at once.
    fn lose(&self) {
        self.lose_and_close();
        self.open.add_permits(1);
    }

    /// Loses the next answer, and lets nobody in again yet.
    fn lose_and_close(&self) {
        self.cut.store(true, Ordering::SeqCst);
    }
}

async fn pass_on(mut store: TcpStream, mut server: TcpStream, cut: &AtomicBool) {
    let (mut asked, mut answered) = (vec![0; 1 << 14], vec![0; 1 << 14]);
    loop {
        tokio::select! {
            read = store.read(&mut asked) => match read {
                Ok(length) if length > 0 => server.write_all(&asked[..length]).await.unwrap(),
                _ => return,
            },
            read = server.read(&mut answered) => match read {
                Ok(length) if length > 0 && !cut.swap(false, Ordering::SeqCst) => {
                    store.write_all(&answered[..length]).await.unwrap();
                }
                _ => return,
            },
        }
    }
}

/// Stands between a store and its server, on any number of connections. The first of them falls silent when that is said,
/// and stays open.
async fn that_may_fall_silent(server: &Server) -> (u16, Arc<Notify>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let (port, silence) = (listener.local_addr().unwrap().port(), Arc::new(Notify::new()));
    let (server, silent) = (server.port(), silence.clone());
    #[expect(clippy::disallowed_methods, reason = "they end with the test's runtime")]
    tokio::spawn(async move {
        for number in 0.. {
            let (mut store, _) = listener.accept().await.unwrap();
            let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, server)).await.unwrap();
            let silent = silent.clone();
            tokio::spawn(async move {
                tokio::select! {
                    _ = copy_bidirectional(&mut store, &mut server) => {}
                    () = silent.notified(), if number == 0 => std::future::pending::<()>().await,
                }
            });
        }
    });
    (port, silence)
}

/// Callers have less patience than the store, and go. The connection that did not answer them must not be the one that the
/// next ones find.
#[tokio::test]
async fn a_connection_that_fell_silent_is_left_behind_by_callers_who_do_not_wait() {
    let patience = Duration::from_millis(1500);
    let server = Server::start(&[]);
    let (port, silence) = that_may_fall_silent(&server).await;
    let store = RedisStore::open(&format!("redis://127.0.0.1:{port}"))
        .await
        .unwrap();
    insert(&store, "con_1").await;
    let id = row("con_1", 0).id;
    silence.notify_one();
    let asked = tokio::time::timeout(patience, store.connection(&id)).await;
    assert!(asked.is_err(), "it does not answer");
    let again = tokio::time::timeout(patience, store.connection(&id)).await;
    assert!(again.expect("another one answers").unwrap().0.is_some());
}

#[tokio::test]
async fn a_lost_swap_is_asked_again_and_done_once() {
    let server = Server::start(&[]);
    let between = Between::start(&server).await;
    let store = between.store().await;
    let first = insert(&store, "con_1").await;
    // The scripts are known from here on.
    let Swap::Swapped(second) = store.swap_connection(&row("con_1", 1), first).await.unwrap() else {
        panic!("it was the present revision");
    };
    between.lose();
    let Swap::Swapped(third) = store.swap_connection(&row("con_1", 2), second).await.unwrap() else {
        panic!("it was the present revision");
    };
    let (stored, _) = store.connection(&row("con_1", 0).id).await.unwrap();
    let stored = stored.unwrap();
    assert_eq!((stored.row, stored.revision), (row("con_1", 2), third));
    assert_eq!(third.counter, second.counter + 1);
    let last = store.connection_changes(None).await.unwrap().next;
    assert_eq!(last.0[1], 3, "three writes were done");
}

#[tokio::test]
async fn a_lost_swap_that_another_followed_is_unknown() {
    let server = Server::start(&[]);
    let peer = RedisStore::open(&server.address()).await.unwrap();
    let between = Between::start(&server).await;
    let store = between.store().await;
    let first = insert(&peer, "con_1").await;
    let Swap::Swapped(second) = peer.swap_connection(&row("con_1", 1), first).await.unwrap() else {
        panic!("it was the present revision");
    };
    between.lose_and_close();
    let next = row("con_1", 2);
    let followed = async {
        let third = loop {
            let (stored, _) = peer.connection(&next.id).await.unwrap();
            let found = stored.unwrap().revision;
            if found != second {
                break found;
            }
            tokio::task::yield_now().await;
        };
        let swapped = peer.swap_connection(&row("con_1", 3), third).await.unwrap();
        assert!(matches!(swapped, Swap::Swapped(_)));
        between.open.add_permits(1);
    };
    let (lost, ()) = tokio::join!(store.swap_connection(&next, second), followed);
    // It was done, so that "conflict" would be a lie, and so would "swapped".
    assert_eq!(lost.unwrap_err().kind(), StoreErrorKind::Unavailable);
}

#[tokio::test]
async fn a_lost_read_is_asked_again() {
    let server = Server::start(&[]);
    let between = Between::start(&server).await;
    let store = between.store().await;
    insert(&store, "con_1").await;
    for _ in 0..3 {
        between.lose();
        let (stored, _) = store.connection(&row("con_1", 0).id).await.unwrap();
        assert_eq!(stored.unwrap().row, row("con_1", 0));
    }
}

#[tokio::test]
async fn what_may_be_done_once_is_not_asked_again() {
    let server = Server::start(&[]);
    let peer = RedisStore::open(&server.address()).await.unwrap();
    let between = Between::start(&server).await;
    let store = between.store().await;
    let key = UsageKey {
        integration: IntegrationId::new("int").unwrap(),
        month: 202_611,
        day: 1,
    };
    let pending = PendingRow {
        key: [1; 32],
        guard: [2; 32],
        expires_at: Timestamp(1000),
        body: Bytes::from_static(b"attempt"),
    };
    // Every script is known to the server, so that the first answer is the one that counts.
    insert(&peer, "con_1").await;
    assert_eq!(
        peer.charge_usage(&key, 1, None).await.unwrap(),
        Charged::Counted(1)
    );
    assert_eq!(peer.put_pending(&pending).await.unwrap(), Put::Stored);

    // What is lost is the answer of the call, not one of the begin of a connection.
    let connected = async || assert!(store.connection(&row("con_1", 0).id).await.unwrap().0.is_some());
    between.lose();
    let inserted = store.insert_connection(&row("con_2", 0)).await;
    assert_eq!(inserted.unwrap_err().kind(), StoreErrorKind::Unavailable);
    let (stored, _) = peer.connection(&row("con_2", 0).id).await.unwrap();
    assert_eq!(stored.unwrap().revision.counter, 1);

    connected().await;
    between.lose();
    let charged = store.charge_usage(&key, 5, None).await;
    assert_eq!(charged.unwrap_err().kind(), StoreErrorKind::Unavailable);
    assert_eq!(
        peer.charge_usage(&key, 0, None).await.unwrap(),
        Charged::Counted(6),
        "counted once"
    );

    connected().await;
    between.lose();
    let taken = store
        .take_pending(&pending.key, &pending.guard, Timestamp(0))
        .await;
    assert_eq!(taken.unwrap_err().kind(), StoreErrorKind::Unavailable);
    let taken = peer
        .take_pending(&pending.key, &pending.guard, Timestamp(0))
        .await
        .unwrap();
    assert_eq!(taken, Taken::Missing, "nobody else ever gets it");
}
