//! What moves, and that its users go on as if nothing had been.

use super::*;

/// Over and back again: the same rows, the same secrets; and the numbers go on after the highest.
#[tokio::test]
async fn a_log_that_went_over_and_came_back_is_the_same_row_by_row() {
    let Some(url) = url_of_a_new_database() else {
        return;
    };
    let (folder, path) = old_file(2_345);
    std::fs::write(folder.path().join("chat.db-webhook-secret"), "whsec_abc\n").unwrap();
    let before = dump(&path);
    let over = copied(folder.path(), "chat.db", &url);
    for part in [
        "messages  2351, up to position 6723",
        "users     3, of which 2 built-in accounts",
        "rooms     4, and 3 direct conversations",
        "2 cursors, 3 parked messages; 2 kept secrets",
    ] {
        assert!(over.contains(part), "{part} in\n{over}");
    }
    assert_eq!(dump(&path), before, "the source is not changed");
    let back = copied(folder.path(), &url, "back.db");
    assert_eq!(checksum(&over), checksum(&back));
    assert_eq!(dump(&folder.path().join("back.db")), before);
    for name in ["secret", "webhook-secret"] {
        let read = |db: &str| std::fs::read_to_string(folder.path().join(format!("{db}-{name}")));
        let (there, here) = (read("chat.db").unwrap(), read("back.db").unwrap());
        assert_eq!(there.trim_end(), here.trim_end());
    }
    let next = |table: &str| {
        let sequence = format!("SELECT nextval(pg_get_serial_sequence('{table}', 'id'))");
        sql(&url, &sequence)
    };
    assert_eq!(
        (next("messages"), next("users")),
        (vec!["6724".into()], vec!["58".into()])
    );
    let again = copied(folder.path(), "chat.db", &url);
    assert!(again.contains("the same log already"), "{again}");
    assert_eq!(checksum(&again), checksum(&over));
    // What was put off while the tables were filled is there, as a first start makes it.
    let made = url_of_a_new_database().unwrap();
    serve(folder.path(), &made).kill();
    let kept = |url: &str| {
        let indexes = "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1";
        let constraints = "
            SELECT conrelid::regclass, conname, pg_get_constraintdef(oid), convalidated FROM pg_constraint
            WHERE connamespace = 'public'::regnamespace ORDER BY 1, 2";
        (sql(url, indexes), sql(url, constraints))
    };
    assert_eq!(kept(&url), kept(&made));
    assert!(kept(&url).0.len() > 10);
}

/// A client that was there before the move goes on with its cursor, its token and its unanswered send.
#[tokio::test]
async fn nobody_who_talks_notices_that_the_log_has_moved() {
    let Some(url) = url_of_a_new_database() else {
        return;
    };
    let folder = folder();
    let server = serve(folder.path(), "chat.db");
    let (token, ann_id) = account(&server, "register", "Ann").await;
    let (bobs, bob_id) = account(&server, "register", "Bob").await;
    let mut ann = client(&server, &token, ann_id, "Ann").await;
    let mut bob = client(&server, &bobs, bob_id, "Bob").await;
    let epoch = ann.ask(json!({"type": "hello"})).await["data"]["epoch"].clone();
    let read = ann.send_room("general", "what Ann has read").await.id;
    let once =
        json!({"type": "message", "room": "general", "content": "only once", "nonce": "n-1"});
    let first = common::client::sent(&bob.ask(once.clone()).await);
    bob.send_dm(ann_id, "for Ann alone").await;
    server.kill();
    let mut expected = ["only once", "for Ann alone"].map(String::from).to_vec();
    for (from, to) in [("chat.db", &*url), (&*url, "later.db")] {
        copied(folder.path(), from, to);
        let server = serve(folder.path(), to);
        let mut ann = client(&server, &token, ann_id, "Ann").await;
        let resume = json!({"type": "resume", "after": read, "rooms": ["general"], "epoch": epoch});
        let resumed = ann.ask(resume).await["data"].clone();
        assert_eq!(
            (&resumed["complete"], &resumed["replayed"]),
            (&json!(true), &json!(expected.len())),
            "{resumed}"
        );
        for content in &expected {
            let seen = common::client::seen(&ann.next().await["data"]);
            assert_eq!(&seen.content, content);
        }
        let (fresh, id) = account(&server, "login", "BOB").await;
        assert_eq!(id, bob_id);
        let mut bob = client(&server, &fresh, bob_id, "Bob").await;
        let again = common::client::sent(&bob.ask(once.clone()).await);
        assert!(again.duplicate);
        assert_eq!(
            (again.id, again.seq, &again.timestamp),
            (first.id, first.seq, &first.timestamp)
        );
        let new = format!("said at {}", expected.len());
        let sent = bob.send_room("general", &new).await;
        assert_eq!(ann.next_message().await.id, sent.id);
        expected.push(new);
        let (_, new_id) = account(&server, "register", &format!("Cy{}", expected.len())).await;
        assert!(new_id > bob_id);
        server.kill();
    }
}

