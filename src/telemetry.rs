//! Logs: to standard error, with colours only for a person, filtered by `RUST_LOG`.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;

/// What is logged when nothing is asked for.
const DEFAULT_FILTER: &str = "info";

/// Starts logging. `filter` is the value of `RUST_LOG`; what of it cannot be understood is left out, and said.
pub fn start(filter: Option<&str>) {
    let wanted = filter
        .filter(|filter| !filter.trim().is_empty())
        .unwrap_or(DEFAULT_FILTER);
    let (filter, complaint) = match EnvFilter::try_new(wanted) {
        Ok(filter) => (filter, None),
        Err(error) => (EnvFilter::new(DEFAULT_FILTER), Some(error)),
    };
    let logger = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        // A log line that cannot be written (a full disk, a reader that has gone) is lost, and nothing else is.
        .log_internal_errors(false)
        .finish();
    // Only a second call could fail, and then the first one's logger goes on.
    let _ = tracing::subscriber::set_global_default(logger);
    if let Some(error) = complaint {
        tracing::warn!(%error, "RUST_LOG is not understood and was ignored: use one such as chat_server=debug");
    }
}
