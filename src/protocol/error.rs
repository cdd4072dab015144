//! The two registries of bad news: [`ErrorCode`] for a request that was refused, [`CloseCode`] for a connection that ends.
//!
//! Each variant says when it is sent and what a client should do. A client can act on the code without reading the
//! message; a person can act on the message without knowing the code.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Serialize, Serializer};

/// Why a request was refused. The request changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, JsonSchema)]
#[schemars(rename_all = "snake_case")]
pub enum ErrorCode {
    /// When: the frame or body is no JSON object. Do: send one JSON object per text frame.
    InvalidJson,
    /// When: `type` is missing, no string, or unknown. Do: use one of the documented types.
    UnknownType,
    /// When: a field is missing, of the wrong type or out of range; `field` names it. Do: correct that field.
    InvalidField,
    /// When: `content` is over its limit. Do: shorten or split it.
    TooLarge,
    /// When: no token, or one that is not valid. Do: get a new token, then connect again.
    Unauthorized,
    /// When: the token is good but this may not be done. Do: not repeat it; ask the operator.
    Forbidden,
    /// When: the room does not exist and rooms are not made on demand here. Do: choose a listed room.
    RoomNotFound,
    /// When: no user with this id has ever been seen. Do: check the id.
    UserNotFound,
    /// When: another account bears this name. Do: choose another one.
    NameTaken,
    /// When: this nonce already stands for another content or place. Do: draw a new nonce.
    NonceReused,
    /// When: too many requests in too short a time. Do: wait `retryAfterMs`, then send again.
    RateLimited,
    /// When: the disk is full. Nothing was stored. Do: try again later; history still answers.
    StorageFull,
    /// When: the server is stopping or its storage is busy. Nothing was stored. Do: try again later.
    Unavailable,
    /// When: the server failed in a way that it did not expect; its log has the details. Do: report it.
    Internal,
}

impl ErrorCode {
    /// Every code, in the order of the documentation.
    pub const ALL: [Self; 14] = [
        Self::InvalidJson,
        Self::UnknownType,
        Self::InvalidField,
        Self::TooLarge,
        Self::Unauthorized,
        Self::Forbidden,
        Self::RoomNotFound,
        Self::UserNotFound,
        Self::NameTaken,
        Self::NonceReused,
        Self::RateLimited,
        Self::StorageFull,
        Self::Unavailable,
        Self::Internal,
    ];

    /// The code as it stands on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidJson => "invalid_json",
            Self::UnknownType => "unknown_type",
            Self::InvalidField => "invalid_field",
            Self::TooLarge => "too_large",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::RoomNotFound => "room_not_found",
            Self::UserNotFound => "user_not_found",
            Self::NameTaken => "name_taken",
            Self::NonceReused => "nonce_reused",
            Self::RateLimited => "rate_limited",
            Self::StorageFull => "storage_full",
            Self::Unavailable => "unavailable",
            Self::Internal => "internal",
        }
    }
}

impl Serialize for ErrorCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// How a connection ends (RFC 6455 section 7.4; 4000–4999 are ours).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, JsonSchema)]
#[schemars(inline)]
pub enum CloseCode {
    /// When: the client closed. Do: nothing.
    Normal = 1000,
    /// When: the server is stopping. Do: connect again, after a random wait.
    GoingAway = 1001,
    /// When: bytes that are not WebSocket came (RFC 6455 section 7.4.1). Do: mend the client.
    ProtocolError = 1002,
    /// When: a binary frame came. Do: send text.
    Binary = 1003,
    /// When: a text frame was not UTF-8. Do: mend the client.
    NotUtf8 = 1007,
    /// When: a frame was over the frame limit. Do: send smaller frames.
    TooLarge = 1009,
    /// When: the server cannot tell whether it stored what was sent, or failed. Do: connect again and repeat with the same nonce.
    Internal = 1011,
    /// When: the client took nothing for too long, or was silent for too long. Do: connect again and ask for what is missing.
    TooSlow = 1013,
    /// When: the token expired. Do: connect again with a new token, not with the same.
    TokenExpired = 4401,
    /// When: a moderator removed the user. Do: not connect again.
    Removed = 4403,
}

impl CloseCode {
    /// Every code, in the order of the documentation.
    pub const ALL: [Self; 10] = [
        Self::Normal,
        Self::GoingAway,
        Self::ProtocolError,
        Self::Binary,
        Self::NotUtf8,
        Self::TooLarge,
        Self::Internal,
        Self::TooSlow,
        Self::TokenExpired,
        Self::Removed,
    ];

    /// The number on the wire.
    pub const fn code(self) -> u16 {
        self as u16
    }

    /// The reason that travels with the code; at most 123 bytes (RFC 6455 section 5.5).
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Normal => "",
            Self::GoingAway => "the server is stopping: connect again",
            Self::ProtocolError => "not a valid WebSocket frame",
            Self::Binary => "binary frames are not understood: send JSON as text",
            Self::NotUtf8 => "text frames must be UTF-8",
            Self::TooLarge => "frame too large",
            Self::Internal => {
                "the outcome is not known: connect again and repeat with the same nonce"
            }
            Self::TooSlow => "too slow or silent: connect again and ask for what is missing",
            Self::TokenExpired => "token expired: connect again with a new one",
            Self::Removed => "removed by a moderator",
        }
    }
}

/// A refusal, as the client's developer reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    /// What a program decides on.
    pub code: ErrorCode,
    /// The field that is wrong, where one is.
    pub field: Option<&'static str>,
    /// What is wrong and what to do, for a person.
    pub message: Cow<'static, str>,
    /// With [`ErrorCode::RateLimited`]: milliseconds until it is worth trying again.
    pub retry_after_ms: Option<u64>,
}

impl Reject {
    /// A refusal that is not about one field.
    pub fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            field: None,
            message: message.into(),
            retry_after_ms: None,
        }
    }

    /// The field `field` is missing, of the wrong type, or out of range.
    pub fn invalid(field: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::InvalidField, message).on(field)
    }

    /// Names the field that is wrong.
    pub fn on(mut self, field: &'static str) -> Self {
        self.field = Some(field);
        self
    }

    /// Too much in too short a time; `wait_ms` until it is worth trying again.
    pub fn rate_limited(message: impl Into<Cow<'static, str>>, wait_ms: u64) -> Self {
        Self {
            retry_after_ms: Some(wait_ms),
            ..Self::new(ErrorCode::RateLimited, message)
        }
    }
}
