//! Several nodes over one database, and other programs in its tables.

use super::*;
use common::{
    postgres::{Foreigner, sql},
    proxy::Proxy,
};

fn url_of(log: &Log) -> &str {
    match &log.backend {
        Backend::Postgres(url, _) => url,
        _ => unreachable!(),
    }
}

fn positions(told: &[Committed]) -> Vec<i64> {
    told.iter().map(|told| told.message.id.get()).collect()
}

/// Whoever stored them: every node tells of every message, in the same order, and which connection its own came from.
#[tokio::test]
async fn every_node_tells_every_message_in_the_same_order() {
    let Some(first) = Log::postgres().await else {
        return;
    };
    let mut first = first.with_users().await;
    let mut second = Log::postgres_at(url_of(&first).to_owned()).await;
    let mut receipts = Vec::new();
    for n in 0..400 {
        let log = if n % 2 == 0 { &first } else { &second };
        let origin = Some(Origin(n));
        let new = NewMessage {
            origin,
            ..said(1 + n as i64 % 3, &n.to_string())
        };
        receipts.push(log.hand_over(new).await);
        if n % 7 == 0 {
            soon("an ack", receipts.pop().unwrap()).await.unwrap();
        }
    }
    for receipt in receipts {
        soon("an ack", receipt).await.unwrap();
    }
    let (at_first, at_second) = (first.announced(400).await, second.announced(400).await);
    let all: Vec<i64> = ids(&first.all(Scope::Room(general())).await);
    assert_eq!(all.len(), 400);
    assert_eq!(positions(&at_first), all);
    assert_eq!(positions(&at_second), all);
    for (told, own) in [(&at_first, 0), (&at_second, 1)] {
        for told in told {
            let n: u64 = told.message.content.as_str().parse().unwrap();
            let is_own = n % 2 == own;
            assert_eq!(told.origin, is_own.then_some(Origin(n)), "{n}");
        }
    }
    let seqs: Vec<i64> = at_first.iter().map(|told| told.message.seq).collect();
    assert_eq!(seqs, (1..=400).collect::<Vec<_>>());
}

/// The same nonce at two nodes at once is one message, told once.
#[tokio::test]
async fn a_nonce_is_one_message_whichever_node_it_is_sent_to() {
    let Some(first) = Log::postgres().await else {
        return;
    };
    let mut first = first.with_users().await;
    let second = Log::postgres_at(url_of(&first).to_owned()).await;
    for n in 0..50 {
        let nonce = n.to_string();
        let same = || message(1, Place::Room(general()), "once", Some(&nonce));
        let both = futures_util::future::join(first.put(same()), second.put(same())).await;
        let (one, other) = (both.0.unwrap(), both.1.unwrap());
        assert_eq!((one.id, one.seq), (other.id, other.seq));
        assert!(one.duplicate ^ other.duplicate);
    }
    assert_eq!(first.announced(50).await.len(), 50);
    assert_eq!(first.all(Scope::Room(general())).await.len(), 50);
}

/// Makes the commits of user 1's messages take long, after these have got their places.
const SLOW_COMMITS: &str = concat!(
    "CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN ",
    "IF NEW.from_user = 1 THEN PERFORM pg_sleep(0.2); END IF; RETURN NULL; END $$; ",
    "CREATE CONSTRAINT TRIGGER dawdles AFTER INSERT ON messages DEFERRABLE INITIALLY DEFERRED ",
    "FOR EACH ROW EXECUTE FUNCTION dawdle()"
);

/// Whoever stores while another node's commit takes long comes after it, also in another conversation: no reader who goes on
/// from a cursor passes it by.
#[tokio::test]
async fn a_commit_that_takes_long_is_passed_by_nobody() {
    let Some(first) = Log::postgres().await else {
        return;
    };
    let mut first = first.with_users().await;
    sql(url_of(&first), SLOW_COMMITS);
    let mut second = Log::postgres_at(url_of(&first).to_owned()).await;
    let mut slow = Vec::new();
    for n in 0..1_000 {
        if n % 100 == 0 {
            slow.push(first.hand_over(said(1, "slow")).await);
        } else {
            let quick = message(2, Place::Dm(user(3)), "quick", None);
            second.put(quick).await.unwrap();
        }
    }
    for receipt in slow {
        soon("an ack", receipt).await.unwrap();
    }
    let mut all = ids(&first.all(Scope::Room(general())).await);
    assert_eq!(all.len(), 10);
    all.extend(ids(&first.all(Scope::Dm(user(2), user(3))).await));
    all.sort_unstable();
    assert_eq!(all.len(), 1_000);
    assert_eq!(positions(&first.announced(1_000).await), all);
    assert_eq!(positions(&second.announced(1_000).await), all);
}

