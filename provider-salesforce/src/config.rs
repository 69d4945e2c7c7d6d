//! The options of an integration.

use std::time::Duration;

use grantry::{
    integration::{Client, Environment, Options},
    provider::{OptionError, Rotation, UrlError},
};
use serde_json::Value;

use crate::hosts::{self, Login};

/// The session length of an org that changed nothing (Salesforce metadata, `ProfileSessionSetting`: 0 means this default).
pub(crate) const SESSION: Duration = Duration::from_secs(2 * 3600);

/// Partner apps' refresh tokens die after 30 idle days since 2026 (Salesforce Help, "Limit Idle Refresh Token TTL").
pub(crate) const IDLE: Duration = Duration::from_secs(30 * 24 * 3600);

/// Spring '26.
const API_VERSION: &str = "v66.0";

const LOGIN_URL: &str = "loginUrl";
const PROMPT: &str = "prompt";
const API: &str = "apiVersion";
const SESSION_MINUTES: &str = "sessionMinutes";
const ROTATION: &str = "rotation";
const IDLE_DAYS: &str = "idleDays";
const LEGACY_HOSTS: &str = "legacyInstanceHosts";

/// Every option.
const NAMES: [&str; 7] = [
    LOGIN_URL,
    PROMPT,
    API,
    SESSION_MINUTES,
    ROTATION,
    IDLE_DAYS,
    LEGACY_HOSTS,
];

/// The options, parsed and checked.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) login: Login,
    pub(crate) prompt: String,
    pub(crate) api_version: String,
    legacy_hosts: bool,
}

impl Config {
    pub(crate) fn of(client: &Client<'_>) -> Result<Self, OptionError> {
        Self::read(client.offering.environment, client.options, client.allow_loopback)
    }

    /// Parses and checks all options, including those that are not kept here.
    pub(crate) fn read(
        environment: Environment,
        options: &Options,
        allow_loopback: bool,
    ) -> Result<Self, OptionError> {
        if options.keys().any(|name| !NAMES.contains(&name.as_str())) {
            return wrong("unknown");
        }
        rotation(options)?;
        idle_limit(options)?;
        session(options)?;
        Ok(Self {
            login: login(environment, options, allow_loopback)?,
            prompt: prompt(options)?,
            api_version: api_version(options)?,
            legacy_hosts: legacy_hosts(options)?,
        })
    }

    /// The canonical origin of an `instance_url`, if this integration's tokens may be sent there.
    pub(crate) fn instance(&self, url: &str) -> Result<String, UrlError> {
        hosts::instance(url, &self.login, self.legacy_hosts)
    }
}

fn wrong<T>(name: &'static str) -> Result<T, OptionError> {
    Err(OptionError { name })
}

fn text<'a>(options: &'a Options, name: &'static str) -> Result<Option<&'a str>, OptionError> {
    match options.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => wrong(name),
    }
}

fn number(
    options: &Options,
    name: &'static str,
    allowed: std::ops::RangeInclusive<u64>,
) -> Result<Option<u64>, OptionError> {
    match options.get(name) {
        None => Ok(None),
        Some(value) => match value.as_u64() {
            Some(number) if allowed.contains(&number) => Ok(Some(number)),
            _ => wrong(name),
        },
    }
}

/// The default of `loginUrl` for an environment.
pub(crate) fn default_login(environment: Environment) -> &'static str {
    match environment {
        Environment::SANDBOX => "https://test.salesforce.com",
        _ => "https://login.salesforce.com",
    }
}

fn login(environment: Environment, options: &Options, allow_loopback: bool) -> Result<Login, OptionError> {
    let url = text(options, LOGIN_URL)?.unwrap_or(default_login(environment));
    hosts::login(url, environment, allow_loopback).map_err(|_| OptionError { name: LOGIN_URL })
}

/// `login` by default: otherwise whichever Salesforce session the browser has is connected without a question.
fn prompt(options: &Options) -> Result<String, OptionError> {
    let prompt = text(options, PROMPT)?.unwrap_or("login");
    let mut seen = Vec::new();
    for word in prompt.split(' ') {
        if !["login", "consent", "select_account"].contains(&word) || seen.contains(&word) {
            return wrong(PROMPT);
        }
        seen.push(word);
    }
    Ok(prompt.to_owned())
}

fn api_version(options: &Options) -> Result<String, OptionError> {
    let version = text(options, API)?.unwrap_or(API_VERSION);
    let number = version.strip_prefix('v').and_then(|v| v.strip_suffix(".0"));
    match number.map(str::parse::<u16>) {
        // Organization has InstanceName and IsSandbox since v31.0.
        Some(Ok(31..=999))
            if version
                .bytes()
                .all(|b| b.is_ascii_digit() || b == b'v' || b == b'.') =>
        {
            Ok(version.to_owned())
        }
        _ => wrong(API),
    }
}

