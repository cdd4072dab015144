//! What a log is made of, wherever it lies: the rows that move, in the one form in which both sides are compared.

use std::{cmp::Ordering, fmt};

use crate::{
    protocol::{Message, RoomName, UserId, Username},
    store::{Follower, Mode, Parked, Standing, TOKENS_SECRET, WEBHOOK_SECRET},
};

/// What is kept secret beside a log: the key of the built-in accounts' tokens, and the webhook's secret.
pub(in crate::store) const KEPT: [&str; 2] = [TOKENS_SECRET, WEBHOOK_SECRET];

/// A kept secret.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::store) struct Kept {
    /// One of [`KEPT`].
    pub(in crate::store) name: &'static str,
    /// Without the line break that a file may end in.
    pub(in crate::store) value: Vec<u8>,
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({} bytes)", self.name, self.value.len())
    }
}

/// What is known of a whole log.
#[derive(Clone, Debug)]
pub(in crate::store) struct Facts {
    pub(in crate::store) epoch: String,
    pub(in crate::store) mode: Mode,
    /// The highest position that was ever given, whoever deleted what.
    pub(in crate::store) last: i64,
    /// How many messages there are, for those who wait.
    pub(in crate::store) messages: u64,
    pub(in crate::store) followers: Vec<Standing>,
    pub(in crate::store) secrets: Vec<Kept>,
}

/// The kinds of rows, in the order in which they can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Kind {
    Users,
    Rooms,
    Pairs,
    Messages,
    Parked,
}

impl Kind {
    pub(in crate::store) const ALL: [Self; 5] = [
        Self::Users,
        Self::Rooms,
        Self::Pairs,
        Self::Messages,
        Self::Parked,
    ];
}

/// One row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store) enum Row {
    User(UserRow),
    Room(RoomRow),
    Pair(PairRow),
    Message(Message),
    Parked(Follower, Parked),
}

/// Somebody who was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store) struct UserRow {
    pub(in crate::store) id: UserId,
    pub(in crate::store) username: Username,
    pub(in crate::store) email: Option<String>,
    pub(in crate::store) created_ms: i64,
    pub(in crate::store) account: Option<AccountRow>,
}

/// What makes a user a built-in account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store) struct AccountRow {
    /// The name in lower case.
    pub(in crate::store) name: String,
    pub(in crate::store) password_hash: Option<String>,
    pub(in crate::store) role: String,
}

/// A room, and where it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store) struct RoomRow {
    pub(in crate::store) name: RoomName,
    pub(in crate::store) description: Option<String>,
    pub(in crate::store) created_ms: i64,
    pub(in crate::store) last_position: i64,
    pub(in crate::store) last_seq: i64,
}

/// Two who talked, and where that ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store) struct PairRow {
    pub(in crate::store) low: UserId,
    pub(in crate::store) high: UserId,
    pub(in crate::store) last_position: i64,
    pub(in crate::store) last_seq: i64,
}

impl Row {
    /// The order of the rows of one kind.
    pub(super) fn order(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }

    fn key(&self) -> (i64, i64, &str) {
        match self {
            Self::User(user) => (user.id.get(), 0, ""),
            Self::Room(room) => (0, 0, room.name.as_str()),
            Self::Pair(pair) => (pair.low.get(), pair.high.get(), ""),
            Self::Message(message) => (message.id.get(), 0, ""),
            Self::Parked(follower, parked) => (*follower as i64, parked.id.get(), ""),
        }
    }

    /// Without what another program says of its users and rooms.
    pub(super) fn ours(mut self) -> Self {
        match &mut self {
            Self::User(user) => {
                user.username = Username::cleaned("", user.id);
                user.email = None;
                user.created_ms = 0;
            }
            Self::Room(room) => {
                room.description = None;
                room.created_ms = 0;
            }
            // What a message's sender is called stands with the user, and is compared there.
            Self::Message(message) => message.username = Username::cleaned("", message.from),
            Self::Pair(_) | Self::Parked(..) => {}
        }
        self
    }
}

impl fmt::Display for Row {
    /// For the operator, without what anybody said.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(user) => write!(f, "user {}", user.id),
            Self::Room(room) => write!(f, "the room {:?}", room.name.as_str()),
            Self::Pair(pair) => write!(
                f,
                "the conversation of users {} and {}",
                pair.low, pair.high
            ),
            Self::Message(message) => write!(f, "message {}", message.id),
            Self::Parked(follower, parked) => {
                write!(f, "message {}, parked of {},", parked.id, follower.as_str())
            }
        }
    }
}

/// Words that not every database can hold: NUL, which PostgreSQL's text cannot, is made visible.
pub(in crate::store) fn plain(text: String) -> String {
    match text.contains('\0') {
        true => text.replace('\0', "\u{FFFD}"),
        false => text,
    }
}
