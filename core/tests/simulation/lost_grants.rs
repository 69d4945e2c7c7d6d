//! Twelve ways in which earlier drafts of the protocol lost grants, each with the rule that stands against it: with the rule
//! nothing is lost, without it something is.

use std::{pin::Pin, time::Duration};

use grantry::testing::Fault;

use crate::{
    plan::{Mode, Plan},
    script::{SESSION, needs},
    sim::{Fate, Snare},
    world::World,
};

type Done<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

/// The write of the new set is applied, and its answer lost: the row that is read then is one's own.
#[test]
fn one_s_own_write_taken_for_a_newer_one() {
    fn script(world: &mut World) -> Done<'_> {
        Box::pin(async {
            world.sim.step(SESSION);
            world.fates(&[Fate::Slow(Duration::from_secs(2))]);
            world.sends(0);
            world.sleeps(1).await;
            world.snare(0, 0, Snare::Store(Fault::After));
            world.sleeps(5).await;
        })
    }
    needs(&Plan::still(Mode::StrictRevoke), script, |b| {
        b.without_rules(|r| (r.own_write, r.superseded_kept) = (false, false))
    });
}

/// Two processes get sets that share their refresh token; the one that comes too late is dropped, not revoked.
#[test]
fn a_superseded_set_that_shares_its_refresh_token() {
    fn script(world: &mut World) -> Done<'_> {
        Box::pin(sat_on(world))
    }
    for mode in [Mode::StrictStays, Mode::Reusable] {
        needs(&Plan::still(mode), script, |b| {
            b.without_rules(|r| r.superseded_kept = false)
        });
    }
}

/// One process stands still with its answer unread, for longer than the quarantine, and another one presents meanwhile.
async fn sat_on(world: &mut World) {
    world.sim.step(SESSION);
    world.fates(&[Fate::Slow(Duration::from_secs(3))]);
    world.sends(0);
    world.sleeps(1).await;
    world.sim.state().stop(0);
    world.sleeps(120).await;
    world.comes(1).await;
    world.sim.state().cont(0);
    world.sleeps(5).await;
}

/// The provider is down at the first attempt, and still is at the second: nothing died of that.
#[test]
fn an_outage_over_the_second_attempt() {
    fn script(world: &mut World) -> Done<'_> {
        Box::pin(async {
            world.sim.step(SESSION);
            world.fates(&[Fate::RequestLost, Fate::GarbageUnprocessed]);
            world.comes(0).await;
            world.sleeps(100).await;
            world.comes(1).await;
        })
    }
    needs(&Plan::still(Mode::StrictRevoke), script, |b| {
        b.without_rules(|r| r.no_cap = false)
    });
}

/// After an unknown outcome the provider refuses for now: that does not make the outcome known.
#[test]
fn an_unknown_outcome_forgotten_by_cooling() {
    fn script(world: &mut World) -> Done<'_> {
        Box::pin(async {
            world.sim.step(SESSION);
            world.fates(&[Fate::RequestLost, Fate::MayPass(30)]);
            world.comes(0).await;
            world.sleeps(100).await;
            world.comes(1).await;
            world.sleeps(40).await;
            world.comes(0).await;
        })
    }
    needs(&Plan::still(Mode::StrictRevoke), script, |b| {
        b.without_rules(|r| r.keep_unknown = false)
    });
}

/// What another presentation may have ended is tried before it counts as healthy.
#[test]
fn tokens_sat_on_beyond_the_quarantine() {
    fn script(world: &mut World) -> Done<'_> {
        Box::pin(sat_on(world))
    }
    needs(&Plan::still(Mode::StrictRevoke), script, |b| {
        b.without_rules(|r| r.verify_late = false)
    });
}

/// The holder of a lease dies, and so does the next one.
#[test]
fn a_lease_that_lapses_twice() {
    fn script(world: &mut World) -> Done<'_> {
        Box::pin(async {
            for process in 0..2 {
                world.sim.step(SESSION);
                world.fates(&[Fate::Slow(Duration::from_secs(10))]);
                world.sends(process);
                world.sleeps(2).await;
                world.sim.state().kill(process);
                world.restart(process);
            }
            world.sleeps(40).await;
            world.comes(0).await;
            world.sleeps(400).await;
            world.comes(1).await;
        })
    }
    needs(&Plan::still(Mode::StrictReject), script, |b| {
        b.without_rules(|r| r.intent = false)
    });
}

