//! Integrations. There are few of them, all in one slot.

use async_trait::async_trait;
use bytes::Bytes;
use grantry::{
    id::{IntegrationId, Slug},
    store::{
        Inserted, IntegrationRow, IntegrationStore, Removed, Revision, StoreError, StoredIntegration, Swap,
    },
};

use crate::{
    RedisStore,
    hash::hash,
    place::Place,
    row, schema,
    script::{self, Call},
};

#[async_trait]
impl IntegrationStore for RedisStore {
    async fn insert_integration(&self, row: &IntegrationRow) -> Result<Inserted, StoreError> {
        let revision = row::next_revision(0, "insert_integration")?;
        if row.slug.is_some() {
            let claim = schema::claim_slugs(self.layout());
            let _: i64 = self.write(Place::Store, "insert_integration", &claim).await?;
            self.outlives(Place::Store).await;
        }
        let mut call = self.call("insert", &row.id);
        call.arg(encode(row, revision))
            .arg(row.slug.as_ref().map_or("", Slug::as_str));
        match self
            .write(Place::Integrations, "insert_integration", &call)
            .await?
        {
            1_i64 => {
                self.outlives(Place::Integrations).await;
                Ok(Inserted::Created(revision))
            }
            _ => Ok(Inserted::Occupied),
        }
    }

    async fn integration(&self, id: &IntegrationId) -> Result<Option<StoredIntegration>, StoreError> {
        let [rows, ..] = self.layout().integrations();
        let mut command = redis::cmd("HMGET");
        command.arg(rows).arg(id.as_str()).arg(format!("{id}="));
        let (_, (bytes, slug)): (_, (Option<Vec<u8>>, Option<String>)) =
            self.ask(Place::Integrations, "integration", &command).await?;
        let stored = bytes.map(|bytes| decode(id.clone(), bytes, slug.as_deref().unwrap_or_default()));
        stored
            .map(|stored| stored.ok_or_else(|| row::corrupt("integration")))
            .transpose()
    }

    async fn integration_by_slug(&self, slug: &Slug) -> Result<Option<StoredIntegration>, StoreError> {
        let mut call = script::SLUG.on(self.layout().integrations().into_iter().take(1));
        call.arg(slug.as_str());
        let (_, found): (_, Option<(String, Vec<u8>)>) = self
            .read(Place::Integrations, "integration_by_slug", &call)
            .await?;
        let stored = found.map(|(id, bytes)| decode(id.parse().ok()?, bytes, slug.as_str()));
        stored
            .map(|stored| stored.ok_or_else(|| row::corrupt("integration_by_slug")))
            .transpose()
    }

    async fn swap_integration(&self, next: &IntegrationRow, expected: Revision) -> Result<Swap, StoreError> {
        let revision = row::next_revision(expected.counter, "swap_integration")?;
        let mut call = self.call("swap", &next.id);
        call.arg(encode(next, revision))
            .arg(&row::encode_revision(expected)[..]);
        match self.swap(Place::Integrations, "swap_integration", &call).await? {
            1 => {
                // A freeze must not be undone by a failover.
                self.outlives(Place::Integrations).await;
                Ok(Swap::Swapped(revision))
            }
            0 => Ok(Swap::Conflict),
            _ => Ok(Swap::Missing),
        }
    }

    async fn remove_integration(
        &self,
        id: &IntegrationId,
        expected: Revision,
    ) -> Result<Removed, StoreError> {
        let mut call = self.call("remove", id);
        call.arg(&row::encode_revision(expected)[..]);
        match self
            .write(Place::Integrations, "remove_integration", &call)
            .await?
        {
            1_i64 => Ok(Removed::Gone),
            0 => Ok(Removed::Conflict),
            _ => Ok(Removed::Missing),
        }
    }

    async fn list_integrations(
        &self,
        after: Option<&IntegrationId>,
        limit: u32,
    ) -> Result<Vec<StoredIntegration>, StoreError> {
        let mut call = script::INTEGRATIONS.on(self.layout().integrations().into_iter().take(2));
        call.arg(after.map_or("", IntegrationId::as_str)).arg(limit);
        let (_, found): (_, Vec<(String, Vec<u8>, String)>) =
            self.read(Place::Integrations, "list_integrations", &call).await?;
        let rows = found
            .into_iter()
            .map(|(id, bytes, slug)| decode(id.parse().ok()?, bytes, &slug));
        let rows: Option<Vec<_>> = rows.collect();
        rows.ok_or_else(|| row::corrupt("list_integrations"))
    }

    async fn integrations_version(&self) -> Result<u64, StoreError> {
        let [_, _, key] = self.layout().integrations();
        let (clock_id, number) = self
            .ask::<Option<u64>>(
                Place::Integrations,
                "integrations_version",
                redis::cmd("GET").arg(key),
            )
            .await?;
        // A server that lost its last writes reuses their numbers, so the server run is part of the version.
        let number = number.unwrap_or(0).to_be_bytes();
        Ok(hash(&[&clock_id.to_be_bytes(), &number]))
    }
}

impl RedisStore {
    /// The leading arguments of every call of the script.
    fn call(&self, what: &str, id: &IntegrationId) -> Call {
        let mut call = script::INTEGRATION.on(self.layout().integrations());
        call.arg(self.layout().channel()).arg(what).arg(id.as_str());
        call
    }
}

fn encode(row: &IntegrationRow, revision: Revision) -> Vec<u8> {
    let IntegrationRow { id: _, slug: _, body } = row;
    [&row::encode_revision(revision)[..], body].concat()
}

/// An empty slug is none.
fn decode(id: IntegrationId, bytes: Vec<u8>, slug: &str) -> Option<StoredIntegration> {
    let slug = match slug {
        "" => None,
        slug => Some(slug.parse().ok()?),
    };
    let revision = row::decode_revision(&bytes)?;
    let body = Bytes::from(bytes).slice(row::REVISION..);
    Some(StoredIntegration {
        row: IntegrationRow { id, slug, body },
        revision,
    })
}
