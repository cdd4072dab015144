//! The running program: everything started in order, and stopped in the opposite one.
//!
//! axum's own server has no time limit for a request's head, no limit on connections, and forgets upgraded ones when it
//! stops; so the loop that accepts is here.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use axum::{Extension, Router};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinHandle,
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    auth::{Secret, Tokens},
    chat::{
        Chat, Policy, Rate,
        accounts::{AccountPolicy, Accounts},
    },
    config::{Config, FEED_BATCHES, HISTORY_DEFAULT, NEW_ROOMS_BURST, RATE_BURST_SECONDS, Rooms, SPARE_FILES, StartupError},
    http::{self, App, OriginRule, Peer, SocketLimits},
    hub::Hub,
    metrics::Metrics,
    protocol::{Limits, LimitsInForce},
    relay,
    session::{Shared, Timing},
    store::{
        Store,
        sqlite::{Counters, Mode, Options, SqliteStore, WriterHandle, companion},
    },
};

/// A server that accepts connections.
#[derive(Debug)]
pub struct Server {
    /// Where it listens; the real port, also when 0 was asked for.
    pub address: SocketAddr,
    /// The database file, by its full name.
    pub database: PathBuf,
    /// Who hands out user ids.
    pub mode: Mode,
    hub: Arc<Hub>,
    stop: CancellationToken,
    tasks: TaskTracker,
    relay: JoinHandle<()>,
    writer: WriterHandle,
    stop_timeout: Duration,
}

impl Server {
    /// Opens the file, binds the port and begins to accept.
    pub async fn start(config: Config) -> Result<Self, StartupError> {
        // The port first: a start that fails on it leaves no file behind.
        let listener = bind(config.bind).await?;
        let system = |what| move |source| StartupError::System { what, source };
        let address = listener.local_addr().map_err(system("the listening address cannot be read"))?;
        let metrics = Arc::new(Metrics::default());
        let opened = open_store(&config, &metrics).await?;
        let store: Arc<dyn Store> = Arc::new(opened.store);
        let tokens = Arc::new(tokens(&config, &opened.database)?);
        let hub = Arc::new(Hub::new(store.latest_id().await?, metrics.deliveries.clone()));
        let relay = tokio::spawn(relay::run(opened.feed, hub.clone()));
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let app = app(&config, store, hub.clone(), tokens, metrics.clone(), stop.clone(), tasks.clone());
        let slots = Arc::new(Semaphore::new(connection_slots(config.limits.max_connections) as usize));
        let door = Door {
            router: http::router(Arc::new(app)),
            slots,
            metrics,
            stop: stop.clone(),
            tasks: tasks.clone(),
            header_timeout: Duration::from_secs(config.limits.header_seconds),
        };
        tasks.spawn(door.accept(listener));
        Ok(Self {
            address,
            database: opened.database,
            mode: config.mode(),
            hub,
            stop,
            tasks,
            relay,
            writer: opened.writer,
            stop_timeout: Duration::from_secs(config.limits.stop_seconds),
        })
    }

    /// Who is here: for those who wait until a fan-out is complete.
    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    /// Resolves if the writer has died: nothing can be stored any more, and the process should end.
    pub async fn failed(&mut self) {
        let _ = (&mut self.relay).await;
    }

    /// Stops accepting, closes every socket with 1001, commits what was accepted, empties the WAL into the file.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        if timeout(self.stop_timeout, self.tasks.wait()).await.is_err() {
            tracing::warn!(connections = self.tasks.len(), "some connections did not end in time and are cut");
        }
        let writer = self.writer;
        // Blocks until the last commit and checkpoint are done.
        if let Err(error) = tokio::task::spawn_blocking(move || writer.stop()).await {
            tracing::error!(%error, "the writer did not stop in order");
        }
        tracing::info!("stopped");
    }
}

async fn bind(address: SocketAddr) -> Result<TcpListener, StartupError> {
    TcpListener::bind(address).await.map_err(|source| {
        let fix = match source.kind() {
            std::io::ErrorKind::AddrInUse => "another program listens there: stop it, or choose another port (--bind 127.0.0.1:0 takes a free one)",
            std::io::ErrorKind::PermissionDenied => "ports below 1024 need a privilege: choose a higher one",
            std::io::ErrorKind::AddrNotAvailable => "this machine has no such address: use 127.0.0.1 or 0.0.0.0",
            _ => "choose another address",
        };
        StartupError::Bind { address, source, fix }
    })
}

