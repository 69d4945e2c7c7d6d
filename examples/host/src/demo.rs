//! `grantry-host demo`: the simulator, the host on an embedded database, an integration, three connected users.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use grantry::{
    Broker, NewIntegration,
    error::Error,
    id::{ConnectionId, IntegrationId},
    integration::IntegrationState,
    secret::Secret,
    store::KeyKind,
    vault::Keyring,
};
use grantry_salesforce_simulator::{
    Client, Config, DEFAULT_CLIENT_ID, DEFAULT_CLIENT_SECRET, DEFAULT_PASSWORD, Simulator,
};
use grantry_store_sqlite::SqliteStore;
use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::json;

use crate::{cli::DemoArgs, files, person::Person, problem::Problem, secrets, serve};

/// How long calls in progress may take to end.
const DRAIN: Duration = Duration::from_secs(5);

const USERS: [&str; 3] = ["sarah@acme.com", "tom@acme.com", "greta@globex.com"];

/// Everything a user needs to try it out.
struct Ready {
    base_url: String,
    admin_key: Secret,
    integration: IntegrationId,
    api_key: Secret,
    public_key: Secret,
    connections: Vec<ConnectionId>,
    simulator_url: String,
    instance_url: String,
}

pub(crate) async fn run(args: DemoArgs) -> Result<(), Problem> {
    let data = match args.data {
        Some(data) => data,
        None => std::env::temp_dir().join(format!("grantry-demo-{}", std::process::id())),
    };
    let listener = serve::bind(args.listen).await?;
    let base_url = format!("http://{}", listener.local_addr()?);
    let simulator = Simulator::start(Config::default()).await?;
    let keyring = demo_keys(&data)?;
    let store = SqliteStore::open(data.join("grantry.db")).await?;
    let broker = serve::broker(store.into(), keyring, &base_url)
        .allow_loopback_upstream()
        .build()?;
    let admin_key = random_key()?;
    let metrics = PrometheusBuilder::new().install_recorder()?;

    // The host must already run while its first users connect, since their browsers go through it.
    let mut surface = tokio::task::JoinSet::new();
    let (served, admin) = (broker.clone(), admin_key.duplicate());
    surface.spawn(async move {
        serve::serve(listener, &served, admin, metrics, serve::ended(), DRAIN)
            .await
            .map_err(|error| error.to_string())
    });
    let ready = tokio::select! {
        ready = set_up(&broker, &simulator, &base_url, admin_key) => ready?,
        ended = surface.join_next() => return Err(format!("the host ended: {ended:?}").into()),
    };
    print(&ready, &data);
    if let Some(file) = &args.ready_file {
        files::write_private(file, &ready.to_json().to_string())?;
    }
    let ended = surface.join_next().await;
    simulator.shutdown().await;
    match ended {
        Some(Ok(Err(problem))) => Err(problem.into()),
        _ => Ok(()),
    }
}

/// Creates an integration, and connects three users to it.
async fn set_up(
    broker: &Broker,
    simulator: &Simulator,
    base_url: &str,
    admin_key: Secret,
) -> Result<Ready, Problem> {
    let integration = broker.create_integration(demo_app(simulator)).await?;
    if integration.state != IntegrationState::Configured {
        return Err(format!("the integration is not configured: {}", integration.state_reason).into());
    }
    simulator.register_client(Client {
        callbacks: vec![integration.callback_url.clone()],
        ..Client::default()
    });
    let api_key = broker
        .mint_key(KeyKind::Api, Some(&integration.id), None)
        .await?
        .secret;
    let public_key = broker
        .mint_key(KeyKind::Public, Some(&integration.id), None)
        .await?
        .secret;
    for user in USERS {
        let url = format!(
            "{base_url}/connect/{}?public_key={}",
            integration.id,
            public_key.expose()
        );
        let (status, page) = Person::new(user, DEFAULT_PASSWORD)?
            .connect(&url, base_url)
            .await?;
        if status != 200 {
            return Err(format!("{user} could not connect: {status}\n{page}").into());
        }
    }
    let connections = all_connections(broker, &integration.id).await?;
    Ok(Ready {
        base_url: base_url.to_owned(),
        admin_key,
        integration: integration.id,
        api_key,
        public_key,
        connections,
        simulator_url: simulator.login_url().to_owned(),
        instance_url: simulator.instance_url().to_owned(),
    })
}

fn demo_app(simulator: &Simulator) -> NewIntegration {
    NewIntegration::new(
        "Demo",
        "salesforce/production",
        DEFAULT_CLIENT_ID,
        Secret::new(DEFAULT_CLIENT_SECRET),
    )
    .scopes(["api", "refresh_token", "id"])
    .monthly_limit(100_000)
    .option("loginUrl", simulator.login_url())
}

/// The connections of the integration, oldest first.
async fn all_connections(broker: &Broker, integration: &IntegrationId) -> Result<Vec<ConnectionId>, Error> {
    let mut ids = Vec::new();
    let mut list = broker.integration(integration).connections().stream();
    while let Some(connection) = list.next().await {
        ids.push(connection?.id);
    }
    ids.reverse();
    Ok(ids)
}

impl Ready {
    fn to_json(&self) -> serde_json::Value {
        json!({
            "baseUrl": self.base_url,
            "adminKey": self.admin_key.expose(),
            "integrationId": self.integration,
            "apiKey": self.api_key.expose(),
            "publicKey": self.public_key.expose(),
            "connectionIds": self.connections,
            "simulatorUrl": self.simulator_url,
            "instanceUrl": self.instance_url,
        })
    }
}

