//! Which of other programs' rows are passed by, since they cannot be changed, and how many of the others are taken at once.
//!
//! Kept beyond the connection, as long as the node runs. A row is tried again after [`AGAIN_AFTER`]; it is named in the log once.

use std::{
    collections::HashSet,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Rows in one transaction, at most.
const ROWS: i64 = 500;

/// Rows that are alone in theirs go on until so many have failed one after the other: then probably none can be changed, and
/// the rest is left alone until it is time to try again.
const FAILURES: usize = 100;

/// When what failed is tried again.
const AGAIN_AFTER: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Passed {
    rows: Vec<i64>,
    /// Named in the log.
    told: HashSet<i64>,
    /// Of those that messages name, the ones that cannot be made.
    pub(super) no_rooms: Vec<String>,
    limit: i64,
    failures: usize,
    since: Instant,
    /// When rooms that have no row are looked for again, which is to look at all that is not taken in.
    rooms_at: Instant,
}

impl Default for Passed {
    fn default() -> Self {
        Self {
            rows: Vec::new(),
            told: HashSet::new(),
            no_rooms: Vec::new(),
            limit: ROWS,
            failures: 0,
            since: Instant::now(),
            rooms_at: Instant::now(),
        }
    }
}

impl Passed {
    pub(super) fn of(passed: &Mutex<Self>) -> MutexGuard<'_, Self> {
        // Nothing that is done under this lock can panic half-way.
        passed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_time_for_rooms(&self) -> bool {
        Instant::now() >= self.rooms_at
    }

    /// It took so long, of which a bulk of rows must not be made to pay much for each batch.
    pub(super) fn rooms_looked_for(&mut self, took: Duration) {
        self.no_rooms.clear();
        self.rooms_at = Instant::now() + (took * 10).max(Duration::from_millis(50));
    }

    /// The rows and rooms that are passed by in the next transaction, and how many rows it takes; none while nothing is tried.
    pub(super) fn next(&mut self) -> Option<(Vec<i64>, Vec<String>, i64)> {
        let gave_up = self.failures >= FAILURES;
        if self.since.elapsed() > AGAIN_AFTER {
            // Where all fail, those that come after them are next, so that in the end each has been tried.
            if !gave_up {
                self.rows.clear();
            }
            (self.since, self.failures) = (Instant::now(), 0);
        } else if gave_up {
            return None;
        }
        Some((self.rows.clone(), self.no_rooms.clone(), self.limit))
    }

    /// The transaction is committed; whether it took longer than others can be made to wait.
    pub(super) fn succeeded(&mut self, was_long: bool) {
        self.failures = 0;
        self.limit = match was_long {
            true => (self.limit / 2).max(50).min(self.limit.max(1)),
            false => (self.limit * 4).min(ROWS),
        };
    }

    /// One of so many rows cannot be changed.
    pub(super) fn shrink(&mut self, rows: usize) {
        self.limit = i64::try_from(rows / 8).unwrap_or(ROWS).max(1);
    }

    /// They were not taken in within the time that is there for it.
    pub(super) fn slow(&mut self) {
        self.limit = (self.limit / 8).max(1);
    }

    /// This row, which was alone, cannot be changed; whether that is new.
    pub(super) fn failed(&mut self, row: i64) -> bool {
        self.failures += 1;
        self.rows.push(row);
        self.told.insert(row)
    }
}
