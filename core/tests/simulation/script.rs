//! Scripts in the simulated world: what happens is written down, and the judges are the same.

use std::{pin::Pin, time::Duration};

use grantry::connection::Status;

use crate::{
    calls::Wish,
    dice::Dice,
    plan::Plan,
    run::{self, Report},
    sim::{Fate, Sim, Snare},
    world::{Rules, World},
};

pub type Script = for<'a> fn(&'a mut World) -> Pin<Box<dyn Future<Output = ()> + 'a>>;

pub const SESSION: Duration = Duration::from_secs(7200);

/// Runs a script, lets everything come right, and reports.
pub fn run(plan: &Plan, script: Script, rules: Rules) -> Report {
    let plan = plan.clone();
    run::inside(7, async move {
        let sim = Sim::new(plan, Dice::new(7), false);
        let mut world = World::new(sim.clone(), rules).await;
        // Both processes know the connection, and what they heard of the store is old.
        for process in 0..2 {
            world.comes(process).await;
        }
        world.sleeps(5).await;
        script(&mut world).await;
        world.converge().await;
        run::report(&sim)
    })
}

/// The script holds.
pub fn holds(plan: &Plan, script: Script) {
    let report = run(plan, script, |builder| builder);
    assert!(
        report.violations.is_empty(),
        "{:#?}\n{}",
        report.violations,
        report.tail
    );
}

/// The script holds, and does not without a rule.
pub fn needs(plan: &Plan, script: Script, rules: Rules) {
    holds(plan, script);
    let report = run(plan, script, rules);
    assert!(
        !report.violations.is_empty(),
        "nothing was found without the rule"
    );
}

impl World {
    /// A grant that is found dead, though every process lives, was lost.
    pub fn must_live(&self) {
        let judge = &mut self.sim.state().judge;
        let status = judge.connections[0].seen.row.status;
        if status != Status::Connected {
            judge
                .violations
                .push(format!("the connection is {}", status.as_str()));
        }
    }

    /// What is dead is marked before anybody uses it.
    pub fn must_be_expired(&self) {
        let judge = &mut self.sim.state().judge;
        let status = judge.connections[0].seen.row.status;
        if status != Status::Expired {
            judge
                .violations
                .push(format!("the connection is dead and {}", status.as_str()));
        }
    }

    pub fn fates(&self, fates: &[Fate]) {
        self.sim.state().script.extend(fates);
    }

    /// After so many calls of the process something waits for it.
    pub fn snare(&self, process: usize, calls: u32, snare: Snare) {
        self.sim.state().snares[process] = Some((calls, snare));
    }

    /// A caller comes, and is waited for.
    pub async fn comes(&self, process: usize) -> bool {
        let call = self.call(process, 0, Wish::Credentials, Duration::ZERO, None);
        matches!(call.await, Ok(Some(Ok(_))))
    }

    /// A caller comes, and nobody waits for it.
    pub fn sends(&self, process: usize) {
        drop(self.call(process, 0, Wish::Credentials, Duration::ZERO, None));
    }

    pub async fn sleeps(&mut self, seconds: u64) {
        self.pass_until(self.sim.now() + seconds * 1000).await;
    }
}
