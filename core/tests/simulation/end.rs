//! The end of a run: once the faults stop, everything must come right again, and what did not must have a reason.

use std::time::Duration;

use grantry::{
    connection::Status,
    error::Code,
    protocol::Refresh,
    time::{Clock as _, Timestamp},
};

use crate::{
    calls::Wish,
    facts::{Connection, Token, Told},
    judge::{Judge, QUARANTINE},
    trace::Who,
    world::World,
};

/// How long to wait between looks, in seconds: five days in all.
fn looks() -> impl Iterator<Item = u64> {
    let first = [0, 1, 5, 15, 45, 61, 120, 300, 600, 1200, 1800];
    first.into_iter().chain([3600; 24]).chain([12 * 3600; 8])
}

impl World {
    /// Stops the faults, and lets time pass until everything is right.
    pub async fn converge(&mut self) {
        self.heal();
        let mut right = false;
        for (look, span) in looks().enumerate() {
            // Somebody may still be about to disable it.
            let off = self.sim.state().disabled_since.is_some();
            if look < 7 || off {
                self.enable().await;
            }
            self.pass(Duration::from_secs(span)).await;
            for connection in 0..self.plan().connections {
                for process in 0..self.plan().processes {
                    self.use_once(process, connection).await;
                }
            }
            right = self.unsettled().is_none();
            if right && look > 3 {
                break;
            }
        }
        if !right {
            let why = self.unsettled().unwrap_or_default();
            self.sim.state().judge.violated("convergence", why);
            return;
        }
        for connection in 0..self.plan().connections {
            self.prove(connection).await;
        }
        self.judge_suspects();
        self.judge_ends();
        self.judge_leftovers();
    }

    /// Time passes. Where the loops run at their usual pace most of it is slept through, as it would take too long.
    async fn pass(&self, span: Duration) {
        let awake = Duration::from_secs(22);
        if self.plan().usual_intervals && span > awake {
            self.sim.step(span - awake);
            tokio::time::sleep(awake).await;
        } else {
            tokio::time::sleep(span).await;
        }
    }

    /// A caller uses what it is given, and says so if it is refused.
    async fn use_once(&self, process: usize, connection: usize) {
        let call = self.call(process, connection, Wish::Credentials, Duration::ZERO, None);
        if let Ok(Some(Ok((set, access)))) = call.await
            && !self.sim.upstream.works(&access)
        {
            let _ = self
                .call(process, connection, Wish::Refused(set), Duration::ZERO, None)
                .await;
        }
    }

    /// What is not right yet.
    fn unsettled(&self) -> Option<String> {
        let state = self.sim.state();
        if state.open > 0 {
            return Some("something is still on its way".to_owned());
        }
        if state.disabled_since.is_some() {
            return Some("the integration is off".to_owned());
        }
        let wall = self.sim.provider_clock.wall();
        for (at, connection) in state.judge.connections.iter().enumerate() {
            let seen = &connection.seen;
            // A time in the future beyond every wait was written by a clock that was wrong.
            let comes = |next: &Timestamp| wall.until(*next) <= Duration::from_secs(25 * 3600);
            if seen.owed.iter().any(comes) {
                return Some(format!("connection {at} owes {} revocations", seen.owed.len()));
            }
            if seen.row.status != Status::Connected {
                continue;
            }
            if seen.row.refresh != Refresh::Idle {
                return Some(format!("connection {at} stands at {:?}", seen.row.refresh));
            }
            if !self.sim.upstream.lives(&seen.refresh) {
                return Some(format!("connection {at} lives on the dead {}", seen.refresh));
            }
        }
        None
    }

    /// A connected connection is refreshed once more, and what comes of it works.
    async fn prove(&self, connection: usize) {
        let seen = self.sim.state().judge.connections[connection].seen.clone();
        if seen.row.status != Status::Connected {
            return;
        }
        let process = connection % self.plan().processes;
        let wish = Wish::Refused(seen.row.version);
        let mut given = self.call(process, connection, wish, Duration::ZERO, None).await;
        if matches!(&given, Ok(Some(Err(error))) if error.code() == Code::RefreshNotSent) {
            // A refresh of before, which keeps its place for two seconds.
            tokio::time::sleep(Duration::from_secs(3)).await;
            given = self.call(process, connection, wish, Duration::ZERO, None).await;
        }
        let works = matches!(&given, Ok(Some(Ok((_, access)))) if self.sim.upstream.works(access));
        if !works {
            let why = format!("connection {connection} does not work at the end: {given:?}");
            self.sim.state().judge.violated("I6", why);
        }
    }

    /// A set that came late was tried before it counted as healthy, unless its process died.
    fn judge_suspects(&self) {
        let mut state = self.sim.state();
        for (process, incarnation, access) in state.judge.suspects.clone() {
            if state.judge.is_running(process, incarnation) {
                state.judge.violated(
                    "I9",
                    format_args!("{access} was stored dead, and nobody tried it"),
                );
            }
        }
    }