/// A connection that draws numbers ahead has some from before the end of the log: they are passed by.
#[tokio::test]
async fn numbers_that_were_drawn_ahead_do_not_disturb_the_order() {
    let Some(first) = Log::postgres().await else {
        return;
    };
    let mut first = first.with_users().await;
    let url = url_of(&first).to_owned();
    sql(&url, "ALTER TABLE messages ALTER COLUMN id SET CACHE 30");
    let mut second = Log::postgres_at(url.clone()).await;
    let foreign = "INSERT INTO messages (from_user, room, content) VALUES (2, 'general', 'x')";
    for n in 0..20 {
        first.put(said(1, "x")).await.unwrap();
        second.put(said(2, "x")).await.unwrap();
        if n % 5 == 0 {
            sql(&url, foreign);
        }
    }
    let told = first.announced(44).await;
    let all = ids(&first.all(Scope::Room(general())).await);
    assert_eq!(positions(&told), all);
    assert_eq!(positions(&second.announced(44).await), all);
    let seqs: Vec<i64> = told.iter().map(|told| told.message.seq).collect();
    assert_eq!(seqs, (1..=44).collect::<Vec<_>>());
}

/// Who deletes the newest message moves no position and no seq back.
#[tokio::test]
async fn a_message_that_another_program_deletes_leaves_its_place_empty() {
    let Some(log) = Log::postgres().await else {
        return;
    };
    let mut log = log.with_users().await;
    let url = url_of(&log).to_owned();
    let first = log.put(said(1, "gone")).await.unwrap();
    log.announced(1).await;
    let latest = log.store.latest_id().await.unwrap();
    sql(&url, "DELETE FROM messages");
    assert_eq!(log.store.latest_id().await.unwrap(), latest);
    let next = log.put(said(1, "there")).await.unwrap();
    assert!(next.id > first.id && next.seq == 2, "{next:?}");
    assert_eq!(positions(&log.announced(1).await), [next.id.get()]);
}

/// What another program inserts is told by every node within a second of its commit, and is a message like any other.
#[tokio::test]
async fn a_foreign_row_is_told_within_a_second() {
    let Some(first) = Log::postgres().await else {
        return;
    };
    let mut first = first.with_users().await;
    let url = url_of(&first).to_owned();
    let mut second = Log::postgres_at(url.clone()).await;
    first.put(said(1, "ours")).await.unwrap();
    let before = std::time::Instant::now();
    let ids = sql(
        &url,
        "INSERT INTO messages (from_user, room, content, \"timestamp\")
         VALUES (2, 'general', 'theirs', '2024-01-15T12:00:00.123Z') RETURNING id",
    );
    let told = second.announced(2).await;
    assert!(
        before.elapsed() < Duration::from_secs(1),
        "{:?}",
        before.elapsed()
    );
    let theirs = &told[1].message;
    assert_eq!((theirs.content.as_str(), theirs.seq), ("theirs", 2));
    assert_eq!(theirs.timestamp.to_string(), "2024-01-15T12:00:00.123Z");
    assert_eq!(
        ids,
        [theirs.id.to_string()],
        "the id in the table is the one on the wire"
    );
    assert_eq!(positions(&first.announced(2).await), positions(&told));
    assert_eq!(first.put(said(3, "next")).await.unwrap().seq, 3);
}

