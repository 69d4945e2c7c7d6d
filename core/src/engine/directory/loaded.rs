//! An integration in memory: decoded, with its secret opened and its provider.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use super::body::{Body, Switch};
use crate::{
    engine::{
        limits,
        upstream::{Target, breaker::Breaker},
    },
    error::{Code, Error},
    id::{IntegrationId, Slug},
    integration::{Client, IntegrationView, Offering},
    provider::Provider,
    secret::Secret,
    store::Revision,
};

/// What triggered a refresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// A caller wants to use the connection.
    Caller,
    /// The sweep keeps it alive.
    KeepAlive,
}

/// What the warm path needs to know of an integration. It outlives reloads, so that cached tokens see a change at once.
#[derive(Debug)]
pub(crate) struct ServingState {
    /// It never changes.
    slug: Option<Slug>,
    pub(super) serves: AtomicBool,
    /// Nothing is refreshed, either.
    pub(super) frozen: AtomicBool,
    /// Another store is the one to use it in.
    pub(super) migrated: AtomicBool,
    /// Opens when the provider refuses the client, so that 10,000 connections do not each ask.
    pub(crate) client: Breaker,
}

impl ServingState {
    pub(super) fn new(slug: Option<Slug>) -> Self {
        Self {
            slug,
            serves: AtomicBool::new(false),
            frozen: AtomicBool::new(false),
            migrated: AtomicBool::new(false),
            client: Breaker::new(limits::CLIENT_REFUSALS),
        }
    }

    #[inline]
    pub(crate) fn slug(&self) -> Option<&Slug> {
        self.slug.as_ref()
    }

    #[inline]
    pub(crate) fn serves(&self) -> bool {
        self.serves.load(Ordering::Relaxed)
    }
}

/// An integration, ready to be used.
pub(crate) struct Loaded {
    pub(crate) id: IntegrationId,
    pub(crate) body: Body,
    pub(crate) revision: Revision,
    pub(crate) secret: Secret,
    pub(crate) offering: Offering,
    pub(crate) provider: Arc<dyn Provider>,
    pub(crate) callback_url: String,
    pub(crate) serving: Arc<ServingState>,
    pub(crate) allow_loopback: bool,
    /// How many had been taken into memory before.
    pub(super) kept: u64,
}

impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loaded")
            .field("id", &self.id)
            .field("body", &self.body)
            .finish_non_exhaustive()
    }
}

impl Loaded {
    /// The integration as its provider sees it.
    pub(crate) fn client(&self) -> Client<'_> {
        Client {
            integration: &self.id,
            offering: &self.offering,
            client_id: &self.body.client_id,
            client_secret: &self.secret,
            scopes: &self.body.scopes,
            callback_url: &self.callback_url,
            options: &self.body.options,
            allow_loopback: self.allow_loopback,
        }
    }

    /// Whom to ask, and on whose behalf.
    pub(crate) fn target(&self) -> Target<'_> {
        Target {
            provider: &*self.provider,
            client: self.client(),
            breaker: &self.serving.client,
        }
    }

    /// How long its refresh tokens live unused, if the provider ends idle ones.
    pub(crate) fn idle_limit(&self) -> Option<Duration> {
        self.provider.idle_limit(&self.client())
    }

    /// The integration as the broker shows it.
    pub(crate) fn view(&self) -> IntegrationView {
        let body = &self.body;
        IntegrationView {
            id: self.id.clone(),
            slug: self.serving.slug().cloned(),
            name: body.name.clone(),
            offering: body.offering.clone(),
            client_id: body.client_id.clone(),
            scopes: body.scopes.clone(),
            redirect_uris: body.redirect_uris.clone(),
            monthly_limit: body.monthly_limit,
            options: body.options.clone(),
            state: body.state(),
            state_reason: match (&body.switch, body.migrated()) {
                (_, Some(away)) => away.as_str().to_owned(),
                (Switch::Frozen(freeze), None) => freeze.reason.clone(),
                (Switch::On | Switch::Disabled, None) => body.state_reason.clone(),
            },
            callback_url: self.callback_url.clone(),
            created_at: body.created_at,
        }
    }

    /// Whether its connections may be used.
    ///
    /// # Errors
    /// `store_moved`, `store_arriving`, `integration_disabled`, `integration_frozen`.
    pub(crate) fn usable(&self) -> Result<(), Error> {
        self.body.ensure_not_migrated()?;
        match self.body.switch {
            Switch::On => Ok(()),
            Switch::Disabled => Err(Code::IntegrationDisabled.into()),
            Switch::Frozen(_) => Err(Code::IntegrationFrozen.into()),
        }
    }

    /// Whether its refresh tokens may be presented: those of a disabled one are kept alive. The serving state is asked, since this
    /// is what was read when the refresh or the sweep's page began, and somebody may have switched it off since.
    ///
    /// # Errors
    /// As [`Loaded::usable`].
    pub(crate) fn may_refresh(&self, cause: Cause) -> Result<(), Error> {
        if self.serving.migrated.load(Ordering::Acquire) {
            return Err(self.body.migrated().unwrap_or(Code::StoreMoved).into());
        }
        if self.serving.frozen.load(Ordering::Acquire) {
            return Err(Code::IntegrationFrozen.into());
        }
        if cause == Cause::Caller && !self.serving.serves() {
            return Err(Code::IntegrationDisabled.into());
        }
        Ok(())
    }
}
