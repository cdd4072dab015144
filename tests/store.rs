//! The laws of storage: what every backend must keep, whatever it is made of.
//!
//! A law is a function over an open log. `laws!` runs each on every backend.

mod common;

use std::{collections::HashSet, sync::Arc, time::Duration};

use chat_server::{
    protocol::{
        Ack, Content, Cursor, Message, MessageId, Nonce, Place, RoomName, UserId, Username, Window,
    },
    store::{
        AppendError, CommitFeed, Committed, NewAccount, NewMessage, Origin, Receipt, Scope, Store,
        sqlite::{Counters, Mode, Options, SqliteStore, WriterHandle},
    },
};
use common::soon;
use tempfile::TempDir;

/// An open log, and the means to close and open it again.
struct Log {
    store: Arc<dyn Store>,
    feed: CommitFeed,
    backend: Sqlite,
}

/// SQLite in a folder of its own.
struct Sqlite {
    folder: TempDir,
    writer: WriterHandle,
}

impl Log {
    async fn sqlite() -> Self {
        Self::sqlite_in(tempfile::tempdir().unwrap())
    }

    fn sqlite_in(folder: TempDir) -> Self {
        let options = Options {
            path: folder.path().join("chat.db"),
            mode: Mode::Standalone,
            switch_mode: false,
            write_queue: 1024,
            batch_max: 256,
            feed_batches: 1024,
            readers: 2,
            patience: Duration::from_secs(5),
            clock: Default::default(),
        };
        let (store, feed, writer) = SqliteStore::open(&options, Counters::default()).unwrap();
        Self {
            store: Arc::new(store),
            feed,
            backend: Sqlite { folder, writer },
        }
    }

    async fn reopen(self) -> Self {
        let Self { store, backend, .. } = self;
        drop(store);
        tokio::task::spawn_blocking(|| backend.writer.stop())
            .await
            .unwrap();
        Self::sqlite_in(backend.folder)
    }

    /// Users 1, 2 and 3.
    async fn with_users(self) -> Self {
        for id in 1..=3 {
            self.store
                .see_user(user(id), name(&format!("user{id}")))
                .await
                .unwrap();
        }
        self
    }

    async fn put(&self, message: NewMessage) -> Result<Ack, AppendError> {
        soon("an append", self.hand_over(message).await).await
    }

    async fn hand_over(&self, message: NewMessage) -> Receipt {
        soon("a place in line", self.store.append(message))
            .await
            .unwrap()
    }

    async fn announced(&mut self, count: usize) -> Vec<Committed> {
        let mut all = Vec::new();
        while all.len() < count {
            all.extend(soon("the feed", self.feed.next()).await.unwrap());
        }
        all
    }

    async fn all(&self, scope: Scope) -> Vec<Message> {
        let page = self
            .store
            .read(
                scope,
                Window::After {
                    after: Cursor::START,
                    limit: 10_000,
                },
                usize::MAX,
            )
            .await
            .unwrap();
        assert!(!page.has_more);
        page.messages
    }
}

fn user(id: i64) -> UserId {
    UserId::new(id).unwrap()
}

fn name(name: &str) -> Username {
    Username::new(name).unwrap()
}

fn general() -> RoomName {
    RoomName::general()
}

fn room(name: &str) -> RoomName {
    RoomName::new(name).unwrap()
}

fn message(from: i64, place: Place, content: &str, nonce: Option<&str>) -> NewMessage {
    NewMessage {
        from: user(from),
        username: name(&format!("user{from}")),
        place,
        content: Content::new(content).unwrap(),
        nonce: nonce.map(|nonce| Nonce::new(nonce).unwrap()),
        origin: None,
    }
}

fn said(from: i64, content: &str) -> NewMessage {
    message(from, Place::Room(general()), content, None)
}

fn dm(from: i64, to: i64, content: &str) -> NewMessage {
    message(from, Place::Dm(user(to)), content, None)
}

