//! The whole job in one process, without an HTTP server: an integration, a connected user, credentials, a query.
//!
//! `cargo run -p grantry-quickstart`

use std::error::Error;

use grantry::{
    Broker, NewIntegration, connect::Binding, connect::Outcome, id::Slug, proxy::ApiRequest, secret::Secret,
    vault::Keyring,
};
use grantry_provider_salesforce::Salesforce;
use grantry_salesforce_simulator::{Client, Config, DEFAULT_CLIENT_ID, DEFAULT_CLIENT_SECRET, Simulator};
use grantry_store_sqlite::SqliteStore;
use serde_json::Value;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // Stands in for Salesforce. Remove it and `allow_loopback_upstream` to talk to the real one.
    let salesforce = Simulator::start(Config::default()).await?;
    let directory = tempfile::tempdir()?;

    // In production the key line comes from your secret store; `grantry-host keys generate` prints one.
    let keyring = Keyring::parse(&Keyring::generate()?)?;
    let store = SqliteStore::open(directory.path().join("grantry.db")).await?;
    let broker = Broker::builder(store, keyring)
        .provider(Salesforce::new())
        .public_url("https://app.example.com/integrations")
        .allow_loopback_upstream()
        .build()?;

    // What your application calls it. The callback URL follows from that: register it with the provider beforehand.
    let acme = Slug::new("acme")?;
    salesforce.register_client(Client {
        callbacks: vec![broker.callback_url(&acme)],
        ..Client::default()
    });
    // For every process to call when it starts: one of them makes the integration, and it is changed where it differs.
    let integration = broker
        .ensure_integration(
            &acme,
            NewIntegration::new(
                "My app",
                "salesforce/production",
                DEFAULT_CLIENT_ID,
                Secret::new(DEFAULT_CLIENT_SECRET),
            )
            .scopes(["api", "refresh_token", "id"])
            .option("loginUrl", salesforce.login_url()),
        )
        .await?;
    println!("integration {acme} is {}", integration.state.as_str());

    // Your signed-in user clicks "connect": bind the attempt to the session, and send the browser to `start.url`.
    let session = "the session id of user 42";
    let user = broker.integration(&acme).owner("user-42");
    let start = user.begin_connect(Binding::new(session)).await?;
    let callback = salesforce.approve(&start.url, "sarah@acme.com")?;
    // The browser returns to your callback route: pass its query on, with the same binding.
    let query = callback.split_once('?').map_or("", |(_, query)| query);
    let outcome = broker
        .integration(&acme)
        .finish_connect(query, &Binding::new(session))
        .await?;
    let Outcome::Connected { connection, .. } = outcome else {
        return Err("not connected".into());
    };

    // What this user connected, and nothing else.
    let connection = user.connection(&connection);
    let credentials = connection.credentials().await?;
    println!(
        "{} works until {} at {}",
        connection.id(),
        credentials.expires_at,
        credentials.instance_url
    );

    let soql = "SELECT Id, Name FROM Account LIMIT 3";
    let request = ApiRequest::get("/services/data/v59.0/query").query("q", soql);
    let answer: Value = connection.send(request).await?.json(1 << 20).await?;
    println!("{}", answer["records"]);

    connection.disconnect().await?;
    broker.shutdown(std::time::Duration::from_secs(10)).await;
    println!(
        "disconnected; grants left at Salesforce: {}",
        salesforce.families().len()
    );
    salesforce.shutdown().await;
    Ok(())
}
