//! The log: how to store a message, read a part of a conversation, and follow what was stored.
//!
//! Only an implementation of [`Messages`] assigns ids, and what it stored leaves it through its [`CommitFeed`] in that
//! order: nobody above can announce a message early, out of order, or twice. The traits hold no pool, no SQL type, no
//! migration and no constructor, and know nothing of who is connected.

mod beside;
mod feed;
mod followers;
mod open;
#[cfg(feature = "postgres")]
pub mod postgres;
mod secrets;
mod size;
pub mod sqlite;

use std::{future::Future, pin::Pin};

pub use beside::{Beside, Done, Followed, NewEpoch, Overview, Wish, new_epoch, remembered_mode};
pub use feed::{CommitFeed, Committed, FeedSender, Origin, feed};
pub use followers::{Begin, Follower, Followers, Lead, Parked, Standing};
pub use open::{Counters, Ending, Location, Mode, OpenError, Opened, Options, open};
pub use secrets::{SecretError, Secrets};
pub use size::{Extent, Size};

use tokio::sync::oneshot;

use crate::protocol::{
    Ack, Content, Cursor, Listing, Message, Nonce, Place, RoomName, UserId, Username, Window,
};

/// A boxed future: what an async method of a trait object returns.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Everything that a backend of this program must be.
pub trait Store: Messages + Directory + Followers + std::fmt::Debug {}
impl<T: Messages + Directory + Followers + std::fmt::Debug> Store for T {}

/// The log itself.
pub trait Messages: Send + Sync {
    /// Hands `message` to the writer; the outer future resolves once it is in line, the [`Receipt`] once it is durable.
    ///
    /// Two messages handed over one after the other MUST get their ids in that order. A receipt MUST NOT resolve to `Ok`
    /// before the message survives a power cut, and MUST NOT resolve to an error other than [`AppendError::Uncertain`]
    /// when it may have been stored.
    ///
    /// Fails with [`StoreError::Unavailable`] when the line stays full or the writer has stopped: nothing was stored.
    fn append(&self, message: NewMessage) -> Answer<'_, Result<Receipt, StoreError>>;

    /// A part of what lies in `scope`, oldest first. An unknown room or pair is empty.
    ///
    /// MUST be one moment's view of the whole scope: when a message is in the answer, everything of the scope that was
    /// stored before it and lies in the window is, too.
    fn read(
        &self,
        scope: Scope,
        window: Window,
        max_bytes: usize,
    ) -> Answer<'_, Result<Page, StoreError>>;

    /// How many messages of `scope` lie after `after` and not after `until`. Counting may stop at `enough`.
    fn count(
        &self,
        scope: Scope,
        after: Cursor,
        until: Cursor,
        enough: u32,
    ) -> Answer<'_, Result<u32, StoreError>>;

    /// The position after the newest message that is stored.
    fn latest_id(&self) -> Answer<'_, Result<Cursor, StoreError>>;

    /// Names this log: a cursor taken from another epoch means nothing here.
    fn epoch(&self) -> &str;
}

/// What came of a room that was to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoomOutcome {
    /// It is there now.
    Made,
    /// It was there before.
    Known,
    /// There are as many as there may be.
    Full,
}

/// Who and what there is besides messages.
pub trait Directory: Send + Sync {
    /// The user with this id, if one was ever seen.
    fn user(&self, id: UserId) -> Answer<'_, Result<Option<User>, StoreError>>;

    /// Makes sure that `id` is known, as `username` unless it is a built-in account, whose own name stays.
    ///
    /// Where another program keeps the users, its name for one may stay too, and one whom it does not know may have to be
    /// [`StoreError::Refused`].
    fn see_user(&self, id: UserId, username: Username) -> Answer<'_, Result<User, StoreError>>;

    /// Whether the room exists.
    fn room_exists(&self, room: RoomName) -> Answer<'_, Result<bool, StoreError>>;

    /// Makes the room unless it exists, or there are `max_rooms` already.
    fn create_room(
        &self,
        room: RoomName,
        max_rooms: u64,
    ) -> Answer<'_, Result<RoomOutcome, StoreError>>;

    /// Rooms whose names come after `after` (all, without it), by name, each with its newest message; it ends before the
    /// encoded messages exceed `max_bytes`, but not before the first.
    fn rooms(
        &self,
        after: Option<RoomName>,
        limit: u32,
        max_bytes: usize,
    ) -> Answer<'_, Result<Listing<StoredRoom>, StoreError>>;

    /// Users whose ids lie after `after`, by id.
    fn users(&self, after: i64, limit: u32) -> Answer<'_, Result<Listing<User>, StoreError>>;

