//! The store: what comes of reading, writing and confirming a row, and what it does by itself.

use grantry::{
    connection::Status,
    protocol::{
        self,
        machine::{Access, Read, View, Written},
    },
    time::{StoreInstant, Timestamp},
};

use crate::{
    drive::Way,
    faults::Fault,
    process::Request,
    row::{self, Age, Row, now},
    state::{Pending, State, Store},
    upstream,
    work::boot,
    world::World,
};

/// So many calls fail in an outage: more than any machine makes that gives up.
const OUTAGE: u8 = 24;

impl World {
    /// The store's time, as it is to a process.
    pub fn now(&self, state: &State, i: usize) -> StoreInstant {
        let times = self.scenario.times(Fault::ClockGone);
        let clock_id = 1 + times - state.left.left(Fault::ClockGone);
        now(clock_id.into(), state.processes[i].pauses)
    }

    /// The row as a process sees it.
    pub fn row_of(&self, state: &State, i: usize) -> protocol::Row {
        let me = &state.processes[i];
        state
            .row
            .full(state.age, me.my_lease, me.my_set, self.now(state, i))
    }

    pub fn view(&self, state: &State, i: usize) -> View {
        let me = &state.processes[i];
        let known = !self.scenario.assumed_ends;
        let over = Timestamp(0);
        View {
            row: self.row_of(state, i),
            migrated: None,
            changed: me.stale,
            owed: me.set.is_some_and(|set| state.row.owed.has(set)),
            access: Access {
                ends: if known && !state.ended {
                    Timestamp::MAX
                } else {
                    over
                },
                known,
                refresh_by: None,
                refused: known && state.revoked(),
            },
            asked: boot(me.pauses),
            now: self.now(state, i),
        }
    }

    /// Reads the row and takes it in hand.
    pub fn read(&self, way: &Way) -> Vec<(Way, Read)> {
        let mut ways = self.peek(way);
        for (way, read) in &mut ways {
            if !matches!(read, Read::Row(_)) {
                continue;
            }
            let (token, behind) = (way.state.row.token, way.state.older.is_some());
            let me = way.me();
            me.stale = false;
            me.back.stale = behind;
            if let Some(token) = token.filter(|_| me.set.is_none()) {
                me.spent = token;
            }
        }
        ways
    }

    /// Reads the row, and leaves the one in hand.
    pub fn peek(&self, way: &Way) -> Vec<(Way, Read)> {
        let read = if way.state.row.gone {
            Read::Missing
        } else {
            Read::Row(self.view(&way.state, way.i))
        };
        let mut ways = failures(way, Fault::ReadFails, Read::Failed);
        if way.away == 0 {
            ways.push((*way, read));
        }
        ways
    }

    /// A compare-and-swap on the row in hand.
    pub fn swap(&mut self, way: &Way, row: &protocol::Row) -> Vec<(Way, Written)> {
        let now = self.now(&way.state, way.i);
        let mut written = row::Written::of(row, now);
        // A moment that is long over when it is written, since its process stood still: so is what was on its way.
        let stood_still = row::Written::of(row, row::now(now.clock_id, 0)).age != Age::Over;
        if written.age == Age::Over && stood_still && !self.quiet(&way.state) {
            written.age = Age::Lapsed;
        }
        let me = &way.state.processes[way.i];
        let new_set = written.my_set && !me.my_set;
        let next = Row {
            version: written.version,
            token: match way.state.row.token {
                _ if new_set => me.set,
                token => token.filter(|_| written.has_set),
            },
            status: written.status,
            refresh: written.refresh,
            ..way.state.row
        };
        self.put(way, next, written.age, (written.my_lease, written.my_set))
    }

    /// Writes over the row in hand: applied; or failed before it was, or applied without an answer, or to be applied later;
    /// or the row was written by somebody else meanwhile.
    pub fn put(&mut self, way: &Way, next: Row, age: Age, marks: (bool, bool)) -> Vec<(Way, Written)> {
        let mut ways = failures(way, Fault::ErrorBefore, Written::Failed);
        if way.away > 0 {
            return ways;
        }
        if way.state.row.gone {
            ways.push((*way, Written::Missing));
            return ways;
        }
        if way.state.processes[way.i].stale {
            ways.push((*way, Written::Conflict));
            return ways;
        }
        self.judge(&way.state, next);
        let mut applied = *way;
        applied.state.write(next, age, Some(way.i), marks);
        if age == Age::Over {
            Self::end_grace(&mut applied.state);
        }
        ways.push((applied, Written::Swapped));
        let unanswered = |state| {
            let failed = true;
            let way = Way {
                state,
                failed,
                ..*way
            };
            (way, Written::Failed)
        };
        if way.state.left.may(Fault::ErrorAfter) {
            let mut state = applied.state.but(Fault::ErrorAfter);
            // It knows nothing of its own write.
            let me = &mut state.processes[way.i];
            (me.stale, me.back.stale) = (true, way.state.processes[way.i].back.stale);
            ways.push(unanswered(state));
        }
        if way.state.left.may(Fault::LateWrite) && way.state.pending.is_none() {
            let mut state = way.state.but(Fault::LateWrite);
            let row = next;
            state.pending = Some(Pending { row, age, marks });
            state.processes[way.i].wrote = true;
            ways.push(unanswered(state));
        }
        ways
    }

