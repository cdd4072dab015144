//! How those outside who are told of every message are doing: written by the task that tells them, read by the doors.
//!
//! Numbers are atomics and may be a moment apart from each other; what is said in words lies behind a lock that is held to
//! copy a line, so that neither side ever waits for the other. Nothing here outlives the process but what the log's
//! followers keep themselves.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

use crate::protocol::{Cursor, Timestamp};

/// Everybody who is told at present.
#[derive(Debug, Default)]
pub struct SyncStates(Mutex<Vec<Arc<SyncState>>>);

impl SyncStates {
    /// Shows one more from now on.
    pub fn add(&self, state: Arc<SyncState>) {
        lock(&self.0).push(state);
    }

    /// All of them, in the order in which they were added; none when nothing is copied.
    pub fn all(&self) -> Vec<Arc<SyncState>> {
        lock(&self.0).clone()
    }
}

/// How one follower is doing.
#[derive(Debug)]
pub struct SyncState {
    follower: &'static str,
    url: String,
    position: AtomicU64,
    parked: AtomicU64,
    delivered: AtomicU64,
    failures: AtomicU64,
    is_here: AtomicBool,
    failing: Mutex<Option<Failing>>,
}

/// Why the next message is not taken at present.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failing {
    /// The first of the failures in a row.
    pub since: Timestamp,
    /// The last of them, for an operator. Holds nothing of what was sent.
    pub reason: String,
}

impl SyncState {
    /// Of `follower`, who stands at the beginning. `url` is what operators see: scheme, host and port, since a path or a
    /// query may hold what is nobody's to know.
    pub fn new(follower: &'static str, url: String) -> Self {
        Self {
            follower,
            url,
            position: AtomicU64::new(0),
            parked: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            is_here: AtomicBool::new(false),
            failing: Mutex::new(None),
        }
    }

    /// The follower's name, as in the database.
    pub fn follower(&self) -> &'static str {
        self.follower
    }

    /// Where messages go, as far as it is shown.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Everything up to here was taken, passed over, or is parked.
    pub fn position(&self) -> i64 {
        i64::try_from(self.position.load(Relaxed)).unwrap_or(i64::MAX)
    }

    /// How far it is behind a log that reaches to `latest`.
    pub fn lag(&self, latest: Cursor) -> u64 {
        let latest = u64::try_from(latest.get()).unwrap_or_default();
        latest.saturating_sub(self.position.load(Relaxed))
    }

    /// How many messages are parked.
    pub fn parked(&self) -> u64 {
        self.parked.load(Relaxed)
    }

    /// How many messages were taken since the start.
    pub fn delivered(&self) -> u64 {
        self.delivered.load(Relaxed)
    }

    /// How many attempts failed since the start, those that parked a message included.
    pub fn failures(&self) -> u64 {
        self.failures.load(Relaxed)
    }

    /// Since when and why the next message is not taken; `None` when all is well.
    pub fn failing(&self) -> Option<Failing> {
        lock(&self.failing).clone()
    }

    /// Whether this server is the one that tells it; otherwise another one on the same database is, or will be shortly.
    pub fn is_here(&self) -> bool {
        self.is_here.load(Relaxed)
    }

    /// Whether this server is the one from now on.
    pub fn set_here(&self, is_here: bool) {
        self.is_here.store(is_here, Relaxed);
    }

    /// Stands there now, with so many parked.
    pub fn stands(&self, position: Cursor, parked: u64) {
        let position = u64::try_from(position.get()).unwrap_or_default();
        self.position.store(position, Relaxed);
        self.parked.store(parked, Relaxed);
    }

    /// Counts a message that was taken.
    pub fn took(&self) {
        self.delivered.fetch_add(1, Relaxed);
    }

    /// Counts an attempt that failed.
    pub fn failed(&self) {
        self.failures.fetch_add(1, Relaxed);
    }

    /// Why the next message is not taken, or that nothing stands in its way any more.
    pub fn set_failing(&self, failing: Option<Failing>) {
        *lock(&self.failing) = failing;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is done under these locks cannot panic half-way.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
