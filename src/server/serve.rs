//! `keyfob-server serve`: from a data directory to a server that listens, until it is told to stop.

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::Args;
use nix::fcntl::{Flock, FlockArg};
use time::{Duration, OffsetDateTime};
use tokio::{net::TcpListener, signal::unix::SignalKind, sync::watch};

use super::{
    ca::{Authority, Lives},
    console, edge,
    grpc::{self, App},
    metrics::Counted,
    program::{Data, LISTENING, print, reachable},
    rollouts,
    store::{Store, new_id},
    streams::Streams,
};
use crate::{exposition, seal::RecipientKey, tls};

#[derive(Args)]
pub struct Serve {
    #[command(flatten)]
    data: Data,
    /// Where to listen, ADDRESS:PORT; port 0 takes a free one
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:7443")]
    listen: String,
    /// Where agents and people reach this server, HOST:PORT; goes into join strings [default: where it listens]
    #[arg(long, value_name = "HOST:PORT")]
    address: Option<String>,
    /// A further host name or address for the server's certificate; clients that are not ours look at it
    #[arg(long = "name", value_name = "NAME")]
    names: Vec<String>,
    /// Life of sessions' certificates, in minutes
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=43_200))]
    session_certificate_minutes: u32,
    /// Life of users' certificates, in hours; renewed in use
    #[arg(long, default_value_t = 168, value_parser = clap::value_parser!(u32).range(1..=8_760))]
    user_certificate_hours: u32,
    /// How often agents report how they are, if nothing changes; one that is silent for three times as long is stale
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    beat_seconds: u32,
    /// Hand out Prometheus metrics at http://ADDR:PORT/metrics, a loopback address [default: none are handed out]
    #[arg(long, value_name = "ADDR:PORT")]
    metrics_listen: Option<String>,
    #[command(flatten)]
    console: ConsoleArgs,
    /// Connections at the most, in all
    #[arg(long, default_value_t = edge::Limits::default().max_connections)]
    max_connections: usize,
    /// Connections at the most from one address
    #[arg(long, default_value_t = edge::Limits::default().max_per_address)]
    max_connections_per_address: usize,
}

#[derive(Args)]
#[command(next_help_heading = "Console")]
struct ConsoleArgs {
    /// Serve the console, pages for browsers, over HTTPS at ADDRESS:PORT; port 0 takes a free one [default: there is none]
    #[arg(long, value_name = "ADDR:PORT")]
    console_listen: Option<String>,
    /// Where people reach it, HOST:PORT; goes into sign-in links [default: where it listens]
    #[arg(long, value_name = "HOST:PORT", requires = "console_listen")]
    console_address: Option<String>,
    /// Its certificate chain (PEM), read again every hour [default: one issued by the authority of this server]
    #[arg(long, value_name = "FILE", requires_all = ["console_listen", "console_key"])]
    console_cert: Option<PathBuf>,
    /// The key of that (PEM)
    #[arg(long, value_name = "FILE", requires = "console_cert")]
    console_key: Option<PathBuf>,
    #[command(flatten)]
    oidc: console::OidcArgs,
}

