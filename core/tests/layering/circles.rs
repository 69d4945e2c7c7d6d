//! Circles of files. None of the files in one can be understood, moved or tested without the others.
//!
//! A file needs the files that define the names it imports or mentions; `pub use` and `mod` alone do not count. Method
//! calls are invisible here: only names of types, traits, functions, constants and macros are resolved.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt,
};

use crate::{
    names::Needs,
    planted::Planted,
    tree::{FileId, Tree},
};

/// A strongly connected component of files.
pub(crate) struct Circle {
    pub(crate) files: BTreeSet<String>,
    /// A shortest path from one of the files back to itself: who needs which names of whom.
    way: Vec<(String, BTreeSet<String>, String)>,
}

impl fmt::Display for Circle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let files = self.files.iter().map(String::as_str).collect::<Vec<_>>();
        writeln!(f, "{} files in a circle: {}", files.len(), files.join(" "))?;
        for (from, names, to) in &self.way {
            let names = names.iter().map(String::as_str).collect::<Vec<_>>();
            writeln!(f, "    {from} needs {} of {to}", names.join(", "))?;
        }
        Ok(())
    }
}

/// All circles of a crate, ordered by file name.
pub(crate) fn circles(tree: &Tree) -> Vec<Circle> {
    let needs = tree.needs();
    let mut next: BTreeMap<FileId, Vec<FileId>> = BTreeMap::new();
    for (from, to) in needs.keys() {
        next.entry(*from).or_default().push(*to);
    }
    let ways: Vec<_> = (0..tree.files.len()).map(|file| ways_from(file, &next)).collect();
    let mut circles = Vec::new();
    let mut done = BTreeSet::new();
    for file in 0..tree.files.len() {
        if !ways[file].contains_key(&file) || done.contains(&file) {
            continue;
        }
        let members = ways[file]
            .keys()
            .copied()
            .filter(|other| ways[*other].contains_key(&file));
        let members: BTreeSet<_> = members.collect();
        let backs = members.iter().map(|member| back(*member, &ways[*member]));
        let shortest = backs.min_by_key(Vec::len).unwrap();
        circles.push(Circle {
            files: members
                .iter()
                .map(|member| tree.files[*member].name.clone())
                .collect(),
            way: named(tree, &needs, &shortest),
        });
        done.extend(members);
    }
    circles.sort_by(|a, b| a.files.cmp(&b.files));
    circles
}

/// Every file reachable from `from`, with its predecessor on a shortest path.
fn ways_from(from: FileId, next: &BTreeMap<FileId, Vec<FileId>>) -> BTreeMap<FileId, FileId> {
    let mut before = BTreeMap::new();
    let mut queue = VecDeque::from([from]);
    while let Some(file) = queue.pop_front() {
        for to in next.get(&file).into_iter().flatten() {
            before.entry(*to).or_insert_with(|| {
                queue.push_back(*to);
                file
            });
        }
    }
    before
}

/// The path from a file back to itself, both ends included.
fn back(file: FileId, before: &BTreeMap<FileId, FileId>) -> Vec<FileId> {
    let mut way = vec![file];
    let mut at = before[&file];
    while at != file {
        way.push(at);
        at = before[&at];
    }
    way.push(file);
    way.reverse();
    way
}

fn named(tree: &Tree, needs: &Needs, way: &[FileId]) -> Vec<(String, BTreeSet<String>, String)> {
    let name = |file: FileId| tree.files[file].name.clone();
    let steps = way.windows(2).map(|step| (step[0], step[1]));
    steps
        .map(|(from, to)| (name(from), needs[&(from, to)].clone(), name(to)))
        .collect()
}

#[test]
fn a_circle_is_caught_and_shown() {
    let tree = Planted::new(&[
        ("lib.rs", "mod a; mod b; mod c; mod alone;"),
        (
            "a.rs",
            "use crate::{b::{self, make}, alone::Alone};\npub struct A;\nfn f() -> b::B { make() }",
        ),
        ("b.rs", "use super::c::C;\npub struct B(C);\npub fn make() {}"),
        ("c.rs", "pub struct C(crate::a::A);"),
        ("alone.rs", "pub struct Alone;"),
    ]);
    let circles = circles(&tree.read());
    let expected = "3 files in a circle: a.rs b.rs c.rs\n    a.rs needs B, make of b.rs\n    b.rs needs C of c.rs\n    \
                    c.rs needs A of a.rs\n";
    assert_eq!(
        circles.iter().map(ToString::to_string).collect::<Vec<_>>(),
        [expected]
    );
}

