//! Lists of what there is.

use chat_server::{
    protocol::Listing,
    store::{StoredRoom, User},
};

use super::*;

const NO_LIMIT: usize = usize::MAX;

fn rooms_of(listing: &Listing<StoredRoom>) -> (Vec<(&str, Option<i64>)>, bool) {
    let entries = listing.entries.iter();
    let rooms = entries.map(|room| {
        let last = room.last.as_ref().map(|last| last.id.get());
        (room.name.as_str(), last)
    });
    (rooms.collect(), listing.has_more)
}

fn peers(listing: &Listing<(User, Message)>) -> (Vec<(i64, i64)>, bool) {
    let entries = listing.entries.iter();
    let peers = entries.map(|(peer, last)| (peer.id.get(), last.id.get()));
    (peers.collect(), listing.has_more)
}

/// `rooms`: by name, byte for byte, from the one after `after` on, each with what was said last in it and by whom.
pub async fn rooms_are_listed_by_name_with_their_newest_message(log: Log) {
    for name in ["b", "Z", "é"] {
        log.store.create_room(room(name), 100).await.unwrap();
    }
    log.put(said(1, "first")).await.unwrap();
    log.put(dm(1, 2, "between")).await.unwrap();
    log.put(said(2, "last")).await.unwrap();
    let list = async |after: Option<&str>, limit| {
        let after = after.map(room);
        log.store.rooms(after, limit, NO_LIMIT).await.unwrap()
    };
    let all = list(None, 10).await;
    let expected = vec![("Z", None), ("b", None), ("general", Some(3)), ("é", None)];
    assert_eq!(rooms_of(&all), (expected, false));
    let last = all.entries[2].last.as_ref().unwrap();
    assert_eq!(
        (last.seq, last.from, last.content.as_str()),
        (2, user(2), "last")
    );
    let first = list(None, 2).await;
    assert_eq!(rooms_of(&first), (vec![("Z", None), ("b", None)], true));
    let second = list(Some("b"), 2).await;
    assert_eq!(
        rooms_of(&second),
        (vec![("general", Some(3)), ("é", None)], false)
    );
    assert_eq!(rooms_of(&list(Some("ü"), 2).await), (vec![], false));
}

/// `users`: by id, from the one after `after` on, under the names that they bear now.
pub async fn users_are_listed_by_id(log: Log) {
    log.store.see_user(user(77), name("old")).await.unwrap();
    log.store.see_user(user(77), name("new")).await.unwrap();
    let ids = async |after, limit| {
        let listing = log.store.users(after, limit).await.unwrap();
        let ids: Vec<i64> = listing.entries.iter().map(|user| user.id.get()).collect();
        (ids, listing.has_more)
    };
    let (all, more) = ids(0, 500).await;
    assert!(!more && all.is_sorted() && all.ends_with(&[77]), "{all:?}");
    assert_eq!(ids(0, 2).await, (all[..2].to_vec(), true));
    assert_eq!(ids(all[1], 500).await, (all[2..].to_vec(), false));
    assert_eq!(ids(77, 500).await, (vec![], false));
    let last = log.store.users(76, 1).await.unwrap();
    assert_eq!(last.entries[0].username, name("new"));
}

/// `conversations`: those of one user, whoever wrote, also with oneself; newest first, from before `before` on.
pub async fn conversations_are_ones_own_newest_first(log: Log) {
    for (from, to) in [(1, 2), (3, 1), (2, 3), (1, 1), (2, 1)] {
        log.put(dm(from, to, "x")).await.unwrap();
    }
    log.put(said(1, "in a room")).await.unwrap();
    let list = async |of, before: i64, limit| {
        let before = if before == 0 {
            Cursor::END
        } else {
            Cursor::new(before).unwrap()
        };
        let listing = log
            .store
            .conversations(user(of), before, limit, NO_LIMIT)
            .await;
        peers(&listing.unwrap())
    };
    assert_eq!(list(1, 0, 10).await, (vec![(2, 5), (1, 4), (3, 2)], false));
    assert_eq!(list(2, 0, 10).await, (vec![(1, 5), (3, 3)], false));
    assert_eq!(list(1, 0, 2).await, (vec![(2, 5), (1, 4)], true));
    assert_eq!(list(1, 4, 2).await, (vec![(3, 2)], false));
    assert_eq!(
        list(4, 0, 10).await,
        (vec![], false),
        "who was never written to has none"
    );
}

/// `rooms`, `conversations`: a list ends before it exceeds its bytes, and holds one entry at least.
pub async fn lists_are_bounded_in_bytes(log: Log) {
    log.store.create_room(room("another"), 10).await.unwrap();
    let long = "x".repeat(1000);
    for place in [general(), room("another")] {
        let message = message(1, Place::Room(place), &long, None);
        log.put(message).await.unwrap();
    }
    for to in [2, 3] {
        log.put(dm(1, to, &long)).await.unwrap();
    }
    for (max_bytes, expected) in [(1, 1), (1_500, 1), (5_000, 2)] {
        let rooms = log.store.rooms(None, 10, max_bytes).await.unwrap();
        let dms = log.store.conversations(user(1), Cursor::END, 10, max_bytes);
        let dms = dms.await.unwrap();
        assert_eq!(
            (rooms.entries.len(), dms.entries.len()),
            (expected, expected)
        );
        assert_eq!((rooms.has_more, dms.has_more), (expected < 2, expected < 2));
    }
}
