//! The vocabulary of the tests: a server in this process, and clients on real sockets.
//!
//! Nothing sleeps. Waiting means waiting for a frame, and a wait that fails shows the frames seen so far.
#![allow(
    dead_code,
    reason = "each test program uses its own part of the vocabulary"
)]

pub mod backend;
pub mod binary;
pub mod client;
#[cfg(feature = "postgres")]
pub mod databases;
pub mod described;
pub mod http;
pub mod memory;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "postgres")]
pub mod proxy;

use std::{future::Future, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use chat_server::{
    auth::{Secret, Tokens},
    config::{Config, NamedSecret},
    metrics::SyncState,
    protocol::{Cursor, Timestamp, UserId, Username},
    server::Server,
    store::Location,
};
pub use client::Client;
use tempfile::TempDir;

/// The backend's secret in integrated mode.
pub const SECRET: &[u8] = b"a secret for tests, 32 bytes long";
/// Longer than anything takes on a busy machine; reached only by a test that fails.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Unix time in seconds.
pub fn now() -> i64 {
    Timestamp::now().unix_ms() / 1000
}

/// What `future` comes to, or a panic that says what was waited for.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(result) => result,
        Err(_) => panic!("waited in vain for {what}"),
    }
}

/// Whether servers keep their logs in PostgreSQL: `CHAT_TEST_DATABASE=postgres`. Without it, in files.
pub fn on_postgres() -> bool {
    match std::env::var("CHAT_TEST_DATABASE").as_deref() {
        Err(_) | Ok("" | "sqlite") => false,
        Ok("postgres") if cfg!(feature = "postgres") => true,
        Ok("postgres") => panic!("CHAT_TEST_DATABASE=postgres: build with --features postgres"),
        Ok(other) => panic!("CHAT_TEST_DATABASE={other}: not one of sqlite, postgres"),
    }
}

/// Whether a test that is about the file itself has nothing to say here; says so aloud.
pub fn file_only(why: &str) -> bool {
    let is_elsewhere = on_postgres();
    if is_elsewhere {
        println!("FILE-ONLY: {why}");
    }
    is_elsewhere
}

/// Where a server that runs in `folder` keeps its log: in the same place whenever it is asked for.
pub fn location(folder: &Path) -> Location {
    #[cfg(feature = "postgres")]
    if let Some(url) = database_of(folder) {
        let url = chat_server::store::postgres::Url::parse(&url).unwrap();
        return Location::Postgres(url);
    }
    Location::File(folder.join("chat.db"))
}

/// The URL of the database that stands for the file in `folder`, which is made when it is first asked for; `None` when
/// it is a file.
pub fn database_of(folder: &Path) -> Option<String> {
    if !on_postgres() {
        return None;
    }
    #[cfg(feature = "postgres")]
    return Some(databases::of(folder));
    #[cfg(not(feature = "postgres"))]
    unreachable!("{} has a database in another build", folder.display())
}

/// A server with a log of its own, on a free port.
pub struct TestServer {
    pub address: SocketAddr,
    pub folder: TempDir,
    server: Option<Server>,
    next_user: std::sync::atomic::AtomicI64,
}

impl TestServer {
    /// Integrated mode with every default.
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// Built-in accounts.
    pub async fn standalone() -> Self {
        Self::with(|config| config.secret = None).await
    }

    /// Integrated mode, but for what `change` changes.
    pub async fn with(change: impl FnOnce(&mut Config)) -> Self {
        Self::in_folder(tempfile::tempdir().unwrap(), change).await
    }

    /// On the log that an earlier server left in `folder`.
    pub async fn in_folder(folder: TempDir, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::at(location(folder.path()));
        config.secret = Some(NamedSecret {
            secret: Secret::new(SECRET),
            name: "JWT_SECRET",
        });
        change(&mut config);
        let server = Server::start(config).await.unwrap();
        Self {
            address: server.address,
            folder,
            server: Some(server),
            next_user: 1.into(),
        }
    }

    /// Stops the server in order; the folder that stands for its log.
    pub async fn stop(mut self) -> TempDir {
        soon("the stop", self.server.take().unwrap().stop()).await;
        self.folder
    }

    /// How a copy stands that leaves this server.
    pub fn copy(&self, follower: &str) -> Arc<SyncState> {
        let states = self.server.as_ref().unwrap().copies.states();
        let state = states.iter().find(|state| state.follower() == follower);
        state.unwrap().clone()
    }

    /// A token of `user`, valid for an hour.
    pub fn token(&self, user: i64, name: &str) -> String {
        token(user, name, 3600)
    }

    /// One connection of a user of its own, for each name.
    pub async fn clients<const N: usize>(&self, names: [&str; N]) -> [Client; N] {
        let mut clients = Vec::new();
        for name in names {
            clients.push(self.client(name).await);
        }
        clients.try_into().ok().unwrap()
    }

    /// One connection of a new user.
    pub async fn client(&self, name: &str) -> Client {
        let user = self
            .next_user
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.connect(user, name).await
    }

    /// One more connection of `user`, which has said `ping`, so that messages may come unasked.
    pub async fn connect(&self, user: i64, name: &str) -> Client {
        let mut client = self.connect_silent(user, name).await;
        client.ping().await;
        client
    }

    /// A connection that has asked nothing yet.
    pub async fn connect_silent(&self, user: i64, name: &str) -> Client {
        let token = self.token(user, name);
        Client::connect(self.address, &format!("/ws?token={token}"), user, name).await
    }

    /// Resolves once everything up to `id` has been queued to everybody who should have it.
    pub async fn relayed(&self, id: i64) {
        let id = Cursor::new(id).unwrap();
        soon("the relay", self.server.as_ref().unwrap().hub().relayed(id)).await;
    }
}

/// A token signed with [`SECRET`].
pub fn token(user: i64, name: &str, ttl_seconds: i64) -> String {
    role_token(user, name, "user", ttl_seconds)
}

/// A token signed with [`SECRET`] of somebody with this role.
pub fn role_token(user: i64, name: &str, role: &str, ttl_seconds: i64) -> String {
    let (user, name) = (UserId::new(user).unwrap(), Username::new(name).unwrap());
    Tokens::new(SECRET, "JWT_SECRET")
        .sign(user, &name, role, now(), ttl_seconds)
        .unwrap()
}