#[test]
fn a_reexport_neither_makes_a_circle_nor_hides_one() {
    let found = |user: &str| {
        let tree = Planted::new(&[
            ("lib.rs", "mod room;\nmod user;\npub use room::*;"),
            (
                "room/mod.rs",
                "mod inner;\nmod outer;\npub(crate) use inner::{Inner as Given};\npub struct Shared;",
            ),
            (
                "room/inner.rs",
                "use super::Shared;\npub struct Inner(Shared, crate::user::User);",
            ),
            ("room/outer.rs", "fn f(_: super::Given) {}"),
            ("user.rs", user),
        ]);
        let circles = circles(&tree.read()).into_iter();
        circles.map(|circle| circle.files).collect::<Vec<_>>()
    };
    assert_eq!(found("pub struct User;"), []);
    for import in ["crate::room::Given", "crate::Given", "super::Given"] {
        let expected = ["room/inner.rs", "user.rs"].map(str::to_owned);
        let user = format!("use {import} as X;\npub struct User(X);");
        assert_eq!(found(&user), [BTreeSet::from(expected)], "{import}");
    }
}

#[test]
fn every_way_to_need_a_file_is_seen() {
    let needs = |text: &str| {
        let tree = Planted::new(&[
            ("lib.rs", "mod a;\nmod b;"),
            ("a.rs", text),
            (
                "b.rs",
                "use crate::a::A;\npub struct B(A);\npub enum E { X }\npub mod deep { pub fn f() {} }\n\
                 macro_rules! make { ($name:ident) => { pub struct $name; pub(crate) struct Spelt; } }\nmake!(Made);",
            ),
        ]);
        !circles(&tree.read()).is_empty()
    };
    for text in [
        "use crate::b::B;",
        "use crate::{b::{self, B as C}};",
        "use crate::b::{deep::f};",
        "use super::b::E::X;",
        "use super::b::E::{self, *};",
        "use crate::b as other;\nfn f() -> other::B { todo!() }",
        "use super::*;\nfn f() { b::deep::f() }",
        "use crate::b::*;\nfn f(_: B) {}",
        "mod inner { fn f() { super::super::b::deep::f() } }",
        "fn f() { use crate::b::B; }",
        "fn f<T: Into<crate::b::B>>() {}",
        "fn f(e: u8) { match e { crate::b::E::X => {} } }",
        "fn f() { println!(\"{}\", crate::b::B(1)) }",
        "macro_rules! m { () => { $crate::b::deep::f() } }",
        "fn f() { let x = vec![..crate::b::deep::f()]; }",
        "use crate::b::Made;",
        "use crate::b::Spelt;",
        "impl From<crate::b::B> for u8 {}",
        "#[cfg(any(test, feature = \"x\"))]\nuse crate::b::B;",
        "#[cfg(not(test))]\nuse crate::b::B;",
    ] {
        assert!(needs(&format!("{text}\npub struct A;")), "{text}");
    }
    for text in [
        "// use crate::b::B;",
        "/// Like [`crate::b::B`].",
        "/* use crate::b::B; */ const TEXT: &str = \"use crate::b::B\";",
        "use crate::b;",
        "pub use crate::b::B;",
        "pub(in crate::b) fn f() {}",
        "use b::B;",
        "fn f(b: &X) { println!(\"{}\", b.B) }",
        "#[cfg(test)]\nmod tests { use crate::b::B; }",
        "#[cfg(test)]\nuse crate::b::B;",
        "#[cfg(all(test, unix))]\nfn f() { crate::b::deep::f() }",
        "impl A { #[cfg(test)] fn f() { crate::b::deep::f() } }",
    ] {
        assert!(!needs(&format!("{text}\npub struct A;")), "{text}");
    }
}

#[test]
fn every_program_of_a_crate_is_read() {
    let tree = Planted::new(&[
        ("main.rs", "mod a;\npub struct Main;"),
        ("a.rs", "fn f(_: crate::Main) {}"),
        ("bin/tool.rs", "mod b;\nuse b::B;\npub struct Tool;"),
        ("bin/b.rs", "pub struct B(super::Tool);"),
    ]);
    let circles = circles(&tree.read());
    let files = BTreeSet::from(["bin/b.rs", "bin/tool.rs"].map(str::to_owned));
    assert_eq!(
        circles.into_iter().map(|circle| circle.files).collect::<Vec<_>>(),
        [files]
    );
}
