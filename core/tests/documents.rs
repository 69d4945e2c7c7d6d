//! What `tests/README.md` names is there: each test that it points to exists in the file that it names.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::{fs, path::Path};

#[test]
fn every_test_that_is_named_exists() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let root = tests.join("../..");
    let text = fs::read_to_string(tests.join("README.md")).unwrap();
    let mut named = 0;
    for (file, name) in text.split('`').filter_map(|code| code.split_once(".rs::")) {
        let file = format!("{file}.rs");
        let here = tests.join(&file);
        let path = if here.exists() { here } else { root.join(&file) };
        let source = fs::read_to_string(&path);
        let has = source.is_ok_and(|source| source.contains(&format!("fn {name}(")));
        assert!(has, "{file} has no test {name}");
        named += 1;
    }
    assert!(named > 50, "{named}");
}
