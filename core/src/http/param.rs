//! Parameters that a route reads from the query and the headers.

/// Where a parameter is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Query,
    Header,
}

/// A parameter outside of the path.
#[derive(Clone, Copy, Debug)]
pub(super) struct Param {
    pub(super) place: Place,
    /// Its name; `name.{key}` stands for all names that begin with `name.`.
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) required: bool,
    pub(super) integer: bool,
    /// Its possible values, if it is an enumeration.
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

    /// The common prefix of its names, if it stands for many.
    pub(super) fn prefix(&self) -> Option<&'static str> {
        self.name.strip_suffix("{key}")
    }

    pub(super) fn takes(&self, name: &str) -> bool {
        self.prefix()
            .map_or(self.name == name, |prefix| name.starts_with(prefix))
    }
}
