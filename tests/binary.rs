//! The executable, started as a person would: what it prints, what it refuses, and what a kill leaves behind.

mod common;

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
};

use common::{
    Client,
    binary::{Running, chat_server, output, text},
    client::{handshake, sent},
    http,
};
use rustix::process::Signal;
use serde_json::{Value, json};

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// Starts in vain; the exit code and what was said.
fn refused(folder: &Path, args: &[&str], environment: &[(&str, &str)]) -> (i32, String) {
    let mut command = chat_server(folder, args);
    command.envs(environment.iter().copied());
    let output = output(&mut command);
    (output.status.code().unwrap(), text(&output.stderr))
}

async fn guest(server: &Running) -> (String, i64) {
    let body = http::post(server.address, "/api/v1/auth/guest", "{}")
        .await
        .json();
    (
        body["token"].as_str().unwrap().to_owned(),
        body["user"]["id"].as_i64().unwrap(),
    )
}

async fn connected(server: &Running) -> Client {
    let (token, user) = guest(server).await;
    with_token(server, &token, user).await
}

async fn with_token(server: &Running, token: &str, user: i64) -> Client {
    Client::connect(server.address, &format!("/ws?token={token}"), user, "guest").await
}

#[tokio::test]
async fn with_no_arguments_it_serves_and_says_where_to_click() {
    let folder = folder();
    let server = Running::on(folder.path());
    let port = server.address.port();
    let database = folder.path().canonicalize().unwrap().join("chat.db");
    for part in [
        format!("http://127.0.0.1:{port}/"),
        "standalone".to_owned(),
        database.display().to_string(),
        format!("\nready addr=127.0.0.1:{port}\n"),
    ] {
        assert!(
            server.greeting.contains(&part),
            "{part} in\n{}",
            server.greeting
        );
    }
    assert!(!server.greeting.contains(".env"));
    for suffix in ["", "-wal", "-shm", "-lock", "-secret"] {
        let file = folder.path().join(format!("chat.db{suffix}"));
        assert_eq!(
            file.metadata().unwrap().permissions().mode() & 0o777,
            0o600,
            "{file:?}"
        );
    }
    connected(&server).await.ping().await;
}

#[tokio::test]
async fn the_log_has_the_three_lines_that_people_look_for_and_no_secrets() {
    let folder = folder();
    let secret = "votre_secret_jwt_du_backend_go";
    let mut command = chat_server(folder.path(), &["--bind", "127.0.0.1:0"]);
    command.env("JWT_SECRET", secret).env("RUST_LOG", "trace");
    let server = Running::start(&mut command);
    server.logged("JWT_SECRET has 30 bytes; use at least 32");
    let mut sign = chat_server(
        folder.path(),
        &["token", "--user-id", "123", "--username", "user"],
    );
    let token = text(&output(sign.env("JWT_SECRET", secret)).stdout);
    let token = token.trim();
    let mut user = with_token(&server, token, 123).await;
    let lines = [
        server.logged("🔌 Connexion TCP entrante"),
        server.logged("🔐 Authentification réussie user_id=123"),
        server.logged("✅ Connexion WS autorisée user_id=123"),
    ];
    assert!(
        lines
            .iter()
            .all(|line| line.contains(" INFO ") && !line.contains('\u{1b}')),
        "{lines:?}"
    );
    user.send_room("general", "a-canary-in-the-text").await;
    let stored = server.logged("message stored");
    assert!(
        stored.contains("DEBUG") && stored.contains("id=1") && stored.contains("room=general"),
        "{stored}"
    );
    handshake(server.address, &format!("/ws?token={token}x"), |_| {})
        .await
        .err()
        .unwrap();
    let refusal = server.logged("signature does not match JWT_SECRET");
    assert!(refusal.contains("WARN"), "{refusal}");
    server.signal(Signal::TERM);
    let (code, rest) = server.wait();
    assert_eq!(code, Some(0));
    let all = format!("{}{rest}", lines.concat());
    for secret in [
        "a-canary-in-the-text",
        token,
        token.rsplit('.').next().unwrap(),
        secret,
    ] {
        assert!(!all.contains(secret), "{secret} in the log");
    }
}

