//! What tests change and read, through the library or the control API.

use serde_json::{Map, Value};

use crate::ids::fingerprint;
use crate::log::Report;
use crate::state::{Auth, Shared};
use crate::token_answer::Draft;

/// The scope of a grant unless one is given.
const SCOPE: &str = "api refresh_token id";

impl Auth {
    /// The user of this name.
    pub(crate) fn user_named(&self, username: &str) -> Result<usize, String> {
        self.usernames
            .get(username)
            .copied()
            .ok_or_else(|| format!("there is no user {username}"))
    }

    /// The client of this id, or any if none is named.
    fn client_or_only(&self, client_id: Option<&str>) -> Result<String, String> {
        let client = match client_id {
            Some(client_id) => self.clients.get(client_id),
            None => self.clients.values().next(),
        };
        let client = client.map(|client| client.client_id.clone());
        client.ok_or_else(|| "there is no such client".to_owned())
    }
}

/// The report of the log from entry `since` on.
pub(crate) fn report(shared: &Shared, since: u64) -> Report {
    let auth = shared.auth();
    let now = shared.clock.now();
    let first = usize::try_from(since).unwrap_or(usize::MAX).min(auth.log.len());
    let mut in_flight: Vec<String> = auth
        .waiting
        .keys()
        .chain(
            auth.processing
                .iter()
                .filter(|digest| auth.refresh.contains_key(*digest)),
        )
        .map(fingerprint)
        .collect();
    in_flight.sort_unstable();
    in_flight.dedup();
    Report {
        now,
        next: u64::try_from(auth.log.len()).unwrap_or(u64::MAX),
        entries: auth.log.get(first..).unwrap_or_default().to_vec(),
        families: auth.snapshot(now),
        in_flight,
        counters: shared.counters.snapshot(),
    }
}

/// Grants tokens without the pages: a family begins as if the user had just allowed the client.
pub(crate) fn grant(
    shared: &Shared,
    username: &str,
    client_id: Option<&str>,
    scope: Option<&str>,
) -> Result<Map<String, Value>, String> {
    let mut auth = shared.auth();
    let now = shared.clock.now();
    let user = auth.user_named(username)?;
    let client_id = auth.client_or_only(client_id)?;
    let scope = scope.unwrap_or(SCOPE).to_owned();
    let family = auth.begin_family(user, &client_id, scope, None, now);
    let draft = Draft::issue(shared, &mut auth, family, true, now).ok_or("the family is gone")?;
    drop(auth);
    Ok(draft.finish(shared))
}

/// Takes over a refresh token that another simulator issued.
pub(crate) fn adopt(
    shared: &Shared,
    username: &str,
    client_id: Option<&str>,
    refresh_token: &str,
) -> Result<(), String> {
    let mut auth = shared.auth();
    let user = auth.user_named(username)?;
    let client_id = auth.client_or_only(client_id)?;
    let now = shared.clock.now();
    auth.adopt_family(user, &client_id, SCOPE.to_owned(), refresh_token, now);
    Ok(())
}
