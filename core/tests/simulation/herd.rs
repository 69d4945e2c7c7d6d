//! Without faults: a herd of callers over all processes makes one presentation.

use std::time::Duration;

use futures_util::future::join_all;

use crate::{calls::Wish, facts::Presentation, world::World};

/// Again and again a token ends, and everybody comes at once.
pub async fn drive(world: &World) {
    let sim = &world.sim;
    for _ in 0..4 {
        let session = world.plan().session;
        let by_report = sim.state().dice.percent(30);
        if !by_report {
            sim.step(session);
        }
        for connection in 0..world.plan().connections {
            let before = presentations(world, connection);
            let set = sim.state().judge.connections[connection].seen.row.version;
            let size = sim.state().dice.pick(&[1, 5, 20]);
            let calls = (0..size).map(|n| {
                let process = n % world.plan().processes;
                let wait = sim.state().dice.span(0, 30);
                let wish = if by_report {
                    Wish::Refused(set)
                } else {
                    Wish::Credentials
                };
                world.call(process, connection, wish, wait, None)
            });
            let given = join_all(calls.collect::<Vec<_>>()).await;
            let one = presentations(world, connection) == before + 1;
            let mut sets: Vec<_> = given
                .iter()
                .map(|g| g.as_ref().ok().and_then(Option::as_ref))
                .collect();
            sets.dedup_by_key(|given| given.and_then(|g| g.as_ref().ok()).map(|(set, _)| *set));
            let same = matches!(sets[..], [Some(Ok((given, _)))] if given.generation == set.generation + 1);
            if !one || !same {
                sim.state()
                    .judge
                    .violated("I11", format_args!("a herd of {size}: {given:?}"));
            }
        }
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
}

fn presentations(world: &World, connection: usize) -> usize {
    let state = world.sim.state();
    let of = |p: &&Presentation| state.judge.families[p.token.family].connection == Some(connection);
    state.judge.presentations.iter().filter(of).count()
}
