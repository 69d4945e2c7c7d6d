//! The table: every public operation of the broker but for [`crate::sending`]. A new one is a line here, with a judge of
//! its own if it changes something; `coverage` says which are missing.

use std::{collections::BTreeMap, future::Future, pin::Pin, time::Duration};

use grantry::{
    ConnectionUpdate, IntegrationUpdate,
    connect::NewLink,
    connection::Status,
    error::{Code, Error},
    id::Slug,
    integration::IntegrationState,
    secret::Secret,
    store::KeyKind,
};

use crate::{
    judge::Aftermath,
    stage::{Stage, browser, new_integration, new_link},
    support::seconds,
};

type Pending<T> = Pin<Box<dyn Future<Output = T>>>;

pub struct Operation {
    /// `Type::method`, as the source has it.
    pub name: &'static str,
    pub run: Box<dyn Fn(Stage) -> Pending<Result<(), Error>>>,
    /// What must be true of this operation beside what must be true of all.
    pub judge: Option<Box<dyn Fn(Aftermath) -> Pending<()>>>,
    /// The process serves nobody afterwards.
    pub closes: bool,
}

fn op<F: Future<Output = Result<(), Error>> + 'static>(
    name: &'static str,
    run: impl Fn(Stage) -> F + 'static,
) -> Operation {
    Operation {
        name,
        run: Box::new(move |stage| Box::pin(run(stage))),
        judge: None,
        closes: false,
    }
}

impl Operation {
    fn judged<F: Future<Output = ()> + 'static>(self, judge: impl Fn(Aftermath) -> F + 'static) -> Self {
        Self {
            judge: Some(Box::new(move |after| Box::pin(judge(after)))),
            ..self
        }
    }

    fn closes(self) -> Self {
        Self { closes: true, ..self }
    }
}

