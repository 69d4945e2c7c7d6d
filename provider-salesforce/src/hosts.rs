//! Which hosts may receive tokens and secrets.
//!
//! URLs are parsed by hand, more strictly than a browser does: whatever a lenient parser would repair (other
//! notations of an address, invisible characters, backslashes) is rejected here. Suffixes are those of Salesforce's
//! My Domain hosts (Salesforce Help, "My Domain URL Formats"), without the hosts of the user interface.

use std::net::{IpAddr, Ipv6Addr};

use grantry::{integration::Environment, provider::UrlError};

/// Longer URLs are rejected unparsed.
const MAX_LENGTH: usize = 1024;

/// My Domain hosts: production, sandbox, scratch and so on; Government Cloud Defense; China.
const MY_DOMAIN: [&str; 3] = [".my.salesforce.com", ".my.salesforce.mil", ".my.sfcrmproducts.cn"];

/// Hosts from before My Domain, beside instances such as `na44.salesforce.com`.
const LEGACY: [&str; 3] = [".my-salesforce.com", ".cloudforce.com", ".database.com"];

const PRODUCTION_LOGIN: [&str; 2] = ["login.salesforce.com", "login.sfcrmproducts.cn"];
const SANDBOX_LOGIN: [&str; 2] = ["test.salesforce.com", "test.sfcrmproducts.cn"];

/// Where users log in and tokens are issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Login {
    /// Scheme, host and port; no slash at the end.
    pub(crate) origin: String,
    /// The loopback address of a test's stand-in for Salesforce.
    loopback: Option<IpAddr>,
}

impl Login {
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.origin)
    }
}

/// Host and port of an origin.
pub(crate) fn authority(origin: &str) -> &str {
    origin
        .split_once("://")
        .map_or(origin, |(_, authority)| authority)
}

#[derive(Debug)]
enum Host {
    Name(String),
    Ip(IpAddr),
}

#[derive(Debug)]
struct Parts<'a> {
    https: bool,
    host: Host,
    port: Option<u16>,
    /// Everything after the authority.
    rest: &'a str,
}

fn wrong<T>(why: &'static str) -> Result<T, UrlError> {
    Err(UrlError { why })
}

fn split(url: &str) -> Result<Parts<'_>, UrlError> {
    if url.len() > MAX_LENGTH {
        return wrong("length");
    }
    if !url.is_ascii() {
        return wrong("not_ascii");
    }
    let Some((scheme, after)) = url.split_once("://") else {
        return wrong("scheme");
    };
    let https = scheme.eq_ignore_ascii_case("https");
    if !https && !scheme.eq_ignore_ascii_case("http") {
        return wrong("scheme");
    }
    let end = after.find(['/', '?', '#']).unwrap_or(after.len());
    let (authority, rest) = after.split_at(end);
    if authority.contains('@') {
        return wrong("userinfo");
    }
    let (host, port) = if authority.starts_with('[') {
        let end = authority.find(']').ok_or(UrlError { why: "ip" })?;
        (
            &authority[..=end],
            authority[end + 1..]
                .strip_prefix(':')
                .or(if authority.len() == end + 1 {
                    None
                } else {
                    Some("")
                }),
        )
    } else {
        match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        }
    };
    let host = read_host(host)?;
    let port = match port {
        None => None,
        Some(text) if text.len() <= 5 && text.bytes().all(|b| b.is_ascii_digit()) => {
            Some(text.parse().map_err(|_| UrlError { why: "port" })?)
        }
        Some(_) => return wrong("port"),
    };
    Ok(Parts {
        https,
        host,
        port,
        rest,
    })
}

/// A name of letters, digits and hyphens, or an address in its usual notation. Every other notation of an address is
/// rejected.
fn read_host(text: &str) -> Result<Host, UrlError> {
    if let Some(inner) = text.strip_prefix('[') {
        let inner = inner.strip_suffix(']').unwrap_or(inner);
        let ip: Ipv6Addr = inner.parse().map_err(|_| UrlError { why: "ip" })?;
        return Ok(Host::Ip(ip.into()));
    }
    let text = text.to_ascii_lowercase();
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Ok(Host::Ip(ip));
    }
    let (name, dotted) = match text.strip_suffix('.') {
        Some(name) => (name, true),
        None => (text.as_str(), false),
    };
    let last = name.rsplit('.').next().unwrap_or_default();
    let hexadecimal = last
        .strip_prefix("0x")
        .is_some_and(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
    if hexadecimal || (!last.is_empty() && last.bytes().all(|b| b.is_ascii_digit())) {
        return wrong("ip");
    }
    let label_ok = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if name.len() > 253 || !name.split('.').all(label_ok) {
        return wrong("host");
    }
    if name.split('.').any(|label| label.starts_with("xn--")) {
        return wrong("not_ascii");
    }
    if dotted {
        return wrong("trailing_dot");
    }
    Ok(Host::Name(text))
}

fn under(host: &str, suffixes: &[&str]) -> bool {
    suffixes
        .iter()
        .any(|suffix| host.strip_suffix(suffix).is_some_and(|label| !label.is_empty()))
}

