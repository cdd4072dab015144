//! What the executable can do besides serving.

mod common;

use common::{
    Client,
    binary::{Running, chat_server, output, text},
    http,
};
use serde_json::json;

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[tokio::test]
async fn token_prints_what_the_server_takes_and_explains_what_it_does_not() {
    let folder = folder();
    let run = |args: &[&str]| output(&mut chat_server(folder.path(), args));
    let printed = run(&[
        "token",
        "--user-id",
        "123",
        "--username",
        "alice",
        "--role",
        "admin",
        "--ttl",
        "15m",
    ]);
    let token = text(&printed.stdout).trim().to_owned();
    let server = Running::on(folder.path());
    let me = http::me(server.address, &token).await.json();
    assert_eq!(
        me,
        json!({"user": {"id": 123, "username": "alice", "role": "admin"}})
    );
    let good = run(&["token", "--check", &token]);
    let report = text(&good.stdout);
    assert_eq!(good.status.code(), Some(0));
    for part in [
        "\"HS256\"",
        "user_id = 123",
        "username = \"alice\"",
        "exp = ",
        "in 1",
        "ok",
    ] {
        assert!(report.contains(part), "{part} in\n{report}");
    }
    let expired = common::token(123, "alice", -7_200);
    for (token, parts) in [
        (format!("{token}x"), ["signature", "one secret"]),
        (expired, ["signature", "one secret"]),
        ("nonsense".into(), ["no JWT", "copy the whole token"]),
    ] {
        let bad = run(&["token", "--check", &token]);
        let report = text(&bad.stdout);
        assert_eq!(bad.status.code(), Some(1));
        assert!(
            parts.iter().all(|part| report.contains(part)),
            "{parts:?} in\n{report}"
        );
    }
    for args in [
        &["token"][..],
        &["token", "--user-id", "0"],
        &["token", "--user-id", "1", "--ttl", "soon"],
    ] {
        assert_eq!(run(args).status.code(), Some(2), "{args:?}");
    }
    let help =
        text(&output(chat_server(folder.path(), &["--help"]).env("JWT_SECRET", "hush")).stdout);
    assert!(
        help.contains("JWT_SECRET") && help.contains("--jwt-secret-file") && !help.contains("hush"),
        "{help}"
    );
}

#[tokio::test]
async fn a_new_epoch_is_for_a_file_that_was_copied_back_by_hand() {
    let folder = folder();
    let run = || {
        output(&mut chat_server(
            folder.path(),
            &["new-epoch", "--db", "chat.db"],
        ))
    };
    let missing = run();
    assert_eq!(missing.status.code(), Some(1));
    assert!(text(&missing.stderr).contains("--db"), "{missing:?}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);

    let server = Running::on(folder.path());
    let in_use = run();
    assert_eq!(in_use.status.code(), Some(1));
    assert!(text(&in_use.stderr).contains("in use"), "{in_use:?}");
    let (mut ann, _) = guest(&server).await;
    let old = ann.ask(json!({"type": "hello"})).await["data"]["epoch"].clone();
    let sent = ann.send_room("general", "kept").await;
    server.kill();

    let done = run();
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    assert!(
        text(&done.stdout).contains(old.as_str().unwrap()),
        "{done:?}"
    );
    let server = Running::on(folder.path());
    let (mut ann, _) = guest(&server).await;
    let resume = |epoch: &serde_json::Value| json!({"type": "resume", "after": sent.id - 1, "rooms": ["general"], "epoch": epoch});
    let refused = ann.ask(resume(&old)).await["data"].clone();
    assert_eq!(
        (&refused["complete"], &refused["reason"]),
        (&json!(false), &json!("epoch"))
    );
    assert_ne!(refused["epoch"], old);
    let accepted = ann.ask(resume(&refused["epoch"])).await["data"].clone();
    assert_eq!(
        (&accepted["complete"], &accepted["replayed"]),
        (&json!(true), &json!(1))
    );
    assert_eq!(ann.next_message().await.content, "kept");
}

async fn guest(server: &Running) -> (Client, i64) {
    let answer = http::request(server.address, "POST", "/api/v1/auth/guest", &[], "{}")
        .await
        .json();
    let (token, user) = (
        answer["token"].as_str().unwrap(),
        answer["user"]["id"].as_i64().unwrap(),
    );
    let client =
        Client::connect(server.address, &format!("/ws?token={token}"), user, "guest").await;
    (client, user)
}
