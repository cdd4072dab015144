//! What the doctor finds on this machine: port, files, secrets, tokens, origins.

use std::{
    fs, io::Write as _, net::TcpListener, os::unix::fs::PermissionsExt as _, path::Path,
    process::Stdio,
};

use super::{command, doctor, told};
use crate::common::{
    self, SECRET,
    binary::{Running, chat_server, output, text},
    http,
};

const GOOD: &str = "7f3c1d0a9b8e4f6521c0de9a7b3e5f10";

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn permit(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_port_is_free_or_somebody_elses_or_nobodys() {
    let folder = folder();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken_address = listener.local_addr().unwrap().to_string();
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string();
    doctor(folder.path(), &["--bind", &free]).says("ok", "port", "is free");
    let stranger = super::stand_in::StandIn::saying("200 OK", "hello");
    for address in [
        stranger.address.to_string(),
        "127.0.0.1:no".into(),
        "192.0.2.1:9001".into(),
    ] {
        let told = doctor(folder.path(), &["--bind", &address]);
        let fix = told.says("fail", "port", "--bind");
        let words = [
            "another program listens there",
            "use one such as",
            "use 127.0.0.1 or 0.0.0.0",
        ];
        assert!(
            words.iter().any(|word| told.all.contains(word)),
            "{address}: {fix}"
        );
    }
    let taken = doctor(folder.path(), &["--bind", &taken_address]);
    if cfg!(target_os = "linux") {
        taken.says(
            "fail",
            "port",
            &format!("(process {}, ", std::process::id()),
        );
    }
    drop(listener);
}

#[test]
fn fewer_files_than_connections_are_a_warning_and_hardly_any_a_failure() {
    let folder = folder();
    let exe = env!("CARGO_BIN_EXE_chat-server");
    for (limit, status) in [("300", "warn"), ("140", "fail")] {
        let mut shell = std::process::Command::new("sh");
        let line = format!("ulimit -n {limit} && exec {exe} doctor --json --bind 127.0.0.1:0");
        let fix =
            told(shell.args(["-c", &line]).current_dir(folder.path())).says(status, "files", limit);
        assert!(fix.contains("LimitNOFILE=10128"), "{fix}");
    }
}

#[test]
fn a_secret_that_can_be_guessed_is_worse_when_others_reach_the_server() {
    let folder = folder();
    let here = "127.0.0.1:0";
    let repeated = "abcdefghijkl".repeat(4);
    for (secret, bind, status, words) in [
        (GOOD, "0.0.0.0:0", "ok", "32 bytes"),
        ("changeme", here, "warn", "stand in examples"),
        (
            "your-256-bit-secret",
            "0.0.0.0:0",
            "fail",
            "stand in examples",
        ),
        (
            "votre_secret_jwt_du_backend_go",
            "0.0.0.0:0",
            "fail",
            "stand in examples",
        ),
        ("x7!kq", here, "warn", "5 bytes"),
        ("x7!kq", "0.0.0.0:0", "fail", "5 bytes"),
        (
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            here,
            "warn",
            "repeats itself",
        ),
        (&repeated, here, "warn", "repeats itself"),
        ("'7f3c1d0a9b8e4f6521c0de9a7b3e5f10'", here, "warn", "quote"),
        ("7f3c1d0a9b8e4f6521c0de", here, "warn", "22 bytes"),
        ("", here, "fail", "is empty"),
    ] {
        let mut asked = command(folder.path(), &["--bind", bind]);
        let told = told(asked.env("JWT_SECRET", secret));
        told.says(status, "secret", words);
        assert!(
            secret.is_empty() || !told.all.contains(secret),
            "{}",
            told.all
        );
    }
    // A short one keeps a server that is open to the network from starting at all.
    let mut asked = command(folder.path(), &["--bind", "0.0.0.0:0"]);
    told(asked.env("JWT_SECRET", "x7!kq")).says("fail", "settings", "5 bytes");
    let keys = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/wire/keys/");
    let key = |name: &str| {
        doctor(
            folder.path(),
            &["--jwt-public-key", &format!("{keys}{name}")],
        )
    };
    key("ed25519.pub.pem").says("ok", "secret", "--jwt-public-key");
    key("ed25519.pem").says("fail", "secret", "private key");
}

#[test]
fn a_secret_that_everybody_on_the_machine_can_read_is_warned_of() {
    let folder = folder();
    let path = folder.path().join("key");
    fs::write(&path, GOOD).unwrap();
    permit(&path, 0o644);
    let args = ["--jwt-secret-file", "key"];
    let fix = doctor(folder.path(), &args).says("warn", "secret", "key holds a secret");
    assert_eq!(fix, "chmod 600 key");
    permit(&path, 0o600);
    doctor(folder.path(), &args).says("ok", "secret", "--jwt-secret-file has 32 bytes");
    doctor(folder.path(), &["--jwt-secret-file", "other"]).says("fail", "secret", "cannot be read");

    let dotenv = folder.path().join(".env");
    fs::write(&dotenv, format!("JWT_SECRET={GOOD}\n")).unwrap();
    permit(&dotenv, 0o644);
    doctor(folder.path(), &[]).says("warn", "secret", ".env holds a secret");
    permit(&dotenv, 0o600);
    let told = doctor(folder.path(), &[]);
    told.says("ok", "secret", "JWT_SECRET has 32 bytes");
    assert!(!told.all.contains(".env"), "{}", told.all);
}

#[tokio::test]
async fn a_token_is_judged_in_the_words_of_the_handshake() {
    let folder = folder();
    let secret = std::str::from_utf8(SECRET).unwrap();
    let mut serve = chat_server(folder.path(), &["--bind", "127.0.0.1:0"]);
    let server = Running::start(serve.env("JWT_SECRET", secret));
    let good = common::token(7, "ann", 3600);
    let ask =
        |token: &str| told(command(folder.path(), &["--token", token]).env("JWT_SECRET", secret));
    ask(&good).says("ok", "token", "user 7 \"ann\"");
    ask(&format!("Bearer {good}\n")).says("ok", "token", "user 7");
    for token in [
        format!("{good}x"),
        "nonsense".into(),
        common::token(7, "ann", -7200),
    ] {
        let reason = http::me(server.address, &token).await.json()["error"]["message"].clone();
        let told = ask(&token);
        let fix = told.says(
            "fail",
            "token",
            &format!("refused (401): {}", reason.as_str().unwrap()),
        );
        assert!(
            !fix.is_empty() && !told.all.contains(&token) && !told.all.contains(secret),
            "{}",
            told.all
        );
    }

    let mut asked = command(folder.path(), &["--token", "-"]);
    asked
        .env("JWT_SECRET", secret)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut child = asked.spawn().unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(good.as_bytes())
        .unwrap();
    let read = child.wait_with_output().unwrap();
    assert!(text(&read.stdout).contains("lets in user 7"), "{read:?}");
}

#[tokio::test]
async fn a_token_of_the_built_in_accounts_is_judged_once_there_are_any() {
    let folder = folder();
    doctor(folder.path(), &["--token", "x"]).says("fail", "token", "none of its own yet");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    let server = Running::on(folder.path());
    let guest = http::post(server.address, "/api/v1/auth/guest", "{}")
        .await
        .json();
    let token = guest["token"].as_str().unwrap();
    let bind = server.address.to_string();
    doctor(folder.path(), &["--token", token, "--bind", &bind]).says(
        "ok",
        "token",
        "lets in user 1",
    );
}

#[test]
fn each_origin_is_judged_in_the_form_in_which_a_browser_sends_it() {
    let folder = folder();
    for (origin, status, words) in [
        (
            "https://team.example",
            "ok",
            "pages of https://team.example may connect",
        ),
        ("HTTPS://Team.example/", "ok", "https://team.example may"),
        ("app://desk", "ok", "app://desk"),
        (
            "https://team.example:443",
            "fail",
            "pages of https://team.example may not",
        ),
        (
            "wss://team.example",
            "fail",
            "pages of https://team.example may not",
        ),
        (
            "https://*.team.example",
            "fail",
            "https://app.team.example may not",
        ),
        ("https://team.example/app", "fail", "is no origin"),
        ("null", "warn", "sandboxed"),
    ] {
        let fix = doctor(folder.path(), &["--allow-origin", origin]).says(status, "origin", words);
        assert_eq!(
            fix.contains("--allow-origin"),
            words.contains("may not"),
            "{fix}"
        );
    }
    let args = [
        "--allow-origin",
        "https://team.example:443",
        "--allow-origin",
        "https://team.example",
    ];
    doctor(folder.path(), &args).says("ok", "origin", "pages of https://team.example may");
}

#[test]
fn the_help_says_that_there_is_a_doctor_and_what_it_takes() {
    let folder = folder();
    let help = |args: &[&str]| text(&output(&mut chat_server(folder.path(), args)).stdout);
    assert!(help(&["--help"]).contains("doctor"));
    let own = help(&["doctor", "--help"]);
    assert!(
        ["--token", "--json", "--public-url"]
            .iter()
            .all(|flag| own.contains(flag)),
        "{own}"
    );
}
