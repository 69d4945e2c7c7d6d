//! There and back again.

use std::collections::BTreeSet;

use grantry::{copy::Copy, error::Code, store::KeyKind};

use crate::{
    support::{SESSION, pass, seconds},
    two::{Two, everything, owners, rows},
};

#[tokio::test(start_paused = true)]
async fn a_store_is_copied_back_and_forth_with_what_happened_meanwhile() {
    let two = Two::new().await;
    let world = &two.world;
    let ids = everything(world).await;
    let (mut id, idle) = (ids[2].clone(), ids[2].clone());
    let (here, there) = (world.process(), world.process_on(&two.target));
    let mut stores = [two.world.memory.clone(), two.target.clone()];
    let mut brokers = [&here.broker, &there.broker];
    for _ in 0..4 {
        pass(seconds(2)).await;
        brokers[0].credentials(&id).await.unwrap();
        let copy = Copy::new(stores[0].clone(), stores[1].clone()).clock(world.clock.clone());
        copy.run(|_| {}).await.unwrap();
        let owners = owners(world, [&stores[0], &stores[1]]).await;
        assert!(owners.values().all(|owners| *owners == 1), "{owners:?}");
        stores.swap(0, 1);
        brokers.swap(0, 1);
        pass(seconds(2)).await;
        world.clock.step(SESSION);
        let served = brokers[0].credentials(&id).await.unwrap();
        assert!(world.upstream.works(served.access_token.expose()));
        assert_eq!(
            brokers[1].credentials(&id).await.unwrap_err().code(),
            Code::StoreMoved
        );
        // Something happens where it lives now.
        id = world.connect_with(brokers[0]).await;
        brokers[0]
            .mint_key(KeyKind::Public, Some(&world.integration), None)
            .await
            .ok();
    }
    let presented = world.upstream.presented();
    let different: BTreeSet<_> = presented.iter().collect();
    // The one whose answer was lost was presented again after its quarantine.
    assert!(presented.len() - different.len() <= 1, "{presented:?}");
    brokers[0].credentials(&idle).await.unwrap();
    assert_eq!(rows(world, &stores[0]).await.len(), ids.len() + 4);
}
