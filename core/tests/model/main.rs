//! Every interleaving of two processes (three with `GRANTRY_MODEL=full`) over one row, on the very functions of
//! `grantry::refresh::protocol`: pauses, crashes, lost and late requests, lost answers, store errors before and after the
//! commit, reconnect and delete meanwhile; against upstreams that reuse, reject or revoke.
//!
//! Found are states in which a living grant dies without a trace, a token is in flight twice, or nothing can go on. And
//! each protective rule is switched off in turn, to show that this checker would notice.
#![allow(
    clippy::unwrap_used,
    clippy::unused_self,
    clippy::items_after_statements,
    unreachable_pub,
    reason = "a test"
)]

mod upstream;
mod world;

use std::time::Duration;

use grantry::{
    provider::Rotation,
    refresh::protocol::{Policy, Rules},
};
use upstream::Mode;
use world::{Budget, Checker, Verdict};

fn policy(mode: Mode) -> Policy {
    Policy::new(if mode == Mode::Reusable {
        Rotation::Reusable
    } else {
        Rotation::Strict
    })
}

/// What can go wrong, and how often.
fn scenarios() -> Vec<(&'static str, Budget)> {
    let none = Budget::default();
    vec![
        (
            "pauses",
            Budget {
                lapse: 2,
                access_ends: 1,
                ..none
            },
        ),
        (
            "store error before the commit",
            Budget {
                lapse: 1,
                error_before: 2,
                access_ends: 1,
                ..none
            },
        ),
        (
            "store error after the commit",
            Budget {
                lapse: 1,
                error_after: 1,
                access_ends: 1,
                ..none
            },
        ),
        (
            "request lost",
            Budget {
                request_lost: 1,
                lapse: 1,
                access_ends: 1,
                ..none
            },
        ),
        (
            "answer lost",
            Budget {
                answer_lost: 1,
                lapse: 1,
                access_ends: 1,
                ..none
            },
        ),
        (
            "timeout, processed late",
            Budget {
                late: 1,
                lapse: 1,
                access_ends: 1,
                ..none
            },
        ),
        (
            "crash",
            Budget {
                crash: 1,
                lapse: 1,
                access_ends: 1,
                ..none
            },
        ),
        (
            "unknown, then not sent or refused for now",
            Budget {
                request_lost: 2,
                late: 1,
                may_pass: 2,
                not_sent: 1,
                access_ends: 1,
                ..none
            },
        ),
        (
            "outage, not processed",
            Budget {
                unprocessed: 2,
                access_ends: 1,
                ..none
            },
        ),
        (
            "reconnect meanwhile",
            Budget {
                reconnect: 1,
                lapse: 1,
                late: 1,
                crash: 1,
                access_ends: 1,
                ..none
            },
        ),
        (
            "delete meanwhile",
            Budget {
                delete: 1,
                lapse: 1,
                late: 1,
                access_ends: 1,
                ..none
            },
        ),
        (
            "sits on tokens beyond the quarantine",
            Budget {
                lapse: 1,
                access_ends: 1,
                hold: true,
                ..none
            },
        ),
    ]
}

const MODES: [Mode; 3] = [Mode::Reusable, Mode::Reject, Mode::Revoke];

/// A process sleeps between gate and send for longer than the quarantine. No protocol can close this hole (the provider
/// knows no fencing token), but rules make it smaller.
fn beyond_help() -> (&'static str, Budget) {
    (
        "asleep between gate and send",
        Budget {
            lapse: 1,
            access_ends: 1,
            pause: true,
            ..Budget::default()
        },
    )
}

