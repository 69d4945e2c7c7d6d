//! What can be set when a store is opened.

use std::{fmt, time::Duration};

use crate::{
    RedisStore, address::Address, confirm::Confirm, dial::Trust, error::OpenError, run::SeenReplicas, schema,
};

/// Opens a store with other settings than the usual ones.
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
    /// Opens the store at this address with the usual settings; it is made if it does not exist.
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

    /// How many replicas must have a turn before its token is presented, and a new token set before it counts as saved.
    /// Unless set it is one, wherever the primary has replicas or had some: a primary that lost all of them may be cut off
    /// and replaced, so that what is written to it is lost. One that just took over, or came back, has ten seconds to get
    /// one; after that it is taken for the last. Where the last replica was taken away for good, open the
    /// store again. With 0 nothing waits for replicas, and a failover may cost grants. The address can say it too, as
    /// `?wait_for_replicas=`.
    ///
    /// Where there are several replicas, their number is the safest: then whichever takes over has the turn, also when
    /// an operator orders a failover of a primary that lives. Its price is that nothing is refreshed while one is away.
    pub fn wait_for_replicas(mut self, replicas: u32) -> Self {
        self.replicas = Some(replicas);
        self
    }

    /// How long replicas, and from Redis 7.2 on the primary's disk, may take to have a write; 2 seconds unless set.
    /// After that a turn is given back and a new token set counts as unsaved, and [`RedisStore::unconfirmed`] counts it.
    pub fn confirm_within(mut self, limit: Duration) -> Self {
        self.confirm_within = limit;
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
        self.trust.root = Some(pem.into());
        self
    }

    /// The certificate that this side shows for `rediss://`, and its key, both as PEM. Redis wants one unless
    /// `tls-auth-clients` is `no`, and ends the connection of whoever has none.
    pub fn client_certificate(mut self, certificate: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        self.trust.own = Some((certificate.into(), key.into()));
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
        let address = Address::read(&self.address, self.trust)?;
        let prefix = self.prefix.or_else(|| address.prefix.clone());
        let prefix = prefix.unwrap_or_else(|| "grantry".to_owned());
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.:".contains(&byte);
        if prefix.is_empty() || !prefix.bytes().all(allowed) {
            let reason = "the key prefix has other characters than letters, digits and _-.:";
            return Err(OpenError::BadAddress { reason });
        }
        let seen = SeenReplicas::default();
        let link = address.link(self.limit, &seen)?;
        let waiting = address.link(self.limit + 2 * self.confirm_within, &seen)?;
        let replicas = self.replicas.or(address.replicas);
        let confirm = Confirm::new(waiting, replicas, self.confirm_within);
        let server = address.name();
        let looked = schema::open(&link, &prefix, &server, self.accept_loss, self.must_exist);
        // Boxed, since the compiler of whoever opens it would count every layer of it.
        let (layout, advice) = Box::pin(looked).await?;
        for advice in &advice {
            tracing::warn!(code = advice.code(), server, "{advice}");
        }
        Ok(RedisStore::new(link, layout, confirm, advice))
    }
}

/// Without the address, which may have a password.
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
