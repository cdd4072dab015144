//! `chat-server sync` on the same file as a server, while it runs and while it does not.

use std::{fs, path::Path, process::Output};

use rusqlite::Connection;
use serde_json::{Value, json};

use super::{
    common::{
        Client, PATIENCE,
        backend::{Backend, MESSAGES, Reply},
        binary::{Running, chat_server, output, text},
        token,
    },
    folder, guest,
};

fn sync(folder: &Path, args: &[&str]) -> Output {
    let args = [&["sync"], args, &["--db", "chat.db"]].concat();
    output(&mut chat_server(folder, &args))
}

/// What it printed; it must have succeeded.
fn said(folder: &Path, args: &[&str]) -> String {
    let run = sync(folder, args);
    assert_eq!(run.status.code(), Some(0), "{args:?} {run:?}");
    text(&run.stdout)
}

/// What `status --json` says of the followers.
fn status(folder: &Path) -> Value {
    let printed = said(folder, &["status", "--json"]);
    serde_json::from_str::<Value>(&printed).unwrap()["followers"].take()
}

/// As a server would leave it that told its followers of messages: `sql` from another process than its own.
fn as_left(folder: &Path, sql: &str) {
    let connection = Connection::open(folder.join("chat.db")).unwrap();
    connection.execute_batch(sql).unwrap();
}

/// Ids that are parked, and whether each is due again.
fn parked(follower: &Value) -> Vec<(i64, bool)> {
    let all = follower["messages"].as_array().unwrap().iter();
    all.map(|parked| {
        let id = parked["id"].as_i64().unwrap();
        (id, parked["due_again"].as_bool().unwrap())
    })
    .collect()
}

const FOLLOWERS: &str = "
    INSERT INTO followers (name, position, failing_since, failing_reason) VALUES
        ('backend', 3, 1700000000000, 'http 503, \u{1b}[31m\u{202e}try later'), ('webhook', 5, NULL, NULL);
    INSERT INTO parked (follower, message, reason, since) VALUES
        ('backend', 1, '422 no', 1700000000000), ('backend', 3, '400 \u{9b}31mbad', 1700000001000),
        ('webhook', 3, '410 gone', 1700000002000);";

