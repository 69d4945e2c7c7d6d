//! The world that is explored: one row, some processes, requests on their way, and a provider.
//!
//! Time has no numbers here. The row's refresh state is living, lapsed or past its quarantine, and moves from one to the
//! next at any moment; the functions are called with a `now` that fits. A write by anybody makes every other process
//! read again: their compare-and-swap would conflict and change nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

use grantry::{
    connection::{Reason, SetName, Status},
    refresh::protocol::{self, Ask, Commit, Dead, Policy, Refresh, Row, Take, Unresolved},
    time::{StoreInstant, Timestamp},
};

use crate::upstream::{self, Answer, Family, Mode, Set, Token};

/// How often each thing may go wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Budget {
    pub lapse: u8,
    pub request_lost: u8,
    pub answer_lost: u8,
    pub late: u8,
    pub crash: u8,
    pub error_before: u8,
    pub error_after: u8,
    pub may_pass: u8,
    pub unprocessed: u8,
    pub reconnect: u8,
    pub delete: u8,
    pub access_ends: u8,
    pub not_sent: u8,
    /// A process may sit on received tokens for longer than the quarantine.
    pub hold: bool,
    /// A process may sleep between gate and send for longer than the quarantine.
    pub pause: bool,
}

/// How far the row's refresh state has aged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Age {
    Living,
    Lapsed,
    Over,
}

