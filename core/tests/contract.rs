//! Reads the traits that others implement, and fails on what a compiler does not see.
#![expect(clippy::unwrap_used, reason = "all of this is a test")]

use std::{fs, path::Path};

/// Where the contract stands, and how many traits there are in each file.
const FILES: [(&str, usize); 10] = [
    ("store/connection.rs", 1),
    ("store/integration.rs", 1),
    ("store/key.rs", 1),
    ("store/pending.rs", 1),
    ("store/usage.rs", 1),
    ("provider/mod.rs", 1),
    ("provider/http_client.rs", 1),
    ("vault/mod.rs", 1),
    ("event.rs", 1),
    ("time.rs", 1),
];

/// A method of a trait, or a public async function beside one.
#[derive(Default)]
struct Method {
    docs: String,
    /// Up to `;` or `{`.
    signature: String,
    place: String,
    of_trait: bool,
}

fn methods() -> Vec<Method> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut methods = Vec::new();
    for (file, expected) in FILES {
        let text = fs::read_to_string(source.join(file)).unwrap();
        assert_eq!(text.matches("\npub trait ").count(), expected, "traits in {file}");
        methods.extend(of_file(file, &text));
    }
    methods
}

fn of_file(file: &str, text: &str) -> Vec<Method> {
    let mut found = Vec::new();
    let (mut method, mut of_trait) = (Method::default(), false);
    for line in text.lines() {
        let code = line.trim();
        of_trait = line.starts_with("pub trait ") || of_trait && line != "}";
        let public = code
            .strip_prefix("pub ")
            .filter(|code| code.starts_with("async "));
        let declared = public.or_else(|| {
            let method = code.starts_with("fn ") || code.starts_with("async fn ");
            Some(code).filter(|_| of_trait && method)
        });
        if code.starts_with("///") {
            method.docs += code;
            method.docs.push('\n');
            continue;
        } else if let Some(code) = declared {
            let name = code.split('(').next().unwrap().rsplit(' ').next().unwrap();
            method.place = format!("{name} in {file}");
            method.of_trait = of_trait;
            code.clone_into(&mut method.signature);
        } else if !method.signature.is_empty() {
            method.signature += code;
        } else if code.starts_with('#') {
            continue;
        }
        if method.signature.ends_with([';', '{']) {
            found.push(std::mem::take(&mut method));
        } else if method.signature.is_empty() {
            method.docs.clear();
        }
    }
    found
}

/// A store around another one that forgot a method with a default compiled, and did something else than the store in it.
#[test]
fn no_method_has_a_default() {
    let methods = methods();
    assert!(methods.len() > 55, "{}", methods.len());
    for method in methods.iter().filter(|method| method.of_trait) {
        let required = method.signature.ends_with(';');
        assert!(required, "{} has a default: {}", method.place, method.signature);
    }
}

/// What an error means, and what a dropped future leaves, cannot be seen in a signature.
#[test]
fn every_method_says_how_it_fails_and_what_dropping_it_leaves() {
    let mut told = 0;
    for method in methods() {
        for (applies, heading) in [
            (method.signature.contains("-> Result<"), "/// # Errors\n"),
            (method.signature.starts_with("async "), "/// # Cancel safety\n"),
        ] {
            assert!(
                !applies || method.docs.contains(heading),
                "{} has no {heading}",
                method.place
            );
            told += usize::from(applies);
        }
    }
    assert!(told > 80, "{told}");
}

/// What only one provider can know comes from the provider: a second one must need no edit of core.
#[test]
fn core_knows_no_provider() {
    const NAMES: [&str; 8] = [
        "salesforce",
        "sforce",
        "sfdc",
        "chatter",
        "soql",
        "/services/",
        "google",
        "microsoft",
    ];
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    let mut read = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            read += 1;
            let text = fs::read_to_string(&path).unwrap().to_lowercase();
            // The crate's front page says where to find a provider.
            let text = text.replace("grantry-provider-salesforce", "");
            for name in NAMES {
                assert!(!text.contains(name), "{} in {}", name, path.display());
            }
        }
    }
    assert!(read > 150, "{read}");
}
