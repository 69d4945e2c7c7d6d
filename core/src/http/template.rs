//! Path templates of routes.

/// A path in which `{name}` stands for one segment, and `{name...}` for the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Template(pub(super) &'static str);

impl Template {
    /// The names of its parameters.
    pub(super) fn names(self) -> impl Iterator<Item = &'static str> {
        self.0
            .split('/')
            .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
    }

    pub(super) fn matches(self, path: &str) -> bool {
        walk(self.0, path, |_, _| {})
    }

    /// The raw text in `path` for the parameter `name`.
    pub(super) fn param<'a>(self, path: &'a str, name: &str) -> Option<&'a str> {
        let mut found = None;
        let matched = walk(self.0, path, |parameter, text| {
            if parameter == name {
                found = Some(text);
            }
        });
        matched.then_some(found)?
    }
}

/// Matches a path against a template, ignoring one trailing slash, and reports the values of the parameters.
fn walk<'a>(template: &'static str, path: &'a str, mut param: impl FnMut(&'static str, &'a str)) -> bool {
    let Some(mut rest) = path.strip_prefix('/').map(Some) else {
        return false;
    };
    for part in template.split('/').skip(1) {
        let name = part.strip_prefix('{').and_then(|part| part.strip_suffix('}'));
        if let Some(name) = name.and_then(|name| name.strip_suffix("...")) {
            // The rest, including its trailing slash, since it is forwarded verbatim.
            let left = rest.map_or("", |rest| &path[path.len() - rest.len() - 1..]);
            param(name, left);
            return true;
        }
        let Some(text) = rest else { return false };
        let (segment, tail) = match text.split_once('/') {
            Some((segment, tail)) => (segment, Some(tail)),
            None => (text, None),
        };
        match name {
            Some(name) => param(name, segment),
            None if part == segment => {}
            None => return false,
        }
        rest = tail;
    }
    rest.is_none_or(str::is_empty)
}
