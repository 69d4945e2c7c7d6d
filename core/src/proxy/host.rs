//! The provider's hosts, by the origin that the sealed token set names. Nothing else decides where a call is sent.

use std::{
    fmt,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use http::{HeaderValue, Uri, uri::Scheme};

use super::wire::Line;
use crate::error::{Code, Error};

/// The most idle connections that are kept to one host.
const MAX_IDLE: usize = 64;
/// How long to wait for a connection whose response was read to be ready for the next request.
const SETTLE: Duration = Duration::from_millis(20);

/// One origin, and its idle connections.
pub(super) struct Host {
    /// The origin as the token set names it.
    pub(super) origin: Box<str>,
    /// The same, for the connector.
    pub(super) uri: Uri,
    /// The same, for the `Host` header.
    pub(super) header: HeaderValue,
    idle: Mutex<Vec<Line>>,
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host")
            .field("origin", &self.origin)
            .finish_non_exhaustive()
    }
}

impl Host {
    /// Reads an origin: scheme and authority in canonical form, and nothing after them.
    pub(super) fn parse(origin: &str, allow_loopback: bool) -> Result<Self, Error> {
        let refused = || Error::new(Code::TargetForbidden).because("origin");
        let (scheme, authority) = origin.split_once("://").ok_or_else(refused)?;
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.:[]".contains(&byte);
        if !authority.bytes().all(plain) {
            return Err(refused());
        }
        let uri = Uri::builder()
            .scheme(scheme)
            .authority(authority)
            .path_and_query("/")
            .build()
            .map_err(|_| refused())?;
        let name = uri.host().unwrap_or_default();
        let bare = name
            .strip_prefix('[')
            .and_then(|n| n.strip_suffix(']'))
            .unwrap_or(name);
        let loopback = match bare.parse::<IpAddr>() {
            Ok(address) if address.is_loopback() && allow_loopback => true,
            // No provider is at a bare IP address.
            Ok(_) => return Err(Error::new(Code::TargetForbidden).because("ip")),
            Err(_) => false,
        };
        // Resolvers take names such as `127.1` or `0x7f.1` for addresses.
        let last = name.rsplit('.').next().unwrap_or_default();
        let hex = last
            .strip_prefix("0x")
            .is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
        if !loopback && (hex || (!last.is_empty() && last.bytes().all(|b| b.is_ascii_digit()))) {
            return Err(Error::new(Code::TargetForbidden).because("ip"));
        }
        let secure = uri.scheme() == Some(&Scheme::HTTPS);
        let open = uri.scheme() == Some(&Scheme::HTTP) && loopback;
        if name.is_empty() || name.ends_with('.') || !(secure || open) {
            return Err(refused());
        }
        // The origin that is dialled is the one that was pinned.
        let port = uri.port_u16();
        let dialled = port.map_or_else(
            || format!("{scheme}://{name}"),
            |port| format!("{scheme}://{name}:{port}"),
        );
        if dialled != origin {
            return Err(refused());
        }
        // The scheme's default port is omitted.
        let default = matches!((port, secure), (Some(443), true) | (Some(80), false));
        let header = HeaderValue::from_str(if default { name } else { authority }).map_err(|_| refused())?;
        Ok(Self {
            origin: origin.into(),
            header,
            idle: Mutex::default(),
            uri,
        })
    }

    /// An idle connection that is ready, most recently used first.
    pub(super) async fn idle_line(&self) -> Option<Line> {
        loop {
            let mut line = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()?;
            if line.sender.is_closed() {
                continue;
            }
            // It was put back once its response was read; the task that drives it may lag behind.
            if line.sender.is_ready()
                || matches!(
                    tokio::time::timeout(SETTLE, line.sender.ready()).await,
                    Ok(Ok(()))
                )
            {
                return Some(line);
            }
        }
    }

    /// Keeps a connection for the next request.
    pub(super) fn put_back(&self, line: Line) {
        line.rest();
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() >= MAX_IDLE {
            idle.retain(|line| !line.sender.is_closed());
        }
        if idle.len() < MAX_IDLE {
            idle.push(line);
        }
    }

    /// Whether the host can be forgotten without loss.
    pub(super) fn is_unused(&self) -> bool {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|line| !line.sender.is_closed());
        idle.is_empty()
    }

    /// Closes idle connections.
    pub(super) fn hang_up(&self) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(origin: &str, loopback: bool) -> Option<&'static str> {
        Host::parse(origin, loopback).err().map(|error| {
            assert_eq!(error.code(), Code::TargetForbidden);
            error.reason().unwrap()
        })
    }

    #[test]
    fn origins() {
        for origin in [
            "https://acme.api.test",
            "https://acme.test:8443",
            "https://xn--e1afmkfd.test",
        ] {
            assert_eq!(code(origin, false), None, "{origin}");
        }
        let refused = [
            "",
            "https://",
            "acme.test",
            "http://acme.test",
            "ftp://acme.test",
            "HTTPS://acme.test",
            "//acme.test",
            "https://acme.test/",
            "https://acme.test/x",
            "https://acme.test?x",
            "https://acme.test#x",
            "https://user@acme.test",
            "https://a:b@acme.test",
            "https://acme.test\\x",
            "https://acme.test:x",
            "https://ACME.test",
            "https://acme.test ",
            "https://acme.test\r\n",
            "https://é.test",
            "https://acme.test.",
            "https://:443",
            "http://localhost",
            "https://acme.test:99999",
        ];
        for origin in refused {
            assert_eq!(code(origin, true), Some("origin"), "{origin:?}");
        }
    }

    #[test]
    fn addresses() {
        let bare = [
            "https://127.0.0.1",
            "http://127.0.0.1",
            "http://127.0.0.1:80",
            "https://10.0.0.1",
            "https://8.8.8.8",
            "https://169.254.169.254",
            "https://[::1]",
            "https://[::ffff:127.0.0.1]",
            "https://[2606:4700::1111]",
            "http://[::1]:8080",
            "https://0.0.0.0",
            "https://127.1",
            "https://2130706433",
            "https://0x7f.1",
            "https://0x7f000001:443",
            "https://127.0.0.0x1",
            "https://acme.0x",
        ];
        for origin in bare {
            assert_eq!(code(origin, false), Some("ip"), "{origin}");
        }
        for origin in [
            "http://127.0.0.1",
            "http://127.0.0.1:8080",
            "http://[::1]:8080",
            "https://127.0.0.1:8443",
        ] {
            assert_eq!(code(origin, true), None, "{origin}");
        }
        for origin in [
            "http://10.0.0.1",
            "http://0.0.0.0",
            "http://8.8.8.8",
            "http://[::ffff:127.0.0.1]",
        ] {
            assert_eq!(code(origin, true), Some("ip"), "{origin}");
        }
    }

    #[test]
    fn the_host_header_leaves_out_the_usual_port() {
        let header = |origin| Host::parse(origin, true).unwrap().header;
        assert_eq!(header("https://acme.test"), "acme.test");
        assert_eq!(header("https://acme.test:443"), "acme.test");
        assert_eq!(header("https://acme.test:8443"), "acme.test:8443");
        assert_eq!(header("http://127.0.0.1:8080"), "127.0.0.1:8080");
    }
}
