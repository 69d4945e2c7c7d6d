//! How any server of a store is reached: credentials, database, TLS, TCP.

use std::time::Duration;

use redis::{
    Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, TlsCertificates, TlsMode,
    io::tcp::{TcpSettings, socket2::TcpKeepalive},
    sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType},
};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};

/// What the servers of one store have in common.
#[derive(Clone)]
pub(crate) struct Dial {
    /// User, password and database number; the address in it is replaced.
    info: ConnectionInfo,
    tls: bool,
    trust: Trust,
}

/// Certificates, as PEM.
#[derive(Clone, Default)]
pub(crate) struct Trust {
    /// Trusted roots, instead of the system's.
    pub(crate) root: Option<Vec<u8>>,
    /// The client certificate and its key.
    pub(crate) own: Option<(Vec<u8>, Vec<u8>)>,
}

impl Dial {
    pub(crate) fn new(info: ConnectionInfo, tls: bool, trust: Trust) -> Self {
        if tls && rustls::crypto::CryptoProvider::get_default().is_none() {
            // The driver takes the process default, and would install one itself, or panic if it cannot choose.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        let info = info.set_tcp_settings(tcp_settings());
        Self { info, tls, trust }
    }

    /// Whether each PEM text contains a certificate; the driver accepts one without any.
    pub(crate) fn has_certificates(&self) -> bool {
        let own = self.trust.own.as_ref().map(|(certificate, _)| certificate);
        let mut texts = self.trust.root.iter().chain(own);
        texts.all(|pem| matches!(CertificateDer::pem_slice_iter(pem).next(), Some(Ok(_))))
    }

    /// A client for the server at `address`, given as `host:port`. `None` if that is not an address.
    pub(crate) fn client(&self, address: &str) -> Option<Client> {
        let (host, port) = address.rsplit_once(':')?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = port.parse().ok()?;
        if host.is_empty() {
            return None;
        }
        if !self.tls {
            let info = self.info.clone().set_addr(ConnectionAddr::Tcp(host, port));
            return Client::open(info).ok();
        }
        let address = ConnectionAddr::TcpTls {
            host,
            port,
            insecure: false,
            tls_params: None,
        };
        Client::build_with_tls(self.info.clone().set_addr(address), self.certificates()).ok()
    }

    /// A client for the primary that the Sentinels behind `clients` name for `service`. `user` and `password` are
    /// those of the Sentinels.
    pub(crate) fn sentinels(
        &self,
        clients: &[Client],
        service: &str,
        user: Option<&str>,
        password: Option<&str>,
    ) -> Option<SentinelClient> {
        let addresses = clients
            .iter()
            .map(|client| client.get_connection_info().addr().clone());
        let settings = self.info.redis_settings();
        let mut builder = SentinelClientBuilder::new(addresses, service, SentinelServerType::Master)
            .ok()?
            .set_client_to_redis_db(settings.db())
            .set_client_to_redis_tcp_settings(tcp_settings())
            .set_client_to_sentinel_tcp_settings(tcp_settings());
        if let Some(user) = settings.username() {
            builder = builder.set_client_to_redis_username(user);
        }
        if let Some(password) = settings.password() {
            builder = builder.set_client_to_redis_password(password);
        }
        if let Some(user) = user {
            builder = builder.set_client_to_sentinel_username(user);
        }
        if let Some(password) = password {
            builder = builder.set_client_to_sentinel_password(password);
        }
        if self.tls {
            builder = builder
                .set_client_to_redis_tls_mode(TlsMode::Secure)
                .set_client_to_redis_certificates(self.certificates());
        }
        builder.build().ok()
    }

    fn certificates(&self) -> TlsCertificates {
        let Trust { root, own } = self.trust.clone();
        TlsCertificates {
            client_tls: own.map(|(client_cert, client_key)| ClientTlsConfig {
                client_cert,
                client_key,
            }),
            root_cert: root,
        }
    }
}

/// Sends small writes at once, and notices a peer that vanished silently.
fn tcp_settings() -> TcpSettings {
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(30))
        .with_interval(Duration::from_secs(10))
        .with_retries(3);
    TcpSettings::default().set_nodelay(true).set_keepalive(keepalive)
}