/// A foreign transaction that stays open stalls nobody; what it inserted comes after what was stored in between.
#[tokio::test]
async fn an_open_foreign_transaction_stalls_nobody() {
    let Some(log) = Log::postgres().await else {
        return;
    };
    let mut log = log.with_users().await;
    let url = url_of(&log).to_owned();
    let mut foreigner = Foreigner::new(&url);
    foreigner.does("BEGIN");
    foreigner
        .does("INSERT INTO messages (from_user, room, content) VALUES (2, 'general', 'theirs')");
    foreigner.does("UPDATE users SET email = 'a@b' WHERE id = 1");
    foreigner.does("UPDATE rooms SET description = 'held' WHERE name = 'general'");
    let before = std::time::Instant::now();
    for n in 0..10 {
        log.put(said(1, &n.to_string())).await.unwrap();
    }
    assert!(
        before.elapsed() < Duration::from_secs(2),
        "{:?}",
        before.elapsed()
    );
    assert_eq!(log.announced(10).await.len(), 10);
    foreigner.does("COMMIT");
    let theirs = log.announced(1).await.remove(0).message;
    assert_eq!((theirs.content.as_str(), theirs.seq), ("theirs", 11));
    let all = log.all(Scope::Room(general())).await;
    assert_eq!(all.last().map(|last| last.id), Some(theirs.id));
    let next = log.put(said(1, "next")).await.unwrap();
    assert!(next.id > theirs.id);
}

/// Who is locked by another program is refused alone and at once; all others go on.
#[tokio::test]
async fn a_user_whom_another_program_holds_is_refused_alone() {
    let Some(log) = Log::postgres().await else {
        return;
    };
    let log = log.with_users().await;
    let mut foreigner = Foreigner::new(url_of(&log));
    foreigner.does("BEGIN");
    foreigner.does("SELECT 1 FROM users WHERE id = 2 FOR UPDATE");
    let mut receipts = Vec::new();
    for n in 0..30 {
        receipts.push(log.hand_over(said(1 + n % 3, "x")).await);
    }
    for (n, receipt) in receipts.into_iter().enumerate() {
        match (n % 3, soon("an answer", receipt).await) {
            (1, Err(AppendError::Store(StoreError::Unavailable(_)))) | (0 | 2, Ok(_)) => {}
            (_, other) => panic!("{n}: {other:?}"),
        }
    }
    foreigner.does("COMMIT");
    log.put(said(2, "free")).await.unwrap();
}

/// Rows that are no messages are passed by for good, and keep nobody from the others.
#[tokio::test]
async fn a_foreign_row_that_is_no_message_is_left_out() {
    let Some(log) = Log::postgres().await else {
        return;
    };
    let mut log = log.with_users().await;
    let url = url_of(&log).to_owned();
    sql(
        &url,
        "ALTER TABLE messages DROP CONSTRAINT messages_check;
         INSERT INTO messages (from_user, to_user, room, content)
         VALUES (1, NULL, 'general', '  '), (1, 2, 'general', 'both'), (1, NULL, NULL, 'neither'), (1, 2, NULL, 'a dm')",
    );
    let told = log.announced(1).await.remove(0).message;
    assert_eq!((told.content.as_str(), told.seq), ("a dm", 1));
    assert_eq!(told.place, Place::Dm(user(2)));
    let left = sql(
        &url,
        "SELECT count(*) FROM messages WHERE chat_position = 0",
    );
    assert_eq!(left, ["3"]);
}

/// The tables of another program, as a backend's migrations would have made them.
const THEIR_TABLES: &str = "
    CREATE TABLE users (id SERIAL PRIMARY KEY, username VARCHAR(50) UNIQUE NOT NULL, email VARCHAR(255) UNIQUE NOT NULL,
        password_hash VARCHAR(255) NOT NULL, created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP);
    CREATE TABLE rooms (id SERIAL PRIMARY KEY, name VARCHAR(100) UNIQUE NOT NULL, description TEXT,
        is_private BOOLEAN DEFAULT FALSE, created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP);
    CREATE TABLE messages (id SERIAL PRIMARY KEY, from_user INTEGER NOT NULL REFERENCES users(id),
        to_user INTEGER REFERENCES users(id), room VARCHAR(100), content TEXT NOT NULL,
        timestamp TIMESTAMP DEFAULT CURRENT_TIMESTAMP);
    INSERT INTO users (username, email, password_hash) VALUES ('ann', 'a@x', 'h'), ('bob', 'b@x', 'h');
    INSERT INTO rooms (name, is_private) VALUES ('lounge', false), ('board', true);
    INSERT INTO messages (from_user, to_user, room, content, timestamp) VALUES
        (1, NULL, 'lounge', 'one', '2024-01-15 12:00:00'), (2, 1, NULL, 'two', '2024-01-15 12:00:01'),
        (2, NULL, 'lounge', 'three', '2024-01-15 12:00:02'), (1, NULL, 'board', 'secret', '2024-01-15 12:00:03'),
        (1, NULL, 'unlisted', 'four', '2024-01-15 12:00:04')";

