//! The store's address, and the connections that it describes.

use std::time::Duration;

use redis::{Client, IntoConnectionInfo as _};
use url::Url;

use crate::{
    cluster::Cluster,
    dial::{Dial, Trust},
    error::OpenError,
    link::Link,
    node::{Node, Route},
    run::SeenReplicas,
};

/// A parsed address.
pub(crate) struct Address {
    kind: Kind,
    dial: Dial,
    /// `host:port` of each server.
    servers: Vec<String>,
    /// The key prefix, if the address names one.
    pub(crate) prefix: Option<String>,
    /// The number of replicas that must hold a lease, if the address names one.
    pub(crate) replicas: Option<u32>,
}

enum Kind {
    Server,
    Sentinel {
        service: String,
        /// Credentials for the Sentinels themselves.
        user: Option<String>,
        password: Option<String>,
    },
    Cluster,
}

fn bad(reason: &'static str) -> OpenError {
    OpenError::BadAddress { reason }
}

impl Address {
    pub(crate) fn read(text: &str, trust: Trust) -> Result<Self, OpenError> {
        let (scheme, rest) = text.split_once("://").ok_or_else(|| bad("it is not a URL"))?;
        if rest.contains('#') {
            return Err(bad("it has a fragment, which would select insecure TLS"));
        }
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, hosts) = authority
            .rsplit_once('@')
            .map_or((None, authority), |(user, hosts)| (Some(user), hosts));
        let (tls, kind) = match scheme {
            "redis" | "redis+sentinel" | "redis+cluster" => (false, &scheme[5..]),
            "rediss" | "rediss+sentinel" | "rediss+cluster" => (true, &scheme[6..]),
            _ => {
                return Err(bad(
                    "it must begin with redis://, redis+sentinel:// or redis+cluster://, or the same with rediss",
                ));
            }
        };
        let (mut prefix, mut replicas) = (None, None);
        let (mut sentinel_user, mut sentinel_password) = (None, None);
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let place = match (name, kind) {
                ("prefix", _) => &mut prefix,
                ("wait_for_replicas", _) => &mut replicas,
                ("sentinel_user", "+sentinel") => &mut sentinel_user,
                ("sentinel_password", "+sentinel") => &mut sentinel_password,
                _ => {
                    return Err(bad(
                        "it has an unknown parameter; known ones are prefix and wait_for_replicas, and with Sentinels \
                         sentinel_user and sentinel_password",
                    ));
                }
            };
            // As in the rest of the address, a plus sign is literal.
            let value = percent_encoding::percent_decode_str(value).decode_utf8();
            let value = value
                .map_err(|_| bad("a parameter is not encoded as UTF-8"))?
                .into_owned();
            if place.replace(value).is_some() {
                return Err(bad("it has a parameter twice"));
            }
        }
        let replicas = replicas
            .map(|number| number.parse())
            .transpose()
            .map_err(|_| bad("its wait_for_replicas is not a number"))?;
        let (path, kind, default_port) = match kind {
            "" => (path, Kind::Server, 6379),
            "+cluster" => (path, Kind::Cluster, 6379),
            _ => {
                let (service, database) = path.split_once('/').unwrap_or((path, ""));
                if service.is_empty() {
                    return Err(bad(
                        "it does not name the Sentinels' service; append it to the hosts as /service",
                    ));
                }
                let kind = Kind::Sentinel {
                    service: service.to_owned(),
                    user: sentinel_user,
                    password: sentinel_password,
                };
                (database, kind, 26379)
            }
        };
        let mut servers = Vec::new();
        let mut first = None;
        for host in hosts.split(',') {
            // The driver parses each host as an address of its own.
            let user = user.map_or_else(String::new, |user| format!("{user}@"));
            let url = format!("{}://{user}{host}/{path}", if tls { "rediss" } else { "redis" });
            let url = Url::parse(&url).map_err(|_| bad("it is not a URL"))?;
            let name = url.host_str().filter(|name| !name.is_empty());
            let name = name.ok_or_else(|| bad("it names no host"))?;
            servers.push(format!("{name}:{}", url.port().unwrap_or(default_port)));
            let info = url
                .into_connection_info()
                .map_err(|_| bad("its user, password or database number cannot be read"))?;
            first.get_or_insert(info);
        }
        let info = first.ok_or_else(|| bad("it names no host"))?;
        if matches!(kind, Kind::Server) && servers.len() > 1 {
            return Err(bad(
                "it names several hosts; write redis+sentinel:// or redis+cluster:// before them",
            ));
        }
        if matches!(kind, Kind::Cluster) && info.redis_settings().db() != 0 {
            return Err(bad("it names a database; a Cluster has only one"));
        }
        let dial = Dial::new(info, tls, trust);
        let address = Self {
            kind,
            dial,
            servers,
            prefix,
            replicas,
        };
        // Everything that can be wrong with the address is found here, not at the first call.
        if !address.dial.has_certificates() {
            return Err(bad("the given certificates are not PEM"));
        }
        address.link(Duration::ZERO, &SeenReplicas::default())?;
        Ok(address)
    }

    /// The servers as `host:port`, for messages.
    pub(crate) fn name(&self) -> String {
        self.servers.join(",")
    }

    /// A link to these servers. Connects to nothing yet.
    pub(crate) fn link(&self, limit: Duration, seen: &SeenReplicas) -> Result<Link, OpenError> {
        let unreadable = || bad("a host or the certificates cannot be read");
        let clients = self.servers.iter().map(|server| self.dial.client(server));
        let clients: Vec<Client> = clients.collect::<Option<_>>().ok_or_else(unreadable)?;
        Ok(match &self.kind {
            Kind::Server => {
                let client = clients.into_iter().next().ok_or_else(unreadable)?;
                Link::Node(
                    Node::new(Route::Server(Box::new(client)), limit, seen.clone()),
                    limit,
                )
            }
            Kind::Cluster => {
                let cluster = Cluster::new(self.dial.clone(), self.servers.clone(), limit, seen.clone());
                Link::Cluster(Box::new(cluster), limit)
            }
            Kind::Sentinel {
                service,
                user,
                password,
            } => {
                let client = self
                    .dial
                    .sentinels(&clients, service, user.as_deref(), password.as_deref())
                    .ok_or_else(unreadable)?;
                let route = Route::Sentinel(Box::new(tokio::sync::Mutex::new(client)));
                Link::Node(Node::new(route, limit, seen.clone()), limit)
            }
        })
    }
}
