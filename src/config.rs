//! Everything that can be set, what it means, and why the numbers are what they are.
//!
//! Two stages: [`ServeArgs`] is what was typed, or stood in the environment or in `.env`; [`Config`] is what it means.

use std::{
    net::{SocketAddr, ToSocketAddrs as _},
    path::PathBuf,
};

use clap::{Args, Parser, ValueEnum};

use crate::{
    auth::Secret,
    store::sqlite::{Mode, OpenError},
};

/// Where the data lies and which secret signs tokens: what the server and `chat-server token` must agree on.
#[derive(Args, Clone, Debug)]
pub struct StorageArgs {
    /// Database file: chat.db or sqlite:chat.db
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, default_value = "chat.db", value_name = "FILE")]
    pub db: String,
    /// File that holds the secret of your backend's tokens (or set JWT_SECRET in the environment)
    #[arg(long, value_name = "FILE")]
    pub jwt_secret_file: Option<PathBuf>,
}

/// What `chat-server` takes to serve.
#[derive(Args, Clone, Debug)]
pub struct ServeArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub storage: StorageArgs,
    /// Address and port to listen on; port 0 takes a free one
    #[arg(long, env = "WS_BIND_ADDR", default_value = "127.0.0.1:9001", value_name = "ADDR:PORT")]
    pub bind: String,
    /// Web origin that may connect besides this machine's own, such as https://team.example (repeatable)
    #[arg(long, value_name = "ORIGIN")]
    pub allow_origin: Vec<String>,
    /// URL under which others reach this server, when it stands behind a proxy
    #[arg(long, value_name = "URL")]
    pub public_url: Option<String>,
    /// Rooms come into being on demand, or only those that exist can be used
    #[arg(long, value_enum, default_value_t = Rooms::Open)]
    pub rooms: Rooms,
    /// Close register and guest; log in stays
    #[arg(long)]
    pub no_signup: bool,
    /// Serve a file that was made in the other mode (with a backend's users, or with built-in accounts)
    #[arg(long)]
    pub switch_mode: bool,
    /// Listen beyond this machine although JWT_SECRET has fewer than 16 bytes
    #[arg(long)]
    pub allow_weak_secret: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub limits: Limits,
}

/// Which rooms can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Rooms {
    /// Any: a room exists from its first join.
    Open,
    /// Those that exist.
    Listed,
}

