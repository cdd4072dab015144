//! Who is connected, here and to other servers over the same log, for those who list people and rooms.

use super::Hub;
use crate::{
    protocol::{RoomName, UserId},
    store::Connected,
};

impl Hub {
    /// How many users have joined each of `rooms`.
    pub fn member_counts<'a>(&self, rooms: impl Iterator<Item = &'a RoomName>) -> Vec<usize> {
        let inner = self.lock();
        let count = |room| {
            let here = inner.rooms.get(room).map(|room| &room.members);
            let elsewhere = inner.elsewhere.rooms.get(room).into_iter().flatten();
            let only_elsewhere =
                elsewhere.filter(|user| here.is_none_or(|here| !here.contains_key(user)));
            here.map_or(0, |here| here.len()) + only_elsewhere.count()
        };
        rooms.map(count).collect()
    }

    /// Which of `users` have a connection.
    pub fn are_online(&self, users: impl Iterator<Item = UserId>) -> Vec<bool> {
        let inner = self.lock();
        let is_online =
            |user: UserId| inner.users.contains_key(&user) || inner.elsewhere.users.contains(&user);
        users.map(is_online).collect()
    }

    /// Everybody who has a connection, each once, in no order.
    pub fn online(&self) -> Vec<UserId> {
        let inner = self.lock();
        let elsewhere = inner.elsewhere.users.iter().copied();
        let only_elsewhere = elsewhere.filter(|user| !inner.users.contains_key(user));
        inner.users.keys().copied().chain(only_elsewhere).collect()
    }

    /// Who is connected here, with the number of changes so far; `None` when that number is still `seen`.
    pub fn connected_here(&self, seen: Option<u64>) -> Option<(u64, Connected)> {
        let inner = self.lock();
        if seen == Some(inner.changes) {
            return None;
        }
        let members = inner.rooms.iter().map(|(name, room)| {
            let members = room.members.keys().copied().collect();
            (name.clone(), members)
        });
        let connected = Connected {
            users: inner.users.keys().copied().collect(),
            rooms: members.collect(),
        };
        Some((inner.changes, connected))
    }

    /// Notes who is connected to the other servers.
    pub fn connected_elsewhere(&self, elsewhere: Connected) {
        self.lock().elsewhere = elsewhere;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{hub::Outbox, protocol::Cursor};

    fn user(id: i64) -> UserId {
        UserId::new(id).unwrap()
    }

    #[test]
    fn whoever_is_connected_here_and_elsewhere_counts_once() {
        let hub = Arc::new(Hub::new(Cursor::default(), Default::default()));
        let room = RoomName::new("general").unwrap();
        let mut ann = hub.connect(user(1), Arc::new(Outbox::new(1000)));
        ann.join(&room);
        let both = [user(1), user(2)];
        hub.connected_elsewhere(Connected {
            users: both.into(),
            rooms: [(room.clone(), both.into())].into(),
        });
        assert_eq!(hub.member_counts([&room].into_iter()), [2]);
        let mut online = hub.online();
        online.sort_unstable();
        assert_eq!(online, both);
        assert_eq!(
            hub.are_online([1, 2, 3].map(user).into_iter()),
            [true, true, false]
        );
    }

    #[test]
    fn who_is_here_is_told_again_after_a_change_and_not_without_one() {
        let hub = Arc::new(Hub::new(Cursor::default(), Default::default()));
        let room = RoomName::new("general").unwrap();
        let (seen, nobody) = hub.connected_here(None).unwrap();
        assert_eq!(nobody, Connected::default());
        assert_eq!(hub.connected_here(Some(seen)), None);
        let mut ann = hub.connect(user(1), Arc::new(Outbox::new(1000)));
        let (seen, _) = hub.connected_here(Some(seen)).unwrap();
        ann.join(&room);
        let (seen, joined) = hub.connected_here(Some(seen)).unwrap();
        assert_eq!(joined.rooms[&room], [user(1)].into());
        ann.leave(&room);
        let (seen, _) = hub.connected_here(Some(seen)).unwrap();
        drop(ann);
        let (_, gone) = hub.connected_here(Some(seen)).unwrap();
        assert_eq!(gone, Connected::default());
    }
}
