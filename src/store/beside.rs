//! What an operator sees of a log and does to it with commands, beside the servers that run on it or without any.

use super::{Follower, Location, Mode, OpenError, Parked, Standing, sqlite};
use crate::protocol::{Cursor, MessageId, Timestamp};

#[cfg(feature = "postgres")]
use super::postgres;

/// A log, opened beside whoever serves it. Not for a process that serves it itself.
#[derive(Debug)]
pub struct Beside(Of);

#[derive(Debug)]
enum Of {
    File(sqlite::Beside),
    #[cfg(feature = "postgres")]
    Postgres(postgres::Beside),
}

/// Everybody's standing, at one moment.
#[derive(Debug)]
pub struct Overview {
    /// The position after the newest message.
    pub latest: Cursor,
    /// Everybody who ever followed.
    pub followers: Vec<Followed>,
}

/// How one stands.
#[derive(Debug)]
pub struct Followed {
    /// The cursor, and what is wrong.
    pub standing: Standing,
    /// The first message after the cursor.
    pub next: Option<MessageId>,
    /// What is parked, by id, as far as it was asked for.
    pub parked: Vec<Parked>,
}

/// What came of a wish.
#[derive(Debug, PartialEq, Eq)]
pub enum Wish {
    /// Done.
    Granted(Done),
    /// These cannot be meant, and nothing was changed.
    Unknown(Vec<MessageId>),
}

/// How much was done.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Parked messages that are due again, or were given up.
    pub parked: u64,
    /// Messages that a cursor passed.
    pub passed: u64,
}

/// What [`new_epoch`] did.
#[derive(Debug)]
pub struct NewEpoch {
    /// Where the log lies, for the operator.
    pub place: String,
    /// The name that clients with an old cursor still give.
    pub before: String,
    /// The name from now on.
    pub after: String,
}

impl Beside {
    /// Opens the log at `location`, which must be there, ours and of this version. Makes and migrates nothing.
    pub async fn open(location: &Location) -> Result<Self, OpenError> {
        Ok(Self(match location {
            Location::File(path) => Of::File(sqlite::Beside::open(path)?),
            #[cfg(feature = "postgres")]
            Location::Postgres(url) => {
                let beside = postgres::Beside::open(url).await;
                Of::Postgres(beside.map_err(OpenError::at(url))?)
            }
        }))
    }

    /// Where the log lies, for the operator.
    pub fn place(&self) -> String {
        match &self.0 {
            Of::File(beside) => beside.database().display().to_string(),
            #[cfg(feature = "postgres")]
            Of::Postgres(beside) => beside.place(),
        }
    }

    /// How everybody stands, with at most `limit` of what each refused.
    pub async fn overview(&mut self, limit: u32) -> Result<Overview, OpenError> {
        match &mut self.0 {
            Of::File(beside) => Ok(beside.overview(limit)?),
            #[cfg(feature = "postgres")]
            Of::Postgres(beside) => {
                let place = beside.place();
                beside.overview(limit).await.map_err(OpenError::at(place))
            }
        }
    }

    /// Asks for parked messages to be sent again: these, or all without any, of `whose`.
    pub async fn retry(
        &mut self,
        ids: &[MessageId],
        whose: &[Follower],
    ) -> Result<Wish, OpenError> {
        match &mut self.0 {
            Of::File(beside) => Ok(beside.retry(ids, whose)?),
            #[cfg(feature = "postgres")]
            Of::Postgres(beside) => {
                let place = beside.place();
                beside.retry(ids, whose).await.map_err(OpenError::at(place))
            }
        }
    }

    /// Gives up parked messages: these, or all without any, of `whose`. One that comes next and is not taken is passed by
    /// the cursor instead, and is parked for `reason`.
    pub async fn skip(
        &mut self,
        ids: &[MessageId],
        whose: &[Follower],
        reason: &str,
        now: Timestamp,
    ) -> Result<Wish, OpenError> {
        match &mut self.0 {
            Of::File(beside) => Ok(beside.skip(ids, whose, reason, now)?),
            #[cfg(feature = "postgres")]
            Of::Postgres(beside) => {
                let place = beside.place();
                beside
                    .skip(ids, whose, reason, now)
                    .await
                    .map_err(OpenError::at(place))
            }
        }
    }
}

/// Gives the log at `location` a new epoch, durably. Messages and ids stay; cursors taken before are refused from now on.
///
/// Fails when there is no such log, when it is not ours, and when a server has it open.
pub async fn new_epoch(location: &Location) -> Result<NewEpoch, OpenError> {
    let (before, after, place) = match location {
        Location::File(path) => {
            let done = sqlite::new_epoch(path)?;
            let place = done.database.display().to_string();
            (done.before, done.after, place)
        }
        #[cfg(feature = "postgres")]
        Location::Postgres(url) => {
            let renamed = async { postgres::Beside::open(url).await?.new_epoch().await };
            let (before, after) = renamed.await.map_err(OpenError::at(url))?;
            (before, after, url.to_string())
        }
    };
    Ok(NewEpoch {
        place,
        before,
        after,
    })
}

/// The mode that the log at `location` remembers; `None` when there is no file to read. Changes nothing.
pub async fn remembered_mode(location: &Location) -> Result<Option<Mode>, OpenError> {
    match location {
        Location::File(path) => Ok(sqlite::remembered_mode(path)),
        #[cfg(feature = "postgres")]
        Location::Postgres(url) => {
            let beside = postgres::Beside::open(url).await;
            Ok(Some(beside.map_err(OpenError::at(url))?.mode()))
        }
    }
}
