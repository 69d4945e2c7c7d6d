//! What each rule is worth: switched off, something is lost, and this checker sees it. Among them are the ways in which
//! an earlier draft of the protocol lost grants.

use std::time::Duration;

use crate::{
    explore::{End, Verdict, explore},
    runs::{Run, marks},
    scenarios::{
        ANSWER_LOST, ASLEEP, CRASH, DELETE, ERROR_AFTER, LATE, OUTAGE, PAUSES, RECONNECT, SITS, TAKEN_OVER,
        THEN_REFUSED,
    },
    upstream::Mode,
    world::{Draft, Scenario},
};

use Mode::{Grace, Reject, Reusable, Revoke};

/// A rule switched off, where that shows, and how the mark begins that it leaves.
struct Off {
    what: &'static str,
    change: fn(&mut Run),
    scenario: Scenario,
    mode: Mode,
    refreshes: u8,
    /// A run in which others come in between a read and the swap that follows.
    split: bool,
    mark: &'static str,
}

const fn off(
    what: &'static str,
    change: fn(&mut Run),
    scenario: Scenario,
    mode: Mode,
    mark: &'static str,
) -> Off {
    Off {
        what,
        change,
        scenario,
        mode,
        refreshes: 1,
        split: false,
        mark,
    }
}

const ALL: &[Off] = &[
    off(
        "a superseded set is revoked, and shares its refresh token",
        |run| run.policy = run.policy.without(|rules| rules.superseded_kept = false),
        PAUSES,
        Reusable,
        "SILENT",
    ),
    off(
        "an outage over the second attempt marks dead",
        |run| run.policy = run.policy.without(|rules| rules.no_cap = false),
        OUTAGE,
        Reject,
        "NEEDLESS",
    ),
    off(
        "a lease that lapses twice marks dead",
        |run| run.draft = Some(Draft::AnybodyKills),
        PAUSES,
        Reject,
        "NEEDLESS",
    ),
    off(
        "only its crashed holder may end a second attempt",
        |run| {
            run.policy = run.policy.without(|rules| rules.no_cap = false);
            run.draft = Some(Draft::HolderKills);
        },
        CRASH,
        Revoke,
        "STUCK",
    ),
    off(
        "an unknown outcome is forgotten by cooling and giving back",
        |run| run.policy = run.policy.without(|rules| rules.keep_unknown = false),
        THEN_REFUSED,
        Reject,
        "I2",
    ),
    off(
        "tokens sat on beyond the quarantine count as healthy",
        |run| run.policy = run.policy.without(|rules| rules.verify_late = false),
        SITS,
        Revoke,
        "SILENT",
    ),
    off(
        "a refusal does not try the newer set",
        |run| run.policy = run.policy.without(|rules| rules.verify_newer = false),
        SITS,
        Revoke,
        "SILENT",
    ),
    Off {
        refreshes: 2,
        ..off(
            "a set that was replaced while it was tried ends the trying",
            |run| run.policy = run.policy.without(|rules| rules.verify_follows = false),
            SITS,
            Revoke,
            "SILENT",
        )
    },
    off(
        "the holder is named after its process",
        |run| run.policy = run.policy.without(|rules| rules.fresh_holder = false),
        CRASH,
        Revoke,
        "I1",
    ),
    off(
        "a late event is written over a successor's lease",
        |run| run.policy = run.policy.without(|rules| rules.holder_only = false),
        PAUSES,
        Revoke,
        "I1",
    ),
    off(
        "a lease that lapsed leaves no trace",
        |run| run.policy = run.policy.without(|rules| rules.intent = false),
        CRASH,
        Revoke,
        "I1",
    ),
    off(
        "a token is presented again at once",
        |run| run.policy = run.policy.without(|rules| rules.quarantine = false),
        LATE,
        Revoke,
        "I1",
    ),
    off(
        "the same, by a quarantine of no length",
        |run| run.policy.quarantine = Duration::ZERO,
        LATE,
        Revoke,
        "I1",
    ),
    off(
        "a token is presented again while the access token lives",
        |run| run.policy = run.policy.without(|rules| rules.wait_for_death = false),
        ANSWER_LOST,
        Revoke,
        "a presentation ended",
    ),
    off(
        "a set of an earlier epoch is stored after a delete",
        |run| run.policy = run.policy.without(|rules| rules.epoch = false),
        DELETE,
        Reject,
        "REVIVED",
    ),
    off(
        "a set of an earlier epoch counts as superseded after a reconnect, and is not revoked",
        |run| run.policy = run.policy.without(|rules| rules.epoch = false),
        RECONNECT,
        Reject,
        "LOST",
    ),
    off(
        "a set that comes after a delete is not revoked",
        |run| run.policy = run.policy.without(|rules| rules.owe_late = false),
        DELETE,
        Reject,
        "LEFT OVER",
    ),
    // Joined runs are blind to this one: in them nothing comes in between the reading and the writing of a lease.
    Off {
        split: true,
        ..off(
            "what may still be sent is counted from the writing of the lease",
            |run| run.policy = run.policy.without(|rules| rules.gate_from_read = false),
            PAUSES,
            Revoke,
            "I1",
        )
    },
    off(
        "a later presentation is not preceded by another look",
        |run| run.policy = run.policy.without(|rules| rules.recheck = false),
        SITS,
        Revoke,
        "SPENT",
    ),
    off(
        "a lease is used that the store may lose",
        |run| run.policy = run.policy.without(|rules| rules.confirm = false),
        TAKEN_OVER,
        Revoke,
        "I1",
    ),
    off(
        "a set is let go that the store may lose",
        |run| run.policy = run.policy.without(|rules| rules.confirm = false),
        TAKEN_OVER,
        Reject,
        "DIED",
    ),
    off(
        "within a grace period two sets share a refresh token, and the superseded one is revoked",
        |run| run.policy = run.policy.without(|rules| rules.superseded_kept = false),
        PAUSES,
        Grace,
        "SILENT",
    ),
];

