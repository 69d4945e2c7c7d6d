//! How far a handle reaches.

use crate::{
    error::{Code, Error},
    id::{IntegrationId, IntegrationRef, Slug},
};

/// How far a handle reaches, as it was made. Rows know their integration by id, so that a slug is looked up before rows are
/// asked for; memory knows both.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reach<'a> {
    pub(crate) integration: Option<&'a IntegrationRef>,
    pub(crate) owner: Option<&'a str>,
}

impl<'a> Reach<'a> {
    /// What is left to ask of a connection whose integration has this id and slug; `None` if it is not the one.
    #[inline]
    pub(crate) fn inside(self, id: &IntegrationId, slug: Option<&Slug>) -> Option<Scope<'a>> {
        let inside = self.integration.is_none_or(|which| which.means(id, slug));
        inside.then_some(Scope {
            integration: None,
            owner: self.owner,
        })
    }

    /// The same reach, once the integration's id is known.
    pub(crate) fn by_id(self, integration: Option<&'a IntegrationId>) -> Scope<'a> {
        Scope {
            integration,
            owner: self.owner,
        }
    }
}

/// Which connections may be reached: all, those of an integration, or those of one owner there.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Scope<'a> {
    pub(crate) integration: Option<&'a IntegrationId>,
    /// An empty owner reaches nothing: a connection without an owner is not everybody's.
    pub(crate) owner: Option<&'a str>,
}

impl Scope<'_> {
    /// Whether a connection may be reached that belongs to `integration` and `owner`.
    ///
    /// # Errors
    /// `integration_mismatch`; behind an owner's door nothing else exists: `connection_not_found`.
    pub(crate) fn admit(self, integration: &IntegrationId, owner: &str) -> Result<(), Error> {
        let inside = self.integration.is_none_or(|wanted| wanted == integration);
        match self.owner {
            Some(wanted) if !inside || wanted.is_empty() || wanted != owner => {
                Err(Code::ConnectionNotFound.into())
            }
            None if !inside => Err(Code::IntegrationMismatch.into()),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_door_opens_for_its_owner_alone() {
        let [here, there] = ["here", "there"].map(|id| IntegrationId::new(id).unwrap());
        let scope = |owner| Scope {
            integration: Some(&here),
            owner,
        };
        let code = |scope: Scope<'_>, integration, owner| {
            scope.admit(integration, owner).err().map(|error| error.code())
        };
        assert_eq!(code(Scope::default(), &there, "ann"), None);
        assert_eq!(code(scope(None), &here, "ann"), None);
        assert_eq!(code(scope(None), &there, "ann"), Some(Code::IntegrationMismatch));
        assert_eq!(code(scope(Some("ann")), &here, "ann"), None);
        for (wanted, integration, owner) in [
            ("ann", &here, "bob"),
            ("ann", &here, ""),
            ("ann", &here, "ann "),
            ("ann", &there, "ann"),
            ("", &here, ""),
            ("", &here, "ann"),
        ] {
            let scope = scope(Some(wanted));
            assert_eq!(
                code(scope, integration, owner),
                Some(Code::ConnectionNotFound),
                "{wanted}"
            );
        }
    }
}
