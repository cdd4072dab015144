//! This machine's clock: tokens live and die by it, and messages bear its time.

use super::report::Finding;
use crate::{
    auth::{LEEWAY_SECONDS, span},
    protocol::Timestamp,
};

const SUBJECT: &str = "clock";
/// The year in which this was written, in which no clock that is right can be before: 2026-01-01T00:00:00Z.
const WRITTEN: i64 = 1_767_225_600;
/// Messages that are this far in the future, in seconds, were stamped by a clock that has been set back since.
const AHEAD_WARN_SECONDS: i64 = 60;
/// Tokens seldom outlive so much disagreement: some last no longer (five minutes, as in Kerberos).
const SKEW_FAIL_SECONDS: i64 = 300;
/// The backend tells its time in whole seconds.
const GRAIN_SECONDS: i64 = 1;
const FIX: &str = "set the clocks of both machines (NTP: timedatectl set-ntp true)";

/// What another server's clock showed, and ours at that moment, in Unix seconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Date {
    pub(super) theirs: i64,
    pub(super) ours: i64,
}

pub(super) fn check(newest_ms: Option<i64>, date: Option<Date>) -> Vec<Finding> {
    judge(Timestamp::now().unix_ms() / 1000, newest_ms, date)
}

fn judge(now: i64, newest_ms: Option<i64>, date: Option<Date>) -> Vec<Finding> {
    let mut findings = Vec::new();
    if now < WRITTEN {
        findings.push(Finding::fail(
            SUBJECT,
            "this machine's clock shows a time before this program was written",
            FIX,
        ));
    }
    let skew = date.map_or(0, |date| date.theirs.saturating_sub(date.ours));
    if skew.abs() > LEEWAY_SECONDS + GRAIN_SECONDS {
        let (far, side) = (
            span(skew.abs()),
            if skew > 0 { "behind" } else { "ahead of" },
        );
        let found = format!(
            "this machine's clock is {far} {side} the backend's, and {LEEWAY_SECONDS} s are forgiven in tokens"
        );
        findings.push(match skew.abs() > SKEW_FAIL_SECONDS {
            true => Finding::fail(SUBJECT, found, FIX),
            false => Finding::warn(SUBJECT, found, FIX),
        });
    }
    let ahead = newest_ms.map_or(0, |newest| newest.div_euclid(1000).saturating_sub(now));
    if ahead > AHEAD_WARN_SECONDS {
        findings.push(Finding::warn(
            SUBJECT,
            format!("the newest message in the database is from {} in the future", span(ahead)),
            "compare this machine's clock with another (timedatectl); if it is right now, it was ahead once: new messages are stored all the same, with earlier times",
        ));
    }
    if findings.is_empty() {
        findings.push(Finding::ok(
            SUBJECT,
            match date {
                Some(_) => "this machine's clock and the backend's show the same time",
                None => "this machine's clock shows a time that can be",
            },
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::{super::report::Level, *};

    #[test]
    fn a_clock_is_judged_by_the_year_the_backend_and_the_log() {
        let levels = |now, newest, theirs: Option<i64>| {
            let date = theirs.map(|theirs| Date { theirs, ours: now });
            let findings = judge(now, newest, date);
            findings.iter().map(|it| it.status).collect::<Vec<_>>()
        };
        let now = WRITTEN + 10_000;
        assert_eq!(levels(now, None, None), [Level::Ok]);
        assert_eq!(levels(now, Some(now * 1000), Some(now + 6)), [Level::Ok]);
        assert_eq!(levels(now, None, Some(now + 7)), [Level::Warn]);
        assert_eq!(levels(now, None, Some(now - 301)), [Level::Fail]);
        assert_eq!(levels(now, Some((now + 3600) * 1000), None), [Level::Warn]);
        assert_eq!(levels(0, None, None), [Level::Fail]);
        assert_eq!(levels(i64::MIN, Some(i64::MAX), Some(i64::MAX)).len(), 3);
    }
}
