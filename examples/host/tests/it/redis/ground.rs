//! The servers under the hosts, and what is done to them.

use std::sync::Arc;

use grantry_redis_servers::{Cluster, Sentinels, Server, Signal};

use super::fleet::random;
use crate::support::{Host, World, blocking, eventually};

/// What is done to a primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Strike {
    /// `kill -9`.
    Kill,
    /// It stands still.
    Pause,
}

/// What the hosts' store is on.
pub(super) struct Ground {
    pub(super) servers: Servers,
    /// Which server was struck, and how.
    struck: Option<(usize, Strike)>,
}

pub(super) enum Servers {
    One(Server),
    Sentinels(Sentinels),
    Cluster(Cluster),
}

impl Ground {
    /// One server that syncs every write.
    pub(super) fn one() -> Self {
        Self::one_with(&["--appendfsync", "always"])
    }

    /// One server with other settings.
    pub(super) fn one_with(settings: &[&str]) -> Self {
        Servers::One(blocking(|| Server::start(settings))).into()
    }

    /// A primary with two replicas.
    pub(super) fn sentinels() -> Self {
        Servers::Sentinels(blocking(|| Sentinels::start(&[]))).into()
    }

    /// Three primaries with a replica each.
    pub(super) fn cluster() -> Self {
        Servers::Cluster(blocking(|| Cluster::start(&[]))).into()
    }

    /// The address for `--store`.
    pub(super) fn address(&self) -> String {
        match &self.servers {
            Servers::One(server) => server.address(),
            Servers::Sentinels(sentinels) => sentinels.address(),
            Servers::Cluster(cluster) => cluster.address(),
        }
    }

    /// Hosts that serve one public URL.
    pub(super) async fn hosts(&self, world: &World, count: usize) -> Vec<Arc<Host>> {
        let address = self.address();
        let first = Arc::new(world.launch().store(&address).start().await);
        let mut hosts = vec![first];
        while hosts.len() < count {
            let beside = world.launch_beside(&hosts[0]).store(&address);
            hosts.push(Arc::new(beside.start().await));
        }
        hosts
    }

    /// Strikes a primary, any one of a Cluster's.
    pub(super) fn strike(&mut self, how: Strike) {
        let number = blocking(|| match &self.servers {
            Servers::One(_) => 0,
            Servers::Sentinels(sentinels) => sentinels.primary().expect("no primary"),
            Servers::Cluster(cluster) => {
                let slot = u16::try_from(random(16384)).unwrap();
                let primary = cluster.primary_of(slot).expect("nobody serves a slot");
                let is_it = |node: &Server| node.port() == primary.port();
                cluster.nodes.iter().position(is_it).unwrap()
            }
        });
        let server = self.server(number);
        match how {
            Strike::Kill => server.kill(),
            Strike::Pause => server.signal(Signal::STOP),
        }
        self.struck = Some((number, how));
    }

    /// Waits until another server has taken the place of the one that was struck.
    pub(super) async fn taken_over(&self) {
        let Some((struck, _)) = self.struck else { return };
        eventually("another one takes over", || {
            let over = blocking(|| match &self.servers {
                Servers::One(_) => true,
                Servers::Sentinels(sentinels) => sentinels.is_replaced(struck),
                Servers::Cluster(cluster) => cluster.is_served_without(struck),
            });
            async move { over.then_some(()) }
        })
        .await;
    }

    /// Brings back the server that was struck, and waits until all is whole.
    pub(super) fn heal(&mut self) {
        let Some((struck, how)) = self.struck.take() else {
            return;
        };
        blocking(|| {
            match (how, &mut self.servers) {
                (Strike::Pause, _) => self.server(struck).signal(Signal::CONT),
                (Strike::Kill, Servers::Sentinels(sentinels)) => sentinels.restart(struck),
                (Strike::Kill, _) => self.server(struck).restart(),
            }
            match &self.servers {
                Servers::One(_) => {}
                Servers::Sentinels(sentinels) => sentinels.wait_until_whole(),
                Servers::Cluster(cluster) => cluster.wait_until_whole(),
            }
        });
    }

    fn server(&mut self, number: usize) -> &mut Server {
        match &mut self.servers {
            Servers::One(server) => server,
            Servers::Sentinels(sentinels) => &mut sentinels.servers[number],
            Servers::Cluster(cluster) => &mut cluster.nodes[number],
        }
    }
}

impl From<Servers> for Ground {
    fn from(servers: Servers) -> Self {
        Self {
            servers,
            struck: None,
        }
    }
}
