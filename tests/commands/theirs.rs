//! Databases that cannot be served as they are, and tables that are another program's: what start and doctor say of them.

use super::*;

const THEIR_USERS: &str = "
    CREATE TABLE users (id SERIAL PRIMARY KEY, username VARCHAR(50) UNIQUE NOT NULL, email VARCHAR(255) UNIQUE NOT NULL,
        password_hash VARCHAR(255) NOT NULL)";

/// Another encoding than UTF8 is refused before anything is made.
#[test]
fn a_database_that_cannot_hold_every_message_is_refused() {
    let Some(mut place) = Place::new() else {
        return;
    };
    let name = format!("{}_latin", place.url.rsplit_once('/').unwrap().1);
    let make = format!("CREATE DATABASE {name} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0");
    sql(&place.url, &make);
    place.url.push_str("_latin");
    let run = place.start_in_vain(&[], None);
    fails(
        &run,
        1,
        &["LATIN1", "UTF8", "createdb -E UTF8", "--db (DATABASE_URL)"],
    );
    found(&place.doctor(None), "fail", "LATIN1");
    assert_eq!(
        sql(&place.url, "SELECT to_regclass('chat_log') IS NULL"),
        ["t"]
    );
}

/// A role that may not do what must be done is told all of it, by the start and by the doctor, before and after the log is
/// made; and once it may, it serves.
#[tokio::test]
async fn a_role_without_the_rights_is_told_which() {
    let Some(mut place) = Place::new() else {
        return;
    };
    let owner = place.url.clone();
    sql(
        &owner,
        "CREATE ROLE clerk LOGIN; CREATE TABLE rooms (id SERIAL PRIMARY KEY, name TEXT UNIQUE NOT NULL);
         CREATE TABLE messages (id SERIAL PRIMARY KEY, from_user INTEGER, to_user INTEGER, room TEXT, content TEXT,
            \"timestamp\" TIMESTAMP)",
    );
    sql(&owner, THEIR_USERS);
    place.url = owner.replace("chat@", "clerk@");
    let missing = [
        "clerk",
        "owner of the table messages",
        "UPDATE on table users",
        "USAGE on sequence",
    ];
    fails(
        &place.start_in_vain(&[], Some(SECRET)),
        1,
        &[&missing[..], &["GRANT"]].concat(),
    );
    for words in missing {
        found(&place.doctor(Some(SECRET)), "fail", words);
    }
    let before = std::mem::replace(&mut place.url, owner.clone());
    drop(place.node(&[], Some(SECRET)));
    place.url = before;
    let missing = ["SELECT on table users", "on table chat_log", "GRANT"];
    fails(&place.start_in_vain(&[], Some(SECRET)), 1, &missing);
    found(&place.doctor(Some(SECRET)), "fail", "on table chat_log");
    sql(
        &owner,
        "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO clerk;
         GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO clerk;
         INSERT INTO users (username, email, password_hash) VALUES ('ann', 'a@x', 'h')",
    );
    let server = place.node(&[], Some(SECRET));
    let mut ann = client(&server, 1).await;
    ann.send_room("general", "may").await;
}

/// With somebody else's users there are no built-in accounts: whoever asks for one is told why, and the start warns.
#[tokio::test]
async fn accounts_in_somebody_elses_users_are_refused_in_words() {
    let Some(place) = Place::new() else {
        return;
    };
    sql(&place.url, THEIR_USERS);
    let server = place.node(&[], None);
    server.logged("nobody can register");
    for (path, body) in [
        ("/api/v1/auth/guest", "{}"),
        (
            "/api/v1/auth/register",
            r#"{"username":"ann","password":"correct horse battery"}"#,
        ),
    ] {
        let answer = http::post(server.address, path, body).await;
        assert_eq!(answer.status, 403, "{path}: {}", answer.body);
        assert!(
            answer.body.contains("another program"),
            "{path}: {}",
            answer.body
        );
        assert!(answer.body.contains("email"), "{path}: {}", answer.body);
    }
}

/// A database that went back behind what a node has told: the node says so and ends, and its next start has another epoch.
#[tokio::test]
async fn a_node_whose_log_went_back_ends_and_says_why() {
    let Some(place) = Place::new() else {
        return;
    };
    let server = place.node(&[], Some(SECRET));
    let mut ann = client(&server, 1).await;
    for _ in 0..3 {
        ann.send_room("general", "x").await;
    }
    let epoch = sql(&place.url, "SELECT epoch FROM chat_log");
    sql(&place.url, "UPDATE chat_log SET position = 1");
    let (code, log) = server.wait();
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("a backup was restored"), "{log}");
    assert_ne!(sql(&place.url, "SELECT epoch FROM chat_log"), epoch);
    drop(place.node(&[], Some(SECRET)));
}

/// Messages that need more than a message brings are refused by start and doctor, and not by every send.
#[test]
fn messages_that_need_more_than_a_message_brings_are_refused() {
    let Some(place) = Place::new() else {
        return;
    };
    sql(
        &place.url,
        "CREATE TABLE messages (id SERIAL PRIMARY KEY, from_user INTEGER, to_user INTEGER, room TEXT, content TEXT NOT NULL,
            \"timestamp\" TIMESTAMP, tenant INTEGER NOT NULL, seen BOOLEAN NOT NULL DEFAULT false)",
    );
    fails(&place.start_in_vain(&[], None), 1, &["(tenant)", "DEFAULT"]);
    found(&place.doctor(None), "fail", "(tenant)");
    sql(
        &place.url,
        "ALTER TABLE messages ALTER COLUMN tenant DROP NOT NULL, ALTER COLUMN id DROP DEFAULT; DROP SEQUENCE messages_id_seq",
    );
    fails(&place.start_in_vain(&[], None), 1, &["from no sequence"]);
    found(&place.doctor(None), "fail", "from no sequence");
    assert_eq!(
        sql(&place.url, "SELECT to_regclass('chat_log') IS NULL"),
        ["t"]
    );
}
