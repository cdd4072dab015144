//! What a server makes up for itself, once, and keeps: the key that signs its own accounts' tokens, the webhook's secret.
//!
//! Beside a file they lie in files of their own, readable by their owner alone. In a database that several nodes share they
//! lie in a table, made by whichever node comes first, so that what one has signed the others know.

use std::path::PathBuf;

use super::{Location, sqlite::companion};
use crate::auth::Secret;

/// Where they are kept.
#[derive(Clone, Debug)]
pub struct Secrets(Location);

/// Why there is none.
#[derive(Debug, thiserror::Error)]
#[error("the secret in {place}: {why}")]
pub struct SecretError {
    /// The file, or the row of the table.
    pub place: String,
    /// What is wrong, and perhaps what to do.
    pub why: String,
}

impl Secrets {
    /// With the log at `location`; a file by its one full name.
    pub fn of(location: &Location) -> Self {
        Self(location.clone())
    }

    /// Where the secret of this name lies, for the operator.
    pub fn place(&self, name: &str) -> String {
        match &self.0 {
            Location::File(database) => companion(database, name).display().to_string(),
            #[cfg(feature = "postgres")]
            Location::Postgres(url) => format!("chat_secrets ({name}) of {url}"),
        }
    }

    /// The file of this name, where secrets are files.
    pub fn file(&self, name: &str) -> Option<PathBuf> {
        match &self.0 {
            Location::File(database) => Some(companion(database, name)),
            #[cfg(feature = "postgres")]
            Location::Postgres(_) => None,
        }
    }

    /// The secret of this name, if there is one yet.
    pub async fn look(&self, name: &str) -> Result<Option<Secret>, SecretError> {
        let found = match &self.0 {
            Location::File(database) => match Secret::read(&companion(database, name)) {
                Ok(secret) => Ok(Some(secret)),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error.to_string()),
            },
            #[cfg(feature = "postgres")]
            Location::Postgres(url) => {
                let found = super::postgres::look_for_secret(url, name).await;
                found.map_err(|error| format!("{error}; {}", error.fix()))
            }
        };
        found.map_err(|why| self.error(name, why))
    }

    /// The secret of this name; what `make` makes, kept from now on, when there is none.
    pub async fn kept(
        &self,
        name: &str,
        make: impl FnOnce() -> String + Send,
    ) -> Result<Secret, SecretError> {
        let kept = match &self.0 {
            Location::File(database) => {
                Secret::kept_at(&companion(database, name), make).map_err(|error| error.to_string())
            }
            #[cfg(feature = "postgres")]
            Location::Postgres(url) => {
                let kept = super::postgres::keep_secret(url, name, make()).await;
                kept.map_err(|error| format!("{error}; {}", error.fix()))
            }
        };
        kept.map_err(|why| self.error(name, why))
    }

    /// What is wrong with the secret of this name.
    pub fn error(&self, name: &str, why: String) -> SecretError {
        let place = self.place(name);
        SecretError { place, why }
    }
}