#[rustfmt::skip]
pub fn operations() -> Vec<Operation> {
    vec![
        op("IntegrationHandle::begin_connect", |s| async move { s.handle().begin_connect(browser()).await.map(drop) }),
        op("OwnerHandle::begin_connect", |s| async move { s.door().begin_connect(browser()).reconnect(s.id.clone()).await.map(drop) }),
        op("IntegrationHandle::begin_link", |s| async move { s.handle().begin_link(&s.link, browser()).await?.await.map(drop) })
            .judged(used_at_most_once),
        op("IntegrationHandle::finish_connect", |s| async move { s.handle().finish_connect(&s.callback, &browser()).await.map(drop) })
            .judged(connected_once_begun),
        op("IntegrationHandle::finish_connect", |s| async move { s.handle().finish_connect(&s.callback_again, &browser()).await.map(drop) })
            .judged(reconnected_once_begun),
        op("IntegrationHandle::connect_link", |s| async move { s.handle().connect_link(new_link()).await.map(drop) }),
        op("OwnerHandle::connect_link", |s| async move { s.door().connect_link(NewLink::default()).await.map(drop) }),
        op("ConnectionHandle::reconnect_link", |s| async move { s.connection().reconnect_link().await.map(drop) }),

        op("Broker::credentials", |s| async move { s.broker().credentials(&s.id).await.map(drop) }).judged(refreshed_once_begun),
        op("ConnectionHandle::credentials", |s| async move { s.connection().credentials().await.map(drop) }).judged(refreshed_once_begun),
        op("ConnectionHandle::credentials_valid_for", |s| async move { s.connection().credentials_valid_for(seconds(3600)).await.map(drop) })
            .judged(refreshed_once_begun),
        op("ConnectionHandle::refused", |s| async move { s.connection().refused(s.set).await.map(drop) }).judged(refreshed_once_begun),

        op("IntegrationHandle::connections", |s| async move { s.handle().connections().await.map(drop) }),
        op("OwnerHandle::connections", |s| async move { s.door().connections().await.map(drop) }),
        op("ConnectionStream::next", |s| async move { s.handle().connections().stream().next().await.transpose().map(drop) }),
        op("ConnectionHandle::view", |s| async move { s.connection().view().await.map(drop) }),
        op("ConnectionHandle::history", |s| async move { s.connection().history().await.map(drop) }),
        op("ConnectionHandle::update", |s| async move { s.connection().update(relabelled()).await.map(drop) })
            .judged(labelled_whole_or_not),
        op("ConnectionHandle::disconnect", |s| async move { s.connection().disconnect().await })
            .judged(|after| async move { after.is_or_ends(Status::Deleted).await }),
        op("ConnectionHandle::revoke", |s| async move { s.connection().revoke().await })
            .judged(|after| async move { after.is_or_ends(Status::Revoked).await }),

        op("Broker::create_integration", |s| async move { s.broker().create_integration(new_integration("New")).await.map(drop) })
            .judged(there_whole_or_not),
        op("Broker::ensure_integration", |s| async move { s.broker().ensure_integration(&slug(), new_integration("New")).await.map(drop) })
            .judged(there_whole_or_not),
        op("IntegrationHandle::id", |s| async move { s.handle().id().await.map(drop) }),
        op("IntegrationHandle::view", |s| async move { s.handle().view().await.map(drop) }),
        op("Broker::integrations", |s| async move { s.broker().integrations().await.map(drop) }),
        op("IntegrationHandle::update", |s| async move { s.handle().update(renamed()).await.map(drop) })
            .judged(renamed_whole_or_not),
        op("IntegrationHandle::set_client_secret", |s| async move { s.handle().set_client_secret(Secret::new("second")).await.map(drop) })
            .judged(configured),
        op("IntegrationHandle::verify", |s| async move { s.handle().verify().await.map(drop) })
            .judged(configured),
        op("IntegrationHandle::disable", |s| async move { s.handle().disable().await.map(drop) })
            .judged(disabled_once_done),
        op("IntegrationHandle::enable", |s| async move { s.handle().enable().await.map(drop) }).judged(configured),
        op("IntegrationHandle::freeze", |s| async move { s.handle().freeze("a leak").await.map(drop) })
            .judged(frozen_and_revoked_or_not),
        op("Broker::freeze_all", |s| async move { s.broker().freeze_all("a leak").await.map(drop) }).judged(frozen_and_revoked_or_not),
        op("IntegrationHandle::delete", |s| async move { s.broker().integration(&s.spare).delete().await }).judged(gone_with_its_key_or_not),
        op("IntegrationHandle::usage", |s| async move { s.handle().usage().await.map(drop) }),

        op("Broker::mint_key", |s| async move { s.broker().mint_key(KeyKind::Api, Some(s.integration()), None).await.map(drop) })
            .judged(a_lost_key_can_be_revoked),
        op("Broker::verify_key", |s| async move { s.broker().verify_key(&s.key).await.map(drop) }),
        op("Broker::keys", |s| async move { s.broker().keys(Some(s.integration())).await.map(drop) }),
        op("Broker::revoke_key", |s| async move { s.broker().revoke_key(Some(s.integration()), &s.key_id).await.map(drop) })
            .judged(revoked_once_done),

        op("Broker::health", |s| async move { s.broker().health().await; Ok(()) }),
        op("Broker::diagnose", |s| async move { s.broker().diagnose().await.map(drop) }),
        op("Broker::ready", |s| async move { s.broker().ready().await }),
        op("Broker::shutdown", |s| async move { s.broker().shutdown(Duration::from_secs(30)).await; Ok(()) }).closes(),
    ]
}

/// The link is used up by the first who comes, whether or not he stays; everybody else is told so.
async fn used_at_most_once(after: Aftermath) {
    let stage = &after.stage;
    let integration = after.later.broker.integration(stage.integration());
    let again = integration.begin_link(&stage.link, browser());
    match again.await {
        Ok(_) => assert!(!after.done()),
        Err(error) => assert!(after.polls > 0 && error.code() == Code::LinkUsed),
    }
}

/// Once it is begun, going away changes nothing. A store that loses an answer may end the attempt, but with no grant left.
async fn connected_once_begun(after: Aftermath) {
    let connections = after.connections().await.len();
    match after.polls {
        0 => assert_eq!(connections, 1),
        _ if after.may_fail => assert!((1..=2).contains(&connections)),
        _ => assert_eq!(connections, 2),
    }
}

async fn reconnected_once_begun(after: Aftermath) {
    let connections = after.connections().await;
    assert_eq!(connections.len(), 1);
    let reconnected = connections[0].epoch > 1;
    match after.polls {
        0 => assert!(!reconnected),
        _ if after.may_fail => {}
        _ => assert!(reconnected),
    }
}

/// A refresh that began goes on without its caller; nobody presents the token a second time.
async fn refreshed_once_begun(after: Aftermath) {
    assert!(after.stage.world.presentations() <= 1);
    if after.done() {
        assert_eq!(after.stage.world.upstream.presented(), ["refresh-0-0"]);
    }
}

fn relabelled() -> ConnectionUpdate {
    ConnectionUpdate::default()
        .owner("bob")
        .metadata(BTreeMap::from([("team".to_owned(), "blue".to_owned())]))
}

