//! What every operation finds: one of everything.

use std::{ops::Deref, rc::Rc, time::Duration};

use grantry::{
    Broker, ConnectionHandle, ConnectionUpdate, IntegrationHandle, NewIntegration, OwnerHandle,
    connect::{Binding, NewLink},
    connection::GrantVersion,
    id::{ConnectionId, IntegrationId, KeyId},
    secret::Secret,
    store::KeyKind,
    testing::Intervals,
};

use crate::support::{RETURN, SESSION, World};

/// The owner of the connection.
pub const OWNER: &str = "ann";

pub struct Props {
    pub world: World,
    /// A connection whose access token has ended.
    pub id: ConnectionId,
    pub set: GrantVersion,
    /// The query that a browser comes back with, for a new connection and for `id` once more.
    pub callback: String,
    pub callback_again: String,
    pub link: String,
    pub key: String,
    pub key_id: KeyId,
    /// An integration without connections, and its key.
    pub spare: IntegrationId,
    pub spare_key: String,
}

/// Clones are the same stage.
#[derive(Clone)]
pub struct Stage(Rc<Props>);

impl Deref for Stage {
    type Target = Props;

    fn deref(&self) -> &Props {
        &self.0
    }
}

impl Stage {
    pub async fn new() -> Self {
        let mut world = World::new().await;
        // Owed revocations are looked for more often, so that nobody has to wait for long.
        let sweep = Duration::from_secs(1);
        world.one = world.process_with(|builder| {
            builder.intervals(Intervals {
                sweep,
                ..Intervals::default()
            })
        });
        let id = world.connect().await;
        let connection = world.one.broker.connection(&id);
        let update = ConnectionUpdate::default().owner(OWNER);
        connection.update(update).await.unwrap();
        let set = world.credentials(&id).await.unwrap().version;
        world.clock.step(SESSION);
        let broker = world.one.broker.clone();
        let started = broker
            .integration(&world.integration)
            .begin_connect(browser())
            .await
            .unwrap();
        let callback = world.upstream.consent(&started.url);
        let started = broker
            .integration(&world.integration)
            .begin_connect(browser())
            .reconnect(id.clone());
        let callback_again = world.upstream.consent(&started.await.unwrap().url);
        let link = broker
            .integration(&world.integration)
            .connect_link(new_link())
            .await
            .unwrap();
        let link = link.url.split_once("link=").unwrap().1.to_owned();
        let mint = broker.mint_key(KeyKind::Api, Some(&world.integration), None);
        let key = mint.await.unwrap();
        let spare = broker
            .create_integration(new_integration("Spare"))
            .await
            .unwrap()
            .id;
        let mint = broker.mint_key(KeyKind::Api, Some(&spare), None);
        let spare_key = mint.await.unwrap().secret.expose().to_owned();
        Self(Rc::new(Props {
            world,
            id,
            set,
            callback,
            callback_again,
            link,
            key: key.secret.expose().to_owned(),
            key_id: key.id,
            spare,
            spare_key,
        }))
    }

    /// The broker whose callers go away.
    pub fn broker(&self) -> &Broker {
        &self.world.one.broker
    }

    pub fn integration(&self) -> &IntegrationId {
        &self.world.integration
    }

    pub fn handle(&self) -> IntegrationHandle {
        self.broker().integration(self.integration())
    }

    /// The door of the connection's owner.
    pub fn door(&self) -> OwnerHandle {
        self.handle().owner(OWNER)
    }

    /// The connection, as its owner reaches it.
    pub fn connection(&self) -> ConnectionHandle {
        self.door().connection(&self.id)
    }
}

pub fn browser() -> Binding {
    Binding::new("the browser")
}

pub fn new_link() -> NewLink {
    NewLink::default().owner(OWNER).redirect_uri(RETURN)
}

pub fn new_integration(name: &str) -> NewIntegration {
    NewIntegration::new(name, "fake/production", "client", Secret::new("secret")).redirect_uris([RETURN])
}
