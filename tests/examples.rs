//! Each example runs, against the real executable, and does what its first lines say.

mod common;

use std::{
    net::SocketAddr,
    path::PathBuf,
    process::{Command, Stdio},
};

use common::{
    Client,
    binary::{Running, chat_server},
    http, soon,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::ChildStdin,
};

#[path = "../examples/common/plain.rs"]
mod plain;

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
    process: tokio::process::Child,
    lines: Lines<BufReader<tokio::process::ChildStdout>>,
    input: Option<ChildStdin>,
}

impl Example {
    fn start(name: &str, args: &[&str]) -> Self {
        let mut command = tokio::process::Command::new(example(name));
        command
            .args(args)
            .env_remove("CHAT_TOKEN")
            .env_remove("BACKEND_TOKEN")
            .stdout(Stdio::piped())
            .stdin(Stdio::piped())
            .kill_on_drop(true);
        let mut process = command.spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let input = process.stdin.take();
        Self {
            process,
            lines,
            input,
        }
    }

    async fn next_line(&mut self) -> String {
        soon("a line", self.lines.next_line())
            .await
            .unwrap()
            .expect("the example has ended")
    }

    async fn types(&mut self, line: &str) {
        let line = format!("{line}\n");
        let input = self.input.as_mut().unwrap();
        input.write_all(line.as_bytes()).await.unwrap();
    }

    /// The lines up to and with the one that contains `part`.
    async fn until(&mut self, part: &str) -> Vec<String> {
        let mut seen = Vec::new();
        loop {
            match soon(part, self.lines.next_line()).await.unwrap() {
                Some(line) => seen.push(line),
                None => panic!("{part:?} was never printed: {seen:#?}"),
            }
            if seen.last().is_some_and(|line| line.contains(part)) {
                return seen;
            }
        }
    }

