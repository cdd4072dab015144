//! Everything that can be set, what it means, and why the numbers are what they are.
//!
//! Two stages: [`ServeArgs`] is what was typed, or stood in the environment or in `.env`; [`Config`] is what it means.

mod backend;
mod error;
mod limits;
mod storage;

use std::{
    net::{SocketAddr, ToSocketAddrs as _},
    path::PathBuf,
    time::Duration,
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
    auth::{Demands, PublicAlgorithm},
    clock::Clock,
    outbound,
    store::{Location, Mode},
};
pub(crate) use backend::http_url;
use error::usage;
pub use storage::{NamedSecret, StorageArgs};

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
    /// Serve a database that was made in the other mode (with a backend's users, or with built-in accounts)
    #[arg(long)]
    pub switch_mode: bool,
    /// How long the start waits for a database server that does not answer yet: 30s, 2m; 0 tries once
    #[arg(long, default_value = "30s", value_name = "TIME", value_parser = wait, hide_short_help = true, hide = cfg!(not(feature = "postgres")))]
    pub db_wait: Duration,
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
    /// Where the log lies.
    pub database: Location,
    /// See [`ServeArgs::db_wait`].
    pub database_wait: Duration,
    /// Where to listen.
    pub bind: SocketAddr,
    /// The backend's URL, without a slash at its end.
    pub backend: Option<Uri>,
    /// Which copies leave this server.
    pub copies: Copies,
    /// The backend's secret.
    pub secret: Option<NamedSecret>,
    /// The backend's public key, in PEM, instead.
    pub public_key: Option<Vec<u8>>,
    /// Where the backend publishes its keys, and what they sign with, instead.
    pub jwks: Option<(Uri, PublicAlgorithm)>,
    /// What the backend's tokens must say.
    pub demands: Demands,
    /// See [`ServeArgs::allow_origin`].
    pub allow_origin: Vec<String>,
    /// Host of [`ServeArgs::public_url`], in lower case.
    pub public_host: Option<String>,
    /// Its port, given or its scheme's.
    pub public_port: Option<u16>,
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

impl Config {
    /// A server in standalone mode, with every default, on a free port of this machine.
    pub fn for_file(database: PathBuf) -> Self {
        Self::at(Location::File(database))
    }

    /// The same, wherever the log lies.
    pub fn at(database: Location) -> Self {
        Self {
            database,
            database_wait: Duration::ZERO,
            bind: SocketAddr::from(([127, 0, 0, 1], 0)),
            backend: None,
            copies: Copies::default(),
            secret: None,
            public_key: None,
            jwks: None,
            demands: Demands::default(),
            allow_origin: Vec::new(),
            public_host: None,
            public_port: None,
            rooms: Rooms::Open,
            signup: true,
            switch_mode: false,
            clock: Clock::default(),
            limits: Limits::default(),
        }
    }

    /// What the arguments mean; `environment` is the value of JWT_SECRET, `webhook_secret` that of WEBHOOK_SECRET.
    pub fn resolve(
        args: ServeArgs,
        environment: Option<Vec<u8>>,
        webhook_secret: Option<Vec<u8>>,
    ) -> Result<Self, StartupError> {
        let bind = address(&args.bind)?;
        let stored = Self::of_storage(&args.storage, environment)?;
        let secret_bytes = stored
            .secret
            .as_ref()
            .map_or(usize::MAX, |named| named.secret.as_bytes().len());
        if secret_bytes < WEAK_SECRET_BYTES && !bind.ip().is_loopback() && !args.allow_weak_secret {
            return usage(format!(
                "JWT_SECRET has {secret_bytes} bytes, which can be guessed, and --bind {bind} is open to the network: use a longer \
                 secret, --bind 127.0.0.1:9001, or --allow-weak-secret"
            ));
        }
        let public_url = args.public_url.as_deref().map(public_url).transpose()?;
        let config = Self {
            bind,
            copies: args
                .copies
                .resolve(stored.backend.is_some(), webhook_secret)?,
            allow_origin: args
                .allow_origin
                .iter()
                .map(|origin| normal_origin(origin))
                .collect::<Result<_, _>>()?,
            public_host: public_url.as_ref().and_then(host_of),
            public_port: public_url.as_ref().map(outbound::port),
            rooms: args.rooms,
            signup: !args.no_signup,
            switch_mode: args.switch_mode,
            database_wait: args.db_wait,
            limits: args.limits,
            ..stored
        };
        config.limits.check()?;
        Ok(config)
    }

    /// What the arguments about data and tokens mean, with every other default; `environment` is the value of JWT_SECRET.
    pub fn of_storage(
        args: &StorageArgs,
        environment: Option<Vec<u8>>,
    ) -> Result<Self, StartupError> {
        let secret = args.secret(environment)?;
        let public_key = args.public_key(secret.as_ref())?;
        let jwks = args.jwks(secret.is_some() || public_key.is_some())?;
        let demands = args.demands();
        let is_verified_here = secret.is_some() || public_key.is_some() || jwks.is_some();
        if demands != Demands::default() && !is_verified_here {
            return usage(
                "--jwt-issuer and --jwt-audience are about tokens that are verified here: set JWT_SECRET, --jwt-public-key or \
                 --jwks-url too, or leave them out",
            );
        }
        Ok(Self {
            backend: args.backend()?,
            secret,
            public_key,
            jwks,
            demands,
            ..Self::at(args.database()?)
        })
    }

    /// Who hands out user ids.
    pub fn mode(&self) -> Mode {
        let has_key = self.secret.is_some() || self.public_key.is_some() || self.jwks.is_some();
        if has_key || self.backend.is_some() {
            Mode::Integrated
        } else {
            Mode::Standalone
        }
    }
}

/// The longest that a start can wait: as long as anybody would.
const WAIT_MAX: Duration = Duration::from_secs(86_400);

/// `30`, `30s` or `2m`.
fn wait(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(char::is_alphabetic);
    let number = digits.parse::<u64>().ok();
    let seconds = match &text[digits.len()..] {
        "" | "s" => number,
        "m" => number.and_then(|minutes| minutes.checked_mul(60)),
        "h" => number.and_then(|hours| hours.checked_mul(3600)),
        _ => None,
    };
    let wait = seconds.map(Duration::from_secs);
    wait.filter(|wait| *wait <= WAIT_MAX)
        .ok_or_else(|| "use a time such as 30s or 2m, at most 24h; 0 tries once".to_owned())
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

/// What `--public-url` says.
pub(crate) fn public_url(url: &str) -> Result<Uri, StartupError> {
    let parsed = url
        .parse::<Uri>()
        .ok()
        .filter(|url| matches!(url.scheme_str(), Some("http" | "https")));
    match parsed.filter(|url| url.host().is_some()) {
        Some(url) => Ok(url),
        None => usage(format!(
            "--public-url {url:?} is no URL: use one such as https://chat.example.org"
        )),
    }
}

/// As origins write it: without the brackets of an IPv6 address.
pub(crate) fn host_of(url: &Uri) -> Option<String> {
    let host = url.host()?;
    Some(host.trim_matches(['[', ']']).to_ascii_lowercase())
}
