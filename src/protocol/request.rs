//! What a client may ask. [`Incoming::parse`] is the first of three gates: shape and range. Existence, permission and
//! rate are judged later, by those who know.

use super::{
    Limits,
    error::{ErrorCode, Reject},
    json::{Fields, missing},
    value::{Content, Cursor, MAX_ID, Nonce, Place, REF_MAX_CHARS, Ref, RoomName, UserId, Window},
};

/// One request, named as on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Receive what is said in a room from now on.
    Join(RoomName),
    /// `message` or `dm`: say something.
    Send(SendRequest),
    /// Read a room.
    RoomHistory(RoomName, Window),
    /// Read the conversation with a user.
    DmHistory(UserId, Window),
    /// Receive no more from a room.
    Leave(RoomName),
    /// Go on where an earlier connection ended.
    Resume(ResumeRequest),
    /// Ask who I am and what holds here.
    Hello,
    /// Bring a newer token.
    Auth(String),
    /// Ask for a sign of life.
    Ping,
}

/// A message to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendRequest {
    /// Where it goes.
    pub place: Place,
    /// What is said.
    pub content: Content,
    /// The sender's own name for it.
    pub nonce: Option<Nonce>,
}

/// Where a reader stands, and what it reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResumeRequest {
    /// Everything up to here has been received.
    pub after: Cursor,
    /// The rooms to receive, each named once.
    pub rooms: Vec<RoomName>,
    /// The log that `after` is a position of; unchecked when it is not given.
    pub epoch: Option<String>,
}

/// The body of `register`, `login` and `guest`. Whether the fields are needed, and fit, is judged by the verb.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// `username`, when it is given.
    pub username: Option<String>,
    /// `password`, when it is given.
    pub password: Option<String>,
}

/// A frame as it came: the request or why it is none, and the `ref` that its answer must carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incoming {
    /// Echoed on the answer, also on an error.
    pub reference: Option<Ref>,
    /// What was asked.
    pub request: Result<Request, Reject>,
}

impl Credentials {
    /// Reads `{username?, password?}`.
    pub fn parse(text: &str) -> Result<Self, Reject> {
        const NAMES: [&str; 2] = ["username", "password"];
        let fields = Fields::split(text, &NAMES)?;
        fields.refuse_duplicates()?;
        let owned =
            |name| -> Result<_, Reject> { Ok(fields.text(name)?.map(|text| text.into_owned())) };
        Ok(Self {
            username: owned("username")?,
            password: owned("password")?,
        })
    }
}

pub(super) const NAMES: [&str; 13] = [
    "type", "ref", "room", "content", "nonce", "to", "with", "limit", "before", "after", "token",
    "rooms", "epoch",
];
type Frame<'a> = Fields<'a, { NAMES.len() }>;

impl Incoming {
    /// Reads one text frame. Never fails: what is wrong is in [`Incoming::request`].
    pub fn parse(text: &str, limits: &Limits) -> Self {
        let fields = match Frame::split(text, &NAMES) {
            Ok(fields) => fields,
            Err(reject) => {
                return Self {
                    reference: None,
                    request: Err(reject),
                };
            }
        };
        match reference(&fields) {
            Ok(reference) => Self {
                reference,
                request: request(&fields, limits),
            },
            Err(reject) => Self {
                reference: None,
                request: Err(reject),
            },
        }
    }
}

impl SendRequest {
    /// Reads the body of a send over HTTP: `{room or to, content, nonce?}`.
    pub fn parse(text: &str, limits: &Limits) -> Result<Self, Reject> {
        let fields = Frame::split(text, &NAMES)?;
        fields.refuse_duplicates()?;
        let place = match (fields.text("room")?, fields.integer("to", 1..=MAX_ID)?) {
            (Some(_), None) => Place::Room(room(&fields)?),
            (None, Some(_)) => Place::Dm(user(&fields, "to")?),
            (Some(_), Some(_)) => {
                return Err(Reject::invalid("to", "give either room or to, not both"));
            }
            (None, None) => return Err(Reject::invalid("room", "room or to is missing")),
        };
        send(&fields, place, limits)
    }
}

fn reference(fields: &Frame<'_>) -> Result<Option<Ref>, Reject> {
    if !fields.is_text("ref") {
        let number = fields.integer("ref", i64::MIN..=i64::MAX);
        return number.map(|number| number.map(Ref::Number)).map_err(|_| {
            Reject::invalid(
                "ref",
                "ref must be a string of at most 64 characters or an integer",
            )
        });
    }
    let text = fields.text("ref")?.unwrap_or_default();
    if text.chars().count() > REF_MAX_CHARS {
        return Err(Reject::invalid(
            "ref",
            "ref must have at most 64 characters",
        ));
    }
    Ok(Some(Ref::Text(text.into_owned())))
}

