//! A row that another program inserted, before it has its place in the log: whether it is a message, and of which conversation.

use tokio_postgres::{Error, Row};

use super::heads::Talk;
use crate::protocol::{Content, RoomName, UserId};

/// Why a row of a private room is none, for those who must not be told of each.
pub(super) const CLOSED: &str = "its room is private, or not in rooms";

/// A row that has no position.
pub(super) struct Foreign {
    pub(super) id: i64,
    pub(super) ms: i64,
    /// Where it belongs; `None` when it is no message.
    pub(super) talk: Option<Talk>,
    pub(super) fault: &'static str,
}

impl Foreign {
    pub(super) fn of(row: &Row) -> Result<Self, Error> {
        let judged = Self::judge(row)?;
        Ok(Self {
            id: row.try_get(0)?,
            ms: row.try_get::<_, Option<i64>>(5)?.unwrap_or_default(),
            fault: judged.as_ref().err().copied().unwrap_or_default(),
            talk: judged.ok(),
        })
    }

    fn judge(row: &Row) -> Result<Result<Talk, &'static str>, Error> {
        let (from, to): (Option<i64>, Option<i64>) = (row.try_get(1)?, row.try_get(2)?);
        let (room, content): (Option<&str>, Option<&str>) = (row.try_get(3)?, row.try_get(4)?);
        let (sender, recipient, open): (bool, bool, bool) =
            (row.try_get(6)?, row.try_get(7)?, row.try_get(8)?);
        let from = match from.filter(|&from| sender && UserId::new(from).is_some()) {
            Some(from) => from,
            None => return Ok(Err("its sender is not in users")),
        };
        if content.is_none_or(|text| Content::new(text).is_err()) {
            return Ok(Err("nothing is said in it"));
        }
        Ok(match (room, to) {
            (Some(room), None) if RoomName::new(room).is_err() => {
                Err("its room has no possible name")
            }
            (Some(room), None) if open => Ok(Talk::Room(room.to_owned())),
            (Some(_), None) => Err(CLOSED),
            (None, Some(to)) if recipient && UserId::new(to).is_some() => Ok(Talk::pair(from, to)),
            (None, Some(_)) => Err("its recipient is not in users"),
            (None, None) => Err("it has neither a room nor a recipient"),
            (Some(_), Some(_)) => Err("it has both a room and a recipient"),
        })
    }
}
