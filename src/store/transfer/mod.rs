//! A log moves house: from a file into PostgreSQL, back, or from one of either into another.
//!
//! **What arrives is what was there, or nothing is served.** Positions, seqs, nonces, accounts, followers' cursors, kept
//! secrets and the epoch go along, so that clients go on with their cursors and tokens. What was written is read anew and
//! compared with the source, row by row, before the target can be served: until then a file bears another tag (and a
//! server says what it is), and in PostgreSQL the whole copy is one transaction that nobody sees. So a copy that was broken
//! off leaves nothing that must be gone on with; the next one begins again.
//!
//! Nobody may serve either side meanwhile: files are locked, and every node holds a lock in its database.
//!
//! Row numbers that no client sees are not kept: a message's number in PostgreSQL's table becomes its position.

mod compare;
mod digest;
mod error;
mod rows;

pub use compare::Tally;
pub(super) use error::Fault;
pub use error::{End, TransferError};
pub(super) use rows::{AccountRow, Facts, KEPT, Kept, Kind, PairRow, RoomRow, Row, UserRow, plain};

#[cfg(feature = "postgres")]
use super::postgres;
use super::{Answer, Location, sqlite};

/// Rows at a time: what is held in memory.
const PAGE: usize = 1000;

/// One that rows are read from, at one moment's view.
pub(super) trait Source: Send {
    /// What is known of the whole log.
    fn facts(&mut self) -> Answer<'_, Result<Facts, Fault>>;

    /// The next rows after `after`, in the order of [`Row::key`], at most `limit`; none at the end.
    fn page<'a>(
        &'a mut self,
        kind: Kind,
        after: Option<&'a Row>,
        limit: usize,
    ) -> Answer<'a, Result<Vec<Row>, Fault>>;

    /// What lies there and is no part of the log, in words.
    fn left_out(&mut self) -> Answer<'_, Result<Vec<String>, Fault>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    /// Whether the users and rooms are another program's, whose own words about them are not overwritten.
    fn is_shared(&self) -> bool {
        false
    }
}

/// One that rows are written to, and read from again.
pub(super) trait Target: Source {
    /// Writes rows of one kind.
    fn put<'a>(&'a mut self, kind: Kind, rows: &'a [Row]) -> Answer<'a, Result<(), Fault>>;

    /// Writes the rest. What is read from now on is what is stored.
    fn settle<'a>(&'a mut self, facts: &'a Facts) -> Answer<'a, Result<(), Fault>>;

    /// Lets it be served.
    fn finish(self: Box<Self>) -> Answer<'static, Result<(), Fault>>;
}

/// What a target turned out to be.
pub(super) enum Found {
    /// Nothing is in it.
    Empty(Box<dyn Target>),
    /// This log, from an earlier copy.
    Filled(Box<dyn Source>),
}

/// How far a copy has come.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// What is being done.
    pub step: Step,
    /// Messages that it is done with.
    pub done: u64,
    /// Of so many.
    pub of: u64,
}

/// What a copy is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Writing.
    Copying,
    /// Reading both sides.
    Comparing,
}

/// What came of a copy.
#[derive(Debug)]
pub struct Report {
    /// The target held it all before; nothing was written.
    pub was_there: bool,
    /// The log's name, as before.
    pub epoch: String,
    /// Where it ends.
    pub last: i64,
    /// What both sides hold.
    pub tally: Tally,
    /// Those outside whose cursors went along.
    pub followers: usize,
    /// Secrets that went along.
    pub secrets: usize,
    /// What else is to be known.
    pub notes: Vec<String>,
}

/// Copies the log at `from` to `to`, and compares; `watch` hears how it goes.
pub async fn copy(
    from: &Location,
    to: &Location,
    watch: &mut (dyn FnMut(Progress) + Send),
) -> Result<Report, TransferError> {
    let mut source = open_source(from)
        .await
        .map_err(|fault| fault.at(End::From))?;
    let facts = source.facts().await.map_err(|fault| fault.at(End::From))?;
    let mut notes = source
        .left_out()
        .await
        .map_err(|fault| fault.at(End::From))?;
    let target = open_target(to, &facts).await;
    let (tally, was_there) = match target.map_err(|fault| fault.at(End::To))? {
        Found::Filled(mut target) => {
            let compared = compare::compare(&mut *source, &mut *target, &facts, watch).await?;
            let refuse = |difference| TransferError::Changed { difference };
            (compared.map_err(refuse)?, true)
        }
        Found::Empty(mut target) => {
            fill(&mut *source, &mut *target, &facts, watch).await?;
            let compared = compare::compare(&mut *source, &mut *target, &facts, watch).await?;
            let refuse = |difference| TransferError::NotTheSame { difference };
            let tally = compared.map_err(refuse)?;
            if target.is_shared() {
                notes.push("users and rooms that were in TO keep what stands there".into());
            }
            target.finish().await.map_err(|fault| fault.at(End::To))?;
            (tally, false)
        }
    };
    if facts.messages > tally.messages {
        notes.push(format!(
            "{} rows that have a place in the log are no messages any more (emptied, in a private room, or of or to somebody \
             who has no row in users), and stay behind",
            facts.messages - tally.messages
        ));
    }
    Ok(Report {
        was_there,
        last: facts.last,
        followers: facts.followers.len(),
        secrets: facts.secrets.len(),
        epoch: facts.epoch,
        tally,
        notes,
    })
}

async fn fill(
    source: &mut dyn Source,
    target: &mut dyn Target,
    facts: &Facts,
    watch: &mut (dyn FnMut(Progress) + Send),
) -> Result<(), TransferError> {
    let mut done = 0;
    for kind in Kind::ALL {
        let mut last: Option<Row> = None;
        loop {
            let page = source.page(kind, last.as_ref(), PAGE).await;
            let mut page = page.map_err(|fault| fault.at(End::From))?;
            if page.is_empty() {
                break;
            }
            let put = target.put(kind, &page).await;
            put.map_err(|fault| fault.at(End::To))?;
            if kind == Kind::Messages {
                done += page.len() as u64;
            }
            watch(Progress {
                step: Step::Copying,
                done,
                of: facts.messages,
            });
            last = page.pop();
        }
    }
    let settled = target.settle(facts).await;
    settled.map_err(|fault| fault.at(End::To))
}

async fn open_source(place: &Location) -> Result<Box<dyn Source>, Fault> {
    match place {
        Location::File(path) => sqlite::open_source(path),
        #[cfg(feature = "postgres")]
        Location::Postgres(url) => postgres::open_source(url).await,
    }
}

async fn open_target(place: &Location, facts: &Facts) -> Result<Found, Fault> {
    match place {
        Location::File(path) => sqlite::open_target(path, facts),
        #[cfg(feature = "postgres")]
        Location::Postgres(url) => postgres::open_target(url, facts).await,
    }
}