fn request(fields: &Frame<'_>, limits: &Limits) -> Result<Request, Reject> {
    fields.refuse_duplicates()?;
    let unknown = |message: String| Reject::new(ErrorCode::UnknownType, message).on("type");
    let kind = match fields.text("type") {
        Ok(Some(kind)) => kind,
        Ok(None) => return Err(unknown(format!("type is missing: use one of {TYPES}"))),
        Err(_) => {
            return Err(unknown(format!(
                "type must be a string: use one of {TYPES}"
            )));
        }
    };
    match &*kind {
        "join" => Ok(Request::Join(room(fields)?)),
        "message" => Ok(Request::Send(send(
            fields,
            Place::Room(room(fields)?),
            limits,
        )?)),
        "dm" => Ok(Request::Send(send(
            fields,
            Place::Dm(user(fields, "to")?),
            limits,
        )?)),
        "room_history" => Ok(Request::RoomHistory(room(fields)?, window(fields, limits)?)),
        "dm_history" => Ok(Request::DmHistory(
            user(fields, "with")?,
            window(fields, limits)?,
        )),
        "leave" => Ok(Request::Leave(room(fields)?)),
        "resume" => resume(fields, limits).map(Request::Resume),
        "hello" if !fields.is_present("ref") => Err(missing("ref")),
        "hello" => Ok(Request::Hello),
        "auth" => Ok(Request::Auth(
            fields
                .text("token")?
                .ok_or_else(|| missing("token"))?
                .into_owned(),
        )),
        "ping" => Ok(Request::Ping),
        _ => Err(unknown(format!("unknown type: use one of {TYPES}"))),
    }
}

pub(super) const TYPES: &str =
    "join, message, dm, room_history, dm_history, leave, hello, resume, auth, ping";

fn room(fields: &Frame<'_>) -> Result<RoomName, Reject> {
    let name = fields.text("room")?.ok_or_else(|| missing("room"))?;
    room_of("room", &name)
}

/// The room that the field or parameter `field` names.
pub(super) fn room_of(field: &'static str, name: &str) -> Result<RoomName, Reject> {
    RoomName::new(name).map_err(|fault| Reject::invalid(field, format!("{field} {fault}")))
}

fn user(fields: &Frame<'_>, name: &'static str) -> Result<UserId, Reject> {
    fields
        .integer(name, 1..=MAX_ID)?
        .and_then(UserId::new)
        .ok_or_else(|| missing(name))
}

fn resume(fields: &Frame<'_>, limits: &Limits) -> Result<ResumeRequest, Reject> {
    let after = fields.integer("after", 0..=MAX_ID)?.and_then(Cursor::new);
    let after = after.ok_or_else(|| missing("after"))?;
    let names = fields.texts("rooms", limits.resume_rooms)?;
    let mut rooms = Vec::new();
    for name in names.ok_or_else(|| missing("rooms"))? {
        let room = RoomName::new(&name)
            .map_err(|fault| Reject::invalid("rooms", format!("a room in rooms {fault}")))?;
        if !rooms.contains(&room) {
            rooms.push(room);
        }
    }
    let epoch = fields.text("epoch")?.map(|epoch| epoch.into_owned());
    Ok(ResumeRequest {
        after,
        rooms,
        epoch,
    })
}

fn send(fields: &Frame<'_>, place: Place, limits: &Limits) -> Result<SendRequest, Reject> {
    let text = fields.text("content")?.ok_or_else(|| missing("content"))?;
    if text.len() > limits.content_bytes {
        let message = format!(
            "content has {} bytes; at most {} are allowed",
            text.len(),
            limits.content_bytes
        );
        return Err(Reject::new(ErrorCode::TooLarge, message).on("content"));
    }
    let content = Content::new(&text)
        .map_err(|fault| Reject::invalid("content", format!("content {fault}")))?;
    let nonce = fields.text("nonce")?;
    let nonce = nonce
        .map(|nonce| {
            Nonce::new(&nonce).map_err(|fault| Reject::invalid("nonce", format!("nonce {fault}")))
        })
        .transpose()?;
    Ok(SendRequest {
        place,
        content,
        nonce,
    })
}

/// More than the server gives is no fault: it is clamped.
pub(super) const LIMIT_RANGE: std::ops::RangeInclusive<i64> = 1..=i64::MAX;

fn window(fields: &Frame<'_>, limits: &Limits) -> Result<Window, Reject> {
    Window::read(|name, range| fields.integer(name, range), limits)
}

impl Limits {
    /// How many entries somebody gets who asked for so many.
    pub(super) fn clamped(&self, asked: Option<i64>) -> u32 {
        let within = |asked| {
            u32::try_from(asked)
                .unwrap_or(u32::MAX)
                .min(self.history_max)
        };
        asked.map_or(self.history_default, within)
    }
}

impl Window {
    /// The window that `limit`, `before` and `after` ask for, each found by `integer`.
    pub(super) fn read(
        integer: impl Fn(&'static str, std::ops::RangeInclusive<i64>) -> Result<Option<i64>, Reject>,
        limits: &Limits,
    ) -> Result<Self, Reject> {
        let limit = limits.clamped(integer("limit", LIMIT_RANGE)?);
        let (before, after) = (
            integer("before", 1..=MAX_ID)?,
            integer("after", 0..=MAX_ID)?,
        );
        match (before.and_then(Cursor::new), after.and_then(Cursor::new)) {
            (Some(_), Some(_)) => Err(Reject::invalid(
                "before",
                "give either before or after, not both",
            )),
            (before, None) => Ok(Self::Before {
                before: before.unwrap_or(Cursor::END),
                limit,
            }),
            (None, Some(after)) => Ok(Self::After { after, limit }),
        }
    }
}
