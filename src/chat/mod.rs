//! What may be done: the verbs, each with its permission and its rate, the same for every door.
//!
//! The second of three gates: shape was judged before, uniqueness is judged by the writing statement. Sockets and status
//! codes are not known here. Storage's failures become refusals here, and are logged here, once.

pub mod accounts;
mod limits;

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
};

pub use limits::{Rate, RateLimiter};

use crate::{
    auth::Identity,
    hub::{Hub, Presence},
    metrics::Metrics,
    protocol::{
        Ack, Cursor, ErrorCode, History, LimitsInForce, Nonce, Place, Reject, Reply, RoomName, SendRequest, Sent, UserId,
        Username, Welcome, Window,
    },
    store::{AppendError, NewMessage, Origin, Receipt, Scope, Store, StoreError},
};

/// What this server allows.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Rooms come into being when somebody asks for them.
    pub open_rooms: bool,
    /// Most rooms in the whole server.
    pub rooms_max: u64,
    /// Most rooms that one connection can join.
    pub rooms_per_connection: usize,
    /// Sends of one user.
    pub sends: Rate,
    /// Rooms made by one user.
    pub new_rooms: Rate,
    /// Most bytes of messages in one history.
    pub history_bytes: usize,
    /// As told in `welcome`.
    pub limits: LimitsInForce,
}

/// The verbs.
#[derive(Debug)]
pub struct Chat {
    store: Arc<dyn Store>,
    hub: Arc<Hub>,
    metrics: Arc<Metrics>,
    policy: Policy,
    sends: RateLimiter,
    new_rooms: RateLimiter,
    names: Remembered<UserId, Username>,
    rooms: Remembered<RoomName, ()>,
}

/// A send that is in line to be stored.
#[derive(Debug)]
pub struct Pending {
    place: Place,
    nonce: Option<Nonce>,
    receipt: Receipt,
}

impl Pending {
    /// Resolves once the message is durable, or when that cannot be; may be polled again after being dropped half-way.
    pub fn stored(&mut self) -> &mut Receipt {
        &mut self.receipt
    }
}

/// Why a send came to nothing, or perhaps not.
#[derive(Debug)]
pub enum SendFailure {
    /// Nothing was stored.
    Refused(Reject),
    /// Nobody knows: to be answered by closing the connection, never by an error.
    Uncertain,
}

impl Chat {
    /// The verbs over `store`, announced through `hub`.
    pub fn new(store: Arc<dyn Store>, hub: Arc<Hub>, metrics: Arc<Metrics>, policy: Policy) -> Self {
        let (sends, new_rooms) = (RateLimiter::new(policy.sends), RateLimiter::new(policy.new_rooms));
        let (names, rooms) = (Remembered::default(), Remembered::default());
        Self { store, hub, metrics, policy, sends, new_rooms, names, rooms }
    }

    /// Makes the token's user known; the identity comes back with the name that stands here.
    pub async fn admit(&self, identity: Identity) -> Result<Identity, Reject> {
        let user = identity.user;
        if self.names.get(&user).as_ref() == Some(&identity.username) {
            return Ok(identity);
        }
        // A backend's rename is worth a write; everything else was only not remembered.
        let known = self.store.user(user).await.map_err(|error| self.failure(error))?;
        let stored = match known {
            Some(known) if known.username == identity.username => known,
            _ => self.store.see_user(user, identity.username).await.map_err(|error| self.failure(error))?,
        };
        self.names.insert(user, stored.username.clone());
        Ok(Identity { username: stored.username, ..identity })
    }