fn print(ready: &Ready, data: &Path) {
    let Ready {
        base_url,
        integration,
        api_key,
        public_key,
        connections,
        simulator_url,
        ..
    } = ready;
    let (api_key, public_key, admin) = (api_key.expose(), public_key.expose(), ready.admin_key.expose());
    let Some(first) = connections.first() else { return };
    println!(
        "\nGrantry is up: three Salesforce users are connected.

  host        {base_url}
  API         {base_url}/openapi.json
  simulator   {simulator_url}   (control: /__control, presented tokens: /__log)
  database    {}
  admin key   {admin}

Connect one more user in your browser (user {}, password {DEFAULT_PASSWORD}):
  {base_url}/connect/{integration}?public_key={public_key}

Try:
  export KEY={api_key}
  export CONNECTION={first}

  # list
  curl -H \"Authorization: Bearer $KEY\" {base_url}/api/v1/connections
  # credentials
  curl -H \"Authorization: Bearer $KEY\" {base_url}/api/v1/connections/$CONNECTION/credentials
  # a SOQL query through the proxy
  curl -H \"Authorization: Bearer $KEY\" -H \"X-Connection-Id: $CONNECTION\" -H 'Content-Type: application/json' \\
    -d '{{\"method\":\"GET\",\"path\":\"/services/data/v59.0/query\",\"query\":{{\"q\":\"SELECT Id, Name FROM Account LIMIT 5\"}}}}' {base_url}/api/v1/proxy/salesforce
  # create, update and delete a record
  curl -H \"Authorization: Bearer $KEY\" -H \"X-Connection-Id: $CONNECTION\" -H 'Content-Type: application/json' \\
    -d '{{\"method\":\"POST\",\"path\":\"/services/data/v59.0/sobjects/Account\",\"data\":{{\"Name\":\"Grantry\"}}}}' {base_url}/api/v1/proxy/salesforce
  export RECORD=<the id of that answer>
  curl -i -H \"Authorization: Bearer $KEY\" -H \"X-Connection-Id: $CONNECTION\" -H 'Content-Type: application/json' \\
    -d \"{{\\\"method\\\":\\\"PATCH\\\",\\\"path\\\":\\\"/services/data/v59.0/sobjects/Account/$RECORD\\\",\\\"data\\\":{{\\\"Name\\\":\\\"Grantry Ltd\\\"}}}}\" {base_url}/api/v1/proxy/salesforce
  curl -i -H \"Authorization: Bearer $KEY\" -H \"X-Connection-Id: $CONNECTION\" -H 'Content-Type: application/json' \\
    -d \"{{\\\"method\\\":\\\"DELETE\\\",\\\"path\\\":\\\"/services/data/v59.0/sobjects/Account/$RECORD\\\"}}\" {base_url}/api/v1/proxy/salesforce
  # disconnect: deleted here at once, then revoked at Salesforce
  curl -i -X DELETE -H \"Authorization: Bearer $KEY\" {base_url}/api/v1/connections/$CONNECTION

Ctrl-C ends it.",
        data.display(),
        USERS[0],
    );
}

/// The demo's key line, kept beside its database so that the demo can be restarted on the same data.
fn demo_keys(data: &Path) -> Result<Keyring, Problem> {
    let file: PathBuf = data.join("keys");
    if let Ok(line) = fs::read_to_string(&file) {
        return secrets::keyring(&Secret::new(line));
    }
    files::make_private_dir(data)?;
    let line = Keyring::generate()?;
    files::write_private(&file, line.expose())?;
    secrets::keyring(&line)
}

fn random_key() -> Result<Secret, Problem> {
    let line = Keyring::generate()?;
    let text: String = line
        .expose()
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .collect();
    Ok(Secret::new(format!("admin{text}")))
}

#[cfg(test)]
mod tests {
    use grantry::{
        connect::Binding,
        store::{ConnectionRow, ConnectionStore as _, Inserted, MemoryStore},
    };

    use super::*;

    #[tokio::test]
    async fn the_list_goes_on_after_a_hundred() {
        let simulator = Simulator::start(Config::default()).await.unwrap();
        let store = MemoryStore::default();
        let keyring = Keyring::parse(&Keyring::generate().unwrap()).unwrap();
        let broker = serve::broker(store.clone().into(), keyring, "https://demo.example/grantry")
            .allow_loopback_upstream()
            .build()
            .unwrap();
        let integration = broker.create_integration(demo_app(&simulator)).await.unwrap();
        simulator.register_client(Client {
            callbacks: vec![integration.callback_url.clone()],
            ..Client::default()
        });
        let handle = broker.integration(&integration.id);
        let start = handle.begin_connect(Binding::new("session"));
        let callback = simulator.approve(&start.await.unwrap().url, USERS[0]).unwrap();
        let query = callback.split_once('?').unwrap().1;
        let binding = Binding::new("session");
        handle.finish_connect(query, &binding).await.unwrap();
        let mut ids = all_connections(&broker, &integration.id).await.unwrap();
        let stored = store.connection(&ids[0]).await.unwrap().0.unwrap();
        // A list opens nothing that is sealed.
        for _ in 0..249 {
            let row = ConnectionRow {
                id: ConnectionId::generate(),
                ..stored.row.clone()
            };
            let inserted = store.insert_connection(&row).await.unwrap();
            assert!(matches!(inserted, Inserted::Created(_)));
            ids.push(row.id);
        }
        assert_eq!(all_connections(&broker, &integration.id).await.unwrap(), ids);
        simulator.shutdown().await;
    }
}
