//! What other crates import from core.

use std::collections::BTreeSet;

use crate::{planted::Planted, tree::Tree};

/// Imports of items of `krate` that are not among `allowed`.
pub(crate) fn beyond(tree: &Tree, krate: &str, allowed: &[&str]) -> BTreeSet<String> {
    let mut bad = BTreeSet::new();
    for module in &tree.modules {
        let imports = module.imports.iter().map(|import| &import.path);
        for path in imports.chain(&module.mentions) {
            if let [first, second, ..] = path.as_slice()
                && first == krate
                && !allowed.contains(&second.as_str())
            {
                bad.insert(format!(
                    "{} imports {first}::{second}",
                    tree.files[module.file].name
                ));
            }
        }
    }
    bad
}

#[test]
fn an_import_beyond_the_contract_is_caught() {
    let tree = Planted::new(&[
        (
            "lib.rs",
            "mod row;\nuse grantry::{id::{self, ConnectionId}, proxy::Call as C};",
        ),
        (
            "row.rs",
            "fn f() -> grantry::Broker { grantry::store::g(); todo!() }\n#[cfg(test)]\nmod tests { use grantry::usage::X; }",
        ),
    ]);
    let expected = ["lib.rs imports grantry::proxy", "row.rs imports grantry::Broker"];
    assert_eq!(
        beyond(&tree.read(), "grantry", &["id", "store"]),
        expected.map(str::to_owned).into()
    );
}