/// The limits, each with its reason. Reaching one is answered with a code, logged and counted.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Limits (--help says why)")]
pub struct Limits {
    /// Messages per second and user, with bursts of four times that; 0 is off. A person types one
    #[arg(long, default_value_t = 50, value_name = "N")]
    pub rate_limit: u32,
    /// Open connections; beyond, 503. At about 20 KB each, 10,000 take 200 MB
    #[arg(long, default_value_t = 10_000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_connections: u32,
    /// Rooms in all; one takes about 200 bytes on disk, so 100,000 take 20 MB
    #[arg(long, default_value_t = 100_000, value_name = "N")]
    pub max_rooms: u64,
    /// Rooms made by one user in a minute, with bursts of 500: what one connection can hold, all new
    #[arg(long, default_value_t = 60, value_name = "N", hide_short_help = true)]
    pub new_rooms_per_minute: u32,
    /// Rooms that one connection can join
    #[arg(long, default_value_t = 500, value_name = "N", hide_short_help = true)]
    pub rooms_per_connection: u32,
    /// Bytes of one message's text; four screens of it
    #[arg(long, default_value_t = 16 * 1024, value_name = "BYTES", hide_short_help = true, value_parser = clap::value_parser!(u32).range(1..))]
    pub content_bytes: u32,
    /// Bytes of one frame: a text of which every third byte is escaped, and its envelope
    #[arg(long, default_value_t = 64 * 1024, value_name = "BYTES", hide_short_help = true, value_parser = clap::value_parser!(u32).range(1024..))]
    pub frame_bytes: u32,
    /// Messages in one history
    #[arg(long, default_value_t = 500, value_name = "N", hide_short_help = true, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub history_max: u32,
    /// Bytes of one history: half of what may wait for a connection
    #[arg(long, default_value_t = 512 * 1024, value_name = "BYTES", hide_short_help = true)]
    pub history_bytes: u32,
    /// Bytes that wait for one slow connection before it is closed: 1 MiB is 3,000 messages of a line
    #[arg(long, default_value_t = 1024 * 1024, value_name = "BYTES", hide_short_help = true, value_parser = clap::value_parser!(u32).range(1024..))]
    pub outbox_bytes: u32,
    /// Seconds in which a connection must take something of what waits for it
    #[arg(long, default_value_t = 30, value_name = "SECONDS", hide_short_help = true, value_parser = clap::value_parser!(u64).range(1..))]
    pub stall_seconds: u64,
    /// Seconds between pings; proxies cut what is idle for 60
    #[arg(long, default_value_t = 25, value_name = "SECONDS", hide_short_help = true, value_parser = clap::value_parser!(u64).range(1..))]
    pub ping_seconds: u64,
    /// Seconds of silence after which a connection is dead: two pings and an answer's time
    #[arg(long, default_value_t = 60, value_name = "SECONDS", hide_short_help = true, value_parser = clap::value_parser!(u64).range(1..))]
    pub silence_seconds: u64,
    /// Milliseconds for which nothing is pushed to a connection that has asked nothing yet
    #[arg(long, default_value_t = 1000, value_name = "MS", hide_short_help = true)]
    pub hold_ms: u64,
    /// Sends of one connection on their way to the disk at once: enough to fill half a commit
    #[arg(long, default_value_t = 128, value_name = "N", hide_short_help = true, value_parser = clap::value_parser!(u32).range(1..))]
    pub in_flight: u32,
    /// Writes in line for the disk; four commits' worth
    #[arg(long, default_value_t = 1024, value_name = "N", hide_short_help = true, value_parser = clap::value_parser!(u32).range(1..))]
    pub write_queue: u32,
    /// Writes in one commit; a sync costs as much as about 300 inserts
    #[arg(long, default_value_t = 256, value_name = "N", hide_short_help = true, value_parser = clap::value_parser!(u32).range(1..))]
    pub batch_max: u32,
    /// Reads of the database at the same time
    #[arg(long, default_value_t = 4, value_name = "N", hide_short_help = true, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub readers: u32,
    /// Seconds that a request waits for a place in line before it is refused as unavailable
    #[arg(long, default_value_t = 5, value_name = "SECONDS", hide_short_help = true)]
    pub patience_seconds: u64,
    /// Bytes of each connection's read buffer; 10,000 idle connections make 40 MB of it
    #[arg(long, default_value_t = 4096, value_name = "BYTES", hide_short_help = true, value_parser = clap::value_parser!(u32).range(256..))]
    pub read_buffer_bytes: u32,
    /// Seconds in which the head of an HTTP request must arrive
    #[arg(long, default_value_t = 10, value_name = "SECONDS", hide_short_help = true, value_parser = clap::value_parser!(u64).range(1..))]
    pub header_seconds: u64,
    /// Seconds that an HTTP request may take
    #[arg(long, default_value_t = 30, value_name = "SECONDS", hide_short_help = true, value_parser = clap::value_parser!(u64).range(1..))]
    pub request_seconds: u64,
    /// Seconds for which a closed connection's last words are waited for
    #[arg(long, default_value_t = 2, value_name = "SECONDS", hide_short_help = true)]
    pub linger_seconds: u64,
    /// Seconds that open connections get when the server stops
    #[arg(long, default_value_t = 5, value_name = "SECONDS", hide_short_help = true)]
    pub stop_seconds: u64,
    /// Passwords hashed at once, at 19 MiB each
    #[arg(long, default_value_t = 2, value_name = "N", hide_short_help = true, value_parser = clap::value_parser!(u32).range(1..))]
    pub hashing_at_once: u32,
    /// Passwords that wait to be hashed; at 20 ms each the last waits two seconds or so
    #[arg(long, default_value_t = 128, value_name = "N", hide_short_help = true)]
    pub hashing_in_line: u32,
    /// Days that a built-in account's token lasts
    #[arg(long, default_value_t = 30, value_name = "DAYS", hide_short_help = true, value_parser = clap::value_parser!(u32).range(1..=3650))]
    pub token_days: u32,
}