#[tokio::test]
async fn settings_come_from_flags_then_the_environment_then_dotenv() {
    let folder = folder();
    let dotenv = "WS_BIND_ADDR=127.0.0.1:0\nDATABASE_URL=sqlite:from_dotenv.db\nJWT_SECRET=a_secret_of_more_than_32_bytes_in_dotenv\nRUST_LOG=chat_server=debug\n";
    fs::write(folder.path().join(".env"), dotenv).unwrap();
    let server = Running::start(&mut chat_server(folder.path(), &[]));
    assert!(
        server.greeting.contains("from_dotenv.db") && server.greeting.contains(".env"),
        "{}",
        server.greeting
    );
    assert!(
        server.greeting.contains("integrated"),
        "{}",
        server.greeting
    );
    drop(server);
    let mut command = chat_server(folder.path(), &[]);
    let server = Running::start(command.env("DATABASE_URL", "from_environment.db"));
    assert!(
        server.greeting.contains("from_environment.db"),
        "{}",
        server.greeting
    );
    drop(server);
    let mut command = chat_server(folder.path(), &["--db", "from_flag.db"]);
    let server = Running::start(command.env("DATABASE_URL", "from_environment.db"));
    assert!(
        server.greeting.contains("from_flag.db"),
        "{}",
        server.greeting
    );
    drop(server);
    fs::write(
        folder.path().join(".env"),
        "JWT_SECRET=two words of a secret\n",
    )
    .unwrap();
    let (code, said) = refused(folder.path(), &[], &[]);
    assert_eq!(code, 2);
    assert!(
        said.contains(".env") && said.contains("line 1") && !said.contains("words"),
        "{said}"
    );
}

#[test]
fn a_start_that_cannot_be_names_the_flag_and_the_fix() {
    let folder = folder();
    let path = folder.path();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    fs::create_dir(path.join("folder")).unwrap();
    fs::write(path.join("empty"), "\n").unwrap();
    type Row<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)], i32, &'a [&'a str]);
    let rows: &[Row<'_>] = &[
        (
            &["--bind", &taken],
            &[],
            1,
            &["--bind", &taken, "another program", "choose another port"],
        ),
        (
            &["--bind", "nonsense"],
            &[],
            2,
            &["--bind", "127.0.0.1:9001"],
        ),
        (
            &["--bind", "192.0.2.1:0"],
            &[],
            1,
            &["--bind", "no such address"],
        ),
        (
            &["--db", "no/such/folder/chat.db"],
            &[],
            1,
            &["--db", "no/such/folder", "make it"],
        ),
        (&["--db", "folder"], &[], 1, &["--db", "is a folder"]),
        #[cfg(not(feature = "postgres"))]
        (
            &["--db", "postgres://localhost/chat"],
            &[],
            2,
            &["--features postgres", "--db chat.db"],
        ),
        #[cfg(not(feature = "postgres"))]
        (
            &[],
            &[("DATABASE_URL", "postgresql://u:hush@localhost/veza")],
            2,
            &["DATABASE_URL", "--db chat.db"],
        ),
        (
            &["--db", "mysql://localhost/chat"],
            &[],
            2,
            &["--db", "mysql"],
        ),
        (&["--db", ":memory:"], &[], 2, &["--db", "file"]),
        (&["--db", "file:chat.db"], &[], 2, &["--db", "path"]),
        (
            &["--silence-seconds", "18446744073709551615"],
            &[],
            2,
            &["--silence-seconds"],
        ),
        (
            &[],
            &[("JWT_SECRET", "")],
            2,
            &["JWT_SECRET", "empty", "unset"],
        ),
        (
            &["--jwt-secret-file", "empty"],
            &[],
            2,
            &["--jwt-secret-file", "empty"],
        ),
        (
            &["--jwt-secret-file", "missing"],
            &[],
            2,
            &["--jwt-secret-file", "missing"],
        ),
        (
            &["--bind", "0.0.0.0:0"],
            &[("JWT_SECRET", "15 bytes of it!")],
            2,
            &["JWT_SECRET", "--allow-weak-secret"],
        ),
        (&["--jwt-secret", "hush"], &[], 2, &["--jwt-secret"]),
        (
            &["--allow-origin", "team.example"],
            &[],
            2,
            &["--allow-origin", "https://team.example"],
        ),
        (
            &["--public-url", "chat.example"],
            &[],
            2,
            &["--public-url", "https://"],
        ),
        (
            &["--content-bytes", "65536"],
            &[],
            2,
            &["--content-bytes", "--frame-bytes"],
        ),
        (&["--batch-max", "0"], &[], 2, &["--batch-max"]),
    ];
    for (args, environment, code, parts) in rows {
        let args: Vec<&str> = if args.contains(&"--bind") {
            args.to_vec()
        } else {
            [args, &["--bind", "127.0.0.1:0"][..]].concat()
        };
        let (found, said) = refused(path, &args, environment);
        assert_eq!(found, *code, "{args:?}: {said}");
        for part in *parts {
            assert!(said.contains(part), "{part:?} for {args:?} in {said}");
        }
        assert!(
            !said.contains("hush") && !said.contains("15 bytes of it"),
            "{said}"
        );
    }
    let left: Vec<_> = fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(
        left.len(),
        2,
        "a start that fails leaves nothing behind: {left:?}"
    );
}

