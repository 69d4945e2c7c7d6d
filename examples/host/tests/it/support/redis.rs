//! A Redis server of a test's own.

use std::{
    net::TcpListener,
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::eventually;

/// A server on a free port of the loopback interface that syncs every write. It is killed when this is dropped.
pub(crate) struct Redis {
    child: Child,
    port: u16,
    dir: TempDir,
}

impl Redis {
    pub(crate) async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let child = spawn(port, &dir);
        let mut redis = Self { child, port, dir };
        redis.is_up().await;
        redis
    }

    pub(crate) fn address(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }

    /// Starts it again on what it had written.
    pub(crate) async fn restart(&mut self) {
        self.child = spawn(self.port, &self.dir);
        self.is_up().await;
    }

    async fn is_up(&mut self) {
        eventually("Redis is up", || {
            assert!(
                self.child.try_wait().unwrap().is_none(),
                "redis-server ended by itself"
            );
            let port = self.port;
            async move {
                let mut stream = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
                stream.write_all(b"PING\r\n").await.ok()?;
                let mut answer = [0; 7];
                stream.read_exact(&mut answer).await.ok()?;
                (&answer == b"+PONG\r\n").then_some(())
            }
        })
        .await;
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(port: u16, dir: &TempDir) -> Child {
    let spawned = Command::new("redis-server")
        .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", ""])
        .args(["--appendonly", "yes", "--appendfsync", "always", "--dir"])
        .arg(dir.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    spawned.expect(
        "redis-server cannot be started; ./test.sh installs it (Debian: apt-get install redis-server)",
    )
}
