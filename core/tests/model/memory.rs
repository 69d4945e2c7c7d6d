//! What a process serves from memory. Should the store be put back to an older row, the newer set is written again: the broker
//! does that outside the machines, with the protocol's `repair`.

use grantry::protocol::{self, Repair, Verify, attempt::Repaired, machine::Read};

use crate::{
    drive::Way,
    faults::Fault,
    process::{Known, Process},
    row::{Age, ME, Phase, Row},
    state::{State, Version},
    work::{NEVER, Number, Work},
    world::World,
};

impl Way {
    /// What the process knows of the row.
    pub fn remember(&mut self) {
        let Some(token) = self.state.row.token.filter(|_| self.state.store.is_backed_up()) else {
            return;
        };
        let version = self.state.row.version;
        self.me().memory = Some(Known { version, token });
    }
}

impl World {
    /// A caller comes to an idle process: it remembers the row's set, or writes again the newer one that it remembers.
    pub fn serve(&mut self, state: &State, i: usize, out: &mut Vec<State>) {
        let process = state.processes[i];
        if state.row.token.is_none() || !state.store.is_backed_up() {
            return;
        }
        let mut way = self.way(state, i, true);
        let version = state.row.version;
        match process.memory {
            Some(known) if known.version.epoch == version.epoch && known.version > version => {
                for (way, _) in self.repair(&way) {
                    self.stop(way, out);
                }
            }
            known if known.is_none_or(|known| known.version < version) => {
                way.remember();
                self.stop(way, out);
            }
            _ => {}
        }
    }

    /// A set that was written again is tried, while its process goes on.
    pub fn try_behind(&mut self, way: &mut Way, known: Known) {
        let work = Work::Verify(Verify::new(known.version.full(), NEVER));
        let process = Process {
            work: self.works.number(&work),
            keeper: true,
            set: Some(known.token),
            ..Process::ABSENT
        };
        // One of two that do the same is enough; and that a third one is left out can only make things worse.
        let same = |p: &Process| p.work == process.work && p.set == process.set;
        if !way.state.processes.iter().any(same)
            && let Some(place) = absent(&mut way.state)
        {
            *place = process;
        }
    }

    /// The row is older than the set in memory, which is written again if it may be. It is read for that, and written in the
    /// same breath.
    pub fn repair(&mut self, way: &Way) -> Vec<(Way, Repaired)> {
        let known = way.state.processes[way.i].memory;
        let mut ways = Vec::new();
        for (way, read) in self.peek(way) {
            let row = match (read, known) {
                (Read::Row(view), Some(known)) if view.row.version < known.version.full() => view.row,
                (Read::Row(_), Some(_)) => {
                    ways.push((way, Repaired::Kept));
                    continue;
                }
                // Where a replica takes over, nobody remembers anything but the set that he keeps.
                (Read::Row(_), None) | (Read::Missing, _) => {
                    ways.push((way, Repaired::Gone));
                    continue;
                }
                (Read::Unreadable | Read::Failed, _) => {
                    ways.push((way, Repaired::Failed));
                    continue;
                }
            };
            let Some(known) = known else { continue };
            let repair = protocol::repair(&row, known.version.full(), ME, &self.policy);
            let Some(Repair { row, verify }) = repair else {
                ways.push((way, Repaired::Gone));
                continue;
            };
            let next = Row {
                version: Version::of(row.version),
                token: Some(known.token),
                status: row.status,
                refresh: Phase::Idle,
                ..way.state.row
            };
            self.judge(&way.state, next);
            let mut applied = way;
            applied.state.write(next, Age::Living, None, (false, false));
            for process in &mut applied.state.processes {
                process.my_set |= self.keeps(process) && process.set == Some(known.token);
            }
            let mut outcomes = vec![applied];
            if way.state.left.may(Fault::ErrorBefore) {
                outcomes.push(Way {
                    state: way.state.but(Fault::ErrorBefore),
                    failed: true,
                    ..way
                });
            }
            for mut way in outcomes {
                if verify {
                    self.try_behind(&mut way, known);
                }
                ways.push((way, Repaired::Kept));
            }
        }
        ways
    }
}

/// Where something can go on behind a process.
fn absent(state: &mut State) -> Option<&mut Process> {
    state.processes.iter_mut().find(|p| p.work == Number::ABSENT)
}
