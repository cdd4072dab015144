//! What other programs make of rows that are in the log: emptied messages, users without a name or without a row, renamed
//! rooms, a position that went back. Nobody is kept from what lies behind them.

use super::*;
use common::postgres::{Foreigner, sql};

fn url_of(log: &Log) -> &str {
    match &log.backend {
        Backend::Postgres(url, _) => url,
        _ => unreachable!(),
    }
}

/// Everything of `scope`, read as readers do: page by page, each after the last message of the one before.
async fn all_by_pages(log: &Log, scope: &Scope, limit: u32) -> Vec<i64> {
    let (mut all, mut reached): (Vec<i64>, i64) = (Vec::new(), 0);
    loop {
        let (page, has_more) = log.page(scope.clone(), after(reached, limit)).await;
        all.extend(ids(&page));
        assert!(page.len() <= limit as usize);
        if !has_more {
            return all;
        }
        reached = *all
            .last()
            .expect("a page of which there is more holds something");
    }
}

/// Messages that were emptied, one or very many in a row, end no page and no count, in either direction.
#[tokio::test]
async fn emptied_messages_hide_nothing_that_comes_after_them() {
    let Some(log) = Log::postgres().await else {
        return;
    };
    let log = log.with_users().await;
    let url = url_of(&log).to_owned();
    for n in 0..60 {
        log.put(said(1, &n.to_string())).await.unwrap();
    }
    // Blank to PostgreSQL, blank only to us, and nobody's.
    sql(
        &url,
        "UPDATE messages SET content = '' WHERE id BETWEEN 4 AND 30;
         UPDATE messages SET content = E'\\u2003\\u00a0' WHERE id BETWEEN 31 AND 50;
         ALTER TABLE messages ALTER COLUMN from_user DROP NOT NULL;
         UPDATE messages SET from_user = NULL WHERE id = 52",
    );
    let expected: Vec<i64> = [1, 2, 3, 51].into_iter().chain(53..=60).collect();
    let general = Scope::Room(general());
    let position = |id| Cursor::new(id).unwrap();
    let inbox = Scope::Inbox(Inbox {
        user: user(9),
        dms_after: Cursor::START,
        rooms: vec![(RoomName::general(), Cursor::START)],
    });
    for scope in [general, inbox] {
        for limit in [1, 3, 4, 5] {
            assert_eq!(all_by_pages(&log, &scope, limit).await, expected, "{limit}");
        }
        let (page, has_more) = log.page(scope.clone(), before(53, 2)).await;
        assert_eq!((ids(&page), has_more), (vec![3, 51], true));
        let (page, has_more) = log.page(scope.clone(), before(53, 4)).await;
        assert_eq!((ids(&page), has_more), (vec![1, 2, 3, 51], false));
        let counted = log.store.count(scope, position(0), position(60), 100).await;
        assert_eq!(counted.unwrap() as usize, expected.len());
    }
    let copied = log.store.log(position(3), 5, usize::MAX).await.unwrap();
    assert_eq!(copied.first().map(|it| it.id.get()), Some(51));
}

/// A conversation whose newest message was emptied is not shown, and ends no list.
#[tokio::test]
async fn an_emptied_conversation_ends_no_list_of_conversations() {
    let Some(log) = Log::postgres().await else {
        return;
    };
    let mut log = log.with_users().await;
    for id in 4..=9 {
        log.store.see_user(user(id), name("x")).await.unwrap();
        log.put(dm(1, id, "x")).await.unwrap();
    }
    log.announced(6).await;
    sql(
        url_of(&log),
        "UPDATE messages SET content = '' WHERE to_user = 7; DELETE FROM messages WHERE to_user = 8",
    );
    let listed = log.store.conversations(user(1), Cursor::END, 2, usize::MAX);
    let listed = listed.await.unwrap();
    let with: Vec<i64> = listed.entries.iter().map(|it| it.0.id.get()).collect();
    assert_eq!((with, listed.has_more), (vec![9, 6], true));
}

