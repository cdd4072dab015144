//! A file that an older version made is served by this one, and is then no other than a new file.

use std::path::Path;

use chat_server::store::sqlite::{SCHEMA_VERSION, companion};
use rusqlite::Connection;

use super::*;

/// Two users, who said something in a room and to each other; one is an account. Made by version 1.
const ROWS: &str = "
    INSERT INTO log (one, epoch, mode) VALUES (1, 'the-old-epoch', 'standalone');
    INSERT INTO rooms (name, created_at, last_id, last_seq) VALUES ('general', 1, 2, 2);
    INSERT INTO users (id, username, account_name, password_hash, created_at)
        VALUES (1, 'Ann', 'ann', 'hash', 1), (2, 'bob', NULL, NULL, 2);
    INSERT INTO messages (from_user, room, content, timestamp, seq, nonce)
        VALUES (1, 'general', 'first', 10, 1, 'n1'), (2, 'general', 'second', 11, 2, NULL);
    INSERT INTO messages (from_user, to_user, content, timestamp, seq) VALUES (2, 1, 'third', 12, 1);
    INSERT INTO dms (low, high, last_id, last_seq) VALUES (1, 2, 3, 1);";

/// What the file is made of: every table and index as it was written down, and the version.
fn made_of(database: &Path) -> (Vec<(String, String, Option<String>)>, i32) {
    let connection = Connection::open(database).unwrap();
    let sql = "SELECT type, name, sql FROM sqlite_schema ORDER BY type, name";
    let mut statement = connection.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
    let version = connection.pragma_query_value(None, "user_version", |row| row.get(0));
    (
        rows.unwrap().map(Result::unwrap).collect(),
        version.unwrap(),
    )
}

/// Closes the log and looks at its file.
async fn closed(log: Log) -> (TempDir, std::path::PathBuf) {
    let Backend::Sqlite(folder, writer) = log.backend else {
        unreachable!()
    };
    drop(log.store);
    let stopped = tokio::task::spawn_blocking(|| writer.stop());
    stopped.await.unwrap();
    let path = folder.path().join("chat.db");
    (folder, path)
}

#[tokio::test]
async fn a_file_of_version_1_becomes_what_a_new_one_is_and_keeps_its_rows() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat.db");
    let old = Connection::open(&path).unwrap();
    old.execute_batch(include_str!("schema-v1.sql")).unwrap();
    old.execute_batch(ROWS).unwrap();
    old.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))
        .unwrap();
    drop(old);
    assert_eq!(made_of(&path).1, 1);

    let log = Log::sqlite_in(folder);
    assert_eq!(log.store.epoch(), "the-old-epoch");
    let all = log.store.log(Cursor::START, 10, usize::MAX).await.unwrap();
    let said: Vec<_> = all
        .iter()
        .map(|m| (m.id.get(), m.seq, m.username.as_str(), m.content.as_str()))
        .collect();
    let kept = [
        (1, 1, "Ann", "first"),
        (2, 2, "bob", "second"),
        (3, 1, "bob", "third"),
    ];
    assert_eq!(said, kept);
    let ann = log.store.account(name("ann")).await.unwrap().unwrap();
    assert_eq!(ann.password_hash.as_deref(), Some("hash"));
    let again = message(1, Place::Room(general()), "first", Some("n1"));
    let again = log.put(again).await.unwrap();
    assert_eq!((again.id.get(), again.duplicate), (1, true));
    let next = log.put(dm(1, 2, "fourth")).await.unwrap();
    assert_eq!((next.id.get() > 3, next.seq), (true, 2));

    assert_eq!(log.store.standings().await.unwrap(), []);
    let follow = log.store.follow(Follower::Backend, Begin::Oldest);
    assert_eq!(follow.await.unwrap().position, Cursor::START);
    let parked = Some("no".to_owned());
    let advanced = log.store.advance(Follower::Backend, next.id, parked);
    advanced.await.unwrap();

    let (_old, old) = closed(log).await;
    let (_new, new) = closed(Log::sqlite().await).await;
    assert_eq!(made_of(&old), made_of(&new));
    assert_eq!(made_of(&new).1, SCHEMA_VERSION);
    assert_eq!(made_of(&companion(&old, "v1-copy")).1, 1);
}
