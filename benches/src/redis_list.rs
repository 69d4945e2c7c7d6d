//! D4–D7: pages of connections among many on Redis, and what each of them costs in memory.

use std::hint::black_box;

use grantry::{id::ConnectionId, store::ConnectionFilter};
use grantry_redis_servers::Server;
use tokio::runtime::Runtime;

use crate::{
    list::{self, PAGE},
    measure::{Scale, Timer, Variant, interleave},
    redis_fixture::{self, Bare, key},
    redis_write,
    report::{Must, Row},
    world::{self, World},
};

/// The page that is compared with the first one, where there are so many.
const DEEP: usize = 10_000;
/// Rows that lie in many buckets.
const SPREAD: usize = 100_000;
/// What a fifth of the addresses has.
const TEXT: &str = "acme";

/// All rows of this file, and compare-and-set among many.
pub fn rows(scale: Scale) -> Vec<Row> {
    if !redis_fixture::is_there() {
        return Vec::new();
    }
    let runtime = world::runtime();
    let server = redis_fixture::server("everysec");
    let bare = runtime.block_on(Bare::connect(&server));
    let world = runtime.block_on(redis_fixture::world(&server));
    let before = used(&runtime, &bare);
    let count = if scale.million { 1_000_000 } else { 100_000 };
    let ids = runtime.block_on(list::fill(&world, count));
    let memory = memory(&runtime, &bare, before, count);
    let mut rows = pages(scale, &runtime, &world, &ids, &bare);
    rows.extend(merged(scale, &runtime, &world, &ids));
    rows.extend(list::searches(
        ("D6", scale.pick(200, 1000)),
        &runtime,
        &world,
        count,
    ));
    rows.extend(memory);
    let what = format!("everysec, {count} rows");
    rows.extend(redis_write::rows(scale, &runtime, &world, &bare, &what));
    rows
}

/// Bytes that the server uses.
fn used(runtime: &Runtime, bare: &Bare) -> u64 {
    let info: String = runtime.block_on(bare.ask(redis::cmd("INFO").arg("memory")));
    let line = info.lines().find_map(|line| line.strip_prefix("used_memory:"));
    line.unwrap().parse().unwrap()
}

/// D7.
fn memory(runtime: &Runtime, bare: &Bare, before: u64, count: usize) -> Vec<Row> {
    let each = |bytes: u64| {
        #[expect(clippy::cast_precision_loss, reason = "bytes of one connection")]
        let each = bytes as f64 / count as f64;
        each.round()
    };
    let row = |what: &str, bytes: u64| {
        let path = format!("memory of a connection among {count}: {what}");
        Row::figure("D7", path, each(bytes), "bytes", "", Must::Nothing)
    };
    let all = used(runtime, bare) - before;
    let mut rows = vec![row("everything", all)];
    for (name, what) in [("lists", "of which lists"), ("search", "of which search")] {
        let mut command = redis::cmd("MEMORY");
        command.arg("USAGE").arg(format!("grantry:{{c0}}:{name}"));
        command
            .arg("SAMPLES")
            .arg(if count > 100_000 { 100_000 } else { 0 });
        rows.push(row(what, runtime.block_on(bare.ask(&command))));
    }
    rows
}

fn page(runtime: &Runtime, world: &World, filter: &ConnectionFilter, before: Option<&ConnectionId>) {
    let page = world.stores.connections.list_connections(filter, before, PAGE);
    let page = runtime.block_on(page).unwrap();
    assert_eq!(black_box(page).items.len(), PAGE as usize);
}

/// How many pages down, and the id that they end with.
fn deep(ids: &[ConnectionId]) -> (usize, &ConnectionId) {
    let page = DEEP.min(ids.len() / PAGE as usize - 1);
    (page, &ids[ids.len() - (page - 1) * PAGE as usize])
}

