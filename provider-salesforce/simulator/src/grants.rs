//! The life of token families: issue, rotation, reuse, eviction, revocation, expiry.

use crate::clock::{Millis, minutes};
use crate::family::{Family, Living, RefreshRecord, Session};
use crate::ids::{self, fingerprint};
use crate::log::FamilySnapshot;
use crate::state::Auth;

const DAY: Millis = 86_400_000;

impl Auth {
    /// Begins a family, with a refresh token if the scopes include one. Evicts the oldest family if there are too
    /// many.
    pub(crate) fn begin_family(
        &mut self,
        user: usize,
        client_id: &str,
        scope: String,
        nonce: Option<String>,
        now: Millis,
    ) -> usize {
        let index = self.families.len();
        let mut family = Family {
            user,
            client_id: client_id.to_owned(),
            scope,
            nonce,
            issued_at: now,
            last_used: now,
            alive: true,
            refresh: None,
            sessions: Vec::new(),
        };
        if family.has_scope("refresh_token") || family.has_scope("offline_access") {
            family.refresh = Some(self.new_refresh_token(index, 1));
        }
        let counts = family.refresh.is_some();
        self.families.push(family);
        if counts {
            let key = (user, client_id.to_owned());
            let limit = self.settings.max_approvals.max(1);
            let living = self.living.entry(key).or_default();
            living.push_back(index);
            let mut evicted = Vec::new();
            while living.len() > limit {
                evicted.extend(living.pop_front());
            }
            for old in evicted {
                self.end_family(old);
            }
        }
        index
    }

    /// Begins a family with a refresh token that another simulator issued.
    pub(crate) fn adopt_family(
        &mut self,
        user: usize,
        client_id: &str,
        scope: String,
        refresh_token: &str,
        now: Millis,
    ) {
        let index = self.begin_family(user, client_id, scope, None, now);
        if let Some(own) = self
            .families
            .get_mut(index)
            .and_then(|family| family.refresh.take())
        {
            self.refresh.remove(&own.digest);
        }
        let adopted = self.remember(refresh_token.to_owned(), index, 1);
        if let Some(family) = self.families.get_mut(index) {
            family.refresh = Some(adopted);
        }
    }

    fn new_refresh_token(&mut self, family: usize, generation: u64) -> Living {
        self.remember(ids::refresh_token(), family, generation)
    }

    fn remember(&mut self, token: String, family: usize, generation: u64) -> Living {
        let digest = ids::digest(&token);
        self.refresh.insert(
            digest,
            RefreshRecord {
                family,
                generation,
                spent_at: None,
            },
        );
        Living {
            token,
            digest,
            generation,
        }
    }

    /// Spends the valid refresh token of a family and issues the next one.
    pub(crate) fn rotate(&mut self, family: usize, now: Millis) {
        let Some(spent) = self
            .families
            .get_mut(family)
            .and_then(|family| family.refresh.take())
        else {
            return;
        };
        if let Some(record) = self.refresh.get_mut(&spent.digest) {
            record.spent_at = Some(now);
        }
        let next = self.new_refresh_token(family, spent.generation + 1);
        if let Some(family) = self.families.get_mut(family) {
            family.refresh = Some(next);
        }
    }

    /// Issues an access token to a family.
    pub(crate) fn issue_access_token(&mut self, family: usize, now: Millis) -> String {
        let Some(entry) = self.families.get_mut(family) else {
            return String::new();
        };
        let org = self
            .users
            .get(entry.user)
            .map_or("", |user| user.org_id18.get(..15).unwrap_or_default());
        let token = ids::access_token(org);
        let key: Box<str> = token.as_str().into();
        // Only now and then, so that the cost per token is constant however many there are.
        if entry.sessions.len() >= 8 && entry.sessions.len().is_power_of_two() {
            let sessions = &mut self.sessions;
            entry.sessions.retain(|token| {
                let alive = sessions.get(token).is_some_and(|session| now < session.ends_at());
                if !alive {
                    sessions.remove(token);
                }
                alive
            });
        }
        entry.sessions.push(key.clone());
        entry.last_used = now;
        let timeout = minutes(self.settings.session_minutes);
        self.sessions.insert(
            key,
            Session {
                family,
                issued_at: now,
                last_active: now,
                timeout,
            },
        );
        token
    }