/// Whose row in `users` is gone, or bears no name, is called by the id; their messages stay, and are told.
#[tokio::test]
async fn users_without_a_name_or_a_row_are_called_by_their_id() {
    let Some(log) = Log::postgres().await else {
        return;
    };
    let mut log = log.with_users().await;
    let url = url_of(&log).to_owned();
    log.put(said(1, "one")).await.unwrap();
    log.put(said(2, "two")).await.unwrap();
    log.announced(2).await;
    sql(
        &url,
        "ALTER TABLE messages DROP CONSTRAINT messages_from_user_fkey;
         ALTER TABLE users ALTER COLUMN username DROP NOT NULL;
         UPDATE users SET username = NULL WHERE id = 1; DELETE FROM users WHERE id = 2",
    );
    let all = log.all(Scope::Room(general())).await;
    let names: Vec<&str> = all.iter().map(|it| it.username.as_str()).collect();
    assert_eq!(names, ["user-1", "user-2"]);
    assert_eq!(
        log.store.user(user(1)).await.unwrap().unwrap().username,
        name("user-1")
    );
    sql(
        &url,
        "INSERT INTO messages (from_user, room, content) VALUES (1, 'general', 'theirs')",
    );
    let told = log.announced(1).await.remove(0).message;
    assert_eq!((&told.username, told.seq), (&name("user-1"), 3));
    log.put(said(3, "goes on")).await.unwrap();
    assert_eq!(log.announced(1).await[0].message.seq, 4);
}