/// Bursts are this many seconds of `--rate-limit`.
pub const RATE_BURST_SECONDS: u32 = 4;
/// New rooms that one user may make at once.
pub const NEW_ROOMS_BURST: u32 = 500;
/// Messages in a history when the request names no limit.
pub const HISTORY_DEFAULT: u32 = 50;
/// Commits that the relay may be behind the writer.
pub const FEED_BATCHES: usize = 64;
/// Files that the process needs besides its connections: database, log, listener, readers and some to spare.
pub const SPARE_FILES: u32 = 128;
/// Below this many bytes a secret is warned of (RFC 7518 section 3.2 wants as many as the hash has: 32).
pub const GOOD_SECRET_BYTES: usize = 32;
/// Below this many bytes a secret can be guessed, and listening beyond this machine needs `--allow-weak-secret`.
pub const WEAK_SECRET_BYTES: usize = 16;

impl Default for Limits {
    fn default() -> Self {
        #[derive(Parser)]
        struct Nothing {
            #[command(flatten)]
            limits: Limits,
        }
        Nothing::parse_from(["chat-server"]).limits
    }
}

/// What was set, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// The database file.
    pub database: PathBuf,
    /// Where to listen.
    pub bind: SocketAddr,
    /// The backend's secret; `None` for standalone mode.
    pub secret: Option<NamedSecret>,
    /// See [`ServeArgs::allow_origin`].
    pub allow_origin: Vec<String>,
    /// Host of [`ServeArgs::public_url`], in lower case.
    pub public_host: Option<String>,
    /// See [`ServeArgs::rooms`].
    pub rooms: Rooms,
    /// Register and guest are open.
    pub signup: bool,
    /// See [`ServeArgs::switch_mode`].
    pub switch_mode: bool,
    /// The limits.
    pub limits: Limits,
}

/// A secret and where it came from, for error messages.
#[derive(Clone, Debug)]
pub struct NamedSecret {
    /// The bytes.
    pub secret: Secret,
    /// `JWT_SECRET` or `--jwt-secret-file`.
    pub name: &'static str,
}

/// Why the server does not start, for the operator: each names the flag or variable, and the fix.
#[derive(Debug, thiserror::Error)]
pub enum StartupError {
    /// A value that cannot be.
    #[error("{0}")]
    Usage(String),
    /// The database.
    #[error(transparent)]
    Database(#[from] OpenError),
    /// The port.
    #[error("--bind {address}: {source}; {fix}")]
    Bind {
        /// What was asked for.
        address: SocketAddr,
        /// The system's word.
        source: std::io::Error,
        /// What to do.
        fix: &'static str,
    },
    /// The secret of standalone mode.
    #[error("the secret beside --db, {path:?}: {source}")]
    Secret {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: std::io::Error,
    },
    /// Something that the system refused.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// The system's word.
        source: std::io::Error,
    },
    /// The log could be opened and not be read.
    #[error("the database cannot be read: {0}")]
    Unreadable(#[from] crate::store::StoreError),
}

impl StartupError {
    /// 2 for what a change of the command line mends, 1 for the rest.
    pub fn exit_code(&self) -> u8 {
        if matches!(self, Self::Usage(_)) { 2 } else { 1 }
    }
}

fn usage<T>(text: impl Into<String>) -> Result<T, StartupError> {
    Err(StartupError::Usage(text.into()))
}

impl StorageArgs {
    /// The file that `--db` means.
    pub fn database(&self) -> Result<PathBuf, StartupError> {
        let db = self.db.as_str();
        if db.starts_with("postgres://") || db.starts_with("postgresql://") {
            return usage(
                "--db (DATABASE_URL) names a PostgreSQL database, and this chat-server was built without it: build it with \
                 --features postgres, or start with --db chat.db to keep everything in a file",
            );
        }
        let path = db.strip_prefix("sqlite://").or_else(|| db.strip_prefix("sqlite:")).unwrap_or(db);
        if path.is_empty() || path == ":memory:" {
            return usage("--db (DATABASE_URL) must name a file, such as --db chat.db");
        }
        // Two letters or more before "://": no drive letter, and no file that anybody means.
        if let Some((scheme, _)) = path.split_once("://") {
            return usage(format!("--db (DATABASE_URL) begins with {scheme}://, which is not known: use a file, such as --db chat.db"));
        }
        Ok(path.into())
    }

