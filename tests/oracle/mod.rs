//! The oracle: takes what every connection did and saw, and what is stored in the end, and says what is wrong.
//!
//! It knows nothing of how the server works, in which process it ran, or over what it stored; so one and the same oracle
//! judges a session without a socket and the executable after a kill. Ten laws, each a function that returns a sentence.

pub mod gap;
mod histories;
pub mod report;
mod resume;
mod sends;
mod sight;
pub mod trace;

use std::collections::HashMap;

use trace::{Reply, Request, Row, Sent, Trace, Where};

/// A log under one name, whole: the truth that its connections are measured against.
#[derive(Clone, Debug)]
pub struct Era {
    pub epoch: String,
    /// By id.
    pub rows: Vec<Row>,
    /// So many of the rows were there when it began, under another name.
    pub inherited: usize,
}

impl Era {
    pub fn row(&self, id: i64) -> Option<&Row> {
        let at = self.rows.binary_search_by_key(&id, |row| row.id).ok()?;
        Some(&self.rows[at])
    }

    /// The rows with `after` < id ≤ `until`.
    pub fn between(&self, after: i64, until: i64) -> &[Row] {
        let from = self.rows.partition_point(|row| row.id <= after);
        let to = self.rows.partition_point(|row| row.id <= until);
        &self.rows[from..to.max(from)]
    }

    pub fn last_id(&self) -> i64 {
        self.rows.last().map_or(0, |row| row.id)
    }
}

/// All that is known when a run is over.
#[derive(Clone, Debug)]
pub struct Case {
    pub traces: Vec<Trace>,
    pub eras: Vec<Era>,
    /// Most messages that a resume replays.
    pub resume_limit: usize,
    /// Everything was mended in the end and waited for: an open connection has seen all that is its own.
    pub healed: bool,
}

impl Case {
    fn era(&self, trace: &Trace) -> &Era {
        &self.eras[trace.era]
    }

    /// Every attempt to send, with what came of it.
    fn all_attempts(&self) -> Vec<Attempt<'_>> {
        let mut attempts = Vec::new();
        for trace in &self.traces {
            let mut answers: HashMap<u64, (u64, &Reply)> = trace
                .answers()
                .into_iter()
                .map(|(stamp, answered)| (answered.asked.0, (stamp, answered.reply)))
                .collect();
            for (stamp, event) in &trace.events {
                if let trace::Event::Said(
                    _,
                    Request::Send {
                        place,
                        content,
                        nonce,
                    },
                ) = event
                {
                    attempts.push(Attempt {
                        trace,
                        said: *stamp,
                        place,
                        content,
                        nonce: nonce.as_deref(),
                        answer: answers.remove(stamp),
                    });
                }
            }
        }
        attempts
    }
}

/// One send on one connection.
#[derive(Clone, Debug)]
struct Attempt<'a> {
    trace: &'a Trace,
    said: u64,
    place: &'a Where,
    content: &'a str,
    nonce: Option<&'a str>,
    answer: Option<(u64, &'a Reply)>,
}

impl<'a> Attempt<'a> {
    fn ack(&self) -> Option<&'a Sent> {
        match self.answer {
            Some((_, Reply::Sent(sent))) => Some(sent),
            _ => None,
        }
    }

    fn error(&self) -> Option<&'a str> {
        match self.answer {
            Some((_, Reply::Error(code))) => Some(code),
            _ => None,
        }
    }
}

/// A case, and what more than one law asks of it.
struct Facts<'a> {
    case: &'a Case,
    attempts: Vec<Attempt<'a>>,
}

impl std::ops::Deref for Facts<'_> {
    type Target = Case;

    fn deref(&self) -> &Case {
        self.case
    }
}

/// `Err` is a sentence about what is wrong.
type Verdict = Result<(), String>;

type Law = fn(&Facts<'_>) -> Verdict;

/// The ten laws by name.
const LAWS: [(&str, Law); 10] = [
    ("LOST", sends::lost),
    ("PHANTOM", sight::phantom),
    ("DUP", sends::dup),
    ("ORDER", sight::order),
    ("GAP", gap::gap),
    ("RESUME", resume::resume),
    ("EPOCH", resume::epoch),
    ("LEAK", sight::leak),
    ("IDENT", sight::ident),
    ("LIVE", sight::live),
];

/// Every law that is broken, as a sentence that begins with its name.
pub fn violations(case: &Case) -> Vec<String> {
    let attempts = case.all_attempts();
    let facts = Facts { case, attempts };
    let judged = LAWS.iter().map(|(name, law)| (name, law(&facts)));
    judged
        .filter_map(|(name, verdict)| verdict.err().map(|sentence| format!("{name}: {sentence}")))
        .collect()
}

/// Fails when `condition` does not hold, with the sentence that `what` makes.
fn must(condition: bool, what: impl FnOnce() -> String) -> Verdict {
    if condition { Ok(()) } else { Err(what()) }
}

/// How a connection is called in a sentence.
fn who(trace: &Trace) -> String {
    let first = trace.events.first().map_or(0, |(stamp, _)| *stamp);
    format!(
        "the connection of user {} that began at {first}",
        trace.user
    )
}
