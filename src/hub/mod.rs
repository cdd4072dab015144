//! Who is here: which connection belongs to whom and receives which rooms.
//!
//! Plain maps under one plain mutex, which is never held across an `.await`. Lock order: the hub's, then one outbox's.
//! The hub does not know what a frame says, where it was stored, or what time it is; only the relay publishes to it.

mod connected;
mod load;
mod outbox;
mod queue;

use std::{
    cell::LazyCell,
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use prometheus_client::metrics::counter::Counter;
use tokio::sync::watch;

pub use load::Load;
pub use outbox::{End, News, Outbox};
pub use queue::{Pushed, Queue, Queued, shrink_after_burst};

use crate::{
    frame::Frame,
    protocol::{Cursor, MessageId, RoomName, UserId},
    seeded::{self, Step},
    store::{Connected, Inbox, Origin},
};

type Readers = HashMap<Origin, Arc<Outbox>>;

/// Who receives a room.
#[derive(Debug, Default)]
struct Room {
    readers: Readers,
    /// How many of them belong to each user.
    members: HashMap<UserId, usize>,
}

/// All connections of this process.
#[derive(Debug)]
pub struct Hub {
    // Outermost lock.
    inner: Mutex<Inner>,
    /// The id that was published last: for those who wait until a fan-out is complete.
    announced: watch::Sender<Cursor>,
    deliveries: Counter,
}

#[derive(Debug, Default)]
struct Inner {
    next_connection: u64,
    users: HashMap<UserId, Readers>,
    rooms: HashMap<RoomName, Room>,
    /// Everything up to here has been published; what is published next has a larger id.
    floor: Cursor,
    /// How often somebody came, went, joined or left.
    changes: u64,
    /// Who is connected to the other servers over this log.
    elsewhere: Connected,
}

/// Who gets a message.
#[derive(Clone, Copy, Debug)]
pub enum Audience<'a> {
    /// Every connection that joined the room.
    Room(&'a RoomName),
    /// Every connection of both users but the one it came from.
    Dm {
        /// The sender.
        from: UserId,
        /// The recipient, who may be the sender.
        to: UserId,
        /// The connection it came from.
        except: Option<Origin>,
    },
}

impl Hub {
    /// An empty hub for a log whose newest message is `floor`.
    pub fn new(floor: Cursor, deliveries: Counter) -> Self {
        let inner = Inner {
            floor,
            ..Inner::default()
        };
        Self {
            inner: Mutex::new(inner),
            announced: watch::Sender::new(floor),
            deliveries,
        }
    }

    /// Adds a connection of `user`; it leaves when the returned presence is dropped.
    pub fn connect(self: &Arc<Self>, user: UserId, outbox: Arc<Outbox>) -> Presence {
        let mut inner = self.lock();
        inner.next_connection += 1;
        inner.changes += 1;
        let id = Origin(inner.next_connection);
        inner
            .users
            .entry(user)
            .or_default()
            .insert(id, outbox.clone());
        let dms_after = inner.floor;
        outbox.begin_at(dms_after);
        drop(inner);
        Presence {
            hub: self.clone(),
            id,
            user,
            outbox,
            dms_after,
            rooms: HashMap::new(),
        }
    }

    /// Queues message `id` to its audience; `encode` makes its frame, once, if there is anybody to have it. Ids must come
    /// in increasing order. The length of the frame in bytes; 0 when nobody has it.
    pub fn publish(
        &self,
        id: MessageId,
        audience: Audience<'_>,
        encode: impl FnOnce() -> Frame,
    ) -> usize {
        // Encoding under the lock costs a microsecond, and nobody can join between the question and the answer.
        let frame = LazyCell::new(encode);
        let mut inner = self.lock();
        inner.floor = id.into();
        let mut delivered = 0;
        let mut deliver = |readers: Option<&Readers>, except: Option<Origin>| {
            for (connection, outbox) in readers.into_iter().flatten() {
                if Some(*connection) == except {
                    outbox.skip(id);
                } else {
                    delivered += u64::from(outbox.push(id, frame.clone()));
                    seeded::step(Step::MidBroadcast);
                }
            }
        };
        match audience {
            Audience::Room(room) => {
                deliver(inner.rooms.get(room).map(|room| &room.readers), None);
            }
            Audience::Dm { from, to, except } => {
                deliver(inner.users.get(&to), except);
                if from != to {
                    deliver(inner.users.get(&from), except);
                }
            }
        }
        drop(inner);
        self.deliveries.inc_by(delivered);
        if delivered == 0 { 0 } else { frame.len_bytes() }
    }

    /// Wakes those who wait for what has been published by now.
    pub fn announce_floor(&self) {
        let floor = self.floor();
        self.announced.send_replace(floor);
    }

    /// Tells after each commit how far the log reaches: for those who follow it from outside.
    pub fn announcements(&self) -> watch::Receiver<Cursor> {
        self.announced.subscribe()
    }

    /// The position after everything that was published.
    pub fn floor(&self) -> Cursor {
        self.lock().floor
    }

    /// Resolves once everything up to `id` has been queued to everybody who should have it.
    pub async fn relayed(&self, id: Cursor) {
        // The sender lives as long as the hub, so this cannot fail while somebody holds it.
        let _ = self
            .announced
            .subscribe()
            .wait_for(|&floor| floor >= id)
            .await;
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Every change is complete before anything that could panic, so the maps behind a poisoned lock are whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection's place in the hub. Dropping it leaves every room.
#[derive(Debug)]
pub struct Presence {
    hub: Arc<Hub>,
    id: Origin,
    user: UserId,
    outbox: Arc<Outbox>,
    /// The DMs that it receives lie after this.
    dms_after: Cursor,
    /// What it receives of each room lies after this.
    rooms: HashMap<RoomName, Cursor>,
}

impl Presence {
    /// The connection's number, which its messages bear as their origin.
    pub fn origin(&self) -> Origin {
        self.id
    }

    /// Whose connection it is.
    pub fn user(&self) -> UserId {
        self.user
    }

    /// How many rooms this connection receives.
    pub fn room_count(&self) -> usize {
        self.rooms.len()
    }

    /// Whether this connection receives the room.
    pub fn is_in(&self, room: &RoomName) -> bool {
        self.rooms.contains_key(room)
    }

    /// What this connection receives, as the log knows it.
    pub fn inbox(&self) -> Inbox {
        Inbox {
            user: self.user,
            dms_after: self.dms_after,
            rooms: self.rooms.clone().into_iter().collect(),
        }
    }

    /// Receives the room from now on: everything after the returned position comes live, everything up to it is stored.
    pub fn join(&mut self, room: &RoomName) -> Cursor {
        let mut inner = self.hub.lock();
        enter(
            &mut inner,
            &mut self.rooms,
            room,
            (self.id, self.user),
            &self.outbox,
        );
        inner.floor
    }

    /// Receives the rooms from now on, but not live: what is published is left to the log until somebody reads it there. The
    /// position after which that begins, the same for all rooms, and the newest message that was sent before.
    pub fn listen(&mut self, rooms: &[RoomName]) -> (Cursor, Cursor) {
        let mut inner = self.hub.lock();
        let sent = self.outbox.leave_to_log();
        for room in rooms {
            enter(
                &mut inner,
                &mut self.rooms,
                room,
                (self.id, self.user),
                &self.outbox,
            );
        }
        (inner.floor, sent)
    }

    /// Goes back to `position`: what lies after it in `rooms` and in the DMs is what this connection receives, own DMs up to
    /// `floor` included. To be called while it [listens](Presence::listen) from `floor`; `missed` says that there is
    /// something to be read.
    pub fn rewind(&mut self, position: Cursor, floor: Cursor, rooms: &[RoomName], missed: bool) {
        self.receive_after(position, rooms);
        self.outbox.rewind(position, floor, missed);
    }

    /// Of `rooms` and of the DMs, what lies after `position` is received, and nothing before.
    pub fn receive_after(&mut self, position: Cursor, rooms: &[RoomName]) {
        self.dms_after = position;
        for room in rooms {
            if let Some(after) = self.rooms.get_mut(room) {
                *after = position;
            }
        }
    }

    /// Receives the room no more.
    pub fn leave(&mut self, room: &RoomName) {
        if self.rooms.remove(room).is_some() {
            exit(&mut self.hub.lock(), room.clone(), (self.id, self.user));
        }
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        let mut inner = self.hub.lock();
        inner.changes += 1;
        if let Entry::Occupied(mut readers) = inner.users.entry(self.user) {
            readers.get_mut().remove(&self.id);
            if readers.get().is_empty() {
                readers.remove();
            }
        }
        for (room, _) in self.rooms.drain() {
            exit(&mut inner, room, (self.id, self.user));
        }
    }
}

/// Adds the user's connection to the room from the floor on, unless it is in already.
fn enter(
    inner: &mut Inner,
    rooms: &mut HashMap<RoomName, Cursor>,
    room: &RoomName,
    (connection, user): (Origin, UserId),
    outbox: &Arc<Outbox>,
) {
    if !rooms.contains_key(room) {
        inner.changes += 1;
        rooms.insert(room.clone(), inner.floor);
        let entered = inner.rooms.entry(room.clone()).or_default();
        entered.readers.insert(connection, outbox.clone());
        *entered.members.entry(user).or_default() += 1;
    }
}

/// Takes the user's connection out of the room and forgets a room that nobody is left in.
fn exit(inner: &mut Inner, room: RoomName, (connection, user): (Origin, UserId)) {
    inner.changes += 1;
    let Entry::Occupied(mut left) = inner.rooms.entry(room) else {
        return;
    };
    left.get_mut().readers.remove(&connection);
    if let Entry::Occupied(mut connections) = left.get_mut().members.entry(user) {
        *connections.get_mut() -= 1;
        if *connections.get() == 0 {
            connections.remove();
        }
    }
    if left.get().readers.is_empty() {
        left.remove();
    }
}
