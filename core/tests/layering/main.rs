//! Checks the structure of the sources: no import goes up (`floors.rs`), a type is implemented in its own folder
//! (`impls.rs`), no type is handed to everybody (`handed.rs`), and no files import each other in a circle
//! (`circles.rs`). Each rule is shown to fail on planted breaches.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod circles;
mod contract;
mod floors;
mod handed;
mod impls;
mod known;
mod names;
mod planted;
mod syntax;
mod tree;

use std::{collections::BTreeSet, path::Path};

use floors::Floors;
use tree::Tree;

fn read(krate: &str) -> Tree {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    Tree::read(&workspace.join(krate).join("src"))
}

fn read_core() -> (Tree, Floors) {
    let tree = read("core");
    let floors = Floors::read(&tree);
    assert!(floors.has_floors(0), "lib.rs names the layers");
    (tree, floors)
}

/// Fails unless the breaches found are exactly the known ones.
fn only_known(found: &[String], known: &[&str], shown: &str) {
    let known = known.iter().map(|breach| (*breach).to_owned()).collect();
    let found = found.iter().cloned().collect::<BTreeSet<_>>();
    let new: Vec<_> = found.difference(&known).collect();
    assert!(new.is_empty(), "new breaches: {new:#?}\n{shown}");
    let mended: Vec<_> = known.difference(&found).collect();
    assert!(
        mended.is_empty(),
        "fixed; remove these from known.rs: {mended:#?}"
    );
}

#[test]
fn no_import_of_core_goes_up() {
    let (tree, floors) = read_core();
    only_known(&floors::going_up(&tree, &floors), &[], "");
}

#[test]
fn core_implements_types_in_their_own_folders() {
    let (tree, floors) = read_core();
    only_known(&impls::away(&tree, &floors), known::IMPLS, "");
}

#[test]
fn core_hands_no_type_to_everybody() {
    let (tree, floors) = read_core();
    only_known(&handed::to_everybody(&tree, &floors), known::HANDED, "");
}

#[test]
fn core_has_no_circle_of_files() {
    no_circles("core", known::CIRCLES_IN_CORE);
}

#[test]
fn the_other_crates_have_no_circle_of_files() {
    for krate in [
        "store-sqlite",
        "store-redis",
        "store-redis/servers",
        "provider-salesforce",
        "provider-salesforce/simulator",
        "examples/host",
        "examples/quickstart",
        "benches",
    ] {
        no_circles(krate, &[]);
    }
}

/// Fails if the files in circles are not exactly `known`, and shows the circles.
fn no_circles(krate: &str, known: &[&str]) {
    let circles = circles::circles(&read(krate));
    let files: Vec<_> = circles.iter().flat_map(|circle| circle.files.clone()).collect();
    let shown: Vec<_> = circles.iter().map(ToString::to_string).collect();
    only_known(&files, known, &format!("in {krate}:\n{}", shown.join("\n")));
}

#[test]
fn stores_and_providers_import_the_contract_only() {
    let store = ["async_trait", "connection", "id", "integration", "store", "time"];
    let provider = [
        "async_trait",
        "connection",
        "error",
        "id",
        "integration",
        "provider",
        "secret",
        "time",
    ];
    for krate in ["store-sqlite", "store-redis"] {
        assert_eq!(
            contract::beyond(&read(krate), "grantry", &store),
            BTreeSet::new(),
            "{krate}"
        );
    }
    let krate = "provider-salesforce";
    assert_eq!(
        contract::beyond(&read(krate), "grantry", &provider),
        BTreeSet::new()
    );
}