async fn labelled_whole_or_not(after: Aftermath) {
    let connection = after
        .later
        .broker
        .connection(&after.stage.id)
        .view()
        .await
        .unwrap();
    let labelled = connection.owner == "bob";
    assert_eq!(connection.metadata.contains_key("team"), labelled);
    assert!(!after.done() || labelled);
}

fn slug() -> Slug {
    Slug::new("new").unwrap()
}

/// A draft that nobody verified yet says so, and can be verified later.
async fn there_whole_or_not(after: Aftermath) {
    let broker = &after.later.broker;
    let all = broker.integrations().await.unwrap();
    let new: Vec<_> = all.into_iter().filter(|i| i.name == "New").collect();
    assert!(new.len() <= 1);
    assert!(!after.done() || new.len() == 1);
    for integration in new {
        let draft = integration.state == IntegrationState::Draft;
        assert!(!draft || integration.state_reason == "not_verified");
        let verified = broker.integration(&integration.id).verify().await.unwrap();
        assert_eq!(verified.state, IntegrationState::Configured);
        broker.integration(&integration.id).delete().await.unwrap();
    }
}

fn renamed() -> IntegrationUpdate {
    IntegrationUpdate::default().name("Renamed").client_id("another")
}

async fn renamed_whole_or_not(after: Aftermath) {
    let broker = &after.later.broker;
    let integration = broker
        .integration(after.stage.integration())
        .view()
        .await
        .unwrap();
    let renamed = integration.name == "Renamed";
    assert_eq!(integration.client_id == "another", renamed);
    assert!(!after.done() || renamed);
    assert_eq!(integration.state, IntegrationState::Configured);
}

async fn configured(after: Aftermath) {
    let broker = &after.later.broker;
    let integration = broker
        .integration(after.stage.integration())
        .view()
        .await
        .unwrap();
    assert_eq!(integration.state, IntegrationState::Configured);
}

async fn disabled_once_done(after: Aftermath) {
    let broker = &after.later.broker;
    let state = broker
        .integration(after.stage.integration())
        .view()
        .await
        .unwrap()
        .state;
    let disabled = state == IntegrationState::Disabled;
    assert!(disabled || state == IntegrationState::Configured);
    assert!(!after.done() || disabled);
    let served = after.later.broker.credentials(&after.stage.id).await;
    assert_eq!(served.is_err(), disabled);
}

/// Whoever froze it may go away: the sweep goes on with the revocations.
async fn frozen_and_revoked_or_not(after: Aftermath) {
    let (broker, stage) = (&after.later.broker, &after.stage);
    let state = broker
        .integration(stage.integration())
        .view()
        .await
        .unwrap()
        .state;
    let frozen = state == IntegrationState::Frozen;
    assert!(frozen || state == IntegrationState::Configured);
    assert!(!after.done() || frozen);
    let status = stage.world.status(&stage.id).await;
    assert_eq!(status == Status::Revoked, frozen);
}

/// A key must not outlive its integration.
async fn gone_with_its_key_or_not(after: Aftermath) {
    let (broker, stage) = (&after.later.broker, &after.stage);
    if after.may_fail && after.polls > 0 {
        // Whoever is told that the store is not available may say it again.
        let again = broker.integration(&stage.spare).delete().await;
        assert!(again.is_ok() || again == Err(Code::IntegrationNotFound.into()));
    }
    let there = broker.integration(&stage.spare).view().await.is_ok();
    let key = broker.verify_key(&stage.spare_key).await;
    assert!(!after.done() || !there);
    assert!(after.polls > 0 || there);
    assert!(
        there || key.is_err(),
        "the key of an integration that is gone is still good"
    );
}

async fn a_lost_key_can_be_revoked(after: Aftermath) {
    let (broker, stage) = (&after.later.broker, &after.stage);
    let keys = broker.keys(Some(stage.integration())).await.unwrap();
    assert!(keys.len() == 2 || (keys.len() == 1 && !after.done()));
    for key in keys {
        assert_eq!(
            broker.revoke_key(Some(stage.integration()), &key.id).await,
            Ok(true)
        );
    }
    let mint = broker.mint_key(KeyKind::Api, Some(stage.integration()), None);
    assert!(mint.await.is_ok());
}

async fn revoked_once_done(after: Aftermath) {
    let (broker, stage) = (&after.later.broker, &after.stage);
    let verified = broker.verify_key(&stage.key).await.map_err(|error| error.code());
    match verified {
        Ok(_) => assert!(!after.done()),
        Err(code) => assert!(after.polls > 0 && code == Code::KeyRevoked),
    }
}