fn ids(messages: &[Message]) -> Vec<i64> {
    messages.iter().map(|message| message.id.get()).collect()
}

/// `append`: two messages handed over one after the other get their ids in that order.
async fn ids_follow_the_order_of_handing_over(log: Log) {
    let mut receipts = Vec::new();
    for n in 0..600 {
        receipts.push(log.hand_over(said(1, &n.to_string())).await);
    }
    let mut last: Option<MessageId> = None;
    for receipt in receipts {
        let ack = receipt.await.unwrap();
        assert!(last < Some(ack.id));
        last = Some(ack.id);
    }
    let stored: Vec<String> = log
        .all(Scope::Room(general()))
        .await
        .iter()
        .map(|m| m.content.as_str().into())
        .collect();
    assert_eq!(stored, (0..600).map(|n| n.to_string()).collect::<Vec<_>>());
}

/// `append`: `seq` is 1 … n without a hole in each room and each DM conversation, however many write at once.
async fn positions_have_no_holes(log: Log) {
    let log = Arc::new(log);
    log.store.create_room(room("other"), 10).await.unwrap();
    let writers = (0..6).map(|writer| {
        let log = log.clone();
        tokio::spawn(async move {
            for n in 0..50 {
                let from = 1 + (writer + n) % 3;
                let next = match n % 3 {
                    0 => message(from, Place::Room(room("other")), "x", None),
                    1 => said(from, "x"),
                    _ => dm(from, 1 + from % 3, "x"),
                };
                log.put(next).await.unwrap();
            }
        })
    });
    futures_util::future::join_all(writers)
        .await
        .into_iter()
        .for_each(|done| done.unwrap());
    let pairs = [(1, 2), (2, 3), (3, 1)].map(|(a, b)| Scope::Dm(user(a), user(b)));
    let mut total = 0;
    for scope in pairs
        .into_iter()
        .chain([Scope::Room(general()), Scope::Room(room("other"))])
    {
        let messages = log.all(scope.clone()).await;
        let seqs: Vec<i64> = messages.iter().map(|message| message.seq).collect();
        assert_eq!(
            seqs,
            (1..=messages.len() as i64).collect::<Vec<_>>(),
            "{scope:?}"
        );
        total += messages.len();
    }
    assert_eq!(total, 300);
}

/// The feed tells every stored message once, in id order, as it is then read, with the connection it came from.
async fn the_feed_is_the_log(mut log: Log) {
    let mut receipts = Vec::new();
    for n in 0..300 {
        let origin = Some(Origin(n));
        receipts.push(
            log.hand_over(NewMessage {
                origin,
                ..said(1 + n as i64 % 3, &n.to_string())
            })
            .await,
        );
    }
    log.put(message(1, Place::Room(room("nowhere")), "refused", None))
        .await
        .unwrap_err();
    for receipt in receipts {
        receipt.await.unwrap();
    }
    let announced = log.announced(300).await;
    let messages: Vec<Message> = announced
        .iter()
        .map(|committed| (*committed.message).clone())
        .collect();
    assert_eq!(messages, log.all(Scope::Room(general())).await);
    assert!(
        announced
            .iter()
            .enumerate()
            .all(|(n, committed)| committed.origin == Some(Origin(n as u64)))
    );
}

/// `append`: what is announced can be read, whoever is quicker.
async fn what_is_announced_can_be_read(mut log: Log) {
    for n in 0..50 {
        let receipt = log.hand_over(said(1, &n.to_string())).await;
        let committed = log.announced(1).await.remove(0);
        let newest = Window::Before {
            before: Cursor::END,
            limit: 1,
        };
        let page = log
            .store
            .read(Scope::Room(general()), newest, usize::MAX)
            .await
            .unwrap();
        assert_eq!(page.messages, [(*committed.message).clone()]);
        assert_eq!(receipt.await.unwrap().id, committed.message.id);
    }
}

