//! What one reader receives, of many conversations, read and counted as one.

use super::*;

/// Ten messages: rooms `a` and `b` by turns with DMs between 1 and 2, 2 and 3, and of 1 with itself.
///
/// 1 a, 2 dm 1→2, 3 b, 4 dm 2→3, 5 a, 6 dm 2→1, 7 b, 8 dm 1→1, 9 a, 10 general.
async fn mixed(log: &Log) {
    for name in ["a", "b"] {
        log.store.create_room(room(name), 10).await.unwrap();
    }
    let in_room = |name: &str| message(3, Place::Room(room(name)), "x", None);
    for next in [
        in_room("a"),
        dm(1, 2, "x"),
        in_room("b"),
        dm(2, 3, "x"),
        in_room("a"),
        dm(2, 1, "x"),
        in_room("b"),
        dm(1, 1, "x"),
        in_room("a"),
        said(3, "x"),
    ] {
        log.put(next).await.unwrap();
    }
}

fn inbox(of: i64, dms_after: i64, rooms: &[(&str, i64)]) -> Scope {
    let position = |after| Cursor::new(after).unwrap();
    Scope::Inbox(Inbox {
        user: user(of),
        dms_after: position(dms_after),
        rooms: rooms
            .iter()
            .map(|&(name, after)| (room(name), position(after)))
            .collect(),
    })
}

/// `read` of an inbox: the messages of its rooms and every DM of its user, sent or received, in id order; nobody else's.
pub async fn an_inbox_is_its_rooms_and_all_dms_of_its_user(log: Log) {
    mixed(&log).await;
    for (scope, expected) in [
        (inbox(1, 0, &[]), vec![2, 6, 8]),
        (inbox(2, 0, &[]), vec![2, 4, 6]),
        (inbox(3, 0, &[("a", 0)]), vec![1, 4, 5, 9]),
        (
            inbox(1, 0, &[("a", 0), ("b", 0)]),
            vec![1, 2, 3, 5, 6, 7, 8, 9],
        ),
        (inbox(9, 0, &[("general", 0)]), vec![10]),
        (inbox(9, 0, &[("nowhere", 0)]), vec![]),
    ] {
        let all = log.all(scope.clone()).await;
        assert_eq!(ids(&all), expected, "{scope:?}");
    }
    let whole = log.all(inbox(1, 0, &[("a", 0)])).await;
    let of_room = log.all(Scope::Room(room("a"))).await;
    assert_eq!(whole[0], of_room[0], "the same rows as in one conversation");
}

/// `read` of an inbox: each room from its own position, the DMs from theirs, and all of them from the window's.
pub async fn an_inbox_begins_in_each_room_where_its_reader_stands(log: Log) {
    mixed(&log).await;
    for (scope, from, expected) in [
        (inbox(1, 6, &[("a", 1), ("b", 3)]), 0, vec![5, 7, 8, 9]),
        (inbox(1, 6, &[("a", 1), ("b", 3)]), 6, vec![7, 8, 9]),
        (inbox(1, 8, &[("a", 9), ("b", 0)]), 0, vec![3, 7]),
        (inbox(1, 2, &[("a", 20)]), 0, vec![6, 8]),
        (inbox(1, 0, &[("a", 0)]), 9, vec![]),
    ] {
        let (page, _) = log.page(scope.clone(), after(from, 10)).await;
        assert_eq!(ids(&page), expected, "{scope:?} after {from}");
    }
}

/// `read` of an inbox: the newest before, or the oldest after, a cursor; always oldest first; `has_more` is exact.
pub async fn an_inbox_is_read_in_both_directions(log: Log) {
    mixed(&log).await;
    let end = Cursor::END.get();
    // 2, 5, 6, 7, 8, 9
    let scope = inbox(1, 0, &[("a", 1), ("b", 3)]);
    for (window, expected, has_more) in [
        (after(0, 2), vec![2, 5], true),
        (after(2, 2), vec![5, 6], true),
        (after(6, 3), vec![7, 8, 9], false),
        (after(7, 3), vec![8, 9], false),
        (after(end, 3), vec![], false),
        (before(end, 2), vec![8, 9], true),
        (before(8, 3), vec![5, 6, 7], true),
        (before(7, 3), vec![2, 5, 6], false),
        (before(2, 3), vec![], false),
        (before(end, 6), vec![2, 5, 6, 7, 8, 9], false),
    ] {
        let (page, more) = log.page(scope.clone(), window).await;
        assert_eq!((ids(&page), more), (expected, has_more), "{window:?}");
    }
}

/// `read` of an inbox: a page ends before it exceeds its rows or bytes, and holds one message at least.
pub async fn an_inbox_is_bounded_in_rows_and_bytes(log: Log) {
    log.store.create_room(room("a"), 10).await.unwrap();
    for n in 0..10 {
        let text = "x".repeat(1000);
        let next = match n % 3 {
            0 => said(1, &text),
            1 => message(2, Place::Room(room("a")), &text, None),
            _ => dm(2, 1, &text),
        };
        log.put(next).await.unwrap();
    }
    let scope = inbox(1, 0, &[("a", 0), ("general", 0)]);
    for (window, max_bytes, expected) in [
        (after(0, 10), 5_000, vec![1, 2, 3]),
        (before(Cursor::END.get(), 10), 5_000, vec![8, 9, 10]),
        (after(4, 10), 1, vec![5]),
        (before(4, 10), 1, vec![3]),
        (after(0, 4), usize::MAX, vec![1, 2, 3, 4]),
    ] {
        let page = log.store.read(scope.clone(), window, max_bytes).await;
        let page = page.unwrap();
        assert_eq!((ids(&page.messages), page.has_more), (expected, true));
    }
}

/// `count`: how many a read between two positions would show, in every kind of scope, counted up to what is enough.
pub async fn what_is_counted_is_what_would_be_read(log: Log) {
    mixed(&log).await;
    for scope in [
        Scope::Room(room("a")),
        Scope::Room(room("nowhere")),
        Scope::Dm(user(1), user(2)),
        Scope::Dm(user(1), user(3)),
        inbox(1, 0, &[]),
        inbox(1, 0, &[("a", 0), ("b", 0), ("general", 0)]),
        inbox(2, 3, &[("a", 5), ("b", 3)]),
    ] {
        let all = ids(&log.all(scope.clone()).await);
        for from in 0..=10 {
            for until in from..=11 {
                let expected = all.iter().filter(|&&id| id > from && id <= until).count();
                for enough in [1, 3, 100] {
                    let (from, until) = (Cursor::new(from).unwrap(), Cursor::new(until).unwrap());
                    let counted = log.store.count(scope.clone(), from, until, enough).await;
                    let counted = counted.unwrap() as usize;
                    let context = format!("{scope:?} in ({from:?}, {until:?}]");
                    assert_eq!(
                        counted.min(enough as usize),
                        expected.min(enough as usize),
                        "{context}"
                    );
                    assert!(counted <= expected, "{context}: {counted} of {expected}");
                }
            }
        }
    }
}
