//! What must be true afterwards, by what the provider and a later process see.

use std::collections::BTreeSet;

use grantry::{
    connection::{ConnectionView, Status},
    error::Code,
    integration::IntegrationState,
    provider::Transport as _,
    testing::{FakeUpstream, Request},
};

use crate::{
    stage::Stage,
    support::{Process, SESSION, pass, seconds},
};

#[derive(Clone)]
pub struct Aftermath {
    pub stage: Stage,
    /// How often the operation was polled before it was dropped.
    pub polls: u32,
    /// The store failed, so that the operation may have.
    pub may_fail: bool,
    /// What it answered, if it was not dropped before.
    pub answer: Option<Result<(), Code>>,
    /// A process that begins when everything is over.
    pub later: Process,
}

impl Aftermath {
    /// Whether the operation said that it was done.
    pub fn done(&self) -> bool {
        self.answer == Some(Ok(()))
    }

    /// The status of the stage's connection. Who never began has done nothing; who said so has ended it.
    pub async fn is_or_ends(&self, ended: Status) {
        let status = self.stage.world.status(&self.stage.id).await;
        assert!(status == Status::Connected || status == ended, "{status:?}");
        assert!(self.polls > 0 || status == Status::Connected);
        assert!(!self.done() || status == ended);
        if status == ended {
            assert!(!self.stage.world.upstream.lives("refresh-0-0"));
        }
    }

    pub async fn connections(&self) -> Vec<ConnectionView> {
        let list = self
            .later
            .broker
            .integration(self.stage.integration())
            .connections();
        list.await.unwrap().connections
    }
}

/// The store and the sweeps have the time that they need; then somebody else comes, who begins with a sweep.
pub async fn let_the_world_settle(stage: &Stage) -> Process {
    // What somebody began and left is taken up by a sweep once it counts as abandoned, or is tried again.
    for _ in 0..3 {
        pass(seconds(2)).await;
        stage.world.clock.step(seconds(121));
    }
    pass(seconds(2)).await;
    stage.world.one.store.heal();
    let later = stage.world.process();
    pass(seconds(1)).await;
    later
}

/// Holds after every operation. `closed`: the first process serves nobody any more.
pub async fn everything(after: &Aftermath, closed: bool) {
    let (world, later) = (&after.stage.world, &after.later);
    let state = later
        .broker
        .integration(&world.integration)
        .view()
        .await
        .unwrap()
        .state;
    if state == IntegrationState::Disabled {
        later
            .broker
            .integration(&world.integration)
            .enable()
            .await
            .unwrap();
        pass(seconds(1)).await;
    }
    world.clock.step(SESSION);
    let mut connected = 0;
    for connection in after.connections().await {
        let id = &connection.id;
        assert_eq!(
            world.facts(id).await["owed"],
            serde_json::Value::Null,
            "owes nothing"
        );
        match connection.status {
            Status::Connected => connected += 1,
            Status::Revoked => continue,
            other => panic!("{other:?}"),
        }
        // What stands in the row is what lives at the provider, for who was there and for who comes later.
        let process = if closed { later } else { &world.one };
        let credentials = process.broker.credentials(id).await.unwrap();
        assert!(works(&world.upstream, credentials.access_token.expose()).await);
        let credentials_later = later.broker.credentials(id).await.unwrap();
        assert_eq!(credentials.version, credentials_later.version);
        assert_eq!(world.stands_at(id).await, "Idle");
    }
    let deleted = &world.facts(&after.stage.id).await;
    assert_eq!(deleted["owed"], serde_json::Value::Null, "owes nothing");
    assert_eq!(
        living_grants(&world.upstream),
        connected,
        "grants that nobody keeps"
    );
    let presented = world.upstream.presented();
    let different: BTreeSet<_> = presented.iter().collect();
    assert_eq!(different.len(), presented.len(), "presented twice: {presented:?}");
    assert_eq!(world.upstream.overlaps(), 0);
}

/// How many grants live at the provider.
fn living_grants(upstream: &FakeUpstream) -> usize {
    let codes = upstream
        .log()
        .into_iter()
        .filter(|r| matches!(r, Request::Code(_)));
    let lives = |grant| (0..20).any(|set| upstream.lives(&format!("refresh-{grant}-{set}")));
    (0..codes.count()).filter(|grant| lives(*grant)).count()
}

/// Whether an access token works, by the provider's word.
async fn works(upstream: &FakeUpstream, access: &str) -> bool {
    let mut request = http::Request::new(format!("token={access}").into_bytes());
    *request.uri_mut() = "https://fake.test/life".parse().unwrap();
    let answer = upstream.send(request).await.unwrap();
    answer.body() == "alive=true"
}
