//! Imports that go up.
//!
//! Comments in a `lib.rs` or `mod.rs` assign its modules to floors:
//!
//! ```text
//! // Layer 0: values.
//! mod id;
//! // Layer 3: engine.
//! // Floor 1: what every module above may use.
//! mod journal;
//! // Floor 2: …
//! mod ledger;
//! // Beside the layers: …
//! mod testing;
//! ```
//!
//! Code in one of these modules may import from its own floor and from those below. The file with the comments composes
//! the modules: it may import from all of them, and none of them may import what the file itself defines. Modules that
//! are declared without such comments have no order. Re-exporting a name from above goes up, too.

use std::collections::BTreeMap;

use crate::{
    planted::Planted,
    tree::{FileId, ModuleId, Tree},
};

/// A layer, and a floor within it.
type Position = (u8, u8);

/// The position of what is above or beside all others.
const ABOVE_ALL: Position = (u8::MAX, 0);

/// For each module, the positions of its children; empty if its file has no such comments.
pub(crate) struct Floors(Vec<BTreeMap<String, Position>>);

impl Floors {
    pub(crate) fn read(tree: &Tree) -> Self {
        let mut floors = vec![BTreeMap::new(); tree.modules.len()];
        for file in &tree.files {
            floors[file.module] = positions(&file.text);
        }
        Self(floors)
    }

    pub(crate) fn has_floors(&self, module: ModuleId) -> bool {
        !self.0[module].is_empty()
    }

    /// The room of a file: the first module on the path to it that is not divided into floors.
    pub(crate) fn room(&self, tree: &Tree, file: FileId) -> ModuleId {
        let path = &tree.modules[tree.files[file].module].path;
        let mut room = tree.root(tree.files[file].module);
        for name in path {
            if !self.has_floors(room) {
                break;
            }
            room = tree.modules[room].children[name];
        }
        room
    }
}

fn positions(text: &str) -> BTreeMap<String, Position> {
    let mut positions = BTreeMap::new();
    let mut here = None;
    for line in text.lines() {
        let number = |rest: &str| rest.split(':').next().and_then(|n| n.parse().ok());
        if let Some(rest) = line.strip_prefix("// Layer ") {
            here = number(rest).map(|layer| (layer, 0));
        } else if let Some(rest) = line.strip_prefix("// Floor ") {
            here = number(rest).map(|floor| (here.unwrap_or((0, 0)).0, floor));
        } else if line.starts_with("// Beside") {
            here = Some(ABOVE_ALL);
        }
        let module = line
            .split_whitespace()
            .skip_while(|word| *word != "mod")
            .nth(1)
            .and_then(|name| name.strip_suffix(';'));
        if let (Some(module), Some(here)) = (module, here) {
            positions.insert(module.to_owned(), here);
        }
    }
    positions
}

/// Every import that goes up, and every module without a floor in a file that names floors.
pub(crate) fn going_up(tree: &Tree, floors: &Floors) -> Vec<String> {
    let mut bad = Vec::new();
    for (id, module) in tree
        .modules
        .iter()
        .enumerate()
        .filter(|(id, _)| floors.has_floors(*id))
    {
        let unplaced = module.children.iter().filter(|(name, child)| {
            tree.modules[**child].file != module.file && !floors.0[id].contains_key(*name)
        });
        bad.extend(
            unplaced.map(|(name, _)| format!("{} says no floor for {name}", tree.files[module.file].name)),
        );
    }
    for ((from, to), names) in tree.reaches() {
        let [below, above] = [from, to].map(|file| &tree.modules[tree.files[file].module].path);
        let common = below.iter().zip(above).take_while(|(a, b)| a == b).count();
        // An ancestor composes its modules.
        let Some(own) = below.get(common) else { continue };
        let composer = (0..common).fold(tree.root(tree.files[from].module), |at, level| {
            tree.modules[at].children[&below[level]]
        });
        let positions = &floors.0[composer];
        let Some(own) = positions.get(own) else { continue };
        let other = above
            .get(common)
            .map_or(Some(&ABOVE_ALL), |name| positions.get(name));
        if other.is_some_and(|other| other > own) {
            let names = names.into_iter().collect::<Vec<_>>().join(", ");
            bad.push(format!(
                "{} goes up to {} for {names}",
                tree.files[from].name, tree.files[to].name
            ));
        }
    }
    bad.sort();
    bad
}

