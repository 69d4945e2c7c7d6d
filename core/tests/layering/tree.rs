//! The modules of a crate: what each defines, imports and mentions. Comments, attributes and `#[cfg(test)]` items are left
//! out.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use syn::visit::{self, Visit};

use crate::syntax::{self, Paths, Segments};

/// Index of a file in [`Tree::files`].
pub(crate) type FileId = usize;

/// Index of a module in [`Tree::modules`].
pub(crate) type ModuleId = usize;

#[derive(Default)]
pub(crate) struct Tree {
    pub(crate) files: Vec<File>,
    pub(crate) modules: Vec<Module>,
}

pub(crate) struct File {
    /// Relative to the folder that was read, with slashes.
    pub(crate) name: String,
    pub(crate) text: String,
    /// The module whose file this is; inline modules of the file are its descendants.
    pub(crate) module: ModuleId,
}

#[derive(Default)]
pub(crate) struct Module {
    pub(crate) file: FileId,
    /// Names from the crate root down; empty for the root.
    pub(crate) path: Segments,
    pub(crate) parent: Option<ModuleId>,
    pub(crate) children: BTreeMap<String, ModuleId>,
    pub(crate) items: BTreeSet<String>,
    pub(crate) imports: Vec<Import>,
    /// Paths in types, expressions, patterns, bounds and macro calls.
    pub(crate) mentions: Vec<Segments>,
    pub(crate) structs: Vec<Struct>,
    pub(crate) impls: Vec<Impl>,
}

/// One leaf of a `use` item.
pub(crate) struct Import {
    pub(crate) path: Segments,
    /// The name that it binds; none for a glob.
    pub(crate) name: Option<String>,
    /// `pub use`, of any visibility.
    pub(crate) reexport: bool,
}

pub(crate) struct Struct {
    pub(crate) name: String,
    /// Plain `pub`, as opposed to `pub(crate)` and private.
    pub(crate) public: bool,
    /// The paths in the types of its fields.
    pub(crate) fields: Vec<Segments>,
}

pub(crate) struct Impl {
    pub(crate) of: Segments,
    /// The trait, and the types that it is given as parameters. Empty for an inherent `impl`.
    pub(crate) traits: Vec<Segments>,
}

impl Tree {
    /// Reads `lib.rs`, `main.rs` and `bin/*.rs` below `src`, and the modules that they declare.
    pub(crate) fn read(src: &Path) -> Self {
        let mut tree = Self::default();
        let mut roots = vec!["lib.rs".to_owned(), "main.rs".to_owned()];
        if let Ok(programs) = fs::read_dir(src.join("bin")) {
            roots.extend(programs.map(|entry| format!("bin/{}", entry.unwrap().file_name().display())));
        }
        for root in roots {
            if src.join(&root).is_file() {
                tree.read_file(src, root, None, Segments::new());
            }
        }
        assert!(!tree.files.is_empty(), "no crate in {}", src.display());
        tree
    }

    fn read_file(&mut self, src: &Path, name: String, parent: Option<ModuleId>, path: Segments) -> ModuleId {
        let text = fs::read_to_string(src.join(&name)).unwrap();
        let parsed = syn::parse_file(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let file = self.files.len();
        let module = self.modules.len();
        let folder = match name.rsplit_once('/') {
            Some((folder, "mod.rs")) => format!("{folder}/"),
            Some(("bin", _)) => "bin/".to_owned(),
            None if path.is_empty() => String::new(),
            _ => format!("{}/", name.strip_suffix(".rs").unwrap()),
        };
        self.files.push(File { name, text, module });
        self.modules.push(Module {
            file,
            path,
            parent,
            ..Module::default()
        });
        Reader {
            tree: self,
            src,
            folder,
            module,
        }
        .visit_file(&parsed);
        module
    }
}

/// Fills in the current module, and reads the files of the modules that it declares.
struct Reader<'a> {
    tree: &'a mut Tree,
    src: &'a Path,
    /// The folder of its child modules' files.
    folder: String,
    module: ModuleId,
}