/// Every absolute time in a row is this one; [`Age`] says how long ago it is.
const MOMENT: StoreInstant = StoreInstant {
    era: 1,
    millis: 1_000_000_000,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum At {
    Idle,
    /// About to decide what to do, or to write it; the flag says that the present row was read.
    Take,
    Gate,
    Ready,
    Waiting,
    Got,
    Commit,
    Unknown,
    InProgress,
    GiveBack,
    Cool,
    Dead,
}

/// What a process holds while it works on a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Work {
    spent: SetName,
    token: Token,
    attempt: u32,
    replaced: Refresh,
    answer: Option<Answer>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Process {
    /// Counts restarts, so that a restarted process is another holder.
    life: u8,
    at: At,
    /// The present row was read.
    read: bool,
    work: Option<Work>,
}

/// A request on its way: whose (nobody's, if its sender is gone), with which token, and whether it is being processed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Request {
    owner: Option<usize>,
    token: Token,
    processing: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    row: Row,
    age: Age,
    processes: Vec<Process>,
    requests: Vec<Request>,
    families: Vec<Family>,
    /// Access tokens that ended.
    dead: BTreeSet<u128>,
    /// Presentations of each token without a "busy" or a passing refusal: effective, and in all.
    presented: BTreeMap<Token, (u8, u8)>,
    budget: Budget,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Verdict {
    pub states: usize,
    pub presentations: u8,
    ends: BTreeSet<&'static str>,
    pub violations: Vec<String>,
    /// No violations, but worth counting.
    pub notes: BTreeSet<&'static str>,
}

impl Verdict {
    pub fn ends(&self) -> String {
        self.ends.iter().copied().collect::<Vec<_>>().join(", ")
    }
}

pub struct Checker {
    processes: usize,
    mode: Mode,
    policy: Policy,
    budget: Budget,
    verdict: Verdict,
    found: BTreeSet<String>,
}

impl Checker {
    pub fn new(processes: usize, mode: Mode, policy: Policy, budget: Budget) -> Self {
        Self {
            processes,
            mode,
            policy,
            budget,
            verdict: Verdict::default(),
            found: BTreeSet::new(),
        }
    }

    /// Explores everything.
    pub fn run(mut self) -> Verdict {
        let first = Set {
            token: Token {
                family: 0,
                rotation: 0,
            },
            serial: 0,
        };
        let start = State {
            row: Row {
                name: SetName {
                    epoch: 0,
                    generation: 0,
                },
                ..protocol::first(first.id())
            },
            age: Age::Living,
            processes: vec![
                Process {
                    life: 0,
                    at: At::Idle,
                    read: false,
                    work: None
                };
                self.processes
            ],
            requests: Vec::new(),
            families: vec![Family::default()],
            dead: BTreeSet::new(),
            presented: BTreeMap::new(),
            budget: self.budget,
        };
        let mut seen = HashMap::from([(start.clone(), 0_usize)]);
        let mut states = vec![start.clone()];
        let mut back: Vec<Vec<usize>> = vec![Vec::new()];
        let mut ends = Vec::new();
        let mut queue = VecDeque::from([0_usize]);
        while let Some(index) = queue.pop_front() {
            let state = states[index].clone();
            for next in self.successors(&state) {
                let known = seen.len();
                let to = *seen.entry(next.clone()).or_insert(known);
                if to == known {
                    states.push(next);
                    back.push(Vec::new());
                    queue.push_back(to);
                }
                if to != index {
                    back[to].push(index);
                }
            }
            let quiet = state.processes.iter().all(|p| p.at == At::Idle) && state.requests.is_empty();
            if quiet && let Some(end) = self.classify(&state) {
                self.verdict.ends.insert(end);
                ends.push(index);
                if end.contains("SILENT") || end.contains("NEEDLESS") || end.contains("LEFT OVER") {
                    self.found.insert(end.to_owned());
                }
            }
        }
        // Liveness: from every state an end can be reached.
        let mut good: HashSet<usize> = ends.iter().copied().collect();
        while let Some(index) = ends.pop() {
            for &before in &back[index] {
                if good.insert(before) {
                    ends.push(before);
                }
            }
        }
        if good.len() < states.len() {
            self.found.insert("STUCK: no end can be reached".to_owned());
        }
        self.verdict.states = states.len();
        self.verdict.presentations = states
            .iter()
            .flat_map(|s| s.presented.values().map(|p| p.1))
            .max()
            .unwrap_or(0);
        self.verdict.violations = self.found.into_iter().collect();
        self.verdict
    }

    /// What an end state is. `None`: it is none; somebody will act.
    fn classify(&self, state: &State) -> Option<&'static str> {
        let row = &state.row;
        let family_alive = |set: Set| {
            let family = state.families[usize::from(set.token.family)];
            family.living == set.token.rotation && !family.revoked
        };
        match row.status {
            Status::Deleted | Status::Revoked => Some(if state.families.iter().all(|f| f.revoked) {
                "deleted"
            } else if self.budget.late > 0 {
                // Documented: a delete while an answer is lost may leave a grant upstream.
                "deleted, grant left upstream by a lost answer"
            } else {
                "deleted, grant LEFT OVER"
            }),
            Status::Expired if family_alive(Set::of(row.set)) => Some("expired, NEEDLESS"),
            Status::Expired => Some("expired, truly dead"),
            Status::Connected if row.refresh == Refresh::Idle && done(row) => {
                Some(if family_alive(Set::of(row.set)) {
                    "healthy"
                } else {
                    "SILENT DEAD"
                })
            }
            Status::Connected => None,
        }
    }

    fn holder(state: &State, i: usize) -> u128 {
        1 + (i as u128) * 100 + u128::from(state.processes[i].life)
    }

    /// `now` as the row's age asks for it.
    fn now(&self, state: &State) -> StoreInstant {
        let after = match state.age {
            Age::Living => {
                return StoreInstant {
                    millis: MOMENT.millis - 1,
                    ..MOMENT
                };
            }
            Age::Lapsed => 0,
            Age::Over => 1_000_000_000_u64,
        };
        StoreInstant {
            millis: MOMENT.millis + after,
            ..MOMENT
        }
    }

    /// Gives a written row the one moment, and says how old it is.
    fn normal(row: Row) -> (Row, Age) {
        let cap = |attempt: u32| attempt.min(3);
        let (refresh, age) = match row.refresh {
            Refresh::Idle => (Refresh::Idle, Age::Living),
            Refresh::Turn { holder, attempt, .. } => (
                Refresh::Turn {
                    holder,
                    until: MOMENT,
                    attempt: cap(attempt),
                },
                Age::Living,
            ),
            Refresh::Unknown { attempt, .. } => (
                Refresh::Unknown {
                    since: MOMENT,
                    attempt: cap(attempt),
                },
                Age::Lapsed,
            ),
            Refresh::Cooling {
                reason, unresolved, ..
            } => {
                let unresolved = unresolved.map(|u| Unresolved {
                    since: MOMENT,
                    attempt: cap(u.attempt),
                });
                (
                    Refresh::Cooling {
                        until: Timestamp(0),
                        failures: 1,
                        reason,
                        unresolved,
                    },
                    Age::Lapsed,
                )
            }
        };
        (Row { refresh, ..row }, age)
    }

    /// The timing assumption behind the quarantine: nothing of this set is on its way any more.
    fn quiet(&self, state: &State) -> bool {
        let token = Set::of_row(&state.row);
        if token.is_some_and(|t| state.requests.iter().any(|r| r.token == t)) {
            return false;
        }
        state.processes.iter().all(|p| {
            let Some(work) = p.work.filter(|w| w.spent == state.row.name) else {
                return true;
            };
            match p.at {
                At::Ready | At::Waiting => self.budget.pause,
                At::Got | At::Commit => self.budget.hold || work.answer.is_none(),
                _ => true,
            }
        })
    }

    fn access_dead(state: &State) -> bool {
        state.row.set != 0
            && (state.dead.contains(&state.row.set)
                || state.families[usize::from(Set::of(state.row.set).token.family)].revoked)
    }
}

