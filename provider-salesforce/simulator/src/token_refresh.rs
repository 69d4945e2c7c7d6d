//! `grant_type=refresh_token`: the rules of rotation, and the log of every presentation.

use std::sync::Arc;
use std::time::Duration;

use axum::response::Response;

use crate::client_auth::{Credentials, EXPIRED_TOKEN, IN_WORK, OAuthError, oauth_error};
use crate::clock::Millis;
use crate::faults::TokenFaultKind;
use crate::http::Form;
use crate::ids::{self, Digest, fingerprint};
use crate::in_flight::{Processing, Waiting};
use crate::log::{Outcome, Presentation};
use crate::state::{Auth, Shared};
use crate::token_answer::{Draft, Format};
use crate::token_outcome::{Decision, conclude, lateness};

/// A refresh token as it was presented.
#[derive(Debug)]
struct Presented {
    credentials: Credentials,
    digest: Digest,
    arrived_at: Millis,
    overlap: bool,
    fault: Option<&'static str>,
    /// Its connection was closed before it was processed.
    is_detached: bool,
}

/// Handles a refresh request.
pub(crate) async fn refresh(
    shared: &Arc<Shared>,
    credentials: Credentials,
    form: &Form,
    format: Format,
) -> Response {
    let token = form.get("refresh_token").map(ids::digest);
    let Some(digest) = token else {
        let verdict = match shared.auth().authenticate(&credentials) {
            Ok(_) => oauth_error("invalid_request", "missing required parameter: refresh_token"),
            Err(error) => error,
        };
        return conclude(
            shared,
            None,
            None,
            format,
            false,
            async move { Some(verdict.into()) },
        )
        .await;
    };
    let (fault, waiting, presented, latency) = receive(shared, credentials, digest);
    let late = lateness(fault.as_ref());
    let takes_time = !latency.is_zero() || !late.is_zero();
    let work = process(Arc::clone(shared), presented, late, latency);
    conclude(shared, fault, Some(waiting), format, takes_time, work).await
}

/// Logs a presentation whose client credentials could not even be parsed.
pub(crate) fn note_unreadable(shared: &Shared, form: &Form) {
    let Some(token) = form.get("refresh_token") else {
        return;
    };
    let digest = ids::digest(token);
    let mut auth = shared.auth();
    let now = shared.clock.now();
    let presented = Presented {
        credentials: Credentials::default(),
        digest,
        arrived_at: now,
        overlap: auth.waiting.contains_key(&digest) || auth.processing.contains(&digest),
        fault: None,
        is_detached: false,
    };
    auth.note(&presented, Outcome::ClientRefused, now, None);
}

/// Receives a request: its fault, and whether other requests with this token are in flight.
fn receive(
    shared: &Arc<Shared>,
    credentials: Credentials,
    digest: Digest,
) -> (Option<TokenFaultKind>, Waiting, Presented, Duration) {
    let mut auth = shared.auth();
    let username = auth.owner(&digest);
    let fault = auth.faults.take_token("refresh_token", username.as_deref());
    let (waiting, overlap) = Waiting::register(shared, &mut auth, digest);
    let arrived_at = shared.clock.now();
    let name = fault.as_ref().map(TokenFaultKind::name);
    let is_detached = matches!(fault, Some(TokenFaultKind::Late { close: true, .. }));
    let presented = Presented {
        credentials,
        digest,
        arrived_at,
        overlap,
        fault: name,
        is_detached,
    };
    if fault.as_ref().is_some_and(|fault| !fault.is_processed()) {
        auth.note(&presented, Outcome::NotProcessed, arrived_at, None);
    }
    let latency = Duration::from_millis(auth.settings.token_latency_ms);
    (fault, waiting, presented, latency)
}

/// Marks the token as being processed, and decides.
async fn process(
    shared: Arc<Shared>,
    mut presented: Presented,
    late: Duration,
    latency: Duration,
) -> Option<Decision> {
    if !shared.pause(late).await {
        return None;
    }
    let processing = match arrive(&shared, &mut presented) {
        Ok(processing) => processing,
        Err(error) => return Some(error.into()),
    };
    if !shared.pause(latency).await {
        return None;
    }
    let decided = decide(&shared, &presented);
    let verdict = decided.map(|draft| draft.finish(&shared));
    Some(Decision {
        verdict,
        processing: Some(processing),
    })
}

