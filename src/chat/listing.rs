//! What there is to see: rooms, people, and one's own conversations. Everybody may see every room and who is here; of
//! conversations, each sees only the own ones.

use super::Chat;
use crate::{
    auth::Identity,
    protocol::{
        Conversation, Cursor, ErrorCode, Listing, Person, Reject, RoomEntry, RoomName, UserId,
    },
    store::{RoomOutcome, StoredRoom, User},
};

/// Who makes rooms where they are not made on demand.
const ADMIN: &str = "admin";

impl Chat {
    /// Rooms by name, those after `after`.
    pub async fn rooms(
        &self,
        after: Option<RoomName>,
        limit: u32,
    ) -> Result<Listing<RoomEntry>, Reject> {
        let found = self
            .store
            .rooms(after, limit, self.policy.history_bytes)
            .await
            .map_err(|error| self.failure(error))?;
        let names = found.entries.iter().map(|room| &room.name);
        let counts = self.hub.member_counts(names);
        let entries = found.entries.into_iter().zip(counts);
        Ok(Listing {
            entries: entries.map(|(room, count)| entry(room, count)).collect(),
            has_more: found.has_more,
        })
    }

    /// Makes a room, under the rules by which a `join` would; an admin also where rooms are not made on demand. The room,
    /// and whether it was not there before.
    pub async fn create_room(
        &self,
        creator: &Identity,
        name: RoomName,
    ) -> Result<(RoomEntry, bool), Reject> {
        let is_known = self.store.room_exists(name.clone()).await;
        let mut is_new = false;
        if !is_known.map_err(|error| self.failure(error))? {
            if !self.policy.open_rooms && creator.role != ADMIN {
                let message = "this server makes no rooms on demand (--rooms listed): a token with role admin may make one";
                return Err(Reject::new(ErrorCode::Forbidden, message).on("name"));
            }
            let made = self.make_room(creator.user, &name).await;
            let made = made.map_err(|reject| match reject.field {
                Some(_) => reject.on("name"),
                None => reject,
            });
            // Of several who make it at once, one did.
            is_new = made? == RoomOutcome::Made;
        }
        let last = self.last_message(&name, Cursor::END).await?;
        let count = self.hub.member_counts([&name].into_iter());
        let room = StoredRoom { name, last };
        Ok((entry(room, count.first().copied().unwrap_or(0)), is_new))
    }

    /// People by id, those after `after`.
    pub async fn users(&self, after: i64, limit: u32) -> Result<Listing<Person>, Reject> {
        let found = self
            .store
            .users(after, limit)
            .await
            .map_err(|error| self.failure(error))?;
        let online = self
            .hub
            .are_online(found.entries.iter().map(|user| user.id));
        let entries = found.entries.into_iter().zip(online);
        Ok(Listing {
            entries: entries.map(|(user, is_on)| person(user, is_on)).collect(),
            has_more: found.has_more,
        })
    }

    /// People who have a connection, by id, those after `after`.
    pub async fn users_online(&self, after: i64, limit: u32) -> Result<Listing<Person>, Reject> {
        let mut ids = self.hub.online();
        ids.retain(|id| id.get() > after);
        ids.sort_unstable();
        let has_more = ids.len() > limit as usize;
        ids.truncate(limit as usize);
        let mut entries = Vec::with_capacity(ids.len());
        for id in ids {
            entries.extend(self.person_online(id).await?);
        }
        Ok(Listing { entries, has_more })
    }

    /// Whoever is connected was admitted, so the name is nearly always remembered.
    async fn person_online(&self, id: UserId) -> Result<Option<Person>, Reject> {
        if let Some(username) = self.names.get(&id) {
            let online = true;
            return Ok(Some(Person {
                id,
                username,
                online,
            }));
        }
        let known = self.store.user(id).await;
        let known = known.map_err(|error| self.failure(error))?;
        Ok(known.map(|user| person(user, true)))
    }

    /// The conversations of `me`, newest first, of those whose newest message lies before `before`.
    pub async fn conversations(
        &self,
        me: UserId,
        before: Cursor,
        limit: u32,
    ) -> Result<Listing<Conversation>, Reject> {
        let found = self
            .store
            .conversations(me, before, limit, self.policy.history_bytes)
            .await
            .map_err(|error| self.failure(error))?;
        let peers = found.entries.iter().map(|(peer, _)| peer.id);
        let online = self.hub.are_online(peers);
        let entries = found.entries.into_iter().zip(online);
        Ok(Listing {
            entries: entries
                .map(|((peer, last), is_on)| Conversation {
                    with: person(peer, is_on),
                    last_id: last.id.into(),
                    last_seq: last.seq,
                    last_message: last,
                })
                .collect(),
            has_more: found.has_more,
        })
    }
}

fn entry(room: StoredRoom, member_count: usize) -> RoomEntry {
    let (last_id, last_seq) = room
        .last
        .as_ref()
        .map_or((Cursor::START, 0), |last| (last.id.into(), last.seq));
    RoomEntry {
        name: room.name,
        member_count,
        last_id,
        last_seq,
        last_message: room.last,
    }
}

fn person(user: User, online: bool) -> Person {
    Person {
        id: user.id,
        username: user.username,
        online,
    }
}