#[tokio::test]
async fn what_is_no_file_of_this_version_is_refused_and_left_as_it_is() {
    let folder = folder();
    let path = folder.path();
    let missing = sync(path, &["status"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(text(&missing.stderr).contains("--db"), "{missing:?}");
    assert_eq!(fs::read_dir(path).unwrap().count(), 0);
    let make = |sql: &str| {
        let _ = fs::remove_file(path.join("chat.db"));
        as_left(path, sql);
    };
    for (sql, parts) in [
        (
            include_str!("../store/schema-v1.sql"),
            ["schema version 1", "start this chat-server on it once"],
        ),
        ("CREATE TABLE mine (x)", ["another program's", "--db"]),
        (
            "PRAGMA application_id = 1667785076; PRAGMA user_version = 1001",
            ["newer", "--db"],
        ),
        ("", ["there is no chat-server database", "--db"]),
    ] {
        make(sql);
        let before = fs::read(path.join("chat.db")).unwrap();
        for args in [&["status"][..], &["retry"], &["skip", "1"]] {
            let refused = sync(path, args);
            let why = text(&refused.stderr);
            assert_eq!(refused.status.code(), Some(1), "{why}");
            assert!(parts.iter().all(|part| why.contains(part)), "{why}");
        }
        assert_eq!(fs::read(path.join("chat.db")).unwrap(), before);
        assert_eq!(fs::read_dir(path).unwrap().count(), 1, "{sql}");
    }
}

#[tokio::test]
async fn the_standing_of_every_copy_is_shown_beside_a_running_server_and_without_one() {
    let folder = folder();
    let path = folder.path();
    let server = Running::on(path);
    let (mut ann, _) = guest(&server).await;
    for n in 1..=6 {
        assert_eq!(ann.send_room("general", &n.to_string()).await.id, n);
    }
    let nobody = said(path, &["status"]);
    assert!(
        nobody.contains("--backend-url") && nobody.contains("--webhook"),
        "{nobody}"
    );
    assert_eq!(status(path), json!([]));
    as_left(path, FOLLOWERS);
    let expected = json!([
        {
            "follower": "backend", "position": 3, "latest": 6, "lag": 3, "next": 4, "parked": 2,
            "failing": {"since": 1_700_000_000_000_i64, "reason": "http 503, \u{1b}[31m\u{202e}try later"},
            "messages": [
                {"id": 1, "since": 1_700_000_000_000_i64, "reason": "422 no", "due_again": false},
                {"id": 3, "since": 1_700_000_001_000_i64, "reason": "400 \u{9b}31mbad", "due_again": false},
            ],
        },
        {
            "follower": "webhook", "position": 5, "latest": 6, "lag": 1, "next": 6, "parked": 1, "failing": null,
            "messages": [{"id": 3, "since": 1_700_000_002_000_i64, "reason": "410 gone", "due_again": false}],
        },
    ]);
    let look = || {
        assert_eq!(status(path), expected);
        let shown = said(path, &["status"]);
        let lines = [
            "COPY     POSITION  LAG  PARKED  NEXT  STATE",
            "webhook         5    1       1     6  ok",
            "Parked, of backend",
            "ID  SINCE                 REASON",
            " 1  2023-11-14T22:13:20Z  422 no",
            " 3  2023-11-14T22:13:21Z  400 \\u{9b}31mbad",
            " 3  2023-11-14T22:13:22Z  410 gone",
        ];
        for line in lines {
            assert!(shown.lines().any(|shown| shown == line), "{line}\n{shown}");
        }
        let parts = [
            "backend         3    3       2     4  failing for ",
            "sync skip 4 --follower backend",
        ];
        assert!(parts.iter().all(|part| shown.contains(part)), "{shown}");
        let is_plain = |c: char| c == '\n' || !c.is_control() && c != '\u{202e}';
        assert!(shown.chars().all(is_plain), "{shown:?}");
        let cut = said(path, &["status", "--limit", "1"]);
        assert!(
            cut.contains("and 1 more: --limit 2") && !cut.contains("bad"),
            "{cut}"
        );
    };
    look();
    server.kill();
    look();
    drop(Running::on(path));
    look();
}

#[tokio::test]
async fn messages_are_sent_again_or_given_up_as_an_operator_says() {
    let folder = folder();
    let path = folder.path();
    let server = Running::on(path);
    let (mut ann, _) = guest(&server).await;
    for n in 1..=6 {
        ann.send_room("general", &n.to_string()).await;
    }
    assert_eq!(said(path, &["retry"]), "nothing is parked\n");
    as_left(path, FOLLOWERS);
    let before = status(path);
    for (args, named) in [
        (&["retry", "2"][..], "2 is"),
        (&["retry", "1", "6", "2"], "2, 6 are"),
        (&["retry", "1", "--follower", "webhook"], "1 is"),
        (&["skip", "1", "5"], "5 is"),
        (&["skip", "4", "--follower", "webhook"], "4 is"),
        (&["skip", "0"], "0 is not in"),
        (&["retry", "--follower", "nobody"], "backend, webhook"),
    ] {
        let refused = sync(path, args);
        let why = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(2), "{args:?} {why}");
        assert!(why.contains(named), "{args:?} {why}");
        assert_eq!(status(path), before, "{args:?}");
    }
    let one = said(path, &["retry", "3", "--follower", "backend"]);
    assert!(one.starts_with("1 message due again"), "{one}");
    let now = status(path);
    assert_eq!(parked(&now[0]), [(1, false), (3, true)]);
    assert_eq!(parked(&now[1]), [(3, false)]);
    assert!(said(path, &["status"]).contains("bad (due again)"));
    let all = said(path, &["retry"]);
    assert!(all.starts_with("3 messages due again"), "{all}");
    assert_eq!(parked(&status(path)[1]), [(3, true)]);

    let passed = said(path, &["skip", "5", "3", "4"]);
    assert!(passed.starts_with("2 messages passed"), "{passed}");
    assert!(passed.ends_with("2 messages given up\n"), "{passed}");
    let now = status(path);
    assert_eq!(parked(&now[0]), [(1, true), (4, false), (5, false)]);
    assert_eq!(parked(&now[1]), []);
    assert_eq!(now[0]["messages"][1]["reason"], "skipped by an operator");
    assert_eq!(
        (&now[0]["position"], &now[0]["failing"]),
        (&json!(5), &Value::Null)
    );
    assert_eq!(
        now[1]["position"], 5,
        "of the other it was none that could be passed"
    );
    server.kill();
    let both = said(path, &["skip", "6"]);
    assert!(both.starts_with("2 messages passed"), "{both}");
    assert_eq!(said(path, &["skip"]), "5 messages given up\n");
    let now = status(path);
    assert_eq!((parked(&now[0]), &now[0]["lag"]), (vec![], &json!(0)));
    assert_eq!(said(path, &["skip"]), "nothing is parked\n");
}

#[tokio::test]
async fn a_running_server_loses_nothing_to_a_command_beside_it() {
    let folder = folder();
    let path = folder.path();
    let args = ["--bind", "127.0.0.1:0", "--rate-limit", "0"];
    let server = Running::start(&mut chat_server(path, &args));
    let (mut ann, _) = guest(&server).await;
    ann.send_room("general", "before").await;
    as_left(
        path,
        "INSERT INTO followers (name, position) VALUES ('backend', 0)",
    );
    let wal = || fs::metadata(path.join("chat.db-wal")).unwrap().len();
    let commands = std::thread::spawn({
        let path = path.to_owned();
        move || {
            for id in 1..=8 {
                let id = i64::to_string(&id);
                let skipped = said(&path, &["skip", &id]);
                assert!(skipped.starts_with("1 message passed"), "{skipped}");
            }
        }
    });
    // The second of these is stored before the first message can be passed for the second time, and so on.
    let mut sent = Vec::new();
    let mut grown = wal();
    while sent.len() < 8 || !commands.is_finished() {
        sent.push(ann.send_room("general", "beside").await);
        let now = wal();
        assert!(now >= grown, "the write-ahead log was cut: {grown} {now}");
        grown = now;
    }
    commands.join().unwrap();
    let shown = status(path);
    assert_eq!(
        (&shown[0]["position"], &shown[0]["parked"]),
        (&json!(8), &json!(8))
    );
    server.kill();
    let server = Running::on(path);
    let (mut ann, _) = guest(&server).await;
    let history = ann
        .ask(json!({"type": "room_history", "room": "general", "limit": 1}))
        .await;
    let newest = &history["data"][0]["id"];
    assert_eq!(newest, sent.last().unwrap().id, "{history}");
    assert_eq!(status(path), {
        let mut after = shown;
        after[0]["latest"] = newest.clone();
        after[0]["lag"] = json!(newest.as_i64().unwrap() - 8);
        after
    });
}

#[tokio::test]
async fn a_running_server_goes_on_where_an_operator_says() {
    let folder = folder();
    let path = folder.path();
    let backend = Backend::start().await;
    let url = backend.url();
    let args = ["--bind", "127.0.0.1:0", "--backend-url", &url];
    let secret = std::str::from_utf8(super::SECRET).unwrap();
    let server = Running::start(chat_server(path, &args).env("JWT_SECRET", secret));
    let connect = format!("/ws?token={}", token(7, "ann", 3600));
    let mut ann = Client::connect(server.address, &connect, 7, "ann").await;
    let reached = |what: &str, is_there: &dyn Fn(&Value) -> bool| {
        let begun = std::time::Instant::now();
        loop {
            let copy = status(path)[0].take();
            if is_there(&copy) {
                return copy;
            }
            assert!(begun.elapsed() < PATIENCE, "{what}: {copy}");
        }
    };
    backend.answers_once(MESSAGES, Reply::status(422));
    backend.answers(MESSAGES, Reply::status(500));
    for content in ["refused", "not taken", "next"] {
        ann.send_room("general", content).await;
    }
    let failing = reached("a failure", &|copy| copy["failing"] != Value::Null);
    assert_eq!(
        (&failing["next"], parked(&failing)),
        (&json!(2), vec![(1, false)])
    );
    said(path, &["skip", "2"]);
    let tried = backend.seen(MESSAGES).len();
    let third = backend.requests(MESSAGES, tried + 1).await;
    assert_eq!(
        third.last().unwrap().id(),
        3,
        "what was skipped is not tried again"
    );
    backend.answers(MESSAGES, Reply::Well);
    reached("the end of the log", &|copy| copy["lag"] == 0);
    assert_eq!(backend.keeps(1).await, [3]);

    said(path, &["retry"]);
    let done = reached("nothing parked", &|copy| copy["parked"] == 0);
    assert_eq!(
        (&done["position"], &done["failing"]),
        (&json!(3), &Value::Null)
    );
    assert_eq!(backend.keeps(3).await, [3, 1, 2]);
}
