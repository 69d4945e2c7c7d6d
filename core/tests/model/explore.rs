//! Visits every state that can be reached, and looks whether an end can be reached from each.

use std::collections::{BTreeMap, BTreeSet};

use grantry::connection::Status;

use crate::{
    met::Met,
    pack::Layout,
    process::Process,
    row::{Age, Owed, Phase, Row},
    runs::Run,
    state::{State, Version},
    upstream::Token,
    world::{Design, Scenario, World},
};

/// How a run can end: nobody has anything to do any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    Healthy,
    /// Marked as expired, and so it is.
    Expired,
    /// Marked as expired, and its refresh token lives.
    Needless,
    Deleted,
    /// Deleted, and a grant lives on at the provider.
    LeftOver,
    /// Marked as connected, and its grant is gone.
    SilentlyDead,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Verdict {
    pub states: usize,
    pub presentations: u8,
    /// The ends, and in how many states each.
    pub ends: BTreeMap<End, usize>,
    pub violations: BTreeSet<&'static str>,
    pub notes: BTreeSet<&'static str>,
    /// The shortest way to a state in which something that must not be was found.
    pub trace: Vec<String>,
    /// How many different machines were met.
    pub machines: usize,
    pub met: Met,
    /// How large a state is.
    pub bytes: usize,
}

/// All states in the order in which they were found, each once: an open hash table over a list.
struct Seen<const N: usize> {
    states: Vec<[u64; N]>,
    places: Vec<u32>,
}

impl<const N: usize> Seen<N> {
    const EMPTY: u32 = u32::MAX;

    fn new() -> Self {
        Self {
            states: Vec::new(),
            places: vec![Self::EMPTY; 1 << 10],
        }
    }

    fn place(&self, state: &[u64; N]) -> usize {
        let mut hash = 0_u64;
        for word in state {
            hash = (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            hash ^= hash >> 29;
        }
        let mask = self.places.len() - 1;
        #[expect(clippy::cast_possible_truncation, reason = "the low bits are all that counts")]
        let mut place = hash as usize & mask;
        while self.places[place] != Self::EMPTY && self.states[self.places[place] as usize] != *state {
            place = (place + 1) & mask;
        }
        place
    }

    /// The state's number, which is new if the state is.
    fn number(&mut self, state: [u64; N]) -> u32 {
        let place = self.place(&state);
        if self.places[place] != Self::EMPTY {
            return self.places[place];
        }
        let number = u32::try_from(self.states.len()).unwrap();
        self.states.push(state);
        self.places[place] = number;
        if self.states.len() * 5 > self.places.len() * 3 {
            self.places = vec![Self::EMPTY; self.places.len() * 2];
            for number in 0..self.states.len() {
                let place = self.place(&self.states[number]);
                self.places[place] = u32::try_from(number).unwrap();
            }
        }
        number
    }
}

/// The edges of all states, one state's behind the other's.
struct Graph {
    starts: Vec<usize>,
    to: Vec<u32>,
}

impl Graph {
    fn from(&self, number: usize) -> &[u32] {
        let end = self.starts.get(number + 1).map_or(self.to.len(), |&start| start);
        &self.to[self.starts[number]..end]
    }

    /// Whether a good state can be reached from every state. States are numbered by their distance from the start, so
    /// going backwards decides nearly all of them at once.
    fn all_reach(&self, good: &mut [bool]) -> bool {
        loop {
            let mut changed = false;
            for number in (0..good.len()).rev() {
                if !good[number] && self.from(number).iter().any(|&to| good[to as usize]) {
                    good[number] = true;
                    changed = true;
                }
            }
            if !changed {
                return good.iter().all(|g| *g);
            }
        }
    }

