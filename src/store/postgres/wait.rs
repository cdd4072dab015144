//! A start-up that waits for its database: machines and containers start in any order.
//!
//! Waited for is only what passes by itself: nobody answers, the host has no name yet, the server starts or stops or has no
//! connection left, another program holds a table. A wrong password stays wrong, and ends the start at once.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use tokio::time::sleep;

use super::error::OpenError;

/// The first pause between two attempts; each is twice the last one.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// The longest.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Tries until it succeeds, or fails for good, or `at_most` is over. At least once.
pub(super) async fn until_it_opens<T, F>(
    at_most: Duration,
    mut attempt: impl FnMut() -> F,
) -> Result<T, OpenError>
where
    F: Future<Output = Result<T, OpenError>>,
{
    let (begun, mut pause, mut told) = (Instant::now(), FIRST_PAUSE, false);
    loop {
        let error = match attempt().await {
            Ok(opened) => {
                if told {
                    tracing::info!(after = ?begun.elapsed(), "the database is there");
                }
                return Ok(opened);
            }
            Err(error) => error,
        };
        let left = at_most.saturating_sub(begun.elapsed());
        if !error.may_pass() || left.is_zero() {
            return Err(error);
        }
        if !told {
            tracing::warn!(%error, ?at_most, "waiting for the database");
            told = true;
        }
        sleep(pause.min(left)).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
