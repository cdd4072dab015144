//! Replies and messages as JSON, written straight into the caller's buffer: a message becomes bytes exactly once.

use schemars::JsonSchema;
use serde::{Serialize, Serializer, ser::SerializeMap};

use super::{
    error::{ErrorCode, Reject},
    reply::{Ack, History, Incomplete, Reply, Resumed, Sent},
    value::{Cursor, Message, MessageId, Nonce, Place, Ref, RoomName, Timestamp, UserId},
};

impl Reply {
    /// Appends the reply as JSON to `buffer`.
    pub fn encode(&self, reference: Option<&Ref>, buffer: &mut Vec<u8>) {
        match self {
            Self::Joined {
                room,
                last_id,
                last_seq,
            } => {
                let (last_id, last_seq) = (*last_id, *last_seq);
                frame(
                    "join_ack",
                    &JoinAck {
                        room,
                        status: "ok",
                        last_id,
                        last_seq,
                    },
                    reference,
                    buffer,
                );
            }
            Self::Left(room) => frame(
                "leave_ack",
                &LeaveAck { room, status: "ok" },
                reference,
                buffer,
            ),
            Self::Resumed(resumed) => {
                frame("resume_ack", &ResumeAck::of(resumed), reference, buffer)
            }
            Self::Sent(sent) => frame(sent.kind(), &SentBody::of(sent), reference, buffer),
            Self::History(history) => write(&HistoryFrame { history, reference }, buffer),
            Self::Welcome(welcome) => frame("welcome", &**welcome, reference, buffer),
            Self::AuthAck(exp) => frame("auth_ack", &AuthAck { exp: *exp }, reference, buffer),
            Self::Pong => frame("pong", &Empty {}, reference, buffer),
            Self::Error(reject) => write(&ErrorFrame { reject, reference }, buffer),
        }
    }
}

/// Appends a stored message as the live frame that every reader gets.
pub fn live_frame(message: &Message, buffer: &mut Vec<u8>) {
    let kind = match message.place {
        Place::Room(_) => "message",
        Place::Dm(_) => "dm",
    };
    frame(kind, message, None, buffer);
}

/// The inside of an error: `{code, message, field?, retryAfterMs?}`, the same in a frame and over HTTP.
fn error_object(reject: &Reject) -> impl Serialize + '_ {
    ErrorBody {
        code: reject.code,
        message: &reject.message,
        field: reject.field,
        retry_after_ms: reject.retry_after_ms,
    }
}

/// An error as an HTTP body: `{"error":{…}}`.
pub fn error_body(reject: &Reject) -> impl Serialize + '_ {
    #[derive(Serialize)]
    struct Body<T: Serialize> {
        error: T,
    }
    Body {
        error: error_object(reject),
    }
}

fn write(value: &impl Serialize, buffer: &mut Vec<u8>) {
    // Writing JSON into memory fails only on a map key that is no string, and no type here has one.
    if let Err(error) = serde_json::to_writer(buffer, value) {
        debug_assert!(false, "a reply that cannot be encoded: {error}");
    }
}

fn frame(kind: &'static str, data: &impl Serialize, reference: Option<&Ref>, buffer: &mut Vec<u8>) {
    write(
        &Frame {
            r#type: kind,
            data,
            r#ref: reference,
        },
        buffer,
    );
}

#[derive(Serialize)]
struct Frame<'a, T: Serialize> {
    r#type: &'static str,
    data: &'a T,
    #[serde(skip_serializing_if = "Option::is_none")]
    r#ref: Option<&'a Ref>,
}

/// Nothing needs to be said.
#[derive(Serialize, JsonSchema)]
pub(super) struct Empty {}

/// The token in force from now on.
#[derive(Serialize, JsonSchema)]
pub(super) struct AuthAck {
    /// Unix time in seconds at which it expires.
    exp: i64,
}

/// The room is received from now on.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct JoinAck<'a> {
    room: &'a RoomName,
    #[schemars(extend("const" = "ok"))]
    status: &'static str,
    /// Everything in the room after it arrives live.
    last_id: Cursor,
    /// Its `seq`; 0 when the room has no message.
    #[schemars(range(min = 0))]
    last_seq: i64,
}

/// The room is received no more.
#[derive(Serialize, JsonSchema)]
pub(super) struct LeaveAck<'a> {
    room: &'a RoomName,
    #[schemars(extend("const" = "ok"))]
    status: &'static str,
}

/// Where a reader stands after `resume`.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ResumeAck<'a> {
    /// Names this log.
    epoch: &'a str,
    /// Everything after it arrives live.
    last_id: Cursor,
    /// The rooms that are received from now on, of those that were asked for.
    rooms: &'a [RoomName],
    /// How many `message` and `dm` frames follow with what was missed up to `lastId`.
    replayed: u32,
    /// Nothing is missing after the replay. Otherwise nothing is replayed: ask for histories.
    complete: bool,
    /// Why it is not complete.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Incomplete>")]
    reason: Option<&'static str>,
    /// The rooms that are not received, each with its reason.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    refused: Vec<RefusedRoom<'a>>,
}

/// A room that a `resume` could not join.
#[derive(Serialize, JsonSchema)]
struct RefusedRoom<'a> {
    room: &'a RoomName,
    code: ErrorCode,
}

