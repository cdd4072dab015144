//! What may be done: the verbs, each with its permission and its rate, the same for every door.
//!
//! The second of three gates: shape was judged before, uniqueness is judged by the writing statement. Sockets and status
//! codes are not known here. Storage's failures become refusals here, and are logged here, once.

pub mod accounts;
mod hashing;
mod limits;
mod listing;
mod remembered;
mod resume;
mod rooms;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

pub use limits::{Rate, RateLimiter};
use remembered::Remembered;
pub use resume::MissedPage;

use crate::{
    auth::Identity,
    hub::Hub,
    metrics::Metrics,
    protocol::{
        Ack, ErrorCode, History, LimitsInForce, Nonce, Place, Reject, RoomName, SendRequest, Sent,
        UserId, Username, Welcome, Window,
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
    /// Names that one user's tokens bring.
    pub renames: Rate,
    /// Most bytes of messages in one history.
    pub history_bytes: usize,
    /// Most missed messages that a resume replays.
    pub resume_max: u32,
    /// Most bytes of messages in one page of a reader who catches up.
    pub page_bytes: usize,
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
    sends: RateLimiter<UserId>,
    new_rooms: RateLimiter<UserId>,
    renames: RateLimiter<UserId>,
    names: Remembered<UserId, Username>,
    rooms: Remembered<RoomName, ()>,
    /// When a probe last succeeded; `None` after any failure of storage.
    proved: Mutex<Option<Instant>>,
}

/// How long a probe that succeeded answers for the next ones, so that asking often does not mean writing often.
const PROOF_LASTS: Duration = Duration::from_secs(1);

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
    pub fn new(
        store: Arc<dyn Store>,
        hub: Arc<Hub>,
        metrics: Arc<Metrics>,
        policy: Policy,
    ) -> Self {
        let (sends, new_rooms, renames) = (
            RateLimiter::new(policy.sends),
            RateLimiter::new(policy.new_rooms),
            RateLimiter::new(policy.renames),
        );
        let (names, rooms) = (Remembered::default(), Remembered::default());
        Self {
            store,
            hub,
            metrics,
            policy,
            sends,
            new_rooms,
            renames,
            names,
            rooms,
            proved: Mutex::default(),
        }
    }

    /// Makes the token's user known; the identity comes back with the name that stands here.
    pub async fn admit(&self, identity: Identity) -> Result<Identity, Reject> {
        let user = identity.user;
        if self.names.get(&user).as_ref() == Some(&identity.username) {
            return Ok(identity);
        }
        // A backend's rename is worth a write; everything else was only not remembered.
        let known = self
            .store
            .user(user)
            .await
            .map_err(|error| self.failure(error))?;
        let stored = match known {
            Some(known) if known.username == identity.username => known,
            // Two tokens in use at once, one from before a rename, would write with every request.
            Some(known) if self.renames.take(user).is_err() => {
                tracing::debug!(%user, "a name was not taken over: too many in a short time");
                return Ok(Identity {
                    username: known.username,
                    ..identity
                });
            }
            known => match (self.store.see_user(user, identity.username).await, known) {
                (Ok(stored), _) => stored,
                // Somebody who is known comes in also when the new name cannot be written now.
                (Err(error), Some(known)) => {
                    self.failure(error);
                    return Ok(Identity {
                        username: known.username,
                        ..identity
                    });
                }
                (Err(error), None) => return Err(self.failure(error)),
            },
        };
        self.names.insert(user, stored.username.clone());
        Ok(Identity {
            username: stored.username,
            ..identity
        })
    }

    /// Names the log.
    pub fn epoch(&self) -> &str {
        self.store.epoch()
    }

    /// `message` and `dm`: puts the message in line. Two calls one after the other are stored in that order.
    pub async fn send(
        &self,
        sender: &Identity,
        request: SendRequest,
        origin: Option<Origin>,
    ) -> Result<Pending, Reject> {
        self.sends.take(sender.user).map_err(|wait_ms| {
            Reject::rate_limited(
                "too many messages in a short time: wait, then send again",
                wait_ms,
            )
        })?;
        match &request.place {
            Place::Room(room) => self.open_room(sender.user, room).await?,
            Place::Dm(to) => self.known_user(*to).await?,
        }
        let SendRequest {
            place,
            content,
            nonce,
        } = request;
        let message = NewMessage {
            from: sender.user,
            username: sender.username.clone(),
            place: place.clone(),
            content,
            nonce: nonce.clone(),
            origin,
        };
        let receipt = self
            .store
            .append(message)
            .await
            .map_err(|error| self.failure(error))?;
        Ok(Pending {
            place,
            nonce,
            receipt,
        })
    }

    async fn known_user(&self, user: UserId) -> Result<(), Reject> {
        if self.names.get(&user).is_some() {
            return Ok(());
        }
        match self
            .store
            .user(user)
            .await
            .map_err(|error| self.failure(error))?
        {
            Some(known) => self.names.insert(user, known.username),
            None => return Err(unknown_user(user)),
        }
        Ok(())
    }

    /// What the sender is told once the receipt of `pending` has resolved to `result`.
    pub fn conclude(
        &self,
        pending: Pending,
        result: Result<Ack, AppendError>,
    ) -> Result<Sent, SendFailure> {
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
                Place::Room(_) => refused(
                    Reject::new(
                        ErrorCode::RoomNotFound,
                        "there is no such room: join it first",
                    )
                    .on("room"),
                ),
            },
            Err(AppendError::Store(error)) => refused(self.failure(error)),
        }
    }

    /// `room_history` and `dm_history`, the latter seen by `reader`, who can only be one of the pair.
    pub async fn history(
        &self,
        reader: UserId,
        place: Place,
        window: Window,
    ) -> Result<History, Reject> {
        let scope = match &place {
            Place::Room(room) => Scope::Room(room.clone()),
            Place::Dm(with) => Scope::Dm(reader, *with),
        };
        let page = self
            .store
            .read(scope, window, self.policy.history_bytes)
            .await;
        let page = page.map_err(|error| self.failure(error))?;
        Ok(History {
            place,
            messages: page.messages,
            has_more: page.has_more,
        })
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
        if self.proved().is_some_and(|at| at.elapsed() < PROOF_LASTS) {
            return Ok(());
        }
        self.store
            .probe()
            .await
            .map_err(|error| self.failure(error))?;
        *self.proved() = Some(Instant::now());
        Ok(())
    }

    fn proved(&self) -> MutexGuard<'_, Option<Instant>> {
        self.proved.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a refusal: every door calls this once for each that it hands out.
    pub fn count(&self, reject: &Reject) {
        self.metrics.refused(reject.code);
    }

    fn failure(&self, error: StoreError) -> Reject {
        *self.proved() = None;
        failure(error)
    }
}

/// The one translation of storage's failures, and the one place where they are logged.
fn failure(error: StoreError) -> Reject {
    match error {
        StoreError::Full => {
            tracing::warn!(
                "the disk is full, or a limit on it is reached: nothing can be stored until there is room"
            );
            Reject::new(
                ErrorCode::StorageFull,
                "the server's disk is full, nothing was stored: try again later",
            )
        }
        StoreError::Unavailable(why) => {
            tracing::warn!(why, "storage is not available");
            Reject::new(
                ErrorCode::Unavailable,
                "storage is busy or stopping, nothing was stored: try again later",
            )
        }
        StoreError::Refused(why) => Reject::new(ErrorCode::Forbidden, why),
        error @ (StoreError::Uncertain(_) | StoreError::Internal(_)) => {
            tracing::error!(%error, "storage failed");
            Reject::new(ErrorCode::Internal, "the server failed; its log says why")
        }
    }
}

fn unknown_user(user: UserId) -> Reject {
    Reject::new(
        ErrorCode::UserNotFound,
        format!("no user {user} has ever been here: check the id"),
    )
    .on("to")
}
