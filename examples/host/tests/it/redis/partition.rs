//! Networks that fall apart: hosts and Redis nodes in network namespaces with addresses of their own, and links between
//! them that lose everything. The provider stays within everybody's reach, which is the danger of it: a host that is on
//! its own could still spend a token.

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use grantry_redis_servers::{Net, Seat, Sentinels};
use reqwest::Url;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use super::{fleet::Fleet, judge::Verdict};
use crate::support::{DEADLINE, Host, World, blocking, eventually};

const SERVERS: usize = 3;
const USERS: usize = 8;

/// A primary with two replicas and three Sentinels at three seats, and three hosts at three more.
struct Scene {
    fleet: Arc<Fleet>,
    sentinels: Sentinels,
    net: Net,
    /// Makes the provider, which the test has, reachable on each host's own loopback interface.
    relays: JoinSet<()>,
}

impl Scene {
    async fn start() -> Self {
        let world = World::with_users(USERS * 2).await;
        let net = blocking(|| Net::start(6));
        let [a, b, c, hosts @ ..] = &net.seats[..] else {
            panic!("six seats")
        };
        let sentinels = blocking(|| Sentinels::start_at(&[a, b, c], &[]));
        let store = sentinels.address();
        // Where browsers go.
        let front = Arc::new(world.launch().store(&store).start().await);
        let mut relays = JoinSet::new();
        let mut all = vec![front];
        for seat in hosts {
            for url in [world.simulator.login_url(), world.simulator.instance_url()] {
                let port = Url::parse(url).unwrap().port().unwrap();
                let listener = blocking(|| seat.listen(port));
                listener.set_nonblocking(true).unwrap();
                relays.spawn(relay(TcpListener::from_std(listener).unwrap(), port));
            }
            let beside = world.launch_beside(&all[0]).store(&store).at(seat);
            all.push(Arc::new(beside.start().await));
        }
        let fleet = Fleet::of(world, store, all).await;
        fleet.connect(USERS).await;
        Self {
            fleet,
            sentinels,
            net,
            relays,
        }
    }

    /// One of the three hosts with a seat, and that seat.
    fn host(&self, number: usize) -> (Arc<Host>, &Seat) {
        (
            self.fleet.hosts()[number + 1].clone(),
            &self.net.seats[SERVERS + number],
        )
    }

    /// How often the refresh tokens of a connection were presented.
    fn presented(&self, connection: &str) -> usize {
        let name = &self.fleet.users()[connection].name;
        let log = self.fleet.world.presentations();
        log.iter()
            .filter(|entry| entry.username.as_ref() == Some(name))
            .count()
    }

    /// A host that has the tokens, but neither store nor replicas, presents nothing.
    async fn keeps_still(&self, host: &Host, connection: &str) {
        let before = self.presented(connection);
        for _ in 0..2 {
            let asked = self.fleet.refresh(host, connection).await;
            assert!(asked.is_err(), "{connection}: {asked:?}");
        }
        assert_eq!(
            self.presented(connection),
            before,
            "it was presented all the same"
        );
    }

    /// A host refreshes a connection, as soon as it can.
    async fn refreshes(&self, host: &Host, connection: &str) {
        let trying = async {
            while self.fleet.refresh(host, connection).await.is_err() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let done = tokio::time::timeout(DEADLINE, trying).await;
        assert!(
            done.is_ok(),
            "{connection} is not refreshed by {}:\n{}",
            host.base_url,
            self.fleet.log(connection)
        );
    }

    async fn heal(&mut self) {
        blocking(|| self.net.heal());
        let mut verdict = Verdict::default();
        for host in self.fleet.hosts() {
            for connection in self.fleet.in_use() {
                self.refreshes(&host, &connection).await;
            }
        }
        self.fleet.judge(&mut verdict).await;
        println!("healed: {verdict}");
        assert_eq!((verdict.unrecorded, verdict.repeated), (0, 0));
        assert!(verdict.shown.is_empty(), "{:?}", verdict.shown);
        assert!(self.relays.try_join_next().is_none(), "a relay ended");
    }
}

/// Passes connections on to this port of the test's own loopback interface.
async fn relay(listener: TcpListener, port: u16) {
    let mut connections = JoinSet::new();
    loop {
        let (mut near, _) = listener.accept().await.unwrap();
        connections.spawn(async move {
            if let Ok(mut far) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await {
                // Either side may go away.
                let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
            }
        });
    }
}

/// One host reaches the provider only, in the middle of refreshes. Then the primary is cut off with one host beside it,
/// while callers ask everywhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_cut_off_presents_nothing() {
    let mut scene = Scene::start().await;
    let connections = scene.fleet.in_use();
    // Everybody has the sets of these in memory.
    let [lonely, minority, majority, ..] = &connections[..] else {
        panic!("too few connections")
    };
    for host in scene.fleet.hosts() {
        for connection in [lonely, minority, majority] {
            host.credentials(connection, &scene.fleet.integration.api_key)
                .await
                .expect(200);
        }
    }
    let working: Vec<String> = connections[3..].to_vec();
    for connection in [lonely, minority, majority] {
        scene.fleet.set_aside(connection);
    }

    let callers = scene.fleet.callers(6);
    scene.fleet.mid_refresh().await;
    let (alone, seat) = scene.host(0);
    let servers: Vec<&Seat> = scene.net.seats[..SERVERS].iter().collect();
    blocking(|| scene.net.cut(&[seat], &servers));
    scene.keeps_still(&alone, lonely).await;
    scene.refreshes(&scene.host(1).0, lonely).await;
    callers.end().await;
    scene.heal().await;

    let callers = scene.fleet.callers(6);
    scene.fleet.mid_refresh().await;
    let old = blocking(|| scene.sentinels.primary()).unwrap();
    let (with_it, its_seat) = scene.host(2);
    let few = [&scene.net.seats[old], its_seat];
    let is_of_few = |seat: &&Seat| few.iter().any(|other| other.address() == seat.address());
    let many: Vec<&Seat> = scene.net.seats.iter().filter(|seat| !is_of_few(seat)).collect();
    blocking(|| scene.net.cut(&few, &many));
    scene.keeps_still(&with_it, minority).await;
    eventually("another primary", || {
        let now = blocking(|| scene.sentinels.primary());
        async move { now.filter(|now| *now != old) }
    })
    .await;
    scene.refreshes(&scene.host(1).0, majority).await;
    scene.keeps_still(&with_it, minority).await;
    callers.end().await;
    scene.heal().await;
    for connection in &working {
        assert!(scene.presented(connection) > 2, "too little happened to judge by");
    }
}
