//! What every operation finds: one of everything.

use std::{ops::Deref, rc::Rc, time::Duration};

use grantry::{
    Broker, NewIntegration,
    connect::{Binding, NewLink},
    connection::SetName,
    id::{ConnectionId, IntegrationId, KeyId},
    integration::Options,
    secret::Secret,
    store::KeyKind,
    testing::Intervals,
};

use crate::support::{RETURN, SESSION, World};

pub struct Props {
    pub world: World,
    /// A connection whose access token has ended.
    pub id: ConnectionId,
    pub set: SetName,
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
        let set = world.credentials(&id).await.unwrap().set;
        world.clock.step(SESSION);
        let broker = world.one.broker.clone();
        let started = broker.begin_connect(&world.integration, browser()).await.unwrap();
        let callback = world.upstream.consent(&started.url);
        let started = broker
            .begin_connect(&world.integration, browser())
            .reconnect(id.clone());
        let callback_again = world.upstream.consent(&started.await.unwrap().url);
        let link = broker.connect_link(&world.integration, new_link()).await.unwrap();
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

    pub fn within(&self) -> grantry::Within {
        self.broker().within(self.integration())
    }
}

pub fn browser() -> Binding {
    Binding::new("the browser")
}

pub fn new_link() -> NewLink {
    NewLink {
        owner: "ann".to_owned(),
        redirect_uri: Some(RETURN.to_owned()),
        ..NewLink::default()
    }
}

pub fn new_integration(name: &str) -> NewIntegration {
    NewIntegration {
        name: name.to_owned(),
        offering: "fake/production".to_owned(),
        client_id: "client".to_owned(),
        client_secret: Secret::new("secret"),
        scopes: Vec::new(),
        redirect_uris: vec![RETURN.to_owned()],
        monthly_limit: None,
        options: Options::new(),
    }
}
