//! The two usual designs, in the same world: a lock with a time-out around the refresh.

use grantry::{
    connection::{GrantVersion, Status},
    protocol::{
        Machine, Moment, Policy, Refresh, Row, Step,
        attempt::{Answer, Command, Event},
        machine::{Note, Read, Write, Written},
    },
};

use crate::{
    explore::{End, Verdict},
    row::{ME, now},
    runs::{Run, STRICT, each, explored, tell},
    scenarios,
    upstream::Mode,
    world::Design,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Classic {
    /// Whoever got tokens writes them and unlocks; a refused grant is marked dead.
    BlindWrite,
    /// The write must find the set that was spent, a refused grant is read again first, and only one's own lock is
    /// opened.
    CompareAndSet,
}

/// A refresh under a lock, which stands in the row as a lease; there is no gate, and an unknown outcome leaves no trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lock {
    classic: Classic,
    /// The set that is spent.
    spent: GrantVersion,
    at: At,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum At {
    Reading,
    Locking(Row),
    Presenting,
    ReadingAgain(Found),
    Writing(Row, Found),
    Done,
}

/// What the answer was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Found {
    Tokens,
    Dead,
    Nothing,
}

impl Lock {
    pub fn new(classic: Classic) -> Self {
        Self {
            classic,
            spent: GrantVersion::default(),
            at: At::Reading,
        }
    }

    fn lock(&mut self, row: &Row) -> At {
        self.spent = row.version;
        let free = match row.refresh {
            Refresh::Leased { until, .. } => until.millis <= now(1, 0).millis,
            _ => true,
        };
        if row.status != Status::Connected || !free {
            return At::Done;
        }
        let refresh = Refresh::Leased {
            holder: ME,
            until: now(1, 0).plus(std::time::Duration::from_secs(1)),
            attempt: 1,
        };
        At::Locking(Row { refresh, ..*row })
    }

    fn write(&self, row: &Row, found: Found) -> At {
        let checks = self.classic == Classic::CompareAndSet;
        let mine = matches!(row.refresh, Refresh::Leased { holder: ME, .. });
        // Another's lock stays, if one looks.
        let refresh = if checks && !mine {
            row.refresh
        } else {
            Refresh::Idle
        };
        let row = Row { refresh, ..*row };
        let same = row.version == self.spent || !checks;
        let next = match found {
            Found::Tokens if same => Row {
                version: GrantVersion {
                    generation: self.spent.generation + 1,
                    ..row.version
                },
                write_id: ME,
                status: Status::Connected,
                ..row
            },
            Found::Dead if same => Row {
                status: Status::Expired,
                ..row
            },
            _ if mine || !checks => row,
            _ => return At::Done,
        };
        At::Writing(next, found)
    }
}

impl Machine for Lock {
    type Command = Command;
    type Event = Event;
    type Outcome = ();
    type Notice = ();

    fn step(&self) -> Step<Command, ()> {
        let swap = |row| {
            Command::Swap(Write {
                row,
                note: Note::Leased,
            })
        };
        Step::Do(match self.at {
            At::Reading | At::ReadingAgain(_) => Command::Read,
            At::Locking(row) | At::Writing(row, _) => swap(row),
            At::Presenting => Command::Present { attempt: 1 },
            At::Done => return Step::Done(()),
        })
    }

    fn on(&mut self, event: Event, _: Moment, _: &Policy) -> Vec<()> {
        self.at = match (self.at, event) {
            (At::Reading, Event::Read(Read::Row(view))) => self.lock(&view.row),
            (At::Locking(_), Event::Written(Written::Swapped)) => At::Presenting,
            (At::Presenting, Event::Answered(answer)) => At::ReadingAgain(match answer {
                Answer::Received => Found::Tokens,
                Answer::GrantDead(_) => Found::Dead,
                _ => Found::Nothing,
            }),
            (At::ReadingAgain(found), Event::Read(Read::Row(view))) => self.write(&view.row, found),
            (At::Writing(_, found), Event::Written(Written::Failed | Written::Conflict)) => {
                At::ReadingAgain(found)
            }
            _ => At::Done,
        };
        Vec::new()
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
