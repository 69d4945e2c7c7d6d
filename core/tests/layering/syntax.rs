//! Questions about a piece of syntax: its paths, including those in macro tokens, and whether it exists only in tests.

use std::collections::BTreeSet;

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};

/// The segments of a path, as written: `["crate", "id", "KeyId"]`.
pub(crate) type Segments = Vec<String>;

/// The paths below a node, those in its generic arguments included.
#[derive(Default)]
pub(crate) struct Paths(pub(crate) Vec<Segments>);

impl<'ast> Visit<'ast> for Paths {
    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.0.push(segments(path));
        visit::visit_path(self, path);
    }

    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}

    fn visit_attribute(&mut self, _: &'ast syn::Attribute) {}
}

pub(crate) fn segments(path: &syn::Path) -> Segments {
    path.segments.iter().map(|s| s.ident.to_string()).collect()
}

pub(crate) fn path_of(of: &syn::Type) -> Option<Segments> {
    match of {
        syn::Type::Path(of) => Some(segments(&of.path)),
        syn::Type::Reference(of) => path_of(&of.elem),
        syn::Type::Paren(of) => path_of(&of.elem),
        _ => None,
    }
}

/// What looks like a path in macro tokens; a single name may also be a field or a variable.
pub(crate) fn paths_in_tokens(tokens: TokenStream, found: &mut Vec<Segments>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let is = |at: usize, wanted: char| matches!(tokens.get(at), Some(TokenTree::Punct(p)) if p.as_char() == wanted);
    let mut at = 0;
    while at < tokens.len() {
        match &tokens[at] {
            TokenTree::Group(group) => paths_in_tokens(group.stream(), found),
            TokenTree::Ident(first) => {
                let before = |steps: usize, wanted| at.checked_sub(steps).is_some_and(|at| is(at, wanted));
                let member = before(1, '.') && !before(2, '.');
                let variable = before(1, '$') && first != "crate";
                let begins = !member && !variable && !before(1, '\'');
                let mut path = vec![first.to_string()];
                while is(at + 1, ':')
                    && is(at + 2, ':')
                    && let Some(TokenTree::Ident(next)) = tokens.get(at + 3)
                {
                    path.push(next.to_string());
                    at += 3;
                }
                found.extend(begins.then_some(path));
            }
            _ => {}
        }
        at += 1;
    }
}

/// The types that a macro's tokens define literally, as in `enum Name`.
pub(crate) fn types_in_tokens(tokens: TokenStream, found: &mut BTreeSet<String>) {
    let mut begins = false;
    for token in tokens {
        match token {
            TokenTree::Ident(name) if begins => {
                found.insert(name.to_string());
                begins = false;
            }
            TokenTree::Ident(word) => {
                begins = ["enum", "struct", "trait"].iter().any(|keyword| word == keyword);
            }
            TokenTree::Group(group) => types_in_tokens(group.stream(), found),
            _ => begins = false,
        }
    }
}

pub(crate) fn attributes(item: &syn::Item) -> &[syn::Attribute] {
    match item {
        syn::Item::Const(syn::ItemConst { attrs, .. })
        | syn::Item::Enum(syn::ItemEnum { attrs, .. })
        | syn::Item::Fn(syn::ItemFn { attrs, .. })
        | syn::Item::Impl(syn::ItemImpl { attrs, .. })
        | syn::Item::Macro(syn::ItemMacro { attrs, .. })
        | syn::Item::Mod(syn::ItemMod { attrs, .. })
        | syn::Item::Static(syn::ItemStatic { attrs, .. })
        | syn::Item::Struct(syn::ItemStruct { attrs, .. })
        | syn::Item::Trait(syn::ItemTrait { attrs, .. })
        | syn::Item::Type(syn::ItemType { attrs, .. })
        | syn::Item::Use(syn::ItemUse { attrs, .. }) => attrs,
        _ => &[],
    }
}

pub(crate) fn only_in_tests(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute
                .parse_args::<syn::Meta>()
                .is_ok_and(|condition| implies_test(&condition))
    })
}

/// Whether a condition of `cfg` can only hold in a test build.
fn implies_test(condition: &syn::Meta) -> bool {
    let inner = || match condition {
        syn::Meta::List(list) => {
            let parse = syn::punctuated::Punctuated::<syn::Meta, syn::Token![,]>::parse_terminated;
            list.parse_args_with(parse).unwrap().into_iter().collect()
        }
        _ => Vec::new(),
    };
    if condition.path().is_ident("all") {
        inner().iter().any(implies_test)
    } else if condition.path().is_ident("any") {
        inner().iter().all(implies_test)
    } else {
        condition.path().is_ident("test")
    }
}