    /// Ends the input; the rest of what it prints, and whether it ends well.
    async fn rest(mut self) -> (Vec<String>, bool) {
        drop(self.input.take());
        let mut rest = Vec::new();
        while let Some(line) = soon("the end", self.lines.next_line()).await.unwrap() {
            rest.push(line);
        }
        (rest, self.process.wait().await.unwrap().success())
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

/// A terminal that has entered `#general`, and the id of its user.
async fn terminal(server: &Running, name: &str) -> (Example, u64) {
    let url = format!("ws://{}", server.address);
    let mut terminal = Example::start("terminal", &["--url", &url, "--name", name]);
    let greeting = terminal.next_line().await;
    assert!(greeting.contains(&format!("connected as {name}")));
    let (_, id) = greeting.split_once("(user ").unwrap();
    let (id, _) = id.split_once(')').unwrap();
    terminal.until("-- #general: ").await;
    (terminal, id.parse().unwrap())
}

/// The contents of the messages among the lines, without who said them when.
fn said(lines: &[String]) -> Vec<&str> {
    let messages = lines.iter().filter(|line| !line.starts_with("--"));
    messages
        .map(|line| line.split_once("> ").unwrap().1)
        .collect()
}

#[tokio::test]
async fn two_terminals_talk_in_rooms_and_in_private_and_read_what_was_said_before() {
    let folder = tempfile::tempdir().unwrap();
    let server = Running::on(folder.path());
    let mut host = guest(&server).await;
    for number in 1..=25 {
        host.send_room("general", &format!("old {number}")).await;
    }
    let (mut ann, _) = terminal(&server, "ann").await;
    let shown = ann.until("old 25").await;
    assert_eq!(said(&shown).len(), 20);
    ann.types("/history").await;
    let earlier = ann.until("that was the beginning").await;
    assert_eq!(
        said(&earlier),
        ["old 1", "old 2", "old 3", "old 4", "old 5"]
    );
    let (mut bob, bob_id) = terminal(&server, "bob").await;
    bob.until("old 25").await;
    ann.types("Hello!").await;
    assert!(
        ann.until("[1] stored")
            .await
            .contains(&"-- [1] sending".to_owned())
    );
    assert!(bob.next_line().await.ends_with(" <ann> Hello!"));

    ann.types(&format!("/dm {bob_id} psst")).await;
    assert!(
        ann.until("[2] stored")
            .await
            .iter()
            .any(|line| line.ends_with(" psst"))
    );
    let heard = bob.until("psst").await;
    assert!(heard[0].contains("<ann (") && heard[0].ends_with(") to you> psst"));
    ann.types("/dm 999999999 anybody?").await;
    ann.until("[3] failed: ").await;

    // Bob is elsewhere, and hears only how much he misses.
    bob.types("/join random").await;
    bob.until("#random: nothing was said yet").await;
    for text in ["one", "two"] {
        ann.types(text).await;
    }
    bob.until("#general: 2 unread").await;
    bob.types("/rooms").await;
    bob.until("#random: 1 here, joined, 0 unread").await;
    bob.types("/join general").await;
    bob.until("#general: 2 unread").await;
    assert_eq!(said(&bob.until("two").await), ["one", "two"]);
    bob.types("/who").await;
    bob.until("  ann").await;
    bob.types("/quit").await;
    assert_eq!(bob.rest().await.0, ["--      3  bob"]);

    // A third one comes later, through a pipe that ends at once.
    let (mut eve, _) = terminal(&server, "eve").await;
    eve.types("I am late").await;
    let (lines, well) = eve.rest().await;
    assert!(well && lines.contains(&"-- [1] stored".to_owned()));
    let lines: Vec<String> = lines
        .into_iter()
        .filter(|line| !line.starts_with("--") && !line.contains("> old "))
        .collect();
    assert_eq!(said(&lines), ["Hello!", "one", "two", "I am late"]);
}

#[tokio::test]
async fn a_terminal_misses_nothing_and_shows_nothing_twice_when_the_server_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let server = Running::on(folder.path());
    let address = server.address.to_string();
    let (mut ann, ann_id) = terminal(&server, "ann").await;
    let (mut bob, _) = terminal(&server, "bob").await;
    ann.types("before").await;
    bob.until("before").await;
    ann.until("[1] stored").await;

    server.kill();
    for terminal in [&mut ann, &mut bob] {
        terminal.until("trying again in").await;
    }
    for text in ["one", "two"] {
        ann.types(text).await;
    }
    ann.until("[3] waiting for the connection").await;
    bob.types(&format!("/dm {ann_id} in private")).await;
    bob.until("[1] waiting for the connection").await;

    let server = Running::start(&mut chat_server(folder.path(), &["--bind", &address]));
    // Somebody who was never away says something as well.
    let mut eve = guest(&server).await;
    eve.send_room("general", "three").await;
    let mut anns = ann.until("[3] stored").await;
    let mut bobs = bob.until("[1] stored").await;
    eve.send_room("general", "the end").await;
    anns.extend(ann.until("the end").await);
    bobs.extend(bob.until("the end").await);
    for (terminal, mut lines) in [(ann, anns), (bob, bobs)] {
        let (rest, well) = terminal.rest().await;
        lines.extend(rest);
        let mut heard = said(&lines);
        heard.sort_unstable();
        assert!(
            well && heard == ["in private", "one", "the end", "three", "two"],
            "{lines:#?}"
        );
    }
    drop(server);
}

#[tokio::test]
async fn a_terminal_that_missed_more_than_is_replayed_reads_the_histories() {
    const MISSED: usize = 1_001;
    let folder = tempfile::tempdir().unwrap();
    let server = Running::on(folder.path());
    let address = server.address.to_string();
    let (mut ann, ann_id) = terminal(&server, "ann").await;
    server.kill();

    // The same file, where the terminal does not find it.
    let away = ["--bind", "127.0.0.1:0", "--rate-limit", "0"];
    let server = Running::start(&mut chat_server(folder.path(), &away));
    let mut eve = guest(&server).await;
    for number in 1..MISSED {
        let frame = json!({"type": "message", "room": "general", "content": number.to_string()});
        eve.say(frame.to_string()).await;
    }
    eve.say(json!({"type": "dm", "to": ann_id, "content": "a stranger"}).to_string())
        .await;
    eve.send_room("general", "the last one").await;
    server.kill();

    let server = Running::start(&mut chat_server(folder.path(), &["--bind", &address]));
    let mut lines = ann.until("the last one").await;
    ann.types("/history").await;
    lines.extend(ann.until("nothing before that").await);
    let (rest, well) = ann.rest().await;
    lines.extend(rest);
    let mut heard = said(&lines);
    assert!(well && heard.contains(&"a stranger"), "{lines:#?}");
    heard.retain(|text| *text != "a stranger");
    let expected: Vec<String> = (1..MISSED).map(|number| number.to_string()).collect();
    assert_eq!(
        heard.split_last(),
        Some((
            &"the last one",
            &expected.iter().map(String::as_str).collect::<Vec<_>>()[..]
        ))
    );
    drop(server);
}

/// The example that plays a backend, and where it listens.
async fn backend(args: &[&str]) -> (Example, SocketAddr) {
    let args = [&["--bind", "127.0.0.1:0"], args].concat();
    let mut backend = Example::start("backend", &args);
    let greeting = backend.until("ready addr=").await;
    let (_, address) = greeting.last().unwrap().split_once('=').unwrap();
    (backend, address.parse().unwrap())
}

/// Asks somebody who is not a chat-server, and is not described as one.
async fn ask(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[&str],
    body: &str,
) -> http::Answer {
    let length = format!("content-length: {}", body.len());
    let headers = [&["connection: close", "host: here", &length], headers].concat();
    let request = format!(
        "{method} {path} HTTP/1.1\r\n{}\r\n\r\n{body}",
        headers.join("\r\n")
    );
    http::raw(address, request.as_bytes()).await
}

const COPIES: &str = "/api/v1/chat/messages";

#[tokio::test]
async fn the_example_backend_keeps_one_message_for_one_key_also_when_its_answers_are_lost() {
    let message = |content: &str| {
        json!({
            "id": 7, "fromUser": 1, "username": "ann", "content": content,
            "timestamp": "2026-11-22T09:00:00.000Z", "room": "general", "seq": 3
        })
    };
    let hello = message("hello \u{1b}[31m");
    let (mut good, address) = backend(&["--backend-token", "of the chat server"]).await;
    let put = async |address, headers: &[&str], body: &Value| {
        let headers = [&["authorization: Bearer of the chat server"], headers].concat();
        ask(address, "POST", COPIES, &headers, &body.to_string()).await
    };
    let key = "idempotency-key: 6dd8-7";
    for (expected, headers, body) in [
        (400, &[][..], &hello),
        (400, &[key][..], &json!({"id": 7})),
        (201, &[key], &hello),
        (200, &[key], &hello),
        (409, &[key], &message("something else")),
    ] {
        let answer = put(address, headers, body).await;
        assert_eq!(answer.status, expected, "{answer:?}");
    }
    for method in ["GET", "POST"] {
        let answer = ask(address, method, COPIES, &[key], &hello.to_string()).await;
        assert_eq!(answer.status, 401, "without its token: {answer:?}");
    }
    let bearer = "authorization: Bearer of the chat server";
    let kept = ask(address, "GET", COPIES, &[bearer], "").await.json();
    assert_eq!(kept, json!({ "data": [hello] }));
    let line = good.next_line().await;
    assert_eq!(
        line,
        "message  6dd8-7  in #general from ann (1), 11 bytes: hello \\u{1b}[31m"
    );
    assert_eq!(good.next_line().await, "again    6dd8-7  kept once");

    let (_bad, address) = backend(&["--lose-answers", "1", "--slow", "1ms"]).await;
    assert_eq!(put(address, &[key], &hello).await.status, 0);
    let kept = ask(address, "GET", COPIES, &[], "").await.json();
    assert_eq!(kept, json!({ "data": [hello] }));

    let (_worse, address) = backend(&["--fail", "1"]).await;
    assert_eq!(put(address, &[key], &hello).await.status, 500);
}

#[tokio::test]
async fn users_of_the_example_backend_come_in_with_its_tokens_and_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let (mut backend, address) = backend(&[]).await;
    let page = "origin: http://localhost:5173";
    let log_in = async |name: &str| {
        let body = json!({ "username": name }).to_string();
        let answer = ask(address, "POST", "/api/v1/auth/login", &[page], &body).await;
        let allowed = answer.header("access-control-allow-origin");
        assert_eq!(allowed, Some("http://localhost:5173"));
        answer.json()
    };
    let (ann, bob, ann_again) = (
        log_in("ann").await,
        log_in("bob").await,
        log_in("ann").await,
    );
    let ids = [&ann, &bob, &ann_again].map(|entry| entry["user"]["id"].as_i64().unwrap());
    assert_eq!(ids, [1, 2, 1]);
    let stranger = "origin: https://elsewhere.example";
    let answer = ask(address, "POST", "/api/v1/auth/login", &[stranger], "{}").await;
    assert_eq!(
        (answer.status, answer.header("access-control-allow-origin")),
        (400, None)
    );