/// Whether the run's one refresh is done.
fn done(row: &Row) -> bool {
    row.name.generation >= 1 || row.name.epoch > 0
}

impl Set {
    fn of_row(row: &Row) -> Option<Token> {
        (row.set != 0).then(|| Set::of(row.set).token)
    }
}

mod steps {
    use super::*;

    impl State {
        fn with(&self, i: usize, process: Process) -> Self {
            let mut next = self.clone();
            next.processes[i] = process;
            next
        }

        /// A write by `i`: everybody else must read again.
        fn write(&mut self, i: usize, row: Row) {
            let (row, age) = Checker::normal(row);
            self.row = row;
            self.age = age;
            for (j, process) in self.processes.iter_mut().enumerate() {
                if j != i {
                    process.read = false;
                }
            }
        }

        fn sorted(mut self) -> Self {
            self.requests.sort_unstable();
            self
        }
    }

    impl Checker {
        fn violation(&mut self, what: &str) {
            self.found.insert(what.to_owned());
        }

        pub(super) fn successors(&mut self, state: &State) -> Vec<State> {
            let mut out = Vec::new();
            for i in 0..self.processes {
                self.process(state, i, &mut out);
            }
            for j in 0..state.requests.len() {
                self.request(state, j, &mut out);
            }
            self.time(state, &mut out);
            self.people(state, &mut out);
            out
        }

        fn process(&mut self, state: &State, i: usize, out: &mut Vec<State>) {
            let process = state.processes[i];
            if process.at == At::Idle {
                if state.row.status == Status::Connected && !done(&state.row) {
                    out.push(state.with(
                        i,
                        Process {
                            at: At::Take,
                            read: false,
                            work: None,
                            ..process
                        },
                    ));
                }
                return;
            }
            if state.budget.crash > 0 {
                let reborn = Process {
                    life: process.life + 1,
                    at: At::Idle,
                    read: false,
                    work: None,
                };
                let mut next = state.with(i, reborn);
                next.budget.crash -= 1;
                for request in &mut next.requests {
                    if request.owner == Some(i) {
                        request.owner = None;
                    }
                }
                out.push(next.sorted());
            }
            match process.at {
                At::Idle => {}
                At::Gate => {
                    let mine =
                        protocol::holds(&state.row, Self::holder(state, i)) && state.age == Age::Living;
                    let at = if mine { At::Ready } else { At::GiveBack };
                    out.push(state.with(
                        i,
                        Process {
                            at,
                            read: false,
                            ..process
                        },
                    ));
                }
                At::Ready => self.send(state, i, out),
                At::Waiting => {
                    if state.budget.late > 0 {
                        let mut next = state.with(
                            i,
                            Process {
                                at: At::Unknown,
                                read: false,
                                ..process
                            },
                        );
                        next.budget.late -= 1;
                        for request in &mut next.requests {
                            if request.owner == Some(i) {
                                request.owner = None;
                            }
                        }
                        out.push(next.sorted());
                    }
                }
                At::Got => {
                    let at = match process.work.and_then(|w| w.answer) {
                        Some(Answer::Tokens(_)) => At::Commit,
                        Some(Answer::Dead) => At::Dead,
                        Some(Answer::Busy) => At::InProgress,
                        Some(Answer::MayPass) => At::Cool,
                        Some(Answer::Nothing) | None => At::Unknown,
                    };
                    out.push(state.with(
                        i,
                        Process {
                            at,
                            read: false,
                            ..process
                        },
                    ));
                }
                _ if !process.read => out.push(state.with(
                    i,
                    Process {
                        read: true,
                        ..process
                    },
                )),
                _ => self.decide(state, i, out),
            }
        }

