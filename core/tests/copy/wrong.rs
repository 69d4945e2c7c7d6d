//! What is refused before anything is done, and what a moved store refuses.

use std::sync::Arc;

use futures_util::FutureExt as _;
use grantry::{
    IntegrationUpdate,
    copy::{Copy, CopyError, Progress, Step},
    error::{Advice, Code},
    health::TrapKind,
    secret::Secret,
    store::{ConnectionStore as _, IntegrationStore as _, KeyKind, MemoryStore, Removed},
};

use crate::{
    support::{World, pass, seconds},
    two::{Two, rows},
};

async fn refused(from: &MemoryStore, to: &MemoryStore, code: &str) {
    let versions = async || {
        let (a, b) = (from.integrations_version().await, to.integrations_version().await);
        (a.unwrap(), b.unwrap())
    };
    let before = versions().await;
    let error = Copy::new(from.clone(), to.clone()).run(|_| {}).await.unwrap_err();
    assert_eq!(error.code(), code, "{error}");
    assert_eq!(versions().await, before, "something was written");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_if_it_is_the_wrong_store() {
    let two = Two::new().await;
    let world = &two.world;
    world.connect().await;
    refused(&world.memory, &world.memory, "copy_same_store").await;
    let other = World::new().await;
    other.connect().await;
    refused(&world.memory, &other.memory, "copy_target_not_empty").await;
    two.copied().await;
    let third = MemoryStore::new(Arc::new(world.clock.clone()));
    refused(&world.memory, &third, "copy_other_target").await;
    refused(&world.memory, &other.memory, "copy_other_target").await;
    refused(&two.target, &other.memory, "copy_target_not_empty").await;
}

#[tokio::test(start_paused = true)]
async fn a_target_that_is_not_complete_is_used_and_copied_by_nobody() {
    let two = Two::new().await;
    let world = &two.world;
    let id = world.connect().await;
    let copy = two.copy();
    let stop = copy.stop();
    // Stopped as soon as connections are to be moved, when the integrations are marked.
    let stopped = copy
        .run(move |progress| {
            if progress.step == Step::Connections {
                stop.now();
            }
        })
        .await;
    // One page was moved by then; the check does not begin.
    assert!(matches!(stopped, Err(CopyError::Stopped)));
    let there = world.process_on(&two.target);
    assert_eq!(
        there.broker.credentials(&id).await.unwrap_err().code(),
        Code::StoreArriving
    );
    let health = there.broker.health().await;
    assert_eq!(health.integrations[0].reason, "store_arriving");
    let traps = there.broker.diagnose().await.unwrap();
    assert!(traps.iter().any(|trap| trap.kind == TrapKind::StoreArriving));
    let third = MemoryStore::new(Arc::new(world.clock.clone()));
    refused(&two.target, &third, "copy_unfinished").await;
    refused(&two.target, &world.memory, "copy_unfinished").await;
    two.copied().await;
    pass(seconds(2)).await;
    there.broker.credentials(&id).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_store_that_was_moved_changes_nothing_any_more_and_says_so() {
    let two = Two::new().await;
    let world = &two.world;
    let id = world.connect().await;
    let broker = &world.one.broker;
    let key = broker
        .mint_key(KeyKind::Api, Some(&world.integration), None)
        .await
        .unwrap();
    two.copied().await;
    pass(seconds(2)).await;
    let before = rows(world, &world.memory).await;
    let integration = &world.integration;
    let error = world.credentials(&id).await.unwrap_err();
    assert_eq!(error.advice(), Advice::FixConfiguration);
    let codes = [
        error.code(),
        broker.connection(&id).disconnect().await.unwrap_err().code(),
        broker.connection(&id).revoke().await.unwrap_err().code(),
        broker.connection(&id).view().await.unwrap_err().code(),
        broker
            .integration(integration)
            .connections()
            .await
            .unwrap_err()
            .code(),
        broker.connection(&id).reconnect_link().await.unwrap_err().code(),
        broker
            .integration(integration)
            .update(IntegrationUpdate::default())
            .await
            .unwrap_err()
            .code(),
        broker
            .integration(integration)
            .set_client_secret(Secret::new("new"))
            .await
            .unwrap_err()
            .code(),
        broker
            .integration(integration)
            .disable()
            .await
            .unwrap_err()
            .code(),
        broker
            .integration(integration)
            .freeze("a leak")
            .await
            .unwrap_err()
            .code(),
        broker.integration(integration).delete().await.unwrap_err().code(),
        broker
            .mint_key(KeyKind::Public, Some(integration), None)
            .await
            .unwrap_err()
            .code(),
        broker
            .revoke_key(Some(integration), &key.id)
            .await
            .unwrap_err()
            .code(),
    ];
    assert_eq!(codes, [Code::StoreMoved; 13]);
    assert_eq!(rows(world, &world.memory).await, before);
    let health = broker.health().await;
    assert_eq!(health.integrations[0].reason, "store_moved");
    let traps = broker.diagnose().await.unwrap();
    assert!(traps.iter().any(|trap| trap.kind == TrapKind::StoreMoved));
}

/// Somebody removed a row of the target while the copy ran. The stores are compared before anything is opened.
#[tokio::test(start_paused = true)]
async fn a_row_that_is_missing_is_noticed_before_anything_is_used() {
    let two = Two::new().await;
    let world = &two.world;
    let id = world.connect().await;
    world.connect().await;
    let target = two.target.clone();
    let lose = move |progress: Progress| {
        if progress.step == Step::Check {
            // This store answers at once.
            let (stored, _) = target.connection(&id).now_or_never().unwrap().unwrap();
            let revision = stored.unwrap().revision;
            let removed = target.remove_connection(&id, revision).now_or_never();
            assert_eq!(removed.unwrap().unwrap(), Removed::Gone);
        }
    };
    let error = two.copy().run(lose).await.unwrap_err();
    assert_eq!(error.code(), "copy_mismatch");
    assert!(
        error
            .to_string()
            .contains("2 connections in the source and 1 in the target")
    );
    let there = world.process_on(&two.target);
    let closed = there
        .broker
        .integration(&world.integration)
        .connections()
        .await
        .unwrap_err();
    assert_eq!(closed.code(), Code::StoreArriving);
    let report = two.copied().await;
    assert_eq!((report.moved, report.connections), (1, 2));
}
