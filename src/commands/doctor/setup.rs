//! What was set, each part by itself, so that a fault in one does not hide those in others.

use std::{net::SocketAddr, path::PathBuf};

use hyper::Uri;
use tokio::{task::spawn_blocking, time::timeout};

use super::{PATIENCE, report::Finding};
use crate::{
    auth::PublicAlgorithm,
    authority::Authority,
    commands::Surroundings,
    config::{
        Config, NamedSecret, ServeArgs, StartupError, address, host_of, http_url, normal_origin,
        public_url,
    },
    outbound::is_here,
    server::backends_authority,
    store::{Location, Mode},
};

/// The settings, as far as they can be understood.
pub(super) struct Setup {
    pub(super) args: ServeArgs,
    /// A `.env` file was read.
    pub(super) dotenv: bool,
    /// The token to judge.
    pub(super) token: Option<String>,
    pub(super) address: Result<SocketAddr, StartupError>,
    pub(super) database: Result<Location, StartupError>,
    pub(super) secret: Result<Option<NamedSecret>, StartupError>,
    pub(super) jwks: Result<Option<(Uri, PublicAlgorithm)>, StartupError>,
    pub(super) backend: Result<Option<Uri>, StartupError>,
    /// Who judges the backend's tokens.
    pub(super) authority: Result<Option<Authority>, StartupError>,
    /// Where the server is reached from elsewhere, and the host in it.
    pub(super) public: Result<Option<Public>, StartupError>,
    /// What a start would begin with, or end with.
    pub(super) whole: Result<Config, StartupError>,
}

/// `--public-url`.
pub(super) struct Public {
    pub(super) url: Uri,
    pub(super) host: String,
}

impl Setup {
    pub(super) async fn of(
        args: ServeArgs,
        surroundings: Surroundings,
        token: Option<String>,
    ) -> Self {
        let Surroundings {
            jwt_secret,
            webhook_secret,
            dotenv,
            variable: _,
        } = surroundings;
        let address = looked_up(args.bind.clone()).await;
        // A name is not looked up twice.
        let bind = address
            .as_ref()
            .map_or("127.0.0.1:0".to_owned(), ToString::to_string);
        let same = ServeArgs {
            bind,
            ..args.clone()
        };
        let storage = &args.storage;
        let secret = storage.secret(jwt_secret.clone());
        let has_secret = !matches!(secret, Ok(None));
        let jwks = storage.jwks(has_secret || storage.jwt_public_key.is_some());
        let token = token.map(|token| {
            let token = token.trim();
            token.strip_prefix("Bearer ").unwrap_or(token).to_owned()
        });
        Self {
            dotenv,
            token,
            address,
            database: storage.database(),
            backend: storage.backend(),
            authority: authority(&args, &secret, &jwks),
            secret,
            jwks,
            public: args.public_url.as_deref().map(public).transpose(),
            whole: Config::resolve(same, jwt_secret, webhook_secret),
            args,
        }
    }

    /// Who would hand out user ids.
    pub(super) fn mode(&self) -> Mode {
        match (&self.secret, &self.jwks, &self.backend, &self.authority) {
            (Ok(None), Ok(None), Ok(None), Ok(None)) => Mode::Standalone,
            _ => Mode::Integrated,
        }
    }

    /// Whether others than this machine's users reach the server.
    pub(super) fn is_exposed(&self) -> bool {
        let beyond = |address: &SocketAddr| !address.ip().is_loopback();
        let is_public =
            |public: &Option<Public>| public.as_ref().is_some_and(|public| !is_here(&public.url));
        self.address.as_ref().is_ok_and(beyond) || self.public.as_ref().is_ok_and(is_public)
    }

    /// What keeps the server from starting and is told nowhere else.
    pub(super) fn other_faults(&self) -> Vec<Finding> {
        let Err(fault) = &self.whole else {
            return Vec::new();
        };
        let text = fault.to_string();
        let told = [
            self.address.as_ref().err(),
            self.database.as_ref().err(),
            self.secret.as_ref().err(),
            self.jwks.as_ref().err(),
            self.backend.as_ref().err(),
            self.authority.as_ref().err(),
            self.public.as_ref().err(),
        ];
        let webhook = self.args.copies.webhook.iter();
        let webhook = webhook.filter_map(|url| http_url("--webhook", url).err());
        let origins = self.args.allow_origin.iter();
        let origins = origins.filter_map(|origin| normal_origin(origin).err());
        let is_told = told
            .into_iter()
            .flatten()
            .any(|told| told.to_string() == text)
            || webhook.chain(origins).any(|told| told.to_string() == text);
        if is_told {
            Vec::new()
        } else {
            vec![Finding::error("settings", fault)]
        }
    }
}

/// The address in `--bind`; a name in it may wait for a name server.
async fn looked_up(bind: String) -> Result<SocketAddr, StartupError> {
    let late = format!(
        "--bind (WS_BIND_ADDR) {bind:?} cannot be looked up in {} s: use an IP address, such as 127.0.0.1:9001",
        PATIENCE.as_secs()
    );
    match timeout(PATIENCE, spawn_blocking(move || address(&bind))).await {
        Ok(Ok(found)) => found,
        _ => Err(StartupError::Usage(late)),
    }
}

/// As the server makes it, though it waits no longer than the doctor does.
fn authority(
    args: &ServeArgs,
    secret: &Result<Option<NamedSecret>, StartupError>,
    jwks: &Result<Option<(Uri, PublicAlgorithm)>, StartupError>,
) -> Result<Option<Authority>, StartupError> {
    // What is wrong with those is told of them.
    let (Ok(secret), Ok(jwks), Ok(backend)) = (secret, jwks, args.storage.backend()) else {
        return Ok(None);
    };
    let public_key = args.storage.public_key(secret.as_ref())?;
    let mut config = Config {
        secret: secret.clone(),
        jwks: jwks.clone(),
        demands: args.storage.demands(),
        limits: args.limits.clone(),
        public_key,
        backend,
        ..Config::for_file(PathBuf::new())
    };
    let patience = u64::try_from(PATIENCE.as_millis()).unwrap_or(u64::MAX);
    config.limits.auth_timeout_ms = config.limits.auth_timeout_ms.min(patience);
    backends_authority(&config)
}

fn public(url: &str) -> Result<Public, StartupError> {
    let host = host_of(&public_url(url)?).unwrap_or_default();
    // Credentials have no place in it either.
    let url = http_url("--public-url", url.trim_end_matches('/'))?;
    Ok(Public { url, host })
}
