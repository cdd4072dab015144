//! What time it is: the one source of wall-clock time, passed in, so that an hour or a day can go by in a test.
//!
//! How long something takes is not asked here: that is the runtime's monotonic clock, which a test can stop as well.

use std::{fmt, sync::Arc};

use crate::protocol::Timestamp;

/// A wall clock. Cheap to clone.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// A clock that shows whatever `now` says.
    pub fn new(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// This moment.
    pub fn now(&self) -> Timestamp {
        (self.0)()
    }

    /// This moment as Unix time in whole seconds.
    pub fn seconds(&self) -> i64 {
        self.now().unix_ms().div_euclid(1000)
    }
}

impl Default for Clock {
    /// This machine's.
    fn default() -> Self {
        Self::new(Timestamp::now)
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Clock").field(&self.now()).finish()
    }
}
