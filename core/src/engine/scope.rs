//! How far a handle reaches.

use crate::{
    error::{Code, Error},
    id::IntegrationId,
};

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