    /// What the store does by itself, and what is written to it for other reasons.
    pub fn store(&mut self, state: &State, out: &mut Vec<State>) {
        self.late_write(state, out);
        if state.older.is_some() && state.store == Store::Replica {
            let mut next = *state;
            next.catches_up();
            out.push(next);
        }
        let busy = state
            .processes
            .iter()
            .any(|p| p.request != Request::None || p.my_lease);
        let waits = busy && state.store == (Store::Backup { at_rest: true });
        for fault in [Fault::FailOver, Fault::RollBack] {
            if state.older.is_some() && state.left.may(fault) && !waits {
                let mut next = state.but(fault);
                next.goes_back();
                // Who knew what was written since may be gone.
                next.leaked |= fault == Fault::RollBack;
                out.push(next);
            }
        }
        if state.left.may(Fault::BackUp) {
            out.push(state.but(Fault::BackUp));
        }
        let works = state.processes.iter().any(|p| p.works() && !p.stale);
        if works && state.left.may(Fault::Touch) && !state.row.gone {
            let mut next = state.but(Fault::Touch);
            next.touch(state.row.owed);
            out.push(next);
        }
        if state.row.status == Status::Deleted && state.row.owed.0 == 0 && state.left.may(Fault::Purge) {
            let mut next = state.but(Fault::Purge);
            let row = Row {
                gone: true,
                ..state.row
            };
            next.write(row, Age::Living, None, (false, false));
            out.push(next);
        }
        Self::pay(state, out);
    }

    fn late_write(&mut self, state: &State, out: &mut Vec<State>) {
        let Some(Pending { row, age, marks }) = state.pending else {
            return;
        };
        let mut lost = *state;
        lost.pending = None;
        lost.processes.iter_mut().for_each(|p| p.wrote = false);
        out.push(lost);
        let writer = state.processes.iter().position(|p| p.wrote);
        self.judge(state, row);
        let mut next = *state;
        next.write(row, age, writer, marks);
        if let Some(writer) = writer {
            next.processes[writer].stale = true;
        }
        out.push(next);
    }

    /// A revocation that the row owes is done. If the connection lives on another set, that must be safe before.
    fn pay(state: &State, out: &mut Vec<State>) {
        let Some(token) = state.row.owed.first() else {
            return;
        };
        let mut next = *state;
        if state.row.status == Status::Connected && state.store == Store::Replica {
            next.catches_up();
        }
        if state.row.token != Some(token) {
            upstream::revoke(&mut next.families, token);
        }
        next.touch(state.row.owed.without(token));
        out.push(next);
    }
}

/// The store fails once, or for long; or it still does.
fn failures<R: Copy>(way: &Way, fault: Fault, failed: R) -> Vec<(Way, R)> {
    let fails = |state: State, away: u8| {
        let way = Way {
            state,
            away,
            failed: true,
            ..*way
        };
        (way, failed)
    };
    if way.away > 0 {
        return vec![fails(way.state, way.away - 1)];
    }
    let left = way.state.left;
    let mut ways = Vec::new();
    if left.may(fault) {
        ways.push(fails(way.state.but(fault), 0));
    }
    if left.may(Fault::Outage) {
        ways.push(fails(way.state.but(Fault::Outage), OUTAGE));
    }
    ways
}

/// Whether the row in hand would survive the loss of a machine.
pub fn confirm(way: &Way) -> Vec<(Way, bool)> {
    if way.away > 0 {
        let away = way.away - 1;
        return vec![(Way { away, ..*way }, false)];
    }
    let me = &way.state.processes[way.i];
    if way.state.store == Store::Replica && (me.stale || way.state.row.gone) {
        return vec![(*way, false)];
    }
    let mut ways = Vec::new();
    if way.state.left.may(Fault::Unconfirmed) {
        let state = way.state.but(Fault::Unconfirmed);
        ways.push((Way { state, ..*way }, false));
    }
    let mut confirmed = *way;
    if way.state.store == Store::Replica {
        confirmed.state.catches_up();
    }
    ways.push((confirmed, true));
    ways
}