#[test]
fn what_is_not_ours_is_refused_and_left_byte_for_byte() {
    let folder = folder();
    let path = folder.path();
    drop(Running::on(path));
    let rewritten = |name: &str, sql: &str| {
        fs::copy(path.join("chat.db"), path.join(name)).unwrap();
        rusqlite::Connection::open(path.join(name))
            .unwrap()
            .execute_batch(sql)
            .unwrap();
    };
    rewritten("newer.db", "PRAGMA user_version = 1001");
    rewritten("foreign.db", "PRAGMA application_id = 7");
    rewritten("never.db", "PRAGMA user_version = -2147483648");
    fs::write(
        path.join("text.db"),
        "not a database, but dear to somebody\n".repeat(9),
    )
    .unwrap();
    fs::write(path.join("short.db"), "SQLite format 3\0").unwrap();
    rusqlite::Connection::open(path.join("other.db"))
        .unwrap()
        .execute_batch("CREATE TABLE mine (x)")
        .unwrap();
    fs::copy(path.join("chat.db"), path.join("linked.db")).unwrap();
    fs::hard_link(path.join("linked.db"), path.join("second_name.db")).unwrap();
    for (name, parts) in [
        ("newer.db", ["schema version 1001", "newer chat-server"]),
        ("foreign.db", ["another program's", "--db"]),
        ("never.db", ["never was", "--db"]),
        ("text.db", ["not a chat-server database", "--db"]),
        ("short.db", ["not a chat-server database", "--db"]),
        ("other.db", ["not a chat-server database", "--db"]),
        ("linked.db", ["hard link", "--db"]),
    ] {
        let before = fs::read(path.join(name)).unwrap();
        let (code, said) = refused(path, &["--db", name, "--bind", "127.0.0.1:0"], &[]);
        assert_eq!(code, 1, "{name}: {said}");
        for part in parts {
            assert!(said.contains(part), "{part:?} for {name} in {said}");
        }
        assert_eq!(
            fs::read(path.join(name)).unwrap(),
            before,
            "{name} has changed"
        );
        assert!(
            !path.join(format!("{name}-wal")).exists(),
            "{name} was opened"
        );
        assert!(!path.join(format!("{name}-secret")).exists(), "{name}");
    }
}

#[tokio::test]
async fn one_file_has_one_server_and_a_kill_frees_it() {
    let folder = folder();
    let first = Running::on(folder.path());
    std::os::unix::fs::symlink("chat.db", folder.path().join("link.db")).unwrap();
    for name in ["chat.db", "link.db", "./chat.db"] {
        let (code, said) = refused(folder.path(), &["--db", name, "--bind", "127.0.0.1:0"], &[]);
        assert_eq!(code, 1);
        let pid = first.pid().as_raw_nonzero().to_string();
        assert!(
            said.contains("in use") && said.contains(&pid) && said.contains("--db"),
            "{said}"
        );
    }
    connected(&first)
        .await
        .send_room("general", "undisturbed")
        .await;
    first.kill();
    let second = Running::on(folder.path());
    assert_eq!(
        connected(&second).await.room_history("general").await.len(),
        1
    );
}

