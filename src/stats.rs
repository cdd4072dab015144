//! How the server is doing, and how it did in the last five minutes: for whoever runs it.
//!
//! Looks and changes nothing. A rate is the difference of two looks at a counter, divided by the time that really passed
//! between them: a second that is skipped makes a gap, not a wrong number. Who may see it is decided at the door.

mod copies;
mod storage;

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use schemars::JsonSchema;
use serde::Serialize;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

pub use storage::Storage;

use crate::{
    clock::Clock,
    hub::{Hub, Load},
    metrics::{Metrics, Totals},
    protocol::LimitsInForce,
};

/// Often enough to see a burst, and seldom enough that looking into 10,000 outboxes costs nothing that shows.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);
/// Five minutes: what happened is still there when somebody who was called has opened the page.
const SAMPLES_KEPT: usize = 300;

/// What does not change while the server runs, and how large its storage is.
pub struct Facts {
    /// The version of the SQLite that is built in.
    pub sqlite: &'static str,
    /// What keeps the log, with its version.
    pub database: String,
    /// Who hands out user ids.
    pub mode: &'static str,
    /// Names the log.
    pub epoch: String,
    /// As told in `welcome`.
    pub limits: LimitsInForce,
    /// How large the storage is now; may block.
    pub storage: Box<dyn Fn() -> Storage + Send + Sync>,
}

/// Keeps the samples, and reports.
pub struct Stats {
    metrics: Arc<Metrics>,
    hub: Arc<Hub>,
    clock: Clock,
    facts: Facts,
    started: Instant,
    // Never held while anything else is locked.
    samples: Mutex<VecDeque<Sample>>,
}

impl fmt::Debug for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stats").finish_non_exhaustive()
    }
}

/// One look at what is counted.
#[derive(Clone, Copy)]
struct Look {
    at: Instant,
    stored: u64,
    delivered: u64,
    commits: Totals,
}

/// What happened in about a second, and what there was at its end.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Sample {
    /// Unix time in milliseconds.
    at: i64,
    /// Messages stored in a second.
    stored: f64,
    /// Message frames queued to readers in a second.
    delivered: f64,
    /// Commits in a second.
    commits: f64,
    /// How long they took, on average; 0 when there were none.
    commit_ms: f64,
    /// Writes in each, on average; 0 when there were none.
    commit_writes: f64,
    connections: usize,
    outbox_bytes: usize,
    outbox_max_bytes: usize,
}

/// Everything at once, as `GET /api/v1/stats` tells it.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Report<'a> {
    build: Build<'a>,
    uptime_seconds: u64,
    mode: &'static str,
    epoch: &'a str,
    connections: usize,
    users: usize,
    rooms: usize,
    joins: usize,
    limits: LimitsInForce,
    messages: Messages,
    commits: Commits,
    outbox: Outbox,
    storage: Storage,
    /// Who else is told of every message; empty when nobody is.
    sync: Vec<copies::Copy>,
    samples: Vec<Sample>,
}

#[derive(Serialize, JsonSchema)]
struct Build<'a> {
    version: &'static str,
    /// What keeps the log, with its version.
    database: &'a str,
    /// The SQLite that is built in.
    sqlite: &'static str,
    profile: &'static str,
}

/// Since the start.
#[derive(Serialize, JsonSchema)]
struct Messages {
    stored: u64,
    delivered: u64,
}

/// Since the start.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Commits {
    count: u64,
    messages: u64,
    latency_ms: Latency,
    batch: Batch,
}

#[derive(Serialize, JsonSchema)]
struct Latency {
    p50: f64,
    p99: f64,
    max: f64,
}

/// Writes in a commit.
#[derive(Serialize, JsonSchema)]
struct Batch {
    mean: f64,
    max: u64,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Outbox {
    bytes: usize,
    max_bytes: usize,
    behind: usize,
}

impl Stats {
    /// Statistics of a server that starts now.
    pub fn new(metrics: Arc<Metrics>, hub: Arc<Hub>, clock: Clock, facts: Facts) -> Self {
        Self {
            metrics,
            hub,
            clock,
            facts,
            started: Instant::now(),
            samples: Mutex::default(),
        }
    }

