//! An authorization on its way to the client: through the pages, then as a code.

use crate::clock::Millis;

/// An authorization on its way through the pages.
#[derive(Debug, Clone, Default)]
pub(crate) struct Flow {
    pub(crate) client_id: String,
    pub(crate) redirect_uri: String,
    pub(crate) state: Option<String>,
    pub(crate) scopes: Vec<String>,
    pub(crate) login_hint: Option<String>,
    pub(crate) created_at: Millis,
    /// The browser must log in, even if it has a session.
    pub(crate) wants_login: bool,
    /// The browser must choose an account.
    pub(crate) wants_choice: bool,
    /// The user must allow the client, even if that happened before.
    pub(crate) wants_consent: bool,
    pub(crate) challenge: Option<String>,
    pub(crate) nonce: Option<String>,
    pub(crate) immediate: bool,
    /// The app lacks a requested scope; Salesforce says so only after the login.
    pub(crate) lacks_scope: bool,
}

/// An authorization code.
#[derive(Debug, Clone)]
pub(crate) struct Code {
    pub(crate) user: usize,
    pub(crate) client_id: String,
    pub(crate) redirect_uri: String,
    pub(crate) scope: String,
    pub(crate) challenge: Option<String>,
    pub(crate) nonce: Option<String>,
    pub(crate) issued_at: Millis,
    pub(crate) used: bool,
}