    /// Those with whom `user` exchanged DMs, and the newest one of each pair, of those whose newest lies before `before`:
    /// newest first, ended by `max_bytes` like [`rooms`](Directory::rooms).
    fn conversations(
        &self,
        user: UserId,
        before: Cursor,
        limit: u32,
        max_bytes: usize,
    ) -> Answer<'_, Result<Listing<(User, Message)>, StoreError>>;

    /// The built-in account that bears this name, in any case of letters.
    fn account(&self, name: Username) -> Answer<'_, Result<Option<Account>, StoreError>>;

    /// Makes a built-in account; `Ok(None)` when another one bears the name, in any case of letters.
    fn create_account(&self, account: NewAccount) -> Answer<'_, Result<Option<User>, StoreError>>;

    /// Writes to the storage and waits until that is durable: the proof that messages could be stored now.
    fn probe(&self) -> Answer<'_, Result<(), StoreError>>;
}

/// A message on its way into the log.
#[derive(Clone, Debug)]
pub struct NewMessage {
    /// The sender, who MUST be known to the [`Directory`].
    pub from: UserId,
    /// What the sender is called now.
    pub username: Username,
    /// Where it goes.
    pub place: Place,
    /// What is said.
    pub content: Content,
    /// The sender's own name for it: the same nonce from the same user is the same message.
    pub nonce: Option<Nonce>,
    /// The connection it came from; comes back with the commit, is not stored.
    pub origin: Option<Origin>,
}

/// Resolves once the message is durable, or when that cannot be.
#[derive(Debug)]
pub struct Receipt(oneshot::Receiver<Result<Ack, AppendError>>);

impl Receipt {
    /// A receipt on which `answer` tells the outcome; a sender that is dropped tells [`AppendError::Uncertain`].
    pub fn new(answer: oneshot::Receiver<Result<Ack, AppendError>>) -> Self {
        Self(answer)
    }
}

impl Future for Receipt {
    type Output = Result<Ack, AppendError>;

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Self::Output> {
        // The writer answers every job; if it is gone without, it died in the middle.
        Pin::new(&mut self.0)
            .poll(cx)
            .map(|answer| answer.unwrap_or(Err(AppendError::Uncertain)))
    }
}

/// Which conversation to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// What was said in a room.
    Room(RoomName),
    /// What two users said to each other.
    Dm(UserId, UserId),
    /// Everything that one reader receives, of all conversations together.
    Inbox(Inbox),
}

/// What one reader receives: some rooms and all of the user's DMs, each from a position of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inbox {
    /// Whose DMs.
    pub user: UserId,
    /// Of the DMs, what lies after this.
    pub dms_after: Cursor,
    /// Of each room, what lies after its position.
    pub rooms: Vec<(RoomName, Cursor)>,
}

/// A part of a conversation, oldest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The messages.
    pub messages: Vec<Message>,
    /// There is more in the direction that was read.
    pub has_more: bool,
}

/// A room and what was said last in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRoom {
    /// Its name.
    pub name: RoomName,
    /// Its newest message.
    pub last: Option<Message>,
}

/// Somebody who was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Their id.
    pub id: UserId,
    /// What they are called.
    pub username: Username,
    /// A built-in account's role; `user` for everybody else.
    pub role: String,
}

/// A built-in account.
#[derive(Clone, Debug)]
pub struct Account {
    /// Whose it is.
    pub user: User,
    /// PHC string; `None` for a guest, who cannot log in.
    pub password_hash: Option<String>,
}

/// A built-in account to be made.
#[derive(Clone, Debug)]
pub struct NewAccount {
    /// The name, unique among accounts in any case of letters.
    pub username: Username,
    /// PHC string; `None` for a guest.
    pub password_hash: Option<String>,
    /// What its tokens will say.
    pub role: &'static str,
}

/// What can go wrong with storage, as far as a caller must tell it apart.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk is full. Nothing was changed.
    #[error("the disk is full")]
    Full,
    /// Stopping, or too busy for too long. Nothing was changed.
    #[error("storage is not available: {0}")]
    Unavailable(&'static str),
    /// Whether the change is stored cannot be told.
    #[error("the outcome of a commit is not known: {0}")]
    Uncertain(String),
    /// Whoever keeps the tables does not allow it, and the same request will never succeed as things stand. Nothing was
    /// changed. The reason is for whoever asked.
    #[error("{0}")]
    Refused(String),
    /// Anything else. Nothing was changed.
    #[error("storage failed: {0}")]
    Internal(#[from] Box<dyn std::error::Error + Send + Sync>),
}

/// Why a message was not stored.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The nonce stands for another content or place.
    #[error("the nonce stands for another message")]
    NonceReused,
    /// The room, or the recipient of the DM, does not exist.
    #[error("the place does not exist")]
    UnknownPlace,
    /// Whether it was stored cannot be told.
    #[error("the outcome is not known")]
    Uncertain,
    /// Storage failed before anything was stored.
    #[error(transparent)]
    Store(#[from] StoreError),
}
