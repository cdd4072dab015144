//! What a session does without being asked, and when: the first second, pings, silence, the end of a token.

use std::time::Duration;

use tokio::time::Instant;

use super::Timing;
use crate::{auth::Expiry, clock::Clock, hub::End, protocol::CloseCode};

/// Between the two looks of which the second ends a silent connection.
const LAST_LOOK: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Timers {
    timing: Timing,
    /// When the token ends.
    expires: Instant,
    heard: Instant,
    /// Silence was nearly over its limit then.
    looked: Option<Instant>,
    /// What silence may last longer, for what was written and may not be read yet.
    grace: Duration,
    next_ping: Instant,
    /// Messages are held back until then at the latest; `None` once they may flow.
    held_until: Option<Instant>,
    /// Storage was busy: it is not asked for missed messages before then.
    retry_at: Option<Instant>,
}

/// What has become due.
pub(super) struct Due {
    pub(super) release: bool,
    pub(super) ping: bool,
}

impl Timers {
    pub(super) fn new(timing: Timing, expiry: Expiry, clock: &Clock) -> Self {
        let now = Instant::now();
        Self {
            timing,
            expires: deadline(expiry, clock),
            heard: now,
            looked: None,
            grace: Duration::ZERO,
            next_ping: now + timing.ping,
            held_until: Some(now + timing.hold),
            retry_at: None,
        }
    }

    /// A sign of life; none is given for a token that has expired.
    pub(super) fn heard(&mut self) -> Result<(), End> {
        self.heard = Instant::now();
        self.looked = None;
        self.grace = Duration::ZERO;
        if self.heard >= self.expires {
            return Err(End::Close(CloseCode::TokenExpired));
        }
        Ok(())
    }

    /// Another token is in force, or the wall clock may have moved.
    pub(super) fn renew(&mut self, expiry: Expiry, clock: &Clock) {
        self.expires = deadline(expiry, clock);
    }

    /// Messages may flow. Whether they could not before.
    pub(super) fn release(&mut self) -> bool {
        self.held_until.take().is_some()
    }

    /// Whether the log may be read for this reader now.
    pub(super) fn may_read_log(&self) -> bool {
        self.held_until.is_none() && self.retry_at.is_none()
    }

    /// Storage is busy: no page is read for a moment.
    pub(super) fn retry_later(&mut self) {
        self.retry_at = Some(Instant::now() + self.timing.retry);
    }

    /// What is due now. `listened`: silence counts only while the session reads. `unheard_bytes` were written since the peer
    /// was last heard of.
    pub(super) fn tick(&mut self, listened: bool, unheard_bytes: usize) -> Result<Due, End> {
        let now = Instant::now();
        if now >= self.expires {
            return Err(End::Close(CloseCode::TokenExpired));
        }
        if !listened {
            self.heard = now;
            self.looked = None;
        }
        let seconds = unheard_bytes / self.timing.slowest_reader.max(1);
        self.grace = Duration::from_secs(seconds as u64);
        if now >= self.silent_at() {
            if self.looked.is_some() {
                return Err(End::Close(CloseCode::TooSlow));
            }
            self.looked = Some(now);
        }
        if self.retry_at.is_some_and(|at| now >= at) {
            self.retry_at = None;
        }
        let due = Due {
            release: self.held_until.is_some_and(|at| now >= at),
            ping: now >= self.next_ping,
        };
        if due.ping {
            self.next_ping = now + self.timing.ping;
        }
        Ok(due)
    }

    /// When silence is next judged: a moment before its limit, and then once more. A process that was paused wakes up to
    /// timers that are long over, before it has read what came in the meantime.
    fn silent_at(&self) -> Instant {
        match self.looked {
            None => self.heard + self.timing.silence + self.grace - LAST_LOOK,
            Some(looked) => looked + LAST_LOOK,
        }
    }

    /// Whether it is time to tick.
    pub(super) fn is_due(&self) -> bool {
        Instant::now() >= self.next()
    }

    /// When to tick next.
    pub(super) fn next(&self) -> Instant {
        let regular = self.expires.min(self.next_ping).min(self.silent_at());
        let rare = [self.held_until, self.retry_at];
        rare.into_iter().flatten().fold(regular, Instant::min)
    }
}

/// The moment at which a token ends; at most a year from now, far beyond any timer.
fn deadline(expiry: Expiry, clock: &Clock) -> Instant {
    const FAR_MS: i64 = 365 * 86_400_000;
    let left_ms = expiry
        .0
        .saturating_mul(1000)
        .saturating_sub(clock.now().unix_ms());
    Instant::now() + Duration::from_millis(left_ms.clamp(0, FAR_MS).unsigned_abs())
}
