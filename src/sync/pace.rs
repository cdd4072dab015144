//! When to try again: twice as late after each failure, by chance, and never before the other side wants to be asked.

use std::time::Duration;

use jiff::fmt::{rfc2822, strtime};
use tokio::time::Instant;

/// The most that the first wait can be: a backend that is restarted is back soon.
const FIRST: Duration = Duration::from_millis(250);
/// A `Retry-After` is believed up to here: beyond, it is a mistake, or an operator mends things sooner.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// When the next attempt may be made.
#[derive(Debug)]
pub(super) struct Pace {
    cap: Duration,
    failures: u32,
    due: Instant,
}

impl Pace {
    /// At once; and after failures, at most `cap` apart.
    pub(super) fn new(cap: Duration) -> Self {
        Self {
            cap,
            failures: 0,
            due: Instant::now(),
        }
    }

    /// When the next attempt may be made.
    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// Whether that is now.
    pub(super) fn is_due(&self) -> bool {
        self.due <= Instant::now()
    }

    /// Whether the last attempt failed.
    pub(super) fn is_failing(&self) -> bool {
        self.failures > 0
    }

    /// The last attempt failed: the next one is made later, and not before `at_least` has passed.
    pub(super) fn failed(&mut self, at_least: Duration) {
        let wait = wait(self.failures, self.cap, rand::random());
        self.failures = self.failures.saturating_add(1);
        self.due = Instant::now() + wait.max(at_least);
    }

    /// All is well: the next attempt may be made at once.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
        self.due = Instant::now();
    }
}

/// The wait after so many failures before this one: a `share`, 0 to 1, of twice the most of the wait before, so that many
/// who failed together do not come back together.
fn wait(failures: u32, cap: Duration, share: f64) -> Duration {
    let most = FIRST.saturating_mul(2_u32.saturating_pow(failures));
    most.min(cap).mul_f64(share)
}

/// How long `Retry-After` (RFC 9110 section 10.2.3) says to wait at `now` (Unix seconds); nothing when it cannot be read.
pub(super) fn retry_after(value: &str, now: i64) -> Duration {
    let value = value.trim();
    let seconds = match value.bytes().all(|byte| byte.is_ascii_digit()) {
        // Too many digits for a number are too many seconds.
        true if !value.is_empty() => value.parse().unwrap_or(u64::MAX),
        _ => date(value)
            .and_then(|date| u64::try_from(date.saturating_sub(now)).ok())
            .unwrap_or_default(),
    };
    Duration::from_secs(seconds).min(RETRY_AFTER_MAX)
}

/// Unix seconds of an HTTP date in any of its three forms (RFC 9110 section 5.6.7).
fn date(value: &str) -> Option<i64> {
    const OLDER_FORMS: [&str; 2] = ["%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"];
    if let Ok(date) = rfc2822::DateTimeParser::new().parse_timestamp(value) {
        return Some(date.as_second());
    }
    let utc = |form| {
        let date = strtime::parse(form, value).ok()?.to_datetime().ok()?;
        let date = date.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
        Some(date.timestamp().as_second())
    };
    OLDER_FORMS.into_iter().find_map(utc)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAP: Duration = Duration::from_secs(30);

    #[test]
    fn each_wait_is_by_chance_up_to_twice_the_last_and_never_beyond_the_cap() {
        let most: Vec<u128> = (0..10)
            .map(|failures| wait(failures, CAP, 1.0).as_millis())
            .collect();
        let expected = [
            250, 500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000,
        ];
        assert_eq!(most, expected);
        assert_eq!(wait(u32::MAX, CAP, 1.0), CAP);
        assert_eq!(wait(3, CAP, 0.25), Duration::from_millis(500));
        assert_eq!(wait(3, CAP, 0.0), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_success_begins_anew_and_who_says_later_is_obeyed() {
        let mut pace = Pace::new(CAP);
        for _ in 0..20 {
            pace.failed(Duration::ZERO);
        }
        assert!(pace.is_failing() && pace.due() <= Instant::now() + CAP);
        pace.failed(Duration::from_secs(90));
        let due = pace.due();
        assert_eq!(due, Instant::now() + Duration::from_secs(90));
        tokio::time::advance(Duration::from_secs(89)).await;
        assert!(!pace.is_due());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(pace.is_due());
        pace.reset();
        pace.failed(Duration::ZERO);
        assert!(pace.due() <= Instant::now() + FIRST);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_of_any_form_and_at_most_an_hour() {
        // 1994-11-06T08:49:07Z.
        let now = 784_111_747;
        for (value, seconds) in [
            ("120", 120),
            (" 5 ", 5),
            ("0", 0),
            ("86400", 3600),
            ("99999999999999999999999", 3600),
            ("Sun, 06 Nov 1994 08:49:37 GMT", 30),
            ("Sunday, 06-Nov-94 08:49:37 GMT", 30),
            ("Sun Nov  6 08:49:37 1994", 30),
            ("Sun, 06 Nov 1994 08:00:00 GMT", 0),
            ("Tue, 06 Nov 2294 08:49:37 GMT", 3600),
            ("soon", 0),
            ("-5", 0),
            ("1.5", 0),
            ("", 0),
        ] {
            assert_eq!(retry_after(value, now).as_secs(), seconds, "{value:?}");
        }
    }
}
