//! What one connection did and saw, in order: every request, every frame, and how it ended.
//!
//! A trace judges nothing. Contents are canaries: each says who said it, where, and which of all sends it was, so that
//! one frame alone tells whether it may be where it was seen.

use std::{collections::HashMap, fmt};

use serde::Deserialize;
use serde_json::value::RawValue;

/// Where something was said: a room, or the user it was said to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Where {
    Room(String),
    Dm(i64),
}

/// A message, as it was seen or as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub id: i64,
    pub seq: i64,
    pub from: i64,
    pub username: String,
    pub place: Where,
    pub content: String,
    pub timestamp: String,
    pub nonce: Option<String>,
}

impl Row {
    /// Whether `user` takes part in it; of a room's message nobody does more than others.
    pub fn is_dm_of(&self, user: i64) -> bool {
        matches!(self.place, Where::Dm(to) if to == user || self.from == user)
    }

    /// Whether it lies in the conversation that `reader` calls `place`.
    pub fn is_in(&self, reader: i64, place: &Where) -> bool {
        match (place, &self.place) {
            (Where::Room(room), Where::Room(said_in)) => room == said_in,
            (Where::Dm(with), Where::Dm(to)) => {
                (self.from, *to) == (reader, *with) || (self.from, *to) == (*with, reader)
            }
            _ => false,
        }
    }
}

/// A request, with the `ref` that its reply bears.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    Hello,
    Ping,
    Auth(String),
    Join(String),
    Leave(String),
    Send {
        place: Where,
        content: String,
        nonce: Option<String>,
    },
    History {
        place: Where,
        part: Part,
        limit: Option<u32>,
    },
    Resume {
        after: i64,
        rooms: Vec<String>,
        epoch: Option<String>,
    },
}

/// Which end of a history is asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Part {
    Newest,
    Before(i64),
    After(i64),
}

