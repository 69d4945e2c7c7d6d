//! Reads the traits that others implement, and fails on what a compiler does not see.
#![expect(clippy::unwrap_used, reason = "all of this is a test")]

use std::{fs, path::Path};

/// Where the traits of the contract stand, and how many there are in each file.
const FILES: [(&str, usize); 9] = [
    ("store/connection.rs", 1),
    ("store/integration.rs", 1),
    ("store/key.rs", 1),
    ("store/pending.rs", 1),
    ("store/usage.rs", 1),
    ("provider/mod.rs", 1),
    ("vault/mod.rs", 1),
    ("event.rs", 1),
    ("time.rs", 1),
];

/// A method of a trait, and its signature up to `;` or `{`.
struct Method {
    place: String,
    signature: String,
    has_body: bool,
}

fn methods() -> Vec<Method> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut methods = Vec::new();
    for (file, expected) in FILES {
        let text = fs::read_to_string(source.join(file)).unwrap();
        let traits: Vec<_> = text.split("\npub trait ").skip(1).collect();
        assert_eq!(traits.len(), expected, "traits in {file}");
        for body in traits {
            let body = body.split("\n}\n").next().unwrap();
            methods.extend(of_trait(file, body));
        }
    }
    methods
}

fn of_trait(file: &str, body: &str) -> Vec<Method> {
    let name = body.split([':', ' ']).next().unwrap();
    let mut found = Vec::new();
    let mut signature = String::new();
    for line in body.lines().map(str::trim).filter(|line| !line.starts_with("//")) {
        if line.starts_with("fn ") || line.starts_with("async fn ") {
            signature.clear();
        } else if signature.is_empty() {
            continue;
        }
        signature.push_str(line);
        if line.ends_with(';') || line.ends_with('{') {
            let method = signature.split('(').next().unwrap();
            let method = method.rsplit(' ').next().unwrap();
            found.push(Method {
                place: format!("{name}::{method} in {file}"),
                has_body: line.ends_with('{'),
                signature: std::mem::take(&mut signature),
            });
        }
    }
    found
}

/// A store around another one that forgot a method with a default compiled, and did something else than the store in it.
#[test]
fn no_method_has_a_default() {
    let methods = methods();
    assert!(methods.len() > 50, "{}", methods.len());
    for method in methods {
        assert!(
            !method.has_body,
            "{} has a default: {}",
            method.place, method.signature
        );
    }
}