/// The first request is lost; the second process dies with its own on the way.
#[test]
fn a_crashed_second_attempt() {
    fn script(world: &mut World) -> Done<'_> {
        Box::pin(async {
            world.sim.step(SESSION);
            world.fates(&[Fate::RequestLost, Fate::RequestLost]);
            world.comes(0).await;
            world.sleeps(100).await;
            world.sends(1);
            world.sleeps(1).await;
            world.sim.state().kill(1);
            world.restart(1);
            world.sleeps(40).await;
            world.comes(0).await;
            world.sleeps(400).await;
        })
    }
    needs(&Plan::still(Mode::StrictRevoke), script, |b| {
        b.without_rules(|r| r.intent = false)
    });
}

/// A process that was killed and started again is somebody else.
#[test]
fn a_holder_named_after_its_process() {
    fn script(world: &mut World) -> Done<'_> {
        Box::pin(async {
            world.sim.step(SESSION);
            world.comes(0).await;
            world.sim.step(SESSION);
            world.fates(&[Fate::RequestLost]);
            world.sends(0);
            world.sleeps(1).await;
            world.sim.state().kill(0);
            world.restart(0);
            world.comes(0).await;
            world.sleeps(120).await;
            world.comes(0).await;
        })
    }
    needs(&Plan::still(Mode::StrictRevoke), script, |b| {
        b.without_rules(|r| r.fresh_holder = false)
    });
}

/// A process that stood still gives its lease back, when the lease is another's long since.
#[test]
fn a_late_event_over_a_successor_s_lease() {
    fn script(world: &mut World) -> Done<'_> {
        Box::pin(async {
            world.sim.step(SESSION);
            world.fates(&[Fate::NotSent, Fate::Slow(Duration::from_secs(15))]);
            // Two reads, the refresh's read, the lease's write and its confirmation come before.
            world.snare(0, 5, Snare::Stop(1_000_000));
            world.sends(0);
            world.sleeps(120).await;
            world.sends(1);
            world.sleeps(1).await;
            world.sim.state().cont(0);
            world.sleeps(4).await;
            world.sends(0);
            world.sleeps(30).await;
        })
    }
    needs(&Plan::still(Mode::StrictRevoke), script, |b| {
        b.without_rules(|r| r.holder_only = false)
    });
}

/// A connection is deleted while a refresh is on its way: what comes back revives nothing, and is revoked.
#[test]
fn a_delete_while_an_answer_is_out() {
    fn script(world: &mut World) -> Done<'_> {
        Box::pin(async {
            world.sim.step(SESSION);
            world.fates(&[Fate::Slow(Duration::from_secs(5))]);
            world.sends(0);
            world.sleeps(1).await;
            let id = world.sim.state().ids[0].clone();
            world.processes[1]
                .broker
                .connection(&id)
                .disconnect()
                .await
                .unwrap();
            world.sleeps(10).await;
        })
    }
    needs(&Plan::still(Mode::StrictRevoke), script, |b| {
        b.without_rules(|r| r.epoch = false)
    });
}

/// The store acknowledges a lease that no replica has, and its machine is lost while the token is on its way.
#[test]
fn a_lease_that_a_failover_forgets() {
    fn script(world: &mut World) -> Done<'_> {
        Box::pin(async {
            world.sim.step(SESSION);
            world.sim.state().replica.cut_off = true;
            world.fates(&[Fate::Slow(Duration::from_secs(3))]);
            world.sends(0);
            tokio::time::sleep(Duration::from_millis(500)).await;
            world.sim.fail_over().await;
            world.comes(1).await;
            world.sleeps(5).await;
        })
    }
    needs(&Plan::still(Mode::StrictRevoke), script, |b| {
        b.without_rules(|r| r.confirm = false)
    });
}

/// The lease is with a replica, and the new set is not when the machine is lost. Nobody comes to the process that has it.
#[test]
fn a_set_that_a_failover_forgets() {
    fn script(world: &mut World) -> Done<'_> {
        Box::pin(async {
            world.sim.step(SESSION);
            world.fates(&[Fate::Slow(Duration::from_secs(2))]);
            world.sends(0);
            world.sleeps(1).await;
            world.sim.state().replica.cut_off = true;
            world.sleeps(3).await;
            let before = world.sim.state().judge.connections[0].seen.row.version.generation;
            world.sim.fail_over().await;
            let after = world.sim.state().judge.connections[0].seen.row.version.generation;
            assert_eq!((before, after), (2, 1), "the set is lost");
            world.sleeps(100).await;
            world.comes(1).await;
            world.must_live();
        })
    }
    needs(&Plan::still(Mode::StrictRevoke), script, |b| {
        b.without_rules(|r| r.confirm = false)
    });
}
