//! Into a database in which another program keeps its users: what is possible, and what is not.

use super::{ends::rows, moves::SEEDS_TABLES, *};

/// A file that a server left whose users came with a backend's tokens: 1 and 2 of that backend.
fn backends_file() -> TempDir {
    let (folder, path) = old_file(0);
    open(&path)
        .execute_batch(
            "DELETE FROM parked; DELETE FROM followers; DELETE FROM messages; DELETE FROM dms; DELETE FROM users;
             UPDATE log SET mode = 'integrated'; UPDATE rooms SET last_id = 0, last_seq = 0;
             INSERT INTO users (id, username, created_at) VALUES (1, 'ann', 0), (2, 'Bob of old', 0);
             INSERT INTO messages (id, from_user, room, content, timestamp, seq) VALUES (5000, 1, 'general', 'hi', 1700000000001, 1);
             INSERT INTO messages (id, from_user, to_user, content, timestamp, seq) VALUES (5001, 2, 1, 'you', 1700000000002, 1);
             INSERT INTO dms (low, high, last_id, last_seq) VALUES (1, 2, 5001, 1);
             UPDATE rooms SET last_id = 5000, last_seq = 1 WHERE name = 'general'",
        )
        .unwrap();
    folder
}

#[test]
fn a_backends_users_get_their_messages_and_keep_what_stands_with_them() {
    let Some(url) = url_of_a_new_database() else {
        return;
    };
    let folder = backends_file();
    sql(&url, SEEDS_TABLES);
    sql(
        &url,
        "INSERT INTO users (username, email, password_hash) VALUES ('cy', 'c@x', 'h')",
    );
    let before = sql(&url, "SELECT * FROM users ORDER BY id");
    let said = copied(folder.path(), "chat.db", &url);
    assert!(said.contains("messages  2, up to position"), "{said}");
    assert!(said.contains("keep what stands there"), "{said}");
    assert_eq!(sql(&url, "SELECT * FROM users ORDER BY id"), before);
    assert_eq!(
        sql(
            &url,
            "SELECT id, content, \"timestamp\" FROM messages ORDER BY id"
        ),
        [
            "5000|hi|2023-11-14 22:13:20.001",
            "5001|you|2023-11-14 22:13:20.002"
        ]
    );
    let again = copied(folder.path(), "chat.db", &url);
    assert!(again.contains("already"), "{again}");
    sql(&url, "UPDATE messages SET content = 'ho' WHERE id = 5000");
    let said = refused(folder.path(), "chat.db", &url);
    assert!(said.contains("message 5000 is not the same"), "{said}");
}

#[test]
fn what_would_mix_two_histories_or_invent_data_is_refused() {
    let Some(url) = url_of_a_new_database() else {
        return;
    };
    let folder = backends_file();
    sql(&url, SEEDS_TABLES);
    sql(&url, "DELETE FROM users WHERE id = 2");
    let said = refused(folder.path(), "chat.db", &url);
    assert!(
        said.contains("needs a value in \"email\"") && said.contains("createdb"),
        "{said}"
    );
    sql(&url, "INSERT INTO users VALUES (2, 'bob', 'b@x', 'h')");
    sql(
        &url,
        "INSERT INTO messages (from_user, room, content) VALUES (1, 'general', 'theirs')",
    );
    let said = refused(folder.path(), "chat.db", &url);
    assert!(said.contains("messages of another program"), "{said}");
    sql(&url, "DELETE FROM messages");
    let (standalone, _) = old_file(0);
    let said = refused(standalone.path(), "chat.db", &url);
    assert!(said.contains("accounts of its own"), "{said}");
    // Nothing of all that was left behind.
    let added = "SELECT count(*) FROM information_schema.columns WHERE column_name LIKE 'chat\\_%'";
    assert_eq!(sql(&url, added), ["0"]);
    assert_eq!(rows(&url, "messages"), 0);
    copied(folder.path(), "chat.db", &url);
}

/// What has no place in a file stays behind, and is counted: nothing goes without a word.
#[test]
fn what_a_file_cannot_hold_is_named_on_the_way_back() {
    let Some(url) = url_of_a_new_database() else {
        return;
    };
    let folder = backends_file();
    let path = folder.path().join("chat.db");
    open(&path)
        .execute_batch("UPDATE users SET email = 'a' || char(0) WHERE id = 1")
        .unwrap();
    let said = copied(folder.path(), "chat.db", &url);
    assert!(said.contains("1 users and rooms have a NUL"), "{said}");
    sql(
        &url,
        "ALTER TABLE messages DROP CONSTRAINT messages_from_user_fkey, DROP CONSTRAINT messages_to_user_fkey;
         DELETE FROM users WHERE id = 2; INSERT INTO rooms (name) VALUES (' lead');
         INSERT INTO users (id, username) VALUES (9007199254740992, 'far')",
    );
    let said = copied(folder.path(), &url, "back.db");
    for words in [
        "messages  1,",
        "users     1,",
        "note      1 users have ids that",
        "note      the room \" lead\" must not",
        "note      1 rows that have a place in the log are no messages any more",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
}

/// Whatever changes what is stored, and be it a trigger of theirs, is found before the copy is there for anybody.
#[test]
fn what_is_stored_otherwise_than_it_was_written_is_found_and_undone() {
    let Some(url) = url_of_a_new_database() else {
        return;
    };
    let folder = backends_file();
    sql(&url, SEEDS_TABLES);
    sql(
        &url,
        "CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.content = upper(NEW.content); RETURN NEW; END $$;
         CREATE TRIGGER shout BEFORE INSERT ON messages FOR EACH ROW EXECUTE FUNCTION shout()",
    );
    let said = refused(folder.path(), "chat.db", &url);
    assert!(
        said.contains("what was written is not what was read: message 5000 is not the same"),
        "{said}"
    );
    assert_eq!(rows(&url, "messages"), 0);
    sql(&url, "DROP TRIGGER shout ON messages");
    copied(folder.path(), "chat.db", &url);
}
