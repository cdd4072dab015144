//! What only the HTTP door asks: lists of rooms, people and conversations, by the parameters of a query.
//!
//! A parameter is read by the rules of the frame's field of the same name, and refused in the same words.

use std::{borrow::Cow, ops::RangeInclusive};

use schemars::JsonSchema;
use serde::Serialize;

use super::{
    Limits,
    error::Reject,
    json::{Fields, given_twice, missing, out_of_range},
    request::{LIMIT_RANGE, room_of},
    value::{Cursor, MAX_ID, Message, RoomName, UserId, Username, Window},
};

/// The parameters of a query, decoded. Unknown ones are ignored.
#[derive(Clone, Debug)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// From names and values, in the order in which they came.
    pub fn new(pairs: Vec<(String, String)>) -> Self {
        Self(pairs)
    }

    /// `limit`, `before` and `after` of a history.
    pub fn window(&self, limits: &Limits) -> Result<Window, Reject> {
        Window::read(|name, range| self.integer(name, range), limits)
    }

    /// `limit`: most entries of a list.
    pub fn limit(&self, limits: &Limits) -> Result<u32, Reject> {
        Ok(limits.clamped(self.integer("limit", LIMIT_RANGE)?))
    }

    /// `before`, a position in the log; [`Cursor::END`] without it.
    pub fn before(&self) -> Result<Cursor, Reject> {
        let before = self.integer("before", 1..=MAX_ID)?;
        Ok(before.and_then(Cursor::new).unwrap_or(Cursor::END))
    }

    /// `after`, the id of a user; 0 without it.
    pub fn after_user(&self) -> Result<i64, Reject> {
        Ok(self.integer("after", 0..=MAX_ID)?.unwrap_or(0))
    }

    /// `after`, the name of a room.
    pub fn after_room(&self) -> Result<Option<RoomName>, Reject> {
        self.text("after")?
            .map(|name| room_of("after", name))
            .transpose()
    }

    /// `online`: only those who are connected.
    pub fn online(&self) -> Result<bool, Reject> {
        match self.text("online")? {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(Reject::invalid("online", "online must be true or false")),
        }
    }

    fn integer(
        &self,
        name: &'static str,
        range: RangeInclusive<i64>,
    ) -> Result<Option<i64>, Reject> {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        let number = integer_of(text).filter(|number| range.contains(number));
        number.map(Some).ok_or_else(|| out_of_range(name, &range))
    }

    fn text(&self, name: &'static str) -> Result<Option<&str>, Reject> {
        let mut values = self.0.iter().filter(|(key, _)| key == name);
        match (values.next(), values.next()) {
            (_, Some(_)) => Err(given_twice(name)),
            (value, None) => Ok(value.map(|(_, value)| &**value)),
        }
    }
}

/// As JSON writes it: `+5` is none.
fn integer_of(text: &str) -> Option<i64> {
    (!text.starts_with('+')).then(|| text.parse().ok())?
}

impl RoomName {
    /// The room that a path names.
    pub fn of_path(text: &str) -> Result<Self, Reject> {
        room_of("room", text)
    }
}

impl UserId {
    /// The user that a path names.
    pub fn of_path(text: &str) -> Result<Self, Reject> {
        let id = integer_of(text).and_then(Self::new);
        id.ok_or_else(|| out_of_range("user", &(1..=MAX_ID)))
    }
}

/// The body that makes a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRoom {
    /// What it is to be called.
    pub name: RoomName,
}

impl NewRoom {
    /// Reads `{name}`; `room`, as the frames call it, is understood too.
    pub fn parse(text: &str) -> Result<Self, Reject> {
        const NAMES: [&str; 2] = ["name", "room"];
        let fields = Fields::split(text, &NAMES)?;
        fields.refuse_duplicates()?;
        let read = |field| -> Result<Option<(&'static str, Cow<'_, str>)>, Reject> {
            Ok(fields.text(field)?.map(|text| (field, text)))
        };
        match (read("name")?, read("room")?) {
            (Some(_), Some(_)) => Err(Reject::invalid("room", "give name alone, without room")),
            (Some((field, text)), None) | (None, Some((field, text))) => Ok(Self {
                name: room_of(field, &text)?,
            }),
            (None, None) => Err(missing("name")),
        }
    }
}

/// A part of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing<T> {
    /// In the order of the list.
    pub entries: Vec<T>,
    /// There are more after the last one.
    pub has_more: bool,
}

/// A room, for those who look for one.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RoomEntry {
    /// Its name.
    pub name: RoomName,
    /// Users who have joined it on some connection now.
    pub member_count: usize,
    /// Id of its newest message; 0 when it has none.
    pub last_id: Cursor,
    /// Its `seq`; 0 when there is none.
    pub last_seq: i64,
    /// The message itself.
    pub last_message: Option<Message>,
}

/// Somebody who was ever here.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Person {
    /// Their id.
    pub id: UserId,
    /// What they are called.
    pub username: Username,
    /// They have a connection now.
    pub online: bool,
}

/// A DM conversation, as one of the two sees it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Conversation {
    /// The other one; oneself, in notes to oneself.
    pub with: Person,
    /// Id of the newest message.
    pub last_id: Cursor,
    /// Its `seq`.
    pub last_seq: i64,
    /// The message itself.
    pub last_message: Message,
}