    let url = format!("http://{address}");
    let args = ["--bind", "127.0.0.1:0", "--backend-url", &url];
    let server = Running::start(&mut chat_server(folder.path(), &args));
    // Bob has been here, so he can be written to.
    let bobs = http::me(server.address, bob["token"].as_str().unwrap()).await;
    assert_eq!(bobs.status, 200, "{bobs:?}");
    let token = ann["token"].as_str().unwrap();
    let user = http::me(server.address, token).await.json();
    assert_eq!(
        user,
        json!({"user": {"id": 1, "username": "ann", "role": "user"}})
    );
    backend.until("whose    ann's token").await;
    let mut ann = Client::connect(server.address, &format!("/ws?token={token}"), 1, "ann").await;
    ann.send_room("general", "Hello!").await;
    ann.send_dm(2, "psst").await;
    let copies = backend.until("psst").await;
    assert_eq!(copies.len(), 2, "{copies:#?}");
    assert!(copies[0].ends_with("  in #general from ann (1), 6 bytes: Hello!"));
    assert!(copies[1].ends_with("  to user 2 from ann (1), 4 bytes: psst"));
    let answer = http::me(server.address, "something-else").await;
    assert!(
        answer.status == 401 && answer.body.contains("this token is not known here"),
        "{answer:?}"
    );
}

