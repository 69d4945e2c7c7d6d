//! Opening a store, and the settings for that.

use std::{fmt, time::Duration};

use crate::{
    RedisStore, address::Address, confirm::Confirm, dial::Trust, error::OpenError, run::SeenReplicas, schema,
};

/// Opens a store with settings other than the defaults.
#[derive(Clone)]
pub struct RedisBuilder {
    address: String,
    prefix: Option<String>,
    limit: Duration,
    replicas: Option<u32>,
    confirm_within: Duration,
    accept_loss: bool,
    must_exist: bool,
    trust: Trust,
}

impl RedisStore {
    /// Opens the store at this address with default settings, and creates it if it does not exist.
    ///
    /// # Errors
    /// As [`RedisBuilder::open`].
    ///
    /// # Cancel safety
    /// As [`RedisBuilder::open`].
    pub async fn open(address: &str) -> Result<Self, OpenError> {
        Self::builder(address).open().await
    }

    /// Settings for opening the store.
    pub fn builder(address: &str) -> RedisBuilder {
        RedisBuilder {
            address: address.to_owned(),
            prefix: None,
            limit: Duration::from_secs(5),
            replicas: None,
            confirm_within: Duration::from_secs(2),
            accept_loss: false,
            must_exist: false,
            trust: Trust::default(),
        }
    }
}

impl RedisBuilder {
    /// The prefix of all keys, so that several stores and other programs can share a database; `grantry` by default.
    /// The address can name it too, as `?prefix=`.
    pub fn key_prefix(mut self, prefix: &str) -> Self {
        self.prefix = Some(prefix.to_owned());
        self
    }

    /// How long a call may take, including connecting; 5 seconds by default. After that it fails, and the outcome of
    /// a write is unknown.
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// How many replicas must hold a lease before its token is presented, and a new token set before it counts as
    /// saved. By default one, wherever the primary has or had replicas: a primary that lost all of its replicas may
    /// have been cut off and replaced, so that writes to it are lost. A primary that just took over or restarted gets
    /// ten seconds to attach a replica; after that it is taken for the only server left. If the last replica was
    /// removed for good, reopen the store. With 0 nothing waits for replicas, and a failover may cost grants. The
    /// address can name it too, as `?wait_for_replicas=`.
    ///
    /// With several replicas, their number is the safest setting: whichever replica takes over then has the lease,
    /// even if an operator orders a failover of a healthy primary. The price is that nothing is refreshed while a
    /// replica is down.
    pub fn wait_for_replicas(mut self, replicas: u32) -> Self {
        self.replicas = Some(replicas);
        self
    }

    /// How long replicas, and from Redis 7.2 on the primary's disk, may take to acknowledge a write; 2 seconds by
    /// default. After that a lease is given back, a new token set counts as unsaved, and [`RedisStore::unconfirmed`]
    /// is incremented.
    pub fn confirm_within(mut self, limit: Duration) -> Self {
        self.confirm_within = limit;
        self
    }

    /// Accepts a server that has neither an append-only file nor a replica. Restarting it loses every connection.
    pub fn accept_loss(mut self, accept: bool) -> Self {
        self.accept_loss = accept;
        self
    }

    /// Refuses a server that holds no store under the key prefix, and writes nothing to it.
    pub fn must_exist(mut self, must: bool) -> Self {
        self.must_exist = must;
        self
    }

    /// The root certificates for `rediss://`, in PEM, instead of the system's.
    pub fn root_certificates(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.trust.root = Some(pem.into());
        self
    }

    /// The client certificate for `rediss://` and its key, both in PEM. Redis requires one unless `tls-auth-clients`
    /// is `no`, and closes connections without one.
    pub fn client_certificate(mut self, certificate: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        self.trust.own = Some((certificate.into(), key.into()));
        self
    }

    /// Connects and checks the server's settings. Creates the store if there is none, unless it must exist.
    ///
    /// `rediss://` uses the process's default rustls crypto provider, or `ring` if none was installed.
    ///
    /// # Errors
    /// [`OpenError`] says what is wrong with the server and what to do about it.
    ///
    /// # Cancel safety
    /// A store that was being created is either complete or will be completed by the next opening.
    pub async fn open(self) -> Result<RedisStore, OpenError> {
        let address = Address::read(&self.address, self.trust)?;
        let prefix = self.prefix.or_else(|| address.prefix.clone());
        let prefix = prefix.unwrap_or_else(|| "grantry".to_owned());
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.:".contains(&byte);
        if prefix.is_empty() || !prefix.bytes().all(allowed) {
            let reason = "the key prefix has characters other than letters, digits and _-.:";
            return Err(OpenError::BadAddress { reason });
        }
        let seen = SeenReplicas::default();
        let link = address.link(self.limit, &seen)?;
        let waiting = address.link(self.limit + 2 * self.confirm_within, &seen)?;
        let replicas = self.replicas.or(address.replicas);
        let confirm = Confirm::new(waiting, replicas, self.confirm_within);
        let server = address.name();
        let looked = schema::open(&link, &prefix, &server, self.accept_loss, self.must_exist);
        // Boxed, because the future is large and the caller's compiler would lay out every layer of it.
        let (layout, advice) = Box::pin(looked).await?;
        for advice in &advice {
            tracing::warn!(code = advice.code(), server, "{advice}");
        }
        Ok(RedisStore::new(link, layout, confirm, advice))
    }
}

/// Leaves the address out: it may contain a password.
impl fmt::Debug for RedisBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisBuilder")
            .field("prefix", &self.prefix)
            .field("time_limit", &self.limit)
            .field("wait_for_replicas", &self.replicas)
            .field("confirm_within", &self.confirm_within)
            .field("accept_loss", &self.accept_loss)
            .field("must_exist", &self.must_exist)
            .finish_non_exhaustive()
    }
}