#[tokio::test]
async fn a_link_to_a_file_that_is_not_there_yet_is_that_file_from_the_start() {
    let folder = folder();
    fs::create_dir(folder.path().join("data")).unwrap();
    std::os::unix::fs::symlink("data/real.db", folder.path().join("chat.db")).unwrap();
    let first = Running::on(folder.path());
    let (code, said) = refused(
        folder.path(),
        &["--db", "data/real.db", "--bind", "127.0.0.1:0"],
        &[],
    );
    assert!(code == 1 && said.contains("in use"), "{said}");
    let (token, user) = guest(&first).await;
    first.kill();
    let second = Running::on(folder.path());
    with_token(&second, &token, user).await.ping().await;
    assert!(folder.path().join("data/real.db-secret").exists());
}

#[tokio::test]
async fn a_log_without_its_file_is_not_deleted() {
    let folder = folder();
    let server = Running::on(folder.path());
    connected(&server)
        .await
        .send_room("general", "only in the write-ahead log")
        .await;
    server.kill();
    fs::rename(
        folder.path().join("chat.db"),
        folder.path().join("mislaid.db"),
    )
    .unwrap();
    let log = fs::read(folder.path().join("chat.db-wal")).unwrap();
    let (code, said) = refused(folder.path(), &["--bind", "127.0.0.1:0"], &[]);
    assert!(code == 1 && said.contains("put the file back"), "{said}");
    assert_eq!(fs::read(folder.path().join("chat.db-wal")).unwrap(), log);
    fs::rename(
        folder.path().join("mislaid.db"),
        folder.path().join("chat.db"),
    )
    .unwrap();
    let server = Running::on(folder.path());
    assert_eq!(
        connected(&server).await.room_history("general").await.len(),
        1
    );
}

#[tokio::test]
async fn a_log_or_greeting_that_nobody_reads_stops_nothing() {
    let folder = folder();
    let mut command = chat_server(folder.path(), &["--bind", "127.0.0.1:0"]);
    let mut server = Running::start(&mut command);
    server.read_no_more();
    // More connections than a pipe that nobody empties could hold lines of.
    for _ in 0..20 {
        assert_eq!(http::get(server.address, "/healthz").await.status, 200);
    }
    connected(&server).await.ping().await;
    server.signal(Signal::TERM);
    assert_eq!(server.wait().0, Some(0));
}

#[tokio::test]
async fn an_id_that_a_token_brought_does_not_use_up_the_ids_of_accounts() {
    let folder = folder();
    let server = Running::on(folder.path());
    for id in ["1", "2", "9007199254740991"] {
        let printed = output(&mut chat_server(folder.path(), &["token", "--user-id", id]));
        let me = http::me(server.address, text(&printed.stdout).trim()).await;
        assert_eq!(me.status, 200, "{}", me.body);
    }
    assert_eq!((guest(&server).await.1, guest(&server).await.1), (3, 4));
}

#[tokio::test]
async fn after_a_switch_to_a_backend_its_names_count() {
    let folder = folder();
    let server = Running::on(folder.path());
    assert_eq!(guest(&server).await.1, 1);
    drop(server);
    let secret = "a secret of a backend, 32 bytes..";
    let mut command = chat_server(folder.path(), &["--bind", "127.0.0.1:0", "--switch-mode"]);
    let server = Running::start(command.env("JWT_SECRET", secret));
    let mut sign = chat_server(
        folder.path(),
        &["token", "--user-id", "1", "--username", "the backend's"],
    );
    let token = text(&output(sign.env("JWT_SECRET", secret)).stdout);
    let me = http::me(server.address, token.trim()).await.json();
    assert_eq!(me["user"]["username"], "the backend's");
}

#[tokio::test]
async fn the_file_remembers_its_mode() {
    let folder = folder();
    drop(Running::on(folder.path()));
    let secret = [("JWT_SECRET", "a secret of a backend, 32 bytes..")];
    let (code, said) = refused(folder.path(), &["--bind", "127.0.0.1:0"], &secret);
    assert_eq!(code, 1);
    assert!(
        said.contains("standalone")
            && said.contains("not account 1")
            && said.contains("--switch-mode"),
        "{said}"
    );
    let mut command = chat_server(folder.path(), &["--bind", "127.0.0.1:0", "--switch-mode"]);
    let server = Running::start(command.envs(secret));
    assert!(server.greeting.contains("integrated"));
    drop(server);
    let (code, said) = refused(folder.path(), &["--bind", "127.0.0.1:0"], &[]);
    assert_eq!(code, 1);
    assert!(
        said.contains("integrated") && said.contains("sign up") && said.contains("JWT_SECRET"),
        "{said}"
    );
    let (code, said) = refused(folder.path(), &["token", "--user-id", "1"], &[]);
    assert_eq!(code, 2);
    assert!(said.contains("JWT_SECRET"), "{said}");
}