#[test]
fn an_import_that_goes_up_is_caught() {
    let tree = Planted::new(&[
        (
            "lib.rs",
            "mod forgotten;\n// Layer 0: values.\npub mod id;\n// Layer 3: engine.\nmod engine;\n// Layer 4: \
             front.\nmod broker;\npub use broker::*;\n// Beside the layers.\n#[cfg(feature = \"x\")]\npub mod \
             testing;\npub struct Root;\n",
        ),
        (
            "id.rs",
            "use crate::{\n    engine::{Ledger, Journal as J},\n    id::C,\n};\npub struct Id;",
        ),
        (
            "engine/mod.rs",
            "// Floor 1: told by all.\nmod journal;\n// Floor 2: rows.\npub(crate) mod ledger;\nmod cache;\n// Floor \
             3: does.\nmod refresh;\npub(crate) use journal::Journal;\npub(crate) use ledger::Ledger;\npub struct \
             Composed(refresh::turn::Turn);",
        ),
        (
            "engine/journal.rs",
            "pub(crate) use super::ledger::Ledger;\npub(crate) struct Journal;",
        ),
        (
            "engine/ledger.rs",
            "use super::{Journal, cache::Cache};\nuse crate::id::Id;\npub(crate) struct Ledger;",
        ),
        (
            "engine/cache.rs",
            "fn f() { super::refresh::turn::go(); crate::Broker::new(); crate::Root; }\npub(crate) struct Cache;",
        ),
        (
            "engine/refresh/mod.rs",
            "pub(super) mod turn;\npub(super) struct Ask(turn::Turn);",
        ),
        (
            "engine/refresh/turn.rs",
            "use super::{super::Composed, Ask};\nuse crate::{engine::Ledger, testing::x};\npub struct Turn;\npub fn \
             go() {}",
        ),
        (
            "broker.rs",
            "use crate::{engine::Journal, id::{self, Id}};\n#[cfg(test)]\nmod tests {\n    use \
             crate::testing::x;\n}\npub struct Broker;",
        ),
        ("testing.rs", "use crate::Broker;\npub fn x() {}"),
        ("forgotten.rs", "use crate::Broker;"),
    ]);
    let tree = tree.read();
    let expected = [
        "engine/cache.rs goes up to broker.rs for Broker",
        "engine/cache.rs goes up to engine/refresh/turn.rs for go",
        "engine/cache.rs goes up to lib.rs for Root",
        "engine/journal.rs goes up to engine/ledger.rs for Ledger",
        "engine/refresh/turn.rs goes up to engine/mod.rs for Composed",
        "engine/refresh/turn.rs goes up to testing.rs for x",
        "id.rs goes up to engine/journal.rs for Journal",
        "id.rs goes up to engine/ledger.rs for Ledger",
        "lib.rs says no floor for forgotten",
    ];
    assert_eq!(going_up(&tree, &Floors::read(&tree)), expected);
}

#[test]
fn layers_and_floors_are_read_in_order() {
    let text = "mod none;\n// Layer 1: a.\nmod a;\n// Floor 2: b.\npub(crate) mod b;\n// Layer 2: c.\n#[cfg(unix)]\npub mod \
                c;\n// Beside the layers: d.\nmod d;\n";
    let expected = [("a", (1, 0)), ("b", (1, 2)), ("c", (2, 0)), ("d", ABOVE_ALL)];
    assert_eq!(
        positions(text),
        expected.map(|(name, at)| (name.to_owned(), at)).into()
    );
}