/// A frame that came.
#[derive(Clone, Debug, PartialEq)]
pub enum Frame {
    Live(Row),
    Reply {
        reference: Option<i64>,
        reply: Reply,
        /// The frame as it was, if a canary is in it that has no business there.
        leak: Option<String>,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    Joined {
        room: String,
        last_id: i64,
        last_seq: i64,
    },
    Left(String),
    Sent(Sent),
    History {
        place: Where,
        rows: Vec<Row>,
        has_more: bool,
    },
    Welcome {
        user: i64,
        epoch: String,
        last_id: i64,
    },
    Resumed(Resumed),
    AuthAck,
    Pong,
    Error(String),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Sent {
    pub place: Where,
    pub id: i64,
    pub seq: i64,
    pub timestamp: String,
    pub nonce: Option<String>,
    pub duplicate: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Resumed {
    pub epoch: String,
    pub last_id: i64,
    pub rooms: Vec<String>,
    pub replayed: usize,
    pub complete: bool,
    pub reason: Option<String>,
    pub refused: Vec<String>,
}

/// One thing that happened on a connection.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    Said(i64, Request),
    Heard(Frame),
    /// The server ended it, with this code if there was one.
    Closed(Option<u16>),
    /// This side ended it.
    Cut,
    /// This was waited for longer than anything may take.
    Stuck(String),
}

/// Everything that happened on one connection, each with a stamp that tells what came first among all connections.
#[derive(Clone, Debug)]
pub struct Trace {
    pub user: i64,
    /// Which of the logs that followed each other it spoke to.
    pub era: usize,
    pub events: Vec<(u64, Event)>,
}

impl Trace {
    /// Whether neither side has ended it.
    pub fn is_open(&self) -> bool {
        let ended = |event: &Event| matches!(event, Event::Closed(_) | Event::Cut);
        !self.events.iter().any(|(_, event)| ended(event))
    }

    /// Every reply, with its stamp and the request that it answers.
    pub fn answers(&self) -> Vec<(u64, Answered<'_>)> {
        let (mut asked, mut answers) = (HashMap::new(), Vec::new());
        for (stamp, event) in &self.events {
            match event {
                Event::Said(reference, request) => {
                    asked.insert(*reference, (*stamp, request));
                }
                Event::Heard(Frame::Reply {
                    reference, reply, ..
                }) => {
                    if let Some(&asked) = reference.as_ref().and_then(|it| asked.get(it)) {
                        answers.push((*stamp, Answered { asked, reply }));
                    }
                }
                _ => {}
            }
        }
        answers
    }

    /// Every message that was seen, live or in a history.
    pub fn rows(&self) -> impl Iterator<Item = &Row> {
        self.events.iter().flat_map(|(_, event)| match event {
            Event::Heard(Frame::Live(row)) => std::slice::from_ref(row),
            Event::Heard(Frame::Reply {
                reply: Reply::History { rows, .. },
                ..
            }) => rows,
            _ => &[],
        })
    }
}

/// A reply beside its request.
#[derive(Clone, Copy, Debug)]
pub struct Answered<'a> {
    pub asked: (u64, &'a Request),
    pub reply: &'a Reply,
}

/// Begins every content, so that one that escapes is recognised.
const MARK: &str = "canary:";

/// A content that says who said it, where, and which send it is; at least `bytes` long.
pub fn canary(from: i64, place: &Where, number: usize, bytes: usize) -> String {
    let place = match place {
        Where::Room(room) => format!("room:{room}"),
        Where::Dm(to) => format!("user:{to}"),
    };
    let text = format!("{MARK}{from}:{place}:{number} ");
    let filler = bytes.saturating_sub(text.len());
    text + &"x".repeat(filler) + "."
}

/// Who said it, where, and which send it is.
pub fn origin_of(content: &str) -> Option<(i64, Where, usize)> {
    let mut parts = content.strip_prefix(MARK)?.split(' ').next()?.split(':');
    let from = parts.next()?.parse().ok()?;
    let place = match (parts.next()?, parts.next()?) {
        ("room", room) => Where::Room(room.into()),
        (_, user) => Where::Dm(user.parse().ok()?),
    };
    Some((from, place, parts.next()?.parse().ok()?))
}

#[derive(Deserialize)]
struct Wire<'a> {
    r#type: &'a str,
    #[serde(borrow)]
    data: &'a RawValue,
    room: Option<String>,
    with: Option<i64>,
    #[serde(rename = "hasMore")]
    has_more: Option<bool>,
    r#ref: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireRow {
    id: i64,
    seq: i64,
    from_user: i64,
    username: String,
    room: Option<String>,
    to: Option<i64>,
    content: String,
    timestamp: String,
    nonce: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WireData {
    room: String,
    to: Option<i64>,
    id: i64,
    seq: i64,
    timestamp: String,
    nonce: Option<String>,
    duplicate: bool,
    user_id: i64,
    epoch: String,
    last_id: i64,
    last_seq: i64,
    rooms: Vec<String>,
    replayed: usize,
    complete: bool,
    reason: Option<String>,
    refused: Vec<WireRefused>,
    code: String,
}

#[derive(Deserialize)]
struct WireRefused {
    room: String,
}

impl From<WireRow> for Row {
    fn from(row: WireRow) -> Self {
        Self {
            id: row.id,
            seq: row.seq,
            from: row.from_user,
            username: row.username,
            place: place(row.room, row.to),
            content: row.content,
            timestamp: row.timestamp,
            nonce: row.nonce,
        }
    }
}

fn place(room: Option<String>, to: Option<i64>) -> Where {
    match (room, to) {
        (Some(room), None) => Where::Room(room),
        (None, Some(to)) => Where::Dm(to),
        both => panic!("a message of two places, or none: {both:?}"),
    }
}

impl Request {
    /// As it goes over the wire. Names and contents in tests need no escapes, and thousands of scripts are in a hurry.
    pub fn encode(&self, reference: i64) -> String {
        let field = |name: &str, value: &dyn fmt::Debug| format!(",\"{name}\":{value:?}");
        let place = |place: &Where, room: &str, user: &str| match place {
            Where::Room(name) => (room.to_owned(), field("room", name)),
            Where::Dm(id) => (
                user.to_owned(),
                field(if user == "dm" { "to" } else { "with" }, id),
            ),
        };
        let optional = |name, value: &Option<String>| match value {
            Some(value) => field(name, value),
            None => String::new(),
        };
        let (kind, fields) = match self {
            Self::Hello => ("hello".into(), String::new()),
            Self::Ping => ("ping".into(), String::new()),
            Self::Auth(token) => ("auth".into(), field("token", token)),
            Self::Join(room) => ("join".into(), field("room", room)),
            Self::Leave(room) => ("leave".into(), field("room", room)),
            Self::Send {
                place: to,
                content,
                nonce,
            } => {
                let (kind, to) = place(to, "message", "dm");
                (
                    kind,
                    to + &field("content", content) + &optional("nonce", nonce),
                )
            }
            Self::History {
                place: of,
                part,
                limit,
            } => {
                let (kind, mut fields) = place(of, "room_history", "dm_history");
                match part {
                    Part::Newest => {}
                    Part::Before(before) => fields += &field("before", before),
                    Part::After(after) => fields += &field("after", after),
                }
                if let Some(limit) = limit {
                    fields += &field("limit", limit);
                }
                (kind, fields)
            }
            Self::Resume {
                after,
                rooms,
                epoch,
            } => {
                let fields = field("after", after) + &field("rooms", rooms);
                ("resume".into(), fields + &optional("epoch", epoch))
            }
        };
        format!("{{\"type\":\"{kind}\",\"ref\":{reference}{fields}}}")
    }
}

impl Frame {
    /// Reads a text frame of the server.
    pub fn parse(text: &str) -> Self {
        Self::read(text).unwrap_or_else(|error| panic!("{error}: not a frame of ours: {text}"))
    }

    fn read(text: &str) -> serde_json::Result<Self> {
        let wire: Wire = serde_json::from_str(text)?;
        if matches!(wire.r#type, "message" | "dm") {
            let row: WireRow = serde_json::from_str(wire.data.get())?;
            return Ok(Self::Live(row.into()));
        }
        let is_history = matches!(wire.r#type, "room_history" | "dm_history");
        let leak = (!is_history && text.contains(MARK)).then(|| text.to_owned());
        let reply = if is_history {
            let rows: Vec<WireRow> = serde_json::from_str(wire.data.get())?;
            Reply::History {
                place: place(wire.room, wire.with),
                rows: rows.into_iter().map(Row::from).collect(),
                has_more: wire.has_more.expect("a history says whether there is more"),
            }
        } else {
            reply(wire.r#type, serde_json::from_str(wire.data.get())?)
        };
        Ok(Self::Reply {
            reference: wire.r#ref,
            reply,
            leak,
        })
    }
}

fn reply(kind: &str, data: WireData) -> Reply {
    match kind {
        "join_ack" => Reply::Joined {
            room: data.room,
            last_id: data.last_id,
            last_seq: data.last_seq,
        },
        "leave_ack" => Reply::Left(data.room),
        "message_sent" | "dm_sent" => Reply::Sent(Sent {
            place: data.to.map_or(Where::Room(data.room), Where::Dm),
            id: data.id,
            seq: data.seq,
            timestamp: data.timestamp,
            nonce: data.nonce,
            duplicate: data.duplicate,
        }),
        "welcome" => Reply::Welcome {
            user: data.user_id,
            epoch: data.epoch,
            last_id: data.last_id,
        },
        "resume_ack" => Reply::Resumed(Resumed {
            epoch: data.epoch,
            last_id: data.last_id,
            rooms: data.rooms,
            replayed: data.replayed,
            complete: data.complete,
            reason: data.reason,
            refused: data.refused.into_iter().map(|it| it.room).collect(),
        }),
        "auth_ack" => Reply::AuthAck,
        "pong" => Reply::Pong,
        "error" => Reply::Error(data.code),
        other => panic!("a frame of an unknown type: {other}"),
    }
}