/// `append`: the same nonce from the same user is the same message, acknowledged as it was and announced once.
async fn a_nonce_is_one_message(mut log: Log) {
    let once = || message(1, Place::Room(general()), "once", Some("n"));
    // All of them in one commit, and one more in another.
    let mut receipts = Vec::new();
    for _ in 0..8 {
        receipts.push(log.hand_over(once()).await);
    }
    let mut acks = Vec::new();
    for receipt in receipts {
        acks.push(receipt.await.unwrap());
    }
    acks.push(log.put(once()).await.unwrap());
    let first = acks[0];
    assert!(!first.duplicate);
    assert!(acks[1..].iter().all(|&ack| ack
        == Ack {
            duplicate: true,
            ..first
        }));
    log.put(message(
        2,
        Place::Room(general()),
        "another user's",
        Some("n"),
    ))
    .await
    .unwrap();
    let announced = log.announced(2).await;
    assert_eq!(announced.len(), 2);
    assert_eq!(log.all(Scope::Room(general())).await.len(), 2);
}

/// `append`: the same nonce with another content or place is refused and stores nothing.
async fn a_nonce_stands_for_one_content_and_place(log: Log) {
    log.put(message(1, Place::Room(general()), "first", Some("n")))
        .await
        .unwrap();
    log.store.create_room(room("other"), 10).await.unwrap();
    for other in [
        message(1, Place::Room(general()), "second", Some("n")),
        message(1, Place::Room(room("other")), "first", Some("n")),
        message(1, Place::Dm(user(2)), "first", Some("n")),
    ] {
        assert!(matches!(
            log.put(other).await,
            Err(AppendError::NonceReused)
        ));
    }
    assert_eq!(log.all(Scope::Room(general())).await.len(), 1);
}

/// `append`: a place that does not exist is refused, and a refused row neither sinks its neighbours nor leaves a hole.
async fn a_refused_row_sinks_alone(log: Log) {
    let mut receipts = Vec::new();
    for n in 0..60 {
        let next = match n % 3 {
            0 => said(1, "good"),
            1 => message(1, Place::Room(room("nowhere")), "bad", None),
            _ => dm(1, 99, "bad"),
        };
        receipts.push(log.hand_over(next).await);
    }
    for (n, receipt) in receipts.into_iter().enumerate() {
        match (n % 3, receipt.await) {
            (0, Ok(ack)) => assert_eq!(ack.seq, n as i64 / 3 + 1),
            (1 | 2, Err(AppendError::UnknownPlace)) => {}
            (_, other) => panic!("row {n}: {other:?}"),
        }
    }
}

