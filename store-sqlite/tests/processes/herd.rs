//! However many callers ask in however many processes, a dead access token costs one presentation.

use grantry_salesforce_simulator::Outcome;

use crate::world::{Mode, World};

const PROCESSES: usize = 8;
const CALLERS: usize = 1000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_herd_makes_one_presentation() {
    let world = World::new(Mode::Family).await;
    let connected = world.connect().await;
    let mut children = Vec::new();
    for _ in 0..PROCESSES {
        children.push(world.child().await);
    }
    for child in &mut children {
        child.refresh(&connected.id, "1.1", CALLERS);
    }
    let mut tokens = std::collections::BTreeMap::new();
    for child in &mut children {
        let outcome = child.outcome(&connected.id).await;
        assert!(outcome.failed.is_empty(), "{outcome:?}");
        for (token, callers) in outcome.got {
            *tokens.entry(token).or_insert(0) += callers;
        }
    }
    let served: u64 = tokens.values().sum();
    assert_eq!((tokens.len(), served), (1, (PROCESSES * CALLERS) as u64));
    let token = tokens.keys().next().unwrap().strip_prefix("1.2 ").unwrap();
    assert!(world.token_lives(token).await);
    let log = world.presented(&connected.user);
    assert_eq!(log.len(), 1, "{log:#?}");
    assert_eq!(log[0].result, Outcome::Granted);
    for child in children {
        child.quit().await;
    }
    println!(
        "{PROCESSES} processes x {CALLERS} callers: {} presentation",
        log.len()
    );
}
