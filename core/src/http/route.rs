//! The definition of a route: who may call it, its input, and its responses.

use http::Method;
use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::{
    call::{Call, Reply},
    param::Param,
    template::Template,
};
use crate::{IntegrationHandle, error::Code};

/// Who may call a route, expressed by its handler's input. An API route that reaches beyond its key cannot be written.
#[derive(Clone, Copy)]
pub(super) enum Handler {
    /// With an API key: what belongs to that key's integration.
    Api(fn(Call, IntegrationHandle) -> Reply),
    /// With an admin key.
    Admin(fn(Call) -> Reply),
    /// A browser that navigates. Responses are pages; the handler checks what the URL carries.
    Browser(fn(Call) -> Reply),
    /// Anyone.
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

/// Makes a schema, and collects the definitions that it refers to.
pub(super) type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// What a route reads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Takes {
    pub(super) schema: SchemaOf,
    /// The longest body, in bytes.
    pub(super) limit: usize,
    pub(super) required: bool,
}

/// A route's response on success.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gives {
    pub(super) status: u16,
    pub(super) about: &'static str,
    pub(super) schema: Option<SchemaOf>,
}

/// One line of the table.
pub(super) struct Route {
    pub(super) verb: Verb,
    pub(super) template: Template,
    pub(super) handler: Handler,
    pub(super) summary: &'static str,
    pub(super) params: &'static [Param],
    pub(super) takes: Option<Takes>,
    pub(super) gives: Gives,
    /// Its own errors, besides those of its key, path and body.
    pub(super) fails: &'static [Code],
    /// The error if the deadline passes.
    pub(super) late: Code,
    /// The handler keeps time itself: bodies may stream for longer, and a browser waits longer than an API client.
    pub(super) streams: bool,
}

/// The longest JSON body of a management route, in bytes.
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
            template: Template(template),
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

    /// As [`Route::takes`]; no body means an empty object.
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

    /// The response is not ours to describe.
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

    pub(super) fn takes_method(&self, method: &Method) -> bool {
        // HEAD is GET without a body, where GET only reads. Browser routes have effects.
        let read = self.verb == Verb::Get && !matches!(self.handler, Handler::Browser(_));
        self.verb.methods().contains(method) || (*method == Method::HEAD && read)
    }
}
