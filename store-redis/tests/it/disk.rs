//! From Redis 7.2 on a server says when its disk has a write, and that is waited for. Systems still install older ones, so
//! that this server is played; what it answers to is what a real one was seen to answer.
#![expect(clippy::disallowed_methods, reason = "the tasks end with the test")]

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU8, Ordering},
};

use grantry::store::{ConnectionStore as _, Revision};
use grantry_store_redis::{RedisStore, ServerWarning};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
};

use crate::outage::row;

const REVISION: Revision = Revision { counter: 7, write: 9 };

/// A server of version 7.2 with an append-only file that is synced each second.
#[derive(Clone)]
struct Played {
    /// What it says of its disk: 1 if that has all.
    synced: Arc<AtomicU8>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Played {
    async fn start() -> (Self, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("redis://{}", listener.local_addr().unwrap());
        let played = Self {
            synced: Arc::default(),
            asked: Arc::default(),
        };
        let server = played.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(server.clone().talk(stream));
            }
        });
        (played, address)
    }

    async fn talk(self, stream: TcpStream) {
        let mut stream = BufReader::new(stream);
        while let Some(words) = command(&mut stream).await {
            let answer = self.answer(&words);
            if stream.get_mut().write_all(&answer).await.is_err() {
                return;
            }
        }
    }

    fn answer(&self, words: &[String]) -> Vec<u8> {
        let text = |text: &str| format!("${}\r\n{text}\r\n", text.len()).into_bytes();
        let line = words.join(" ");
        self.asked.lock().unwrap().push(line.clone());
        match words[0].as_str() {
            "INFO" => text(
                "redis_version:7.2.4\r\nrun_id:one\r\nrole:master\r\nconnected_slaves:0\r\naof_enabled:1\r\n\
                 maxmemory_policy:noeviction\r\n",
            ),
            "CONFIG" if words[2] == "appendfsync" => {
                [b"*2\r\n".to_vec(), text("appendfsync"), text("everysec")].concat()
            }
            "CONFIG" => [b"*2\r\n".to_vec(), text("min-replicas-to-write"), text("0")].concat(),
            "EVALSHA" => [b"*2\r\n".to_vec(), text("1"), text("1")].concat(),
            "INCR" => b":1\r\n".to_vec(),
            "WAIT" => b":0\r\n".to_vec(),
            "WAITAOF" => format!("*2\r\n:{}\r\n:0\r\n", self.synced.load(Ordering::SeqCst)).into_bytes(),
            "GETRANGE" => {
                let Revision { counter, write } = REVISION;
                let revision = [&counter.to_be_bytes()[..], &write.to_be_bytes()].concat();
                [b"$24\r\n".to_vec(), revision, b"\r\n".to_vec()].concat()
            }
            _ => b"+OK\r\n".to_vec(),
        }
    }
}

/// The next command; `None` at the end.
async fn command(stream: &mut BufReader<TcpStream>) -> Option<Vec<String>> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok()?;
    let count: usize = line.trim().strip_prefix('*')?.parse().ok()?;
    let mut words = Vec::new();
    for _ in 0..count {
        line.clear();
        stream.read_line(&mut line).await.ok()?;
        let length: usize = line.trim().strip_prefix('$')?.parse().ok()?;
        let mut word = vec![0; length + 2];
        stream.read_exact(&mut word).await.ok()?;
        word.truncate(length);
        words.push(String::from_utf8_lossy(&word).into_owned());
    }
    Some(words)
}

#[tokio::test]
async fn the_disk_is_waited_for_where_it_tells() {
    let (played, address) = Played::start().await;
    let store = RedisStore::open(&address).await.unwrap();
    assert_eq!(store.server_warnings(), [ServerWarning::SyncedEachSecond]);
    let id = row("con_1", 0).id;
    assert!(!store.confirm_connection(&id, REVISION).await.unwrap());
    assert_eq!(store.unconfirmed(), 1);
    played.synced.store(1, Ordering::SeqCst);
    assert!(store.confirm_connection(&id, REVISION).await.unwrap());
    let other = Revision { write: 1, ..REVISION };
    assert!(!store.confirm_connection(&id, other).await.unwrap());
    let asked = played.asked.lock().unwrap();
    let waits = asked.iter().filter(|line| *line == "WAITAOF 1 0 2000");
    assert_eq!(waits.count(), 3, "{asked:?}");
}
