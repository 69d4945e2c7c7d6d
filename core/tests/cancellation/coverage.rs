//! Reads the broker's source, and fails on an operation that no table has.

use std::{collections::BTreeSet, fs, path::Path};

use crate::{operations::operations, sending};

/// `Type::method` of everything in the broker's folder that gives a future, and builders that are awaited.
fn in_the_source() -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/broker");
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap() {
        let source = fs::read_to_string(entry.unwrap().path()).unwrap();
        let mut owner = "";
        for line in source.lines() {
            if let Some(rest) = line.strip_prefix("impl ") {
                owner = rest.split([' ', '<']).next().unwrap();
            }
            let method = line.strip_prefix("    pub async fn ").or_else(|| {
                let awaited = ["-> BeginConnect {", "-> ListConnections {"];
                let builds = awaited.iter().any(|end| line.ends_with(end)) && !line.contains("(mut self");
                line.strip_prefix("    pub fn ").filter(|_| builds)
            });
            if let Some(method) = method {
                let name = method.split(['(', '<']).next().unwrap();
                found.insert(format!("{owner}::{name}"));
            }
        }
    }
    found
}

#[test]
fn every_operation_of_the_broker_is_dropped_here() {
    let tables = operations().into_iter().map(|operation| operation.name);
    let dropped: BTreeSet<_> = tables.chain(sending::OPERATIONS).map(str::to_owned).collect();
    let source = in_the_source();
    let missing: Vec<_> = source.difference(&dropped).collect();
    assert!(missing.is_empty(), "add a line to operations.rs for {missing:?}");
    let stale: Vec<_> = dropped.difference(&source).collect();
    assert!(stale.is_empty(), "the broker has no {stale:?}");
    assert!(source.len() > 30, "the source is read");
}