impl Reader<'_> {
    fn module(&mut self) -> &mut Module {
        &mut self.tree.modules[self.module]
    }

    fn define(&mut self, name: &syn::Ident) {
        let name = name.to_string();
        self.module().items.insert(name);
    }

    fn child(&mut self, item: &syn::ItemMod) {
        let name = item.ident.to_string();
        let mut path = self.module().path.clone();
        path.push(name.clone());
        let child = if let Some((_, items)) = &item.content {
            let child = self.tree.modules.len();
            let file = self.module().file;
            self.tree.modules.push(Module {
                file,
                path,
                parent: Some(self.module),
                ..Module::default()
            });
            let mut reader = Reader {
                tree: self.tree,
                src: self.src,
                folder: format!("{}{name}/", self.folder),
                module: child,
            };
            for item in items {
                reader.visit_item(item);
            }
            child
        } else {
            let file = [".rs", "/mod.rs"].map(|end| format!("{}{name}{end}", self.folder));
            let file = file.into_iter().find(|file| self.src.join(file).is_file());
            let file = file.unwrap_or_else(|| panic!("no file for mod {name} in {}", self.folder));
            self.tree.read_file(self.src, file, Some(self.module), path)
        };
        self.module().children.insert(name, child);
    }

    fn import(&mut self, tree: &syn::UseTree, before: &[String], reexport: bool) {
        let path = |name: &syn::Ident| [before, &[name.to_string()]].concat();
        let (path, name) = match tree {
            syn::UseTree::Path(inner) => return self.import(&inner.tree, &path(&inner.ident), reexport),
            syn::UseTree::Group(group) => {
                return group
                    .items
                    .iter()
                    .for_each(|tree| self.import(tree, before, reexport));
            }
            syn::UseTree::Glob(_) => (before.to_vec(), None),
            syn::UseTree::Name(leaf) if leaf.ident == "self" => (before.to_vec(), before.last().cloned()),
            syn::UseTree::Name(leaf) => (path(&leaf.ident), Some(leaf.ident.to_string())),
            syn::UseTree::Rename(leaf) if leaf.ident == "self" => {
                (before.to_vec(), Some(leaf.rename.to_string()))
            }
            syn::UseTree::Rename(leaf) => (path(&leaf.ident), Some(leaf.rename.to_string())),
        };
        self.module().imports.push(Import { path, name, reexport });
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        if syntax::only_in_tests(syntax::attributes(item)) {
            return;
        }
        match item {
            syn::Item::Const(item) => self.define(&item.ident),
            syn::Item::Enum(item) => self.define(&item.ident),
            syn::Item::Fn(item) => self.define(&item.sig.ident),
            syn::Item::Static(item) => self.define(&item.ident),
            syn::Item::Trait(item) => self.define(&item.ident),
            syn::Item::Type(item) => self.define(&item.ident),
            syn::Item::Union(item) => self.define(&item.ident),
            syn::Item::Struct(item) => {
                self.define(&item.ident);
                let (name, mut fields) = (item.ident.to_string(), Paths::default());
                fields.visit_fields(&item.fields);
                self.module().structs.push(Struct {
                    name,
                    public: matches!(item.vis, syn::Visibility::Public(_)),
                    fields: fields.0,
                });
            }
            syn::Item::Macro(item) => {
                item.ident.iter().for_each(|name| self.define(name));
                syntax::types_in_tokens(item.mac.tokens.clone(), &mut self.module().items);
            }
            syn::Item::Impl(item) => {
                let mut traits = Paths::default();
                if let Some((path, _)) = &item.trait_ {
                    traits.visit_path(path);
                }
                if let Some(of) = syntax::path_of(&item.self_ty) {
                    self.module().impls.push(Impl { of, traits: traits.0 });
                }
            }
            syn::Item::Mod(item) => return self.child(item),
            syn::Item::Use(item) => {
                let reexport = !matches!(item.vis, syn::Visibility::Inherited);
                return self.import(&item.tree, &[], reexport);
            }
            _ => {}
        }
        visit::visit_item(self, item);
    }

    fn visit_impl_item(&mut self, item: &'ast syn::ImplItem) {
        let attributes = match item {
            syn::ImplItem::Const(item) => &item.attrs,
            syn::ImplItem::Fn(item) => &item.attrs,
            syn::ImplItem::Type(item) => &item.attrs,
            _ => return visit::visit_impl_item(self, item),
        };
        if !syntax::only_in_tests(attributes) {
            visit::visit_impl_item(self, item);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.module().mentions.push(syntax::segments(path));
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, item: &'ast syn::Macro) {
        self.visit_path(&item.path);
        syntax::paths_in_tokens(item.tokens.clone(), &mut self.module().mentions);
    }

    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}

    fn visit_attribute(&mut self, _: &'ast syn::Attribute) {}
}