pub async fn run(serve: Serve) -> Result<(), String> {
    let scraped = serve.metrics_listen.as_deref().map(exposition::loopback).transpose();
    let scraped = scraped.map_err(|e| format!("--metrics-listen: {e}"))?;
    let data = &serve.data;
    let keyring = Arc::new(data.existing()?);
    let _lock = lock(&data.data_dir)?;
    let streams = Streams::new();
    let hearing = streams.clone();
    let store = Store::open(&data.database(), keyring, Box::new(move |notices| hearing.hear(notices)))
        .map_err(|e| e.to_string())?;
    tokio::spawn(rollouts::drive(store.clone(), streams.clone()));
    let lives = Lives {
        session: Duration::minutes(serve.session_certificate_minutes.into()),
        user: Duration::hours(serve.user_certificate_hours.into()),
        ..Lives::default()
    };
    let authority = store
        .read(move |tx| Authority::load(tx, tx.setting("trust_domain")?.unwrap_or_default(), lives))
        .await
        .map_err(|e| e.to_string())?;
    let authority = Arc::new(authority);

    let (listener, bound, local) = bind(&serve.listen).await?;
    let address = match serve.address {
        Some(address) => reachable(address)?,
        None => local.clone(),
    };
    let console = open_console(serve.console, &store, &authority, &serve.names).await?;
    let names = names_of(serve.names, &[&address, &local]);
    let certificates = {
        let authority = authority.clone();
        watch_certificate(move || {
            let now = OffsetDateTime::now_utc();
            let (keyed, not_after) = authority.issue_server(&names, now).map_err(|e| e.to_string())?;
            let config = tls::server_config(keyed, authority.roots()).map_err(|e| format!("TLS: {e}"))?;
            let wait =
                std::time::Duration::try_from((not_after - now) * 0.7).unwrap_or(std::time::Duration::from_secs(3_600));
            Ok((Arc::new(config), wait))
        })?
    };
    let metrics = store.metrics().clone();
    if let Some(address) = scraped {
        hand_out(address, store.clone()).await.map_err(|e| format!("--metrics-listen {address}: {e}"))?;
    }
    let app = App {
        store,
        streams: streams.clone(),
        authority,
        address,
        sealing_key: RecipientKey::generate().map_err(|e| format!("no randomness: {e}"))?,
        sealing_key_id: new_id().map_err(|e| e.to_string())?,
        beat: std::time::Duration::from_secs(serve.beat_seconds.into()),
        fleet: grpc::Fleet::default(),
        console: console.as_ref().map(|(address, _)| format!("https://{address}")),
    };
    let app = Arc::new(app);
    let routes = grpc::routes(app.clone()).await.map_err(|e| e.to_string())?;
    let limits = edge::Limits {
        max_connections: serve.max_connections,
        max_per_address: serve.max_connections_per_address,
        ..edge::Limits::default()
    };

    let listening = data.data_dir.join(LISTENING);
    write_whole(&listening, format!("{local}\n").as_bytes()).map_err(|e| format!("{}: {e}", listening.display()))?;
    let shutdown = shutdown_signal()?;
    let pages = app.console.as_ref().map(|url| format!("console on {url}\n")).unwrap_or_default();
    print(&format!("listening on {bound}\n{pages}"))?; // in one piece: who reads one line may be gone before the other
    tracing::info!(%bound, console = app.console.as_deref().unwrap_or("none"), "listening");
    let _ = sd_notify::notify(&[
        sd_notify::NotifyState::Ready,
        sd_notify::NotifyState::Status(&format!("listening on {bound}")),
    ]);
    let (service, stats) = (Counted { service: routes, metrics: metrics.clone() }, metrics.edge.clone());
    let stopping = Arc::new(tokio::sync::Notify::new());
    let stop = stopping.clone();
    let pages = async {
        if let Some((_, listen)) = console {
            console::serve(listen, app, stopping.notified()).await;
        }
    };
    let calls = edge::serve(listener, certificates, service, limits, stats, async {
        shutdown.await;
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
        streams.close(); // or they would be waited for
        stop.notify_one();
        tracing::info!("draining");
    });
    tokio::join!(calls, pages);
    let _ = fs::remove_file(&listening);
    Ok(())
}

/// How often the store is asked for what only it can count.
const ASKED: std::time::Duration = std::time::Duration::from_secs(5);

/// Metrics, on a listener of their own.
async fn hand_out(address: SocketAddr, store: Store) -> io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    tracing::info!(metrics = %listener.local_addr()?, "listening");
    let metrics = store.metrics().clone();
    let counted = metrics.clone();
    tokio::spawn(async move {
        let mut look = tokio::time::interval(ASKED);
        loop {
            look.tick().await;
            // Without an answer, the number of before.
            if let Ok(open) = store.read(|tx| tx.count_open_rollouts()).await {
                counted.rollouts.store(open, std::sync::atomic::Ordering::Relaxed);
            }
        }
    });
    tokio::spawn(async move { exposition::serve(listener, || metrics.render()).await });
    Ok(())
}

