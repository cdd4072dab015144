//! Connections: the settings that each has, and the pool of those that are used for one statement at a time.
//!
//! Nothing waits without an end: not for a connection, not for an answer. A connection whose answer is late is thrown away,
//! since the next statement on it would wait for the last one's answer. Each is as safe as the URL asks (`tls.rs`).

use std::{sync::Arc, time::Duration};

use deadpool_postgres::{
    ClientWrapper, Hook, HookError, Manager, ManagerConfig, Object, RecyclingMethod, Runtime,
    Timeouts,
};
use tokio::{task::JoinHandle, time::timeout};
use tokio_postgres::{
    Client, Config, Connection, Error, Row, Socket, error::SqlState, types::ToSql,
};

use super::{
    error::{OpenError, is_lost, of_commit, translate},
    schema::Shape,
    tls::{self, Tls},
    url,
};
use crate::store::{Options, StoreError};

/// Values for the placeholders of a statement.
pub(super) type Params<'a> = &'a [&'a (dyn ToSql + Sync)];

/// What is said to be stored survives a power cut, whatever the database's default is; a stricter one stays.
const DURABLE: &str = "
    SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') IN ('off', 'local')";

/// A session whose client is gone may hold the log's lock, and no time-out of a statement runs while the server waits for the
/// rest of what it was sent: it looks whether the client is there, as the client does.
const GONE: &str = "
    SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 3; SET tcp_keepalives_count = 3; SET tcp_user_timeout = 15000";

/// Where the database is.
#[derive(Clone)]
pub(super) struct Database {
    config: Arc<Config>,
    tls: Tls,
    pub(super) patience: Duration,
    /// A connection is made, or not.
    within: Duration,
    settings: Arc<str>,
}

impl std::fmt::Debug for Database {
    /// Nothing of what opens it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Database")
    }
}

/// A connection of its own, which ends at once when it is dropped.
pub(super) struct Session {
    pub(super) client: Client,
    pub(super) driver: JoinHandle<()>,
}

impl Drop for Session {
    fn drop(&mut self) {
        // Closes the socket; what was not committed is undone by the server.
        self.driver.abort();
    }
}

impl Database {
    pub(super) fn parse(url: &str, patience: Duration) -> Result<Self, OpenError> {
        let (mut config, trust) = url::parse(url)?;
        let tls = Tls::new(&trust, config.get_ssl_negotiation())?;
        // A session that stands still in a transaction may hold the log's lock: it ends before others lose patience.
        // A statement that runs longer than anybody waits for it is of no use.
        // Said after the login: a pooler lets no such thing pass before it.
        let settings = format!(
            "SET statement_timeout = {0}; SET lock_timeout = {0}; SET idle_in_transaction_session_timeout = 2000;
              SET client_min_messages = warning; SET jit = off; SET default_transaction_isolation = 'read committed'; {GONE}; {DURABLE}",
            patience.as_millis(),
        );
        let within = config.get_connect_timeout().copied().unwrap_or(patience);
        config
            .application_name("chat-server")
            .connect_timeout(within);
        watch_over(&mut config);
        Ok(Self {
            config: Arc::new(config),
            tls,
            patience,
            within,
            settings: settings.into(),
        })
    }

    /// A connection of its own, driven by a task.
    pub(super) async fn connect(&self) -> Result<Session, OpenError> {
        let (client, connection) = self.dial().await?;
        let driver = tokio::spawn(async move {
            // Whoever asks through the client hears of it.
            let _ = connection.await;
        });
        let session = Session { client, driver };
        match timeout(self.patience, session.client.batch_execute(&self.settings)).await {
            Ok(set) => set?,
            Err(_) => return Err(OpenError::Silent("it did not answer in time".into())),
        }
        Ok(session)
    }

    /// A connection that the caller drives.
    pub(super) async fn dial(
        &self,
    ) -> Result<(Client, Connection<Socket, tls::Stream>), OpenError> {
        let dialled = timeout(self.within, self.config.connect(self.tls.clone()));
        match dialled.await {
            Ok(both) => both.map_err(OpenError::of_connect),
            Err(_) => Err(OpenError::Silent("it did not answer in time".into())),
        }
    }
}

/// A peer that is gone is noticed in seconds, where the URL says nothing else.
fn watch_over(config: &mut Config) {
    const SYSTEMS_OWN: Duration = Duration::from_secs(2 * 60 * 60);
    if config.get_keepalives_idle() == SYSTEMS_OWN {
        config.keepalives_idle(Duration::from_secs(10));
    }
    if config.get_keepalives_interval().is_none() {
        config.keepalives_interval(Duration::from_secs(3));
    }
    if config.get_keepalives_retries().is_none() {
        config.keepalives_retries(3);
    }
    if config.get_tcp_user_timeout().is_none() {
        config.tcp_user_timeout(Duration::from_secs(15));
    }
}

