//! What random search and the model check found in the engine, once, each as a script: seeds change their meaning with the
//! code.

use std::{pin::Pin, time::Duration};

use grantry::{connection::Status, testing::Fault};

use crate::{
    people::note_disabled,
    plan::{Mode, Plan},
    script::{SESSION, holds},
    sim::{Fate, Snare},
    world::{Process, World, connect},
};

type Done<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

const YEAR: i64 = 365 * 24 * 3600 * 1000;

/// A lease ends by the store's time that was read with the row. One that was written long after that reading has lapsed
/// already, and nothing may be sent in it.
#[test]
fn a_lease_written_long_after_its_row_was_read() {
    fn script(world: &mut World) -> Done<'_> {
        Box::pin(async {
            world.sim.step(SESSION);
            // The row and the integration are read, and then the refresh reads the row.
            world.snare(0, 2, Snare::Store(Fault::SlowAnswer(Duration::from_secs(100))));
            world.fates(&[Fate::Slow(Duration::from_secs(10))]);
            world.sends(0);
            world.sleeps(101).await;
            world.comes(1).await;
        })
    }
    holds(&Plan::still(Mode::StrictRevoke), script);
}

/// The machine slept for longer than a session while a second attempt was on its way: the access token has come to its
/// end, and that says nothing about the grant.
#[test]
fn a_late_set_whose_access_token_has_ended_by_itself() {
    fn script(world: &mut World) -> Done<'_> {
        Box::pin(async {
            world.sim.step(SESSION);
            world.fates(&[Fate::RequestLost, Fate::Slow(Duration::from_secs(5))]);
            world.comes(0).await;
            world.sleeps(100).await;
            world.sends(1);
            world.sleeps(1).await;
            world.sim.step(SESSION + Duration::from_secs(60));
            world.sleeps(10).await;
        })
    }
    holds(&Plan::still(Mode::StrictRevoke), script);
}

/// A clock that is a year ahead writes until when a connection cools, and is set right.
#[test]
fn a_cooling_by_a_clock_that_was_wrong() {
    fn script(world: &mut World) -> Done<'_> {
        Box::pin(async {
            world.sim.machines[0].jump(YEAR);
            world.fates(&[Fate::MayPass(30)]);
            world.comes(0).await;
        })
    }
    holds(&Plan::still(Mode::StrictRevoke), script);
}

/// Nobody says when the access token ends, and nobody can say whether it works: it is served on until it is refused.
#[test]
fn an_unknown_outcome_where_nobody_can_tell_whether_the_access_token_lives() {
    fn script(world: &mut World) -> Done<'_> {
        Box::pin(async {
            world.sim.step(SESSION);
            world.fates(&[Fate::RequestLost]);
            world.comes(0).await;
        })
    }
    let plan = Plan {
        tells_expiry: false,
        tells_life: false,
        ..Plan::still(Mode::StrictRevoke)
    };
    holds(&plan, script);
}

/// A reconnect is written, its answer is lost, and the new set is refreshed before the row is read again: the reconnect is
/// not written once more, with a token that is spent by then.
#[test]
fn a_reconnect_that_does_not_know_its_own_write_again() {
    fn script(world: &mut World) -> Done<'_> {
        Box::pin(async {
            let id = world.sim.state().ids[0].clone();
            let Process { broker, signals } = world.processes[0].clone();
            let (sim, integration) = (world.sim.clone(), world.integration.clone());
            let flow = connect(sim, broker, signals, integration, 0, Some(id));
            let flow = tokio::spawn(flow);
            while world.sim.state().judge.families.len() < 2 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            // The code is exchanged. The row is read, and then it is written.
            world.snare(0, 1, Snare::Store(Fault::After));
            while world.sim.state().judge.connections[0].seen.row.version.epoch < 2 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            world.sim.state().stop(0);
            world.sim.step(SESSION);
            world.comes(1).await;
            world.sim.state().cont(0);
            flow.await.unwrap().unwrap();
            world.sleeps(5).await;
        })
    }
    holds(&Plan::still(Mode::StrictRevoke), script);
}

/// A freeze that a clock a year ahead began is done all the same.
#[test]
fn a_freeze_by_a_clock_that_was_wrong() {
    fn script(world: &mut World) -> Done<'_> {
        Box::pin(async {
            world.sim.machines[0].jump(YEAR);
            world.sim.state().perhaps_disabled = true;
            let broker = &world.processes[0].broker;
            broker
                .integration(&world.integration)
                .freeze("a leak")
                .await
                .unwrap();
            note_disabled(&world.sim, &world.integration).await;
        })
    }
    holds(&Plan::still(Mode::StrictRevoke), script);
}

/// The integration is read, and before the answer is there it is disabled in the same process.
#[test]
fn a_slow_reader_that_switches_an_integration_on_again() {
    fn script(world: &mut World) -> Done<'_> {
        Box::pin(async {
            // What was heard of the store is too old to be believed, so that the row and the integration are read.
            world.sim.step(Duration::from_secs(2));
            world.snare(0, 1, Snare::Store(Fault::SlowAnswer(Duration::from_secs(1))));
            world.sends(0);
            tokio::time::sleep(Duration::from_millis(100)).await;
            world.sim.state().perhaps_disabled = true;
            let broker = &world.processes[0].broker;
            broker.integration(&world.integration).disable().await.unwrap();
            note_disabled(&world.sim, &world.integration).await;
            world.sleeps(5).await;
            assert!(!world.comes(0).await, "it is disabled");
        })
    }
    let plan = Plan {
        usual_intervals: true,
        ..Plan::still(Mode::StrictRevoke)
    };
    holds(&plan, script);
}

/// A set that came late is dead, and the store fails when that is to be marked.
#[test]
fn a_dead_set_is_marked_once_the_store_is_back() {
    fn script(world: &mut World) -> Done<'_> {
        Box::pin(async {
            ends_what_the_other_sits_on(world).await;
            // The first write meets another row; that is read, the set is stored and tried, and the row is read.
            world.snare(0, 3, Snare::Store(Fault::Before));
            world.sim.state().cont(0);
            world.sleeps(10).await;
            world.must_be_expired();
        })
    }
    holds(&Plan::still(Mode::StrictRevoke), script);
}

/// It is marked, and a replica takes over that has the set and not the mark.
#[test]
fn a_dead_set_whose_mark_a_failover_forgets() {
    fn script(world: &mut World) -> Done<'_> {
        Box::pin(async {
            ends_what_the_other_sits_on(world).await;
            world.snare(0, 3, Snare::Stop(1_000_000));
            world.sim.state().cont(0);
            world.sleeps(5).await;
            let id = world.sim.state().ids[0].clone();
            world.sim.state().replica.has(&id);
            world.sim.state().replica.cut_off = true;
            world.sim.state().cont(0);
            world.sleeps(5).await;
            world.must_be_expired();
            world.sim.fail_over().await;
            let lost = world.sim.state().judge.connections[0].seen.row;
            assert_eq!(
                (lost.status, lost.version.generation),
                (Status::Connected, 2),
                "the mark is lost"
            );
            world.sleeps(10).await;
            world.must_be_expired();
        })
    }
    holds(&Plan::still(Mode::StrictRevoke), script);
}

/// One process stands still with its answer unread. Another one presents the same token after the quarantine, and ends the
/// grant.
async fn ends_what_the_other_sits_on(world: &mut World) {
    world.sim.step(SESSION);
    world.fates(&[Fate::Slow(Duration::from_secs(3))]);
    world.sends(0);
    world.sleeps(1).await;
    world.sim.state().stop(0);
    world.sleeps(120).await;
    world.comes(1).await;
}
