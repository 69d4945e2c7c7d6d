//! A Redis Cluster: which node serves which slot, and where a redirected call goes.
//!
//! Redirects come from the nodes: `MOVED` and `ASK` name another node, and the node that sends one has not run the
//! call, so the call can safely be made elsewhere. The driver's own Cluster connection is not used, because it also
//! repeats calls whose reply was lost and does not say which run of which node served them. This store has to know
//! both.

use std::{
    collections::{BTreeSet, HashMap},
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use grantry::time::{BootInstant, Clock as _, SystemClock};
use redis::{RedisResult, Value};

use crate::{
    dial::Dial,
    error::{Failure, Trouble, Way},
    node::{Node, Route, Used},
    place::Place,
    run::SeenReplicas,
    session::Session,
};

/// The shortest time between two reads of the slot map.
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);
/// The time limit for one node to report the slot map.
const LOOK: Duration = Duration::from_secs(1);
/// The most redirects that one call follows. The Cluster specification advises a bound.
const SENT_ON: usize = 16;
/// The pause between two attempts at a call whose slot is being migrated.
const SLOT_LEAVES: Duration = Duration::from_millis(25);

pub(crate) struct Cluster {
    dial: Dial,
    /// The nodes that the address names.
    seeds: Vec<String>,
    limit: Duration,
    seen: SeenReplicas,
    map: Mutex<Map>,
    /// Locked while the slot map is read; holds when that last happened.
    looking: tokio::sync::Mutex<Option<BootInstant>>,
}

#[derive(Default)]
struct Map {
    slots: Vec<Slots>,
    nodes: HashMap<String, Arc<Node>>,
    /// The map may be out of date.
    stale: bool,
}

/// A range of slots that one primary serves.
#[derive(Debug, PartialEq, Eq)]
struct Slots {
    first: u16,
    last: u16,
    primary: String,
    replicas: Vec<String>,
}

impl Cluster {
    pub(crate) fn new(dial: Dial, seeds: Vec<String>, limit: Duration, seen: SeenReplicas) -> Self {
        Self {
            dial,
            seeds,
            limit,
            seen,
            map: Mutex::default(),
            looking: tokio::sync::Mutex::default(),
        }
    }

    /// Runs a call on the node that serves its slot. Repeats it only if it certainly did not run.
    pub(crate) async fn attempt<T, F>(
        &self,
        place: Place,
        used: &Used,
        call: &(impl Fn(Session) -> F + Send + Sync),
    ) -> Result<T, Failure>
    where
        F: Future<Output = RedisResult<T>> + Send,
    {
        let slot = place.slot();
        let mut sent_on = 0;
        let mut sent_to = None;
        while sent_on < SENT_ON {
            let (address, asking) = match sent_to.take() {
                Some(address) => (address, true),
                None => (self.primary(slot).await?, false),
            };
            let node = self.node(&address)?;
            let Trouble { failure, way } = match node.attempt(used, asking, call).await {
                Ok(answer) => return Ok(answer),
                Err(trouble) => trouble,
            };
            sent_on += 1;
            match way {
                Some(Way::Moved(to)) => self.moved(slot, full(&to, &address)),
                Some(Way::Ask(to)) => sent_to = Some(full(&to, &address)),
                // Until the slot has arrived, or the time limit ends it.
                Some(Way::Leaving) => {
                    sent_on = 0;
                    tokio::time::sleep(SLOT_LEAVES).await;
                }
                None => {
                    if failure.is_of_the_node() {
                        self.mark_stale();
                    }
                    return Err(failure);
                }
            }
        }
        Err(Failure::SENT_ROUND)
    }

    /// Every primary that serves slots, with its address.
    pub(crate) async fn primaries(&self) -> Result<Vec<(Option<String>, Arc<Node>)>, Failure> {
        self.mark_stale();
        self.look().await?;
        let addresses: BTreeSet<String> = self.map().slots.iter().map(|s| s.primary.clone()).collect();
        let nodes = addresses.into_iter().map(|address| {
            let node = self.node(&address)?;
            Ok((Some(address), node))
        });
        nodes.collect()
    }

