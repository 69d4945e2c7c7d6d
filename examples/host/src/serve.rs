//! The service: the broker's HTTP surface with health checks and metrics, drained on SIGTERM.

use std::{future::Future, net::SocketAddr, path::Path, time::Duration};

use axum::{Router, http::StatusCode, routing::get};
use grantry::{
    Broker, Builder, KeepAlive, error::Code, http::HttpService, secret::Secret, store::Stores, vault::Keyring,
};
use grantry_provider_salesforce::Salesforce;
use grantry_store_redis::{RedisBuilder, RedisStore};
use grantry_store_sqlite::SqliteStore;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use serde_json::json;
use tokio::{net::TcpListener, sync::watch};

use crate::{cli::ServeArgs, files, problem::Problem, secrets};

/// `grantry-host serve`.
pub(crate) async fn run(args: ServeArgs) -> Result<(), Problem> {
    let keyring = secrets::keyring(&secrets::read(secrets::KEYS)?)?;
    let admin = secrets::admin_key()?;
    let stores = open_store(&args.store).await?;
    if grantry::copy::is_migrated(&stores).await? {
        let code = Code::StoreMoved;
        return Err(format!("{}: {}", code.as_str(), code.message()).into());
    }
    let metrics = PrometheusBuilder::new().install_recorder()?;
    let listener = bind(args.listen).await?;
    let base_url = format!("http://{}", listener.local_addr()?);
    let public_url = args.public_url.as_deref().unwrap_or(&base_url);
    let mut builder = broker(stores, keyring, public_url);
    if args.allow_loopback_upstream {
        tracing::warn!("http on a loopback address may stand for a provider: for tests only");
        builder = builder.allow_loopback_upstream();
    }
    if args.no_keep_alive {
        builder = builder.keep_alive(KeepAlive::default().idle_limit(false));
    }
    let broker = builder.build()?;
    tracing::info!(listen = base_url, public_url, "ready");
    if let Some(file) = &args.ready_file {
        files::write_private(file, &json!({ "baseUrl": base_url }).to_string())?;
    }
    let drain = Duration::from_secs(args.drain_seconds.into());
    serve(listener, &broker, admin, metrics, ended(), drain).await
}

/// A broker for Salesforce.
pub(crate) fn broker(stores: Stores, keyring: Keyring, public_url: &str) -> Builder {
    Broker::builder(stores, keyring)
        .provider(Salesforce::new())
        .public_url(public_url)
}

/// Opens the store that an address names.
pub(crate) async fn open_store(address: &str) -> Result<Stores, Problem> {
    match address.split_once(':') {
        Some(("sqlite", file)) if !file.is_empty() => match SqliteStore::open(file).await {
            Ok(store) => Ok(store.into()),
            Err(error) => Err(format!("{}: {error}", error.code()).into()),
        },
        Some((scheme, _)) if is_redis(scheme) => open_redis(RedisStore::builder(address)).await,
        _ => Err(
            "store_unknown: --store takes sqlite:FILE, redis://SERVER, redis+sentinel://SENTINELS/SERVICE or \
             redis+cluster://NODES, or these with rediss for TLS"
                .into(),
        ),
    }
}

/// Opens a store for a tool that examines it. Never creates one.
pub(crate) async fn open_existing(address: &str) -> Result<Stores, Problem> {
    match address.split_once(':') {
        Some(("sqlite", file)) if !file.is_empty() && !Path::new(file).exists() => Err(format!(
            "store_missing: there is no file {file}; name the store that the service uses"
        )
        .into()),
        Some((scheme, _)) if is_redis(scheme) => {
            open_redis(RedisStore::builder(address).must_exist(true)).await
        }
        _ => open_store(address).await,
    }
}

fn is_redis(scheme: &str) -> bool {
    let scheme = scheme.strip_prefix("rediss").or(scheme.strip_prefix("redis"));
    matches!(scheme, Some("" | "+sentinel" | "+cluster"))
}

async fn open_redis(builder: RedisBuilder) -> Result<Stores, Problem> {
    match builder.open().await {
        Ok(store) => Ok(store.into()),
        Err(error) => Err(format!("{}: {error}", error.code()).into()),
    }
}

pub(crate) async fn bind(address: SocketAddr) -> Result<TcpListener, Problem> {
    TcpListener::bind(address).await.map_err(|error| {
        format!(
            "cannot listen on {address}: {}; choose another with --listen",
            error.kind()
        )
        .into()
    })
}

/// Serves until `end`, then gives requests in progress, and after them refreshes in progress, the time `drain` to
/// finish.
pub(crate) async fn serve(
    listener: TcpListener,
    broker: &Broker,
    admin: Secret,
    metrics: PrometheusHandle,
    end: impl Future<Output = ()> + Send + 'static,
    drain: Duration,
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
    let (told, mut ending) = watch::channel(false);
    let drained = axum::serve(listener, app).with_graceful_shutdown(async move {
        end.await;
        tracing::info!("draining");
        told.send_replace(true);
    });
    // A client that sends half a request, or does not read its response, must not keep the process alive forever.
    let given_up = async move {
        let _ = ending.wait_for(|ending| *ending).await;
        tokio::time::sleep(drain).await;
    };
    tokio::select! {
        served = drained => served?,
        () = given_up => tracing::warn!("some clients did not finish; their connections are cut"),
    }
    let report = broker.shutdown(drain).await;
    if report.unfinished.is_empty() {
        tracing::info!("every refresh has ended and is stored");
        Ok(())
    } else {
        Err(format!(
            "{} refreshes did not finish; see the history of these connections: {:?}",
            report.unfinished.len(),
            report.unfinished
        )
        .into())
    }
}

/// Resolves on SIGTERM or Ctrl-C.
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
