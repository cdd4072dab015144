//! How those outside who are told of every message are doing, as an operator reads it.

use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    metrics::{Failing, SyncState, SyncStates},
    protocol::Cursor,
};

/// One who is told of every message.
#[derive(Serialize, JsonSchema)]
pub(super) struct Copy {
    /// `backend` or `webhook`.
    follower: &'static str,
    /// Where messages go: scheme, host and port.
    url: String,
    /// Every message up to here was taken, passed over, or is parked.
    position: i64,
    /// The newest message.
    latest: i64,
    /// How far the position is behind it.
    lag: u64,
    /// Messages that were refused for good.
    parked: u64,
    /// This server sends them. `false`: another one on the same database does, or will shortly.
    here: bool,
    /// Why the next message is not taken; `null` when nothing is wrong.
    failing: Option<Trouble>,
}

#[derive(Serialize, JsonSchema)]
struct Trouble {
    /// Unix time in milliseconds.
    since: i64,
    reason: String,
}

/// Everybody, of a log that reaches to `latest`.
pub(super) fn report(states: &SyncStates, latest: Cursor) -> Vec<Copy> {
    let states = states.all().into_iter();
    states.map(|state| copy(&state, latest)).collect()
}

fn copy(state: &SyncState, latest: Cursor) -> Copy {
    let trouble = |Failing { since, reason }| Trouble {
        since: since.unix_ms(),
        reason,
    };
    Copy {
        follower: state.follower(),
        url: state.url().to_owned(),
        position: state.position(),
        latest: latest.get(),
        lag: state.lag(latest),
        parked: state.parked(),
        here: state.is_here(),
        failing: state.failing().map(trouble),
    }
}
