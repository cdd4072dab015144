//! What was set, each part by itself, so that a fault in one does not hide those in others.

use std::{net::SocketAddr, path::PathBuf};

use hyper::Uri;
use tokio::{task::spawn_blocking, time::timeout};

use super::{PATIENCE, report::Finding};
use crate::{
    auth::Tokens,
    commands::Surroundings,
    config::{Config, NamedSecret, ServeArgs, StartupError, address, public_host},
    outbound::is_here,
    server::backends_tokens,
    store::sqlite::Mode,
};

/// The settings, as far as they can be understood.
pub(super) struct Setup {
    pub(super) args: ServeArgs,
    /// A `.env` file was read.
    pub(super) dotenv: bool,
    /// The token to judge.
    pub(super) token: Option<String>,
    pub(super) address: Result<SocketAddr, StartupError>,
    pub(super) database: Result<PathBuf, StartupError>,
    pub(super) secret: Result<Option<NamedSecret>, StartupError>,
    /// By which tokens are judged here, if by any key that was set.
    pub(super) tokens: Result<Option<Tokens>, StartupError>,
    pub(super) backend: Result<Option<Uri>, StartupError>,
    /// Where the server is reached from elsewhere, and the host in it.
    pub(super) public: Result<Option<Public>, StartupError>,
    /// What a start would end with.
    whole: Option<StartupError>,
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
        let address = looked_up(args.bind.clone()).await;
        let secret = args.storage.secret(surroundings.jwt_secret.clone());
        let key = match &secret {
            Ok(secret) => args
                .storage
                .public_key(secret.as_ref())
                .map(|pem| (secret.as_ref(), pem)),
            // Told with the secret.
            Err(_) => Ok((None, None)),
        };
        let tokens = key.and_then(|(secret, pem)| {
            backends_tokens(secret, pem.as_deref(), args.storage.demands())
        });
        let known = address
            .as_ref()
            .map_or("127.0.0.1:0".to_owned(), ToString::to_string);
        let same = ServeArgs {
            bind: known,
            ..args.clone()
        };
        Self {
            dotenv: surroundings.dotenv,
            token: token.map(|token| {
                let token = token.trim();
                token.strip_prefix("Bearer ").unwrap_or(token).to_owned()
            }),
            address,
            database: args.storage.database(),
            secret,
            tokens,
            backend: args.storage.backend(),
            public: args.public_url.as_deref().map(public).transpose(),
            whole: Config::resolve(same, surroundings.jwt_secret).err(),
            args,
        }
    }

    /// Who would hand out user ids.
    pub(super) fn mode(&self) -> Mode {
        match (&self.secret, &self.tokens, &self.backend) {
            (Ok(None), Ok(None), Ok(None)) => Mode::Standalone,
            _ => Mode::Integrated,
        }
    }

    /// The backend, when it is what judges tokens.
    pub(super) fn judging_backend(&self) -> Option<&Uri> {
        match (&self.secret, &self.tokens, &self.backend) {
            (Ok(None), Ok(None), Ok(Some(backend))) => Some(backend),
            _ => None,
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
        let Some(fault) = &self.whole else {
            return Vec::new();
        };
        let text = fault.to_string();
        let origins = self.args.allow_origin.iter();
        let origins = origins.filter_map(|origin| crate::config::normal_origin(origin).err());
        let told = [
            self.address.as_ref().err(),
            self.database.as_ref().err(),
            self.secret.as_ref().err(),
            self.tokens.as_ref().err(),
            self.backend.as_ref().err(),
            self.public.as_ref().err(),
        ];
        let is_told = told
            .into_iter()
            .flatten()
            .any(|told| told.to_string() == text)
            || origins.into_iter().any(|told| told.to_string() == text);
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

fn public(url: &str) -> Result<Public, StartupError> {
    let host = public_host(url)?;
    let url = crate::config::http_url("--public-url", url)?;
    Ok(Public { url, host })
}