struct Opened {
    store: SqliteStore,
    feed: crate::store::CommitFeed,
    writer: WriterHandle,
    database: PathBuf,
}

async fn open_store(config: &Config, metrics: &Metrics) -> Result<Opened, StartupError> {
    let options = Options {
        path: config.database.clone(),
        mode: config.mode(),
        switch_mode: config.switch_mode,
        write_queue: config.limits.write_queue as usize,
        batch_max: config.limits.batch_max as usize,
        feed_batches: FEED_BATCHES,
        readers: config.limits.readers,
        patience: Duration::from_secs(config.limits.patience_seconds),
    };
    let counters = Counters { messages: metrics.messages_stored.clone(), commits: metrics.commits.clone() };
    let opened = tokio::task::spawn_blocking(move || SqliteStore::open(&options, counters)).await;
    let opened = opened.map_err(|error| StartupError::System {
        what: "opening the database broke off",
        source: std::io::Error::other(error),
    })?;
    let (store, feed, writer) = opened?;
    let database = writer.database().to_owned();
    Ok(Opened { store, feed, writer, database })
}

fn tokens(config: &Config, database: &std::path::Path) -> Result<Tokens, StartupError> {
    match &config.secret {
        Some(named) => Ok(Tokens::new(named.secret.as_bytes(), named.name)),
        None => kept_tokens(database),
    }
}

/// Standalone mode's tokens, whose secret lies beside the database.
pub fn kept_tokens(database: &std::path::Path) -> Result<Tokens, StartupError> {
    let path = companion(database, "secret");
    match Secret::kept_at(&path) {
        Ok(secret) => Ok(Tokens::new(secret.as_bytes(), "this server's own secret")),
        Err(source) => Err(StartupError::Secret { path, source }),
    }
}

fn app(
    config: &Config,
    store: Arc<dyn Store>,
    hub: Arc<Hub>,
    tokens: Arc<Tokens>,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
    tasks: TaskTracker,
) -> App {
    let limits = &config.limits;
    let accounts = (config.mode() == Mode::Standalone)
        .then(|| Accounts::new(store.clone(), tokens.clone(), account_policy(config)));
    let chat = Arc::new(Chat::new(store, hub.clone(), metrics.clone(), policy(config)));
    let sessions = Arc::new(Shared {
        chat: chat.clone(),
        tokens: tokens.clone(),
        limits: wire_limits(config),
        timing: Timing {
            hold: Duration::from_millis(limits.hold_ms),
            ping: Duration::from_secs(limits.ping_seconds),
            silence: Duration::from_secs(limits.silence_seconds),
            in_flight: limits.in_flight as usize,
        },
        stop,
    });
    App {
        chat,
        hub,
        accounts,
        tokens,
        origins: OriginRule {
            public_host: config.public_host.clone(),
            allowed: config.allow_origin.clone(),
            own_names: own_names(),
        },
        sessions,
        socket_limits: SocketLimits {
            frame_bytes: limits.frame_bytes as usize,
            read_buffer_bytes: limits.read_buffer_bytes as usize,
            outbox_bytes: limits.outbox_bytes as usize,
            stall: Duration::from_secs(limits.stall_seconds),
            linger: Duration::from_secs(limits.linger_seconds),
        },
        metrics,
        tasks,
        body_bytes: limits.frame_bytes as usize,
        request_timeout: Duration::from_secs(limits.request_seconds),
    }
}

fn wire_limits(config: &Config) -> Limits {
    Limits {
        content_bytes: config.limits.content_bytes as usize,
        history_default: HISTORY_DEFAULT.min(config.limits.history_max),
        history_max: config.limits.history_max,
        history_bytes: config.limits.history_bytes as usize,
    }
}

