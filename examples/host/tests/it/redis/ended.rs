//! What one host was told is in force in the others a second later, though they have the tokens in their caches.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use super::ground::Ground;
use crate::support::{Answer, Host, World};

/// The documented second, and what a machine under load may take besides.
const SOON: Duration = Duration::from_secs(5);

/// Asks until tokens are no longer served, and once more, so that it stays so.
async fn refused_soon(host: &Host, connection: &str, key: &str) -> Answer {
    let asking = async {
        while host.credentials(connection, key).await.status == 200 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let refused = tokio::time::timeout(SOON, asking).await;
    assert!(refused.is_ok(), "{connection} is still served");
    host.credentials(connection, key).await
}

async fn a_disconnect_and_a_freeze_are_in_force_everywhere(ground: Ground) {
    let world = World::new().await;
    let hosts = ground.hosts(&world, 2).await;
    let integration = world.integrate(&hosts[0], json!({})).await;
    let key = &integration.api_key;
    let gone = world.connect(&hosts[0], &integration, "sarah@acme.com").await;
    let frozen = world.connect(&hosts[0], &integration, "tom@acme.com").await;
    for id in [&gone, &frozen] {
        hosts[1].credentials(id, key).await.expect(200);
    }
    hosts[0].delete(&gone, key).await.expect(204);
    refused_soon(&hosts[1], &gone, key)
        .await
        .refused(404, "connection_not_found");
    hosts[1].credentials(&frozen, key).await.expect(200);
    let path = format!("/api/v1/integrations/{}/freeze", integration.id);
    let why = json!({ "reason": "a key leaked" });
    hosts[0].admin(Method::POST, &path, Some(&why)).await.expect(200);
    refused_soon(&hosts[1], &frozen, key)
        .await
        .refused(403, "integration_frozen");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_one_server() {
    a_disconnect_and_a_freeze_are_in_force_everywhere(Ground::one()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_sentinels() {
    a_disconnect_and_a_freeze_are_in_force_everywhere(Ground::sentinels()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_cluster() {
    a_disconnect_and_a_freeze_are_in_force_everywhere(Ground::cluster()).await;
}