        /// A process that has read the row applies a function of the protocol to it, and writes.
        fn decide(&mut self, state: &State, i: usize, out: &mut Vec<State>) {
            let process = state.processes[i];
            let holder = Self::holder(state, i);
            let now = self.now(state);
            let wall = Timestamp(1);
            let idle = Process {
                at: At::Idle,
                read: false,
                work: None,
                ..process
            };
            if process.at == At::Take {
                let ask = Ask {
                    seen: SetName {
                        epoch: 0,
                        generation: 0,
                    },
                    holder,
                    now,
                    wall,
                    nothing_to_lose: Self::access_dead(state),
                };
                let work = |attempt, replaced| Work {
                    spent: state.row.name,
                    token: Set::of(state.row.set).token,
                    attempt,
                    replaced,
                    answer: None,
                };
                match protocol::take(&state.row, &ask, &self.policy) {
                    Take::Turn {
                        row,
                        attempt,
                        replaced,
                    } => {
                        let replaced = Self::normal(Row {
                            refresh: replaced,
                            ..row
                        })
                        .0
                        .refresh;
                        let work = Some(work(attempt.min(3), replaced));
                        let after = Process {
                            at: At::Gate,
                            read: false,
                            work,
                            ..process
                        };
                        self.swap(state, i, row, after, out);
                    }
                    // The write of before was applied though its answer was lost. What it replaced is not known here
                    // any more than in the model's data, so the engine's memory is restored from the attempt.
                    Take::Mine => {
                        let Refresh::Turn { attempt, .. } = state.row.refresh else {
                            return;
                        };
                        let replaced = if attempt > 1 {
                            Refresh::Unknown {
                                since: MOMENT,
                                attempt: attempt - 1,
                            }
                        } else {
                            Refresh::Idle
                        };
                        let work = Some(work(attempt, replaced));
                        out.push(state.with(
                            i,
                            Process {
                                at: At::Gate,
                                read: false,
                                work,
                                ..process
                            },
                        ));
                    }
                    _ => out.push(state.with(i, idle)),
                }
                return;
            }
            let Some(work) = process.work else { return };
            let row = match process.at {
                At::Commit => return self.commit(state, i, work, out),
                At::Dead => {
                    let living = |row: &Row| {
                        Set::of_row(row).is_some_and(|t| !state.families[usize::from(t.family)].revoked)
                    };
                    match protocol::dead(
                        &state.row,
                        holder,
                        work.spent,
                        work.attempt,
                        Reason::GrantExpiredOrRevoked,
                    ) {
                        Dead::Expire(row) => Some(row),
                        // The adopted set is tried once.
                        Dead::Newer if !living(&state.row) => {
                            protocol::found_dead(&state.row, state.row.name, Reason::OutcomeUnknown)
                        }
                        Dead::Newer | Dead::NotMine => None,
                    }
                }
                At::Unknown => {
                    protocol::unknown(&state.row, holder, work.attempt, MOMENT, wall, &self.policy)
                }
                At::InProgress => protocol::in_progress(
                    &state.row,
                    holder,
                    work.attempt,
                    work.replaced,
                    MOMENT,
                    wall,
                    &self.policy,
                ),
                At::GiveBack => protocol::give_back(&state.row, holder, work.replaced, &self.policy),
                At::Cool => protocol::cool(
                    &state.row,
                    holder,
                    work.replaced,
                    wall,
                    Reason::ServerUnavailable,
                    &self.policy,
                ),
                _ => None,
            };
            match row {
                None => out.push(state.with(i, idle)),
                Some(row) => {
                    if row.status == Status::Expired {
                        let set = Set::of(row.set);
                        let family = state.families[usize::from(set.token.family)];
                        if family.living == set.token.rotation && !family.revoked {
                            self.violation("NEEDLESS: marked expired while its refresh token lives");
                        }
                    }
                    self.swap(state, i, row, idle, out);
                }
            }
        }

