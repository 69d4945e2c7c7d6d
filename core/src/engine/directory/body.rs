//! The body of an integration's row.

use serde::{Deserialize, Serialize};

use crate::{
    error::{Code, Error},
    id::{IntegrationId, Slug},
    integration::{IntegrationState, NewIntegration, Offering, Options},
    store::{IntegrationRow, StoredIntegration},
    time::Timestamp,
    vault::{Purpose, SealContext},
};

/// What stands in the body of an integration's row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Body {
    pub(crate) name: String,
    pub(crate) offering: String,
    pub(crate) client_id: String,
    /// Sealed client secret, base64.
    pub(crate) secret: String,
    pub(crate) scopes: Vec<String>,
    pub(crate) redirect_uris: Vec<String>,
    pub(crate) monthly_limit: Option<u64>,
    pub(crate) options: Options,
    /// Client id and secret were verified with the provider.
    pub(crate) verified: bool,
    pub(crate) state_reason: String,
    pub(crate) switch: Switch,
    pub(crate) created_at: Timestamp,
    /// What a copy from store to store has to do with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) mark: Option<Mark>,
}

/// A copy of the whole store, as it stands in both of its stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mark {
    /// Random; the same in both stores, so that no third one is taken for one of them.
    pub(crate) copy: u128,
    #[serde(rename = "side")]
    pub(crate) role: Role,
}

/// What a store is to a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Role {
    /// The source: nothing is served or begun here any more.
    Moved,
    /// The target, while the copy runs: nothing is served or begun here yet.
    Arriving,
    /// The target, once everything is here.
    Arrived,
}

/// Whether an integration was switched off by hand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Switch {
    On,
    Disabled,
    Frozen(Freeze),
}

/// A freeze: nothing is served, nothing is refreshed, and every connection is revoked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Freeze {
    pub(crate) since: Timestamp,
    pub(crate) reason: String,
    /// Every connection is revoked here. Revocations owed to the provider are in their rows.
    pub(crate) done: bool,
}

impl Body {
    pub(crate) fn state(&self) -> IntegrationState {
        match self.switch {
            Switch::Disabled => IntegrationState::Disabled,
            Switch::Frozen(_) => IntegrationState::Frozen,
            Switch::On if self.verified => IntegrationState::Configured,
            Switch::On => IntegrationState::Draft,
        }
    }

    /// Puts in what was declared, but for the client secret.
    pub(super) fn declare(&mut self, new: &NewIntegration, offering: &Offering) {
        self.name.clone_from(&new.name);
        self.client_id.clone_from(&new.client_id);
        self.scopes.clone_from(if new.scopes.is_empty() {
            &offering.required_scopes
        } else {
            &new.scopes
        });
        self.redirect_uris.clone_from(&new.redirect_uris);
        self.monthly_limit = new.monthly_limit;
        self.options.clone_from(&new.options);
    }

    /// Why this store is not the one to use it in, if it is not.
    pub(crate) fn migrated(&self) -> Option<Code> {
        match self.mark?.role {
            Role::Moved => Some(Code::StoreMoved),
            Role::Arriving => Some(Code::StoreArriving),
            Role::Arrived => None,
        }
    }

    /// [`Body::migrated`] as an error.
    pub(crate) fn ensure_not_migrated(&self) -> Result<(), Error> {
        self.migrated().map_or(Ok(()), |code| Err(code.into()))
    }

    /// # Errors
    /// `internal`: it cannot be put into bytes. Nothing that could not be read again is ever written.
    pub(crate) fn encode(&self, id: &IntegrationId, slug: Option<&Slug>) -> Result<IntegrationRow, Error> {
        let body = serde_json::to_vec(self).map_err(|_| Error::new(Code::Internal).because("row_encode"))?;
        Ok(IntegrationRow {
            id: id.clone(),
            slug: slug.cloned(),
            body: body.into(),
        })
    }

    pub(crate) fn decode(stored: &StoredIntegration) -> Result<Self, Error> {
        serde_json::from_slice(&stored.row.body)
            .map_err(|_| Error::new(Code::StoreCorrupt).because("row_corrupt"))
    }
}

/// What a client secret is bound to.
pub(crate) fn secret_context(id: &IntegrationId) -> SealContext<'_> {
    SealContext {
        purpose: Purpose::ClientSecret,
        integration: id.as_str(),
        subject: "",
        epoch: 0,
        generation: 0,
    }
}