/// One server a data directory.
fn lock(dir: &Path) -> Result<Flock<fs::File>, String> {
    let path = dir.join("lock");
    let file = fs::File::create(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock)
        .map_err(|_| format!("another keyfob-server serves {} already", dir.display()))
}

/// Binds; gives where, and an address of this machine that leads there.
async fn bind(listen: &str) -> Result<(TcpListener, SocketAddr, String), String> {
    let listener = TcpListener::bind(listen).await.map_err(|e| format!("{listen}: {e}"))?;
    let bound = listener.local_addr().map_err(|e| e.to_string())?;
    let local = match bound.ip() {
        ip if !ip.is_unspecified() => bound.to_string(),
        std::net::IpAddr::V4(_) => format!("127.0.0.1:{}", bound.port()),
        std::net::IpAddr::V6(_) => format!("[::1]:{}", bound.port()),
    };
    Ok((listener, bound, local))
}

/// The names of a certificate: those given, those of this machine, the hosts of these addresses.
fn names_of(mut names: Vec<String>, addresses: &[&str]) -> Vec<String> {
    names.extend(["localhost".into(), "127.0.0.1".into(), "::1".into()]);
    let host =
        |address: &&str| address.rsplit_once(':').map_or("", |(host, _)| host).trim_matches(['[', ']']).to_owned();
    names.extend(addresses.iter().map(host));
    names.sort();
    names.dedup();
    names
}

/// Where people reach the console, and what serves it; `None` where it is not wanted.
async fn open_console(
    args: ConsoleArgs,
    store: &Store,
    authority: &Arc<Authority>,
    names: &[String],
) -> Result<Option<(String, console::Listen)>, String> {
    let Some(listen) = args.console_listen else { return Ok(None) };
    let (listener, _, local) = bind(&listen).await.map_err(|e| format!("--console-listen {e}"))?;
    let address = match args.console_address {
        Some(address) => reachable(address)?,
        None => local.clone(),
    };
    let certificate = match (args.console_cert, args.console_key) {
        (Some(certificate), Some(key)) => console::Certificate::Files { certificate, key },
        _ => {
            let names = names_of(names.to_vec(), &[&address, &local]);
            console::Certificate::Issued { authority: authority.clone(), names }
        }
    };
    let certificates = watch_certificate(move || certificate.issue())?;
    let oidc = console::Oidc::open(args.oidc, &format!("https://{address}"), store).await?;
    Ok(Some((address, console::Listen { listener, certificates, oidc })))
}

type Issued = (Arc<rustls::ServerConfig>, std::time::Duration);

/// A certificate, made anew each time that the one before has been good for as long as it said.
fn watch_certificate(
    issue: impl Fn() -> Result<Issued, String> + Send + 'static,
) -> Result<watch::Receiver<Arc<rustls::ServerConfig>>, String> {
    let (config, mut wait) = issue()?;
    let (publish, receiver) = watch::channel(config);
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(wait).await;
            match issue() {
                Ok((config, next)) => {
                    wait = next;
                    if publish.send(config).is_err() {
                        return;
                    }
                }
                Err(error) => {
                    tracing::error!(%error, "renewing a certificate");
                    wait = std::time::Duration::from_secs(60);
                }
            }
        }
    });
    Ok(receiver)
}

fn shutdown_signal() -> Result<impl Future<Output = ()>, String> {
    let on = |kind| tokio::signal::unix::signal(kind).map_err(|e| format!("signals: {e}"));
    let (mut terminate, mut interrupt) = (on(SignalKind::terminate())?, on(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("new");
    fs::write(&temporary, bytes)?;
    fs::rename(&temporary, path)
}
