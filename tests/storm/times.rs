//! How long what was said took to others, and how far each has come: beside the traces, which know order and no time.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard},
    time::{Duration, Instant},
};

use crate::oracle::trace::{Frame, origin_of};

/// What all clients measure together.
#[derive(Debug, Default)]
pub struct Times(Mutex<Measured>);

#[derive(Debug, Default)]
struct Measured {
    /// By the number of the send: when, and at which server.
    said: HashMap<usize, (Instant, usize)>,
    /// From one server's client to another's.
    across: Vec<Duration>,
    /// The newest send that each user has heard.
    newest: HashMap<i64, usize>,
}

impl Times {
    fn measured(&self) -> MutexGuard<'_, Measured> {
        self.0.lock().unwrap()
    }

    /// This is about to be said at this server.
    pub fn said(&self, number: usize, node: usize) {
        self.measured().said.insert(number, (Instant::now(), node));
    }

    /// A frame came. What was said before the connection was there did not take as long as it took the connection to come.
    pub fn heard(&self, user: i64, node: usize, since: Instant, frame: &Frame) {
        let Frame::Live(row) = frame else { return };
        let Some((.., number)) = origin_of(&row.content) else {
            return;
        };
        let mut measured = self.measured();
        let newest = measured.newest.entry(user).or_default();
        *newest = number.max(*newest);
        if let Some(&(at, at_node)) = measured.said.get(&number)
            && at > since
            && at_node != node
        {
            measured.across.push(at.elapsed());
        }
    }

    /// How many users have heard something that was said as late as this.
    pub fn have_heard(&self, number: usize) -> usize {
        let measured = self.measured();
        let newest = measured.newest.values();
        newest.filter(|newest| **newest >= number).count()
    }

    /// Count, median, 99th percentile and longest, from one server's client to another's; forgets them.
    pub fn across(&self) -> (usize, [Duration; 3]) {
        let mut all = std::mem::take(&mut self.measured().across);
        all.sort_unstable();
        let at = |percent: usize| {
            let at = (all.len() * percent / 100).min(all.len().saturating_sub(1));
            all.get(at).copied().unwrap_or_default()
        };
        (all.len(), [at(50), at(99), at(100)])
    }
}
