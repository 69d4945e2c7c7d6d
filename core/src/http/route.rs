//! What a route is, and how a request finds its own.

use std::{future::Future, pin::Pin};

use http::{Method, Response};
use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::{body::Body, call::Call, problem::Problem, table::ROUTES};
use crate::{Within, error::Code};

/// What a handler is on its way to.
pub(super) type Reply = Pin<Box<dyn Future<Output = Result<Response<Body>, Problem>> + Send>>;

/// Who may call a route, told by what its handler is given. An API route cannot be written that reaches beyond its key.
#[derive(Clone, Copy)]
pub(super) enum Handler {
    /// With an API key: what belongs to that key's integration.
    Api(fn(Call, Within) -> Reply),
    /// With an admin key.
    Admin(fn(Call) -> Reply),
    /// A browser that navigates. Answers are pages; the handler checks what the URL carries.
    Browser(fn(Call) -> Reply),
    /// Anybody.
    Open(fn(Call) -> Reply),
}

/// The methods that a route takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Get,
    Post,
    Put,
    Patch,
    Delete,
    /// All methods that the proxy sends.
    Any,
}

impl Verb {
    pub(super) fn methods(self) -> &'static [Method] {
        const ANY: &[Method] = &[
            Method::GET,
            Method::HEAD,
            Method::POST,
            Method::PUT,
            Method::PATCH,
            Method::DELETE,
        ];
        match self {
            Self::Get => &[Method::GET],
            Self::Post => &[Method::POST],
            Self::Put => &[Method::PUT],
            Self::Patch => &[Method::PATCH],
            Self::Delete => &[Method::DELETE],
            Self::Any => ANY,
        }
    }
}

/// Where a parameter stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Query,
    Header,
}

/// A parameter beside those of the path.
#[derive(Clone, Copy, Debug)]
pub(super) struct Param {
    pub(super) place: Place,
    /// Its name; `name.{key}` stands for all names that begin with `name.`.
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) required: bool,
    pub(super) integer: bool,
    /// The values that it can have, if they are few.
    pub(super) values: &'static [&'static str],
}

impl Param {
    pub(super) const fn query(name: &'static str, about: &'static str) -> Self {
        Self {
            place: Place::Query,
            name,
            about,
            required: false,
            integer: false,
            values: &[],
        }
    }

    pub(super) const fn header(name: &'static str, about: &'static str) -> Self {
        Self {
            place: Place::Header,
            ..Self::query(name, about)
        }
    }

    pub(super) const fn required(self) -> Self {
        Self {
            required: true,
            ..self
        }
    }

    pub(super) const fn integer(self) -> Self {
        Self {
            integer: true,
            ..self
        }
    }

    pub(super) const fn one_of(self, values: &'static [&'static str]) -> Self {
        Self { values, ..self }
    }

    /// What all its names begin with, if it stands for many.
    pub(super) fn prefix(&self) -> Option<&'static str> {
        self.name.strip_suffix("{key}")
    }

    pub(super) fn takes(&self, name: &str) -> bool {
        self.prefix()
            .map_or(self.name == name, |prefix| name.starts_with(prefix))
    }
}

/// Makes a schema, and notes what it refers to.
pub(super) type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// What a route reads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Takes {
    pub(super) schema: SchemaOf,
    /// The longest body, in bytes.
    pub(super) limit: usize,
    pub(super) required: bool,
}

/// What a route answers when all is well.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gives {
    pub(super) status: u16,
    pub(super) about: &'static str,
    pub(super) schema: Option<SchemaOf>,
}

/// One line of the table.
pub(super) struct Route {
    pub(super) verb: Verb,
    /// The path; `{name}` is one segment, `{name...}` all that is left.
    pub(super) template: &'static str,
    pub(super) handler: Handler,
    pub(super) summary: &'static str,
    pub(super) params: &'static [Param],
    pub(super) takes: Option<Takes>,
    pub(super) gives: Gives,
    /// Errors of its own, beside those that its key, path and body bring.
    pub(super) fails: &'static [Code],
    /// What is answered when the deadline passes.
    pub(super) late: Code,
    /// It minds the time itself: bodies may stream for longer, and a browser waits longer than an API client.
    pub(super) streams: bool,
}

/// The longest JSON body of a route that manages something.
const MANAGE_LIMIT: usize = 256 * 1024;

