//! What the server says. Every reply is `{"type":…,"data":{…},"ref":…}`; the two histories carry a list and say whose.
//!
//! Encoding goes straight into the caller's buffer, so that a message becomes bytes exactly once.

use schemars::JsonSchema;
use serde::Serialize;

use super::{
    error::{ErrorCode, Reject},
    value::{Cursor, Message, MessageId, Nonce, Place, RoomName, Timestamp, UserId, Username},
};

/// One reply to one request.
#[derive(Clone, Debug)]
pub enum Reply {
    /// To `join`: everything in the room after `last_id` arrives live.
    Joined {
        /// The room joined.
        room: RoomName,
        /// Id of the room's newest message; 0 when it has none.
        last_id: Cursor,
        /// Its `seq`; 0 when there is none.
        last_seq: i64,
    },
    /// To `leave`.
    Left(RoomName),
    /// To `resume`, before what it replays.
    Resumed(Resumed),
    /// To `message` and `dm`, once the message is durable.
    Sent(Sent),
    /// To `room_history` and `dm_history`.
    History(History),
    /// To `hello`.
    Welcome(Box<Welcome>),
    /// To `auth`: Unix time in seconds at which the token in force expires.
    AuthAck(i64),
    /// To `ping`.
    Pong,
    /// To anything that was refused.
    Error(Reject),
}

/// Where a stored message stands in the log, as its sender is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// Its id.
    pub id: MessageId,
    /// Its position in its conversation.
    pub seq: i64,
    /// When it was stored.
    pub timestamp: Timestamp,
    /// It had been stored before, under the same nonce.
    pub duplicate: bool,
}

/// The acknowledgement of one send.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Where it went.
    pub place: Place,
    /// Where it stands.
    pub ack: Ack,
    /// As given by the sender.
    pub nonce: Option<Nonce>,
}

/// Where a reader stands after `resume`.
#[derive(Clone, Debug)]
pub struct Resumed {
    /// Names this log.
    pub epoch: String,
    /// Everything after it arrives live.
    pub last_id: Cursor,
    /// The rooms that are received from now on, of those that were asked for.
    pub rooms: Vec<RoomName>,
    /// What follows: how many messages were missed up to `last_id`; or why nothing is replayed.
    pub replay: Result<u32, Incomplete>,
    /// The rooms that are not received, each with its reason.
    pub refused: Vec<(RoomName, ErrorCode)>,
}

/// Why a `resume` replays nothing, so that the client has to ask for histories.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, JsonSchema)]
#[schemars(rename_all = "snake_case")]
pub enum Incomplete {
    /// More was missed than is replayed at once.
    TooMany,
    /// The position lies after the newest message there is.
    Ahead,
    /// The position lies before what this connection was already sent.
    Behind,
    /// The position is one of another log.
    Epoch,
}

impl Incomplete {
    /// The reason as it stands on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TooMany => "too_many",
            Self::Ahead => "ahead",
            Self::Behind => "behind",
            Self::Epoch => "epoch",
        }
    }
}

/// A part of one conversation, in chronological order.
#[derive(Clone, Debug)]
pub struct History {
    /// The room, or the other user.
    pub place: Place,
    /// Oldest first.
    pub messages: Vec<Message>,
    /// There is more beyond the end that was read towards.
    pub has_more: bool,
}

/// Who you are and what holds here.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Welcome {
    /// The token's user.
    pub user_id: UserId,
    /// The name others see.
    pub username: Username,
    /// The token's role.
    pub role: String,
    /// Name and version of this program.
    pub server: &'static str,
    /// Names this log: a cursor of another epoch means nothing here.
    pub epoch: String,
    /// Id of the newest message of the whole log that was announced; 0 when there is none.
    pub last_id: Cursor,
    /// The limits in force.
    pub limits: LimitsInForce,
}

/// The limits a client should know, as told in `welcome`.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LimitsInForce {
    /// Longest `content`, bytes of UTF-8.
    pub content_bytes: usize,
    /// Longest frame, bytes.
    pub frame_bytes: usize,
    /// Most messages in one history.
    pub history_limit: u32,
    /// Most bytes of messages in one history.
    pub history_bytes: usize,
    /// Most rooms that one connection can join.
    pub rooms_per_connection: usize,
    /// Most missed messages that `resume` replays.
    pub resume_limit: u32,
    /// Sends per second and user; 0 is unlimited.
    pub rate_per_second: u32,
}
