//! Every interleaving of two processes (three with `GRANTRY_MODEL=full`) over one row, on the very machines of
//! `grantry::protocol`: pauses, crashes, lost and late requests, lost answers, store errors before and after the
//! commit, reconnect and delete meanwhile; against upstreams that reuse, reject or revoke.
//!
//! Found are states in which a living grant dies without a trace, a token is in flight twice, or nothing can go on. And
//! each protective rule is switched off in turn, to show that this checker would notice.
#![allow(clippy::unwrap_used, unreachable_pub, reason = "a test")]

mod bits;
mod classic;
mod drive;
mod explore;
mod faults;
mod keep;
mod kinds;
mod memory;
mod met;
mod opinion;
mod pack;
mod process;
mod requests;
mod row;
mod rules;
mod runs;
mod scenarios;
mod state;
mod store;
mod time;
mod upstream;
mod work;
mod world;

use explore::{End, Verdict};
use kinds::{Kind, kinds};
use met::Met;
use runs::{MODES, Run, each, explored, marks, tell};
use upstream::Mode;

#[test]
fn the_protocol_loses_nothing() {
    let full = std::env::var("GRANTRY_MODEL").is_ok_and(|v| v == "full");
    let (mut states, mut violations, mut met) = (0, 0, Met::default());
    for Kind { name, runs } in kinds(full) {
        let runs = explored(&runs);
        tell(&runs);
        let sum = |of: fn(&Verdict) -> usize| runs.iter().map(|(_, verdict)| of(verdict)).sum::<usize>();
        let (more, wrong) = (sum(|v| v.states), sum(|v| v.violations.len()));
        println!("{name}: {more} states, {wrong} violations");
        (states, violations) = (states + more, violations + wrong);
        for (run, verdict) in &runs {
            let lives = [End::Healthy, End::Expired]
                .iter()
                .any(|end| verdict.ends.contains_key(end));
            assert!(lives, "{}", run.scenario.name);
            assert!(verdict.states > 20, "{}: nothing was explored", run.scenario.name);
            met.extend(verdict.met);
        }
    }
    println!("states={states} violations={violations}");
    assert_eq!(violations, 0);
    let (pairs, rows) = (met.unmet(), met.unmet_rows());
    assert!(
        pairs.is_empty(),
        "never asked for, or never answered so: {pairs:?}"
    );
    assert!(rows.is_empty(), "never met: {rows:?}");
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
        assert!(verdict.violations.is_empty());
        let harm = ["I1", "I2"].map(|begins| marks(&verdict).any(|mark| mark.starts_with(begins)));
        assert_eq!(harm, [true, true], "the hole is there");
    }
}
