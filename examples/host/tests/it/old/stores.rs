//! Opens copies of the stores in `tests/old`.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Shutdown, TcpStream},
    ops::Deref,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use grantry_redis_servers::Server;
use grantry_store_redis::RedisStore;
use grantry_store_sqlite::SqliteStore;
use tempfile::TempDir;

use super::Known;
use crate::support::blocking;

/// A store, and the folder or server that holds it.
pub(super) struct Copied<S, P> {
    store: S,
    _place: P,
}

impl<S, P> Deref for Copied<S, P> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.store
    }
}

pub(super) async fn on_sqlite() -> Vec<(Copied<SqliteStore, TempDir>, Known)> {
    let mut stores = Vec::new();
    for folder in folders("sqlite") {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("store.db");
        fs::copy(folder.join("store.sqlite3"), &file).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let store = SqliteStore::open(&file).await.unwrap();
        let copied = Copied { store, _place: place };
        stores.push((copied, Known::of(&folder)));
    }
    stores
}

pub(super) async fn on_redis() -> Vec<(Copied<RedisStore, Server>, Known)> {
    let mut stores = Vec::new();
    for folder in folders("redis") {
        let server = blocking(|| Server::start(&[]));
        blocking(|| replay(&server, &folder.join("store.commands")));
        let builder = RedisStore::builder(&server.address()).must_exist(true);
        let copied = Copied {
            store: builder.open().await.unwrap(),
            _place: server,
        };
        stores.push((copied, Known::of(&folder)));
    }
    stores
}

fn folders(kind: &str) -> Vec<PathBuf> {
    let old = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/old");
    let all = fs::read_dir(old).unwrap().map(|entry| entry.unwrap().path());
    let mut folders: Vec<PathBuf> = all
        .map(|version| version.join(kind))
        .filter(|folder| folder.exists())
        .collect();
    folders.sort();
    assert!(!folders.is_empty(), "no old stores on {kind}");
    folders
}

/// Sends a file of inline commands.
fn replay(server: &Server, file: &Path) {
    let commands = fs::read(file).unwrap();
    let mut stream = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    let mut answers = String::new();
    let mut reading = stream.try_clone().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| reading.read_to_string(&mut answers).unwrap());
        stream.write_all(&commands).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
    });
    let refused = answers.lines().find(|answer| answer.starts_with('-'));
    assert_eq!(refused, None);
}
