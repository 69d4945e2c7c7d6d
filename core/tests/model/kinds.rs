//! Which runs there are.

use crate::{
    runs::{MODES, Run, STRICT, each},
    scenarios::{self, DELETE, MANY, RECONNECT},
    upstream::Mode,
};

/// Runs of one kind.
pub struct Kind {
    pub name: &'static str,
    pub runs: Vec<Run>,
}

/// All runs, in their short form or in full.
pub fn kinds(full: bool) -> Vec<Kind> {
    let is = |run: &Run, name: &str| run.scenario.name == name;
    let with = move |run: Run| Run {
        // With two refreshes what is late meets the lease and the set of the next one.
        refreshes: 2,
        // Reusable tokens make ten times the states, and no harm.
        stretched: full && run.mode != Mode::Reusable,
        traced: true,
        ..run
    };
    // Where a token may be presented again at once, much happens at a time.
    let largest = move |run: &Run| run.mode == Mode::Grace && is(run, MANY.name);
    let joined = move |run: Run| {
        let once = is(&run, MANY.name) && run.mode != Mode::Revoke && !full;
        Run {
            processes: if full && !largest(&run) { 3 } else { 2 },
            refreshes: if once || largest(&run) { 1 } else { 2 },
            ..with(run)
        }
    };
    let split = move |run: Run| Run {
        split: true,
        refreshes: if is(&run, MANY.name) && !full { 1 } else { 2 },
        ..with(run)
    };
    let large =
        |run: &Run| run.mode == Mode::Grace && [MANY, RECONNECT, DELETE].iter().any(|s| is(run, s.name));
    let mut all = each(&scenarios::ALL, &MODES, joined);
    all.retain(|run| full || !large(run));
    [
        ("joined", all),
        ("split", each(&scenarios::ALL, &STRICT, split)),
        ("parts fail", each(&scenarios::PARTS_FAIL, &STRICT, split)),
        ("a replica takes over", each(&scenarios::FAIL_OVER, &STRICT, with)),
        ("rolled back", each(&scenarios::ROLL_BACK, &STRICT, with)),
    ]
    .map(|(name, runs)| Kind { name, runs })
    .into()
}
