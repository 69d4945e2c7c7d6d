//! SIGSTOP at every step of a refresh, for less and for more than a lease and its quarantine, while another process acts.

use std::{ops::RangeInclusive, time::Duration};

use crate::{
    child::{PATIENCE, set_name},
    judge::{End, brief, unsafe_presentations},
    kill_steps::rehearse,
    process::{DEADLINE, Outcome, Process},
    steps::{Phase, Steps},
    world::{Connected, LAPSE, Mode, World},
};

/// In parts of a lease's thirty seconds: within the gate's five; past the gate; past the lease; past most of the quarantine, and
/// past all of it.
const PAUSES: [f64; 5] = [0.1, 0.5, 1.1, 2.2, 3.0];
const LEASE: Duration = Duration::from_secs(30);
/// From a lease's beginning to the end of its quarantine: the gate could have been passed for ten seconds.
const RESOLVED: Duration = Duration::from_secs(70);

/// What must come of a presenter who was stopped at this point for this long.
fn predicted(phase: Phase, pause: Duration, mode: Mode) -> End {
    match phase {
        // Somebody else presented the token meanwhile, and it is, or was, presented here too. No one can prevent that;
        // where it ends the family it must show.
        Phase::Gated | Phase::Holding if pause > RESOLVED && mode == Mode::Family => End::Visible,
        _ => End::Healthy,
    }
}

async fn stopped_at(
    world: &World,
    child: &mut Process,
    (at, phase): (usize, Phase),
    pause: Duration,
) -> (Outcome, Connected, RangeInclusive<i64>) {
    let connected = world.connect().await;
    child.arm("stop", at);
    child.refresh(&connected.id, "1.1", 1);
    child.stops().await;
    world.pass(pause);
    // Its callers do not wait for the lease of one who is stopped; its refresh does.
    let is_held = (Phase::Lease..=Phase::Holding).contains(&phase) && pause < LEASE;
    let patience = if is_held {
        Duration::from_millis(60)
    } else {
        PATIENCE
    };
    let (rival, _) = world.place.broker(&Steps::default(), patience).await;
    // What it is told is no matter: it may have to come again.
    drop(rival.connection(&connected.id).refused(set_name("1.1")).await);
    let woken = world.simulator.now();
    child.resume();
    let outcome = child.outcome(&connected.id).await;
    let left = rival.shutdown(DEADLINE).await;
    assert!(left.unfinished.is_empty(), "{left:?}");
    (outcome, connected, woken..=world.simulator.now())
}

async fn stopped_at_every_step(mode: Mode) {
    let world = World::new(mode).await;
    let steps = rehearse(&world).await;
    let mut child = world.child().await;
    // Knows nothing of any of them until it is asked.
    let judge = world.fresh().await;
    let mut visible = 0;
    for (at, pause) in (0..steps.len()).flat_map(|at| PAUSES.map(|part| (at, LEASE.mul_f64(part)))) {
        let phase = Phase::of(&steps[..=at]);
        let (outcome, connected, awake) = stopped_at(&world, &mut child, (at, phase), pause).await;
        let told = format!("{mode:?} {phase:?} ({at}), {pause:?}, awake {awake:?}: {outcome:?}");
        // A caller who was given a token was given one that works, but for a pause that nobody can make good.
        let expected = predicted(phase, pause, mode);
        if expected == End::Healthy {
            for token in outcome.got.keys() {
                assert!(
                    world.token_lives(token.split_once(' ').unwrap().1).await,
                    "{told}"
                );
            }
        }
        world.pass(LAPSE);
        world.end_sessions();
        let end = world.end_of(&judge, &connected).await;
        let log = world.presented(&connected.user);
        assert_eq!(end, expected, "{told}{}", brief(&log));
        visible += usize::from(end == End::Visible);
        if mode != Mode::Reusable {
            let late = (pause > RESOLVED && phase == Phase::Gated).then_some(&awake);
            assert_eq!(unsafe_presentations(&log, late), [""; 0], "{told}{}", brief(&log));
            let first = log.iter().filter(|entry| entry.generation == Some(1)).count();
            let twice = pause > RESOLVED && matches!(phase, Phase::Gated | Phase::Holding);
            assert_eq!(first, if twice { 2 } else { 1 }, "{told}{}", brief(&log));
        }
    }
    child.quit().await;
    let pauses = steps.len() * PAUSES.len();
    println!("{pauses} pauses, {mode:?}: {visible} could not be made good, each visible");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_tokens_that_stay() {
    stopped_at_every_step(Mode::Reusable).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_tokens_that_work_once() {
    stopped_at_every_step(Mode::Strict).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_families_that_end() {
    stopped_at_every_step(Mode::Family).await;
}