    /// `join`: everything in the room after the reply's `lastId` arrives live.
    pub async fn join(&self, presence: &mut Presence, user: UserId, room: RoomName) -> Result<Reply, Reject> {
        let most = self.policy.rooms_per_connection;
        if !presence.rooms().contains(&room) && presence.rooms().len() >= most {
            let message = format!("this connection holds {most} rooms, the most it can: leave one first");
            return Err(Reject::new(ErrorCode::Forbidden, message).on("room"));
        }
        self.open_room(user, &room).await?;
        // Listen before reading: what is stored in between comes live, and the position says what does not.
        let position = presence.join(&room);
        let (last_id, last_seq) = self.last_in_room(&room, position).await?;
        Ok(Reply::Joined { room, last_id, last_seq })
    }

    /// The newest message of the room at or before `position`: its id and `seq`, 0 and 0 when there is none.
    async fn last_in_room(&self, room: &RoomName, position: Cursor) -> Result<(Cursor, i64), Reject> {
        let before = Cursor::new(position.get() + 1).unwrap_or(Cursor::END);
        let window = Window::Before { before, limit: 1 };
        let page = self.store.read(Scope::Room(room.clone()), window, usize::MAX).await;
        let page = page.map_err(|error| self.failure(error))?;
        Ok(page.messages.last().map_or((Cursor::START, 0), |last| (last.id.into(), last.seq)))
    }

    /// Makes sure that the room exists, making it if that is allowed.
    async fn open_room(&self, user: UserId, room: &RoomName) -> Result<(), Reject> {
        if self.rooms.get(room).is_some() {
            return Ok(());
        }
        if !self.store.room_exists(room.clone()).await.map_err(|error| self.failure(error))? {
            self.make_room(user, room).await?;
        }
        self.rooms.insert(room.clone(), ());
        Ok(())
    }

    async fn make_room(&self, user: UserId, room: &RoomName) -> Result<(), Reject> {
        if !self.policy.open_rooms {
            let message = "there is no such room, and this server makes none on demand (--rooms listed)";
            return Err(Reject::new(ErrorCode::RoomNotFound, message).on("room"));
        }
        self.new_rooms.take(user).map_err(|wait_ms| {
            Reject::rate_limited("too many new rooms in a short time: wait, then try again", wait_ms)
        })?;
        let most = self.policy.rooms_max;
        if self.store.create_room(room.clone(), most).await.map_err(|error| self.failure(error))? {
            return Ok(());
        }
        tracing::warn!(most, "a room was refused: --max-rooms is reached");
        let message = format!("this server holds {most} rooms, the most it may (--max-rooms): use one that exists");
        Err(Reject::new(ErrorCode::Forbidden, message).on("room"))
    }

    /// `message` and `dm`: puts the message in line. Two calls one after the other are stored in that order.
    pub async fn send(
        &self,
        sender: &Identity,
        request: SendRequest,
        origin: Option<Origin>,
    ) -> Result<Pending, Reject> {
        self.sends.take(sender.user).map_err(|wait_ms| {
            Reject::rate_limited("too many messages in a short time: wait, then send again", wait_ms)
        })?;
        match &request.place {
            Place::Room(room) => self.open_room(sender.user, room).await?,
            Place::Dm(to) => self.known_user(*to).await?,
        }
        let SendRequest { place, content, nonce } = request;
        let message = NewMessage {
            from: sender.user,
            username: sender.username.clone(),
            place: place.clone(),
            content,
            nonce: nonce.clone(),
            origin,
        };
        let receipt = self.store.append(message).await.map_err(|error| self.failure(error))?;
        Ok(Pending { place, nonce, receipt })
    }

    async fn known_user(&self, user: UserId) -> Result<(), Reject> {
        if self.names.get(&user).is_some() {
            return Ok(());
        }
        match self.store.user(user).await.map_err(|error| self.failure(error))? {
            Some(known) => self.names.insert(user, known.username),
            None => return Err(unknown_user(user)),
        }
        Ok(())
    }