/// Connections for one statement at a time.
#[derive(Clone, Debug)]
pub(super) struct Pool {
    pool: deadpool_postgres::Pool,
    patience: Duration,
    pub(super) shape: Shape,
}

impl Pool {
    pub(super) fn new(
        database: &Database,
        options: &Options,
        shape: Shape,
    ) -> Result<Self, OpenError> {
        let fast = ManagerConfig {
            recycling_method: RecyclingMethod::Fast,
        };
        let manager = Manager::from_config((*database.config).clone(), database.tls.clone(), fast);
        // Everything that is read has an index, whatever the statistics of a table that was just filled say.
        let settings = format!("{}; SET enable_seqscan = off", database.settings);
        let within = database.patience;
        let set = Hook::async_fn(move |client: &mut ClientWrapper, _| {
            let settings = settings.clone();
            Box::pin(async move {
                let set = timeout(within, client.batch_execute(&settings)).await;
                let set = set.map_err(|_| HookError::message("it did not answer in time"))?;
                set.map_err(HookError::Backend)
            })
        });
        let pool = deadpool_postgres::Pool::builder(manager)
            .post_create(set)
            .max_size(options.readers.max(1) as usize)
            .runtime(Runtime::Tokio1)
            .timeouts(Timeouts {
                wait: Some(options.patience),
                create: Some(database.within),
                recycle: Some(options.patience),
            })
            .build()
            .map_err(|error| OpenError::Broken(error.to_string()))?;
        Ok(Self {
            pool,
            patience: options.patience,
            shape,
        })
    }

    /// Reads: asked a second time when the connection turns out to be gone, as after a restart of the database.
    pub(super) async fn read(&self, sql: &str, params: Params<'_>) -> Result<Vec<Row>, StoreError> {
        let asked = match self.ask(sql, params).await {
            Err(Miss::Failed(error)) if is_lost(&error) || plan_is_old(&error) => {
                self.ask(sql, params).await
            }
            asked => asked,
        };
        asked.map_err(Miss::of_repeatable)
    }

    /// Changes something by one statement, which is a transaction.
    pub(super) async fn change(
        &self,
        sql: &str,
        params: Params<'_>,
    ) -> Result<Vec<Row>, StoreError> {
        let changed = self.ask(sql, params).await;
        changed.map_err(Miss::of_change)
    }

    /// The same, for those to whom it matters what the server refused it for.
    pub(super) async fn try_change(&self, sql: &str, params: Params<'_>) -> Result<Vec<Row>, Miss> {
        self.ask(sql, params).await
    }

    async fn ask(&self, sql: &str, params: Params<'_>) -> Result<Vec<Row>, Miss> {
        let client = self.pool.get().await;
        let client = client.map_err(|error| Miss::Nobody(error.to_string()))?;
        let answer = timeout(self.patience, async {
            let statement = client.prepare_cached(sql).await?;
            client.query(&statement, params).await
        });
        match answer.await {
            Ok(Ok(rows)) => Ok(rows),
            Ok(Err(error)) => {
                if plan_is_old(&error) {
                    // Somebody changed a table: every statement that was prepared may be of no use.
                    drop(Object::take(client));
                }
                Err(Miss::Failed(error))
            }
            Err(_) => {
                drop(Object::take(client));
                Err(Miss::Late)
            }
        }
    }
}

/// Why a statement brought nothing.
#[derive(Debug)]
pub(super) enum Miss {
    /// It was not asked.
    Nobody(String),
    /// The server's word, or the connection's end.
    Failed(Error),
    /// No answer.
    Late,
}

impl Miss {
    /// Its meaning, when nothing was to be changed, or what may be done twice.
    pub(super) fn of_repeatable(self) -> StoreError {
        match self {
            Self::Nobody(why) => nobody(&why),
            Self::Failed(error) => translate(error),
            Self::Late => StoreError::Unavailable("the database did not answer in time"),
        }
    }

    /// Its meaning, of something that may have been committed.
    pub(super) fn of_change(self) -> StoreError {
        match self {
            Self::Nobody(why) => nobody(&why),
            Self::Failed(error) => of_commit(error).into(),
            Self::Late => StoreError::Uncertain("the database did not answer in time".into()),
        }
    }
}

fn nobody(why: &str) -> StoreError {
    tracing::debug!(%why, "no connection to the database");
    StoreError::Unavailable("there is no connection to the database")
}

/// "cached plan must not change result type": a table was changed after the statement was prepared.
fn plan_is_old(error: &Error) -> bool {
    error.code() == Some(&SqlState::FEATURE_NOT_SUPPORTED)
}
