//! What the writer of an old store knew: its `known.json`.

use std::{fs, path::Path};

use grantry::id::{ConnectionId, IntegrationId};
use serde_json::Value;

/// A living grant at the provider.
pub(super) struct Grant {
    pub(super) user: String,
    pub(super) refresh_token: String,
}

#[derive(Clone)]
pub(super) struct Known(Value);

impl Known {
    pub(super) fn of(folder: &Path) -> Self {
        let text = fs::read_to_string(folder.join("known.json")).unwrap();
        Self(serde_json::from_str(&text).unwrap())
    }

    fn text(&self, pointer: &str) -> String {
        let found = self.0.pointer(pointer).and_then(Value::as_str);
        found.unwrap_or_else(|| panic!("nothing at {pointer}")).to_owned()
    }

    pub(super) fn written_at(&self) -> i64 {
        self.0["written_at"].as_i64().unwrap()
    }

    pub(super) fn keyring(&self) -> String {
        self.text("/keyring")
    }

    pub(super) fn public_url(&self) -> String {
        self.text("/public_url")
    }

    /// Every integration with its connections, as the older version showed them.
    pub(super) fn integrations(&self) -> &Value {
        &self.0["integrations"]
    }

    pub(super) fn integration(&self, name: &str) -> IntegrationId {
        self.text(&format!("/integrations/{name}/id")).parse().unwrap()
    }

    /// The callbacks registered with the provider.
    pub(super) fn callbacks(&self) -> Vec<String> {
        let names = self.integrations().as_object().unwrap().keys();
        names
            .map(|name| format!("{}/callback/{}", self.public_url(), self.integration(name)))
            .collect()
    }

    /// The id of the connection in this state.
    pub(super) fn connection(&self, case: &str) -> ConnectionId {
        self.text(&format!("/connections/{case}")).parse().unwrap()
    }

    pub(super) fn user(&self, case: &str) -> String {
        self.text(&format!("/grants/{case}/user"))
    }

    /// The provider's identity URL of this user.
    pub(super) fn identity(&self, case: &str) -> String {
        self.text(&format!("/grants/{case}/identity"))
    }

    /// The grants whose stored refresh token is the living one.
    pub(super) fn grants(&self) -> impl Iterator<Item = Grant> {
        let grants = self.0["grants"].as_object().unwrap().values();
        grants.filter_map(|grant| {
            Some(Grant {
                user: grant["user"].as_str()?.to_owned(),
                refresh_token: grant["refresh_token"].as_str()?.to_owned(),
            })
        })
    }

    /// API keys, and what each was good for.
    pub(super) fn keys(&self) -> impl Iterator<Item = (String, String)> {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let keys = self.0["keys"].as_object().unwrap().values();
        keys.map(move |key| (text(&key["key"]), text(&key["is"])))
    }

    pub(super) fn usage(&self) -> &Value {
        &self.0["usage"]
    }

    /// The authorize URL of the connect attempt under way, and what it is bound to.
    pub(super) fn attempt(&self) -> (String, String) {
        (self.text("/attempt/url"), self.text("/attempt/binding"))
    }

    /// The used or the unused link.
    pub(super) fn link(&self, which: &str) -> String {
        self.text(&format!("/links/{which}"))
    }
}
