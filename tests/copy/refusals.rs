//! What is not copied, and what is said about it.

use super::{
    common::postgres::{Foreigner, Postgres},
    ends::rows,
    *,
};

#[tokio::test]
async fn a_side_that_somebody_serves_is_refused_and_named() {
    let Some(url) = url_of_a_new_database() else {
        return;
    };
    let folder = folder();
    let server = serve(folder.path(), "chat.db");
    let said = refused(folder.path(), "chat.db", &url);
    assert!(
        said.contains("FROM: ") && said.contains("in use by another chat-server (process"),
        "{said}"
    );
    server.kill();
    copied(folder.path(), "chat.db", &url);
    let node = serve(folder.path(), &url);
    for (from, to, end) in [(&*url, "out.db", "FROM"), ("chat.db", &*url, "TO")] {
        let said = refused(folder.path(), from, to);
        let words = format!("{end}: the database is in use by a chat-server from 127.0.0.1; stop");
        assert!(said.contains(&words), "{said}");
    }
    assert!(!folder.path().join("out.db").exists());
    node.kill();
    let mut copier = Foreigner::new(&url);
    copier.does("SELECT pg_advisory_lock(7163082360029668453)");
    let args = ["--db", &url, "--bind", "127.0.0.1:0"];
    let started = output(&mut chat_server(folder.path(), &args));
    let log = text(&started.stderr);
    assert_eq!(started.status.code(), Some(1), "{log}");
    assert!(log.contains("a chat-server copy is at work"), "{log}");
    let said = refused(folder.path(), &url, "out.db");
    assert!(said.contains("in use by a chat-server copy from"), "{said}");
}

/// A restart of the database, or a cut, takes every node's connections for a moment; the nodes go on.
#[tokio::test]
async fn a_side_whose_server_has_just_lost_its_connections_is_served_all_the_same() {
    let Some(url) = url_of_a_new_database() else {
        return;
    };
    let (folder, _) = old_file(1);
    let node = serve(folder.path(), &url);
    let guest = http::post(node.address, "/api/v1/auth/guest", "{}").await;
    for (from, to) in [("chat.db", &*url), (&*url, "out.db")] {
        sql(
            &url,
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
             WHERE datname = current_database() AND application_name = 'chat-server'",
        );
        let said = refused(folder.path(), from, to);
        assert!(said.contains("in use by"), "{said}");
    }
    assert!(!folder.path().join("out.db").exists());
    let token = guest.json()["token"].as_str().unwrap().to_owned();
    let mut guest = client(
        &node,
        &token,
        guest.json()["user"]["id"].as_i64().unwrap(),
        "",
    )
    .await;
    guest.send_room("general", "goes on").await;
}

/// A crash of the database takes what nodes hold in it, and they come back to what it recovers.
#[test]
fn a_side_that_has_crashed_under_its_server_is_served_all_the_same() {
    let Some(mut postgres) = Postgres::start() else {
        return;
    };
    let url = postgres.url_of_a_new_database();
    let folder = folder();
    let node = serve(folder.path(), &url);
    while sql(&url, "SELECT 1 FROM chat_nodes").is_empty() {}
    postgres.kill();
    postgres.rise();
    let said = refused(folder.path(), &url, "out.db");
    assert!(said.contains("FROM: the database is in use by"), "{said}");
    node.kill();
    copied(folder.path(), &url, "out.db");
}