/// Every column of every table that was there, as it was.
const THEIR_SHAPE: &str = "
    SELECT table_name, column_name, data_type, is_nullable, column_default FROM information_schema.columns
    WHERE table_schema = 'public' AND table_name IN ('users', 'rooms', 'messages') AND column_name NOT LIKE 'chat%'
    ORDER BY table_name, ordinal_position";

/// The tables that are there are added to and nothing else; what was said before has its place in the log.
#[tokio::test]
async fn tables_that_are_there_stay_and_their_messages_are_in_the_log() {
    let Some(url) = common::postgres::url_of_a_new_database() else {
        return;
    };
    sql(&url, THEIR_TABLES);
    let before = sql(&url, THEIR_SHAPE);
    let log = Log::postgres_at(url.clone()).await;
    let all = log.store.log(Cursor::START, 100, usize::MAX).await.unwrap();
    let said: Vec<_> = all
        .iter()
        .map(|m| (m.id.get(), m.seq, m.username.as_str(), m.content.as_str()))
        .collect();
    let kept = [
        (1, 1, "ann", "one"),
        (2, 1, "bob", "two"),
        (3, 2, "bob", "three"),
        (5, 1, "ann", "four"),
    ];
    assert_eq!(said, kept);
    assert_eq!(all[0].timestamp.to_string(), "2024-01-15T12:00:00.000Z");
    assert!(!log.store.room_exists(room("board")).await.unwrap());
    let rooms = log.store.rooms(None, 10, usize::MAX).await.unwrap();
    let names: Vec<&str> = rooms
        .entries
        .iter()
        .map(|room| room.name.as_str())
        .collect();
    assert_eq!(names, ["general", "lounge", "unlisted"]);
    let closed = log.store.create_room(room("board"), 100).await.unwrap_err();
    assert!(closed.to_string().contains("private"), "{closed}");
    let board = message(1, Place::Room(room("board")), "x", None);
    assert!(matches!(
        log.put(board).await,
        Err(AppendError::UnknownPlace)
    ));
    let taken = log.store.see_user(user(2), name("ann")).await.unwrap();
    assert_eq!(taken.username, name("bob"), "the stored name stays");
    let unknown = log.store.see_user(user(9), name("zoe")).await.unwrap_err();
    assert!(matches!(unknown, StoreError::Refused(_)), "{unknown:?}");
    assert!(unknown.to_string().contains("email"), "{unknown}");
    let long = name(&"z".repeat(60));
    let kept = log.store.see_user(user(1), long).await.unwrap();
    assert_eq!(kept.username, name("ann"), "theirs takes 50 characters");
    let next = log
        .put(message(
            1,
            Place::Room(room("lounge")),
            "five",
            Some("\0 in a nonce"),
        ))
        .await
        .unwrap();
    assert_eq!((next.id.get(), next.seq), (6, 3));
    // And with their own statements, as before.
    let theirs =
        "INSERT INTO messages (from_user, room, content) VALUES (2, 'lounge', 'six') RETURNING id";
    assert_eq!(sql(&url, theirs), ["7"]);
    let log = log.reopen().await;
    assert_eq!(sql(&url, THEIR_SHAPE), before);
    let all = log.all(Scope::Room(room("lounge"))).await;
    assert_eq!(all.iter().map(|m| m.seq).collect::<Vec<_>>(), [1, 2, 3, 4]);
}

