//! The laws of storage: what every backend must keep, whatever it is made of.
//!
//! A law is a function over an open log. `laws!` runs each on every backend, the double in memory among them, so that
//! what is proved over the double holds for the real one.

#[path = "../common/mod.rs"]
mod common;

mod append;
mod directory;
mod followers;
mod inbox;
mod listing;
mod migration;
#[cfg(feature = "postgres")]
mod neighbours;
#[cfg(feature = "postgres")]
mod nodes;
#[cfg(feature = "postgres")]
mod odd;
mod read;
#[cfg(feature = "postgres")]
mod strangers;
#[cfg(feature = "postgres")]
mod tls;

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering::Relaxed},
    },
    time::Duration,
};

use chat_server::{
    clock::Clock,
    protocol::{
        Ack, Content, Cursor, Message, MessageId, Nonce, Place, RoomName, Timestamp, UserId,
        Username, Window,
    },
    store::{
        AppendError, Begin, CommitFeed, Committed, Counters, Follower, Inbox, Mode, NewAccount,
        NewMessage, Options, Origin, Receipt, RoomOutcome, Scope, Standing, Store, StoreError,
        sqlite::{SqliteStore, WriterHandle},
    },
};
use common::{
    memory::{Disk, MemoryStore, MemoryWriter},
    soon,
};
use tempfile::TempDir;

/// An open log, and the means to close and open it again.
struct Log {
    store: Arc<dyn Store>,
    feed: CommitFeed,
    backend: Backend,
}

enum Backend {
    /// SQLite in a folder of its own.
    Sqlite(TempDir, WriterHandle),
    /// The double.
    Memory(Disk, MemoryWriter),
    /// PostgreSQL, at this URL.
    #[cfg(feature = "postgres")]
    Postgres(String, chat_server::store::postgres::WriterHandle),
}

fn options() -> Options {
    Options {
        mode: Mode::Standalone,
        switch_mode: false,
        write_queue: 1024,
        batch_max: 256,
        feed_batches: 1024,
        readers: 2,
        patience: Duration::from_secs(5),
        wait: Duration::from_secs(5),
        clock: ticking(),
    }
}

impl Log {
    async fn sqlite() -> Self {
        Self::sqlite_in(tempfile::tempdir().unwrap())
    }

    fn sqlite_in(folder: TempDir) -> Self {
        let path = folder.path().join("chat.db");
        let (store, feed, writer) =
            SqliteStore::open(&path, &options(), Counters::default()).unwrap();
        Self {
            store: Arc::new(store),
            feed,
            backend: Backend::Sqlite(folder, writer),
        }
    }

    /// An empty database of its own; `None` where there is no PostgreSQL.
    #[cfg(feature = "postgres")]
    async fn postgres() -> Option<Self> {
        Some(Self::postgres_at(common::postgres::url_of_a_new_database()?).await)
    }

    /// One more node on this database.
    #[cfg(feature = "postgres")]
    async fn postgres_at(url: String) -> Self {
        Self::postgres_with(url, &options()).await
    }

    #[cfg(feature = "postgres")]
    async fn postgres_with(url: String, options: &Options) -> Self {
        use chat_server::store::postgres::{PgStore, Url};
        let at = Url::parse(&url).unwrap();
        let opened = PgStore::open(&at, options, Counters::default()).await;
        let (store, feed, writer) = opened.unwrap();
        Self {
            store: Arc::new(store),
            feed,
            backend: Backend::Postgres(url, writer),
        }
    }

    async fn memory() -> Self {
        Self::memory_on(Disk::default())
    }

    fn memory_on(disk: Disk) -> Self {
        let (store, feed, writer) = MemoryStore::open(&disk, ticking());
        Self {
            store: Arc::new(store),
            feed,
            backend: Backend::Memory(disk, writer),
        }
    }

    async fn reopen(self) -> Self {
        let Self { store, backend, .. } = self;
        drop(store);
        match backend {
            Backend::Sqlite(folder, writer) => {
                let stopped = tokio::task::spawn_blocking(|| writer.stop());
                stopped.await.unwrap();
                Self::sqlite_in(folder)
            }
            Backend::Memory(disk, writer) => {
                soon("the writer", writer.stop()).await;
                Self::memory_on(disk)
            }
            #[cfg(feature = "postgres")]
            Backend::Postgres(url, writer) => {
                soon("the writer", writer.stop()).await;
                Self::postgres_at(url).await
            }
        }
    }

