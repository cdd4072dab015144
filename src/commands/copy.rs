//! `chat-server copy`: a database moves, from a file into PostgreSQL or back.

use std::{
    io::IsTerminal as _,
    time::{Duration, Instant},
};

use clap::Args;

use super::{Surroundings, print};
use crate::{
    config::{StartupError, location},
    protocol::printable,
    store::{
        Location,
        transfer::{self, Progress, Report, Step},
    },
};

/// What `copy` takes.
#[derive(Args, Debug)]
pub struct CopyArgs {
    /// The database that is read: a file, postgres://user:password@host/database, or env:NAME for what the environment
    /// variable NAME says, such as env:DATABASE_URL: arguments can be seen by everybody on the machine
    #[arg(value_name = "FROM")]
    from: String,
    /// The one that is written, in the same words: a new file, or an empty PostgreSQL database
    #[arg(value_name = "TO")]
    to: String,
}

/// Between two lines about how it goes: for somebody who looks on, and for a log.
const A_LINE_EVERY: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(30)];

pub(super) async fn run(args: &CopyArgs, surroundings: &Surroundings) -> Result<u8, StartupError> {
    let (from, to) = (
        place("FROM", &args.from, surroundings)?,
        place("TO", &args.to, surroundings)?,
    );
    if is_one(&from, &to) {
        return Err(StartupError::Usage(
            "FROM and TO are the same database; give another TO".into(),
        ));
    }
    let begun = Instant::now();
    let mut told = Told::new(std::io::stderr().is_terminal());
    let copied = transfer::copy(&from, &to, &mut |progress| told.hear(progress)).await;
    let report = copied.map_err(StartupError::Copy)?;
    print(&text(&report, begun.elapsed()))?;
    Ok(0)
}

fn place(name: &str, given: &str, surroundings: &Surroundings) -> Result<Location, StartupError> {
    let look = |variable: &str| surroundings.variable.and_then(|look| look(variable));
    let said = match given.strip_prefix("env:") {
        Some(variable) => Some(look(variable).ok_or_else(|| {
            StartupError::Usage(format!(
                "{name} is {given:?}, and there is no such environment variable: set it, or give the database itself"
            ))
        })?),
        None => None,
    };
    let given = said.as_deref().unwrap_or(given);
    let is_postgres = given.starts_with("postgres://") || given.starts_with("postgresql://");
    if is_postgres && cfg!(not(feature = "postgres")) {
        return Err(StartupError::Usage(format!(
            "{name} is a PostgreSQL database, and this chat-server was built without it: build it with --features postgres \
             (a copy from one file to another works in this one, too)"
        )));
    }
    location(given).map_err(|error| match error {
        // Elsewhere a database is given by a flag.
        StartupError::Usage(words) => StartupError::Usage(
            words
                .replace("--db (DATABASE_URL)", name)
                .replace("--db ", ""),
        ),
        error => error,
    })
}

fn is_one(from: &Location, to: &Location) -> bool {
    match (from, to) {
        (Location::File(from), Location::File(to)) => {
            let same = from.canonicalize().ok();
            from == to || same.is_some() && same == to.canonicalize().ok()
        }
        #[cfg(feature = "postgres")]
        (from, to) => from == to,
    }
}

/// Lines about how it goes, on standard error.
struct Told {
    every: Duration,
    /// The step, since when, and when it was last told of.
    step: Option<(Step, Instant, Instant)>,
}

impl Told {
    fn new(is_terminal: bool) -> Self {
        Self {
            every: A_LINE_EVERY[usize::from(!is_terminal)],
            step: None,
        }
    }

    fn hear(&mut self, progress: Progress) {
        let now = Instant::now();
        let (begun, last) = match self.step {
            Some((step, begun, last)) if step == progress.step => (begun, last),
            _ => {
                self.step = Some((progress.step, now, now));
                return;
            }
        };
        let is_end = progress.done == progress.of && progress.of > 0;
        if now - last < self.every && !(is_end && last > begun) {
            return;
        }
        self.step = Some((progress.step, begun, now));
        let what = match progress.step {
            Step::Copying => "copied",
            Step::Comparing => "compared",
        };
        let percent = progress.done * 100 / progress.of.max(1);
        let rate = progress.done as f64 / (now - begun).as_secs_f64().max(0.001);
        eprintln!(
            "{what} {} of {} messages, {percent} %, {rate:.0}/s",
            progress.done, progress.of
        );
    }
}

fn text(report: &Report, took: Duration) -> String {
    let tally = &report.tally;
    let begin = match report.was_there {
        true => "TO holds the same log already; nothing was written",
        false => "copied, read again and compared: both sides are the same",
    };
    let mut text = format!(
        "{begin}\n\
         messages  {}, up to position {}\n\
         users     {}, of which {} built-in accounts\n\
         rooms     {}, and {} direct conversations\n\
         copies    {} cursors, {} parked messages; {} kept secrets\n\
         epoch     {}\n\
         sha256    {}\n\
         took      {:.1} s\n",
        tally.messages,
        report.last,
        tally.users,
        tally.accounts,
        tally.rooms,
        tally.pairs,
        report.followers,
        tally.parked,
        report.secrets,
        printable(&report.epoch),
        tally.checksum,
        took.as_secs_f64(),
    );
    for note in &report.notes {
        text.push_str("note      ");
        text.push_str(&printable(note));
        text.push('\n');
    }
    text
}
