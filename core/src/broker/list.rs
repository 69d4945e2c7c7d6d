//! Lists of connections, page by page. A cursor is sealed and bound to its filters.

use std::{
    collections::BTreeMap,
    future::{Future, IntoFuture},
    pin::Pin,
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::Broker;
use crate::{
    connection::{ConnectionView, Status},
    engine::ledger::record::Record,
    error::{Code, Error},
    id::{ConnectionId, IntegrationId},
    integration::Environment,
    store::{ConnectionFilter, StatusFilter, Stored},
    time::Timestamp,
    vault::{Purpose, SealContext, VaultError},
};

/// The largest page.
const MAX_LIMIT: u32 = 100;
/// The longest search text, in bytes.
const MAX_TEXT: usize = 512;
const CURSOR_LIFE_MS: i64 = 24 * 3600 * 1000;

/// A page of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct ConnectionPage {
    /// The connections, newest first.
    pub connections: Vec<ConnectionView>,
    /// Where the next page begins; `None` on the last one. `[A-Za-z0-9_-]`, good for a day.
    pub next_cursor: Option<String>,
}

/// A list to read. Await it.
#[derive(Clone, Debug)]
#[must_use = "await it to read"]
pub struct ListConnections {
    broker: Broker,
    filter: ConnectionFilter,
    limit: u32,
    cursor: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Cursor {
    before: ConnectionId,
    filter: [u8; 32],
    issued_at: Timestamp,
}

impl Broker {
    /// The connections of an integration, newest first. Deleted ones only when asked for.
    ///
    /// # Errors
    /// `cursor_invalid`, `cursor_mismatch`, `cursor_expired`, `limit_invalid`, `limit_too_large`, `filter_invalid`.
    pub fn connections(&self, integration: &IntegrationId) -> ListConnections {
        ListConnections {
            broker: self.clone(),
            filter: ConnectionFilter {
                integration: integration.clone(),
                status: StatusFilter::Live,
                environment: None,
                email_contains: None,
                owner: None,
                metadata: BTreeMap::new(),
            },
            limit: 20,
            cursor: None,
        }
    }
}

impl ListConnections {
    /// Only those with this status.
    pub fn status(mut self, status: Status) -> Self {
        self.filter.status = StatusFilter::Only(status);
        self
    }

    /// Only those in this environment.
    pub fn environment(mut self, environment: Environment) -> Self {
        self.filter.environment = Some(environment);
        self
    }

    /// Only those whose e-mail address has this substring, in any case. `%` and `_` stand for themselves.
    pub fn email_contains(mut self, text: &str) -> Self {
        self.filter.email_contains = (!text.is_empty()).then(|| text.to_lowercase());
        self
    }

    /// Only those of this owner.
    pub fn owner(mut self, owner: impl Into<String>) -> Self {
        self.filter.owner = Some(owner.into());
        self
    }

    /// Only those with this label. May be given several times.
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.filter.metadata.insert(key.into(), value.into());
        self
    }

    /// How many: 1 to 100, 20 by default.
    pub fn limit(mut self, limit: u32) -> Self {
        self.limit = limit;
        self
    }

    /// Goes on where an earlier page ended. The filters must be the same.
    pub fn cursor(mut self, cursor: impl Into<String>) -> Self {
        self.cursor = Some(cursor.into());
        self
    }

