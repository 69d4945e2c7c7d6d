//! Runs what `grantry_benches` describes and prints the table.

use grantry_benches::{
    herd, list,
    measure::Scale,
    proxy, redis, redis_list, refresh,
    report::{self, Must, Row},
    sqlite, storm, vault, warm,
};

type Area = (&'static [&'static str], fn(Scale) -> Vec<Row>);

const AREAS: [Area; 11] = [
    (&["A1", "A2", "A3", "A4", "A5"], warm::rows),
    (&["N"], allocations),
    (&["B1"], vault::rows),
    (&["C1", "C2", "C3"], sqlite::rows),
    (&["C4", "C5"], list::rows),
    (&["D1", "D2", "D3"], redis::rows),
    (&["D4", "D5", "D6", "D7"], redis_list::rows),
    (&["E1"], proxy::rows),
    (&["F1", "F2"], refresh::rows),
    (&["H1"], herd::rows),
    (&["H2"], storm::rows),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |name: &str| arguments.iter().any(|argument| argument == name);
    // Without this it was built as a test, among others, and nobody waits for figures.
    if !has("--bench") {
        return;
    }
    let scale = Scale {
        quick: has("--quick") || std::env::var("GRANTRY_BENCH").is_ok_and(|form| form == "quick"),
        million: has("--million"),
    };
    let wanted: Vec<&String> = arguments.iter().filter(|a| !a.starts_with('-')).collect();
    let is_wanted = |id: &&str| wanted.is_empty() || wanted.iter().any(|w| id.starts_with(w.as_str()));
    let machine = report::machine();
    let mut rows = Vec::new();
    for (ids, measure) in AREAS {
        if ids.iter().any(is_wanted) {
            eprintln!("measuring {} …", ids.join(", "));
            rows.extend(measure(scale));
        }
    }
    println!("{machine}\n\n{}", report::table(&rows));
    if has("--strict") && !rows.iter().all(Row::holds) {
        std::process::exit(1);
    }
}

/// What the process that counts tells.
fn allocations(_: Scale) -> Vec<Row> {
    let counter = env!("CARGO_BIN_EXE_grantry-allocations");
    let output = match std::process::Command::new(counter).output() {
        Ok(output) if output.status.success() => output.stdout,
        other => {
            eprintln!("allocations were not counted: {other:?}");
            return Vec::new();
        }
    };
    String::from_utf8_lossy(&output).lines().filter_map(row).collect()
}

fn row(line: &str) -> Option<Row> {
    let mut parts = line.split('\t');
    let (id, path, ours) = (parts.next()?, parts.next()?, parts.next()?.parse().ok()?);
    let (other, goal) = (parts.next()?, parts.next()?);
    let id = if id == "E1" { "E1" } else { "A1" };
    let must = goal.parse().map_or(Must::Nothing, Must::AtMost);
    Some(Row::figure(id, path, ours, "allocations", other, must))
}