#[tokio::test]
async fn nothing_that_others_say_reaches_the_terminal_as_a_control() {
    let folder = tempfile::tempdir().unwrap();
    let server = Running::on(folder.path());
    let mut eve = guest(&server).await;
    eve.send_room(
        "general",
        "in the history \u{1b}]0;title\u{7}\u{9b}2J\u{202e}txt",
    )
    .await;
    let url = format!("ws://{}", server.address);
    let mut ann = Example::start("terminal", &["--url", &url]);
    let mut lines = ann.until("in the history").await;
    eve.send_room("general", "live \u{1b}[2J\r\u{8}\u{85}x\nann> faked\tline")
        .await;
    lines.extend(ann.until("faked").await);
    let text = lines.join("");
    assert!(
        !text.contains(char::is_control) && !text.contains('\u{202e}'),
        "{text:?}"
    );
    assert!(text.contains(r"\u{1b}[2J") && text.contains(r"\u{202e}txt"));
    assert!(lines.last().unwrap().starts_with("      | "));
}

#[test]
fn a_text_cannot_reorder_what_stands_beside_it() {
    use plain::{harmless, isolated};
    assert_eq!(isolated("plain"), "plain");
    assert_eq!(
        isolated("שלום \u{2069}\u{202e}x"),
        "\u{2068}שלום \\u{2069}\\u{202e}x\u{2069}"
    );
    for c in (0..=char::MAX as u32).filter_map(char::from_u32) {
        let shown = harmless(&isolated(&c.to_string()));
        let inner = shown.trim_start_matches('\u{2068}');
        let inner = inner.strip_suffix('\u{2069}').unwrap_or(inner);
        let bad = |c: char| {
            c.is_control()
                || "\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\u{2066}\u{2067}\u{2068}\u{2069}"
                    .contains(c)
        };
        assert!(!inner.contains(bad), "{:?} is {shown:?}", c);
    }
}
