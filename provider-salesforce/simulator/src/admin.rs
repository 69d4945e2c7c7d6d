//! What an org's admin can change: users, the org itself, and the addresses from which the app gets tokens.

use crate::client_auth::{INACTIVE_ORG, INACTIVE_USER, IP_RESTRICTED, OAuthError};
use crate::log::Outcome;
use crate::state::Auth;

impl Auth {
    /// Activates or deactivates a user. A deactivated user's tokens stop working, but are not revoked.
    pub(crate) fn set_active(&mut self, username: &str, active: bool) -> Result<(), String> {
        let user = self.user_named(username)?;
        if let Some(user) = self.users.get_mut(user) {
            user.active = active;
        }
        Ok(())
    }

    /// Locks or unlocks an org. Revokes nothing.
    pub(crate) fn set_org_active(&mut self, org_id: &str, active: bool) -> Result<(), String> {
        let org = self.org_named(org_id)?;
        if active {
            self.locked_orgs.remove(&org);
        } else {
            self.locked_orgs.insert(org);
        }
        Ok(())
    }

    /// Adds the client's address to those that get tokens, or removes it. Revokes nothing.
    pub(crate) fn set_ip_allowed(&mut self, org_id: &str, allowed: bool) -> Result<(), String> {
        let org = self.org_named(org_id)?;
        if allowed {
            self.ip_restricted_orgs.remove(&org);
        } else {
            self.ip_restricted_orgs.insert(org);
        }
        Ok(())
    }

    /// The org with this id, of 15 or 18 characters.
    pub(crate) fn org_named(&self, org_id: &str) -> Result<usize, String> {
        self.users
            .iter()
            .find(|user| user.org_id18 == org_id || (org_id.len() == 15 && user.org_id18.starts_with(org_id)))
            .map(|user| user.user.org)
            .ok_or_else(|| format!("there is no org {org_id}"))
    }

    /// Whether the user is active, in an org that is open.
    pub(crate) fn may_work(&self, user: usize) -> bool {
        self.users
            .get(user)
            .is_some_and(|user| user.active && !self.locked_orgs.contains(&user.user.org))
    }

    /// Why the token endpoint refuses this user, whatever was presented.
    pub(crate) fn barred(&self, user: usize) -> Option<(Outcome, OAuthError)> {
        let Some(user) = self.users.get(user).filter(|user| user.active) else {
            return Some((Outcome::InactiveUser, INACTIVE_USER));
        };
        if self.locked_orgs.contains(&user.user.org) {
            return Some((Outcome::InactiveOrg, INACTIVE_ORG));
        }
        self.ip_restricted_orgs
            .contains(&user.user.org)
            .then_some((Outcome::IpRestricted, IP_RESTRICTED))
    }
}
