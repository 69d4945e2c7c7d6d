//! What can be set when a store is opened.

use std::{fmt, time::Duration};

use redis::{Client, IntoConnectionInfo as _, TlsCertificates};
use url::Url;

use crate::{RedisStore, confirm::Confirm, error::OpenError, layout::Layout, link::Link, schema};

/// Opens a store with other settings than the usual ones.
#[derive(Clone)]
pub struct RedisBuilder {
    address: String,
    prefix: Option<String>,
    limit: Duration,
    replicas: Option<(u32, Duration)>,
    accept_loss: bool,
    must_exist: bool,
    root: Option<Vec<u8>>,
}

impl RedisBuilder {
    pub(crate) fn new(address: &str) -> Self {
        Self {
            address: address.to_owned(),
            prefix: None,
            limit: Duration::from_secs(5),
            replicas: None,
            accept_loss: false,
            must_exist: false,
            root: None,
        }
    }

    /// What all keys begin with, so that stores and other programs can share a database; `grantry` unless set. The
    /// address can name it too, as `?prefix=`.
    pub fn key_prefix(mut self, prefix: &str) -> Self {
        self.prefix = Some(prefix.to_owned());
        self
    }

    /// How long a call waits for the server, with connecting; 5 seconds unless set. After that it fails, and of a write
    /// nobody knows what became of it.
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Acknowledges a new connection, and every change of one, when this many replicas have it, so that a primary that
    /// dies does not take it along. It waits for them no longer than `within`: then the write is acknowledged all the
    /// same, and [`RedisStore::unconfirmed`] counts it.
    pub fn wait_for_replicas(mut self, replicas: u32, within: Duration) -> Self {
        self.replicas = (replicas > 0).then_some((replicas, within));
        self
    }

    /// Opens the store on a server that has neither an append-only file nor a replica, too. A restart of it loses every
    /// connection.
    pub fn accept_loss(mut self, accept: bool) -> Self {
        self.accept_loss = accept;
        self
    }

    /// Refuses a server that has no store under the key prefix, and writes nothing to it.
    pub fn must_exist(mut self, must: bool) -> Self {
        self.must_exist = must;
        self
    }

    /// The root certificates to trust for `rediss://`, as PEM, in place of the system's.
    pub fn root_certificates(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.root = Some(pem.into());
        self
    }

    /// Connects and looks at the server's settings. A store that is not there is made, unless it must exist.
    ///
    /// For `rediss://` the process's default cryptography of rustls is used; where none was chosen, `ring` is.
    ///
    /// # Errors
    /// [`OpenError`] says what is wrong with the server and what to do about it.
    ///
    /// # Cancel safety
    /// A store that was being made is whole or will be completed by the next opening.
    pub async fn open(self) -> Result<RedisStore, OpenError> {
        let (client, server, prefix) = self.client()?;
        let confirm = self.replicas.map(|(replicas, within)| {
            let limit = self.limit.saturating_add(within);
            Confirm::new(Link::new(client.clone(), limit), replicas, within)
        });
        let link = Link::new(client, self.limit);
        let layout = Layout::new(prefix);
        let advice = schema::open(&link, &layout, &server, self.accept_loss, self.must_exist).await?;
        for advice in &advice {
            tracing::warn!(code = advice.code(), server, "{advice}");
        }
        Ok(RedisStore::new(link, layout, confirm, advice))
    }

    /// The driver's client, the server's name for messages, and the prefix.
    fn client(&self) -> Result<(Client, String, String), OpenError> {
        let bad = |reason| OpenError::BadAddress { reason };
        let mut url = Url::parse(&self.address).map_err(|_| bad("it is not a URL"))?;
        let tls = match url.scheme() {
            "redis" => false,
            "rediss" => true,
            _ => return Err(bad("it begins with neither redis:// nor rediss://")),
        };
        let host = url.host_str().filter(|host| !host.is_empty());
        let host = host.ok_or_else(|| bad("it names no host"))?;
        let server = format!("{host}:{}", url.port().unwrap_or(6379));
        let mut prefix = self.prefix.clone();
        for (name, value) in url.query_pairs() {
            if name != "prefix" {
                return Err(bad(
                    "it has a parameter that is not known; the only one is prefix",
                ));
            }
            prefix.get_or_insert_with(|| value.into_owned());
        }
        if url.fragment().is_some() {
            return Err(bad("it has a fragment, which would choose unsafe TLS"));
        }
        let prefix = prefix.unwrap_or_else(|| "grantry".to_owned());
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.:".contains(&byte);
        if prefix.is_empty() || !prefix.bytes().all(allowed) {
            return Err(bad(
                "the key prefix has other characters than letters, digits and _-.:",
            ));
        }
        url.set_query(None);
        let info = url
            .into_connection_info()
            .map_err(|_| bad("its user, password or database number cannot be read"))?;
        let client = if tls {
            if rustls::crypto::CryptoProvider::get_default().is_none() {
                // The driver takes the default and would make one itself, or panic where it cannot choose.
                let _ = rustls::crypto::ring::default_provider().install_default();
            }
            let certificates = TlsCertificates {
                client_tls: None,
                root_cert: self.root.clone(),
            };
            Client::build_with_tls(info, certificates)
                .map_err(|_| bad("the root certificates cannot be read"))
        } else {
            Client::open(info).map_err(|_| bad("it cannot be read"))
        };
        Ok((client?, server, prefix))
    }
}

/// Without the address, which may have a password.
impl fmt::Debug for RedisBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisBuilder")
            .field("prefix", &self.prefix)
            .field("time_limit", &self.limit)
            .field("wait_for_replicas", &self.replicas)
            .field("accept_loss", &self.accept_loss)
            .field("must_exist", &self.must_exist)
            .finish_non_exhaustive()
    }
}
