//! Who judges tokens: this server by a key, or the backend that is asked.

mod backend;

use std::sync::Arc;

pub use backend::Backend;

use crate::auth::{Denial, Identity, Tokens};

/// The one judge of this server's tokens.
#[derive(Debug)]
pub enum Authority {
    /// By a key that is known here.
    Key(Arc<Tokens>),
    /// By asking.
    Backend(Backend),
}

impl Authority {
    /// Whose `token` is at `now` (Unix seconds); `leeway` seconds of clock skew are forgiven where the clock is ours.
    pub async fn identity(&self, token: &str, now: i64, leeway: i64) -> Result<Identity, Denial> {
        match self {
            Self::Key(tokens) => Ok(tokens.verify(token, now, leeway)?),
            Self::Backend(backend) => backend.identity(token, now).await,
        }
    }
}
