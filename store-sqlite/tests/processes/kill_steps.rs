//! `kill -9` at every step of a refresh.

use std::time::Duration;

use grantry_salesforce_simulator::Outcome;

use crate::{
    child::{name_of_error, set_name},
    judge::{End, brief, unsafe_presentations},
    steps::Phase,
    world::{Connected, LAPSE, Mode, World},
};

/// The names of all steps of a refresh that goes well.
pub(crate) async fn rehearse(world: &World) -> Vec<String> {
    let connected = world.connect().await;
    let mut child = world.child().await;
    child.arm("none", usize::MAX);
    child.refresh(&connected.id, "1.1", 1);
    let outcome = child.outcome(&connected.id).await;
    assert_eq!(outcome.got.len(), 1, "{outcome:?}");
    let steps = std::mem::take(&mut child.steps);
    child.quit().await;
    assert_eq!(Phase::of(&steps), Phase::Stored, "{steps:?}");
    steps
}

/// What a connection must come to if its presenter was killed at this point.
fn predicted(phase: Phase, mode: Mode) -> End {
    match phase {
        // Between the provider's commit and our write: nobody has the new tokens.
        Phase::Sent | Phase::Holding if mode != Mode::Reusable => End::Visible,
        _ => End::Healthy,
    }
}

/// A presenter was killed: what others find while its lease lasts, and afterwards.
async fn after_the_kill(world: &World, connected: &Connected, phase: Phase, mode: Mode) {
    let presented = world.presented(&connected.user).len();
    let expected = usize::from((Phase::Sent..=Phase::Stored).contains(&phase));
    assert_eq!(presented, expected, "{phase:?}");
    if (Phase::Lease..=Phase::Holding).contains(&phase) {
        // Whoever comes meanwhile is told to come again, and presents nothing.
        let id = connected.id.clone();
        let asking = world.in_passing(|broker| async move {
            broker
                .connection(&id)
                .refused(set_name("1.1"))
                .await
                .map(|new| new.version)
        });
        let error = asking.await.unwrap().unwrap_err();
        assert_eq!(name_of_error(&error), "refresh_in_progress");
        assert!(error.wait().is_some());
        assert_eq!(world.presented(&connected.user).len(), presented);
        world.pass(LAPSE);
    }
    world.end_sessions();
    let end = world.end_of(&world.fresh().await, connected).await;
    assert_eq!(end, predicted(phase, mode), "{phase:?} {mode:?}");
    let log = world.presented(&connected.user);
    if mode == Mode::Reusable {
        assert!(
            log.iter().all(|entry| entry.result == Outcome::Granted),
            "{}",
            brief(&log)
        );
        return;
    }
    assert_eq!(unsafe_presentations(&log, None), [""; 0], "{}", brief(&log));
    let first = &log[0].token_fingerprint;
    let times = log
        .iter()
        .filter(|entry| entry.token_fingerprint == *first)
        .count();
    assert_eq!(times, if end == End::Visible { 2 } else { 1 }, "{}", brief(&log));
}

async fn killed_at_every_step(mode: Mode) {
    let world = World::new(mode).await;
    let steps = rehearse(&world).await;
    for at in 0..steps.len() {
        let connected = world.connect().await;
        let mut child = world.child().await;
        child.arm("kill", at);
        child.refresh(&connected.id, "1.1", 1);
        let told = child.dies().await;
        assert!(told.is_empty(), "{told:?}");
        assert_eq!(child.steps, steps[..=at]);
        after_the_kill(&world, &connected, Phase::of(&steps[..=at]), mode).await;
    }
    killed_while_the_provider_works(&world, mode).await;
    println!("killed at each of {} steps, {mode:?}", steps.len() + 1);
}

async fn killed_while_the_provider_works(world: &World, mode: Mode) {
    world.simulator.update(|settings| settings.token_latency_ms = 300);
    let connected = world.connect().await;
    let mut child = world.child().await;
    child.refresh(&connected.id, "1.1", 1);
    while world.simulator.report(0).in_flight.is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    drop(child);
    while !world.simulator.report(0).in_flight.is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    world.simulator.update(|settings| settings.token_latency_ms = 10);
    after_the_kill(world, &connected, Phase::Sent, mode).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_tokens_that_stay() {
    killed_at_every_step(Mode::Reusable).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_tokens_that_work_once() {
    killed_at_every_step(Mode::Strict).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_families_that_end() {
    killed_at_every_step(Mode::Family).await;
}
