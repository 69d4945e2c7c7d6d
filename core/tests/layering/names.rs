//! Name resolution: from a path to the file that defines it, through any number of re-exports.

use std::collections::{BTreeMap, BTreeSet};

use crate::tree::{FileId, ModuleId, Tree};

/// A name, and the file that defines it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Definition {
    pub(crate) file: FileId,
    pub(crate) name: String,
}

/// The names that a file needs of another file.
pub(crate) type Needs = BTreeMap<(FileId, FileId), BTreeSet<String>>;

enum Target {
    Module(ModuleId),
    Item(Definition),
}

/// Look-ups in progress, so that globs and re-exports that refer to each other terminate.
type Open = BTreeSet<(ModuleId, String)>;

impl Tree {
    /// The definitions that `path` refers to in `module`. None for modules, variables and names of other crates.
    pub(crate) fn resolve(&self, module: ModuleId, path: &[String]) -> Vec<Definition> {
        let items = self.walk(module, path, &mut Open::new()).into_iter();
        items
            .filter_map(|target| match target {
                Target::Item(definition) => Some(definition),
                Target::Module(_) => None,
            })
            .collect()
    }

    /// What each file imports or mentions. Re-exporting a name does not count.
    pub(crate) fn needs(&self) -> Needs {
        self.edges(false)
    }

    /// What each file imports, mentions or re-exports.
    pub(crate) fn reaches(&self) -> Needs {
        self.edges(true)
    }

    fn edges(&self, reexports: bool) -> Needs {
        let mut needs = Needs::new();
        for (id, module) in self.modules.iter().enumerate() {
            let imports = module
                .imports
                .iter()
                .filter(|import| reexports || !import.reexport);
            let paths = imports.map(|import| &import.path).chain(&module.mentions);
            for Definition { file, name } in paths.flat_map(|path| self.resolve(id, path)) {
                if file != module.file {
                    needs.entry((module.file, file)).or_default().insert(name);
                }
            }
        }
        needs
    }

    fn walk(&self, from: ModuleId, path: &[String], open: &mut Open) -> Vec<Target> {
        let mut here = from;
        for (at, name) in path.iter().enumerate() {
            let last = at + 1 == path.len();
            let module = &self.modules[here];
            here = match name.as_str() {
                "crate" => self.root(here),
                "self" => here,
                "super" => module.parent.unwrap_or(here),
                _ if !last && module.children.contains_key(name) => module.children[name],
                _ => {
                    let found = match self.lookup(here, name, open) {
                        Some(found) => found,
                        // Not found in a module that was named explicitly: one of its macros defines it.
                        None if at > 0 => vec![Target::Item(Definition {
                            file: module.file,
                            name: name.clone(),
                        })],
                        None => Vec::new(),
                    };
                    if last {
                        return found;
                    }
                    let inner = found.iter().find_map(|target| match target {
                        Target::Module(module) => Some(*module),
                        Target::Item(_) => None,
                    });
                    match inner {
                        Some(module) => module,
                        // A variant, an associated item.
                        None => return found,
                    }
                }
            };
        }
        vec![Target::Module(here)]
    }

    /// What `name` refers to in a module; `None` if it is neither defined nor imported there.
    fn lookup(&self, id: ModuleId, name: &str, open: &mut Open) -> Option<Vec<Target>> {
        if !open.insert((id, name.to_owned())) {
            return None;
        }
        let module = &self.modules[id];
        let mut found = Vec::new();
        found.extend(module.children.get(name).copied().map(Target::Module));
        found.extend(module.items.contains(name).then(|| {
            Target::Item(Definition {
                file: module.file,
                name: name.to_owned(),
            })
        }));
        let mut bound = !found.is_empty();
        for import in module
            .imports
            .iter()
            .filter(|import| import.name.as_deref() == Some(name))
        {
            bound = true;
            found.extend(self.walk(id, &import.path, open));
        }
        if bound {
            return Some(found);
        }
        for glob in module.imports.iter().filter(|import| import.name.is_none()) {
            for target in self.walk(id, &glob.path, open) {
                if let Target::Module(module) = target
                    && let Some(found) = self.lookup(module, name, open)
                {
                    return Some(found);
                }
            }
        }
        None
    }

    pub(crate) fn root(&self, mut module: ModuleId) -> ModuleId {
        while let Some(parent) = self.modules[module].parent {
            module = parent;
        }
        module
    }
}