        fn commit(&mut self, state: &State, i: usize, work: Work, out: &mut Vec<State>) {
            let process = state.processes[i];
            let idle = Process {
                at: At::Idle,
                read: false,
                work: None,
                ..process
            };
            let Some(Answer::Tokens(set)) = work.answer else {
                return;
            };
            let family = state.families[usize::from(set.token.family)];
            let living = family.living == set.token.rotation && !family.revoked;
            match protocol::commit(&state.row, work.spent, set.id(), &self.policy) {
                Commit::Write { row, verify, .. } => {
                    if state.row.status == Status::Deleted {
                        self.violation("REVIVED: a deleted connection lives again");
                    }
                    if row.name < state.row.name || row.name.epoch != work.spent.epoch {
                        self.violation("NAMES: a set was stored under a foreign name");
                    }
                    // The set is tried with its own access token: dead, it is shown.
                    let row = if verify && !living {
                        Row {
                            status: Status::Expired,
                            reason: Some(Reason::OutcomeUnknown),
                            ..row
                        }
                    } else {
                        row
                    };
                    self.swap(state, i, row, idle, out);
                }
                Commit::Stored => out.push(state.with(i, idle)),
                Commit::Superseded => {
                    if living && Set::of_row(&state.row) != Some(set.token) {
                        self.violation("LOST: a living set was dropped");
                    }
                    out.push(state.with(i, idle));
                }
                Commit::Ended => {
                    let mut next = state.with(i, idle);
                    // Never the token that the connection lives on.
                    if Set::of_row(&state.row) != Some(set.token) {
                        upstream::revoke(&mut next.families, set.token);
                    }
                    out.push(next);
                }
            }
        }

        /// A compare-and-swap on the row that was read: applied, lost before the commit, or applied without an answer.
        fn swap(&mut self, state: &State, i: usize, row: Row, after: Process, out: &mut Vec<State>) {
            let again = Process {
                read: false,
                ..state.processes[i]
            };
            let mut applied = state.with(i, after);
            applied.write(i, row);
            out.push(applied);
            if state.budget.error_before > 0 {
                let mut next = state.with(i, again);
                next.budget.error_before -= 1;
                out.push(next);
            }
            if state.budget.error_after > 0 {
                let mut next = state.with(i, again);
                next.write(i, row);
                next.budget.error_after -= 1;
                out.push(next);
            }
        }

        fn send(&mut self, state: &State, i: usize, out: &mut Vec<State>) {
            let process = state.processes[i];
            let Some(work) = process.work else { return };
            let mut next = state.with(
                i,
                Process {
                    at: At::Waiting,
                    ..process
                },
            );
            if self.mode != Mode::Reusable {
                if state.requests.iter().any(|r| r.token == work.token) {
                    self.violation("I1: one refresh token is in flight twice");
                }
                let counts = next.presented.entry(work.token).or_default();
                if counts.0 >= 1 && work.attempt == 1 {
                    self.violation("I2: presented again, and no unknown outcome is on record");
                }
                *counts = ((counts.0 + 1).min(5), (counts.1 + 1).min(5));
            }
            next.requests.push(Request {
                owner: Some(i),
                token: work.token,
                processing: false,
            });
            out.push(next.sorted());
            if state.budget.not_sent > 0 {
                let mut next = state.with(
                    i,
                    Process {
                        at: At::GiveBack,
                        read: false,
                        ..process
                    },
                );
                next.budget.not_sent -= 1;
                out.push(next);
            }
        }

