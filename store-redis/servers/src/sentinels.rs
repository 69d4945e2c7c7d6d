//! A primary with two replicas, and three Sentinels that watch it.

use crate::{Seat, Server, wait_until};

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
    /// Starts them with these settings; the replicas have caught up, and a primary that does not answer for three seconds
    /// is replaced. The Sentinels answer everybody, and know a user `watcher` with the password `watching`,
    /// who may do what the store needs.
    pub fn start(settings: &[&str]) -> Self {
        Self::start_at(&[&Seat::here(), &Seat::here(), &Seat::here()], settings)
    }

    /// The same, with one server and one Sentinel at each of these seats.
    pub fn start_at(seats: &[&Seat; 3], settings: &[&str]) -> Self {
        let of_primary = [&["--repl-diskless-sync-delay", "0"], settings].concat();
        let primary = Server::start_at(seats[0], &of_primary);
        let address = seats[0].address().to_string();
        let port = primary.port().to_string();
        let of_replica = [&of_primary[..], &["--replicaof", &address, &port]].concat();
        let mut servers = vec![primary];
        servers.extend(seats[1..].iter().map(|seat| Server::start_at(seat, &of_replica)));
        let configuration = format!(
            "sentinel monitor {SERVICE} {address} {port} 2\n\
             sentinel down-after-milliseconds {SERVICE} 3000\n\
             sentinel failover-timeout {SERVICE} 3000\n\
             user watcher on >watching +sentinel|masters +role\n"
        );
        let start = |seat: &&Seat| Server::start_sentinel(seat, &configuration);
        let sentinels = seats.iter().map(start).collect();
        let started = Self { servers, sentinels };
        started.wait_until_whole();
        started
    }

    /// The address of the store, as the Sentinels know it.
    pub fn address(&self) -> String {
        let sentinels = self
            .sentinels
            .iter()
            .map(|sentinel| format!("{}:{}", sentinel.seat().address(), sentinel.port()));
        let sentinels: Vec<String> = sentinels.collect();
        format!("redis+sentinel://{}/{SERVICE}", sentinels.join(","))
    }

    /// Which server the Sentinels take for the primary: the place in [`Sentinels::servers`] that most of them name.
    pub fn primary(&self) -> Option<usize> {
        let named = |server: &Server| 2 * self.who_name(server) > self.sentinels.len();
        self.servers.iter().position(named)
    }

    /// Whether all Sentinels agree on a primary other than this server, and the third server follows that one.
    pub fn is_replaced(&self, number: usize) -> bool {
        let primary = self.primary().filter(|primary| *primary != number);
        primary.is_some_and(|primary| {
            let primary = &self.servers[primary];
            let told = primary.command(&["INFO", "replication"]);
            self.who_name(primary) == self.sentinels.len()
                && told.contains("role:master")
                && told.contains("state=online")
        })
    }

    fn who_name(&self, server: &Server) -> usize {
        let (address, port) = (server.seat().address().to_string(), server.port().to_string());
        let told = self.sentinels.iter().filter(|sentinel| {
            let answer = sentinel.command(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE]);
            let lines: Vec<&str> = answer.lines().collect();
            lines.contains(&&*address) && lines.contains(&&*port)
        });
        told.count()
    }

    /// Starts a server again that was killed, as one that follows the present primary.
    pub fn restart(&mut self, number: usize) {
        let primary = self.primary().filter(|primary| *primary != number);
        let primary = primary.map(|primary| self.servers[primary].place());
        self.servers[number].follow(primary);
        self.servers[number].restart();
    }

    /// Waits until the two others follow the primary, and every Sentinel knows all of them and the other Sentinels.
    pub fn wait_until_whole(&self) {
        wait_until("all follow one primary", || {
            let Some(primary) = self.primary() else {
                return false;
            };
            let told = self.servers[primary].command(&["INFO", "replication"]);
            told.lines().filter(|line| line.contains("state=online")).count() >= 2
                && self.sentinels.iter().all(knows_all)
        });
    }
}

fn knows_all(sentinel: &Server) -> bool {
    let told = sentinel.command(&["SENTINEL", "MASTER", SERVICE]);
    let lines: Vec<&str> = told.lines().filter(|line| !line.starts_with('$')).collect();
    let field = |name: &str| {
        let at = lines.iter().position(|line| *line == name)?;
        lines.get(at + 1).copied()
    };
    field("num-slaves") == Some("2")
        && field("num-other-sentinels") == Some("2")
        && field("flags") == Some("master")
}
