//! Runs what `grantry_benches` describes and prints the table.

use grantry_benches::{
    measure::Scale,
    report::{self, Row},
    sqlite, vault, warm,
};

type Area = (&'static [&'static str], fn(Scale) -> Vec<Row>);

const AREAS: &[Area] = &[
    (&["A"], warm::rows),
    (&["B"], vault::rows),
    (&["C1", "C2", "C3"], sqlite::rows),
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
    let is_wanted =
        |id: &str| wanted.is_empty() || wanted.iter().any(|w| id.starts_with(*w) || w.starts_with(id));
    eprintln!("{}", report::machine());
    let mut rows = Vec::new();
    for (ids, area) in AREAS {
        if ids.iter().any(|id| is_wanted(id)) {
            eprintln!("measuring {} …", ids.join(", "));
            rows.extend(area(scale));
        }
    }
    println!("{}\n\n{}", report::machine(), report::table(&rows));
    if has("--strict") && !rows.iter().all(Row::holds) {
        std::process::exit(1);
    }
}
