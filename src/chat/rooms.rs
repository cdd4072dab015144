//! Joining, and how a room comes into being.

use super::Chat;
use crate::{
    hub::Presence,
    protocol::{Cursor, ErrorCode, Message, Reject, Reply, RoomName, UserId, Window},
    seeded::{self, Bug},
    store::{RoomOutcome, Scope},
};

impl Chat {
    /// `join`: everything in the room after the reply's `lastId` arrives live.
    pub async fn join(
        &self,
        presence: &mut Presence,
        user: UserId,
        room: RoomName,
    ) -> Result<Reply, Reject> {
        let most = self.policy.rooms_per_connection;
        if !presence.is_in(&room) && presence.room_count() >= most {
            return Err(too_many_rooms(most));
        }
        self.open_room(user, &room).await?;
        // Listen before reading: what is stored in between comes live, and the position says what does not.
        let was_in = presence.is_in(&room);
        let position = match seeded::has(Bug::JoinWithoutListening) {
            true => self.hub.floor(),
            false => presence.join(&room),
        };
        match self.last_in_room(&room, position).await {
            Ok((last_id, last_seq)) => {
                if seeded::has(Bug::JoinWithoutListening) {
                    presence.join(&room);
                }
                Ok(Reply::Joined {
                    room,
                    last_id,
                    last_seq,
                })
            }
            Err(reject) => {
                // An error says that nothing was changed.
                if !was_in {
                    presence.leave(&room);
                }
                Err(reject)
            }
        }
    }

    /// The newest message of the room at or before `position`: its id and `seq`, 0 and 0 when there is none.
    async fn last_in_room(
        &self,
        room: &RoomName,
        position: Cursor,
    ) -> Result<(Cursor, i64), Reject> {
        let before = Cursor::new(position.get() + 1).unwrap_or(Cursor::END);
        let last = self.last_message(room, before).await?;
        Ok(last.map_or((Cursor::START, 0), |last| (last.id.into(), last.seq)))
    }

    /// The newest message of the room before `before`.
    pub(super) async fn last_message(
        &self,
        room: &RoomName,
        before: Cursor,
    ) -> Result<Option<Message>, Reject> {
        let window = Window::Before { before, limit: 1 };
        let page = self
            .store
            .read(Scope::Room(room.clone()), window, usize::MAX)
            .await;
        let page = page.map_err(|error| self.failure(error))?;
        Ok(page.messages.into_iter().next_back())
    }

    /// Makes sure that the room exists, making it if that is allowed.
    pub(super) async fn open_room(&self, user: UserId, room: &RoomName) -> Result<(), Reject> {
        if self.rooms.get(room).is_some() {
            return Ok(());
        }
        if !self
            .store
            .room_exists(room.clone())
            .await
            .map_err(|error| self.failure(error))?
        {
            if !self.policy.open_rooms {
                let message =
                    "there is no such room, and this server makes none on demand (--rooms listed)";
                return Err(Reject::new(ErrorCode::RoomNotFound, message).on("room"));
            }
            self.make_room(user, room).await?;
        }
        self.rooms.insert(room.clone(), ());
        Ok(())
    }

    /// Makes the room unless it is there, and tells whether it was.
    pub(super) async fn make_room(
        &self,
        user: UserId,
        room: &RoomName,
    ) -> Result<RoomOutcome, Reject> {
        self.new_rooms.take(user).map_err(|wait_ms| {
            Reject::rate_limited(
                "too many new rooms in a short time: wait, then try again",
                wait_ms,
            )
        })?;
        let most = self.policy.rooms_max;
        let made = self.store.create_room(room.clone(), most).await;
        let made = made.map_err(|error| self.failure(error))?;
        if made != RoomOutcome::Full {
            return Ok(made);
        }
        tracing::warn!(most, "a room was refused: --max-rooms is reached");
        let message = format!(
            "this server holds {most} rooms, the most it may (--max-rooms): use one that exists"
        );
        Err(Reject::new(ErrorCode::Forbidden, message).on("room"))
    }
}

/// The refusal of one room more than a connection can hold.
pub(super) fn too_many_rooms(most: usize) -> Reject {
    let message = format!("this connection holds {most} rooms, the most it can: leave one first");
    Reject::new(ErrorCode::Forbidden, message).on("room")
}
