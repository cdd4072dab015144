//! What the executable can do besides serving.

mod common;
#[path = "commands/doctor/mod.rs"]
mod doctor;
#[cfg(feature = "postgres")]
#[path = "commands/postgres.rs"]
mod postgres;
#[path = "commands/sync.rs"]
mod sync;

use std::process::Stdio;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use common::{
    Client, SECRET,
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

/// A token with these claims, signed as the backend would.
fn signed(claims: &serde_json::Value) -> String {
    let key = jsonwebtoken::EncodingKey::from_secret(SECRET);
    jsonwebtoken::encode(&jsonwebtoken::Header::default(), claims, &key).unwrap()
}

#[tokio::test]
async fn the_command_and_the_server_say_the_same_of_a_token_in_the_same_words() {
    let folder = folder();
    let secret = std::str::from_utf8(SECRET).unwrap();
    let mut serve = chat_server(folder.path(), &["--bind", "127.0.0.1:0"]);
    let server = Running::start(serve.env("JWT_SECRET", secret));
    let (now, good) = (common::now(), common::token(7, "ann", 3600));
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let (_, rest) = good.split_once('.').unwrap();
    let with_header = |header: &str| format!("{}.{rest}", part(header));
    let bad = [
        format!("{good}x"),
        format!("{good}."),
        format!("{good}.{good}"),
        good.replace('.', ""),
        good[..good.len() - 5].to_owned(),
        format!("\"{good}\""),
        good.replacen('.', " .", 1),
        format!("Bearer {good}"),
        "..".into(),
        "nonsense".into(),
        format!("{}.!!.AAAA", part(r#"{"alg":"HS256"}"#)),
        with_header(r#"{"alg":"none"}"#),
        with_header(r#"{"alg":"RS256"}"#),
        with_header(r#"{"typ":"JWT"}"#),
        with_header(r#"{"alg":"HS256","crit":["b64"]}"#),
        with_header("no JSON"),
        signed(&json!({"user_id": 7})),
        signed(&json!({"user_id": 7, "exp": "2000000000"})),
        signed(&json!({"user_id": 7, "exp": now - 10_000})),
        signed(&json!({"user_id": 7, "exp": now + 50_000, "nbf": now + 10_000})),
        signed(&json!({"user_id": 7, "exp": now + 50_000, "nbf": "soon"})),
        signed(&json!({"user_id": 7, "exp": now + 50_000, "iat": now + 10_000})),
        signed(&json!({"username": "ann", "exp": now + 50_000})),
        signed(&json!({"user_id": "7", "exp": now + 50_000})),
        signed(&json!({"user_id": 0, "sub": "7", "exp": now + 50_000})),
        signed(&json!({"sub": "seven", "exp": now + 50_000})),
        signed(&json!({"user_id": 9_007_199_254_740_992_i64, "exp": now + 50_000})),
        signed(&json!({"user_id": 7, "exp": now + 50_000, "pad": "x".repeat(9_000)})),
    ];
    for token in &bad {
        let me = http::me(server.address, token).await;
        assert_eq!(me.status, 401, "{token}");
        let reason = me.json()["error"]["message"].as_str().unwrap().to_owned();
        let mut check = chat_server(folder.path(), &["token", "--check", token]);
        let checked = output(check.env("JWT_SECRET", secret));
        let report = text(&checked.stdout);
        // A word that the command takes off is pasted along so often that it is forgiven there, and there alone.
        if token.starts_with("Bearer ") {
            assert_eq!(checked.status.code(), Some(0), "{report}");
            continue;
        }
        assert_eq!(checked.status.code(), Some(1), "{report}");
        let refused = report
            .lines()
            .find_map(|line| line.strip_prefix("refused  "));
        assert_eq!(refused, Some(&*reason), "{token}\n{report}");
        assert!(
            report.contains("\nfix  ") || report.starts_with("fix  "),
            "{report}"
        );
        assert!(!report.contains(secret), "{report}");
    }
}

#[tokio::test]
async fn a_token_to_check_can_come_on_standard_input() {
    use std::io::Write as _;
    let folder = folder();
    let secret = std::str::from_utf8(SECRET).unwrap();
    let good = common::token(7, "ann", 3600);
    for (args, token, code) in [
        (&["token", "--check"][..], format!("Bearer {good}\n"), 0),
        (&["token", "--check", "-"], format!("{good}\n"), 0),
        (&["token", "--check", "-"], format!("{good}x"), 1),
        (&["token", "--check", "-"], "x".repeat(100_000), 1),
        (&["token", "--check"], String::new(), 1),
    ] {
        let mut command = chat_server(folder.path(), args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.env("JWT_SECRET", secret).spawn().unwrap();
        // What is longer than any token is not read to its end.
        let _ = child.stdin.take().unwrap().write_all(token.as_bytes());
        let checked = child.wait_with_output().unwrap();
        let report = text(&checked.stdout);
        assert_eq!(checked.status.code(), Some(code), "{args:?} {report}");
        let verdict = if code == 0 {
            "ok       user 7 \"ann\""
        } else {
            "refused  "
        };
        assert!(report.contains(verdict), "{report}");
    }
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

#[tokio::test]
async fn a_token_cannot_command_the_terminal_of_whoever_has_it_explained() {
    let folder = folder();
    let claims = json!({
        "\u{1b}]0;title\u{7}\u{1b}[2J": "x", "a\nok       user 1 \"root\"": 1, "\u{9b}31m": "\u{9b}31m \u{202e}", "role": "\u{1b}[31m",
    });
    let part = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let header = json!({"alg": "HS256", "\u{1b}[5m": "\u{2028}"});
    let token = format!("{}.{}.x", part(&header), part(&claims));
    let checked = output(
        chat_server(folder.path(), &["token", "--check", &token])
            .env("JWT_SECRET", "a secret of the right length, 32 b"),
    );
    let report = text(&checked.stdout);
    assert_eq!(checked.status.code(), Some(1), "{report}");
    assert!(report.contains("[2J = \"x\""), "{report}");
    let is_plain = |c: char| c == '\n' || !c.is_control() && !"\u{202e}\u{2028}".contains(c);
    assert!(report.chars().all(is_plain), "{report:?}");
    assert!(
        report.lines().all(|line| !line.starts_with("ok")),
        "{report}"
    );
}

#[test]
fn what_nobody_can_read_is_an_error_and_no_panic() {
    let folder = folder();
    let full = || std::fs::File::create("/dev/full").map(Stdio::from);
    if !std::path::Path::new("/dev/full").exists() {
        return;
    }
    for args in [
        &["token", "--check", "x"][..],
        &["token", "--user-id", "1"],
        &["new-epoch"],
    ] {
        let mut command = chat_server(folder.path(), args);
        let printed = output(command.stdout(full().unwrap()));
        let said = text(&printed.stderr);
        assert_eq!(printed.status.code(), Some(1), "{args:?} {said}");
        let is_told = said.contains("standard output") || args == ["new-epoch"];
        assert!(is_told && !said.contains("panicked"), "{args:?} {said}");
    }
}

#[tokio::test]
async fn a_token_of_a_public_key_is_explained_and_none_is_made() {
    let folder = folder();
    let keys = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/wire/keys/");
    let (private, public) = (
        std::fs::read(format!("{keys}ed25519.pem")).unwrap(),
        format!("{keys}ed25519.pub.pem"),
    );
    let key = jsonwebtoken::EncodingKey::from_ed_pem(&private).unwrap();
    let header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::EdDSA);
    let claims = json!({"sub": "7", "name": "ann", "iss": "id", "exp": common::now() + 600});
    let token = jsonwebtoken::encode(&header, &claims, &key).unwrap();
    let run = |args: &[&str]| output(&mut chat_server(folder.path(), args));
    let checked = run(&["token", "--jwt-public-key", &public, "--check", &token]);
    assert_eq!(checked.status.code(), Some(0), "{}", text(&checked.stdout));
    let demanding = [
        "token",
        "--jwt-public-key",
        &public,
        "--jwt-issuer",
        "other",
        "--check",
        &token,
    ];
    let report = run(&demanding);
    assert!(text(&report.stdout).contains("another issuer than \"other\""));
    let made = run(&["token", "--jwt-public-key", &public, "--user-id", "1"]);
    assert_eq!(made.status.code(), Some(2));
    assert!(
        text(&made.stderr).contains("public key"),
        "{}",
        text(&made.stderr)
    );
    for (args, words) in [
        (&["--jwt-public-key", "none.pem"][..], "cannot be read"),
        (
            &["--jwt-public-key", &format!("{keys}rsa.pem")],
            "private key",
        ),
        (&["--jwt-issuer", "id"], "--jwt-public-key or --jwks-url"),
    ] {
        let started = run(args);
        assert_eq!(started.status.code(), Some(2), "{args:?}");
        assert!(
            text(&started.stderr).contains(words),
            "{}",
            text(&started.stderr)
        );
    }
    let both = ["--jwt-public-key", &public];
    let both = output(
        chat_server(folder.path(), &both).env("JWT_SECRET", "a secret of the right length, 32 b"),
    );
    assert!(text(&both.stderr).contains("JWT_SECRET and --jwt-public-key are both set"));
}