fn run(off: &Off, change: impl FnOnce(&mut Run)) -> Verdict {
    let mut run = Run {
        refreshes: off.refreshes,
        split: off.split,
        ..Run::of(off.scenario, off.mode)
    };
    change(&mut run);
    explore(&run)
}

fn shows(verdict: &Verdict, mark: &str) -> bool {
    marks(verdict).any(|m| m.starts_with(mark))
}

#[test]
fn each_rule_is_worth_something() {
    for rule in ALL {
        let (with, without) = (run(rule, |_| ()), run(rule, rule.change));
        println!("{}: {:?}", rule.what, marks(&without).collect::<Vec<_>>());
        assert!(!shows(&with, rule.mark), "{}: also with the rule", rule.what);
        assert!(
            shows(&without, rule.mark),
            "{}: the checker is blind, or the rule is idle",
            rule.what
        );
    }
}

/// As long as superseded sets are revoked, not knowing one's own write revokes a set that is stored.
#[test]
fn an_own_write_is_known_again() {
    let draft = off(
        "an own write is taken for a newer one",
        |run| run.policy = run.policy.without(|rules| rules.own_write = false),
        ERROR_AFTER,
        Reject,
        "SILENT",
    );
    let revokes = |run: &mut Run| run.policy = run.policy.without(|rules| rules.superseded_kept = false);
    assert!(!shows(&run(&draft, revokes), draft.mark));
    let without = run(&draft, |run| {
        revokes(run);
        (draft.change)(run);
    });
    println!("{}: {:?}", draft.what, marks(&without).collect::<Vec<_>>());
    assert!(shows(&without, draft.mark));
}

/// "In work" comes only if somebody sleeps beyond the quarantine. Taken for a refusal that passes, it makes things worse.
#[test]
fn in_work_is_an_unknown_outcome() {
    let draft = off(
        "in work passes",
        |run| run.policy = run.policy.without(|rules| rules.in_progress_unknown = false),
        ASLEEP,
        Reject,
        "",
    );
    let (with, without) = (run(&draft, |_| ()), run(&draft, draft.change));
    println!(
        "{} presentations, else {}",
        with.presentations, without.presentations
    );
    assert!(without.presentations > with.presentations);
}

/// A delete while an answer is lost leaves a grant at the provider: no rule can prevent that, and it is told apart.
#[test]
fn a_delete_while_an_answer_is_lost_leaves_a_grant() {
    let verdict = explore(&Run::of(DELETE, Revoke));
    assert!(verdict.ends.contains_key(&End::LeftOver) && verdict.violations.is_empty());
}
