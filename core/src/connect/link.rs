//! Connect and reconnect links: sealed, so that they need no row until they are used, and usable once.

use std::{collections::BTreeMap, fmt, sync::Arc};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{BeginConnect, Binding, check_metadata, check_owner, connector::Connector};
use crate::{
    engine::limits::{LINK_BYTES, LINK_LIFE},
    error::{Code, Error},
    id::{ConnectionId, IntegrationId, IntegrationRef},
    oauth::RedirectUri,
    random,
    store::{PendingRow, Put},
    time::Timestamp,
    vault::{Purpose, SealContext, VaultError},
};

/// What a connect link carries.
///
/// ```
/// let link = grantry::connect::NewLink::default().owner("user-42").redirect_uri("https://app.example.com/done");
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct NewLink {
    /// The host's own id of its user.
    pub owner: String,
    /// The host's labels.
    pub metadata: BTreeMap<String, String>,
    /// Where to send the browser afterwards: one of the integration's redirect URIs.
    pub redirect_uri: Option<String>,
}

impl NewLink {
    /// The host's own id of its user. Up to 256 characters.
    #[must_use]
    pub fn owner(mut self, owner: impl Into<String>) -> Self {
        self.owner = owner.into();
        self
    }

    /// The host's labels. At most 32, keys of up to 64 and values of up to 512 characters.
    #[must_use]
    pub fn metadata(mut self, metadata: BTreeMap<String, String>) -> Self {
        self.metadata = metadata;
        self
    }

    /// Where to send the browser afterwards: one of the integration's redirect URIs.
    #[must_use]
    pub fn redirect_uri(mut self, uri: impl Into<String>) -> Self {
        self.redirect_uri = Some(uri.into());
        self
    }
}

/// A link that can be used once.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Link {
    /// The URL to give to the user. Anyone who has it can use it.
    pub url: String,
    /// From then on it cannot be used.
    pub expires_at: Timestamp,
}

impl Link {
    /// A link, for those who implement [`Connection`](crate::Connection).
    pub fn new(url: impl Into<String>, expires_at: Timestamp) -> Self {
        Self {
            url: url.into(),
            expires_at,
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum LinkKind {
    Connect {
        owner: String,
        metadata: BTreeMap<String, String>,
        redirect_uri: Option<String>,
    },
    Reconnect {
        connection: ConnectionId,
        /// Only if it still belongs to this owner.
        #[serde(default)]
        owner: Option<String>,
        /// The host made it, and not somebody behind the owner's door.
        #[serde(default)]
        by_host: bool,
    },
}

#[derive(Debug, Serialize, Deserialize)]
struct Sealed {
    kind: LinkKind,
    expires_at: Timestamp,
    /// Makes links with the same content distinct.
    nonce: u128,
}

/// The key under which a used link is remembered.
fn digest(token: &str) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(b"grantry link\0");
    hash.update(token.as_bytes());
    hash.finalize().into()
}

fn context(integration: &IntegrationId) -> SealContext<'_> {
    SealContext {
        purpose: Purpose::Link,
        integration: integration.as_str(),
        subject: "",
        epoch: 0,
        generation: 0,
    }
}

impl Connector {
    /// A one-use link that connects a new account.
    pub(crate) async fn connect_link(
        &self,
        integration: &IntegrationRef,
        link: NewLink,
    ) -> Result<Link, Error> {
        check_owner(&link.owner)?;
        check_metadata(&link.metadata)?;
        let loaded = self.directory.find(integration).await?;
        if let Some(uri) = &link.redirect_uri {
            RedirectUri::choose(&loaded.body.redirect_uris, uri)?;
        }
        let NewLink {
            owner,
            metadata,
            redirect_uri,
        } = link;
        self.seal_link(
            &loaded.id,
            LinkKind::Connect {
                owner,
                metadata,
                redirect_uri,
            },
        )
        .await
    }

    /// A one-use link that reconnects an existing connection.
    pub(crate) async fn seal_link(&self, integration: &IntegrationId, kind: LinkKind) -> Result<Link, Error> {
        let expires_at = self.clock.wall() + LINK_LIFE;
        let plain = serde_json::to_vec(&Sealed {
            kind,
            expires_at,
            nonce: random::id()?,
        })
        .map_err(|_| Error::new(Code::Internal))?;
        let sealed = self.vault.seal(&context(integration), &plain).await?;
        let token = BASE64_URL_SAFE_NO_PAD.encode(sealed);
        let url = format!("{}/connect/{integration}?link={token}", self.public_url);
        Ok(Link { url, expires_at })
    }

    /// Consumes a link, and prepares the attempt that it stands for.
    pub(crate) async fn begin_link(
        self: &Arc<Self>,
        integration: &IntegrationRef,
        token: &str,
        binding: Binding,
    ) -> Result<BeginConnect, Error> {
        if token.len() > LINK_BYTES {
            return Err(Code::LinkInvalid.into());
        }
        let sealed = BASE64_URL_SAFE_NO_PAD
            .decode(token)
            .map_err(|_| Code::LinkInvalid)?;
        let integration = self.directory.id_of(integration).await?;
        let opened = match self.vault.open(&context(&integration), &sealed).await {
            Ok(opened) => opened,
            Err(error @ VaultError::Unavailable(_)) => return Err(error.into()),
            Err(_) => return Err(Code::LinkInvalid.into()),
        };
        let link: Sealed = serde_json::from_slice(opened.expose()).map_err(|_| Code::LinkInvalid)?;
        if self.clock.wall() >= link.expires_at {
            return Err(Code::LinkExpired.into());
        }
        let marker = PendingRow {
            key: digest(token),
            guard: [0; 32],
            expires_at: link.expires_at,
            body: bytes::Bytes::new(),
        };
        if self.pending.put_pending(&marker).await? == Put::Occupied {
            return Err(Code::LinkUsed.into());
        }
        let begin = BeginConnect::new(self.clone(), integration.into(), binding);
        Ok(match link.kind {
            LinkKind::Connect {
                owner,
                metadata,
                redirect_uri,
            } => {
                let begin = begin.owner(owner).metadata(metadata);
                match redirect_uri {
                    Some(uri) => begin.return_to(uri),
                    None => begin,
                }
            }
            LinkKind::Reconnect {
                connection,
                owner,
                by_host,
            } => {
                let begin = match owner {
                    Some(owner) if by_host => begin.owner(owner),
                    Some(owner) => begin.behind(&owner),
                    None => begin,
                };
                begin.reconnect(connection)
            }
        })
    }
}
