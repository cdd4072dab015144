//! How long commits take and how much is in each: totals, from which a mean over any stretch of time follows, and
//! percentiles since the start.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use hdrhistogram::Histogram as Spread;
use prometheus_client::{
    metrics::{counter::Counter, histogram::Histogram},
    registry::Registry,
};

/// From a fast disk's sync to one that makes senders give up, in seconds.
const SECONDS: [f64; 15] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
];
/// From a lone sender to the most that `--batch-max` can be.
const WRITES: [f64; 13] = [
    1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0,
];

/// Times are kept to two digits, in microseconds, up to an hour; that takes some 30 KB.
const DIGITS: u8 = 2;
const LONGEST_MICROS: u64 = 3_600_000_000;

/// What is known of all commits since the start.
#[derive(Debug)]
pub struct Commits {
    count: Counter,
    seconds: Histogram,
    writes: Histogram,
    // One writer adds, and whoever looks sees all of a commit or nothing of it.
    tally: Mutex<Tally>,
}

#[derive(Debug)]
struct Tally {
    totals: Totals,
    most_writes: u64,
    /// Always there: the bounds are right, as the tests of the stats would tell.
    micros: Option<Spread<u64>>,
}

/// Sums over all commits since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Commits.
    pub count: u64,
    /// How long they took together.
    pub time: Duration,
    /// Writes in them.
    pub writes: u64,
}

/// The extremes of all commits since the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extremes {
    /// Half of all commits took no longer, to within 1 %.
    pub p50: Duration,
    /// All but one in a hundred took no longer, to within 1 %.
    pub p99: Duration,
    /// The longest.
    pub longest: Duration,
    /// The most writes in one commit.
    pub most_writes: u64,
}

impl Default for Commits {
    fn default() -> Self {
        Self {
            count: Counter::default(),
            seconds: Histogram::new(SECONDS),
            writes: Histogram::new(WRITES),
            tally: Mutex::new(Tally {
                totals: Totals::default(),
                most_writes: 0,
                micros: Spread::new_with_max(LONGEST_MICROS, DIGITS).ok(),
            }),
        }
    }
}

impl Commits {
    pub(super) fn register(&self, registry: &mut Registry) {
        let help = "transactions committed";
        registry.register("commits", help, self.count.clone());
        let help = "seconds from the begin of a transaction until it was durable";
        registry.register("commit_seconds", help, self.seconds.clone());
        let help = "writes in one transaction";
        registry.register("commit_writes", help, self.writes.clone());
    }

    /// Counts a commit of `writes` that became durable `took` after it was begun.
    pub fn observe(&self, took: Duration, writes: usize) {
        let writes = writes as u64;
        self.count.inc();
        self.seconds.observe(took.as_secs_f64());
        self.writes.observe(writes as f64);
        let mut tally = self.lock();
        tally.totals.count += 1;
        tally.totals.time += took;
        tally.totals.writes += writes;
        tally.most_writes = tally.most_writes.max(writes);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        if let Some(spread) = &mut tally.micros {
            spread.saturating_record(micros);
        }
    }

    /// Sums since the start.
    pub fn totals(&self) -> Totals {
        self.lock().totals
    }

    /// Extremes since the start.
    pub fn extremes(&self) -> Extremes {
        let tally = self.lock();
        let at = |share| {
            let spread = tally.micros.as_ref();
            Duration::from_micros(spread.map_or(0, |spread| spread.value_at_quantile(share)))
        };
        Extremes {
            p50: at(0.5),
            p99: at(0.99),
            longest: at(1.0),
            most_writes: tally.most_writes,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Tally> {
        // Nothing that is done under this lock can panic half-way.
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