#[tokio::test]
async fn a_target_with_a_life_of_its_own_is_refused_and_not_touched() {
    let Some(url) = url_of_a_new_database() else {
        return;
    };
    let (folder, path) = old_file(5);
    let (other, _) = old_file(7);
    let beside = folder.path().join("other.db");
    std::fs::copy(other.path().join("chat.db"), &beside).unwrap();
    // What the killed server left in its log is in the file since it was opened and closed.
    let (ours, theirs) = (dump(&path), dump(&beside));
    let said = refused(folder.path(), "chat.db", "other.db");
    assert!(
        said.contains("holds another log") && said.contains("new file"),
        "{said}"
    );
    assert_eq!((dump(&path), dump(&beside)), (ours, theirs));
    std::fs::write(
        folder.path().join("notes.txt"),
        "not a database at all, and longer than a header ".repeat(9),
    )
    .unwrap();
    let said = refused(folder.path(), "chat.db", "notes.txt");
    assert!(
        said.contains("is not a chat-server database") && said.contains("another path to TO"),
        "{said}"
    );
    std::fs::write(folder.path().join("new.db-secret"), "somebody else's").unwrap();
    let said = refused(folder.path(), "chat.db", "new.db");
    assert!(said.contains("new.db-secret is there already"), "{said}");

    // A first start on the database made an empty log, which is nobody's loss.
    serve(folder.path(), &url).kill();
    sql(&url, "INSERT INTO rooms (name) VALUES ('by hand')");
    let said = refused(folder.path(), "chat.db", &url);
    assert!(
        said.contains("TO: the room \"by hand\" is in the database already"),
        "{said}"
    );
    sql(&url, "DELETE FROM rooms WHERE name = 'by hand'");
    let said = copied(folder.path(), "chat.db", &url);
    assert!(said.contains("messages  11,"), "{said}");
    let said = refused(other.path(), "chat.db", &url);
    assert!(
        said.contains("the database holds another log") && said.contains("createdb"),
        "{said}"
    );
    assert_eq!(rows(&url, "messages"), 11);
}

#[test]
fn what_cannot_be_meant_is_a_mistake_in_the_command() {
    let (folder, _) = old_file(1);
    for (args, code, words) in [
        (&["copy"][..], 2, "FROM"),
        (&["copy", "chat.db"], 2, "TO"),
        (&["copy", "chat.db", "chat.db"], 2, "the same database"),
        (&["copy", "chat.db", "./chat.db"], 2, "the same database"),
        (
            &["copy", "chat.db", "mysql://x/y"],
            2,
            "TO begins with mysql://",
        ),
        (
            &["copy", "none.db", "new.db"],
            1,
            "FROM: there is no chat-server database",
        ),
        (&["copy", "chat.db", "no/such/new.db"], 1, "TO"),
        (
            &["copy", "chat.db", "/dev/null"],
            1,
            "TO \"/dev/null\" is a device",
        ),
        (
            &[
                "copy",
                "chat.db",
                "new.db",
                "postgres://u:hu@sh@127.0.0.1:1/x",
            ],
            2,
            "unexpected argument 'postgres://…@127.0.0.1:1/x'",
        ),
        (
            &["copy", "chat.db", "postgres://u:hush@127.0.0.1:1/x"],
            1,
            "TO: postgres://u@127.0.0.1:1/x: nobody answers",
        ),
        (
            &["copy", "chat.db", "postgres://u:hush@127.0.0.1:1/x"],
            1,
            "; check that it runs, and the host and port in TO\n",
        ),
        (
            &["copy", "chat.db", "env:CHAT_TO"],
            1,
            "TO: postgres://u@127.0.0.1:1/x: nobody answers",
        ),
        (
            &["copy", "chat.db", "env:CHAT_NO"],
            2,
            "TO is \"env:CHAT_NO\", and there is no such",
        ),
    ] {
        let mut command = chat_server(folder.path(), args);
        command.env("CHAT_TO", "postgres://u:hush@127.0.0.1:1/x");
        let run = output(&mut command);
        let said = text(&run.stderr);
        assert_eq!(run.status.code(), Some(code), "{args:?} {said}");
        assert!(said.contains(words), "{args:?} {said}");
        assert!(!said.contains("hush"), "{said}");
    }
    let names: Vec<_> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.starts_with("chat.db"))
        .collect();
    assert_eq!(names, Vec::<String>::new());
}

/// There is no log in a database that no chat-server ever opened.
#[test]
fn a_database_without_a_log_is_not_read() {
    let Some(url) = url_of_a_new_database() else {
        return;
    };
    let folder = folder();
    let said = refused(folder.path(), &url, "out.db");
    assert!(
        said.contains("FROM: there is no log of a chat-server"),
        "{said}"
    );
}
