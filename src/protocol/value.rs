//! Values that cannot be invalid. Each `new` is the only way in and says in words what it refuses.

use std::{fmt, sync::Arc};

use serde::{Serialize, Serializer};

/// Largest id: 2^53 − 1, the last integer that JavaScript holds exactly.
pub const MAX_ID: i64 = (1 << 53) - 1;
/// Longest room name and built-in username, in characters.
pub const NAME_MAX_CHARS: usize = 64;
/// Longest `ref`, in characters.
pub const REF_MAX_CHARS: usize = 64;
/// Longest `nonce`, in characters.
pub const NONCE_MAX_CHARS: usize = 64;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        pub struct $name(i64);

        impl $name {
            /// `None` unless 1 ≤ `value` ≤ 2^53 − 1.
            pub const fn new(value: i64) -> Option<Self> {
                if value >= 1 && value <= MAX_ID { Some(Self(value)) } else { None }
            }

            /// The number itself.
            pub const fn get(self) -> i64 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id!(/// Who: drawn by the backend or by the built-in accounts.
    UserId);
id!(/// Which message: drawn in commit order for all rooms and DMs together, never reused.
    MessageId);

/// A position in the log: everything with a larger id comes after it. 0 is before the first message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Cursor(i64);

impl Cursor {
    /// Before the first message.
    pub const START: Self = Self(0);
    /// After every message that can ever be.
    pub const END: Self = Self(MAX_ID);

    /// `None` unless 0 ≤ `value` ≤ 2^53 − 1.
    pub const fn new(value: i64) -> Option<Self> {
        if value >= 0 && value <= MAX_ID {
            Some(Self(value))
        } else {
            None
        }
    }

    /// The id of the last message before this position; 0 when there is none.
    pub const fn get(self) -> i64 {
        self.0
    }
}

impl From<MessageId> for Cursor {
    fn from(id: MessageId) -> Self {
        Self(id.0)
    }
}

/// What is wrong with `name`, or `None`: the rule for room names and built-in usernames.
fn name_fault(name: &str) -> Option<String> {
    let chars = name.chars().count();
    if chars == 0 {
        return Some("must not be empty".into());
    }
    if chars > NAME_MAX_CHARS {
        return Some(format!(
            "has {chars} characters; at most {NAME_MAX_CHARS} are allowed"
        ));
    }
    if name.starts_with(char::is_whitespace) || name.ends_with(char::is_whitespace) {
        return Some("must not begin or end with white space".into());
    }
    let bad = name.chars().find(|&c| is_unsafe_in_names(c))?;
    Some(format!(
        "must not contain the control character U+{:04X}",
        u32::from(bad)
    ))
}

/// Control characters, line and paragraph separators, and the bidi controls of Unicode Annex 9, with which a name could
/// reorder the text around it.
pub(crate) fn is_unsafe_in_names(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{FEFF}')
}

/// The line with everything escaped that a terminal would obey or that would reorder it, for words that somebody else chose.
pub(crate) fn printable(line: &str) -> String {
    let mut shown = String::with_capacity(line.len());
    for c in line.chars() {
        if is_unsafe_in_names(c) {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    shown
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Refuses, in words that follow the field's name, what is not 1 … 64 characters without control
            /// characters, bidi overrides or white space at either end.
            pub fn new(name: &str) -> Result<Self, String> {
                match name_fault(name) {
                    None => Ok(Self(name.into())),
                    Some(fault) => Err(fault),
                }
            }

            /// The name itself.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

name!(/// The name of a room; names are compared byte for byte.
    RoomName);
name!(/// What a user is called. Not a key: with a backend, two users may bear one name.
    Username);

impl RoomName {
    /// The room that exists from the start.
    pub fn general() -> Self {
        Self("general".into())
    }
}

impl Username {
    /// The name that a backend's token bears, made safe to show: what [`Username::new`] refuses is taken out, not
    /// refused, since nobody should be locked out over a name that another program allowed.
    pub fn cleaned(name: &str, user: UserId) -> Self {
        let kept: String = name.chars().filter(|&c| !is_unsafe_in_names(c)).collect();
        let cut: String = kept.trim().chars().take(NAME_MAX_CHARS).collect();
        let name = cut.trim();
        if name.is_empty() {
            Self(format!("user-{user}").into())
        } else {
            Self(name.into())
        }
    }
}

/// What is said: UTF-8, kept byte for byte, never blank, no NUL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Content(Arc<str>);

impl Content {
    /// Refuses blank text and NUL, in words that follow the field's name. Length is checked by the caller, whose answer differs.
    pub fn new(text: &str) -> Result<Self, &'static str> {
        if text.chars().all(char::is_whitespace) {
            return Err("must not be blank");
        }
        if text.contains('\0') {
            return Err("must not contain U+0000");
        }
        Ok(Self(text.into()))
    }

    /// The text itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The client's own name for a send: the same nonce from the same user is the same message.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Nonce(Arc<str>);

impl Nonce {
    /// Refuses an empty one and one of more than 64 characters, in words that follow the field's name.
    pub fn new(nonce: &str) -> Result<Self, &'static str> {
        match nonce.chars().count() {
            0 => Err("must not be empty; a UUID is a good choice"),
            1..=NONCE_MAX_CHARS => Ok(Self(nonce.into())),
            _ => Err("must have at most 64 characters"),
        }
    }

    /// The text itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a client put on a request to recognise its reply.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Ref {
    /// A string of at most 64 characters.
    Text(String),
    /// An integer.
    Number(i64),
}

/// A moment: Unix time in milliseconds, written as RFC 3339 in UTC (`2026-01-15T12:00:00.123Z`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From milliseconds since 1970-01-01T00:00:00Z.
    pub const fn from_unix_ms(ms: i64) -> Self {
        Self(ms)
    }

    /// This machine's wall clock.
    pub fn now() -> Self {
        Self(jiff::Timestamp::now().as_millisecond())
    }

    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub const fn unix_ms(self) -> i64 {
        self.0
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(moment) => write!(f, "{moment:.3}"),
            Err(_) => f.write_str("1970-01-01T00:00:00.000Z"),
        }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Where a message was said.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// In a room.
    Room(RoomName),
    /// To one user.
    Dm(UserId),
}

/// A stored message: the row of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its position in the log.
    pub id: MessageId,
    /// Its position in its room or DM conversation: 1 … n without a hole.
    pub seq: i64,
    /// Who said it.
    pub from: UserId,
    /// What they are called.
    pub username: Username,
    /// Where.
    pub place: Place,
    /// What.
    pub content: Content,
    /// When the server stored it.
    pub timestamp: Timestamp,
    /// The sender's own name for it, where one was given.
    pub nonce: Option<Nonce>,
}

/// Which part of a conversation to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// The newest `limit` messages before the cursor.
    Before {
        /// Exclusive upper end.
        before: Cursor,
        /// Most messages, at least 1.
        limit: u32,
    },
    /// The oldest `limit` messages after the cursor.
    After {
        /// Exclusive lower end.
        after: Cursor,
        /// Most messages, at least 1.
        limit: u32,
    },
}
