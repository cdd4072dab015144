//! What was found, and how it is told: lines for a person, one object for a script. Says nothing that a terminal would obey.

use serde::Serialize;

use crate::{config::StartupError, protocol::printable};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Level {
    /// As it should be.
    Ok,
    /// The server serves, and somebody should know this.
    Warn,
    /// Something does not work.
    Fail,
}

/// One line: what was looked at, what was found, and for all but `ok` how to mend it.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Finding {
    pub(super) status: Level,
    pub(super) subject: &'static str,
    found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<String>,
}

impl Finding {
    pub(super) fn ok(subject: &'static str, found: impl Into<String>) -> Self {
        Self {
            status: Level::Ok,
            subject,
            found: found.into(),
            fix: None,
        }
    }

    pub(super) fn warn(
        subject: &'static str,
        found: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self {
            status: Level::Warn,
            fix: Some(fix.into()),
            ..Self::ok(subject, found)
        }
    }

    pub(super) fn fail(
        subject: &'static str,
        found: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self {
            status: Level::Fail,
            ..Self::warn(subject, found, fix)
        }
    }

    /// The same, with more of what was found.
    pub(super) fn and(mut self, more: &str) -> Self {
        self.found.push_str(more);
        self
    }

    /// What a start would end with. Errors for the operator end with the fix, behind a colon or a semicolon.
    pub(super) fn error(subject: &'static str, error: &StartupError) -> Self {
        let text = error.to_string();
        let end = [": ", "; "]
            .iter()
            .filter_map(|mark| text.rfind(mark))
            .max();
        match end.and_then(|end| text.split_at_checked(end)) {
            Some((found, fix)) => Self::fail(subject, found, fix.get(2..).unwrap_or_default()),
            None => Self::fail(subject, text, "correct it, then ask again"),
        }
    }
}

/// All findings, in the order in which they are told.
#[derive(Serialize)]
pub(super) struct Report {
    status: Level,
    ok: usize,
    warn: usize,
    fail: usize,
    checks: Vec<Finding>,
}

impl Report {
    pub(super) fn new(checks: Vec<Finding>) -> Self {
        let count = |level| checks.iter().filter(|check| check.status == level).count();
        let (ok, warn, fail) = (count(Level::Ok), count(Level::Warn), count(Level::Fail));
        let status = match (warn, fail) {
            (_, 1..) => Level::Fail,
            (1.., 0) => Level::Warn,
            (0, 0) => Level::Ok,
        };
        Self {
            status,
            ok,
            warn,
            fail,
            checks,
        }
    }

    /// 1 when something failed.
    pub(super) fn exit_code(&self) -> u8 {
        u8::from(self.fail > 0)
    }

    pub(super) fn json(&self) -> String {
        // Numbers and texts: nothing that could not be written.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for check in &self.checks {
            let word = match check.status {
                Level::Ok => "ok",
                Level::Warn => "warn",
                Level::Fail => "fail",
            };
            let found = printable(&check.found);
            text.push_str(&format!("{word:<6}{:<12}{found}\n", check.subject));
            for (at, line) in check.fix.iter().flat_map(|fix| fix.lines()).enumerate() {
                let word = if at == 0 { "fix" } else { "" };
                text.push_str(&format!("{:<6}{word:<12}{}\n", "", printable(line)));
            }
        }
        let Self { ok, warn, fail, .. } = self;
        let verdict = match self.status {
            Level::Ok => "all is well",
            Level::Warn => "it will serve; read the warnings",
            Level::Fail => "mend what failed, then ask again",
        };
        text + &format!("\n{ok} ok, {warn} warn, {fail} fail: {verdict}\n")
    }
}
