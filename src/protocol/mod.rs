//! The words of the wire: what a client may say, what the server answers, and the values both are made of.
//!
//! A value that exists here is valid: [`RoomName`], [`Content`] and the ids can only be made by a check. Shape and range
//! are judged in this module and nowhere else; whether a room exists or a user may do something is not known here.
//! Nothing in here knows sockets, storage or time.

mod encode;
mod error;
mod json;
mod listing;
mod reply;
mod request;
pub mod schema;
mod value;

pub use encode::{error_body, live_frame};
pub use error::{CloseCode, ErrorCode, Reject};
pub use listing::{Conversation, Listing, NewRoom, Person, Query, RoomEntry};
pub use reply::{Ack, History, Incomplete, LimitsInForce, Reply, Resumed, Sent, Welcome};
pub use request::{Credentials, Incoming, Request, ResumeRequest, SendRequest};
pub use value::{
    Content, Cursor, MAX_ID, Message, MessageId, NAME_MAX_CHARS, NONCE_MAX_CHARS, Nonce, Place,
    REF_MAX_CHARS, Ref, RoomName, Timestamp, UserId, Username, Window,
};
pub(crate) use value::{is_unsafe_in_names, printable};

/// The limits that a frame is checked against, set once at start. Sizes in bytes, counts in messages.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Longest `content`, in bytes of UTF-8.
    pub content_bytes: usize,
    /// Messages in a history when the request names no `limit`.
    pub history_default: u32,
    /// Most messages in one history; a larger `limit` is clamped to it.
    pub history_max: u32,
    /// A history ends before its encoded messages exceed this many bytes.
    pub history_bytes: usize,
    /// Most rooms in one `resume`.
    pub resume_rooms: usize,
}
