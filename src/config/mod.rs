//! Everything that can be set, what it means, and why the numbers are what they are.
//!
//! Two stages: [`ServeArgs`] is what was typed, or stood in the environment or in `.env`; [`Config`] is what it means.

mod backend;
mod error;
mod limits;

use std::{
    net::{SocketAddr, ToSocketAddrs as _},
    path::PathBuf,
};

use clap::{Args, ValueEnum};
use hyper::Uri;

pub use backend::{Copies, CopyArgs, Switch, Webhook};
pub use error::StartupError;
pub use limits::{
    FEED_BATCHES, GOOD_SECRET_BYTES, HISTORY_DEFAULT, Limits, NEW_ACCOUNTS_BURST, NEW_ROOMS_BURST,
    RATE_BURST_SECONDS, READ_RETRY, RENAMES_BURST, RENAMES_PER_MINUTE,
    SLOWEST_READER_BYTES_PER_SECOND, SPARE_FILES, WEAK_SECRET_BYTES,
};

use crate::{
    auth::{Demands, Secret},
    clock::Clock,
    store::sqlite::Mode,
};
pub(crate) use backend::http_url;
use error::usage;

/// Where the data lies and which secret signs tokens: what the server and `chat-server token` must agree on.
#[derive(Args, Clone, Debug)]
pub struct StorageArgs {
    /// Database file: chat.db or sqlite:chat.db
    #[arg(
        long,
        env = "DATABASE_URL",
        hide_env_values = true,
        default_value = "chat.db",
        value_name = "FILE"
    )]
    pub db: String,
    /// Your backend, such as http://localhost:8080: it knows the users, and gets a copy of every message
    #[arg(long, env = "BACKEND_URL", hide_env_values = true, value_name = "URL")]
    pub backend_url: Option<String>,
    /// File that holds the secret of your backend's tokens (or set JWT_SECRET in the environment)
    #[arg(long, value_name = "FILE")]
    pub jwt_secret_file: Option<PathBuf>,
    /// File that holds the public key of your backend's tokens, in PEM: RS256, ES256 or EdDSA, instead of a secret
    #[arg(long, value_name = "FILE")]
    pub jwt_public_key: Option<PathBuf>,
    /// What the iss of your backend's tokens must be
    #[arg(long, value_name = "TEXT")]
    pub jwt_issuer: Option<String>,
    /// What the aud of your backend's tokens must be or hold
    #[arg(long, value_name = "TEXT")]
    pub jwt_audience: Option<String>,
}

/// What `chat-server` takes to serve.
#[derive(Args, Clone, Debug)]
pub struct ServeArgs {
    /// Where the data lies and which secret signs tokens.
    #[command(flatten)]
    pub storage: StorageArgs,
    /// Address and port to listen on; port 0 takes a free one
    #[arg(
        long,
        env = "WS_BIND_ADDR",
        default_value = "127.0.0.1:9001",
        value_name = "ADDR:PORT"
    )]
    pub bind: String,
    /// Web origin that may connect besides this machine's own, such as <https://team.example> (repeatable)
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
    /// What is sent to other servers.
    #[command(flatten)]
    pub copies: CopyArgs,
    /// The limits.
    #[command(flatten)]
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

