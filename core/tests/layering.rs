//! Reads the imports of the workspace and fails on one that goes up a layer.
//!
//! The layers of core are those of the comments in `core/src/lib.rs`, which this test reads. An import within a layer is
//! free; a module's own tests may import anything.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// Imports that go up and are wanted: (file, module). Each needs a reason.
const WANTED: &[(&str, &str)] = &[];

/// A module of core and its layer, as `lib.rs` says. What stands beside the layers may import everything.
fn layers(lib: &str) -> BTreeMap<String, u8> {
    let mut layers = BTreeMap::new();
    let mut layer = None;
    for line in lib.lines() {
        if let Some(text) = line.strip_prefix("// Layer ") {
            layer = text.split(':').next().unwrap().parse().ok();
        } else if line.starts_with("// Beside") {
            layer = Some(u8::MAX);
        }
        let module = line
            .split_whitespace()
            .skip_while(|word| *word != "mod")
            .nth(1)
            .and_then(|name| name.strip_suffix(';'));
        if let (Some(module), Some(layer)) = (module, layer) {
            layers.insert(module.to_owned(), layer);
        }
    }
    layers
}

fn sources(under: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(under).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// The source without comments and without its `#[cfg(test)] mod tests { … }`, which stands at the end.
fn code(source: &str) -> String {
    let end = source.find("#[cfg(test)]\nmod tests {").unwrap_or(source.len());
    let lines = source[..end].lines();
    let lines = lines.map(|line| line.split("//").next().unwrap_or(line));
    lines.collect::<Vec<_>>().join("\n")
}

/// The first names of all paths that begin with `root`, in groups too: `crate::{a::b, c}` gives a and c.
fn imports(code: &str, root: &str) -> Vec<String> {
    let name = |text: &str| -> String {
        text.chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect()
    };
    let mut found = Vec::new();
    let start = format!("{root}::");
    for (at, _) in code.match_indices(&start) {
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':') {
            continue;
        }
        let rest = &code[at + start.len()..];
        let Some(group) = rest.strip_prefix('{') else {
            found.push(name(rest));
            continue;
        };
        let (mut depth, mut begins) = (0, true);
        for (at, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => begins = true,
                c if c.is_whitespace() => {}
                _ if begins => {
                    found.push(name(&group[at..]));
                    begins = false;
                }
                _ => {}
            }
        }
    }
    found
}

/// Every import of the tree that goes up.
fn violations(src: &Path) -> Vec<(String, String)> {
    let layers = layers(&fs::read_to_string(src.join("lib.rs")).unwrap());
    assert!(layers.len() > 3, "lib.rs names the layers");
    let mut bad = Vec::new();
    for file in sources(src) {
        let relative = file.strip_prefix(src).unwrap().to_str().unwrap().to_owned();
        let module = relative.split(['/', '.']).next().unwrap().to_owned();
        let test = relative.ends_with("/tests.rs") || relative.contains("/tests/");
        if module == "lib" || test {
            continue;
        }
        let Some(own) = layers.get(&module) else {
            bad.push((relative, "no layer".to_owned()));
            continue;
        };
        for import in imports(&code(&fs::read_to_string(&file).unwrap()), "crate") {
            // What lib.rs itself exports at its top is the front's.
            let layer = layers.get(&import).copied().unwrap_or(layers["broker"]);
            let macros = import == "async_trait";
            let wanted = WANTED.contains(&(relative.as_str(), import.as_str()));
            if layer > *own && !macros && !wanted {
                bad.push((relative.clone(), import));
            }
        }
    }
    bad
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

#[test]
fn no_import_of_core_goes_up() {
    assert_eq!(violations(&workspace().join("core/src")), []);
}

/// Modules of core that a crate may import outside of its tests.
fn allowed(krate: &str, modules: &[&str]) -> Vec<(String, String)> {
    let src = workspace().join(krate).join("src");
    if !src.exists() {
        return Vec::new();
    }
    let mut bad = Vec::new();
    for file in sources(&src) {
        let relative = file.strip_prefix(&src).unwrap().to_str().unwrap().to_owned();
        if relative.ends_with("/tests.rs") || relative.contains("/testing.rs") {
            continue;
        }
        for import in imports(&code(&fs::read_to_string(&file).unwrap()), "grantry") {
            if !modules.contains(&import.as_str()) {
                bad.push((format!("{krate}/{relative}"), import));
            }
        }
    }
    bad
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
        assert_eq!(allowed(krate, &store), []);
    }
    assert_eq!(allowed("provider-salesforce", &provider), []);
}

#[test]
fn a_tree_that_goes_up_is_caught() {
    let tree = std::env::temp_dir().join(format!("grantry-layering-{}", std::process::id()));
    fs::create_dir_all(tree.join("engine")).unwrap();
    let write = |path: &str, text: &str| fs::write(tree.join(path), text).unwrap();
    write(
        "lib.rs",
        "// Layer 0: values.\npub mod id;\n// Layer 3: engine.\nmod engine;\n// Layer 4: front.\nmod broker;\npub use \
         broker::*;\n// Beside the layers.\n#[cfg(feature = \"x\")]\npub mod testing;\n",
    );
    write(
        "id.rs",
        "// use crate::broker::Comment;\nuse crate::{\n    engine::{A, B},\n    id::C,\n};\n",
    );
    write(
        "engine/mod.rs",
        "use crate::id::Id;\nfn f() { crate::Broker::new(); crate::testing::x(); }\n",
    );
    write(
        "broker.rs",
        "use crate::{engine::A, id::{self, Id}};\n#[cfg(test)]\nmod tests {\n    use crate::testing::X;\n}\n",
    );
    write("testing.rs", "use crate::broker::Broker;\n");
    write("stray.rs", "");
    let found = violations(&tree);
    fs::remove_dir_all(&tree).unwrap();
    let expected = [
        ("engine/mod.rs", "Broker"),
        ("engine/mod.rs", "testing"),
        ("id.rs", "engine"),
        ("stray.rs", "no layer"),
    ];
    let expected = expected.map(|(file, import)| (file.to_owned(), import.to_owned()));
    assert_eq!(found, expected);
}
