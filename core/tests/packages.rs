//! What a release would contain. A crate that inherits `publish` from the workspace is published once the workspace allows it.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::Command,
};

use serde_json::Value;

/// Those of the registry's categories that fit.
const CATEGORIES: [&str; 9] = [
    "api-bindings",
    "asynchronous",
    "authentication",
    "command-line-utilities",
    "cryptography",
    "database",
    "development-tools::testing",
    "web-programming",
    "web-programming::http-server",
];

fn cargo(arguments: &[&str]) -> String {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let (command, others) = arguments.split_first().unwrap();
    let output = Command::new(env!("CARGO"))
        .args([command, "--manifest-path", manifest])
        .args(others)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// The target triple of this machine.
fn host() -> String {
    let output = Command::new("rustc").arg("-vV").output().unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    told.lines()
        .find_map(|line| line.strip_prefix("host: "))
        .unwrap()
        .to_owned()
}

fn metadata(arguments: &[&str]) -> Value {
    let all = [&["metadata", "--format-version", "1", "--locked"], arguments].concat();
    serde_json::from_str(&cargo(&all)).unwrap()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The crates of the workspace, and whether each is published.
fn members(metadata: &Value) -> BTreeMap<&str, (&Value, bool)> {
    let ours = list(&metadata["packages"])
        .iter()
        .filter(|package| package["source"].is_null());
    let members: BTreeMap<_, _> = ours
        .map(|package| {
            let manifest = fs::read_to_string(text(&package["manifest_path"])).unwrap();
            let inherits = manifest.contains("\npublish.workspace = true\n");
            let never = manifest.contains("\npublish = false\n");
            let name = text(&package["name"]);
            assert!(inherits != never, "{name} says whether it is published");
            (name, (package, inherits))
        })
        .collect();
    assert!(members.contains_key("grantry"));
    members
}

#[test]
fn what_is_published_says_what_it_is_and_packs_its_licences() {
    let metadata = metadata(&["--no-deps"]);
    let root = Path::new(text(&metadata["workspace_root"]));
    for (name, (package, _)) in members(&metadata).into_iter().filter(|(_, (_, is))| *is) {
        for field in ["description", "license", "repository", "readme", "rust_version"] {
            assert!(!text(&package[field]).is_empty(), "{name} has no {field}");
        }
        // The registry's rules.
        let keywords = list(&package["keywords"]);
        assert!(
            (1..=5).contains(&keywords.len()) && keywords.iter().all(|word| text(word).len() <= 20),
            "{name}: {keywords:?}"
        );
        let categories = list(&package["categories"]);
        let known = |category: &Value| CATEGORIES.contains(&text(category));
        assert!(
            (1..=5).contains(&categories.len()) && categories.iter().all(known),
            "{name}: {categories:?}"
        );
        let packed = cargo(&[
            "package",
            "--package",
            name,
            "--list",
            "--allow-dirty",
            "--offline",
        ]);
        for file in ["README.md", "LICENSE-MIT", "LICENSE-APACHE"] {
            assert!(packed.lines().any(|line| line == file), "{name} packs no {file}");
        }
        let folder = Path::new(text(&package["manifest_path"])).parent().unwrap();
        for licence in ["LICENSE-MIT", "LICENSE-APACHE"] {
            let (own, ours) = (folder.join(licence), root.join(licence));
            assert_eq!(
                fs::read(own).unwrap(),
                fs::read(ours).unwrap(),
                "{name}: {licence}"
            );
        }
    }
}

/// The registry would reject it. Dev-dependencies without a version are left out of the published manifest.
#[test]
fn what_is_published_depends_on_nothing_that_is_not() {
    let metadata = metadata(&["--no-deps"]);
    let members = members(&metadata);
    for (name, (package, _)) in members.iter().filter(|(_, (_, is))| *is) {
        for dependency in list(&package["dependencies"]) {
            let on = text(&dependency["name"]);
            if members.get(on).is_none_or(|(_, is)| *is) {
                continue;
            }
            assert_eq!(dependency["kind"], "dev", "{name} needs {on}");
            assert_eq!(dependency["req"], "*", "{name} needs {on} without a version");
        }
    }
}

/// `rust-version` covers dependencies, too. Clippy checks our own code against it.
#[test]
fn no_dependency_needs_a_newer_compiler() {
    let version = |package: &Value| {
        let numbers = text(&package["rust_version"])
            .split('.')
            .map(|n| n.parse().unwrap_or(0));
        let mut version: Vec<u32> = numbers.collect();
        version.resize(3, 0);
        version
    };
    let metadata = metadata(&["--all-features", "--filter-platform", &host()]);
    let packages = list(&metadata["packages"]);
    let packages: BTreeMap<_, _> = packages.iter().map(|p| (text(&p["id"]), p)).collect();
    let nodes = list(&metadata["resolve"]["nodes"]);
    let nodes: BTreeMap<_, _> = nodes.iter().map(|n| (text(&n["id"]), n)).collect();
    for (name, (package, _)) in members(&metadata) {
        let (mut seen, mut open) = (BTreeSet::new(), vec![text(&package["id"])]);
        while let Some(id) = open.pop() {
            if !seen.insert(id) {
                continue;
            }
            let needs = packages[id];
            let new_enough = version(needs) <= version(package);
            assert!(
                new_enough,
                "{name} needs {}, which needs {}",
                needs["name"], needs["rust_version"]
            );
            for dependency in list(&nodes[id]["deps"]) {
                let kinds = list(&dependency["dep_kinds"]);
                let own_test = |kind: &Value| kind["kind"] == "dev" && id == text(&package["id"]);
                if kinds.iter().any(|kind| kind["kind"] != "dev" || own_test(kind)) {
                    open.push(text(&dependency["pkg"]));
                }
            }
        }
    }
}
