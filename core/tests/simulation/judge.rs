//! The far side: what the provider was shown, and what stood in the rows. It never asks a broker.

use std::collections::{HashMap, HashSet};

use grantry::{
    connection::{GrantVersion, Status},
    protocol::Refresh,
    store::Stored,
    testing::Seen,
};

use crate::{
    facts::{Connection, Family, Lease, Presentation, ProcessFacts, Token, TokenFacts, Told},
    plan::Mode,
};

/// How long nothing may be presented after an unknown outcome.
pub const QUARANTINE: u64 = 60_000;
/// Both ends of a span are read in whole milliseconds.
const ROUNDING: u64 = 5;

pub struct Judge {
    mode: Mode,
    pub presentations: Vec<Presentation>,
    pub families: Vec<Family>,
    pub tokens: HashMap<Token, TokenFacts>,
    pub connections: Vec<Connection>,
    pub processes: Vec<ProcessFacts>,
    /// The refresh token that each access token was given with.
    pairs: HashMap<String, Token>,
    /// Sets that a caller called refused: process, incarnation, connection.
    pub refused: HashSet<(usize, u32, usize, GrantVersion)>,
    /// Sets that were stored though their grant was dead, until somebody tries them: process, incarnation, access token.
    pub suspects: Vec<(usize, u32, String)>,
    pub unrecorded: u64,
    pub violations: Vec<String>,
}

impl Judge {
    pub fn new(mode: Mode, processes: usize) -> Self {
        Self {
            mode,
            presentations: Vec::new(),
            families: Vec::new(),
            tokens: HashMap::new(),
            connections: Vec::new(),
            processes: vec![ProcessFacts::default(); processes],
            pairs: HashMap::new(),
            refused: HashSet::new(),
            suspects: Vec::new(),
            unrecorded: 0,
            violations: Vec::new(),
        }
    }

    pub fn violated(&mut self, rule: &str, detail: impl std::fmt::Display) {
        self.violations.push(format!("{rule}: {detail}"));
    }

    pub fn family(&mut self, at: usize) -> &mut Family {
        while self.families.len() <= at {
            self.families.push(Family::default());
        }
        &mut self.families[at]
    }

    /// Whether a caller of this process called the set refused, or one that it holds and the store has not yet.
    pub fn is_refused(&self, process: usize, connection: usize, name: GrantVersion) -> bool {
        let incarnation = self.processes[process].incarnation;
        let it = |(p, i, c, n): &(usize, u32, usize, GrantVersion)| {
            (*p, *i, *c) == (process, incarnation, connection) && *n >= name
        };
        self.refused.iter().any(it)
    }

    pub fn is_running(&self, process: usize, incarnation: u32) -> bool {
        let facts = &self.processes[process];
        facts.alive && facts.incarnation == incarnation
    }

    /// A code was exchanged for a set of the grant; a token that was known before is as good as new.
    pub fn granted(&mut self, token: Token, access: &str, connection: usize) {
        self.pairs.insert(access.to_owned(), token);
        self.family(token.family).connection = Some(connection);
        self.settle(token);
    }

    fn settle(&mut self, token: Token) {
        for at in self.tokens.entry(token).or_default().presentations.clone() {
            self.presentations[at].settled = true;
        }
    }

    /// The engine hands over a request with this token, right after its gate.
    pub fn handed(&mut self, now: u64, process: usize, token: Token) -> usize {
        self.judge_presentation(now, process, token);
        let connection = self.family(token.family).connection;
        let lease = connection.and_then(|c| self.connections.get(c)?.leases[process]);
        let at = self.presentations.len();
        self.presentations.push(Presentation {
            lease_at: lease.map_or(now, |lease| lease.at),
            set: lease.map(|lease| lease.set).unwrap_or_default(),
            process,
            incarnation: self.processes[process].incarnation,
            token,
            handed: now,
            left: None,
            processed: None,
            told: None,
            gave: None,
            settled: false,
        });
        self.tokens.entry(token).or_default().presentations.push(at);
        at
    }

