//! The other servers that this one talks to: the backend that knows the users and keeps a copy, and a webhook.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use hyper::Uri;

use super::{StartupError, error::usage};
use crate::auth::Secret;

/// What is sent to other servers.
#[derive(Args, Clone, Debug)]
pub struct CopyArgs {
    /// Token that is sent with each copy of a message to the backend
    #[arg(
        long,
        env = "BACKEND_TOKEN",
        hide_env_values = true,
        value_name = "TOKEN"
    )]
    pub backend_token: Option<String>,
    /// Whether every message is copied to --backend-url
    #[arg(long, value_enum, default_value_t = Switch::On, value_name = "on|off", hide_possible_values = true)]
    pub backend_sync: Switch,
    /// URL to which every message is posted, signed as Standard Webhooks are
    #[arg(long, value_name = "URL")]
    pub webhook: Option<String>,
    /// File that holds the webhook's secret, whsec_… (or set WEBHOOK_SECRET); without it one is made and kept beside the database
    #[arg(long, value_name = "FILE", requires = "webhook")]
    pub webhook_secret_file: Option<PathBuf>,
    /// Send direct messages to the webhook too
    #[arg(long, requires = "webhook")]
    pub webhook_dms: bool,
}

/// On or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    /// On.
    On,
    /// Off.
    Off,
}

/// Which copies leave this server.
#[derive(Clone, Debug, Default)]
pub struct Copies {
    /// The backend gets them.
    pub to_backend: bool,
    /// Sent with those, as a bearer.
    pub backend_token: Option<Secret>,
    /// A webhook gets them.
    pub webhook: Option<Webhook>,
}

/// Who is told of messages besides the backend.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// Where it listens.
    pub url: Uri,
    /// What requests are signed with, decoded; `None`: one that is made and kept beside the database.
    pub secret: Option<Secret>,
    /// It gets direct messages too.
    pub dms: bool,
}

/// What the value of `flag` says, if it is an http or https URL. Credentials have no place in it: it is logged.
pub(crate) fn http_url(flag: &str, url: &str) -> Result<Uri, StartupError> {
    let parsed = url.trim_end_matches('/').parse::<Uri>().ok();
    let Some(parsed) = parsed.filter(|url| {
        matches!(url.scheme_str(), Some("http" | "https"))
            && url.host().is_some_and(|host| !host.is_empty())
    }) else {
        return usage(format!(
            "{flag} is no http:// or https:// URL: use one such as http://localhost:8080"
        ));
    };
    let authority = parsed.authority().map(|authority| authority.as_str());
    if authority.is_some_and(|authority| authority.contains('@')) {
        return usage(format!(
            "{flag} holds a user name or a password, and it is logged: leave them out"
        ));
    }
    Ok(parsed)
}