fn explore(
    scenarios: &[(&'static str, Budget)],
    processes: usize,
    policy: impl Fn(Mode) -> Policy,
    modes: &[Mode],
) -> Vec<(String, Verdict)> {
    let mut all = Vec::new();
    for &(name, budget) in scenarios {
        for &mode in modes {
            // Reusable tokens make many states and no harm; two faults at once are enough for them.
            let budget = if mode == Mode::Reusable {
                Budget { crash: 0, ..budget }
            } else {
                budget
            };
            let verdict = Checker::new(processes, mode, policy(mode), budget).run();
            println!(
                "{:9}| {name:44}| {:>8} states | at most {} presentations | {}{}",
                format!("{mode:?}"),
                verdict.states,
                verdict.presentations,
                verdict.ends(),
                if verdict.violations.is_empty() {
                    String::new()
                } else {
                    format!(" | {:?}", verdict.violations)
                },
            );
            all.push((format!("{name} / {mode:?}"), verdict));
        }
    }
    all
}

#[test]
fn the_protocol_loses_nothing() {
    let processes = if std::env::var("GRANTRY_MODEL").is_ok_and(|v| v == "full") {
        3
    } else {
        2
    };
    let runs = explore(&scenarios(), processes, policy, &MODES);
    let states: usize = runs.iter().map(|(_, v)| v.states).sum();
    println!(
        "states={states} violations={}",
        runs.iter().map(|(_, v)| v.violations.len()).sum::<usize>()
    );
    for (name, verdict) in &runs {
        assert!(verdict.violations.is_empty(), "{name}: {:?}", verdict.violations);
        assert!(verdict.states > 20, "{name}: nothing was explored");
    }
}

#[test]
fn without_faults_one_presentation_is_enough() {
    for mode in MODES {
        let verdict = Checker::new(2, mode, policy(mode), Budget::default()).run();
        assert!(verdict.violations.is_empty(), "{:?}", verdict.violations);
        assert!(verdict.presentations <= 1);
        assert_eq!(verdict.ends(), "healthy");
    }
}

/// Which violations appear, beside those of the protocol itself, when a rule is switched off.
fn harm(
    with: &[(String, Verdict)],
    off: fn(&mut Rules),
    scenarios: &[(&'static str, Budget)],
    modes: &[Mode],
) -> Vec<String> {
    let without = explore(scenarios, 2, |mode| policy(mode).without(off), modes);
    let mut harm = Vec::new();
    for ((name, with), (_, without)) in with.iter().zip(without) {
        harm.extend(
            without
                .notes
                .difference(&with.notes)
                .map(|n| format!("{name}: {n}")),
        );
        harm.extend(
            without
                .violations
                .into_iter()
                .filter(|v| !with.violations.contains(v))
                .map(|v| format!("{name}: {v}")),
        );
    }
    harm
}

#[test]
fn each_rule_is_worth_something() {
    let strict = [Mode::Reject, Mode::Revoke];
    type Off = fn(&mut Rules);
    let mut all = scenarios();
    all.push(beyond_help());
    let with = explore(&all, 2, policy, &strict);
    let rules: [(&str, Off); 6] = [
        ("keep_unknown", |r| r.keep_unknown = false),
        ("holder_only", |r| r.holder_only = false),
        ("wait_for_death", |r| r.wait_for_death = false),
        ("verify_late", |r| r.verify_late = false),
        ("quarantine", |r| r.quarantine = false),
        ("epoch", |r| r.epoch = false),
    ];
    for (name, off) in rules {
        let harm = harm(&with, off, &all, &strict);
        println!("without {name}: {harm:?}");
        assert!(
            !harm.is_empty(),
            "switching {name} off harms nothing: the checker is blind, or the rule is idle"
        );
    }
}

#[test]
fn a_short_quarantine_is_no_quarantine() {
    // The same as switching the rule off, said with the policy's own number.
    let policy = |mode| {
        let mut policy = policy(mode);
        policy.quarantine = Duration::ZERO;
        policy
    };
    let runs = explore(&scenarios(), 2, policy, &[Mode::Revoke]);
    assert!(runs.iter().any(|(_, v)| !v.violations.is_empty()));
}