/// What was set, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// The database file.
    pub database: PathBuf,
    /// Where to listen.
    pub bind: SocketAddr,
    /// The backend's URL, without a slash at its end.
    pub backend: Option<Uri>,
    /// Which copies leave this server.
    pub copies: Copies,
    /// The backend's secret.
    pub secret: Option<NamedSecret>,
    /// The backend's public key, in PEM, instead. With neither it is standalone mode.
    pub public_key: Option<Vec<u8>>,
    /// What the backend's tokens must say.
    pub demands: Demands,
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
    /// What time it is; this machine's clock but in tests.
    pub clock: Clock,
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
        let path = match db.split_at_checked("sqlite:".len()) {
            // As a URL, with options that other libraries write behind it.
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("sqlite:") => {
                let rest = rest.strip_prefix("//").unwrap_or(rest);
                rest.split('?').next().unwrap_or_default()
            }
            _ => db,
        };
        if path.starts_with("file:") {
            return usage(
                "--db (DATABASE_URL) takes a path, not a file: URI: use one such as --db chat.db",
            );
        }
        if path.is_empty() || path == ":memory:" {
            return usage("--db (DATABASE_URL) must name a file, such as --db chat.db");
        }
        // Two letters or more before "://": no drive letter, and no file that anybody means.
        if let Some((scheme, _)) = path.split_once("://") {
            return usage(format!(
                "--db (DATABASE_URL) begins with {scheme}://, which is not known: use a file, such as --db chat.db"
            ));
        }
        Ok(path.into())
    }

    /// The backend's secret, if one is set: the file of the flag, else `environment`, the value of JWT_SECRET.
    pub fn secret(
        &self,
        environment: Option<Vec<u8>>,
    ) -> Result<Option<NamedSecret>, StartupError> {
        let named = match (&self.jwt_secret_file, environment) {
            (Some(path), _) => {
                let name = "--jwt-secret-file";
                let secret = Secret::read(path).map_err(|error| {
                    StartupError::Usage(format!("{name} {path:?} cannot be read: {error}; give the path of a file that holds the secret"))
                })?;
                NamedSecret { secret, name }
            }
            (None, Some(bytes)) => NamedSecret {
                secret: Secret::new(bytes),
                name: "JWT_SECRET",
            },
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

    /// What the file of `--jwt-public-key` holds, if one is given.
    pub fn public_key(
        &self,
        secret: Option<&NamedSecret>,
    ) -> Result<Option<Vec<u8>>, StartupError> {
        let Some(path) = &self.jwt_public_key else {
            return Ok(None);
        };
        if let Some(NamedSecret { name, .. }) = secret {
            return usage(format!(
                "{name} and --jwt-public-key are both set, and a token has one kind of signature: leave one of them out"
            ));
        }
        std::fs::read(path).map(Some).map_err(|error| {
            StartupError::Usage(format!(
                "--jwt-public-key {path:?} cannot be read: {error}; give the path of a PEM file"
            ))
        })
    }

    /// What `--backend-url` says, if it is given.
    pub fn backend(&self) -> Result<Option<Uri>, StartupError> {
        let url = self.backend_url.as_deref().filter(|url| !url.is_empty());
        url.map(|url| http_url("--backend-url (BACKEND_URL)", url))
            .transpose()
    }

    /// What the flags demand of tokens.
    pub fn demands(&self) -> Demands {
        Demands {
            issuer: self.jwt_issuer.clone(),
            audience: self.jwt_audience.clone(),
        }
    }
}

impl Config {
    /// A server in standalone mode, with every default, on a free port of this machine.
    pub fn for_file(database: PathBuf) -> Self {
        Self {
            database,
            bind: SocketAddr::from(([127, 0, 0, 1], 0)),
            backend: None,
            copies: Copies::default(),
            secret: None,
            public_key: None,
            demands: Demands::default(),
            allow_origin: Vec::new(),
            public_host: None,
            rooms: Rooms::Open,
            signup: true,
            switch_mode: false,
            clock: Clock::default(),
            limits: Limits::default(),
        }
    }

    /// What the arguments mean; `environment` is the value of JWT_SECRET.
    pub fn resolve(args: ServeArgs, environment: Option<Vec<u8>>) -> Result<Self, StartupError> {
        let bind = address(&args.bind)?;
        let secret = args.storage.secret(environment)?;
        let public_key = args.storage.public_key(secret.as_ref())?;
        let demands = args.storage.demands();
        if demands != Demands::default() && secret.is_none() && public_key.is_none() {
            return usage(
                "--jwt-issuer and --jwt-audience are about a backend's tokens: set JWT_SECRET or --jwt-public-key too, or leave them out",
            );
        }
        let secret_bytes = secret
            .as_ref()
            .map_or(usize::MAX, |named| named.secret.as_bytes().len());
        if secret_bytes < WEAK_SECRET_BYTES && !bind.ip().is_loopback() && !args.allow_weak_secret {
            return usage(format!(
                "JWT_SECRET has {secret_bytes} bytes, which can be guessed, and --bind {bind} is open to the network: use a longer \
                 secret, --bind 127.0.0.1:9001, or --allow-weak-secret"
            ));
        }
        let config = Self {
            database: args.storage.database()?,
            bind,
            backend: args.storage.backend()?,
            copies: Copies::default(),
            secret,
            public_key,
            demands,
            allow_origin: args
                .allow_origin
                .iter()
                .map(|origin| normal_origin(origin))
                .collect::<Result<_, _>>()?,
            public_host: args.public_url.as_deref().map(public_host).transpose()?,
            rooms: args.rooms,
            signup: !args.no_signup,
            switch_mode: args.switch_mode,
            clock: Clock::default(),
            limits: args.limits,
        };
        config.limits.check()?;
        Ok(config)
    }

    /// Who hands out user ids.
    pub fn mode(&self) -> Mode {
        if self.backend.is_some() || self.secret.is_some() || self.public_key.is_some() {
            Mode::Integrated
        } else {
            Mode::Standalone
        }
    }
}

/// What `--bind` means; a name in it is looked up.
pub(crate) fn address(bind: &str) -> Result<SocketAddr, StartupError> {
    let found = bind.to_socket_addrs().ok();
    match found.and_then(|mut found| found.next()) {
        Some(address) => Ok(address),
        None => usage(format!(
            "--bind (WS_BIND_ADDR) {bind:?} is no address with a port: use one such as 127.0.0.1:9001"
        )),
    }
}

/// As a browser writes it: lower case, without a path.
pub(crate) fn normal_origin(origin: &str) -> Result<String, StartupError> {
    let normal = origin.trim_end_matches('/').to_ascii_lowercase();
    let has_scheme = normal
        .split_once("://")
        .is_some_and(|(scheme, host)| !scheme.is_empty() && !host.contains('/'));
    if normal == "null" || has_scheme {
        return Ok(normal);
    }
    usage(format!(
        "--allow-origin {origin:?} is no origin: use one such as https://team.example, or null"
    ))
}

/// The host of `--public-url`, in lower case.
pub(crate) fn public_host(url: &str) -> Result<String, StartupError> {
    let parsed = url
        .parse::<axum::http::Uri>()
        .ok()
        .filter(|url| matches!(url.scheme_str(), Some("http" | "https")));
    match parsed.as_ref().and_then(axum::http::Uri::host) {
        Some(host) => Ok(host.trim_matches(['[', ']']).to_ascii_lowercase()),
        None => usage(format!(
            "--public-url {url:?} is no URL: use one such as https://chat.example.org"
        )),
    }
}
