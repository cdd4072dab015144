//! Connections: the settings that each has, and the pool of those that are used for one statement at a time.
//!
//! Nothing waits without an end: not for a connection, not for an answer. A connection whose answer is late is thrown away,
//! since the next statement on it would wait for the last one's answer. Each is as safe as the URL asks (`tls.rs`).

use std::{sync::Arc, time::Duration};

use deadpool_postgres::{
    ClientWrapper, Hook, Manager, ManagerConfig, Object, RecyclingMethod, Runtime, Timeouts,
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

/// Where the database is.
#[derive(Clone)]
pub(super) struct Database {
    config: Arc<Config>,
    tls: Tls,
    pub(super) patience: Duration,
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
        let settings = format!(
            "-c statement_timeout={} -c lock_timeout={} -c idle_in_transaction_session_timeout=2000 -c client_min_messages=warning -c jit=off -c default_transaction_isolation=read\\ committed",
            patience.as_millis(),
            patience.as_millis(),
        );
        let settings = match config.get_options() {
            Some(given) => format!("{given} {settings}"),
            None => settings,
        };
        config
            .options(settings)
            .application_name("chat-server")
            .connect_timeout(patience)
            .keepalives_idle(Duration::from_secs(10))
            .keepalives_interval(Duration::from_secs(3))
            .keepalives_retries(3)
            .tcp_user_timeout(Duration::from_secs(15));
        Ok(Self {
            config: Arc::new(config),
            tls,
            patience,
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
        match timeout(self.patience, session.client.batch_execute(DURABLE)).await {
            Ok(Ok(())) => Ok(session),
            Ok(Err(error)) => Err(OpenError::of_connect(error)),
            Err(_) => Err(OpenError::Silent("it did not answer in time".into())),
        }
    }

    /// A connection that the caller drives.
    pub(super) async fn dial(
        &self,
    ) -> Result<(Client, Connection<Socket, tls::Stream>), OpenError> {
        let dialled = timeout(self.patience, self.config.connect(self.tls.clone()));
        match dialled.await {
            Ok(both) => both.map_err(OpenError::of_connect),
            Err(_) => Err(OpenError::Silent("it did not answer in time".into())),
        }
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
        // Everything that is read has an index, whatever the statistics of a table that was just filled say.
        let mut config = (*database.config).clone();
        let given = config.get_options().unwrap_or_default().to_owned();
        config.options(format!("{given} -c enable_seqscan=off"));
        let manager = Manager::from_config(config, database.tls.clone(), fast);
        let durable = Hook::async_fn(|object: &mut ClientWrapper, _| {
            Box::pin(async move {
                let set = object.batch_execute(DURABLE).await;
                set.map_err(deadpool_postgres::HookError::Backend)
            })
        });
        let pool = deadpool_postgres::Pool::builder(manager)
            .post_create(durable)
            .max_size(options.readers.max(1) as usize)
            .runtime(Runtime::Tokio1)
            .timeouts(Timeouts {
                wait: Some(options.patience),
                create: Some(options.patience),
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
        asked.map_err(Miss::of_read)
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
    /// Its meaning, when nothing was to be changed.
    fn of_read(self) -> StoreError {
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