/// A room that another program renames goes on counting where it was, and so does one into which others were moved.
#[tokio::test]
async fn a_renamed_room_counts_on() {
    let Some(log) = Log::postgres().await else {
        return;
    };
    let log = log.with_users().await;
    let url = url_of(&log).to_owned();
    for _ in 0..3 {
        log.put(said(1, "x")).await.unwrap();
    }
    sql(
        &url,
        "INSERT INTO rooms (name) VALUES ('renamed'), ('again');
         UPDATE messages SET room = 'renamed'",
    );
    let to = |name: &str| message(1, Place::Room(room(name)), "next", None);
    assert_eq!(log.put(to("renamed")).await.unwrap().seq, 4);
    sql(
        &url,
        "UPDATE messages SET room = 'again' WHERE room = 'renamed'",
    );
    let theirs = "INSERT INTO messages (from_user, room, content) VALUES (1, 'again', 'theirs')";
    sql(&url, theirs);
    soon("the foreign row", async {
        while log.all(Scope::Room(room("again"))).await.len() < 5 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let last = log.all(Scope::Room(room("again"))).await.pop().unwrap();
    assert_eq!(last.seq, 5);
}

/// A database that went back behind what was told (a restore, a standby that was behind) takes another epoch, and no node
/// that told what is gone acknowledges anything more.
#[tokio::test]
async fn a_log_that_went_back_is_served_by_nobody_who_was_further() {
    let Some(log) = Log::postgres().await else {
        return;
    };
    let mut log = log.with_users().await;
    let mut other = Log::postgres_at(url_of(&log).to_owned()).await;
    let url = url_of(&log).to_owned();
    for _ in 0..5 {
        log.put(said(1, "x")).await.unwrap();
    }
    log.announced(5).await;
    other.announced(5).await;
    let before = log.store.epoch().to_owned();
    sql(
        &url,
        "BEGIN; DELETE FROM messages WHERE chat_position > 2; UPDATE chat_log SET position = 2; COMMIT",
    );
    for log in [&mut log, &mut other] {
        soon("the end of the feed", async {
            while log.feed.next().await.is_some() {}
        })
        .await;
        let refused = log.store.append(said(1, "never")).await;
        assert!(
            matches!(refused, Err(StoreError::Unavailable(_))),
            "{refused:?}"
        );
    }
    let log = log.reopen().await;
    assert_ne!(log.store.epoch(), before);
    log.put(said(1, "there")).await.unwrap();
    assert_eq!(sql(&url, "SELECT epoch FROM chat_log"), [log.store.epoch()]);
}

/// What is stored after that and before anybody looks may lie behind what was told, but follows what lies before it.
#[tokio::test]
async fn a_log_that_went_back_and_on_between_two_looks_is_noticed() {
    let Some(log) = Log::postgres().await else {
        return;
    };
    let mut log = log.with_users().await;
    for _ in 0..3 {
        log.put(said(1, "x")).await.unwrap();
    }
    log.announced(3).await;
    let mut foreigner = Foreigner::new(url_of(&log));
    foreigner.does(
        "BEGIN; DELETE FROM messages WHERE chat_position > 2; UPDATE chat_log SET position = 2",
    );
    let late = log.store.append(said(1, "late")).await.unwrap();
    foreigner.does("COMMIT");
    assert_eq!(soon("an answer", late).await.unwrap().id.get(), 4);
    soon("the end of the feed", async {
        while log.feed.next().await.is_some() {}
    })
    .await;
}

/// The nonce of a message that was emptied stands for something that nobody can say again.
#[tokio::test]
async fn the_nonce_of_an_emptied_message_is_used_up() {
    let Some(log) = Log::postgres().await else {
        return;
    };
    let mut log = log.with_users().await;
    log.put(message(1, Place::Room(general()), "said", Some("n")))
        .await
        .unwrap();
    log.announced(1).await;
    sql(
        url_of(&log),
        "ALTER TABLE messages ALTER content DROP NOT NULL;
         UPDATE messages SET content = NULL",
    );
    let again = log
        .put(message(1, Place::Room(general()), "said", Some("n")))
        .await;
    assert!(matches!(again, Err(AppendError::NonceReused)), "{again:?}");
    log.put(said(1, "goes on")).await.unwrap();
}

/// Somebody else's users keep their names, whatever a token says; a row for whom a token brings no name is not invented.
#[tokio::test]
async fn names_in_somebody_elses_users_are_theirs() {
    let Some(url) = common::postgres::url_of_a_new_database() else {
        return;
    };
    sql(
        &url,
        "CREATE TABLE users (id SERIAL PRIMARY KEY, username VARCHAR(50));
         INSERT INTO users (username) VALUES ('ann'), (NULL)",
    );
    let log = Log::postgres_at(url.clone()).await;
    for brought in ["user-1", "Ann Miller"] {
        let seen = log.store.see_user(user(1), name(brought)).await.unwrap();
        assert_eq!(seen.username, name("ann"));
    }
    let unnamed = log.store.see_user(user(2), name("zoe")).await.unwrap();
    assert_eq!(unnamed.username, name("user-2"));
    let nobody = log
        .store
        .see_user(user(7), name("user-7"))
        .await
        .unwrap_err();
    assert!(matches!(nobody, StoreError::Refused(_)), "{nobody:?}");
    let new = log.store.see_user(user(8), name("eve")).await.unwrap();
    assert_eq!(new.username, name("eve"));
    let kept = sql(
        &url,
        "SELECT coalesce(username, '-') FROM users ORDER BY id",
    );
    assert_eq!(kept, ["ann", "-", "eve"]);
}

/// Rooms that need more than a name: what is there is served, and what cannot be made is refused with the reason.
#[tokio::test]
async fn rooms_that_need_more_than_a_name_are_theirs_to_make() {
    let Some(url) = common::postgres::url_of_a_new_database() else {
        return;
    };
    sql(
        &url,
        "CREATE TABLE rooms (id SERIAL PRIMARY KEY, name VARCHAR(10) UNIQUE NOT NULL, owner_id INTEGER NOT NULL);
         INSERT INTO rooms (name, owner_id) VALUES ('lounge', 1)",
    );
    let log = Log::postgres_at(url.clone()).await.with_users().await;
    let lounge = message(1, Place::Room(room("lounge")), "x", None);
    log.put(lounge).await.unwrap();
    let refused = log.store.create_room(room("new"), 10).await.unwrap_err();
    assert!(matches!(refused, StoreError::Refused(_)), "{refused:?}");
    assert!(refused.to_string().contains("owner_id"), "{refused}");
    sql(
        &url,
        "ALTER TABLE rooms ALTER COLUMN owner_id DROP NOT NULL",
    );
    let long = log
        .store
        .create_room(room("eleven-char"), 10)
        .await
        .unwrap_err();
    assert!(matches!(long, StoreError::Refused(_)), "{long:?}");
    sql(
        &url,
        "INSERT INTO users (id, username) VALUES (9223372036854775807, 'beyond')",
    );
    let listed = log.store.users(0, 100).await.unwrap().entries;
    assert_eq!(listed.len(), 3, "whose id nobody can say is nobody");
    let made = log.store.create_room(room("new"), 10).await.unwrap();
    assert_eq!(made, RoomOutcome::Made);
}

/// Accounts in users that need more than a name are refused with the reason.
#[tokio::test]
async fn accounts_that_their_users_do_not_take_are_refused() {
    let Some(url) = common::postgres::url_of_a_new_database() else {
        return;
    };
    sql(
        &url,
        "CREATE TABLE users (id SERIAL PRIMARY KEY, username VARCHAR(50) UNIQUE NOT NULL, email TEXT NOT NULL)",
    );
    let log = Log::postgres_at(url).await;
    let account = NewAccount {
        username: name("ann"),
        password_hash: None,
        role: "guest",
    };
    let refused = log.store.create_account(account).await.unwrap_err();
    assert!(matches!(refused, StoreError::Refused(_)), "{refused:?}");
    assert!(refused.to_string().contains("email"), "{refused}");
}