    /// Whether the token may be presented again (I1, I2).
    fn judge_presentation(&mut self, now: u64, process: usize, token: Token) {
        let connection = self.family(token.family).connection;
        let Some(connection) = connection.and_then(|c| self.connections.get(c)) else {
            return;
        };
        let lease = connection.leases[process];
        let rolled_back = connection.rolled_back.then_some(connection.rolled_back_at);
        let earlier = self.tokens.entry(token).or_default().presentations.clone();
        for at in earlier {
            let before = &self.presentations[at];
            if before.settled || before.told == Some(Told::Unspent) {
                continue;
            }
            // Whoever restores a backup brings spent tokens back, and forgets leases.
            let forgotten = |lease_at| rolled_back.is_some_and(|rolled_back| rolled_back >= lease_at);
            let own = lease.is_some_and(|lease| forgotten(lease.at) && lease.at <= before.lease_at);
            if forgotten(before.lease_at) || own {
                continue;
            }
            // A newer set holds the very same token: the provider did not rotate it.
            if !self.mode.rotates() && lease.is_some_and(|lease| lease.set != before.set) {
                continue;
            }
            let waits = before.told.is_none() && self.is_running(before.process, before.incarnation);
            let passed = now - before.handed;
            if waits && passed + ROUNDING < 25_000 {
                self.violated("I1", format_args!("{} is in flight twice", token.text()));
                self.unrecorded += 1;
                continue;
            }
            if self.mode == Mode::Reusable {
                continue;
            }
            let recorded = lease.is_some_and(|lease| lease.attempt >= 2 && lease.at >= before.handed);
            let waited = match self.mode {
                Mode::Grace(grace) if passed < grace * 1000 => true,
                _ => passed + ROUNDING >= QUARANTINE,
            };
            if !recorded || !waited {
                let why = if recorded {
                    "before its quarantine passed"
                } else {
                    "unrecorded"
                };
                self.unrecorded += 1;
                self.violated("I2", format_args!("{} is presented again {why}", token.text()));
            }
        }
    }

    /// Somebody presents a token again; whether its access token still lives is known to the world only.
    pub fn risks(&mut self, process: usize, token: Token, lives_for: Option<u64>) {
        let Some(at) = self.family(token.family).connection else {
            return;
        };
        let Some(connection) = self.connections.get(at) else {
            return;
        };
        // What was stored since the lease was written is another matter.
        let since = connection.changed_at;
        let again = connection.leases[process].is_some_and(|lease| lease.attempt >= 2 && lease.at > since);
        let name = connection.seen.row.version;
        let stored = connection.seen.refresh == token.text();
        let strict = matches!(
            self.mode,
            Mode::StrictRevoke | Mode::StrictReject | Mode::StrictStays
        );
        let lives = lives_for.is_some_and(|millis| millis > 40_000);
        if again && stored && strict && lives && !self.is_refused(process, at, name) {
            self.violated(
                "I6",
                format_args!("{} is risked while its access token lives", token.text()),
            );
        }
    }

    /// The request leaves the process.
    pub fn left(&mut self, now: u64, at: usize) {
        let me = self.presentations[at].clone();
        self.presentations[at].left = Some(now);
        let others = self.tokens.entry(me.token).or_default().presentations.clone();
        let overtaken = others
            .iter()
            .map(|at| &self.presentations[*at])
            .any(|other| other.handed > me.handed && other.told != Some(Told::Unspent));
        let connection = self.family(me.token.family).connection;
        let rolled_back = connection
            .and_then(|c| self.connections.get(c))
            .is_some_and(|c| c.rolled_back);
        if !overtaken || !self.mode.rotates() || rolled_back {
            return;
        }
        if now - me.handed + ROUNDING < QUARANTINE && !matches!(self.mode, Mode::Grace(_)) {
            self.violated("I1", format_args!("{} was overtaken too early", me.token.text()));
        }
        self.family(me.token.family).left_too_late = true;
    }

    /// The provider processed it.
    pub fn processed(&mut self, now: u64, at: usize, gave: Option<(Token, String)>, dead: bool, ended: bool) {
        let token = self.presentations[at].token;
        self.presentations[at].processed = Some(now);
        if let Some((next, access)) = gave {
            self.presentations[at].gave = Some(next);
            self.pairs.insert(access, next);
            if next != token {
                let facts = self.tokens.entry(token).or_default();
                facts.spent_by.get_or_insert(at);
            }
        }
        if dead && ended {
            let family = self.family(token.family);
            if !family.ended_by_admin && family.revoked_by_broker.is_none() {
                family.ended_by.get_or_insert(at);
            }
        }
    }

    /// Whoever presented it came to know something, or gave up.
    pub fn told(&mut self, at: usize, told: Told) {
        let presentation = &mut self.presentations[at];
        if presentation.told.is_some() {
            return;
        }
        presentation.told = Some(told);
        if told == Told::Tokens && presentation.gave == Some(presentation.token) {
            let token = presentation.token;
            self.settle(token);
        }
    }

    /// Somebody restored a backup of a row.
    pub fn rolled_back(&mut self, now: u64, id: usize) {
        let facts = &mut self.connections[id];
        facts.rolled_back = true;
        facts.rolled_back_at = now;
    }