        fn request(&mut self, state: &State, j: usize, out: &mut Vec<State>) {
            let request = state.requests[j];
            let mut rest = state.clone();
            rest.requests.remove(j);
            // A definite "not now" and "busy" are no presentations: the token is unspent.
            let uncounted = |state: &State| {
                let mut next = state.clone();
                if let Some(counts) = next.presented.get_mut(&request.token) {
                    counts.0 = counts.0.saturating_sub(1);
                }
                next
            };
            let deliver = |state: &State, answer: Answer| {
                let mut next = state.clone();
                if let Some(i) = request.owner {
                    let process = &mut next.processes[i];
                    process.at = At::Got;
                    process.read = false;
                    if let Some(work) = &mut process.work {
                        work.answer = Some(answer);
                    }
                }
                next
            };
            if !request.processing {
                let busy = rest
                    .requests
                    .iter()
                    .any(|r| r.token == request.token && r.processing);
                if busy {
                    out.push(deliver(&uncounted(&rest), Answer::Busy));
                } else {
                    let mut next = rest.clone();
                    next.requests.push(Request {
                        processing: true,
                        ..request
                    });
                    out.push(next.sorted());
                }
                if state.budget.request_lost > 0 {
                    let mut next = deliver(&rest, Answer::Nothing);
                    next.budget.request_lost -= 1;
                    out.push(next);
                }
                if state.budget.may_pass > 0 {
                    let mut next = deliver(&uncounted(&rest), Answer::MayPass);
                    next.budget.may_pass -= 1;
                    out.push(next);
                }
                if state.budget.unprocessed > 0 {
                    let mut next = deliver(&rest, Answer::Nothing);
                    next.budget.unprocessed -= 1;
                    out.push(next);
                }
                return;
            }
            let mut answered = rest;
            let answer = upstream::process(self.mode, &mut answered.families, request.token);
            if !Self::access_dead(state) && Self::access_dead(&answered) {
                self.verdict
                    .notes
                    .insert("a presentation ended a living access token");
            }
            out.push(deliver(&answered, answer));
            if state.budget.answer_lost > 0 && request.owner.is_some() {
                let mut next = deliver(&answered, Answer::Nothing);
                next.budget.answer_lost -= 1;
                out.push(next);
            }
        }

        fn time(&mut self, state: &State, out: &mut Vec<State>) {
            match (state.row.refresh, state.age) {
                (Refresh::Turn { holder, .. }, Age::Living) => {
                    let alive = (0..self.processes)
                        .any(|i| state.processes[i].at != At::Idle && Self::holder(state, i) == holder);
                    if !alive || state.budget.lapse > 0 {
                        let mut next = state.clone();
                        next.age = Age::Lapsed;
                        if alive {
                            next.budget.lapse -= 1;
                        }
                        out.push(next);
                    }
                }
                (Refresh::Turn { .. } | Refresh::Unknown { .. } | Refresh::Cooling { .. }, Age::Lapsed)
                    if self.quiet(state) =>
                {
                    let mut next = state.clone();
                    next.age = Age::Over;
                    out.push(next);
                }
                _ => {}
            }
            if state.budget.access_ends > 0
                && state.row.status == Status::Connected
                && !state.dead.contains(&state.row.set)
            {
                let mut next = state.clone();
                next.dead.insert(state.row.set);
                next.budget.access_ends -= 1;
                out.push(next);
            }
        }

        fn people(&mut self, state: &State, out: &mut Vec<State>) {
            if !matches!(state.row.status, Status::Connected | Status::Expired) {
                return;
            }
            let living = Set::of(state.row.set).token;
            if state.budget.reconnect > 0 {
                let mut next = state.clone();
                upstream::revoke(&mut next.families, living);
                let family = u8::try_from(next.families.len()).unwrap();
                next.families.push(Family::default());
                let set = Set {
                    token: Token { family, rotation: 0 },
                    serial: 0,
                };
                next.write(usize::MAX, protocol::reconnect(&state.row, set.id()));
                next.budget.reconnect -= 1;
                out.push(next);
            }
            if state.budget.delete > 0 {
                let mut next = state.clone();
                upstream::revoke(&mut next.families, living);
                next.write(usize::MAX, protocol::end(&state.row, Status::Deleted));
                next.budget.delete -= 1;
                out.push(next);
            }
        }
    }
}
