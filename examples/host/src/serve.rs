//! The service: the broker's HTTP surface beside health checks and metrics, drained on SIGTERM.

use std::{future::Future, net::SocketAddr, time::Duration};

use axum::{Router, http::StatusCode, routing::get};
use grantry::{
    Broker, Builder,
    http::HttpService,
    secret::Secret,
    store::Stores,
    vault::Keyring,
};
use grantry_provider_salesforce::Salesforce;
use grantry_store_sqlite::SqliteStore;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::net::TcpListener;

use crate::{
    ServeArgs,
    secrets::{self, Problem},
};

/// How long running refreshes may take to end.
const DRAIN: Duration = Duration::from_secs(30);

/// `grantry-host serve`.
pub(crate) async fn run(args: ServeArgs) -> Result<(), Problem> {
    let keyring = Keyring::parse(&secrets::read("GRANTRY_KEYS")?)?;
    let admin = secrets::admin_key()?;
    let stores = open_store(&args.store).await?;
    let metrics = PrometheusBuilder::new().install_recorder()?;
    let mut builder = broker(stores, keyring, &args.public_url);
    if args.allow_loopback_upstream {
        tracing::warn!("http on a loopback address may stand for a provider: for tests only");
        builder = builder.allow_loopback_upstream();
    }
    let broker = builder.build()?;
    let listener = bind(args.listen).await?;
    tracing::info!(listen = %listener.local_addr()?, public_url = args.public_url, "ready");
    serve(listener, &broker, admin, metrics, ended()).await
}

/// A broker for Salesforce.
pub(crate) fn broker(stores: Stores, keyring: Keyring, public_url: &str) -> Builder {
    Broker::builder(stores, keyring).provider(Salesforce::new()).public_url(public_url)
}

/// Opens the store that an address names.
pub(crate) async fn open_store(address: &str) -> Result<Stores, Problem> {
    match address.split_once(':') {
        Some(("sqlite", file)) if !file.is_empty() => Ok(SqliteStore::open(file).await?.into()),
        _ => Err("--store takes sqlite:FILE".into()),
    }
}

pub(crate) async fn bind(address: SocketAddr) -> Result<TcpListener, Problem> {
    TcpListener::bind(address)
        .await
        .map_err(|error| format!("cannot listen on {address}: {}; choose another with --listen", error.kind()).into())
}

/// Serves until `end`, then lets running requests and refreshes finish.
pub(crate) async fn serve(
    listener: TcpListener,
    broker: &Broker,
    admin: Secret,
    metrics: PrometheusHandle,
    end: impl Future<Output = ()> + Send + 'static,
) -> Result<(), Problem> {
    let surface = HttpService::builder(broker.clone()).admin_key(admin)?.build();
    let ready = broker.clone();
    let app = Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route(
            "/readyz",
            get(move || async move {
                match ready.ready().await {
                    Ok(()) => (StatusCode::OK, "ready".to_owned()),
                    Err(error) => (StatusCode::SERVICE_UNAVAILABLE, error.code().as_str().to_owned()),
                }
            }),
        )
        .route("/metrics", get(move || async move { metrics.render() }))
        .fallback_service(surface);
    axum::serve(listener, app).with_graceful_shutdown(end).await?;
    tracing::info!("draining");
    let report = broker.shutdown(DRAIN).await;
    if report.unfinished.is_empty() {
        tracing::info!("every refresh has ended and is stored");
        Ok(())
    } else {
        Err(format!("{} refreshes had not ended; see the history of these connections: {:?}", report.unfinished.len(), report.unfinished).into())
    }
}

/// Ends with SIGTERM or Ctrl-C.
pub(crate) async fn ended() {
    use tokio::signal;
    let interrupt = async {
        if signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    #[cfg(unix)]
    let terminate = async {
        match signal::unix::signal(signal::unix::SignalKind::terminate()) {
            Ok(mut stream) => drop(stream.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    #[cfg(not(unix))]
    let terminate = std::future::pending::<()>();
    tokio::select! {
        () = interrupt => {}
        () = terminate => {}
    }
}