/// The assumed session timeout, from `sessionMinutes`.
pub(crate) fn session(options: &Options) -> Result<Duration, OptionError> {
    let minutes = number(options, SESSION_MINUTES, 1..=1440)?;
    Ok(minutes.map_or(SESSION, |minutes| Duration::from_secs(minutes * 60)))
}

/// From `rotation`. Strict by default: an admin can enable rotation in the app at any time, and not disable it again.
pub(crate) fn rotation(options: &Options) -> Result<Rotation, OptionError> {
    match text(options, ROTATION)? {
        None | Some("strict") => Ok(Rotation::Strict),
        Some("reusable") => Ok(Rotation::Reusable),
        Some(_) => wrong(ROTATION),
    }
}

/// From `idleDays`.
pub(crate) fn idle_limit(options: &Options) -> Result<Option<Duration>, OptionError> {
    Ok(match number(options, IDLE_DAYS, 0..=3650)? {
        None => Some(IDLE),
        Some(0) => None,
        Some(days) => Some(Duration::from_secs(days * 24 * 3600)),
    })
}

fn legacy_hosts(options: &Options) -> Result<bool, OptionError> {
    match options.get(LEGACY_HOSTS) {
        None => Ok(false),
        Some(Value::Bool(on)) => Ok(*on),
        Some(_) => wrong(LEGACY_HOSTS),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(options: Value) -> Result<Config, OptionError> {
        let options: Options = serde_json::from_value(options).unwrap();
        Config::read(Environment::PRODUCTION, &options, false)
    }

    #[test]
    fn defaults() {
        let config = read(json!({})).unwrap();
        assert_eq!(config.login.origin, "https://login.salesforce.com");
        assert_eq!(config.prompt, "login");
        assert_eq!(config.api_version, "v66.0");
        let none = Options::new();
        assert_eq!(session(&none), Ok(Duration::from_secs(2 * 3600)));
        assert_eq!(idle_limit(&none), Ok(Some(Duration::from_secs(720 * 3600))));
        assert_eq!(rotation(&none), Ok(Rotation::Strict));
        let sandbox = Config::read(Environment::SANDBOX, &none, false).unwrap();
        assert_eq!(sandbox.login.origin, "https://test.salesforce.com");
    }

    #[test]
    fn accepted() {
        for options in [
            json!({"loginUrl": "https://acme.my.salesforce.com/"}),
            json!({"prompt": "consent"}),
            json!({"prompt": "login consent select_account"}),
            json!({"apiVersion": "v59.0"}),
            json!({"apiVersion": "v101.0"}),
            json!({"sessionMinutes": 1}),
            json!({"sessionMinutes": 1440}),
            json!({"rotation": "reusable"}),
            json!({"idleDays": 0}),
            json!({"idleDays": 90}),
            json!({"legacyInstanceHosts": true}),
        ] {
            assert!(read(options.clone()).is_ok(), "{options}");
        }
    }

    #[test]
    fn refused() {
        for (options, name) in [
            (json!({"loginURL": "https://login.salesforce.com"}), "unknown"),
            (json!({"": 1}), "unknown"),
            (json!({"loginUrl": "https://evil.test"}), LOGIN_URL),
            (json!({"loginUrl": "http://127.0.0.1:1"}), LOGIN_URL),
            (json!({"loginUrl": null}), LOGIN_URL),
            (json!({"loginUrl": 7}), LOGIN_URL),
            (json!({"prompt": ""}), PROMPT),
            (json!({"prompt": "none"}), PROMPT),
            (json!({"prompt": "login login"}), PROMPT),
            (json!({"prompt": "login  consent"}), PROMPT),
            (json!({"prompt": "login&scope=full"}), PROMPT),
            (json!({"prompt": ["login"]}), PROMPT),
            (json!({"apiVersion": "66.0"}), API),
            (json!({"apiVersion": "v66"}), API),
            (json!({"apiVersion": "v+66.0"}), API),
            (json!({"apiVersion": "v66.0/../.."}), API),
            (json!({"apiVersion": "v30.0"}), API),
            (json!({"apiVersion": 66.0}), API),
            (json!({"sessionMinutes": 0}), SESSION_MINUTES),
            (json!({"sessionMinutes": 1441}), SESSION_MINUTES),
            (json!({"sessionMinutes": -5}), SESSION_MINUTES),
            (json!({"sessionMinutes": 1.5}), SESSION_MINUTES),
            (json!({"sessionMinutes": "120"}), SESSION_MINUTES),
            (json!({"rotation": "grace"}), ROTATION),
            (json!({"rotation": true}), ROTATION),
            (json!({"idleDays": -1}), IDLE_DAYS),
            (json!({"idleDays": 3651}), IDLE_DAYS),
            (json!({"legacyInstanceHosts": "yes"}), LEGACY_HOSTS),
        ] {
            assert_eq!(read(options.clone()).map(|_| ()), wrong(name), "{options}");
        }
    }
}