    /// What the sender is told once the receipt of `pending` has resolved to `result`.
    pub fn conclude(&self, pending: Pending, result: Result<Ack, AppendError>) -> Result<Sent, SendFailure> {
        let Pending { place, nonce, .. } = pending;
        let refused = |reject| Err(SendFailure::Refused(reject));
        match result {
            Ok(ack) => Ok(Sent { place, ack, nonce }),
            Err(AppendError::Uncertain) => Err(SendFailure::Uncertain),
            Err(AppendError::NonceReused) => {
                let message = "this nonce already stands for another content or place: draw a new one for each message";
                refused(Reject::new(ErrorCode::NonceReused, message).on("nonce"))
            }
            Err(AppendError::UnknownPlace) => match place {
                Place::Dm(to) => refused(unknown_user(to)),
                Place::Room(_) => {
                    refused(Reject::new(ErrorCode::RoomNotFound, "there is no such room: join it first").on("room"))
                }
            },
            Err(AppendError::Store(error)) => refused(self.failure(error)),
        }
    }

    /// `room_history` and `dm_history`, the latter seen by `reader`, who can only be one of the pair.
    pub async fn history(&self, reader: UserId, place: Place, window: Window) -> Result<History, Reject> {
        let scope = match &place {
            Place::Room(room) => Scope::Room(room.clone()),
            Place::Dm(with) => Scope::Dm(reader, *with),
        };
        let page = self.store.read(scope, window, self.policy.history_bytes).await;
        let page = page.map_err(|error| self.failure(error))?;
        Ok(History { place, messages: page.messages, has_more: page.has_more })
    }

    /// `hello`: who you are and what holds here.
    pub fn welcome(&self, identity: &Identity) -> Welcome {
        Welcome {
            user_id: identity.user,
            username: identity.username.clone(),
            role: identity.role.clone(),
            server: concat!("chat-server/", env!("CARGO_PKG_VERSION")),
            epoch: self.store.epoch().to_owned(),
            last_id: self.hub.floor(),
            limits: self.policy.limits,
        }
    }

    /// Whether messages can be stored now, found out by storing something.
    pub async fn ready(&self) -> Result<(), Reject> {
        self.store.probe().await.map_err(|error| self.failure(error))
    }

    /// Counts a refusal: every door calls this once for each that it hands out.
    pub fn count(&self, reject: &Reject) {
        self.metrics.refused(reject.code);
    }

    fn failure(&self, error: StoreError) -> Reject {
        failure(error)
    }
}

/// The one translation of storage's failures, and the one place where they are logged.
fn failure(error: StoreError) -> Reject {
    match error {
        StoreError::Full => {
            tracing::warn!("the disk is full: nothing can be stored until there is room");
            Reject::new(ErrorCode::StorageFull, "the server's disk is full, nothing was stored: try again later")
        }
        StoreError::Unavailable(why) => {
            tracing::warn!(why, "storage is not available");
            Reject::new(ErrorCode::Unavailable, "storage is busy or stopping, nothing was stored: try again later")
        }
        error @ (StoreError::Uncertain(_) | StoreError::Internal(_)) => {
            tracing::error!(%error, "storage failed");
            Reject::new(ErrorCode::Internal, "the server failed; its log says why")
        }
    }
}

fn unknown_user(user: UserId) -> Reject {
    Reject::new(ErrorCode::UserNotFound, format!("no user {user} has ever been here: check the id")).on("to")
}

/// What was seen in the log and never ends: users and rooms are not deleted. Forgets everything when it grows too large.
#[derive(Debug)]
struct Remembered<K, V>(Mutex<HashMap<K, V>>);

/// Entries that are remembered: at about 150 bytes each, 15 MB at most.
const REMEMBERED_MAX: usize = 100_000;

impl<K, V> Default for Remembered<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Hash + Eq, V: Clone> Remembered<K, V> {
    fn get(&self, key: &K) -> Option<V> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    fn insert(&self, key: K, value: V) {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if map.len() >= REMEMBERED_MAX {
            map.clear();
        }
        map.insert(key, value);
    }
}