#[tokio::test]
async fn a_signal_closes_every_socket_with_1001_and_a_second_one_ends_at_once() {
    for signal in [Signal::TERM, Signal::INT] {
        let folder = folder();
        let server = Running::on(folder.path());
        let mut clients = Vec::new();
        for _ in 0..5 {
            clients.push(connected(&server).await);
        }
        server.signal(signal);
        for client in &mut clients {
            assert_eq!(client.close_code().await, 1001);
        }
        assert_eq!(server.wait().0, Some(0));
        assert!(!folder.path().join("chat.db-wal").exists());
    }
    // Clients that do not answer the close hold the first signal up for a while, and the second not at all.
    let folder = folder();
    let mut command = chat_server(
        folder.path(),
        &[
            "--bind",
            "127.0.0.1:0",
            "--linger-seconds",
            "3600",
            "--stop-seconds",
            "3600",
        ],
    );
    let server = Running::start(&mut command);
    let _mute = connected(&server).await;
    server.signal(Signal::TERM);
    server.logged("a second signal ends at once");
    server.signal(Signal::TERM);
    assert_eq!(server.wait().0, Some(130));
}

#[tokio::test]
async fn a_file_that_may_not_grow_gives_storage_full_and_heals() {
    let folder = folder();
    let server = Running::start(&mut chat_server(
        folder.path(),
        &["--bind", "127.0.0.1:0", "--rate-limit", "0"],
    ));
    let mut ann = connected(&server).await;
    ann.join("general").await;
    ann.next_acked("before").await;
    let limit = |size: &str| {
        let pid = server.pid().as_raw_nonzero().to_string();
        let done = std::process::Command::new("prlimit")
            .args(["--pid", &pid, &format!("--fsize={size}")])
            .status();
        done.is_ok_and(|status| status.success())
    };
    let size = folder.path().join("chat.db-wal").metadata().unwrap().size() + 64 * 1024;
    if !limit(&format!("{size}:unlimited")) {
        return println!("SKIP: no prlimit on this machine");
    }
    let filler = "x".repeat(16_000);
    let mut stored = 1;
    let refusal = loop {
        let reply = ann.send_acked(&filler).await;
        if reply["type"] == "error" {
            break reply;
        }
        stored += 1;
        assert!(stored < 1_000, "the limit was never reached");
    };
    assert_eq!(refusal["data"]["code"], "storage_full", "{refusal}");
    ann.ping().await;
    assert_eq!(
        ann.room_history("general").await.len().min(30),
        stored.min(30)
    );
    assert_eq!(http::get(server.address, "/readyz").await.status, 503);
    assert_eq!(http::get(server.address, "/healthz").await.status, 200);
    assert!(limit("unlimited:unlimited"));
    assert_eq!(http::get(server.address, "/readyz").await.status, 200);
    ann.next_acked("after").await;
    let (_, last_seq) = ann.join("general").await;
    assert_eq!(
        last_seq,
        stored as i64 + 1,
        "no hole where nothing was stored"
    );
}

impl Client {
    /// Sends to `general`, which this client has joined; the acknowledgement or error, past the echo.
    async fn send_acked(&mut self, content: &str) -> Value {
        let request = json!({"type": "message", "room": "general", "content": content, "ref": "a"});
        self.say(request.to_string()).await;
        let (mut reply, mut echo) = (None, false);
        loop {
            let frame = self.next().await;
            match frame["type"].as_str() {
                Some("message") => echo = true,
                _ => reply = Some(frame),
            }
            match &reply {
                Some(reply) if echo || reply["type"] == "error" => return reply.clone(),
                _ => {}
            }
        }
    }

    async fn next_acked(&mut self, content: &str) {
        let reply = self.send_acked(content).await;
        sent(&reply);
    }
}