    /// A replica takes over that does not have what was written to a row since. A backup excuses presentations; this does
    /// not, as nothing may be sent in a lease that a replica does not have.
    pub fn forgotten(&mut self, connection: usize, since: u64) {
        for (token, facts) in &mut self.tokens {
            let family = self.families.get(token.family);
            if family.and_then(|family| family.connection) == Some(connection) {
                facts.stored = facts.stored.filter(|at| *at < since);
            }
        }
    }

    /// A row was written: by a process, or by whoever restored a backup, or it is what a replica had.
    #[expect(clippy::too_many_arguments, reason = "all that is known of a write")]
    pub fn row(
        &mut self,
        now: u64,
        by: Option<usize>,
        connection: usize,
        stored: Stored,
        seen: Seen,
        grant_lives: bool,
        wrong_clock: bool,
    ) {
        let processes = self.processes.len();
        if connection == self.connections.len() {
            self.connections.push(Connection {
                seen: seen.clone(),
                changed_at: now,
                reconnected_at: now,
                ended_at: None,
                rolled_back: false,
                expired_by_wrong_clock: false,
                rolled_back_at: 0,
                end_lost: false,
                snapshots: Vec::new(),
                leases: vec![None; processes],
            });
        }
        let before = self.connections[connection].seen.clone();
        let (old, new) = (before.row.version, seen.row.version);
        if by.is_some() && (new.epoch < old.epoch || new.generation < old.generation) {
            self.violated("I4", format_args!("the row went from {old} back to {new}"));
        }
        if by.is_some() && old == new && before.row.write_id != seen.row.write_id {
            self.violated("I5", format_args!("two sets are called {new}"));
        }
        let revived = match before.row.status {
            Status::Deleted => seen.row.status != Status::Deleted,
            Status::Revoked => old.epoch == new.epoch && seen.row.status != Status::Revoked,
            Status::Connected | Status::Expired => false,
        };
        if by.is_some() && revived {
            self.violated(
                "I10",
                format_args!("connection {connection} was ended, and came back"),
            );
        }
        if !seen.access.is_empty() {
            self.judge_set(connection, &seen);
        }
        if let Some(token) = Token::parse(&seen.refresh) {
            self.tokens.entry(token).or_default().stored.get_or_insert(now);
        }
        let again = matches!(
            before.row.refresh,
            Refresh::Leased { attempt: 2.., .. } | Refresh::Unknown { .. }
        );
        let late = again || before.row.status == Status::Expired;
        if let (Some(process), true) = (
            by,
            late && !grant_lives
                && !self.connections[connection].rolled_back
                && old.epoch == new.epoch
                && old < new,
        ) {
            let incarnation = self.processes[process].incarnation;
            self.suspects.push((process, incarnation, seen.access.clone()));
        }
        let facts = &mut self.connections[connection];
        if facts.snapshots.len() < 12 {
            facts.snapshots.push(stored);
        }
        if let (Some(process), Refresh::Leased { attempt, .. }) = (by, seen.row.refresh) {
            facts.leases[process] = Some(Lease {
                attempt,
                at: now,
                set: new,
            });
        }
        facts.ended_at = match seen.row.status {
            Status::Revoked | Status::Deleted => facts.ended_at.or(Some(now)),
            Status::Connected | Status::Expired => None,
        };
        facts.end_lost |= new.epoch < old.epoch;
        if seen.row.status == Status::Expired && before.row.status != Status::Expired {
            facts.expired_by_wrong_clock = wrong_clock;
        }
        let changed = facts.seen.row.write_id != seen.row.write_id;
        if changed {
            facts.changed_at = now;
        }
        if new.epoch != old.epoch {
            facts.reconnected_at = now;
        }
        let stays = changed && facts.seen.refresh == seen.refresh;
        let token = Token::parse(&seen.refresh).filter(|_| stays);
        facts.seen = seen;
        if let Some(token) = token {
            // Stored anew: the provider does not rotate, and no presentation has spent it.
            self.settle(token);
        }
    }

    /// Both tokens of a stored set came in one answer, for this connection (I5).
    fn judge_set(&mut self, connection: usize, seen: &Seen) {
        let token = Token::parse(&seen.refresh);
        if self.pairs.get(&seen.access).copied() != token {
            self.violated(
                "I5",
                format_args!("{} is stored with {}", seen.access, seen.refresh),
            );
        }
        if let Some(token) = token
            && self.family(token.family).connection != Some(connection)
        {
            self.violated("I5", format_args!("{} is another connection's", seen.refresh));
        }
    }
}
