//! The running program: everything started in order, and stopped in the opposite one.
//!
//! What each part takes is put together in `wiring.rs`; connections are accepted in `door.rs`.

mod authority;
mod copies;
mod door;
mod neighbours;
mod wiring;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{net::TcpListener, task::JoinHandle, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use crate::store::{TOKENS_SECRET, WEBHOOK_SECRET};
use crate::{
    authority::Authority,
    config::{Config, StartupError},
    http,
    hub::Hub,
    metrics::Metrics,
    relay,
    store::{self, Counters, Ending, Mode, Opened},
};
pub use authority::{backends_authority, backends_tokens, kept_tokens, tokens_of};
pub use copies::Copying;
pub(crate) use copies::never_ourselves;
use door::Door;
pub(crate) use wiring::origins;

/// A server that accepts connections.
#[derive(Debug)]
pub struct Server {
    /// Where it listens; the real port, also when 0 was asked for.
    pub address: SocketAddr,
    /// Where the database is, for the operator: the file by its full name, or the URL without what opens it.
    pub database: String,
    /// What keeps it, with its version.
    pub engine: String,
    /// Who hands out user ids.
    pub mode: Mode,
    /// Who outside is told of every message.
    pub copies: Copying,
    hub: Arc<Hub>,
    stop: CancellationToken,
    tasks: TaskTracker,
    relay: JoinHandle<()>,
    accepting: JoinHandle<()>,
    ending: Ending,
    stop_timeout: Duration,
}

impl Server {
    /// Binds the port, opens the log and begins to accept.
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
        let Opened {
            store,
            feed,
            secrets,
            size,
            ending,
            place,
            engine,
        } = open_log(&config, &metrics).await?;
        let (authority, accounts_tokens) = match backends {
            Some(authority) => (authority, None),
            None => {
                let tokens = Arc::new(kept_tokens(&secrets).await?);
                (Authority::Key(tokens.clone()), Some(tokens))
            }
        };
        let hub = Arc::new(Hub::new(
            store.latest_id().await?,
            metrics.deliveries.clone(),
        ));
        let relay = tokio::spawn(relay::run(feed, hub.clone()));
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let copying = copies::Start {
            config: &config,
            secrets: &secrets,
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
            wiring::Kept {
                size,
                engine: engine.clone(),
            },
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
            database: place,
            engine,
            mode: config.mode(),
            copies,
            hub,
            stop,
            tasks,
            relay,
            accepting,
            ending,
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
            () = self.ending.failed() => {}
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
        let ended = timeout(WRITER_STOP_TIMEOUT, self.ending.stop()).await;
        let in_order = ended.unwrap_or(false);
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

async fn open_log(config: &Config, metrics: &Metrics) -> Result<Opened, StartupError> {
    let counters = Counters {
        messages: metrics.messages_stored.clone(),
        commits: metrics.commits.clone(),
    };
    let options = wiring::storage(config);
    Ok(store::open(&config.database, &options, counters).await?)
}
