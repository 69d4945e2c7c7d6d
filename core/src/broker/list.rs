//! Lists of connections, page by page. A cursor is sealed and bound to its filters.

use std::{
    fmt,
    future::{Future, IntoFuture},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use futures_util::{
    Stream, StreamExt as _, TryStreamExt as _,
    stream::{self, BoxStream},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::parts::Parts;
use crate::{
    account::{ConnectionPage, ConnectionQuery},
    connection::{ConnectionView, Status},
    engine::{
        ledger::record::Record,
        limits::{CURSOR_LIFE, LIST_PAGE, LIST_PAGE_MAX, LIST_TEXT},
        pages::pages,
    },
    error::{Code, Error},
    id::{ConnectionId, IntegrationId, IntegrationRef},
    integration::Environment,
    store::{ConnectionFilter, Page, StatusFilter, Stored},
    time::Timestamp,
    vault::{Purpose, SealContext, VaultError},
};

/// A list to read: await it for a page, or [`stream`](ListConnections::stream) all of it.
#[derive(Clone, Debug)]
#[must_use = "await it to read"]
pub struct ListConnections {
    parts: Arc<Parts>,
    integration: IntegrationRef,
    /// The owner, if the list was made through one.
    door: Option<Arc<str>>,
    query: ConnectionQuery,
}

#[derive(Serialize, Deserialize)]
struct Cursor {
    before: ConnectionId,
    filter: [u8; 32],
    issued_at: Timestamp,
}

impl ListConnections {
    pub(super) fn new(parts: Arc<Parts>, integration: IntegrationRef, door: Option<Arc<str>>) -> Self {
        Self {
            parts,
            integration,
            door,
            query: ConnectionQuery::default(),
        }
    }

    /// Replaces all conditions.
    pub fn query(mut self, query: ConnectionQuery) -> Self {
        self.query = query;
        self
    }

    /// Only those with this status.
    pub fn status(mut self, status: Status) -> Self {
        self.query.status = Some(status);
        self
    }

    /// Only those in this environment.
    pub fn environment(mut self, environment: Environment) -> Self {
        self.query.environment = Some(environment);
        self
    }

    /// Only those whose e-mail address has this substring, in any case. `%` and `_` are literal.
    pub fn email_contains(mut self, text: &str) -> Self {
        text.clone_into(&mut self.query.email_contains);
        self
    }

    /// Only those of this owner. A list made through another owner is then empty.
    pub fn owner(mut self, owner: impl Into<String>) -> Self {
        self.query.owner = Some(owner.into());
        self
    }

    /// Only those with this label. May be given several times.
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.query.metadata.insert(key.into(), value.into());
        self
    }

    /// Page size, 1 to 100; 20 by default.
    pub fn limit(mut self, limit: u32) -> Self {
        self.query.limit = Some(limit);
        self
    }

    /// Continues where an earlier page ended. The filters must be the same.
    pub fn cursor(mut self, cursor: impl Into<String>) -> Self {
        self.query.cursor = Some(cursor.into());
        self
    }

    /// The whole list, newest first, fetched lazily in pages of 100 unless a limit is given. Connections made meanwhile may
    /// be missing; none is returned twice.
    pub fn stream(self) -> ConnectionStream {
        let list = Arc::new(self);
        let fetch = move |before: Option<ConnectionId>| {
            let list = list.clone();
            async move {
                let Some(asked) = list.ask(LIST_PAGE_MAX, before.is_none()).await? else {
                    return Ok::<_, Error>((Vec::new(), None));
                };
                let page = list
                    .rows(&asked, before.as_ref().or(asked.before.as_ref()))
                    .await?;
                let next = page.items.last().map(|last| last.row.id.clone());
                let shown: Vec<_> = page.items.iter().map(|row| Ok(shown(row))).collect();
                Ok((shown, next.filter(|_| page.more)))
            }
        };
        ConnectionStream(pages(fetch).map_ok(stream::iter).try_flatten().boxed())
    }

    async fn read(self) -> Result<ConnectionPage, Error> {
        let Some(asked) = self.ask(LIST_PAGE, true).await? else {
            return Ok(ConnectionPage::new(Vec::new(), None));
        };
        let page = self.rows(&asked, asked.before.as_ref()).await?;
        let next_cursor = match (page.more, page.items.last()) {
            (true, Some(last)) => Some(self.seal(last.row.id.clone(), &asked).await?),
            _ => None,
        };
        Ok(ConnectionPage::new(
            page.items.iter().map(shown).collect(),
            next_cursor,
        ))
    }

    /// The store's query; `None` if the list is certainly empty. The cursor says only where the list begins.
    async fn ask(&self, usual: u32, first: bool) -> Result<Option<Asked>, Error> {
        let query = &self.query;
        let limit = match query.limit.unwrap_or(usual) {
            0 => return Err(Code::LimitInvalid.into()),
            limit @ 1..=LIST_PAGE_MAX => limit,
            _ => return Err(Code::LimitTooLarge.into()),
        };
        let owner = match (&self.door, &query.owner) {
            (Some(door), _) if door.is_empty() => return Ok(None),
            (Some(door), Some(owner)) if **owner != **door => return Ok(None),
            (Some(door), _) => Some(door.as_ref().to_owned()),
            (None, owner) => owner.clone(),
        };
        let email = query.email_contains.to_lowercase();
        let filter = ConnectionFilter {
            integration: self.parts.directory.id_of(&self.integration).await?,
            status: query.status.map_or(StatusFilter::Live, StatusFilter::Only),
            environment: query.environment,
            email_contains: Some(email).filter(|text| !text.is_empty()),
            owner,
            metadata: query.metadata.clone(),
        };
        let texts = filter.email_contains.iter().chain(&filter.owner);
        let labels = filter.metadata.iter().flat_map(|(k, v)| [k, v]);
        if texts
            .chain(labels)
            .any(|t| t.len() > LIST_TEXT || t.contains('\0'))
        {
            return Err(Code::FilterInvalid.into());
        }
        let digest = digest(&filter);
        let before = match &query.cursor {
            Some(cursor) if first => Some(self.open(cursor, &filter.integration, &digest).await?),
            _ => None,
        };
        Ok(Some(Asked {
            filter,
            digest,
            limit,
            before,
        }))
    }

    async fn rows(&self, asked: &Asked, before: Option<&ConnectionId>) -> Result<Page<Stored>, Error> {
        // A store that was copied, or that is being filled, shows a part of the truth.
        if let Ok(integration) = self.parts.directory.get(&asked.filter.integration).await {
            integration.body.ensure_not_migrated()?;
        }
        let store = &self.parts.stores.connections;
        Ok(store.list_connections(&asked.filter, before, asked.limit).await?)
    }

    async fn seal(&self, before: ConnectionId, asked: &Asked) -> Result<String, Error> {
        let cursor = Cursor {
            before,
            filter: asked.digest,
            issued_at: self.parts.clock.wall(),
        };
        let plain = serde_json::to_vec(&cursor).map_err(|_| Error::new(Code::Internal))?;
        let context = cursor_context(&asked.filter.integration);
        let sealed = self.parts.vault.seal(&context, &plain).await?;
        Ok(BASE64_URL_SAFE_NO_PAD.encode(sealed))
    }

    async fn open(
        &self,
        text: &str,
        integration: &IntegrationId,
        filter: &[u8; 32],
    ) -> Result<ConnectionId, Error> {
        if text.len() > 4096 {
            return Err(Code::CursorInvalid.into());
        }
        let sealed = BASE64_URL_SAFE_NO_PAD
            .decode(text)
            .map_err(|_| Code::CursorInvalid)?;
        let opened = match self.parts.vault.open(&cursor_context(integration), &sealed).await {
            Ok(opened) => opened,
            Err(error @ VaultError::Unavailable(_)) => return Err(error.into()),
            Err(_) => return Err(Code::CursorInvalid.into()),
        };
        let cursor: Cursor = serde_json::from_slice(opened.expose()).map_err(|_| Code::CursorInvalid)?;
        if cursor.filter != *filter {
            return Err(Code::CursorMismatch.into());
        }
        if cursor.issued_at.until(self.parts.clock.wall()) > CURSOR_LIFE {
            return Err(Code::CursorExpired.into());
        }
        Ok(cursor.before)
    }
}

fn cursor_context(integration: &IntegrationId) -> SealContext<'_> {
    SealContext {
        purpose: Purpose::Cursor,
        integration: integration.as_str(),
        subject: "",
        epoch: 0,
        generation: 0,
    }
}

/// A checked query.
struct Asked {
    filter: ConnectionFilter,
    digest: [u8; 32],
    limit: u32,
    before: Option<ConnectionId>,
}

fn shown(item: &Stored) -> ConnectionView {
    match Record::decode(item) {
        Ok(record) => record.view(item.hot),
        Err(error) => {
            tracing::error!(connection = %item.row.id, code = error.code().as_str(), "a connection's row cannot be read");
            Record::outline(item)
        }
    }
}

/// A digest of the filters, every field with its length, so that different filters never have the same digest.
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

/// All connections of a list, one after the other. It ends after an error.
#[must_use = "a stream does nothing until it is read"]
pub struct ConnectionStream(BoxStream<'static, Result<ConnectionView, Error>>);

impl ConnectionStream {
    /// The next connection; `None` after the last, and after an error.
    ///
    /// # Errors
    /// Those of a page of the same list.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing: the page that was being read stays in the stream.
    pub async fn next(&mut self) -> Option<Result<ConnectionView, Error>> {
        self.0.next().await
    }
}

impl Stream for ConnectionStream {
    type Item = Result<ConnectionView, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(cx)
    }
}

impl fmt::Debug for ConnectionStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ConnectionStream")
    }
}
