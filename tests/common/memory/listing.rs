//! The lists of the double: rooms, users and conversations, found by going through everything.

use std::collections::BTreeMap;

use chat_server::{
    protocol::{Cursor, Listing, Message, Place, RoomName, UserId},
    store::{Scope, StoredRoom, User},
};

use super::{State, is_in};

impl State {
    pub(super) fn list_rooms(
        &self,
        after: Option<&RoomName>,
        limit: u32,
        max_bytes: usize,
    ) -> Listing<StoredRoom> {
        let after = after.map_or("", RoomName::as_str);
        let names = self.rooms.iter().filter(|name| name.as_str() > after);
        let rooms = names.map(|name| {
            let name = RoomName::new(name).unwrap();
            let scope = Scope::Room(name.clone());
            let last = self.messages.iter().rev().find(|m| is_in(m, &scope));
            let last = last.map(|message| self.row(message));
            StoredRoom { name, last }
        });
        let bytes = |room: &StoredRoom| room.last.as_ref().map_or(0, Message::encoded_len_at_most);
        cut(rooms, limit, max_bytes, bytes)
    }

    pub(super) fn list_users(&self, after: i64, limit: u32) -> Listing<User> {
        let users = self.users.range(after + 1..);
        cut(
            users.map(|(_, known)| known.user.clone()),
            limit,
            usize::MAX,
            |_| 0,
        )
    }

    pub(super) fn list_conversations(
        &self,
        user: UserId,
        before: Cursor,
        limit: u32,
        max_bytes: usize,
    ) -> Listing<(User, Message)> {
        let mut newest: BTreeMap<i64, &Message> = BTreeMap::new();
        for message in &self.messages {
            if let Place::Dm(to) = message.place
                && (message.from == user || to == user)
            {
                let peer = if message.from == user {
                    to
                } else {
                    message.from
                };
                newest.insert(peer.get(), message);
            }
        }
        let mut found: Vec<(i64, &Message)> = newest
            .into_iter()
            .filter(|(_, last)| before == Cursor::END || Cursor::from(last.id) < before)
            .collect();
        found.sort_by_key(|(_, last)| std::cmp::Reverse(last.id));
        let entries = found
            .into_iter()
            .map(|(peer, last)| (self.users[&peer].user.clone(), self.row(last)));
        cut(entries, limit, max_bytes, |(_, last)| {
            last.encoded_len_at_most()
        })
    }
}

fn cut<T>(
    all: impl Iterator<Item = T>,
    limit: u32,
    max_bytes: usize,
    bytes_of: impl Fn(&T) -> usize,
) -> Listing<T> {
    let mut all = all.peekable();
    let (mut entries, mut bytes) = (Vec::new(), 0);
    while let Some(next) = all.next_if(|next| {
        bytes += bytes_of(next);
        entries.len() < limit as usize && (bytes <= max_bytes || entries.is_empty())
    }) {
        entries.push(next);
    }
    Listing {
        entries,
        has_more: all.peek().is_some(),
    }
}
