//! A second opinion: what an independent model of the same protocol, written in Python, finds in each scenario.
//!
//! The numbers of states differ, since that model tells processes apart, keeps reading and writing a row as two steps,
//! and counts names that end; what can come of a scenario must not. It was run with two processes, with one refresh in
//! every scenario and with two in all but the largest runs; both have the same outcome.

use crate::{
    explore::End,
    runs::{Run, STRICT, explored, marks},
    scenarios::{
        ANSWER_LOST, ASLEEP, CRASH, DELETE, ERROR_AFTER, ERROR_BEFORE, LATE, MANY, OUTAGE, PAUSES, RECONNECT,
        REQUEST_LOST, SITS, THEN_REFUSED,
    },
    upstream::Mode,
    world::Scenario,
};

use End::{Deleted, Expired, Healthy, LeftOver};

/// Scenario, upstream modes, at most so many presentations of one token (0: not counted, since reusable; 5: or more),
/// all ends, and the beginnings of all marks.
type Opinion = (
    Scenario,
    &'static [Mode],
    u8,
    &'static [End],
    &'static [&'static str],
);

const REUSABLE: &[Mode] = &[Mode::Reusable];
const REJECT: &[Mode] = &[Mode::Reject];
const REVOKE: &[Mode] = &[Mode::Revoke];

const OPINIONS: &[Opinion] = &[
    (PAUSES, REUSABLE, 0, &[Healthy], &[]),
    (PAUSES, &STRICT, 1, &[Healthy], &[]),
    (ERROR_BEFORE, REUSABLE, 0, &[Healthy], &[]),
    (ERROR_BEFORE, &STRICT, 1, &[Healthy], &[]),
    (ERROR_AFTER, REUSABLE, 0, &[Healthy], &[]),
    (ERROR_AFTER, &STRICT, 1, &[Healthy], &[]),
    (REQUEST_LOST, REUSABLE, 0, &[Healthy], &[]),
    (REQUEST_LOST, &STRICT, 2, &[Healthy], &[]),
    (ANSWER_LOST, REUSABLE, 0, &[Healthy], &[]),
    (ANSWER_LOST, &STRICT, 3, &[Healthy, Expired], &[]),
    (LATE, REUSABLE, 0, &[Healthy], &[]),
    (LATE, &STRICT, 3, &[Healthy, Expired], &[]),
    (CRASH, REUSABLE, 0, &[Healthy], &[]),
    (CRASH, &STRICT, 3, &[Healthy, Expired], &[]),
    (THEN_REFUSED, REUSABLE, 0, &[Healthy], &[]),
    (THEN_REFUSED, &STRICT, 5, &[Healthy, Expired], &[]),
    (OUTAGE, REUSABLE, 0, &[Healthy], &[]),
    (OUTAGE, &STRICT, 3, &[Healthy], &[]),
    (RECONNECT, REUSABLE, 0, &[Healthy], &[]),
    (RECONNECT, &STRICT, 4, &[Healthy, Expired], &[]),
    (DELETE, REUSABLE, 0, &[Healthy, Deleted], &[]),
    // The left-over grant is counted as a violation there, and as a documented end here, if an answer was lost.
    (DELETE, &STRICT, 3, &[Healthy, Expired, Deleted, LeftOver], &[]),
    (SITS, REUSABLE, 0, &[Healthy], &[]),
    (SITS, REJECT, 2, &[Healthy], &[]),
    (SITS, REVOKE, 2, &[Healthy, Expired], &["a presentation ended"]),
    (ASLEEP, REUSABLE, 0, &[Healthy], &[]),
    (ASLEEP, REJECT, 2, &[Healthy], &["I1", "I2"]),
    (
        ASLEEP,
        REVOKE,
        2,
        &[Healthy, Expired],
        &["I1", "I2", "a presentation ended"],
    ),
    (MANY, REUSABLE, 0, &[Healthy], &[]),
    (MANY, &STRICT, 5, &[Healthy, Expired], &[]),
];

#[test]
fn the_second_opinion_is_the_same() {
    let runs = OPINIONS.iter().flat_map(|opinion| {
        let (scenario, modes, ..) = *opinion;
        let refreshes: &[u8] = if scenario.name == MANY.name { &[1] } else { &[1, 2] };
        let each = move |&mode| refreshes.iter().map(move |&refreshes| (opinion, mode, refreshes));
        modes
            .iter()
            .flat_map(each)
            .map(move |(opinion, mode, refreshes)| {
                let run = Run::of(scenario, mode);
                (opinion, Run { refreshes, ..run })
            })
    });
    let (opinions, runs): (Vec<_>, Vec<_>) = runs.unzip();
    assert!(runs.len() >= scenarios_and_modes());
    for (opinion, (run, verdict)) in opinions.iter().zip(explored(&runs)) {
        let (_, _, presentations, ends, begins) = opinion;
        let name = format!(
            "{} / {:?} / {} refreshes",
            run.scenario.name, run.mode, run.refreshes
        );
        assert_eq!(verdict.presentations, *presentations, "{name}");
        assert!(verdict.ends.keys().eq(*ends), "{name}: {:?}", verdict.ends);
        let found: Vec<_> = marks(&verdict).collect();
        let same = found.len() == begins.len() && found.iter().zip(*begins).all(|(f, b)| f.starts_with(b));
        assert!(same, "{name}: {found:?}");
    }
}

fn scenarios_and_modes() -> usize {
    (crate::scenarios::ALL.len() + 1) * 3
}
