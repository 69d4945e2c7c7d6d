//! Sends requests to a provider's OAuth endpoints: once, to a public address, without retries, redirects or reused
//! connections.

mod dated;
mod resolver;
mod tls;
mod witness;

use std::{error::Error as StdError, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use url::{Host, Url};
use zeroize::Zeroizing;

pub(crate) use dated::Dated;
pub(crate) use resolver::{PublicResolver, ResolveError};
pub use tls::TlsError;
pub(crate) use tls::{ExtraRoots, client_config};
pub(crate) use witness::{Unanswered, Witness};

use crate::{
    address,
    error::causes,
    provider::{MAX_ANSWER, Sent, Transport, TransportError, TransportFault},
};

/// How long resolving, connecting and the TLS handshake may take together, if not set.
pub(crate) const CONNECT: Duration = Duration::from_secs(5);
/// How long all of it may take, if not set.
pub(crate) const TOTAL: Duration = Duration::from_secs(20);
/// The largest header section of an answer, in bytes.
const MAX_HEADERS: usize = 64 * 1024;
/// Room for an answer whose length was not announced.
const FIRST_BUFFER: usize = 16 * 1024;

/// Sends to OAuth endpoints with reqwest.
///
/// https only; no retries, redirects, proxies or idle connections; HTTP/1.1, so that a failed request was on a connection
/// of its own. A response that exceeds the limits is dropped.
///
/// Only our own buffers are wiped: the bodies of request and response, not the copies of the TLS stack and the HTTP client.
#[derive(Clone, Debug)]
pub struct HttpTransport {
    client: reqwest::Client,
    allow_loopback: bool,
}

impl HttpTransport {
    /// A builder with the default settings.
    pub fn builder() -> HttpTransportBuilder {
        HttpTransportBuilder {
            connect_timeout: CONNECT,
            total_timeout: TOTAL,
            allow_loopback: false,
            roots: ExtraRoots::default(),
        }
    }
}

/// Settings of an [`HttpTransport`].
#[derive(Clone, Debug)]
pub struct HttpTransportBuilder {
    connect_timeout: Duration,
    total_timeout: Duration,
    allow_loopback: bool,
    roots: ExtraRoots,
}

impl HttpTransportBuilder {
    /// How long resolving, connecting and the TLS handshake may take together; 5 seconds if not set.
    #[must_use]
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = limit;
        self
    }

    /// How long all of it may take, the answer included; 20 seconds if not set.
    #[must_use]
    pub fn total_timeout(mut self, limit: Duration) -> Self {
        self.total_timeout = limit;
        self
    }

    /// Whether loopback IP literals may be called, with or without TLS. For tests and demonstrations.
    #[must_use]
    pub fn allow_loopback(mut self, allow: bool) -> Self {
        self.allow_loopback = allow;
        self
    }

    /// Trusts the certificates in `pem` in addition to the platform's roots, for private CAs.
    ///
    /// # Errors
    /// [`TlsError::RootInvalid`] if they are not certificates.
    pub fn extra_roots(mut self, pem: &[u8]) -> Result<Self, TlsError> {
        self.roots.add_pem(pem)?;
        Ok(self)
    }

    /// Reads the platform's roots and makes the transport.
    ///
    /// # Errors
    /// [`TlsError::NoRoots`] if nothing could be trusted.
    pub fn build(self) -> Result<HttpTransport, TlsError> {
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(client_config(&self.roots, self.allow_loopback)?)
            .dns_resolver(PublicResolver::new())
            .retry(reqwest::retry::never())
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .no_proxy()
            .http1_only()
            .pool_max_idle_per_host(0)
            .connect_timeout(self.connect_timeout)
            .timeout(self.total_timeout)
            .user_agent(concat!("grantry/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|_| TlsError::NoRoots)?;
        Ok(HttpTransport {
            client,
            allow_loopback: self.allow_loopback,
        })
    }
}

#[async_trait]
impl Transport for HttpTransport {
    /// # Cancel safety
    /// Dropping the future closes the connection; the provider may have processed the request.
    async fn send(&self, request: Request<Vec<u8>>) -> Result<Response<Bytes>, TransportError> {
        // From here on the body is wiped when the request is dropped.
        let request = request.map(|body| Bytes::from_owner(Zeroizing::new(body)));
        let request = reqwest::Request::try_from(request).map_err(|_| FORBIDDEN)?;
        if !is_permitted(request.url(), self.allow_loopback) {
            return Err(FORBIDDEN);
        }
        let mut answer = self.client.execute(request).await.map_err(failed)?;
        let headers = std::mem::take(answer.headers_mut());
        let length: usize = headers
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len())
            .sum();
        if length > MAX_HEADERS {
            return Err(TOO_LARGE);
        }
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = answer.status();
        *response.headers_mut() = headers;
        *response.body_mut() = read(answer).await?;
        Ok(response)
    }
}

const FORBIDDEN: TransportError = TransportError::new(Sent::No, TransportFault::Forbidden);
const TOO_LARGE: TransportError = TransportError::new(Sent::Maybe, TransportFault::TooLarge);

/// Checks everything that can be checked without resolving a name.
fn is_permitted(url: &Url, allow_loopback: bool) -> bool {
    let address = match url.host() {
        Some(Host::Ipv4(address)) => Some(address.into()),
        Some(Host::Ipv6(address)) => Some(address.into()),
        Some(Host::Domain(_)) => None,
        None => return false,
    };
    let loopback = allow_loopback && address.is_some_and(|address: std::net::IpAddr| address.is_loopback());
    let scheme = url.scheme() == "https" || (url.scheme() == "http" && loopback);
    // User info in the URL would become an unwanted Authorization header.
    let plain = url.username().is_empty() && url.password().is_none();
    scheme && plain && (loopback || address.is_none_or(address::is_public))
}

/// Keeps the client's error, such as "connection refused" or an untrusted certificate, without the URL: its query may hold
/// a secret.
fn failed(error: reqwest::Error) -> TransportError {
    let host = error.url().and_then(Url::host_str);
    tracing::warn!(
        host,
        causes = causes(&error),
        "a request to a provider got no response"
    );
    class(&error).caused_by(error.without_url())
}

/// Classifies an error of the client. If the connector failed, and only then, not a byte of the request can have been sent.
fn class(error: &reqwest::Error) -> TransportError {
    let sent = if error.is_connect() { Sent::No } else { Sent::Maybe };
    let fault = if sent == Sent::No && is_forbidden(error) {
        TransportFault::Forbidden
    } else if error.is_timeout() {
        TransportFault::Timeout
    } else if sent == Sent::No {
        TransportFault::Connect
    } else {
        TransportFault::Reset
    };
    TransportError::new(sent, fault)
}

fn is_forbidden(error: &reqwest::Error) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        if error.downcast_ref() == Some(&ResolveError::Forbidden) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Reads the response, up to the limit, into a buffer that is wiped when its last reader drops it.
async fn read(mut answer: reqwest::Response) -> Result<Bytes, TransportError> {
    let announced = answer.content_length().map(usize::try_from);
    let room = match announced {
        Some(Ok(length)) if length <= MAX_ANSWER => length,
        Some(_) => return Err(TOO_LARGE),
        None => FIRST_BUFFER,
    };
    let mut body = Zeroizing::new(Vec::with_capacity(room));
    while let Some(chunk) = answer.chunk().await.map_err(failed)? {
        let length = body.len() + chunk.len();
        if length > MAX_ANSWER {
            return Err(TOO_LARGE);
        }
        if length > body.capacity() {
            // Growing by hand: a vector that grows by itself leaves its old buffer behind, unwiped.
            let mut larger = Zeroizing::new(Vec::with_capacity((2 * length).min(MAX_ANSWER)));
            larger.extend_from_slice(&body);
            body = larger;
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Bytes::from_owner(body))
}

#[cfg(test)]
mod tests;
