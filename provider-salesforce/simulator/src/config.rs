//! The configuration of a simulator.

use std::net::{IpAddr, Ipv4Addr};

use crate::settings::Settings;

/// The consumer key of the default client.
pub const DEFAULT_CLIENT_ID: &str = "3MVG9GrantrySimulatorConsumerKey.0000000000000000000000001";
/// The consumer secret of the default client.
pub const DEFAULT_CLIENT_SECRET: &str = "5E3C0DE55E3C0DE55E3C0DE55E3C0DE55E3C0DE55E3C0DE55E3C0DE55E3C0DE5";
/// The password of every default user.
pub const DEFAULT_PASSWORD: &str = "simulator";

/// How to start a simulator. Begin with [`Config::default`] and change what differs.
#[derive(Debug, Clone)]
pub struct Config {
    /// The address that both hosts listen on. Loopback by default, and best left so: the control API has no password.
    pub address: IpAddr,
    /// The port of the login host; 0 takes a free one.
    pub login_port: u16,
    /// The port of the instance host; 0 takes a free one.
    pub instance_port: u16,
    /// The registered clients (connected apps).
    pub clients: Vec<Client>,
    /// The orgs.
    pub orgs: Vec<Org>,
    /// The users.
    pub users: Vec<User>,
    /// How many additional users the first org gets: `user1@acme.com`, `user2@acme.com` and so on.
    pub extra_users: usize,
    /// Accounts in each org at the start.
    pub accounts: usize,
    /// Contacts in each org at the start. More than 2,000 makes a query without a limit take two pages.
    pub contacts: usize,
    /// The settings that can be changed while it runs.
    pub settings: Settings,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            login_port: 0,
            instance_port: 0,
            clients: vec![Client::default()],
            orgs: default_orgs(),
            users: default_users(),
            extra_users: 0,
            accounts: 25,
            contacts: 2_500,
            settings: Settings::default(),
        }
    }
}

/// A registered client.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Client {
    /// The consumer key.
    pub client_id: String,
    /// The consumer secret.
    pub client_secret: String,
    /// The callbacks; a `redirect_uri` must equal one of them, character by character.
    pub callbacks: Vec<String>,
    /// The scopes of the app. An authorization without `scope` gets all of them.
    #[serde(default = "default_scopes")]
    pub scopes: Vec<String>,
    /// Whether the token endpoint requires the secret. A secret that is sent is always checked.
    #[serde(default = "yes")]
    pub secret_required: bool,
    /// Whether this app requires PKCE, regardless of the setting for all apps.
    #[serde(default)]
    pub pkce_required: bool,
}

impl Default for Client {
    fn default() -> Self {
        Self {
            client_id: DEFAULT_CLIENT_ID.to_owned(),
            client_secret: DEFAULT_CLIENT_SECRET.to_owned(),
            callbacks: vec![
                "http://localhost:8080/callback".to_owned(),
                "http://127.0.0.1:8080/callback".to_owned(),
                "http://localhost:1717/OauthRedirect".to_owned(),
            ],
            scopes: default_scopes(),
            secret_required: true,
            pkce_required: false,
        }
    }
}

fn yes() -> bool {
    true
}

fn default_scopes() -> Vec<String> {
    [
        "id",
        "profile",
        "email",
        "address",
        "phone",
        "openid",
        "api",
        "web",
        "full",
        "chatter_api",
        "refresh_token",
        "offline_access",
    ]
    .map(str::to_owned)
    .to_vec()
}

/// An org.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Org {
    /// The 15-character id, starting with `00D`.
    pub id: String,
    /// The company's name.
    pub name: String,
    /// The instance it lives on, such as `USA123`.
    pub instance_name: String,
    /// The edition, such as `Enterprise Edition`.
    pub organization_type: String,
    /// Whether it is a sandbox.
    pub is_sandbox: bool,
}

/// A user of an org.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The 15-character id, starting with `005`.
    pub id: String,
    /// The org: an index into [`Config::orgs`].
    pub org: usize,
    /// The login name, unique over all orgs.
    pub username: String,
    /// The e-mail address.
    pub email: String,
    /// The first name.
    pub first_name: String,
    /// The last name.
    pub last_name: String,
    /// The password.
    pub password: String,
}

fn default_orgs() -> Vec<Org> {
    let org = |id: &str, name: &str, instance: &str, edition: &str, is_sandbox| Org {
        id: id.to_owned(),
        name: name.to_owned(),
        instance_name: instance.to_owned(),
        organization_type: edition.to_owned(),
        is_sandbox,
    };
    vec![
        org(
            "00D5g00000A1b2C",
            "Acme Corp",
            "USA123",
            "Enterprise Edition",
            false,
        ),
        org(
            "00D7Q00000G10bX",
            "Globex GmbH",
            "DEU12",
            "Unlimited Edition",
            false,
        ),
        org(
            "00DWt00000Sb0xU",
            "Acme Corp",
            "USA45S",
            "Enterprise Edition",
            true,
        ),
    ]
}

fn default_users() -> Vec<User> {
    let user = |id: &str, org, username: &str, email: &str, first: &str, last: &str| User {
        id: id.to_owned(),
        org,
        username: username.to_owned(),
        email: email.to_owned(),
        first_name: first.to_owned(),
        last_name: last.to_owned(),
        password: DEFAULT_PASSWORD.to_owned(),
    };
    vec![
        user(
            "0055g00000D4e5F",
            0,
            "sarah@acme.com",
            "sarah@acme.com",
            "Sarah",
            "Chen",
        ),
        user(
            "0055g00000D4e5G",
            0,
            "tom@acme.com",
            "tom@acme.com",
            "Tom",
            "Okafor",
        ),
        user(
            "0055g00000D4e5H",
            0,
            "admin@acme.com",
            "admin@acme.com",
            "Ada",
            "Minh",
        ),
        user(
            "0057Q00000Hn0aA",
            1,
            "greta@globex.com",
            "greta@globex.com",
            "Greta",
            "Vogel",
        ),
        user(
            "0057Q00000Hn0aB",
            1,
            "hank@globex.com",
            "hank@globex.com",
            "Hank",
            "Scorpio",
        ),
        user(
            "005Wt00000Qa1uA",
            2,
            "sarah@acme.com.uat",
            "sarah@acme.com",
            "Sarah",
            "Chen",
        ),
        user(
            "005Wt00000Qa1uB",
            2,
            "tom@acme.com.uat",
            "tom@acme.com",
            "Tom",
            "Okafor",
        ),
    ]
}