/// D4.
fn pages(scale: Scale, runtime: &Runtime, world: &World, ids: &[ConnectionId], bare: &Bare) -> Vec<Row> {
    let all = list::all(world);
    let mut some = all.clone();
    some.email_contains = Some(TEXT.to_owned());
    let (number, before) = deep(ids);
    // Of these every fifth has the text.
    let far = &ids[ids.len() / 10];
    let range = runtime.block_on(Range::of(bare));
    let calls: u32 = 20;
    let [first, last, bare_first, bare_last, found, found_far] = interleave(
        Timer::Wall,
        scale.pick(21, 61),
        [
            Variant::each("first page", calls, || page(runtime, world, &all, None)),
            Variant::each("page", calls, || page(runtime, world, &all, Some(before))),
            Variant::each("range and MGET", calls, || {
                runtime.block_on(range.page(bare, None));
            }),
            Variant::each("range and MGET", calls, || {
                runtime.block_on(range.page(bare, Some(before)));
            }),
            Variant::each("first page", calls, || page(runtime, world, &some, None)),
            Variant::each("page", calls, || page(runtime, world, &some, Some(far))),
        ],
    );
    let path = |what: &str| format!("page of 20 of {} rows on Redis, {what}", ids.len());
    let deep = format!("the {number}th");
    let filtered = format!("e-mail with \"{TEXT}\"");
    vec![
        Row::times("D4", path("first"), &first, &bare_first, Must::Nothing),
        Row::times("D4", path(&deep), &last, &bare_last, Must::Nothing),
        Row::times(
            "D4",
            path(&format!("{deep} over first")),
            &last,
            &first,
            Must::AtMost(1.5),
        ),
        Row::times("D4", path(&filtered), &found, &first, Must::Nothing),
        Row::times(
            "D4",
            path(&format!("{filtered}, behind nine tenths")),
            &found_far,
            &found,
            Must::AtMost(1.5),
        ),
    ]
}

/// The limit: ids of a page, and their rows.
struct Range {
    /// The term of all that are not deleted.
    term: Vec<u8>,
}

impl Range {
    async fn of(bare: &Bare) -> Self {
        let mut command = redis::cmd("ZRANGEBYLEX");
        command
            .arg("grantry:{c0}:lists")
            .arg("[l")
            .arg("(m")
            .arg(&["LIMIT", "0", "1"]);
        let mut found: Vec<Vec<u8>> = bare.ask(&command).await;
        let mut term = found.remove(0);
        term.truncate(9);
        Self { term }
    }

    async fn page(&self, bare: &Bare, before: Option<&ConnectionId>) {
        let term = &self.term[..];
        let from = before.map_or([b"[", term, b"\x7f"].concat(), |id| {
            [b"(", term, id.as_str().as_bytes()].concat()
        });
        let mut range = redis::cmd("ZREVRANGEBYLEX");
        range
            .arg("grantry:{c0}:lists")
            .arg(from)
            .arg([b"[", term].concat());
        // One more, which tells whether there are more.
        range.arg("LIMIT").arg(0).arg(PAGE + 1);
        let found: Vec<Vec<u8>> = bare.ask(&range).await;
        let mut rows = redis::cmd("MGET");
        for member in &found {
            let id = ConnectionId::new(std::str::from_utf8(&member[9..]).unwrap()).unwrap();
            rows.arg(key(&id));
        }
        let rows: Vec<Vec<u8>> = bare.ask(&rows).await;
        assert_eq!(black_box(rows).len(), PAGE as usize + 1);
    }
}

/// D5: a store as a Cluster has it, in 64 buckets, here on one server: so the cost is that of merging alone.
fn merged(scale: Scale, runtime: &Runtime, one: &World, in_one: &[ConnectionId]) -> Vec<Row> {
    let server: Server = redis_fixture::server("everysec");
    server.command(&["HSET", "grantry:{s}:store", "format", "1", "buckets", "64"]);
    let many = runtime.block_on(redis_fixture::world(&server));
    let in_many = runtime.block_on(list::fill(&many, SPREAD));
    let (all_of_one, all_of_many) = (list::all(one), list::all(&many));
    let text = Some(TEXT.to_owned());
    let (mut some_of_one, mut some_of_many) = (all_of_one.clone(), all_of_many.clone());
    (some_of_one.email_contains, some_of_many.email_contains) = (text.clone(), text);
    let (before_one, (number, before_many)) = (deep(in_one).1, deep(&in_many));
    let calls: u32 = 10;
    let [first, last, found, one_first, one_last, one_found] = interleave(
        Timer::Wall,
        scale.pick(21, 61),
        [
            Variant::each("64 buckets", calls, || page(runtime, &many, &all_of_many, None)),
            Variant::each("64 buckets", calls, || {
                page(runtime, &many, &all_of_many, Some(before_many));
            }),
            Variant::each("64 buckets", calls, || page(runtime, &many, &some_of_many, None)),
            Variant::each("one", calls, || page(runtime, one, &all_of_one, None)),
            Variant::each("one", calls, || page(runtime, one, &all_of_one, Some(before_one))),
            Variant::each("one", calls, || page(runtime, one, &some_of_one, None)),
        ],
    );
    let path = |what: &str| format!("page of 20 out of 64 buckets, {what}");
    vec![
        Row::times("D5", path("first"), &first, &one_first, Must::Nothing),
        Row::times(
            "D5",
            path(&format!("the {number}th")),
            &last,
            &one_last,
            Must::Nothing,
        ),
        Row::times(
            "D5",
            path(&format!("e-mail with \"{TEXT}\"")),
            &found,
            &one_found,
            Must::Nothing,
        ),
    ]
}
