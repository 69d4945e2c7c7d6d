//! A primary with two replicas, and three Sentinels that watch it.

use crate::{Server, wait_until};

/// What the Sentinels call it.
const SERVICE: &str = "grantry";

/// The servers.
#[derive(Debug)]
pub struct Sentinels {
    /// The primary at the begin, and its replicas.
    pub servers: Vec<Server>,
    /// Those who watch.
    pub sentinels: Vec<Server>,
}

impl Sentinels {
    /// Starts them with these settings; the replicas have caught up, and a primary that does not answer for half a second
    /// is replaced. The Sentinels answer everybody, and know a user `watcher` with the password `watching`.
    pub fn start(settings: &[&str]) -> Self {
        let of_primary = [&["--repl-diskless-sync-delay", "0"], settings].concat();
        let primary = Server::start(&of_primary);
        let port = primary.port().to_string();
        let of_replica = [&of_primary[..], &["--replicaof", "127.0.0.1", &port]].concat();
        let mut servers = vec![primary];
        servers.extend((0..2).map(|_| Server::start(&of_replica)));
        let configuration = format!(
            "sentinel monitor {SERVICE} 127.0.0.1 {port} 2\n\
             sentinel down-after-milliseconds {SERVICE} 500\n\
             sentinel failover-timeout {SERVICE} 3000\n\
             user watcher on >watching allchannels +@all\n"
        );
        let sentinels = (0..3).map(|_| Server::start_sentinel(&configuration)).collect();
        let started = Self { servers, sentinels };
        started.wait_until_whole(&started.servers[0]);
        started
    }

    /// The address of the store, as the Sentinels know it.
    pub fn address(&self) -> String {
        let sentinels = self
            .sentinels
            .iter()
            .map(|sentinel| format!("127.0.0.1:{}", sentinel.port()));
        let sentinels: Vec<String> = sentinels.collect();
        format!("redis+sentinel://{}/{SERVICE}", sentinels.join(","))
    }

    /// Which server the Sentinels take for the primary: the place in [`Sentinels::servers`] that most of them name.
    pub fn primary(&self) -> Option<usize> {
        let named = |server: &Server| {
            let told = self.sentinels.iter().filter(|sentinel| {
                let answer = sentinel.command(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE]);
                answer.lines().any(|line| line == server.port().to_string())
            });
            2 * told.count() > self.sentinels.len()
        };
        self.servers.iter().position(named)
    }

    /// Waits until the two others follow this primary, and every Sentinel knows them and the other Sentinels.
    pub fn wait_until_whole(&self, primary: &Server) {
        wait_until("the replicas follow", || {
            let told = primary.command(&["INFO", "replication"]);
            told.lines().filter(|line| line.contains("state=online")).count() >= 2
        });
        wait_until("the Sentinels know all", || {
            self.sentinels.iter().all(|sentinel| {
                let told = sentinel.command(&["SENTINEL", "MASTER", SERVICE]);
                let lines: Vec<&str> = told.lines().filter(|line| !line.starts_with('$')).collect();
                let field = |name: &str| {
                    let at = lines.iter().position(|line| *line == name)?;
                    lines.get(at + 1).copied()
                };
                field("num-slaves") == Some("2")
                    && field("num-other-sentinels") == Some("2")
                    && field("flags") == Some("master")
            })
        });
    }
}
