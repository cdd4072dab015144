//! How often something may be done: a token bucket for each key, such as a user over all of the user's connections.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Mutex, PoisonError},
};

use tokio::time::Instant;

/// A steady rate and how far one may run ahead of it. A rate of 0 is unlimited.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// Refilled each second.
    pub per_second: f64,
    /// Saved up at most.
    pub burst: f64,
}

/// Counts for every key. What is refused does not count.
#[derive(Debug)]
pub struct RateLimiter<K> {
    rate: Rate,
    buckets: Mutex<HashMap<K, Bucket>>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

/// Keys between two clean-ups; a bucket has about 50 bytes.
const BUCKETS_BEFORE_CLEANUP: usize = 10_000;

impl<K: Eq + Hash> RateLimiter<K> {
    /// Full buckets for everybody.
    pub fn new(rate: Rate) -> Self {
        Self {
            rate,
            buckets: Mutex::default(),
        }
    }

    /// Takes one from the bucket of `key`; when it is empty, the milliseconds until it no longer is.
    pub fn take(&self, key: K) -> Result<(), u64> {
        let Rate { per_second, burst } = self.rate;
        if per_second <= 0.0 {
            return Ok(());
        }
        let now = Instant::now();
        let refilled = |bucket: &Bucket| {
            (bucket.tokens + now.duration_since(bucket.at).as_secs_f64() * per_second).min(burst)
        };
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= BUCKETS_BEFORE_CLEANUP {
            buckets.retain(|_, bucket| refilled(bucket) < burst);
        }
        let bucket = buckets.entry(key).or_insert(Bucket {
            tokens: burst,
            at: now,
        });
        let tokens = refilled(bucket);
        *bucket = Bucket { tokens, at: now };
        if tokens < 1.0 {
            let wait_ms = ((1.0 - tokens) / per_second * 1000.0).ceil();
            return Err(wait_ms.max(1.0) as u64);
        }
        bucket.tokens = tokens - 1.0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::protocol::UserId;

    fn user(id: i64) -> UserId {
        UserId::new(id).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_passes_and_then_the_steady_rate_holds() {
        let limiter = RateLimiter::new(Rate {
            per_second: 50.0,
            burst: 200.0,
        });
        for _ in 0..200 {
            assert_eq!(limiter.take(user(1)), Ok(()));
        }
        assert_eq!(limiter.take(user(1)), Err(20));
        assert_eq!(limiter.take(user(2)), Ok(()), "others are not affected");
        tokio::time::advance(Duration::from_millis(20)).await;
        assert_eq!(limiter.take(user(1)), Ok(()));
        assert_eq!(
            limiter.take(user(1)),
            Err(20),
            "what was refused did not count"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_of_zero_is_unlimited() {
        let limiter = RateLimiter::new(Rate {
            per_second: 0.0,
            burst: 0.0,
        });
        for _ in 0..10_000 {
            assert_eq!(limiter.take(user(1)), Ok(()));
        }
    }
}