    /// From the start to this state: the first state that leads to another is a shortest way to it.
    fn way_to<const N: usize>(&self, mut number: usize, seen: &Seen<N>, layout: &Layout) -> Vec<State> {
        let mut way = vec![layout.unpack(seen.states[number])];
        while number > 0 {
            let leads = |n: &usize| self.from(*n).contains(&u32::try_from(number).unwrap());
            number = (0..number).find(leads).unwrap();
            way.push(layout.unpack(seen.states[number]));
        }
        way.reverse();
        way
    }
}

/// Explores everything.
pub fn explore(run: &Run) -> Verdict {
    let layout = Layout::of(run);
    match layout.words() {
        0..=3 => search::<3>(run, &layout),
        4 => search::<4>(run, &layout),
        _ => search::<5>(run, &layout),
    }
}

fn search<const N: usize>(run: &Run, layout: &Layout) -> Verdict {
    let mut world = World::new(run);
    let mut verdict = Verdict::default();
    let mut seen = Seen::<N>::new();
    let mut graph = Graph {
        starts: Vec::new(),
        to: Vec::new(),
    };
    let mut good = Vec::new();
    let mut bad = None;
    let mut next = Vec::new();
    seen.number(layout.pack(run.start()));
    while let Some(&packed) = seen.states.get(good.len()) {
        let state = layout.unpack(packed);
        world.met.insert_row(state.row.refresh, state.age);
        world.successors(&state, &mut next);
        graph.starts.push(graph.to.len());
        for next in next.drain(..) {
            let to = seen.number(layout.pack(next));
            if to as usize != good.len() {
                graph.to.push(to);
            }
        }
        let end = end(&state, run);
        if let Some(end) = end {
            *verdict.ends.entry(end).or_default() += 1;
            if let Some(mark) = wrong(end, &state, &world.scenario) {
                world.mark(mark);
            }
        }
        if bad.is_none() && !world.found.is_empty() {
            bad = Some(good.len());
        }
        good.push(end.is_some());
        let most = state.presented.iter().map(|counts| counts.1).max();
        verdict.presentations = verdict.presentations.max(most.unwrap_or(0));
        if run.traced && bad.is_some() {
            break;
        }
    }
    if bad.is_none_or(|_| !run.traced) && !graph.all_reach(&mut good) {
        world.mark("STUCK: no end can be reached");
        bad = bad.or(good.iter().position(|g| !g));
    }
    if let Some(bad) = bad.filter(|_| run.traced) {
        let way = graph.way_to(bad, &seen, layout);
        verdict.trace = way.iter().map(|state| world.describe(state)).collect();
    }
    verdict.states = good.len();
    verdict.machines = world.works.len();
    verdict.violations = world.found;
    verdict.notes = world.notes;
    verdict.met = world.met;
    verdict.bytes = 8 * N;
    verdict
}

/// What an end state is. `None`: it is none; somebody will act.
fn end(state: &State, run: &Run) -> Option<End> {
    if !state.rests() {
        return None;
    }
    // A lock that nobody opened is open after its time.
    let lapsed = matches!(run.design, Design::Classic(_)) && state.age != Age::Living;
    let alive = if run.scenario.no_refresh_token {
        !state.access_dead()
    } else {
        state.alive()
    };
    match state.row.status {
        Status::Connected if !state.row.done(run.refreshes) => None,
        Status::Connected if state.row.refresh != Phase::Idle && !lapsed => None,
        Status::Connected => Some(if alive { End::Healthy } else { End::SilentlyDead }),
        Status::Expired => Some(if alive { End::Needless } else { End::Expired }),
        Status::Deleted | Status::Revoked => {
            let any = state.families.iter().any(|f| !f.revoked);
            Some(if any { End::LeftOver } else { End::Deleted })
        }
    }
}

/// What is wrong with an end. A grant may only die, or be left over, if a token set reached nobody who lived on, or if
/// somebody slept for longer than the quarantine: the documented holes.
fn wrong(end: End, state: &State, scenario: &Scenario) -> Option<&'static str> {
    match end {
        End::SilentlyDead => Some("SILENT: marked as connected, and its grant is gone"),
        End::Needless => Some("NEEDLESS: marked expired while its refresh token lives"),
        End::Expired if !state.leaked && !scenario.hold && !scenario.pause && !scenario.no_refresh_token => {
            Some("DIED: the grant is gone though no answer was lost")
        }
        End::LeftOver if !state.leaked => {
            Some("LEFT OVER: deleted, and the grant lives though no answer was lost")
        }
        // Connected again: the grant of before is the first family's.
        _ if state.row.version.epoch > 0 && !state.families[0].revoked && !state.leaked => {
            Some("LEFT OVER: connected again, and the grant of before lives though no answer was lost")
        }
        _ => None,
    }
}

impl World {
    /// A state, for people.
    fn describe(&self, state: &State) -> String {
        let flag = |name: &'static str, is: bool| if is { name } else { "" };
        let token =
            |token: Option<Token>| token.map_or("-".into(), |t| format!("{}.{}", t.family, t.rotation));
        let row = |row: &Row, age: Age, ended: bool| {
            let Version { epoch, generation } = row.version;
            let owed = flag(" owes", row.owed != Owed::default());
            let (gone, ended) = (flag(" gone", row.gone), flag(" access-ended", ended));
            let token = token(row.token);
            let Row { status, refresh, .. } = row;
            format!("{epoch}/{generation} token {token} {status:?} {refresh:?} {age:?}{ended}{owed}{gone}")
        };
        let process = |p: &Process| {
            let work = self.works.get(p.work).brief();
            let (lease, set) = (flag(" my-lease", p.my_lease), flag(" my-set", p.my_set));
            let (stale, keeper) = (flag(" stale", p.stale), flag(" keeper", p.keeper));
            let (spent, own) = (token(Some(p.spent)), token(p.set));
            let Process { request, pauses, .. } = p;
            let memory = p
                .memory
                .map_or(String::new(), |m| format!(" remembers {}", token(Some(m.token))));
            format!(
                "\n        {work}: spends {spent}, has {own}, {request:?}{lease}{set}{stale}{keeper} pauses={pauses}{memory}"
            )
        };
        let busy = |p: &&Process| p.works() || p.memory.is_some();
        let processes: String = state.processes.iter().filter(busy).map(process).collect();
        let older = state
            .older
            .map(|o| format!(" | older: {}", row(&o.row, o.age, o.ended)));
        let pending = state
            .pending
            .map(|p| format!(" | late: {}", row(&p.row, p.age, false)));
        let families = state
            .families
            .map(|f| format!("{}{}", f.living, flag(" dead", f.revoked)));
        let strays = state.strays.iter().flatten();
        let strays: Vec<_> = strays.map(|s| token(Some(s.token))).collect();
        format!(
            "{}{}{} | families {families:?} strays {strays:?}{}{processes}",
            row(&state.row, state.age, state.ended),
            older.unwrap_or_default(),
            pending.unwrap_or_default(),
            flag(" leaked", state.leaked),
        )
    }
}