    /// Takes a sample every second until `stop`.
    pub async fn sample_until(self: Arc<Self>, stop: CancellationToken) {
        let mut ticks = interval_at(Instant::now() + SAMPLE_EVERY, SAMPLE_EVERY);
        // After a pause one sample that covers it, not one for each second of it.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut before = self.look();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                _ = ticks.tick() => before = self.sample(before),
            }
        }
    }

    /// Adds the sample of the time since `before`; the look that it ends with.
    fn sample(&self, before: Look) -> Look {
        let now = self.look();
        let seconds = now.at.duration_since(before.at).as_secs_f64();
        if seconds <= 0.0 {
            return before;
        }
        let rate = |now: u64, before: u64| round(now.saturating_sub(before) as f64 / seconds);
        let commits = now.commits.count.saturating_sub(before.commits.count);
        let time = now.commits.time.saturating_sub(before.commits.time);
        let writes = now.commits.writes.saturating_sub(before.commits.writes);
        let load = self.hub.load();
        let sample = Sample {
            at: self.clock.now().unix_ms(),
            stored: rate(now.stored, before.stored),
            delivered: rate(now.delivered, before.delivered),
            commits: rate(now.commits.count, before.commits.count),
            commit_ms: mean(milliseconds(time), commits),
            commit_writes: mean(writes as f64, commits),
            connections: load.connections,
            outbox_bytes: load.bytes,
            outbox_max_bytes: load.max_bytes,
        };
        let mut samples = self.lock();
        if samples.len() == SAMPLES_KEPT {
            samples.pop_front();
        }
        samples.push_back(sample);
        now
    }

    fn look(&self) -> Look {
        Look {
            at: Instant::now(),
            stored: self.metrics.messages_stored.get(),
            delivered: self.metrics.deliveries.get(),
            commits: self.metrics.commits.totals(),
        }
    }

    /// Everything as it is now. Blocks as long as it takes to ask how large the storage is.
    pub fn report(&self) -> Report<'_> {
        let (now, load) = (self.look(), self.hub.load());
        Report {
            build: Build {
                version: env!("CARGO_PKG_VERSION"),
                database: &self.facts.database,
                sqlite: self.facts.sqlite,
                profile: match cfg!(debug_assertions) {
                    true => "debug",
                    false => "release",
                },
            },
            uptime_seconds: self.started.elapsed().as_secs(),
            mode: self.facts.mode,
            epoch: &self.facts.epoch,
            connections: load.connections,
            users: load.users,
            rooms: load.rooms,
            joins: load.joins,
            limits: self.facts.limits,
            messages: Messages {
                stored: now.stored,
                delivered: now.delivered,
            },
            commits: self.commits(now),
            outbox: outbox(load),
            storage: (self.facts.storage)(),
            sync: copies::report(&self.metrics.sync, self.hub.floor()),
            samples: self.lock().iter().cloned().collect(),
        }
    }

    fn commits(&self, now: Look) -> Commits {
        let extremes = self.metrics.commits.extremes();
        Commits {
            count: now.commits.count,
            messages: now.stored,
            latency_ms: Latency {
                p50: milliseconds(extremes.p50),
                p99: milliseconds(extremes.p99),
                max: milliseconds(extremes.longest),
            },
            batch: Batch {
                mean: mean(now.commits.writes as f64, now.commits.count),
                max: extremes.most_writes,
            },
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Sample>> {
        // A sample is in it or not, whatever panicked: what lies behind a poisoned lock is whole.
        self.samples.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn outbox(load: Load) -> Outbox {
    Outbox {
        bytes: load.bytes,
        max_bytes: load.max_bytes,
        behind: load.behind,
    }
}

fn milliseconds(time: Duration) -> f64 {
    round(time.as_secs_f64() * 1000.0)
}

fn mean(sum: f64, count: u64) -> f64 {
    match count {
        0 => 0.0,
        count => round(sum / count as f64),
    }
}

/// To three places: nobody reads more, and 300 samples are sent at once.
fn round(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;
    use tokio_util::task::TaskTracker;

    use super::*;
    use crate::protocol::{Cursor, Timestamp};

    fn stats() -> Arc<Stats> {
        let metrics = Arc::new(Metrics::default());
        let hub = Arc::new(Hub::new(Cursor::START, metrics.deliveries.clone()));
        let clock = Clock::new(|| Timestamp::from_unix_ms(1_000));
        let facts = Facts {
            sqlite: "3",
            database: "SQLite 3".into(),
            mode: "standalone",
            epoch: "e".into(),
            limits: LimitsInForce {
                content_bytes: 1,
                frame_bytes: 2,
                history_limit: 3,
                history_bytes: 4,
                rooms_per_connection: 5,
                resume_limit: 6,
                rate_per_second: 7,
            },
            storage: Box::new(Storage::default),
        };
        Arc::new(Stats::new(metrics, hub, clock, facts))
    }

    #[tokio::test(start_paused = true)]
    async fn rates_are_per_second_of_the_time_that_really_passed() {
        let stats = stats();
        let first = stats.look();
        stats.metrics.messages_stored.inc_by(30);
        stats.metrics.commits.observe(Duration::from_millis(2), 10);
        stats.metrics.commits.observe(Duration::from_millis(4), 20);
        advance(Duration::from_secs(1)).await;
        let second = stats.sample(first);
        stats.metrics.messages_stored.inc_by(30);
        stats.metrics.deliveries.inc_by(60);
        // The machine slept.
        advance(Duration::from_secs(60)).await;
        stats.sample(second);
        let samples = stats.report().samples;
        let rates: Vec<_> = samples
            .iter()
            .map(|sample| (sample.stored, sample.delivered, sample.commits))
            .collect();
        assert_eq!(rates, [(30.0, 0.0, 2.0), (0.5, 1.0, 0.0)]);
        assert_eq!(
            (samples[0].commit_ms, samples[0].commit_writes),
            (3.0, 15.0)
        );
        assert_eq!((samples[1].commit_ms, samples[1].commit_writes), (0.0, 0.0));
        assert_eq!(samples[0].at, 1_000);
        // No time, no sample: nothing is divided by it.
        let now = stats.look();
        stats.sample(now);
        assert_eq!(stats.report().samples.len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn five_minutes_are_kept_and_sampling_ends_with_the_server() {
        let (stats, stop, tasks) = (stats(), CancellationToken::new(), TaskTracker::new());
        tasks.spawn(stats.clone().sample_until(stop.clone()));
        tokio::task::yield_now().await;
        for second in 1..=310 {
            stats.metrics.messages_stored.inc_by(second);
            advance(SAMPLE_EVERY).await;
            tokio::task::yield_now().await;
        }
        let samples = stats.report().samples;
        let ends = (samples.len(), samples[0].stored, samples[299].stored);
        assert_eq!(ends, (300, 11.0, 310.0));
        stop.cancel();
        tasks.close();
        tasks.wait().await;
    }
}