    async fn read(self) -> Result<ConnectionPage, Error> {
        match self.limit {
            0 => return Err(Code::LimitInvalid.into()),
            1..=MAX_LIMIT => {}
            _ => return Err(Code::LimitTooLarge.into()),
        }
        let filter = &self.filter;
        let texts = filter.email_contains.iter().chain(&filter.owner);
        let labels = filter.metadata.iter().flat_map(|(k, v)| [k, v]);
        if texts
            .chain(labels)
            .any(|t| t.len() > MAX_TEXT || t.contains('\0'))
        {
            return Err(Code::FilterInvalid.into());
        }
        let digest = digest(filter);
        let before = match &self.cursor {
            Some(cursor) => Some(self.open(cursor, &digest).await?),
            None => None,
        };
        let parts = &self.broker.parts;
        // A store that was copied, or that is being filled, shows a part of the truth.
        if let Ok(integration) = parts.directory.get(&filter.integration).await {
            integration.body.here()?;
        }
        let store = &parts.stores.connections;
        let page = store
            .list_connections(filter, before.as_ref(), self.limit)
            .await?;
        let shown = |item: &Stored| match Record::decode(item) {
            Ok(record) => record.view(item.hot),
            Err(error) => {
                tracing::error!(connection = %item.row.id, code = error.code().as_str(), "a connection cannot be read");
                Record::outline(item)
            }
        };
        let connections = page.items.iter().map(shown).collect();
        let next_cursor = match (page.more, page.items.last()) {
            (true, Some(last)) => Some(self.seal(last.row.id.clone(), digest).await?),
            _ => None,
        };
        Ok(ConnectionPage {
            connections,
            next_cursor,
        })
    }

    fn context(&self) -> SealContext<'_> {
        SealContext {
            purpose: Purpose::Cursor,
            integration: self.filter.integration.as_str(),
            subject: "",
            epoch: 0,
            generation: 0,
        }
    }

    async fn seal(&self, before: ConnectionId, filter: [u8; 32]) -> Result<String, Error> {
        let parts = &self.broker.parts;
        let cursor = Cursor {
            before,
            filter,
            issued_at: parts.clock.wall(),
        };
        let plain = serde_json::to_vec(&cursor).map_err(|_| Error::new(Code::Internal))?;
        let sealed = parts.vault.seal(&self.context(), &plain).await?;
        Ok(BASE64_URL_SAFE_NO_PAD.encode(sealed))
    }

    async fn open(&self, text: &str, filter: &[u8; 32]) -> Result<ConnectionId, Error> {
        if text.len() > 4096 {
            return Err(Code::CursorInvalid.into());
        }
        let sealed = BASE64_URL_SAFE_NO_PAD
            .decode(text)
            .map_err(|_| Code::CursorInvalid)?;
        let opened = match self.broker.parts.vault.open(&self.context(), &sealed).await {
            Ok(opened) => opened,
            Err(error @ VaultError::Unavailable(_)) => return Err(error.into()),
            Err(_) => return Err(Code::CursorInvalid.into()),
        };
        let cursor: Cursor = serde_json::from_slice(opened.expose()).map_err(|_| Code::CursorInvalid)?;
        if cursor.filter != *filter {
            return Err(Code::CursorMismatch.into());
        }
        if self.broker.parts.clock.wall().0 - cursor.issued_at.0 > CURSOR_LIFE_MS {
            return Err(Code::CursorExpired.into());
        }
        Ok(cursor.before)
    }
}

/// A digest of the filters, every field with its length, so that no two sets of filters look alike.
fn digest(filter: &ConnectionFilter) -> [u8; 32] {
    let ConnectionFilter {
        integration,
        status,
        environment,
        email_contains,
        owner,
        metadata,
    } = filter;
    let mut hash = Sha256::new();
    let mut field = |text: Option<&str>| {
        hash.update([u8::from(text.is_some())]);
        hash.update((text.unwrap_or_default().len() as u64).to_le_bytes());
        hash.update(text.unwrap_or_default().as_bytes());
    };
    field(Some(integration.as_str()));
    field(match status {
        StatusFilter::Live => None,
        StatusFilter::Only(status) => Some(status.as_str()),
    });
    field(environment.as_ref().map(Environment::as_str));
    field(email_contains.as_deref());
    field(owner.as_deref());
    for (key, value) in metadata {
        field(Some(key));
        field(Some(value));
    }
    hash.finalize().into()
}

impl IntoFuture for ListConnections {
    type Output = Result<ConnectionPage, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.read())
    }
}
