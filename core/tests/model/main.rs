//! Every interleaving of two processes (three with `GRANTRY_MODEL=full`) over one row, on the very functions of
//! `grantry::protocol`: pauses, crashes, lost and late requests, lost answers, store errors before and after the
//! commit, reconnect and delete meanwhile; against upstreams that reuse, reject or revoke.
//!
//! Found are states in which a living grant dies without a trace, a token is in flight twice, or nothing can go on. And
//! each protective rule is switched off in turn, to show that this checker would notice.
#![allow(clippy::unwrap_used, unreachable_pub, reason = "a test")]

mod classic;
mod drive;
mod explore;
mod faults;
mod opinion;
mod pack;
mod requests;
mod row;
mod rules;
mod runs;
mod scenarios;
mod state;
mod upstream;
mod work;
mod world;

use explore::End;
use runs::{MODES, Run, each, explored, marks, tell};
use upstream::Mode;

#[test]
fn the_protocol_loses_nothing() {
    let full = std::env::var("GRANTRY_MODEL").is_ok_and(|v| v == "full");
    let largest = |run: &Run| run.scenario.name == scenarios::MANY.name && run.mode != Mode::Revoke;
    let runs = each(&scenarios::ALL, &MODES, |run| Run {
        processes: if full { 3 } else { 2 },
        // With two refreshes what is late meets the turn and the set of the next one.
        refreshes: if largest(&run) && !full { 1 } else { 2 },
        // Reusable tokens make ten times the states, and no harm.
        stretched: full && run.mode != Mode::Reusable,
        traced: true,
        ..run
    });
    let runs = explored(&runs);
    tell(&runs);
    let states: usize = runs.iter().map(|(_, v)| v.states).sum();
    let violations: usize = runs.iter().map(|(_, v)| v.violations.len()).sum();
    println!("states={states} violations={violations}");
    assert_eq!(violations, 0);
    for (run, verdict) in &runs {
        assert!(verdict.ends.contains_key(&End::Healthy), "{}", run.scenario.name);
        assert!(verdict.states > 20, "{}: nothing was explored", run.scenario.name);
    }
}

#[test]
fn without_faults_one_presentation_is_enough() {
    for (run, verdict) in explored(&each(&[scenarios::CALM], &MODES, |run| run)) {
        assert_eq!(marks(&verdict).count(), 0, "{verdict:?}");
        assert_eq!(verdict.presentations, u8::from(run.mode != Mode::Reusable));
        assert!(verdict.ends.keys().eq(&[End::Healthy]));
    }
}

/// The hole that no protocol can close, whatever the number of processes and refreshes: a token may be in flight twice,
/// and a grant may die of it. But nothing dies silently, and nothing is marked dead that lives.
#[test]
fn who_sleeps_between_gate_and_send_does_the_documented_harm_only() {
    let runs = each(&[scenarios::ASLEEP], &runs::STRICT, |run| Run {
        processes: 3,
        refreshes: 2,
        stretched: true,
        ..run
    });
    let runs = explored(&runs);
    tell(&runs);
    for (_, verdict) in runs {
        assert!(
            verdict
                .violations
                .iter()
                .all(|v| v.starts_with("I1") || v.starts_with("I2"))
        );
        assert_eq!(verdict.violations.len(), 2, "{:?}", verdict.violations);
    }
}
