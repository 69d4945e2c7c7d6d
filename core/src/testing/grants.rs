//! What the fake provider's servers remember: families of refresh tokens, access tokens, codes.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};

use super::exchange::{Answer, Request};
use crate::{
    connection::Reason,
    provider::{Rotation, Verdict},
    time::{BootInstant, Timestamp},
};

/// How the provider behaves unless a script says otherwise.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What the provider says about presenting a token twice.
    pub rotation: Rotation,
    /// Each refresh gives a new refresh token and spends the old one.
    pub rotates: bool,
    /// Presenting a spent token ends the grant and all its access tokens.
    pub revokes_families: bool,
    /// How long an access token lives.
    pub session: Duration,
    /// Token responses state it; otherwise the provider assumes it.
    pub tells_expiry: bool,
    /// Whether questions about an access token's life are answered.
    pub tells_life: bool,
    /// Refresh answers leave out the refresh token if it stays, the instance URL and the scopes.
    pub omits: bool,
    /// Granted scopes.
    pub scopes: Vec<String>,
    /// Where the API lives.
    pub instance_url: String,
    /// Who logs in.
    pub subject: String,
    /// The only client secret that is accepted; empty accepts any.
    pub client_secret: String,
    /// The issuer.
    pub issuer: Option<String>,
    /// How long an unused refresh token lives.
    pub idle_limit: Option<Duration>,
    /// Revocations are refused for now.
    pub refuses_revocations: bool,
    /// No answer holds a refresh token.
    pub no_refresh_token: bool,
    /// Who connects again gets the same refresh token.
    pub one_grant_per_user: bool,
    /// How long every response takes.
    pub takes: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            rotation: Rotation::Strict,
            rotates: true,
            revokes_families: true,
            session: Duration::from_secs(7200),
            tells_expiry: true,
            tells_life: true,
            omits: false,
            scopes: vec!["api".to_owned()],
            instance_url: "https://acme.api.test".to_owned(),
            subject: "org/user".to_owned(),
            client_secret: String::new(),
            issuer: None,
            idle_limit: None,
            refuses_revocations: false,
            no_refresh_token: false,
            one_grant_per_user: false,
            takes: Duration::from_millis(50),
        }
    }
}

#[derive(Debug)]
pub(super) struct Family {
    pub(super) living: String,
    /// Spent tokens, and when.
    pub(super) spent: HashMap<String, Timestamp>,
    pub(super) revoked: bool,
    pub(super) subject: String,
    pub(super) sets: u32,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) settings: Settings,
    pub(super) script: VecDeque<Answer>,
    pub(super) always: Option<Answer>,
    pub(super) log: Vec<(Timestamp, Request)>,
    pub(super) families: Vec<Family>,
    /// Access tokens: family, and end.
    pub(super) access: HashMap<String, (usize, Timestamp)>,
    /// Codes that were given, with their challenge and the user who gave them.
    pub(super) codes: BTreeMap<String, (String, String)>,
    pub(super) queue: Vec<(BootInstant, String)>,
    pub(super) in_flight: Vec<String>,
    pub(super) overlaps: u32,
}

/// The fields of an answer.
pub(super) type Pairs = BTreeMap<String, String>;

pub(super) fn refusal(verdict: Verdict, reason: Reason, retry_after: Option<Duration>) -> Pairs {
    let wait = retry_after.map_or_else(String::new, |w| w.as_secs().to_string());
    Pairs::from([
        ("verdict".to_owned(), format!("{verdict:?}")),
        ("reason".to_owned(), reason.as_str().to_owned()),
        ("wait".to_owned(), wait),
    ])
}

impl State {
    pub(super) fn family(&mut self, token: &str) -> Option<&mut Family> {
        self.families
            .iter_mut()
            .find(|f| f.living == token || f.spent.contains_key(token))
    }

    pub(super) fn refresh(&mut self, token: &str, wall: Timestamp) -> Pairs {
        let Settings {
            rotation,
            rotates,
            revokes_families,
            ..
        } = self.settings;
        let dead = || refusal(Verdict::GrantDead, Reason::GrantExpiredOrRevoked, None);
        let Some(at) = self
            .families
            .iter()
            .position(|f| f.living == token || f.spent.contains_key(token))
        else {
            return dead();
        };
        let family = &mut self.families[at];
        if family.revoked {
            return dead();
        }
        let graced = match (rotation, family.spent.get(token)) {
            (Rotation::Grace(grace), Some(spent)) => spent.until(wall) < grace,
            _ => false,
        };
        if graced {
            return self.tokens(at, wall, true);
        }
        if family.living != token {
            family.revoked |= revokes_families;
            return dead();
        }
        if rotates {
            family.sets += 1;
            let next = format!("refresh-{at}-{}", family.sets);
            let spent = std::mem::replace(&mut family.living, next);
            family.spent.insert(spent, wall);
        }
        self.tokens(at, wall, true)
    }

    pub(super) fn exchange(&mut self, code: &str, verifier: &str, wall: Timestamp) -> Pairs {
        let proof = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(verifier));
        let Some((challenge, subject)) = self.codes.remove(code).filter(|(c, _)| *c == proof) else {
            return refusal(Verdict::GrantDead, Reason::CodeRejected, None);
        };
        drop(challenge);
        // The place stays, so that no code is given twice.
        self.codes.insert(format!("{code}-used"), Default::default());
        if self.settings.one_grant_per_user
            && let Some(at) = self
                .families
                .iter()
                .position(|f| f.subject == subject && !f.revoked)
        {
            return self.tokens(at, wall, false);
        }
        let at = self.families.len();
        self.families.push(Family {
            living: format!("refresh-{at}-0"),
            spent: HashMap::new(),
            revoked: false,
            subject,
            sets: 0,
        });
        self.tokens(at, wall, false)
    }

    pub(super) fn tokens(&mut self, at: usize, wall: Timestamp, refreshed: bool) -> Pairs {
        let access = format!("access-{at}-{}", self.access.len());
        let settings = &self.settings;
        let ends = wall + settings.session;
        let mut pairs = Pairs::from([
            ("access".to_owned(), access.clone()),
            ("ends".to_owned(), ends.0.to_string()),
        ]);
        let mut add = |name: &str, value: &str| pairs.insert(name.to_owned(), value.to_owned());
        add(
            "subject",
            if refreshed {
                &settings.subject
            } else {
                &self.families[at].subject
            },
        );
        if settings.tells_expiry {
            add("known", "true");
        }
        if !(refreshed && settings.omits) {
            add("instance", &settings.instance_url);
            add("scopes", &settings.scopes.join(" "));
        }
        let stays = refreshed && settings.omits && !settings.rotates;
        if !stays && !settings.no_refresh_token {
            add("refresh", &self.families[at].living);
        }
        self.access.insert(access, (at, ends));
        pairs
    }

    pub(super) fn works(&self, token: &str, wall: Timestamp) -> bool {
        self.access
            .get(token)
            .is_some_and(|(family, ends)| !self.families[*family].revoked && wall < *ends)
    }

    pub(super) fn life(&self, token: &str, wall: Timestamp) -> Pairs {
        let mut pairs = Pairs::new();
        if !self.settings.tells_life {
            return refusal(Verdict::MayPass, Reason::ServerUnavailable, None);
        }
        let alive = self.works(token, wall);
        pairs.insert("alive".to_owned(), alive.to_string());
        pairs
    }
}