    /// Whoever is expired has a dead grant, and it died of something that was done to it.
    fn judge_ends(&self) {
        for at in 0..self.plan().connections {
            let connection = self.sim.state().judge.connections[at].clone();
            let seen = &connection.seen;
            if seen.row.status != Status::Expired {
                continue;
            }
            if seen.row.reason.is_none() {
                self.sim
                    .state()
                    .judge
                    .violated("I9", format_args!("connection {at} is expired without a reason"));
            }
            if self.sim.upstream.lives(&seen.refresh) {
                if !self.misdated(&connection) {
                    self.sim.state().judge.violated(
                        "I6",
                        format_args!("connection {at} is expired, and {} lives", seen.refresh),
                    );
                }
                continue;
            }
            if let Some(token) = Token::parse(&seen.refresh)
                && !connection.rolled_back
                && let Err(why) = self.death(token)
            {
                self.sim
                    .state()
                    .judge
                    .violated("I3", format_args!("connection {at} died: {why}"));
            }
        }
    }

    /// Whether the row's end of the access token was written, or read, by a clock that was wrong: a token that came to its
    /// end then looks as if it had been ended, and its grant with it.
    fn misdated(&self, connection: &Connection) -> bool {
        let seen = &connection.seen;
        let end = self.sim.upstream.access_end(&seen.access);
        let off = |end: Timestamp| end.millis().abs_diff(seen.access_ends.millis()) > 60_000;
        self.plan().faults.clock && (connection.expired_by_wrong_clock || end.is_some_and(off))
    }

    /// What a stored token that does not live any more died of; an error if it need not have.
    fn death(&self, token: Token) -> Result<&'static str, String> {
        let state = self.sim.state();
        let judge = &state.judge;
        let family = &judge.families[token.family];
        if family.ended_by_admin {
            return Ok("an admin ended it");
        }
        if family.left_too_late {
            return Ok("a request left its process after a quarantine");
        }
        let connection = &judge.connections[family.connection.unwrap()];
        // Also a set of it that was let go when the connection ended, and was lost together with that.
        if connection.end_lost && family.revoked_by_broker.is_some() {
            return Ok("its end was lost, and it was revoked");
        }
        let facts = judge.tokens.get(&token).cloned().unwrap_or_default();
        if let Some(at) = facts.spent_by {
            return Self::lost(judge, at);
        }
        if family
            .revoked_by_broker
            .is_some_and(|asked| asked <= connection.reconnected_at)
        {
            return Ok("it was being revoked when the user came back with it");
        }
        if family.revoked_by_broker.is_some() {
            return Err(format!("{} was revoked by its own broker", token.text()));
        }
        let Some(at) = family.ended_by else {
            return Err(format!("{} ended for no reason", token.text()));
        };
        let spent = judge.presentations[at].token;
        match judge.tokens.get(&spent).and_then(|facts| facts.spent_by) {
            Some(at) => Self::lost(judge, at),
            None => Err(format!("{} was refused unspent", spent.text())),
        }
    }

    /// Whether the set that a presentation was answered with could not be kept.
    fn lost(judge: &Judge, at: usize) -> Result<&'static str, String> {
        let presentation = &judge.presentations[at];
        if presentation.told != Some(Told::Tokens) {
            return Ok("an answer was lost");
        }
        let next = presentation.gave.unwrap();
        let stored = judge.tokens.get(&next).and_then(|facts| facts.stored);
        let process = &judge.processes[presentation.process];
        match stored {
            None if process.incarnation != presentation.incarnation => Ok("its process died first"),
            Some(stored) if stored >= presentation.handed + QUARANTINE => Ok("its process was cut off"),
            _ => Err(format!("{} reached a living process and is lost", next.text())),
        }
    }

    /// No grant is left at the provider that no connection lives on.
    fn judge_leftovers(&self) {
        let families = self.sim.state().judge.families.len();
        for at in 0..families {
            let Some((living, true)) = self.sim.upstream.grant(at) else {
                continue;
            };
            let token = Token::parse(&living).unwrap();
            let last = self.sim.state().judge.families[at].connection;
            let last = last.map(|c| self.sim.state().judge.connections[c].clone());
            let misdated = last.is_some_and(|c| c.seen.row.status == Status::Expired && self.misdated(&c));
            let mut state = self.sim.state();
            let judge = &mut state.judge;
            let family = judge.families[at].clone();
            let connection = family.connection.map(|c| judge.connections[c].clone());
            let Some(connection) = connection else { continue };
            let in_use = connection.seen.row.status == Status::Connected
                && Token::parse(&connection.seen.refresh).is_some_and(|t| t.family == at);
            let known = judge
                .tokens
                .get(&token)
                .is_some_and(|facts| facts.stored.is_some());
            let owed = !connection.seen.owed.is_empty();
            if in_use || connection.rolled_back || connection.end_lost || !known || owed || misdated {
                continue;
            }
            judge.violated("leftover", format_args!("{living} lives on, and nobody keeps it"));
        }
    }

    /// What a run says at its end.
    pub fn close(&self) {
        let statuses: Vec<_> = self
            .sim
            .state()
            .judge
            .connections
            .iter()
            .map(|c| c.seen.row.status.as_str())
            .collect();
        for (at, status) in statuses.into_iter().enumerate() {
            self.sim.say(Who::World, "ends", status, [at as u64, 0, 0]);
        }
    }
}