/// Authenticates the client, and checks whether another request is processing this token.
fn arrive(shared: &Arc<Shared>, presented: &mut Presented) -> Result<Processing, OAuthError> {
    let mut auth = shared.auth();
    if let Err(error) = auth.authenticate(&presented.credentials) {
        auth.note(presented, Outcome::ClientRefused, shared.clock.now(), None);
        return Err(error);
    }
    if presented.is_detached {
        presented.overlap |= auth.waiting.contains_key(&presented.digest);
    }
    if let Some(processing) = Processing::start(shared, &mut auth, presented.digest) {
        return Ok(processing);
    }
    presented.overlap = true;
    auth.note(presented, Outcome::Busy, shared.clock.now(), None);
    Err(IN_WORK)
}

/// Decides about a token that only this request is processing.
fn decide(shared: &Shared, presented: &Presented) -> Result<Draft, OAuthError> {
    let mut auth = shared.auth();
    let now = shared.clock.now();
    let Some(record) = auth.refresh.get(&presented.digest).copied() else {
        auth.note(presented, Outcome::Unknown, now, None);
        return Err(EXPIRED_TOKEN);
    };
    let Some(family) = auth.families.get(record.family) else {
        return Err(EXPIRED_TOKEN);
    };
    let alive = auth.within_policy(family, now);
    let living = family
        .refresh
        .as_ref()
        .filter(|_| alive)
        .map(|living| living.generation);
    if family.client_id != presented.credentials.client_id {
        auth.note(presented, Outcome::WrongClient, now, living);
        return Err(EXPIRED_TOKEN);
    }
    if let Some((outcome, error)) = auth.barred(family.user) {
        auth.note(presented, outcome, now, living);
        return Err(error);
    }
    let outcome = match record.spent_at {
        None if alive => Outcome::Granted,
        None => Outcome::Expired,
        Some(spent_at) => {
            let grace = i64::from(auth.settings.reuse_grace_seconds) * 1000;
            let previous = living == Some(record.generation + 1);
            if previous && now - spent_at < grace {
                Outcome::GrantedInGrace
            } else {
                Outcome::Reused
            }
        }
    };
    let rotation = auth.settings.rotation;
    let drafted = match outcome {
        Outcome::Granted => {
            if rotation {
                auth.rotate(record.family, now);
            }
            Draft::issue(shared, &mut auth, record.family, rotation, now)
        }
        Outcome::GrantedInGrace => Draft::issue(shared, &mut auth, record.family, true, now),
        _ => None,
    };
    let ends = outcome == Outcome::Reused && alive && auth.settings.family_revocation;
    auth.note(presented, outcome, now, living);
    if ends {
        auth.end_family(record.family);
        if let Some(entry) = auth.log.last_mut() {
            entry.family_revoked = true;
        }
    }
    drafted.ok_or(EXPIRED_TOKEN)
}

impl Auth {
    /// The user whose refresh token this is.
    fn owner(&self, digest: &Digest) -> Option<String> {
        if self.faults.token.is_empty() {
            return None;
        }
        let family = self.families.get(self.refresh.get(digest)?.family)?;
        Some(self.users.get(family.user)?.user.username.clone())
    }

    /// Appends a presentation to the log.
    fn note(&mut self, presented: &Presented, result: Outcome, at: Millis, living: Option<u64>) {
        let record = self.refresh.get(&presented.digest);
        let family = record.and_then(|record| self.families.get(record.family));
        let successor = family.and_then(|family| family.refresh.as_ref());
        let is_new = |generation: u64| record.is_some_and(|record| generation > record.generation);
        let granted = matches!(result, Outcome::Granted | Outcome::GrantedInGrace);
        let entry = Presentation {
            seq: u64::try_from(self.log.len()).unwrap_or(u64::MAX),
            at,
            arrived_at: presented.arrived_at,
            client_id: presented.credentials.client_id.clone(),
            token_fingerprint: fingerprint(&presented.digest),
            family: record.and_then(|record| u64::try_from(record.family).ok()),
            username: family
                .and_then(|family| self.users.get(family.user))
                .map(|user| user.user.username.clone()),
            generation: record.map(|record| record.generation),
            living_generation: living,
            result,
            family_revoked: false,
            fault: presented.fault.map(str::to_owned),
            in_flight_overlap: presented.overlap,
            new_fingerprint: successor
                .filter(|living| granted && is_new(living.generation))
                .map(|living| fingerprint(&living.digest)),
        };
        self.log.push(entry);
    }
}
