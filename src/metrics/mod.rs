//! The numbers that this program counts about itself, in Prometheus' terms.
//!
//! Anybody may count; only the doors read. No label carries a user, a room or a text.

mod commits;
mod copies;
mod sync;
mod text;

use std::sync::{Arc, atomic::AtomicU64};

use prometheus_client::{
    encoding::{
        EncodeLabelSet,
        text::{encode_eof, encode_registry},
    },
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

pub use commits::{Commits, Extremes, Totals};
pub use sync::{Failing, SyncState, SyncStates};
pub use text::Format;

use crate::protocol::{CloseCode, Cursor, ErrorCode, Incomplete};

/// All counters and gauges.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Open WebSocket connections.
    pub connections: Gauge,
    /// WebSocket connections opened since the start.
    pub connections_opened: Counter,
    /// TCP connections refused because the limit was reached.
    pub connections_refused: Counter,
    /// Handshakes refused, for their token or origin.
    pub handshakes_refused: Counter,
    /// Messages stored since the start.
    pub messages_stored: Counter,
    /// Transactions: how many, how long, how large.
    pub commits: Arc<Commits>,
    /// Message frames queued to readers.
    pub deliveries: Counter,
    /// Readers that fell behind what is live.
    pub fell_behind: Counter,
    /// Message frames read from the log for readers who catch up.
    pub caught_up: Counter,
    /// How those outside who are told of every message are doing.
    pub sync: Arc<SyncStates>,
    resumes: Family<ResumeLabel, Counter>,
    errors: Family<ErrorLabel, Counter>,
    closes: Family<CloseLabel, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ErrorLabel {
    code: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResumeLabel {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CloseLabel {
    code: u16,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("chat");
        let mut counter = |name: &str, help: &str| {
            let counter = Counter::<u64, AtomicU64>::default();
            registry.register(name, help, counter.clone());
            counter
        };
        let connections_opened = counter("connections_opened", "WebSocket connections opened");
        let connections_refused = counter("connections_refused", "TCP connections over the limit");
        let handshakes_refused = counter(
            "handshakes_refused",
            "handshakes refused for their token or origin",
        );
        let messages_stored = counter("messages_stored", "messages stored");
        let deliveries = counter("deliveries", "message frames queued to readers");
        let fell_behind = counter(
            "readers_fell_behind",
            "readers too slow for what is live, served from the log since",
        );
        let caught_up = counter(
            "messages_caught_up",
            "message frames read from the log for readers who catch up",
        );
        let commits = Arc::new(Commits::default());
        commits.register(&mut registry);
        let connections = Gauge::default();
        registry.register(
            "connections",
            "open WebSocket connections",
            connections.clone(),
        );
        let resumes = Family::default();
        registry.register("resumes", "resumes, by outcome", resumes.clone());
        let errors = Family::default();
        registry.register("errors", "requests refused, by error code", errors.clone());
        let closes = Family::default();
        registry.register(
            "closes",
            "connections closed by the server, by close code",
            closes.clone(),
        );
        Self {
            registry,
            connections,
            connections_opened,
            connections_refused,
            handshakes_refused,
            messages_stored,
            commits,
            deliveries,
            fell_behind,
            caught_up,
            sync: Arc::default(),
            resumes,
            errors,
            closes,
        }
    }
}

impl Metrics {
    /// Counts a refused request.
    pub fn refused(&self, code: ErrorCode) {
        self.errors
            .get_or_create(&ErrorLabel {
                code: code.as_str(),
            })
            .inc();
    }

    /// Counts a resume: complete, or why not.
    pub fn resumed(&self, incomplete: Option<Incomplete>) {
        let outcome = incomplete.map_or("complete", Incomplete::as_str);
        self.resumes.get_or_create(&ResumeLabel { outcome }).inc();
    }

    /// Counts a connection that the server closed.
    pub fn closed(&self, code: CloseCode) {
        self.closes
            .get_or_create(&CloseLabel { code: code.code() })
            .inc();
    }

    /// All numbers, as text, of a log that reaches to `latest`.
    pub fn render(&self, format: Format, latest: Cursor) -> String {
        let mut text = String::new();
        // Writing into a String cannot fail.
        let _ = encode_registry(&mut text, &self.registry);
        let _ = encode_registry(&mut text, &copies::registry(&self.sync, latest));
        let _ = encode_eof(&mut text);
        match format {
            Format::OpenMetrics => text,
            Format::Classic => text::classic(&text),
        }
    }
}
