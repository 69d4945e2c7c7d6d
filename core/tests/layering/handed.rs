//! Types that are handed to everybody: through one, every part of the crate reaches every other, and no import shows it.
//!
//! A struct counts if its fields *hold* types of more than [`HELD`] other rooms, and files in more than [`TOLD`] other
//! rooms *name* it. The one place that composes all parts holds many and is named by few; a plain value is named by many
//! and holds few. Rooms are those of [`Floors::room`]. Public types are exempt: they are for users of the crate.

use std::collections::{BTreeMap, BTreeSet};

use crate::{floors::Floors, names::Definition, planted::Planted, tree::Tree};

const HELD: usize = 6;
const TOLD: usize = 3;

/// The name of every such type, and its file.
pub(crate) fn to_everybody(tree: &Tree, floors: &Floors) -> Vec<String> {
    let mut told: BTreeMap<Definition, BTreeSet<_>> = BTreeMap::new();
    for ((from, file), names) in tree.needs() {
        for name in names {
            let room = floors.room(tree, from);
            told.entry(Definition { file, name }).or_default().insert(room);
        }
    }
    let mut bad = Vec::new();
    for (id, module) in tree.modules.iter().enumerate() {
        let own = floors.room(tree, module.file);
        for item in module.structs.iter().filter(|item| !item.public) {
            let held = item.fields.iter().flat_map(|path| tree.resolve(id, path));
            let held: BTreeSet<_> = held.map(|of| floors.room(tree, of.file)).collect();
            let told = told.get(&Definition {
                file: module.file,
                name: item.name.clone(),
            });
            let others = |rooms: &BTreeSet<_>| rooms.iter().filter(|room| **room != own).count();
            if others(&held) > HELD && told.is_some_and(|told| others(told) > TOLD) {
                bad.push(format!("{} in {}", item.name, tree.files[module.file].name));
            }
        }
    }
    bad.sort();
    bad
}

#[test]
fn a_type_that_is_handed_to_everybody_is_caught() {
    let rooms = ["a", "b", "c", "d", "e", "f", "g"];
    let lib = |more: &str| {
        let rooms = rooms.map(|room| format!("mod {room};\n")).concat();
        format!("// Layer 1: rooms.\n{rooms}mod whole;\n{more}")
    };
    let fields = rooms
        .map(|room| format!("{room}: Arc<crate::{room}::Part>, "))
        .concat();
    let found = |kind: &str, fields: &str, users: usize| {
        let mut tree = Planted::new(&[
            ("lib.rs", &lib("")),
            ("whole.rs", &format!("{kind} Whole {{ {fields} }}")),
        ]);
        for (at, room) in rooms.iter().enumerate() {
            let user = if at < users {
                "fn f(whole: &crate::whole::Whole) {}"
            } else {
                ""
            };
            tree.write(&format!("{room}.rs"), &format!("pub(crate) struct Part;\n{user}"));
        }
        let tree = tree.read();
        to_everybody(&tree, &Floors::read(&tree))
    };
    assert_eq!(found("pub(crate) struct", &fields, 4), ["Whole in whole.rs"]);
    // It holds as many, and only three rooms name it.
    assert_eq!(found("pub(crate) struct", &fields, 3), [""; 0]);
    // Every room names it, and it holds next to nothing.
    assert_eq!(
        found("pub(crate) struct", "a: crate::a::Part, b: u64", 6),
        [""; 0]
    );
    assert_eq!(found("pub struct", &fields, 6), [""; 0]);
}
