//! The two usual designs, in the same world: a lock with a time-out around the refresh.

use grantry::connection::Status;

use crate::{
    explore::{End, Verdict},
    row::{Age, Phase, Row},
    runs::{Run, STRICT, each, explored, tell},
    scenarios,
    state::{At, Name, Process, State, Work},
    upstream::Mode,
    world::{Design, World},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Classic {
    /// Whoever got tokens writes them and unlocks; a refused grant is marked dead.
    BlindWrite,
    /// The write must find the set that was spent, a refused grant is read again first, and only one's own lock is
    /// opened.
    CompareAndSet,
}

impl World {
    /// The lock stands in the row as a turn; there is no gate, and an unknown outcome leaves no trace.
    pub fn by_lock(&mut self, classic: Classic, state: &State, i: usize, out: &mut Vec<State>) {
        let process = state.processes[i];
        let (row, rest) = (state.row, self.rest(process));
        let checks = classic == Classic::CompareAndSet;
        let holder = state.processes.iter().position(|p| p.holds);
        // Another's lock stays, if one looks.
        let kept = if checks && !process.holds {
            (row.refresh, state.age, holder)
        } else {
            (Phase::Idle, Age::Living, None)
        };
        let unlocked = |row: Row| {
            (
                Row {
                    refresh: kept.0,
                    ..row
                },
                kept.1,
                kept.2,
            )
        };
        let written = match process.at {
            At::Idle | At::Take if row.refresh == Phase::Idle || state.age != Age::Living => {
                let work = Work {
                    name: row.name,
                    token: state.token().unwrap(),
                    attempt: 1,
                    ..Work::NONE
                };
                let mine = Process { work, ..process };
                let locked = Row {
                    refresh: Phase::Turn(1),
                    ..row
                };
                return self.swap(
                    state,
                    i,
                    (locked, Age::Living, Some(i)),
                    mine.to(At::Ready),
                    rest,
                    out,
                );
            }
            At::Commit if row.name == process.work.name || !checks => Row {
                name: Name {
                    generation: process.work.name.generation + 1,
                    ..row.name
                },
                set: process.work.set,
                status: Status::Connected,
                ..row
            },
            At::Dead if row.name == process.work.name || !checks => Row {
                status: Status::Expired,
                ..row
            },
            At::Idle | At::Take => return out.push(state.with(i, rest)),
            _ if process.holds || !checks => row,
            _ => return out.push(state.with(i, rest)),
        };
        self.swap(state, i, unlocked(written), rest, process, out);
    }
}

#[test]
fn a_lock_does_not_make_refresh_safe() {
    let all = [
        scenarios::PAUSES,
        scenarios::ERROR_BEFORE,
        scenarios::REQUEST_LOST,
        scenarios::LATE,
        scenarios::CRASH,
    ];
    for classic in [Classic::BlindWrite, Classic::CompareAndSet] {
        let design = Design::Classic(classic);
        let runs = explored(&each(&all, &STRICT, |run| Run { design, ..run }));
        tell(&runs);
        let most = runs.iter().map(|(_, v)| v.presentations).max().unwrap();
        let silent = |v: &Verdict| v.ends.get(&End::SilentlyDead).copied().unwrap_or(0);
        let silent: usize = runs.iter().map(|(_, v)| silent(v)).sum();
        println!(
            "{classic:?}: at most {most} presentations of one token (5: or more), silent dead connections: {silent} end states"
        );
        assert!(most >= 3 && silent > 0, "{classic:?} is not caught");
        for (run, verdict) in &runs {
            let dies = verdict.ends.contains_key(&End::SilentlyDead);
            assert!(
                dies || run.mode != Mode::Revoke,
                "{classic:?}: {}",
                run.scenario.name
            );
        }
    }
}
