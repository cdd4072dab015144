//! Where the data lies and whose tokens are taken: what all commands must agree on.

use std::path::PathBuf;

use clap::Args;
use hyper::Uri;

use super::{StartupError, backend::http_url, error::usage};
use crate::{
    auth::{Demands, PublicAlgorithm, Secret},
    store::Location,
};

const DATABASE: &str = if cfg!(feature = "postgres") {
    "FILE|URL"
} else {
    "FILE"
};

/// Where the data lies and which secret signs tokens: what the server and `chat-server token` must agree on.
#[derive(Args, Clone, Debug)]
pub struct StorageArgs {
    #[cfg_attr(
        feature = "postgres",
        doc = "Database: a file, chat.db or sqlite:chat.db, or PostgreSQL: postgres://user:password@host/database"
    )]
    #[cfg_attr(
        not(feature = "postgres"),
        doc = "Database file: chat.db or sqlite:chat.db"
    )]
    #[arg(
        long,
        env = "DATABASE_URL",
        hide_env_values = true,
        default_value = "chat.db",
        value_name = DATABASE
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
    /// URL of the keys of your backend's tokens (JWKS), instead of a secret or a file
    #[arg(long, value_name = "URL")]
    pub jwks_url: Option<String>,
    /// What the keys of --jwks-url sign with: RS256, ES256 or EdDSA
    #[arg(
        long,
        default_value = "RS256",
        value_name = "ALG",
        requires = "jwks_url"
    )]
    pub jwt_algorithm: PublicAlgorithm,
    /// What the iss of your backend's tokens must be
    #[arg(long, value_name = "TEXT")]
    pub jwt_issuer: Option<String>,
    /// What the aud of your backend's tokens must be or hold
    #[arg(long, value_name = "TEXT")]
    pub jwt_audience: Option<String>,
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
    /// What `--db` means.
    pub fn database(&self) -> Result<Location, StartupError> {
        location(&self.db)
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

    /// What `--jwks-url` and `--jwt-algorithm` say. `has_key`: there is another key.
    pub fn jwks(&self, has_key: bool) -> Result<Option<(Uri, PublicAlgorithm)>, StartupError> {
        let Some(url) = &self.jwks_url else {
            return Ok(None);
        };
        if has_key {
            return usage(
                "--jwks-url and a secret or --jwt-public-key are both set, and a token has one kind of signature: leave one of \
                 them out (JWT_SECRET may stand in the environment or in .env)",
            );
        }
        Ok(Some((http_url("--jwks-url", url)?, self.jwt_algorithm)))
    }

    /// What `--backend-url` says, if it is given.
    pub fn backend(&self) -> Result<Option<Uri>, StartupError> {
        const FLAG: &str = "--backend-url (BACKEND_URL)";
        let Some(url) = &self.backend_url else {
            return Ok(None);
        };
        if url.is_empty() {
            return usage(format!(
                "{FLAG} is empty, which does not say who knows the users: set it to your backend's URL, or unset it"
            ));
        }
        // Paths are put behind it, each with a slash of its own.
        let url = http_url(FLAG, url.trim_end_matches('/'))?;
        if url.query().is_some() {
            return usage(format!(
                "{FLAG} has a query, and paths are put behind it: leave out the question mark and what follows"
            ));
        }
        Ok(Some(url))
    }

    /// What the flags demand of tokens.
    pub fn demands(&self) -> Demands {
        Demands {
            issuer: self.jwt_issuer.clone(),
            audience: self.jwt_audience.clone(),
        }
    }
}

/// What was given for a database, in the words of `--db`.
pub fn location(db: &str) -> Result<Location, StartupError> {
    if db.starts_with("postgres://") || db.starts_with("postgresql://") {
        return postgres(db);
    }
    if is_nearly_a_url(db) {
        return usage(
            "--db (DATABASE_URL) is not understood (it is not repeated here, for it may hold a password): write a PostgreSQL database \
             as postgres://user:password@host/database, in small letters and without spaces or quotes, or give a file",
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
    Ok(Location::File(path.into()))
}

/// Whether somebody means a database's URL and did not quite write one, or wrote `host=… password=…`: no file's name.
fn is_nearly_a_url(db: &str) -> bool {
    let small = db.to_ascii_lowercase();
    let bare = small.trim_start_matches([' ', '\t', '"', '\'']);
    let names = ["host=", "user=", "dbname=", "password="];
    // A scheme that is none of ours is named, if it is one.
    let has_scheme = db.split_once("://").is_some_and(|(scheme, _)| {
        !scheme.is_empty()
            && scheme
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    });
    let credentials = db.split('/').next().and_then(|first| first.split_once('@'));
    bare.starts_with("postgres:")
        || bare.starts_with("postgresql:")
        || names.iter().any(|name| bare.starts_with(name))
        || small.contains("password=")
        || !has_scheme
            && (db.contains("://") && !bare.starts_with("sqlite:")
                || credentials.is_some_and(|(before, _)| before.contains(':')))
}

#[cfg(feature = "postgres")]
fn postgres(url: &str) -> Result<Location, StartupError> {
    match crate::store::postgres::Url::parse(url) {
        Ok(url) => Ok(Location::Postgres(url)),
        Err(fault) => usage(format!("{fault}; {}", fault.fix())),
    }
}

#[cfg(not(feature = "postgres"))]
fn postgres(_url: &str) -> Result<Location, StartupError> {
    usage(
        "--db (DATABASE_URL) names a PostgreSQL database, and this chat-server was built without it: build it with \
         --features postgres, or start with --db chat.db to keep everything in a file",
    )
}