    /// Marks the map as stale: the next call reads it first.
    pub(crate) fn mark_stale(&self) {
        self.map().stale = true;
    }

    /// The primary that serves a slot.
    pub(crate) async fn primary(&self, slot: u16) -> Result<String, Failure> {
        let known = {
            let map = self.map();
            map.primary(slot).filter(|_| !map.stale).map(str::to_owned)
        };
        if let Some(address) = known {
            return Ok(address);
        }
        // If no node can be asked now, the old map may still be right.
        let looked = self.look().await;
        let known = self.map().primary(slot).map(str::to_owned);
        match (known, looked) {
            (Some(address), _) => Ok(address),
            (None, Err(failure)) => Err(failure),
            (None, Ok(())) => Err(Failure::UNSERVED),
        }
    }

    fn moved(&self, slot: u16, primary: String) {
        let mut map = self.map();
        let moved = Slots {
            first: slot,
            last: slot,
            primary,
            replicas: Vec::new(),
        };
        // The first range that fits counts. The next read of the map brings whatever else moved.
        map.slots.insert(0, moved);
        map.stale = true;
    }

    /// The node at an address.
    pub(crate) fn node(&self, address: &str) -> Result<Arc<Node>, Failure> {
        let mut map = self.map();
        if let Some(node) = map.nodes.get(address) {
            return Ok(node.clone());
        }
        let client = self.dial.client(address).ok_or(Failure::UNSERVED)?;
        let node = Node::new(Route::Server(Box::new(client)), self.limit, self.seen.clone());
        map.nodes.insert(address.to_owned(), node.clone());
        Ok(node)
    }

    /// Asks the nodes in turn, starting at a random one, until one reports the slot map.
    async fn look(&self) -> Result<(), Failure> {
        let mut last = self.looking.lock().await;
        if last.is_some_and(|last| SystemClock.boot() - last < BETWEEN_LOOKS) {
            return Ok(());
        }
        let mut addresses: Vec<String> = {
            let map = self.map();
            let known = map
                .slots
                .iter()
                .flat_map(|s| s.replicas.iter().chain([&s.primary]));
            let all: BTreeSet<&String> = known.chain(&self.seeds).collect();
            all.into_iter().cloned().collect()
        };
        let mut random = [0; 1];
        // Without randomness the same node is asked first every time; nothing depends on it.
        let _ = getrandom::fill(&mut random);
        let begin = usize::from(random[0]) % addresses.len().max(1);
        addresses.rotate_left(begin);
        let mut why = Failure::UNSERVED;
        for address in addresses {
            let node = self.node(&address)?;
            let used = Used::default();
            let mut question = redis::cmd("CLUSTER");
            question.arg("SLOTS");
            let asked = node.attempt(&used, false, |mut session| {
                let question = question.clone();
                async move { session.command::<Value>(&question).await }
            });
            match tokio::time::timeout(LOOK.min(self.limit), asked).await {
                Ok(Ok(answer)) => {
                    if let Some(slots) = slots(answer, &address).filter(|slots| !slots.is_empty()) {
                        self.map().learn(slots, &self.seeds);
                        *last = Some(SystemClock.boot());
                        return Ok(());
                    }
                }
                Ok(Err(trouble)) => why = trouble.failure,
                Err(_) => {
                    used.give_up();
                    why = Failure::TIMEOUT;
                }
            }
        }
        *last = Some(SystemClock.boot());
        Err(why)
    }