fn policy(config: &Config) -> Policy {
    let limits = &config.limits;
    let per_second = f64::from(limits.rate_limit);
    Policy {
        open_rooms: config.rooms == Rooms::Open,
        rooms_max: limits.max_rooms,
        rooms_per_connection: limits.rooms_per_connection as usize,
        sends: Rate { per_second, burst: per_second * f64::from(RATE_BURST_SECONDS) },
        new_rooms: Rate { per_second: f64::from(limits.new_rooms_per_minute) / 60.0, burst: f64::from(NEW_ROOMS_BURST) },
        history_bytes: limits.history_bytes as usize,
        limits: LimitsInForce {
            content_bytes: limits.content_bytes as usize,
            frame_bytes: limits.frame_bytes as usize,
            history_limit: limits.history_max,
            history_bytes: limits.history_bytes as usize,
            rooms_per_connection: limits.rooms_per_connection as usize,
            rate_per_second: limits.rate_limit,
        },
    }
}

fn account_policy(config: &Config) -> AccountPolicy {
    AccountPolicy {
        signup: config.signup,
        token_ttl_seconds: i64::from(config.limits.token_days) * 86_400,
        hashing_at_once: config.limits.hashing_at_once as usize,
        hashing_in_line: config.limits.hashing_in_line as usize,
    }
}

/// What this machine calls itself, alone and on the local network (RFC 6762 section 3).
fn own_names() -> Vec<String> {
    let name = rustix::system::uname().nodename().to_string_lossy().to_ascii_lowercase();
    let short = name.split('.').next().unwrap_or_default().to_owned();
    if short.is_empty() { Vec::new() } else { vec![format!("{short}.local"), short, name] }
}

/// As many connections as are asked for, or as many as the system's limit on open files leaves room for.
fn connection_slots(wanted: u32) -> u32 {
    let needed = u64::from(wanted) + u64::from(SPARE_FILES);
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < needed) {
        limit.current = Some(limit.maximum.map_or(needed, |hard| hard.min(needed)));
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::warn!(%error, "the limit on open files could not be raised");
        }
    }
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    if files >= needed {
        return wanted;
    }
    let slots = u32::try_from(files).unwrap_or(u32::MAX).saturating_sub(SPARE_FILES).max(1);
    tracing::warn!(files, slots, "fewer connections than --max-connections: raise the limit on open files (ulimit -n)");
    slots
}

/// What the accepting loop needs.
struct Door {
    router: Router,
    slots: Arc<Semaphore>,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
    tasks: TaskTracker,
    header_timeout: Duration,
}

/// After a failed accept: long enough not to spin, short enough not to be noticed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

impl Door {
    async fn accept(self, listener: TcpListener) {
        loop {
            let accepted = tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, address)) => self.welcome(stream, address),
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn welcome(&self, stream: TcpStream, address: SocketAddr) {
        let Ok(slot) = self.slots.clone().try_acquire_owned() else {
            self.metrics.connections_refused.inc();
            tracing::warn!(%address, "a connection was refused: --max-connections is reached");
            self.tasks.spawn(turn_away(stream));
            return;
        };
        tracing::info!(%address, "🔌 Connexion TCP entrante");
        // A chat's frames are small and must not wait for one another; a socket that cannot be told so still works.
        let _ = stream.set_nodelay(true);
        self.tasks.spawn(self.serve(stream, address, slot));
    }

    fn serve(&self, stream: TcpStream, address: SocketAddr, slot: OwnedSemaphorePermit) -> impl Future<Output = ()> + use<> {
        let peer = Peer { address, slot: Arc::new(slot) };
        let service = TowerToHyperService::new(self.router.clone().layer(Extension(peer)));
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.header_timeout)
            .max_buf_size(HEAD_MAX_BYTES)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        let stop = self.stop.clone();
        async move {
            tokio::pin!(connection);
            let result = tokio::select! {
                result = &mut connection => result,
                () = stop.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = result {
                tracing::debug!(%address, %error, "an HTTP connection broke off");
            }
        }
    }
}

/// Longest head of a request, in bytes: a token of 8 KiB in three places, and what browsers add.
const HEAD_MAX_BYTES: usize = 64 * 1024;

/// Says why, in the fewest bytes, and when to come back.
async fn turn_away(mut stream: TcpStream) {
    const ANSWER: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    // Whoever does not read this loses nothing by it.
    let _ = timeout(Duration::from_secs(1), stream.write_all(ANSWER)).await;
}
