//! A Cluster of three primaries with a replica each.

use crate::{Server, server::free_port, wait_until};

/// The nodes: three primaries at the begin, then their replicas in the same order.
#[derive(Debug)]
pub struct Cluster {
    /// All nodes.
    pub nodes: Vec<Server>,
}

const SLOTS: u16 = 16384;

impl Cluster {
    /// Starts it with these settings; a primary that does not answer for a second is replaced.
    pub fn start(settings: &[&str]) -> Self {
        let nodes: Vec<Server> = (0..6)
            .map(|_| {
                let bus = free_port().to_string();
                let of_cluster = [
                    &["--cluster-enabled", "yes", "--cluster-node-timeout", "1000"],
                    &["--cluster-port", &bus, "--repl-diskless-sync-delay", "0"],
                    settings,
                ];
                Server::start(&of_cluster.concat())
            })
            .collect();
        let cluster = Self { nodes };
        cluster.join();
        cluster
    }

    fn join(&self) {
        let (primaries, replicas) = self.nodes.split_at(3);
        for (number, node) in (0_u16..).zip(primaries) {
            let (first, last) = (number * SLOTS / 3, (number + 1) * SLOTS / 3 - 1);
            ok(&node.command(&["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &last.to_string()]));
        }
        for (number, node) in self.nodes.iter().enumerate() {
            ok(&node.command(&["CLUSTER", "SET-CONFIG-EPOCH", &(number + 1).to_string()]));
        }
        for node in &self.nodes[1..] {
            let bus = Self::bus_port(node);
            let port = node.port().to_string();
            ok(&self.nodes[0].command(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus]));
        }
        wait_until("all nodes know each other", || {
            self.nodes.iter().all(|node| {
                let known = node.command(&["CLUSTER", "NODES"]);
                known.lines().filter(|line| line.contains("connected")).count() == self.nodes.len()
                    && !known.contains("handshake")
            })
        });
        for (primary, replica) in primaries.iter().zip(replicas) {
            let id = Self::id(primary);
            wait_until("a replica follows", || {
                replica.command(&["CLUSTER", "REPLICATE", &id]).starts_with("+OK")
            });
        }
        self.wait_until_whole();
    }

    /// Waits until every slot is served, by every node's account, and each primary that is up has a replica.
    pub fn wait_until_whole(&self) {
        wait_until("the Cluster is whole", || {
            self.nodes.iter().all(|node| {
                let state = node.command(&["CLUSTER", "INFO"]);
                let role = node.command(&["INFO", "replication"]);
                state.contains("cluster_state:ok")
                    && (role.contains("master_link_status:up") || role.contains("state=online"))
            })
        });
    }

    /// The address of the store; it names two of the nodes.
    pub fn address(&self) -> String {
        let [one, .., other] = &self.nodes[..] else {
            return String::new();
        };
        format!(
            "redis+cluster://127.0.0.1:{},127.0.0.1:{}",
            one.port(),
            other.port()
        )
    }

    /// The name that a node has in the Cluster.
    pub fn id(node: &Server) -> String {
        let answer = node.command(&["CLUSTER", "MYID"]);
        answer.lines().nth(1).unwrap_or_default().to_owned()
    }

    /// The node that serves a slot, by its own account.
    pub fn primary_of(&self, slot: u16) -> Option<&Server> {
        self.nodes.iter().find(|node| {
            let known = node.command(&["CLUSTER", "NODES"]);
            let own = known.lines().find(|line| line.contains("myself,master"));
            let slots = own.into_iter().flat_map(|own| own.split(' ').skip(8));
            let mut ranges = slots.filter_map(|slots| {
                let (first, last) = slots.split_once('-').unwrap_or((slots, slots));
                Some(first.parse::<u16>().ok()?..=last.parse::<u16>().ok()?)
            });
            ranges.any(|range| range.contains(&slot))
        })
    }

    /// Whether every slot has a primary other than this node, by the account of all others.
    pub fn is_served_without(&self, number: usize) -> bool {
        let others = self
            .nodes
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != number);
        let port = format!(":{}@", self.nodes[number].port());
        others.map(|(_, node)| node).all(|node| {
            let whole = node.command(&["CLUSTER", "INFO"]).contains("cluster_state:ok");
            let known = node.command(&["CLUSTER", "NODES"]);
            let of_it = known.lines().find(|line| line.contains(&port));
            // Of a primary that serves something a range of slots stands there.
            whole && of_it.is_some_and(|line| line.split(' ').count() <= 8)
        })
    }

    /// The node that serves the keys with this in their names, by its own account.
    pub fn server_of(&self, name: &str) -> Option<&Server> {
        let pattern = format!("*{name}*");
        let has_it = |node: &&Server| {
            let keys = node.command(&["KEYS", &pattern]);
            keys.contains(name) && node.command(&["ROLE"]).contains("master")
        };
        self.nodes.iter().find(has_it)
    }

    /// The slots in which something lies.
    pub fn slots_with_keys(&self) -> Vec<u16> {
        let mut slots = Vec::new();
        for node in &self.nodes {
            let answer = node.command(&["KEYS", "*"]);
            for key in answer.lines().filter(|line| !line.starts_with(['*', '$'])) {
                let slot = node.command(&["CLUSTER", "KEYSLOT", key]);
                slots.extend(slot.trim_start_matches(':').trim_end().parse::<u16>());
            }
        }
        slots.sort_unstable();
        slots.dedup();
        slots
    }

    /// Moves a slot with all its keys to another primary, as an operator's tool would: `between` runs when it is half
    /// way, with some keys here and some there.
    pub fn move_slot(&self, slot: u16, to: &Server, between: impl FnOnce()) {
        let Some(from) = self.primary_of(slot) else {
            return;
        };
        let (source, target) = (Self::id(from), Self::id(to));
        let (slot, port) = (slot.to_string(), to.port().to_string());
        ok(&to.command(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &source]));
        ok(&from.command(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &target]));
        let keys = || -> Vec<String> {
            let answer = from.command(&["CLUSTER", "GETKEYSINSLOT", &slot, "100"]);
            let lines = answer.lines().filter(|line| !line.starts_with(['*', '$']));
            lines.map(str::to_owned).collect()
        };
        let move_one = |key: &str| {
            ok(&from.command(&["MIGRATE", "127.0.0.1", &port, key, "0", "5000"]));
        };
        let first = keys();
        for key in first.iter().take(first.len() / 2) {
            move_one(key);
        }
        between();
        loop {
            let rest = keys();
            if rest.is_empty() {
                break;
            }
            for key in &rest {
                move_one(key);
            }
        }
        for node in [to, from] {
            ok(&node.command(&["CLUSTER", "SETSLOT", &slot, "NODE", &target]));
        }
    }

    fn bus_port(node: &Server) -> String {
        let answer = node.command(&["CONFIG", "GET", "cluster-port"]);
        answer.lines().nth(4).unwrap_or_default().to_owned()
    }
}

fn ok(answer: &str) {
    assert!(answer.starts_with('+'), "Redis answers {answer}");
}