    /// Ends a family: its refresh token and all its access tokens.
    pub(crate) fn end_family(&mut self, index: usize) {
        let Some(family) = self.families.get_mut(index) else {
            return;
        };
        family.alive = false;
        for token in family.sessions.drain(..) {
            self.sessions.remove(&token);
        }
        if family.refresh.is_none() {
            return;
        }
        if let Some(living) = self.living.get_mut(&(family.user, family.client_id.clone())) {
            living.retain(|other| *other != index);
        }
    }

    /// Whether a family's refresh token is within the policies on idle time and lifetime.
    pub(crate) fn within_policy(&self, family: &Family, now: Millis) -> bool {
        let idle = self.settings.refresh_idle_days.map(|days| i64::from(days) * DAY);
        let life = self
            .settings
            .refresh_lifetime_days
            .map(|days| i64::from(days) * DAY);
        family.alive
            && idle.is_none_or(|limit| now - family.last_used < limit)
            && life.is_none_or(|limit| now - family.issued_at < limit)
    }

    /// The family of a valid access token of an active user. `active` counts as activity of the session.
    pub(crate) fn session(&mut self, token: &str, now: Millis, active: bool) -> Option<(&Session, &Family)> {
        let sliding = self.settings.sliding_sessions;
        let session = self.sessions.get_mut(token)?;
        let family = self.families.get(session.family)?;
        if now >= session.ends_at() || !family.alive || !self.users.get(family.user)?.active {
            return None;
        }
        if active && sliding && now - session.last_active >= session.timeout / 2 {
            session.last_active = now;
        }
        Some((session, family))
    }

    /// Revokes a token: an access token alone, a valid refresh token with its whole family.
    pub(crate) fn revoke_token(&mut self, token: &str, now: Millis) -> bool {
        if let Some(session) = self.sessions.remove(token) {
            if let Some(family) = self.families.get_mut(session.family) {
                family.sessions.retain(|other| &**other != token);
            }
            return now < session.ends_at();
        }
        let record = self.refresh.get(&ids::digest(token)).copied();
        let family = record
            .filter(|record| record.spent_at.is_none())
            .map(|record| record.family);
        match family {
            Some(family) if self.families.get(family).is_some_and(|entry| entry.alive) => {
                self.end_family(family);
                true
            }
            _ => false,
        }
    }

    /// Ends all families of a user and forgets what the user allowed. Returns the number of families that ended.
    pub(crate) fn revoke_user(&mut self, user: usize) -> usize {
        let families: Vec<usize> = (0..self.families.len())
            .filter(|index| {
                self.families
                    .get(*index)
                    .is_some_and(|family| family.alive && family.user == user)
            })
            .collect();
        for family in &families {
            self.end_family(*family);
        }
        self.approvals.retain(|(owner, _), _| *owner != user);
        families.len()
    }

    /// Ends access tokens only, of one user or of all. Returns their number.
    pub(crate) fn expire_sessions(&mut self, user: Option<usize>) -> usize {
        let before = self.sessions.len();
        for family in &mut self.families {
            if user.is_none_or(|user| family.user == user) {
                for token in family.sessions.drain(..) {
                    self.sessions.remove(&token);
                }
            }
        }
        before - self.sessions.len()
    }

    /// The living families, oldest first.
    pub(crate) fn snapshot(&self, now: Millis) -> Vec<FamilySnapshot> {
        let alive = |token: &str| {
            self.sessions
                .get(token)
                .is_some_and(|session| now < session.ends_at())
        };
        self.families
            .iter()
            .enumerate()
            .filter(|(_, family)| family.alive)
            .filter_map(|(index, family)| {
                let user = self.users.get(family.user)?;
                Some(FamilySnapshot {
                    family: u64::try_from(index).ok()?,
                    username: user.user.username.clone(),
                    org_id: user.org_id18.clone(),
                    client_id: family.client_id.clone(),
                    generation: family.refresh.as_ref().map_or(0, |living| living.generation),
                    token_fingerprint: family.refresh.as_ref().map(|living| fingerprint(&living.digest)),
                    access_tokens_alive: family.sessions.iter().filter(|token| alive(token)).count(),
                    issued_at: family.issued_at,
                })
            })
            .collect()
    }
}
