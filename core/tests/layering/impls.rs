//! `impl` of a type outside its own folder.
//!
//! Calling an inherent method needs no import. If any file could add methods to a type, code that holds a value of it would
//! depend on all of those files invisibly, and the rules about floors and circles would check nothing. The rule is Rust's
//! orphan rule, applied to folders: the type, or the trait or one of its parameters, must belong to the folder of the
//! `impl`. Methods of a trait do need an import.

use crate::{
    floors::Floors,
    names::Definition,
    planted::Planted,
    tree::{FileId, Tree},
};

/// Every such `impl`: "type in file".
pub(crate) fn away(tree: &Tree, floors: &Floors) -> Vec<String> {
    let mut bad = Vec::new();
    for (id, module) in tree.modules.iter().enumerate() {
        let home = |definition: &Definition| at_home(tree, floors, definition.file, module.file);
        for block in &module.impls {
            let of = tree.resolve(id, &block.of);
            let mut traits = block.traits.iter().flat_map(|path| tree.resolve(id, path));
            if let Some(first) = of.first()
                && !of.iter().any(home)
                && !traits.any(|definition| home(&definition))
            {
                bad.push(format!("{} in {}", first.name, tree.files[module.file].name));
            }
        }
    }
    bad.sort();
    bad.dedup();
    bad
}

/// Whether `file` is in the folder of `home`, or below the module `home`. The files of a folder that is divided into
/// floors are rooms of their own and do not share it.
fn at_home(tree: &Tree, floors: &Floors, home: FileId, file: FileId) -> bool {
    let [home, file] = [home, file].map(|file| &tree.files[file]);
    let folder = |name: &str| name.rsplit_once('/').map(|(folder, _)| folder.to_owned());
    let [above, below] = [home, file].map(|file| &tree.modules[file.module].path);
    let inside = !above.is_empty() && below.starts_with(above);
    let shared = folder(&home.name) == folder(&file.name);
    let divided = tree.modules[home.module]
        .parent
        .is_some_and(|parent| floors.has_floors(parent));
    home.name == file.name || inside || shared && !divided
}

#[test]
fn an_impl_outside_its_folder_is_caught() {
    let tree = Planted::new(&[
        (
            "lib.rs",
            "// Layer 1: a.\nmod engine;\nmod error;\n// Layer 2: b.\nmod refresh;\nmod usage;\n",
        ),
        (
            "engine.rs",
            "mod inner;\npub(crate) struct Engine;\nimpl Engine {}",
        ),
        ("engine/inner.rs", "impl super::Engine {}"),
        ("error.rs", "pub struct Error;\npub trait Tell {}"),
        (
            "refresh/mod.rs",
            "mod cache;\nmod turn;\npub(crate) use cache::Cache;\nuse crate::engine::Engine;\nimpl Engine {}",
        ),
        (
            "refresh/cache.rs",
            "pub(crate) struct Cache;\nmacro_rules! m { () => { pub enum Wait {} } }\nm!();",
        ),
        (
            "refresh/turn.rs",
            "use super::cache::{self, Cache, Wait};\nuse crate::{engine::Engine as E, error::{Error, Tell}};\npub(crate) trait \
             Take {}\nimpl Cache {}\nimpl Tell for Cache {}\nimpl Take for Error {}\nimpl From<cache::Wait> for Error {}\n\
             impl Take for String {}\nimpl<'a> Iterator for &'a E {}\nimpl Tell for Error {}",
        ),
        (
            "usage.rs",
            "use crate::refresh::Cache;\nimpl Cache {}\nimpl crate::engine::Engine {}\n#[cfg(test)]\nmod tests { impl crate::engine::Engine {} }",
        ),
    ]);
    let tree = tree.read();
    let expected = [
        "Cache in usage.rs",
        "Engine in refresh/mod.rs",
        "Engine in refresh/turn.rs",
        "Engine in usage.rs",
        "Error in refresh/turn.rs",
    ];
    assert_eq!(away(&tree, &Floors::read(&tree)), expected);
}
