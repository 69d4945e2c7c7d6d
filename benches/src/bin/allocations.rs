//! Counts allocations per call, and tells `ratios` in one line for each: id, path, ours, the other's name and count, and
//! the goal, apart by tabs.

#![allow(clippy::unwrap_used, reason = "a bench that cannot go on ends")]

use std::{
    alloc::System,
    io::{Read as _, Write as _},
    net::TcpStream,
};

use futures_util::FutureExt as _;
use grantry::store::MemoryStore;
use grantry_benches::{
    peers,
    proxy::Both,
    upstream::{RECORD_PATH, Upstream},
    world::{self, World},
};
use huskarl::cache::TokenSource as _;
use stats_alloc::{Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: StatsAlloc<System> = StatsAlloc::system();

/// Calls that are counted together.
const CALLS: u16 = 1000;

fn main() {
    warm();
    proxied();
}

/// Allocations per call; what a loop of the broker's does meanwhile is too little to be seen.
fn count(mut call: impl FnMut()) -> f64 {
    for _ in 0..100 {
        call();
    }
    let region = Region::new(&ALLOCATOR);
    for _ in 0..CALLS {
        call();
    }
    let change = region.change();
    let all = u32::try_from(change.allocations + change.reallocations).unwrap_or(u32::MAX);
    (f64::from(all) * 10.0 / f64::from(CALLS)).round() / 10.0
}

fn tell(id: &str, path: &str, ours: f64, other: &str, theirs: f64, must: &str) {
    println!("{id}\t{path}\t{ours}\t{other} {theirs}\t{must}");
}

fn warm() {
    let runtime = world::runtime();
    let world = runtime.block_on(World::new(MemoryStore::default(), world::nowhere(), |b| b));
    let ids = runtime.block_on(world.connect(1));
    let id = &ids[0];
    runtime.block_on(world.broker.credentials(id)).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let yup = runtime.block_on(peers::yup(directory.path(), &ids));
    let huskarl = peers::huskarl();
    runtime.block_on(huskarl.token()).unwrap();
    let scopes = [id.as_str()];

    let whole = count(|| drop(world.broker.credentials(id).now_or_never().unwrap().unwrap()));
    let integration = world.broker.integration(&world.integration);
    let handles = count(|| {
        let connection = integration.connection(id);
        drop(connection.credentials().now_or_never().unwrap().unwrap());
    });
    let door = integration.owner(world::OWNER).connection(id);
    let owners = count(|| drop(door.credentials().now_or_never().unwrap().unwrap()));
    let by_slug = world.broker.integration(world::slug());
    let slugs = count(|| {
        let connection = by_slug.connection(id);
        drop(connection.credentials().now_or_never().unwrap().unwrap());
    });
    let door = by_slug.owner(world::OWNER).connection(id);
    let slugs_owners = count(|| drop(door.credentials().now_or_never().unwrap().unwrap()));
    let peek = count(|| {
        world.broker.peek(id, |c| c.version).unwrap();
    });
    let of_huskarl = count(|| drop(huskarl.token().now_or_never().unwrap().unwrap()));
    let of_yup = count(|| drop(yup.token(&scopes).now_or_never().unwrap().unwrap()));
    tell(
        "A1",
        "allocations of a warm credentials()",
        whole,
        "huskarl",
        of_huskarl,
        "0",
    );
    tell(
        "A1",
        "allocations of a warm credentials() by way of its integration, handle included",
        handles,
        "huskarl",
        of_huskarl,
        "0",
    );
    tell(
        "A1",
        "allocations of a warm credentials() behind its owner's door",
        owners,
        "yup-oauth2",
        of_yup,
        "0",
    );
    tell(
        "A1",
        "allocations of a warm credentials() by way of its integration's slug, handle included",
        slugs,
        "huskarl",
        of_huskarl,
        "0",
    );
    tell(
        "A1",
        "allocations of a warm credentials() by slug, behind its owner's door",
        slugs_owners,
        "yup-oauth2",
        of_yup,
        "0",
    );
    tell(
        "A1",
        "allocations of a warm peek()",
        peek,
        "yup-oauth2",
        of_yup,
        "0",
    );
}

/// The server runs in this process; what it allocates is found out by a client that allocates nothing.
fn proxied() {
    let (both, upstream) = Both::new(None);
    let server = of_server(&upstream);
    let broker = count(|| both.runtime.block_on(both.through_broker())) - server;
    let direct = count(|| both.runtime.block_on(both.direct())) - server;
    tell(
        "E1",
        "allocations of a call through the proxy",
        broker,
        "reqwest",
        direct,
        "",
    );
}

fn of_server(upstream: &Upstream) -> f64 {
    let address = upstream.origin().strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!("GET {RECORD_PATH} HTTP/1.1\r\nhost: {address}\r\n\r\n");
    let mut answer = [0; 4096];
    count(|| {
        stream.write_all(request.as_bytes()).unwrap();
        let mut read = 0;
        // The head is shorter than the body, and the body has 1024 bytes.
        while read < 1024 + 100 {
            read += stream.read(&mut answer).unwrap();
        }
    })
}