/// `read`: the newest before, or the oldest after, a cursor; always oldest first; `has_more` in the direction read.
async fn windows_are_exact(log: Log) {
    for n in 0..10 {
        log.put(if n % 2 == 0 {
            said(1, "x")
        } else {
            dm(1, 2, "x")
        })
        .await
        .unwrap();
    }
    let before = |before, limit| Window::Before {
        before: Cursor::new(before).unwrap(),
        limit,
    };
    let after = |after, limit| Window::After {
        after: Cursor::new(after).unwrap(),
        limit,
    };
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
async fn pages_are_bounded_in_bytes(log: Log) {
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
async fn the_log_goes_on_after_a_restart(log: Log) {
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
    let again = Log::sqlite().await;
    assert_ne!(again.store.epoch(), epoch);
}

/// `see_user`, `user`: whoever was seen is known; a new name takes the place of the old one, also in the history.
async fn users_are_known_by_their_last_name(log: Log) {
    assert_eq!(log.store.user(user(9)).await.unwrap(), None);
    log.store.see_user(user(9), name("nine")).await.unwrap();
    log.put(said(9, "x")).await.unwrap();
    let renamed = log.store.see_user(user(9), name("neun")).await.unwrap();
    assert_eq!(renamed.username, name("neun"));
    assert_eq!(log.store.user(user(9)).await.unwrap(), Some(renamed));
    assert_eq!(
        log.all(Scope::Room(general())).await[0].username,
        name("neun")
    );
    log.store
        .see_user(user(8), name("neun"))
        .await
        .expect("two users may bear one name");
}

/// `create_account`, `account`: a name belongs to one account, in any case of letters, and no token renames it.
async fn account_names_are_unique(log: Log) {
    let account = |username: &str, hash: Option<&str>| NewAccount {
        username: name(username),
        password_hash: hash.map(Into::into),
        role: "user",
    };
    let ann = log
        .store
        .create_account(account("Ann É", Some("hash")))
        .await
        .unwrap()
        .unwrap();
    assert!(
        log.store
            .create_account(account("ANN é", None))
            .await
            .unwrap()
            .is_none()
    );
    let found = log.store.account(name("ann É")).await.unwrap().unwrap();
    assert_eq!(
        (&found.user, found.password_hash.as_deref()),
        (&ann, Some("hash"))
    );
    assert!(
        log.store.account(name("user1")).await.unwrap().is_none(),
        "a backend's user has no account"
    );
    let seen = log
        .store
        .see_user(ann.id, name("Somebody else"))
        .await
        .unwrap();
    assert_eq!(seen.username, ann.username);
    let guest = log
        .store
        .create_account(account("guest", None))
        .await
        .unwrap()
        .unwrap();
    assert!(guest.id > ann.id);
}

/// `create_room`, `room_exists`: `general` is there, a room is made once, and not beyond the limit.
async fn rooms_are_made_once_and_up_to_a_limit(log: Log) {
    assert!(log.store.room_exists(general()).await.unwrap());
    assert!(!log.store.room_exists(room("new")).await.unwrap());
    assert!(log.store.create_room(room("new"), 2).await.unwrap());
    assert!(
        log.store.create_room(room("new"), 2).await.unwrap(),
        "it is there, so it may be used"
    );
    assert!(
        !log.store
            .create_room(room("one too many"), 2)
            .await
            .unwrap()
    );
    assert!(!log.store.room_exists(room("one too many")).await.unwrap());
    assert!(log.store.room_exists(room("new")).await.unwrap());
}

/// `probe`: succeeds while messages can be stored.
async fn a_probe_tells_that_messages_can_be_stored(log: Log) {
    log.store.probe().await.unwrap();
}

/// Stopping commits what was handed over.
async fn what_was_handed_over_before_the_stop_is_stored(log: Log) {
    let mut receipts = Vec::new();
    for n in 0..200 {
        receipts.push(log.hand_over(said(1, &n.to_string())).await);
    }
    let log = log.reopen().await;
    let mut acked = HashSet::new();
    for receipt in receipts {
        acked.insert(receipt.await.unwrap().id.get());
    }
    assert_eq!(
        acked,
        ids(&log.all(Scope::Room(general())).await)
            .into_iter()
            .collect()
    );
}

macro_rules! laws {
    ($($law:ident)*) => {
        mod sqlite {
            $(#[tokio::test]
            async fn $law() {
                super::$law(super::Log::sqlite().await.with_users().await).await;
            })*
        }
    };
}

laws! {
    ids_follow_the_order_of_handing_over
    positions_have_no_holes
    the_feed_is_the_log
    what_is_announced_can_be_read
    a_nonce_is_one_message
    a_nonce_stands_for_one_content_and_place
    a_refused_row_sinks_alone
    windows_are_exact
    pages_are_bounded_in_bytes
    the_log_goes_on_after_a_restart
    users_are_known_by_their_last_name
    account_names_are_unique
    rooms_are_made_once_and_up_to_a_limit
    a_probe_tells_that_messages_can_be_stored
    what_was_handed_over_before_the_stop_is_stored
}
