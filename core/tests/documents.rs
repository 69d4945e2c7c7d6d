//! The documents point to things that exist: tests named in `tests/README.md`, files and headings behind links.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    root.canonicalize().unwrap()
}

#[test]
fn every_test_that_is_named_exists() {
    let root = root();
    let tests = root.join("core/tests");
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

#[test]
fn every_link_leads_somewhere() {
    let root = root();
    let mut documents = BTreeMap::new();
    find(&root, &mut documents);
    let mut followed = 0;
    for (path, text) in &documents {
        for link in links(text) {
            // External pages are not fetched.
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (file, heading) = link.split_once('#').unwrap_or((&link, ""));
            let at = path.parent().unwrap().join(file);
            let at = if file.is_empty() { path.clone() } else { at };
            let shown = format!("{} links to {link}", path.strip_prefix(&root).unwrap().display());
            let at = at.canonicalize();
            assert!(at.as_ref().is_ok_and(|at| at.starts_with(&root)), "{shown}");
            if !heading.is_empty() {
                let text = at.ok().and_then(|at| documents.get(&at));
                let has = text.is_some_and(|text| headings(text).contains(heading));
                assert!(has, "{shown}: there is no such heading");
            }
            followed += 1;
        }
    }
    assert!(followed > 15, "{followed}");
}

/// All documents below a folder.
fn find(folder: &Path, documents: &mut BTreeMap<PathBuf, String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            if name != "target" && !name.starts_with('.') {
                find(&path, documents);
            }
        } else if path.extension().is_some_and(|extension| extension == "md") {
            let text = fs::read_to_string(&path).unwrap();
            documents.insert(path, text);
        }
    }
}

/// The lines that are no code.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut code = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        code ^= fence;
        !code && !fence
    })
}

/// Where `[text](target)` and `[text]: target` lead.
fn links(text: &str) -> Vec<String> {
    let mut links = Vec::new();
    for line in prose(text) {
        let plain: String = line.split('`').step_by(2).collect();
        let inline = plain.split("](").skip(1);
        links.extend(inline.filter_map(|rest| rest.split([')', ' ']).next().map(str::to_owned)));
        if let Some((_, target)) = plain.strip_prefix('[').and_then(|rest| rest.split_once("]: ")) {
            links.push(target.trim().to_owned());
        }
    }
    links
}

/// The names that headings have in links: lower case, hyphens for spaces, no punctuation.
fn headings(text: &str) -> BTreeSet<String> {
    let headings = prose(text).filter_map(|line| {
        line.trim_start_matches('#')
            .strip_prefix(' ')
            .filter(|_| line.starts_with('#'))
    });
    headings
        .map(|heading| {
            let kept = heading
                .trim()
                .chars()
                .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
            kept.collect::<String>().to_lowercase().replace(' ', "-")
        })
        .collect()
}