    /// The backend's secret, if one is set: the file of the flag, else `environment`, the value of JWT_SECRET.
    pub fn secret(&self, environment: Option<Vec<u8>>) -> Result<Option<NamedSecret>, StartupError> {
        let named = match (&self.jwt_secret_file, environment) {
            (Some(path), _) => {
                let name = "--jwt-secret-file";
                let secret = Secret::read(path).map_err(|error| {
                    StartupError::Usage(format!("{name} {path:?} cannot be read: {error}; give the path of a file that holds the secret"))
                })?;
                NamedSecret { secret, name }
            }
            (None, Some(bytes)) => NamedSecret { secret: Secret::new(bytes), name: "JWT_SECRET" },
            (None, None) => return Ok(None),
        };
        if named.secret.as_bytes().is_empty() {
            let name = named.name;
            return usage(format!(
                "{name} is empty, so anybody could sign tokens: set it to your backend's secret, or unset it to use the built-in accounts"
            ));
        }
        Ok(Some(named))
    }
}

impl Config {
    /// A server in standalone mode, with every default, on a free port of this machine.
    pub fn for_file(database: PathBuf) -> Self {
        Self {
            database,
            bind: SocketAddr::from(([127, 0, 0, 1], 0)),
            secret: None,
            allow_origin: Vec::new(),
            public_host: None,
            rooms: Rooms::Open,
            signup: true,
            switch_mode: false,
            limits: Limits::default(),
        }
    }

    /// What the arguments mean; `environment` is the value of JWT_SECRET.
    pub fn resolve(args: ServeArgs, environment: Option<Vec<u8>>) -> Result<Self, StartupError> {
        let bind = args.bind.to_socket_addrs().ok().and_then(|mut found| found.next());
        let Some(bind) = bind else {
            let shown = &args.bind;
            return usage(format!("--bind (WS_BIND_ADDR) {shown:?} is no address with a port: use one such as 127.0.0.1:9001"));
        };
        let secret = args.storage.secret(environment)?;
        let secret_bytes = secret.as_ref().map_or(usize::MAX, |named| named.secret.as_bytes().len());
        if secret_bytes < WEAK_SECRET_BYTES && !bind.ip().is_loopback() && !args.allow_weak_secret {
            return usage(format!(
                "JWT_SECRET has {secret_bytes} bytes, which can be guessed, and --bind {bind} is open to the network: use a longer \
                 secret, --bind 127.0.0.1:9001, or --allow-weak-secret"
            ));
        }
        let config = Self {
            database: args.storage.database()?,
            bind,
            secret,
            allow_origin: args.allow_origin.iter().map(|origin| normal_origin(origin)).collect::<Result<_, _>>()?,
            public_host: args.public_url.as_deref().map(public_host).transpose()?,
            rooms: args.rooms,
            signup: !args.no_signup,
            switch_mode: args.switch_mode,
            limits: args.limits,
        };
        config.limits.check()?;
        Ok(config)
    }

    /// Who hands out user ids.
    pub fn mode(&self) -> Mode {
        if self.secret.is_some() { Mode::Integrated } else { Mode::Standalone }
    }
}

impl Limits {
    fn check(&self) -> Result<(), StartupError> {
        if self.content_bytes >= self.frame_bytes {
            return usage("--content-bytes must be smaller than --frame-bytes, since a content travels in a frame");
        }
        if self.silence_seconds <= self.ping_seconds {
            return usage("--silence-seconds must be larger than --ping-seconds, or every quiet connection is closed");
        }
        if self.history_bytes > self.outbox_bytes {
            return usage("--history-bytes must not be larger than --outbox-bytes, since a history waits there");
        }
        Ok(())
    }
}

/// As a browser writes it: lower case, without a path.
fn normal_origin(origin: &str) -> Result<String, StartupError> {
    let normal = origin.trim_end_matches('/').to_ascii_lowercase();
    let has_scheme = normal.split_once("://").is_some_and(|(scheme, host)| !scheme.is_empty() && !host.contains('/'));
    if normal == "null" || has_scheme {
        return Ok(normal);
    }
    usage(format!("--allow-origin {origin:?} is no origin: use one such as https://team.example, or null"))
}

fn public_host(url: &str) -> Result<String, StartupError> {
    let parsed = url.parse::<axum::http::Uri>().ok().filter(|url| matches!(url.scheme_str(), Some("http" | "https")));
    match parsed.as_ref().and_then(axum::http::Uri::host) {
        Some(host) => Ok(host.trim_matches(['[', ']']).to_ascii_lowercase()),
        None => usage(format!("--public-url {url:?} is no URL: use one such as https://chat.example.org")),
    }
}
