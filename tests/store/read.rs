//! What is read is exactly what was asked for, and a restart changes nothing of it.

use super::*;

/// `read`: the newest before, or the oldest after, a cursor; always oldest first; `has_more` in the direction read.
pub async fn windows_are_exact(log: Log) {
    for n in 0..10 {
        log.put(if n % 2 == 0 {
            said(1, "x")
        } else {
            dm(1, 2, "x")
        })
        .await
        .unwrap();
    }
    let end = Cursor::END.get();
    for (window, expected, has_more) in [
        (before(end, 3), vec![5, 7, 9], true),
        (before(end, 5), vec![1, 3, 5, 7, 9], false),
        (before(9, 2), vec![5, 7], true),
        (before(4, 2), vec![1, 3], false),
        (before(1, 2), vec![], false),
        (after(0, 2), vec![1, 3], true),
        (after(1, 4), vec![3, 5, 7, 9], false),
        (after(8, 1), vec![9], false),
        (after(9, 1), vec![], false),
        (after(end, 1), vec![], false),
    ] {
        let page = log
            .store
            .read(Scope::Room(general()), window, usize::MAX)
            .await
            .unwrap();
        assert_eq!(
            (ids(&page.messages), page.has_more),
            (expected, has_more),
            "{window:?}"
        );
    }
    let both = [Scope::Dm(user(1), user(2)), Scope::Dm(user(2), user(1))];
    for scope in both {
        let page = log
            .store
            .read(scope, after(2, 10), usize::MAX)
            .await
            .unwrap();
        assert_eq!(ids(&page.messages), [4, 6, 8, 10]);
    }
    for nobody in [
        Scope::Room(room("nowhere")),
        Scope::Dm(user(1), user(3)),
        Scope::Dm(user(8), user(9)),
    ] {
        let page = log
            .store
            .read(nobody, before(end, 10), usize::MAX)
            .await
            .unwrap();
        assert_eq!((page.messages.len(), page.has_more), (0, false));
    }
}

/// `read`: a page ends before it exceeds its bytes, at the far end of its direction, and holds one message at least.
pub async fn pages_are_bounded_in_bytes(log: Log) {
    for _ in 0..10 {
        log.put(said(1, &"x".repeat(1000))).await.unwrap();
    }
    let newest = Window::Before {
        before: Cursor::END,
        limit: 10,
    };
    let oldest = Window::After {
        after: Cursor::START,
        limit: 10,
    };
    for (window, max_bytes, expected) in [
        (newest, 5_000, vec![8, 9, 10]),
        (oldest, 5_000, vec![1, 2, 3]),
        (newest, 1, vec![10]),
        (oldest, 1, vec![1]),
    ] {
        let page = log
            .store
            .read(Scope::Room(general()), window, max_bytes)
            .await
            .unwrap();
        assert_eq!((ids(&page.messages), page.has_more), (expected, true));
    }
}

/// `latest_id`, `epoch`: the log goes on after a restart where it ended, under the same name; no id comes twice.
pub async fn the_log_goes_on_after_a_restart(log: Log) {
    assert_eq!(log.store.latest_id().await.unwrap(), Cursor::START);
    let last = log.put(said(1, "before")).await.unwrap();
    let epoch = log.store.epoch().to_owned();
    assert!(!epoch.is_empty());
    let mut log = log.reopen().await;
    assert_eq!(log.store.epoch(), epoch);
    assert_eq!(log.store.latest_id().await.unwrap(), last.id.into());
    let next = log.put(said(2, "after")).await.unwrap();
    assert!(next.id > last.id);
    assert_eq!(next.seq, 2);
    assert_eq!(
        log.announced(1).await[0].message.id,
        next.id,
        "the feed begins with what is new"
    );
    let again = log.another().await;
    assert_ne!(again.store.epoch(), epoch);
}