/// A connection that is killed heals by itself; nothing is acknowledged that is not stored, and nothing told twice.
#[tokio::test]
async fn killed_connections_heal_and_nothing_is_lost_or_told_twice() {
    let Some(log) = Log::postgres().await else {
        return;
    };
    let mut log = log.with_users().await;
    let url = url_of(&log).to_owned();
    let (mut acked, mut uncertain) = (Vec::new(), 0);
    for n in 0..60 {
        if n % 20 == 10 {
            sql(
                &url,
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                 WHERE application_name = 'chat-server' AND datname = current_database()",
            );
        }
        match log.put(said(1, &n.to_string())).await {
            Ok(ack) => acked.push(ack.id.get()),
            Err(AppendError::Uncertain) => uncertain += 1,
            Err(AppendError::Store(StoreError::Unavailable(_))) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
    assert!(acked.len() >= 50, "{acked:?}, {uncertain} uncertain");
    let all = ids(&log.all(Scope::Room(general())).await);
    assert!(acked.iter().all(|id| all.contains(id)));
    assert!(all.len() <= acked.len() + uncertain);
    assert_eq!(positions(&log.announced(all.len()).await), all);
}

/// A node that reaches its database through a network that can be cut.
async fn behind_a_proxy() -> Option<(Proxy, String, Log)> {
    let url = common::postgres::url_of_a_new_database()?;
    let port = common::postgres::port_of(&url);
    let proxy = Proxy::to(port).await;
    let through = url.replace(&port.to_string(), &proxy.port.to_string());
    let log = Log::postgres_at(through).await.with_users().await;
    Some((proxy, url, log))
}

/// Makes every commit of messages wait until a session of the test's lets go of the lock 7.
const COMMITS_WAIT: &str = concat!(
    "CREATE FUNCTION wait_for_7() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN ",
    "WHILE NOT pg_try_advisory_xact_lock_shared(7) LOOP PERFORM pg_sleep(0.02); END LOOP; RETURN NULL; END $$; ",
    "CREATE CONSTRAINT TRIGGER waits AFTER INSERT ON messages DEFERRABLE INITIALLY DEFERRED ",
    "FOR EACH ROW EXECUTE FUNCTION wait_for_7()"
);
const HOLD_7: &str = "DO 'BEGIN PERFORM pg_advisory_lock(7); END'";
const RELEASE_7: &str = "DO 'BEGIN PERFORM pg_advisory_unlock(7); END'";

/// The commits that [`COMMITS_WAIT`] holds up.
const WAITING: &str = "FROM pg_stat_activity WHERE query = 'COMMIT' AND state = 'active' AND datname = current_database()";

/// Waits until a commit is held up. The store, which lives on the same thread, goes on meanwhile.
async fn a_commit_waits(url: &str) {
    let waits = async {
        loop {
            let (url, look) = (url.to_owned(), format!("SELECT count(*) {WAITING}"));
            let seen = tokio::task::spawn_blocking(move || sql(&url, &look));
            if seen.await.unwrap() == ["1"] {
                return;
            }
        }
    };
    soon("a commit that waits", waits).await;
}

/// The connection breaks in a commit that is made: it is acknowledged as it was stored, and told once.
#[tokio::test]
async fn a_commit_that_was_made_is_acknowledged_although_its_answer_was_lost() {
    let Some((proxy, url, mut log)) = behind_a_proxy().await else {
        return;
    };
    sql(&url, COMMITS_WAIT);
    let mut foreigner = Foreigner::new(&url);
    foreigner.does(HOLD_7);
    let receipt = log.hand_over(said(1, "who knows")).await;
    a_commit_waits(&url).await;
    proxy.cut();
    foreigner.does(RELEASE_7);
    proxy.mend();
    let ack = soon("an ack", receipt).await.unwrap();
    assert_eq!(ids(&log.all(Scope::Room(general())).await), [ack.id.get()]);
    log.put(said(1, "later")).await.unwrap();
    let told: Vec<String> = log
        .announced(2)
        .await
        .iter()
        .map(|told| told.message.content.as_str().into())
        .collect();
    assert_eq!(told, ["who knows", "later"]);
}

/// The connection breaks in a commit that is then not made: it is refused, and not left in doubt.
#[tokio::test]
async fn a_commit_that_was_not_made_is_refused_and_not_left_in_doubt() {
    let Some((_proxy, url, mut log)) = behind_a_proxy().await else {
        return;
    };
    sql(&url, COMMITS_WAIT);
    let mut foreigner = Foreigner::new(&url);
    foreigner.does(HOLD_7);
    let receipt = log.hand_over(said(1, "never")).await;
    a_commit_waits(&url).await;
    sql(&url, &format!("SELECT pg_terminate_backend(pid) {WAITING}"));
    let refused = soon("an answer", receipt).await;
    assert!(
        matches!(refused, Err(AppendError::Store(StoreError::Unavailable(_)))),
        "{refused:?}"
    );
    foreigner.does(RELEASE_7);
    log.put(said(1, "later")).await.unwrap();
    assert_eq!(log.announced(1).await[0].message.content.as_str(), "later");
}

/// While the database is out of reach, sends are refused as unavailable; afterwards everything goes on by itself, and what
/// others stored meanwhile is told.
#[tokio::test]
async fn a_node_that_is_cut_off_refuses_and_heals() {
    let Some((proxy, url, mut log)) = behind_a_proxy().await else {
        return;
    };
    let other = Log::postgres_at(url).await;
    log.put(said(1, "before")).await.unwrap();
    proxy.cut();
    for _ in 0..3 {
        let refused = log.put(said(1, "lost")).await;
        assert!(
            matches!(refused, Err(AppendError::Store(StoreError::Unavailable(_)))),
            "{refused:?}"
        );
    }
    let read = log.store.latest_id().await;
    assert!(matches!(read, Err(StoreError::Unavailable(_))), "{read:?}");
    other.put(said(2, "meanwhile")).await.unwrap();
    proxy.mend();
    let told: Vec<String> = log
        .announced(2)
        .await
        .iter()
        .map(|told| told.message.content.as_str().into())
        .collect();
    assert_eq!(told, ["before", "meanwhile"]);
    assert_eq!(log.put(said(1, "after")).await.unwrap().seq, 3);
}

/// However many stand in line before a database that is silent, they wait for it together, and not one batch after the other.
#[tokio::test]
async fn a_long_line_before_a_silent_database_is_turned_away_together() {
    let Some((proxy, _, log)) = behind_a_proxy().await else {
        return;
    };
    let impatient = Options {
        patience: Duration::from_secs(1),
        batch_max: 4,
        ..options()
    };
    let log = Log::postgres_with(url_of(&log).to_owned(), &impatient).await;
    log.put(said(1, "before")).await.unwrap();
    proxy.hold();
    let mut receipts = Vec::new();
    for n in 0..400 {
        receipts.push(log.hand_over(said(1, &n.to_string())).await);
    }
    let answers = futures_util::future::join_all(receipts);
    for refused in soon("an answer for everybody", answers).await {
        assert!(
            matches!(refused, Err(AppendError::Store(StoreError::Unavailable(_)))),
            "{refused:?}"
        );
    }
    proxy.mend();
    assert_eq!(log.put(said(1, "after")).await.unwrap().seq, 2);
}

/// Of nodes that start at once on an empty database one makes the log, and all serve it.
#[tokio::test]
async fn nodes_that_start_at_once_serve_one_log() {
    let Some(url) = common::postgres::url_of_a_new_database() else {
        return;
    };
    let nodes = (0..4).map(|_| Log::postgres_at(url.clone()));
    let nodes = soon("four nodes", futures_util::future::join_all(nodes)).await;
    nodes[0].store.see_user(user(1), name("ann")).await.unwrap();
    for (n, node) in nodes.iter().enumerate() {
        assert_eq!(node.store.epoch(), nodes[0].store.epoch());
        assert_eq!(node.put(said(1, "x")).await.unwrap().seq, n as i64 + 1);
    }
    assert_eq!(sql(&url, "SELECT name FROM rooms"), ["general"]);
}

/// Whom their table does not know, and cannot have from us, is told so at the door and by the API; whom it knows comes in.
#[tokio::test]
async fn who_cannot_be_had_in_their_users_is_refused_with_the_reason() {
    let Some(url) = common::postgres::url_of_a_new_database() else {
        return;
    };
    sql(&url, THEIR_TABLES);
    let at = chat_server::store::postgres::Url::parse(&url).unwrap();
    let server = common::TestServer::with(|config| {
        config.database = chat_server::store::Location::Postgres(at);
    })
    .await;
    let stranger = server.token(9, "zoe");
    let path = format!("/ws?token={stranger}");
    let door = common::client::handshake(server.address, &path, |_| {});
    let (status, body) = door.await.err().unwrap();
    assert_eq!(status, 403, "{body}");
    assert!(
        body.contains("forbidden") && body.contains("email"),
        "{body}"
    );
    let answer = common::http::me(server.address, &stranger).await;
    assert_eq!((answer.status, &*answer.code()), (403, "forbidden"));
    // Their names are taken there by each other: the stored ones stay.
    let mut ann = server.connect(1, "bob").await;
    ann.send_room("lounge", "here").await;
    let mut bob = server.connect(2, "ann").await;
    let history = bob.room_history("lounge").await;
    let names: Vec<&str> = history.iter().map(|seen| &*seen.username).collect();
    assert_eq!(names, ["ann", "bob", "ann"]);
    drop((ann, bob));
    server.stop().await;
}
