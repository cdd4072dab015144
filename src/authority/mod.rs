//! Who judges tokens: this server by a key that is set, by keys that the backend publishes, or the backend that is asked.
//!
//! Which of the three is decided by configuration, never by a token. Nothing but a clear yes is a way in.

mod answer;
mod backend;
mod jwks;

use std::sync::Arc;

pub use backend::{Backend, Patience};
pub use jwks::PublishedKeys;

use crate::auth::{Denial, Identity, Tokens, readable_exp};

/// The one judge of this server's tokens.
#[derive(Clone, Debug)]
pub enum Authority {
    /// By a key that is set here.
    Key(Arc<Tokens>),
    /// By keys that are fetched.
    Published(Arc<PublishedKeys>),
    /// By asking.
    Backend(Backend),
}

impl Authority {
    /// Whose `token` is at `now` (Unix seconds); `leeway` seconds of clock skew are forgiven where this server reads the
    /// token itself.
    pub async fn identity(&self, token: &str, now: i64, leeway: i64) -> Result<Identity, Denial> {
        match self {
            Self::Key(tokens) => Ok(tokens.verify(token, now, leeway)?),
            Self::Published(keys) => keys.identity(token, now, leeway).await,
            Self::Backend(backend) => backend.identity(token, now).await,
        }
    }

    /// Whether only asking again can tell when `token` ends.
    pub fn must_ask_again(&self, token: &str) -> bool {
        matches!(self, Self::Backend(_)) && readable_exp(token).is_none()
    }
}

impl From<Tokens> for Authority {
    fn from(tokens: Tokens) -> Self {
        Self::Key(Arc::new(tokens))
    }
}