    fn map(&self) -> MutexGuard<'_, Map> {
        self.map.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Map {
    fn primary(&self, slot: u16) -> Option<&str> {
        let mut slots = self.slots.iter();
        slots
            .find(|slots| (slots.first..=slots.last).contains(&slot))
            .map(|slots| slots.primary.as_str())
    }

    fn learn(&mut self, slots: Vec<Slots>, seeds: &[String]) {
        let known = |address: &String| {
            seeds.contains(address)
                || slots
                    .iter()
                    .any(|s| s.primary == *address || s.replicas.contains(address))
        };
        self.nodes.retain(|address, _| known(address));
        self.slots = slots;
        self.stale = false;
    }
}

/// The `host:port` that a node named. If it named no host, or does not know it, the host is the one that node was
/// reached at.
fn full(named: &str, by: &str) -> String {
    match (named.rsplit_once(':'), by.rsplit_once(':')) {
        (Some(("" | "?", port)), Some((own, _))) => format!("{own}:{port}"),
        _ => named.to_owned(),
    }
}

/// The reply to `CLUSTER SLOTS`: for each range the first slot, the last slot and the nodes, primary first, each with
/// host, port and more. A node that does not know its own host is reached at the one it was asked at.
fn slots(answer: Value, asked: &str) -> Option<Vec<Slots>> {
    let address = |node: &Value| {
        let Value::Array(node) = node else { return None };
        let host = match node.first()? {
            Value::BulkString(host) => String::from_utf8(host.clone()).ok()?,
            _ => String::new(),
        };
        let Value::Int(port) = node.get(1)? else {
            return None;
        };
        Some(full(&format!("{host}:{port}"), asked))
    };
    let Value::Array(ranges) = answer else { return None };
    let ranges = ranges.into_iter().map(|range| {
        let Value::Array(range) = range else { return None };
        let [Value::Int(first), Value::Int(last), nodes @ ..] = &range[..] else {
            return None;
        };
        let mut addresses = nodes.iter().map(address);
        Some(Slots {
            first: u16::try_from(*first).ok()?,
            last: u16::try_from(*last).ok()?,
            primary: addresses.next()??,
            replicas: addresses.collect::<Option<_>>()?,
        })
    });
    ranges.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    fn node(host: &str, port: i64) -> Value {
        Value::Array(vec![
            text(host),
            Value::Int(port),
            text("id"),
            Value::Array(Vec::new()),
        ])
    }

    #[test]
    fn who_serves_what_is_read() {
        let range = |first, last, nodes: Vec<Value>| {
            Value::Array([vec![Value::Int(first), Value::Int(last)], nodes].concat())
        };
        let answer = Value::Array(vec![
            range(0, 5460, vec![node("", 7001), node("10.0.0.2", 7002)]),
            range(5461, 16383, vec![node("redis.example", 7003)]),
        ]);
        let slots = slots(answer, "10.0.0.1:7001").unwrap();
        let map = Map {
            slots,
            ..Map::default()
        };
        assert_eq!(map.primary(0), Some("10.0.0.1:7001"));
        assert_eq!(map.primary(16383), Some("redis.example:7003"));
        assert_eq!(map.slots[0].replicas, ["10.0.0.2:7002"]);
        assert!(super::slots(Value::Int(1), "a:1").is_none());
    }

    #[test]
    fn a_host_that_is_not_told_is_the_one_that_tells() {
        for (named, expected) in [
            ("10.0.0.2:7002", "10.0.0.2:7002"),
            (":7002", "10.0.0.1:7002"),
            ("?:7002", "10.0.0.1:7002"),
            ("fd00::2:7002", "fd00::2:7002"),
        ] {
            assert_eq!(full(named, "10.0.0.1:7001"), expected);
        }
        assert_eq!(full(":7002", "[fd00::1]:7001"), "[fd00::1]:7002");
    }

    /// Examples of the Cluster specification, and the slots of this store's keys.
    #[test]
    fn places_have_the_slots_of_their_tags() {
        let slot = |place: Place| place.slot();
        assert_eq!(slot(Place::Connections(0)), redis_slot("c0"));
        let all: BTreeSet<u16> = (0..64).map(|bucket| slot(Place::Connections(bucket))).collect();
        assert_eq!(all.len(), 64);
        for third in 0..3 {
            let here = all.iter().filter(|slot| **slot / 5462 == third).count();
            assert!(
                (16..=27).contains(&here),
                "{here} buckets in a third of the slots"
            );
        }
    }

    /// CRC16/XMODEM bit by bit, as in the specification's appendix.
    fn redis_slot(tag: &str) -> u16 {
        let mut crc = 0_u16;
        for byte in tag.bytes() {
            crc ^= u16::from(byte) << 8;
            for _ in 0..8 {
                crc = if crc & 0x8000 == 0 {
                    crc << 1
                } else {
                    (crc << 1) ^ 0x1021
                };
            }
        }
        crc % 16384
    }
}