    /// Another log of the same kind, empty.
    async fn another(&self) -> Self {
        match self.backend {
            Backend::Sqlite(..) => Self::sqlite().await,
            Backend::Memory(..) => Self::memory().await,
            #[cfg(feature = "postgres")]
            Backend::Postgres(..) => Self::postgres().await.unwrap(),
        }
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

    /// What an operator does beside the open log: this parked message is wanted again.
    fn ask_again(&self, follower: Follower, id: MessageId) {
        match &self.backend {
            Backend::Sqlite(folder, _) => {
                let beside = rusqlite::Connection::open(folder.path().join("chat.db")).unwrap();
                let sql = "UPDATE parked SET due_again = 1 WHERE follower = ?1 AND message = ?2";
                let asked = beside.execute(sql, (follower.as_str(), id.get())).unwrap();
                assert_eq!(asked, 1);
            }
            Backend::Memory(disk, _) => disk.ask_again(follower, id),
            #[cfg(feature = "postgres")]
            Backend::Postgres(url, _) => {
                let (name, id) = (follower.as_str(), id.get());
                let sql = format!(
                    "UPDATE chat_parked SET due_again = true WHERE follower = '{name}' AND message = {id} RETURNING 1"
                );
                assert_eq!(common::postgres::sql(url, &sql), ["1"]);
            }
        }
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
        let page = self.page(scope, after(0, 10_000)).await;
        assert!(!page.1);
        page.0
    }

    /// The messages of a page without a limit in bytes, and whether there is more.
    async fn page(&self, scope: Scope, window: Window) -> (Vec<Message>, bool) {
        let page = self.store.read(scope, window, usize::MAX).await.unwrap();
        (page.messages, page.has_more)
    }
}

/// A clock on which no two moments are the same.
fn ticking() -> Clock {
    static NOW: AtomicI64 = AtomicI64::new(1_700_000_000_000);
    Clock::new(|| Timestamp::from_unix_ms(NOW.fetch_add(1, Relaxed)))
}

fn before(id: i64, limit: u32) -> Window {
    let before = Cursor::new(id).unwrap();
    Window::Before { before, limit }
}

fn after(id: i64, limit: u32) -> Window {
    let after = Cursor::new(id).unwrap();
    Window::After { after, limit }
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

macro_rules! laws {
    ($($part:ident { $($law:ident)* })*) => {
        laws! { on sqlite: $($($part $law)*)* }
        laws! { on memory: $($($part $law)*)* }
        laws! { on postgres, if it is there: $($($part $law)*)* }
    };
    (on $backend:ident, if it is there: $($part:ident $law:ident)*) => {
        #[cfg(feature = "postgres")]
        mod $backend {
            $(#[tokio::test]
            async fn $law() {
                if let Some(log) = crate::Log::$backend().await {
                    crate::$part::$law(log.with_users().await).await;
                }
            })*
        }
    };
    (on $backend:ident: $($part:ident $law:ident)*) => {
        mod $backend {
            $(#[tokio::test]
            async fn $law() {
                crate::$part::$law(crate::Log::$backend().await.with_users().await).await;
            })*
        }
    };
}

laws! {
    append {
        ids_follow_the_order_of_handing_over
        positions_have_no_holes
        the_feed_is_the_log
        what_is_announced_can_be_read
        a_nonce_is_one_message
        a_nonce_stands_for_one_content_and_place
        a_refused_row_sinks_alone
        what_was_handed_over_before_the_stop_is_stored
    }
    read {
        windows_are_exact
        pages_are_bounded_in_bytes
        the_log_goes_on_after_a_restart
    }
    inbox {
        an_inbox_is_its_rooms_and_all_dms_of_its_user
        an_inbox_begins_in_each_room_where_its_reader_stands
        an_inbox_is_read_in_both_directions
        an_inbox_is_bounded_in_rows_and_bytes
        what_is_counted_is_what_would_be_read
    }
    directory {
        users_are_known_by_their_last_name
        account_names_are_unique
        rooms_are_made_once_and_up_to_a_limit
        a_probe_tells_that_messages_can_be_stored
    }
    followers {
        a_new_follower_begins_at_either_end_and_an_old_one_where_it_was
        each_follower_has_one_who_leads_and_another_after_that
        the_log_is_read_in_id_order_over_rooms_and_dms_together
        what_is_read_of_the_log_is_bounded_in_rows_and_bytes
        a_cursor_moves_forward_only
        a_cursor_and_what_is_parked_outlive_the_process
        a_failure_is_noted_from_its_first_moment_until_the_cursor_moves
        what_is_parked_is_told_by_id_with_its_reason
        what_was_taken_after_all_is_not_parked
        what_an_operator_wants_again_is_due_until_it_is_concluded
        every_change_done_twice_is_done_once
        who_never_followed_has_nothing_to_change
    }
    listing {
        rooms_are_listed_by_name_with_their_newest_message
        users_are_listed_by_id
        conversations_are_ones_own_newest_first
        lists_are_bounded_in_bytes
    }
}

/// What the double can do beyond the laws: lose what was not synced, and leave an outcome unknown.
mod the_double {
    use super::*;

    async fn open() -> (Disk, Log) {
        let disk = Disk::named("first", 7);
        let log = Log::memory_on(disk.clone()).with_users().await;
        (disk, log)
    }

    #[tokio::test]
    async fn loses_in_a_crash_what_was_not_synced_and_nothing_else() {
        let (disk, log) = open().await;
        log.put(said(1, "synced")).await.unwrap();
        disk.hold(true);
        let lost = log.hand_over(said(1, "in line")).await;
        tokio::task::yield_now().await;
        let Backend::Memory(_, writer) = log.backend else {
            unreachable!()
        };
        writer.crash().await;
        assert!(matches!(lost.await, Err(AppendError::Uncertain)));
        disk.hold(false);
        let log = Log::memory_on(disk);
        let stored = log.all(Scope::Room(general())).await;
        assert_eq!(stored.len(), 1);
        assert_eq!(stored[0].content.as_str(), "synced");
    }

    #[tokio::test]
    async fn tells_of_what_was_stored_without_a_known_outcome_before_anything_later() {
        for is_stored in [false, true] {
            let (disk, mut log) = open().await;
            disk.lose_an_outcome(is_stored);
            assert!(matches!(
                log.put(said(1, "who knows")).await,
                Err(AppendError::Uncertain)
            ));
            log.put(said(1, "later")).await.unwrap();
            let told = log.announced(1 + usize::from(is_stored)).await;
            let told: Vec<&str> = told.iter().map(|c| c.message.content.as_str()).collect();
            let all = ["who knows", "later"];
            assert_eq!(told, all[usize::from(!is_stored)..]);
        }
    }

    #[tokio::test]
    async fn moves_a_cursor_that_was_moved_without_a_known_outcome_to_the_same_place_again() {
        for is_stored in [false, true] {
            let (disk, log) = open().await;
            let first = log.put(said(1, "x")).await.unwrap().id;
            let follow = || log.store.follow(Follower::Backend, Begin::Oldest);
            follow().await.unwrap();
            let advance = || {
                let parked = Some("no".to_owned());
                log.store.advance(Follower::Backend, first, parked)
            };
            disk.lose_an_outcome(is_stored);
            assert!(matches!(advance().await, Err(StoreError::Uncertain(_))));
            let known = follow().await.unwrap();
            let position = if is_stored {
                first.into()
            } else {
                Cursor::START
            };
            assert_eq!(known.position, position);
            advance().await.unwrap();
            let known = follow().await.unwrap();
            assert_eq!((known.position, known.parked), (first.into(), 1));
        }
    }

    #[tokio::test]
    async fn stores_nothing_while_it_is_full_and_goes_on_after_that() {
        let (disk, log) = open().await;
        disk.fill(true);
        assert!(matches!(
            log.put(said(1, "too much")).await,
            Err(AppendError::Store(StoreError::Full))
        ));
        disk.fill(false);
        assert_eq!(log.put(said(1, "fits")).await.unwrap().seq, 1);
    }

    #[tokio::test]
    async fn gives_a_restored_log_the_old_messages_under_another_name() {
        let (disk, log) = open().await;
        log.put(said(1, "old")).await.unwrap();
        let backup = disk.backup();
        log.put(said(1, "new")).await.unwrap();
        disk.restore(&backup, "second");
        let log = Log::memory_on(disk);
        assert_eq!(log.store.epoch(), "second");
        assert_eq!(log.all(Scope::Room(general())).await.len(), 1);
    }
}
