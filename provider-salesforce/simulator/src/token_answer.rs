//! The response to a successful token request, and its formats.

use http::HeaderMap;
use http::header::ACCEPT;
use serde_json::{Map, Value};
use url::form_urlencoded;

use crate::clock::Millis;
use crate::http::{FORM, Form, JSON};
use crate::id_token::Claims;
use crate::ids::signature;
use crate::state::{Auth, Shared};

/// A token response, except for the signing, which is done outside the lock.
#[derive(Debug)]
pub(crate) struct Draft {
    fields: Map<String, Value>,
    claims: Option<Claims>,
    omit: Vec<String>,
    extra: Map<String, Value>,
}

impl Draft {
    /// Issues an access token to a family and drafts the answer.
    pub(crate) fn issue(
        shared: &Shared,
        auth: &mut Auth,
        index: usize,
        with_refresh_token: bool,
        now: Millis,
    ) -> Option<Self> {
        let access_token = auth.issue_access_token(index, now);
        let family = auth.families.get(index)?;
        let user = auth.users.get(family.user)?;
        let secret = auth
            .clients
            .get(&family.client_id)
            .map_or("", |client| client.client_secret.as_str());
        let settings = &auth.settings;
        let id = settings.id.clone().unwrap_or_else(|| shared.identity_url(user));
        let issued_at = now.to_string();
        let signature = settings
            .signature
            .clone()
            .unwrap_or_else(|| signature(secret, &id, &issued_at));
        let mut instance_url = settings
            .instance_url
            .clone()
            .unwrap_or_else(|| shared.instance_url.clone());
        if settings.instance_url_slash && !instance_url.ends_with('/') {
            instance_url.push('/');
        }
        let claims = family.has_scope("openid").then(|| Claims {
            issuer: shared.login_url.clone(),
            subject: id.clone(),
            audience: family.client_id.clone(),
            nonce: family.nonce.clone(),
            access_token: access_token.clone(),
            issued_at: now,
        });
        let mut fields = Map::new();
        let mut put = |name: &str, value: String| fields.insert(name.to_owned(), Value::String(value));
        put("access_token", access_token);
        if let Some(living) = family.refresh.as_ref().filter(|_| with_refresh_token) {
            put("refresh_token", living.token.clone());
        }
        put("signature", signature);
        put("scope", family.scope.clone());
        put("instance_url", instance_url);
        put("id", id);
        put("token_type", "Bearer".to_owned());
        put("issued_at", issued_at);
        Some(Self {
            fields,
            claims,
            omit: settings.omit_fields.clone(),
            extra: settings.extra_fields.clone(),
        })
    }

    /// Signs the id token, and removes and adds fields as the settings say.
    pub(crate) fn finish(self, shared: &Shared) -> Map<String, Value> {
        let mut fields = self.fields;
        if let Some(token) = self.claims.and_then(|claims| shared.signer.sign(&claims)) {
            fields.insert("id_token".to_owned(), Value::String(token));
        }
        for name in &self.omit {
            fields.remove(name);
        }
        fields.extend(self.extra);
        fields
    }
}

/// The formats of the token endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Json,
    Form,
    Xml,
}

impl Format {
    /// The format that the form requests, else that of the `Accept` header, else JSON.
    pub(crate) fn of(form: &Form, headers: &HeaderMap) -> Self {
        let accept = headers
            .get(ACCEPT)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        match form.get("format") {
            Some("urlencoded") => Self::Form,
            Some("xml") => Self::Xml,
            None if accept.starts_with(FORM) => Self::Form,
            None if accept.starts_with("application/xml") => Self::Xml,
            _ => Self::Json,
        }
    }

    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Json => JSON,
            Self::Form => FORM,
            Self::Xml => "application/xml;charset=UTF-8",
        }
    }

    pub(crate) fn render(self, fields: &Map<String, Value>) -> Vec<u8> {
        let pairs = fields.iter().map(|(name, value)| {
            (
                name.as_str(),
                value.as_str().map_or_else(|| value.to_string(), str::to_owned),
            )
        });
        match self {
            Self::Json => serde_json::to_vec(fields).unwrap_or_default(),
            Self::Form => form_urlencoded::Serializer::new(String::new())
                .extend_pairs(pairs)
                .finish()
                .into_bytes(),
            Self::Xml => {
                let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?><OAuth>");
                for (name, value) in pairs {
                    let value = value
                        .replace('&', "&amp;")
                        .replace('<', "&lt;")
                        .replace('>', "&gt;");
                    text.extend(["<", name, ">", &value, "</", name, ">"]);
                }
                text.push_str("</OAuth>");
                text.into_bytes()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_chosen_and_written() {
        let headers = HeaderMap::new();
        let mut fields = Map::new();
        fields.insert("error".to_owned(), Value::from("a&b"));
        let render = |query: &str| {
            let format = Format::of(&Form::parse(query.as_bytes()), &headers);
            String::from_utf8(format.render(&fields)).unwrap()
        };
        assert_eq!(render(""), r#"{"error":"a&b"}"#);
        assert_eq!(render("format=urlencoded"), "error=a%26b");
        assert!(render("format=xml").ends_with("<OAuth><error>a&amp;b</error></OAuth>"));
    }
}
