//! Each example runs, against the real executable, and does what its first lines say.

mod common;

use std::{
    path::PathBuf,
    process::{Command, Stdio},
};

use common::{Client, binary::Running, http, soon};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};

/// Cargo builds the examples together with the tests, beside them.
fn example(name: &str) -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let path = tests
        .parent()
        .unwrap()
        .parent()
        .unwrap()
        .join("examples")
        .join(name);
    assert!(path.exists(), "{path:?} was not built");
    path
}

struct Example {
    // Killed when it is dropped.
    _process: tokio::process::Child,
    lines: Lines<BufReader<tokio::process::ChildStdout>>,
}

impl Example {
    fn start(name: &str, args: &[&str]) -> Self {
        let mut command = tokio::process::Command::new(example(name));
        command
            .args(args)
            .stdout(Stdio::piped())
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let mut process = command.spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Self {
            _process: process,
            lines,
        }
    }

    async fn next_line(&mut self) -> String {
        soon("a line", self.lines.next_line())
            .await
            .unwrap()
            .expect("the example has ended")
    }
}

async fn guest(server: &Running) -> Client {
    let body = http::post(server.address, "/api/v1/auth/guest", "{}")
        .await
        .json();
    let (token, user) = (
        body["token"].as_str().unwrap(),
        body["user"]["id"].as_i64().unwrap(),
    );
    let mut client =
        Client::connect(server.address, &format!("/ws?token={token}"), user, "guest").await;
    client.ping().await;
    client
}

#[tokio::test]
async fn the_echo_bot_answers_in_its_room_and_in_private() {
    let folder = tempfile::tempdir().unwrap();
    let server = Running::on(folder.path());
    let mut bot = Example::start(
        "echo_bot",
        &["--url", &format!("ws://{}/ws", server.address)],
    );
    assert!(
        bot.next_line()
            .await
            .starts_with("echo-bot is in #general as ")
    );
    let mut ann = guest(&server).await;
    ann.join("general").await;
    ann.say(json!({"type": "message", "room": "general", "content": "!echo hello"}).to_string())
        .await;
    assert_eq!(ann.next_message().await.content, "!echo hello");
    let answer = ann.next_message().await;
    assert_eq!(answer.content, "hello");
    ann.say(json!({"type": "dm", "to": answer.from, "content": "!echo psst"}).to_string())
        .await;
    assert_eq!(ann.next_dm().await.content, "psst");
}

#[tokio::test]
async fn tail_prints_the_last_lines_and_follows() {
    let folder = tempfile::tempdir().unwrap();
    let server = Running::on(folder.path());
    let mut ann = guest(&server).await;
    for content in ["not shown", "one", "two \u{1b}[31mnot red"] {
        ann.send_room("general", content).await;
    }
    let mut tail = Example::start(
        "tail",
        &[
            "--url",
            &format!("ws://{}/ws", server.address),
            "--lines",
            "2",
        ],
    );
    assert!(tail.next_line().await.ends_with("> one"));
    let line = tail.next_line().await;
    assert!(
        line.ends_with("[31mnot red") && !line.contains('\u{1b}'),
        "{line:?}"
    );
    ann.send_room("general", "three").await;
    assert!(tail.next_line().await.ends_with("> three"));
}

#[test]
fn load_measures_a_fan_out() {
    let mut command = Command::new(example("load"));
    command.args(["--server", env!("CARGO_BIN_EXE_chat-server")]);
    command.args([
        "fanout",
        "--readers",
        "3",
        "--in-flight",
        "2",
        "--seconds",
        "1",
    ]);
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let figures = text
        .lines()
        .find_map(|line| serde_json::from_str::<Value>(line).ok());
    let figures = figures.unwrap_or_else(|| panic!("no JSON in {text}"));
    assert!(
        figures["deliveries_per_second"]
            .as_f64()
            .is_some_and(|rate| rate > 0.0),
        "{figures}"
    );
}
