//! The running program: everything started in order, and stopped in the opposite one.
//!
//! What each part takes is put together in `wiring.rs`; connections are accepted in `door.rs`.

mod authority;
mod copies;
mod door;
mod neighbours;
mod wiring;

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use tokio::{net::TcpListener, task::JoinHandle, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    authority::Authority,
    config::{Config, StartupError},
    http,
    hub::Hub,
    metrics::Metrics,
    relay,
    store::{
        CommitFeed, Store,
        sqlite::{Counters, Mode, SqliteStore, WriterHandle},
    },
};
pub use authority::{backends_authority, backends_tokens, kept_tokens};
pub use copies::Copying;
pub(crate) use copies::never_ourselves;
use door::Door;
pub(crate) use wiring::origins;

/// A server that accepts connections.
#[derive(Debug)]
pub struct Server {
    /// Where it listens; the real port, also when 0 was asked for.
    pub address: SocketAddr,
    /// The database file, by its full name.
    pub database: PathBuf,
    /// Who hands out user ids.
    pub mode: Mode,
    /// Who outside is told of every message.
    pub copies: Copying,
    hub: Arc<Hub>,
    stop: CancellationToken,
    tasks: TaskTracker,
    relay: JoinHandle<()>,
    accepting: JoinHandle<()>,
    writer: WriterHandle,
    stop_timeout: Duration,
}

impl Server {
    /// Opens the file, binds the port and begins to accept.
    pub async fn start(config: Config) -> Result<Self, StartupError> {
        let backends = backends_authority(&config)?;
        // The port before the file: a start that fails on it leaves none behind.
        let listener = bind(config.bind).await?;
        let system = |what| move |source| StartupError::System { what, source };
        let address = listener
            .local_addr()
            .map_err(system("the listening address cannot be read"))?;
        copies::never_ourselves(&config, address).await?;
        let metrics = Arc::new(Metrics::default());
        let opened = open_store(&config, &metrics).await?;
        let store: Arc<dyn Store> = Arc::new(opened.store);
        let (authority, accounts_tokens) = match backends {
            Some(authority) => (authority, None),
            None => {
                let tokens = Arc::new(kept_tokens(&opened.database)?);
                (Authority::Key(tokens.clone()), Some(tokens))
            }
        };
        let hub = Arc::new(Hub::new(
            store.latest_id().await?,
            metrics.deliveries.clone(),
        ));
        let relay = tokio::spawn(relay::run(opened.feed, hub.clone()));
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let copying = copies::Start {
            config: &config,
            database: &opened.database,
            store: store.clone(),
            hub: &hub,
            metrics: &metrics,
        };
        let copies = copying.run(&tasks, &stop).await?;
        if store.can_have_neighbours() {
            tasks.spawn(neighbours::meet_until(
                stop.clone(),
                store.clone(),
                hub.clone(),
            ));
        }
        let app = wiring::app(
            &config,
            store,
            hub.clone(),
            wiring::Judges {
                authority,
                accounts: accounts_tokens,
            },
            metrics.clone(),
            stop.clone(),
            tasks.clone(),
        )
        .map_err(system("the threads that hash passwords cannot be started"))?;
        tasks.spawn(app.stats.clone().sample_until(stop.clone()));
        let door = Door::new(
            http::router(Arc::new(app)),
            &config.limits,
            metrics,
            stop.clone(),
            tasks.clone(),
        );
        let accepting = tasks.spawn(door.accept(listener));
        Ok(Self {
            address,
            database: opened.database,
            mode: config.mode(),
            copies,
            hub,
            stop,
            tasks,
            relay,
            accepting,
            writer: opened.writer,
            stop_timeout: Duration::from_secs(config.limits.stop_seconds),
        })
    }

    /// Who is here: for those who wait until a fan-out is complete.
    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    /// Resolves if the writer or the loop that accepts has died: the process should end, not linger deaf or mute.
    pub async fn failed(&mut self) {
        tokio::select! {
            _ = &mut self.relay => {}
            _ = &mut self.accepting => {}
        }
    }

    /// Stops accepting, closes every socket with 1001, commits what was accepted, empties the WAL into the file.
    /// Whether the writer ended in order and in time; if not, its thread is still at work.
    pub async fn stop(self) -> bool {
        self.stop.cancel();
        self.tasks.close();
        if timeout(self.stop_timeout, self.tasks.wait()).await.is_err() {
            tracing::warn!(
                connections = self.tasks.len(),
                "some connections did not end in time and are cut"
            );
        }
        let writer = self.writer;
        let last_commit = tokio::task::spawn_blocking(move || writer.stop());
        let in_order = matches!(timeout(WRITER_STOP_TIMEOUT, last_commit).await, Ok(Ok(())));
        if in_order {
            tracing::info!("stopped");
        } else {
            tracing::error!(
                "the storage does not end: what was not acknowledged may not be stored"
            );
        }
        in_order
    }
}

/// The last commit and checkpoint: together with `--stop-seconds` under the ten seconds after which supervisors kill.
const WRITER_STOP_TIMEOUT: Duration = Duration::from_secs(4);

/// Listens there, or says why not and what to do.
pub(crate) async fn bind(address: SocketAddr) -> Result<TcpListener, StartupError> {
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
    feed: CommitFeed,
    writer: WriterHandle,
    database: PathBuf,
}

async fn open_store(config: &Config, metrics: &Metrics) -> Result<Opened, StartupError> {
    let options = wiring::storage(config);
    let counters = Counters {
        messages: metrics.messages_stored.clone(),
        commits: metrics.commits.clone(),
    };
    let opened = tokio::task::spawn_blocking(move || SqliteStore::open(&options, counters)).await;
    let opened = opened.map_err(|error| StartupError::System {
        what: "opening the database broke off",
        source: std::io::Error::other(error),
    })?;
    let (store, feed, writer) = opened?;
    let database = writer.database().to_owned();
    Ok(Opened {
        store,
        feed,
        writer,
        database,
    })
}