impl Route {
    pub(super) const fn new(
        verb: Verb,
        template: &'static str,
        handler: Handler,
        summary: &'static str,
    ) -> Self {
        let gives = Gives {
            status: 204,
            about: "Done.",
            schema: None,
        };
        Self {
            verb,
            template,
            handler,
            summary,
            params: &[],
            takes: None,
            gives,
            fails: &[],
            late: Code::StoreUnavailable,
            streams: false,
        }
    }

    pub(super) const fn params(self, params: &'static [Param]) -> Self {
        Self { params, ..self }
    }

    pub(super) const fn takes<T: JsonSchema>(self) -> Self {
        let takes = Takes {
            schema: SchemaGenerator::subschema_for::<T>,
            limit: MANAGE_LIMIT,
            required: true,
        };
        Self {
            takes: Some(takes),
            ..self
        }
    }

    /// As [`Route::takes`]; no body at all stands for an empty object.
    pub(super) const fn may_take<T: JsonSchema>(self) -> Self {
        let takes = Takes {
            schema: SchemaGenerator::subschema_for::<T>,
            limit: MANAGE_LIMIT,
            required: false,
        };
        Self {
            takes: Some(takes),
            ..self
        }
    }

    pub(super) const fn up_to(self, limit: usize) -> Self {
        match self.takes {
            Some(takes) => Self {
                takes: Some(Takes { limit, ..takes }),
                ..self
            },
            None => self,
        }
    }

    pub(super) const fn gives<T: JsonSchema>(self, status: u16, about: &'static str) -> Self {
        let gives = Gives {
            status,
            about,
            schema: Some(SchemaGenerator::subschema_for::<T>),
        };
        Self { gives, ..self }
    }

    /// The answer is not of ours to describe.
    pub(super) const fn passes(self, status: u16, about: &'static str) -> Self {
        Self {
            gives: Gives {
                status,
                about,
                schema: None,
            },
            ..self
        }
    }

    pub(super) const fn fails(self, fails: &'static [Code]) -> Self {
        Self { fails, ..self }
    }

    pub(super) const fn late(self, late: Code) -> Self {
        Self { late, ..self }
    }

    pub(super) const fn streams(self) -> Self {
        Self {
            streams: true,
            ..self
        }
    }

    /// The names of the path's parameters.
    pub(super) fn path_names(&self) -> impl Iterator<Item = &'static str> {
        self.template
            .split('/')
            .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
    }

    fn takes_method(&self, method: &Method) -> bool {
        // Where GET only reads, HEAD does the same without a body. Browser routes do something.
        let read = self.verb == Verb::Get && !matches!(self.handler, Handler::Browser(_));
        self.verb.methods().contains(method) || (*method == Method::HEAD && read)
    }

    /// What stands in `path` for the template's parameter `name`, as it was sent.
    pub(super) fn param<'a>(&self, path: &'a str, name: &str) -> Option<&'a str> {
        let mut found = None;
        let matched = walk(self.template, path, |parameter, text| {
            if parameter == name {
                found = Some(text);
            }
        });
        matched.then_some(found)?
    }
}

/// Why no route was found.
#[derive(Debug)]
pub(super) enum Miss {
    Path,
    /// The methods that the path takes.
    Method(String),
}

/// The route that a request is for. The path is looked at first, so that a wrong method is told as such.
pub(super) fn find(method: &Method, path: &str) -> Result<&'static Route, Miss> {
    let first = ROUTES
        .iter()
        .find(|route| walk(route.template, path, |_, _| {}))
        .ok_or(Miss::Path)?;
    let mut same = ROUTES.iter().filter(|route| route.template == first.template);
    if let Some(route) = same.clone().find(|route| route.takes_method(method)) {
        return Ok(route);
    }
    let mut allow = String::new();
    for name in same
        .by_ref()
        .flat_map(|route| route.verb.methods())
        .map(Method::as_str)
    {
        if !allow.is_empty() {
            allow.push_str(", ");
        }
        allow.push_str(name);
    }
    Err(Miss::Method(allow))
}

/// Compares a path with a template, one trailing slash tolerated, and tells what stands for the parameters.
fn walk<'a>(template: &'static str, path: &'a str, mut param: impl FnMut(&'static str, &'a str)) -> bool {
    let Some(mut rest) = path.strip_prefix('/').map(Some) else {
        return false;
    };
    for part in template.split('/').skip(1) {
        let name = part.strip_prefix('{').and_then(|part| part.strip_suffix('}'));
        if let Some(name) = name.and_then(|name| name.strip_suffix("...")) {
            // All that is left, its slash included: what comes here is what is sent on.
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