impl<'a> ResumeAck<'a> {
    fn of(resumed: &'a Resumed) -> Self {
        let refused = resumed.refused.iter();
        Self {
            epoch: &resumed.epoch,
            last_id: resumed.last_id,
            rooms: &resumed.rooms,
            replayed: resumed.replay.unwrap_or(0),
            complete: resumed.replay.is_ok(),
            reason: resumed.replay.err().map(|reason| reason.as_str()),
            refused: refused
                .map(|&(ref room, code)| RefusedRoom { room, code })
                .collect(),
        }
    }
}

/// The message is durable, and stands here in the log.
#[derive(Serialize, JsonSchema)]
pub(super) struct SentBody<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    room: Option<&'a RoomName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<UserId>,
    #[schemars(extend("const" = "ok"))]
    status: &'static str,
    id: MessageId,
    /// Its position in its conversation: 1 … n without a hole.
    #[schemars(range(min = 1))]
    seq: i64,
    timestamp: Timestamp,
    /// As given by the sender.
    #[serde(skip_serializing_if = "Option::is_none")]
    nonce: Option<&'a Nonce>,
    /// It had been stored before, under the same nonce.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    duplicate: bool,
}

impl<'a> SentBody<'a> {
    fn of(sent: &'a Sent) -> Self {
        let (room, to) = sent.place.parts();
        let Ack {
            id,
            seq,
            timestamp,
            duplicate,
        } = sent.ack;
        Self {
            room,
            to,
            status: "ok",
            id,
            seq,
            timestamp,
            nonce: sent.nonce.as_ref(),
            duplicate,
        }
    }
}

impl Sent {
    fn kind(&self) -> &'static str {
        match self.place {
            Place::Room(_) => "message_sent",
            Place::Dm(_) => "dm_sent",
        }
    }
}

impl Place {
    fn parts(&self) -> (Option<&RoomName>, Option<UserId>) {
        match self {
            Self::Room(room) => (Some(room), None),
            Self::Dm(to) => (None, Some(*to)),
        }
    }
}

/// Why a request was refused. It changed nothing.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ErrorBody<'a> {
    code: ErrorCode,
    /// What is wrong and what to do, for a person.
    message: &'a str,
    /// The field that is wrong, where one is.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'static str>,
    /// With `rate_limited`: milliseconds until it is worth trying again.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
}

struct ErrorFrame<'a> {
    reject: &'a Reject,
    reference: Option<&'a Ref>,
}

impl Serialize for ErrorFrame<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", "error")?;
        map.serialize_entry("message", &self.reject.message)?;
        map.serialize_entry("data", &error_object(self.reject))?;
        if let Some(reference) = self.reference {
            map.serialize_entry("ref", reference)?;
        }
        map.end()
    }
}

struct HistoryFrame<'a> {
    history: &'a History,
    reference: Option<&'a Ref>,
}

impl Serialize for HistoryFrame<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match &self.history.place {
            Place::Room(room) => {
                map.serialize_entry("type", "room_history")?;
                map.serialize_entry("data", &self.history.messages)?;
                map.serialize_entry("room", room)?;
            }
            Place::Dm(with) => {
                map.serialize_entry("type", "dm_history")?;
                map.serialize_entry("data", &self.history.messages)?;
                map.serialize_entry("with", with)?;
            }
        }
        map.serialize_entry("hasMore", &self.history.has_more)?;
        if let Some(reference) = self.reference {
            map.serialize_entry("ref", reference)?;
        }
        map.end()
    }
}

impl Serialize for Message {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("id", &self.id)?;
        map.serialize_entry("fromUser", &self.from)?;
        map.serialize_entry("username", &self.username)?;
        map.serialize_entry("content", &self.content)?;
        map.serialize_entry("timestamp", &self.timestamp)?;
        match &self.place {
            Place::Room(room) => map.serialize_entry("room", room)?,
            Place::Dm(to) => map.serialize_entry("to", to)?,
        }
        map.serialize_entry("seq", &self.seq)?;
        if let Some(nonce) = &self.nonce {
            map.serialize_entry("nonce", nonce)?;
        }
        map.end()
    }
}

impl Message {
    /// At least as many bytes as this message takes as JSON, so that a history can be cut off in time.
    pub fn encoded_len_at_most(&self) -> usize {
        // Keys, ids, timestamp and punctuation: 8 keys of ≤ 12 bytes with quotes, 4 integers of ≤ 16 digits, 26 for the time.
        const FIXED: usize = 256;
        let place = match &self.place {
            Place::Room(room) => escaped_len(room.as_str()),
            Place::Dm(_) => 16,
        };
        let nonce = self
            .nonce
            .as_ref()
            .map_or(0, |nonce| escaped_len(nonce.as_str()));
        FIXED
            + place
            + nonce
            + escaped_len(self.username.as_str())
            + escaped_len(self.content.as_str())
    }
}

/// Length of `text` as the inside of a JSON string (RFC 8259 section 7).
fn escaped_len(text: &str) -> usize {
    let extra = |byte: u8| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 1,
        0..0x20 => 5,
        _ => 0,
    };
    text.bytes().map(|byte| 1 + extra(byte)).sum()
}