/// `na44`, `cs81`, `usa123s`: two to five letters, one to four digits, at most one more letter.
fn instance_pod(host: &str) -> bool {
    let Some(pod) = host.strip_suffix(".salesforce.com") else {
        return false;
    };
    let letters = pod.bytes().take_while(u8::is_ascii_lowercase).count();
    let digits = pod.bytes().skip(letters).take_while(u8::is_ascii_digit).count();
    let tail = pod.get(letters + digits..).unwrap_or("x.");
    (2..=5).contains(&letters)
        && (1..=4).contains(&digits)
        && tail.len() <= 1
        && tail.bytes().all(|b| b.is_ascii_lowercase())
}

/// The origin of `parts` if `allowed` accepts its host, or if it is the loopback stand-in for Salesforce.
fn origin(
    parts: &Parts<'_>,
    loopback: Option<IpAddr>,
    allowed: impl Fn(&str) -> bool,
) -> Result<String, UrlError> {
    match (&parts.host, parts.https) {
        (Host::Ip(ip), false) if loopback == Some(*ip) => Ok(loopback_origin(*ip, parts.port)),
        (Host::Ip(_), _) => wrong("ip"),
        (Host::Name(_), false) => wrong("scheme"),
        (Host::Name(_), true) if parts.port.is_some_and(|port| port != 443) => wrong("port"),
        (Host::Name(name), true) if allowed(name) => Ok(format!("https://{name}")),
        (Host::Name(_), true) => wrong("host"),
    }
}

fn loopback_origin(ip: IpAddr, port: Option<u16>) -> String {
    let host = match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    };
    match port {
        Some(port) if port != 80 => format!("http://{host}:{port}"),
        _ => format!("http://{host}"),
    }
}

fn no_path(parts: &Parts<'_>) -> Result<(), UrlError> {
    if matches!(parts.rest, "" | "/") {
        Ok(())
    } else {
        wrong("path")
    }
}

/// The canonical origin of an `instance_url`: lower case, no trailing slash. `legacy` admits hosts from before My
/// Domain.
pub(crate) fn instance(url: &str, login: &Login, legacy: bool) -> Result<String, UrlError> {
    let parts = split(url)?;
    let origin = origin(&parts, login.loopback, |name| {
        under(name, &MY_DOMAIN) || (legacy && (under(name, &LEGACY) || instance_pod(name)))
    })?;
    no_path(&parts)?;
    Ok(origin)
}

/// Parses `loginUrl`. Rejects a host of the other environment, so that no sandbox account ends up under `production`;
/// a My Domain host reveals its environment only by a `sandbox` partition.
pub(crate) fn login(url: &str, environment: Environment, allow_loopback: bool) -> Result<Login, UrlError> {
    let parts = split(url)?;
    let loopback = match parts.host {
        Host::Ip(ip) if allow_loopback && ip.is_loopback() => Some(ip),
        _ => None,
    };
    let origin = origin(&parts, loopback, |name| {
        let my_domain = under(name, &MY_DOMAIN);
        match environment {
            Environment::PRODUCTION => {
                PRODUCTION_LOGIN.contains(&name) || (my_domain && !name.contains(".sandbox.my."))
            }
            Environment::SANDBOX => SANDBOX_LOGIN.contains(&name) || my_domain,
            _ => false,
        }
    })?;
    no_path(&parts)?;
    Ok(Login { origin, loopback })
}

/// `orgId/userId` of an identity URL (`https://<login host>/id/<org>/<user>`), both with 18 characters, if its host
/// may vouch for users.
pub(crate) fn subject(url: &str, login: &Login) -> Result<String, UrlError> {
    let parts = split(url)?;
    origin(&parts, login.loopback, |name| {
        authority(&login.origin) == name
            || PRODUCTION_LOGIN.contains(&name)
            || SANDBOX_LOGIN.contains(&name)
            || under(name, &MY_DOMAIN)
    })?;
    let ids = parts
        .rest
        .strip_prefix("/id/")
        .and_then(|ids| ids.split_once('/'));
    match ids.and_then(|(org, user)| Some((long_id(org)?, long_id(user)?))) {
        Some((org, user)) => Ok(format!("{org}/{user}")),
        None => wrong("path"),
    }
}

/// The 18-character form of a Salesforce id: the last three characters encode which of the first fifteen are
/// upper-case, so that ids differ even under case-insensitive comparison (Salesforce object reference, "ID Field
/// Type").
pub(crate) fn long_id(id: &str) -> Option<String> {
    if !id.bytes().all(|b| b.is_ascii_alphanumeric()) || !matches!(id.len(), 15 | 18) {
        return None;
    }
    if id.len() == 18 {
        return Some(id.to_owned());
    }
    let mut long = String::with_capacity(18);
    long.push_str(id);
    for group in id.as_bytes().chunks(5) {
        let index = group
            .iter()
            .enumerate()
            .filter(|(_, byte)| byte.is_ascii_uppercase())
            .fold(0, |bits, (place, _)| bits | 1 << place);
        long.push(char::from(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"[index]));
    }
    Some(long)
}

#[cfg(test)]
mod tests;