/// Somebody who has copied and goes on with the old one is told which is which.
#[tokio::test]
async fn a_row_that_was_changed_on_either_side_is_found() {
    let Some(url) = url_of_a_new_database() else {
        return;
    };
    let (folder, path) = old_file(1_500);
    copied(folder.path(), "chat.db", &url);
    for (change, undo, found) in [
        (
            "UPDATE messages SET content = 'number 700.' WHERE content = 'number 700'",
            "UPDATE messages SET content = 'number 700' WHERE content = 'number 700.'",
            "message 3400 is not the same",
        ),
        (
            "UPDATE messages SET chat_nonce = NULL WHERE chat_nonce = 'bulk-9'",
            "UPDATE messages SET chat_nonce = 'bulk-9' WHERE chat_position = 2018",
            "message 2018 is not the same",
        ),
        (
            "UPDATE messages SET chat_seq = 9999 WHERE chat_position = 1001",
            "UPDATE messages SET chat_seq = 1 WHERE chat_position = 1001",
            "message 1001 is not the same",
        ),
        (
            "UPDATE chat_accounts SET role = 'root' WHERE user_id = 57",
            "UPDATE chat_accounts SET role = 'user' WHERE user_id = 57",
            "user 57 is not the same",
        ),
        (
            "INSERT INTO rooms (name) VALUES ('one more')",
            "DELETE FROM rooms WHERE name = 'one more'",
            "the room \"one more\" is in TO and not in FROM",
        ),
        (
            "UPDATE chat_rooms SET last_seq = 7 WHERE name = 'bulk'",
            "UPDATE chat_rooms SET last_seq = 1500 WHERE name = 'bulk'",
            "the room \"bulk\" is not the same",
        ),
        (
            "DELETE FROM chat_parked WHERE follower = 'webhook'",
            "INSERT INTO chat_parked VALUES ('webhook', 1001, 'x', 1, false)",
            "message 1001, parked of webhook, is in FROM and not in TO",
        ),
        (
            "UPDATE chat_followers SET position = 1006 WHERE name = 'backend'",
            "UPDATE chat_followers SET position = 1005 WHERE name = 'backend'",
            "how far the copies",
        ),
    ] {
        sql(&url, change);
        let said = refused(folder.path(), "chat.db", &url);
        assert!(said.contains(found), "{change}: {said}");
        assert!(said.contains("not the same any more"), "{said}");
        sql(&url, undo);
    }
    let said = copied(folder.path(), "chat.db", &url);
    assert!(said.contains("already"), "{said}");
    // The source has gone on.
    open(&path)
        .execute_batch("DELETE FROM messages WHERE id = 5000")
        .unwrap();
    let said = refused(folder.path(), "chat.db", &url);
    assert!(
        said.contains("message 5000 is in TO and not in FROM"),
        "{said}"
    );
}

/// Ids in the table and positions in the log may differ where another program writes: the position is the id that is known.
#[tokio::test]
async fn what_other_programs_wrote_comes_along_as_far_as_it_is_served() {
    let Some(url) = url_of_a_new_database() else {
        return;
    };
    let folder = folder();
    sql(&url, SEEDS_TABLES);
    let server = serve(folder.path(), &url);
    server.kill();
    sql(
        &url,
        "INSERT INTO rooms (name) VALUES ('open'); INSERT INTO rooms (name, is_private) VALUES ('closed', true);
         INSERT INTO messages (from_user, room, content, \"timestamp\") VALUES
            (1, 'open', 'one', '2024-01-15 12:00:00.123'), (2, 'closed', 'secret', now()), (1, 'open', ' ', now());
         INSERT INTO messages (from_user, to_user, content) VALUES (1, 2, 'two')",
    );
    let said = copied(folder.path(), &url, "out.db");
    for part in [
        "messages  2,",
        "2 rows of the table messages",
        "1 private rooms",
    ] {
        assert!(said.contains(part), "{part} in\n{said}");
    }
    let dumped = dump(&folder.path().join("out.db")).join("\n");
    assert!(
        !dumped.contains("secret") && !dumped.contains("closed"),
        "{dumped}"
    );
    assert!(
        dumped.contains("ann@example.org") && dumped.contains("Text(\"two\")"),
        "{dumped}"
    );
    assert!(!dumped.contains("their own hash"), "{dumped}");
    let again = copied(folder.path(), &url, "out.db");
    assert!(again.contains("already"), "{again}");
}

/// From one file to another, as when disks change; the older one stays as it was.
#[test]
fn a_file_can_be_copied_to_a_file() {
    let (folder, path) = old_file(10);
    let said = copied(folder.path(), "chat.db", "sqlite:copy.db");
    assert!(said.contains("messages  16,"), "{said}");
    let copy = folder.path().join("copy.db");
    assert_eq!(dump(&copy), dump(&path));
    let server = serve(folder.path(), "copy.db");
    server.kill();
    assert!(!copy.with_extension("db-journal").exists());
}

/// The seed's tables, with two of its users.
pub const SEEDS_TABLES: &str = "
    CREATE TABLE users (id SERIAL PRIMARY KEY, username VARCHAR(50) UNIQUE NOT NULL, email VARCHAR(255) UNIQUE NOT NULL,
        password_hash VARCHAR(255) NOT NULL, created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP);
    CREATE TABLE rooms (id SERIAL PRIMARY KEY, name VARCHAR(100) UNIQUE NOT NULL, is_private BOOLEAN DEFAULT FALSE,
        created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP);
    CREATE TABLE messages (id SERIAL PRIMARY KEY, from_user INTEGER REFERENCES users (id), to_user INTEGER REFERENCES users (id),
        room VARCHAR(100), content TEXT NOT NULL, \"timestamp\" TIMESTAMP DEFAULT CURRENT_TIMESTAMP);
    INSERT INTO users (username, email, password_hash) VALUES
        ('ann', 'ann@example.org', 'their own hash'), ('bob', 'bob@example.org', 'their own hash')";
