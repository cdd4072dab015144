//! The executable on a PostgreSQL database: how it starts and does not, what its commands do there, and what nodes share.

#[path = "theirs.rs"]
mod theirs;

use std::{
    path::Path,
    process::{Command, Output},
    time::Instant,
};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};

#[path = "postgres/words.rs"]
mod words;

use super::{
    common::{
        Client, PATIENCE, SECRET,
        backend::{Backend, MESSAGES, Reply},
        binary::{Running, built, chat_server, chat_server_at, output, text},
        http,
        postgres::{port_of, sql, url_of_a_new_database},
        soon, token,
    },
    folder, guest,
};

/// A new database, and a folder to start in, in which nothing must ever be.
struct Place {
    url: String,
    folder: TempDir,
}

impl Place {
    /// `None` where there is no PostgreSQL.
    fn new() -> Option<Self> {
        let url = url_of_a_new_database()?;
        let folder = folder();
        Some(Self { url, folder })
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = chat_server(self.folder.path(), args);
        command.env("DATABASE_URL", &self.url);
        command
    }

    /// One more node.
    fn node(&self, args: &[&str], secret: Option<&[u8]>) -> Running {
        let args = [&["--bind", "127.0.0.1:0"], args].concat();
        let mut command = self.command(&args);
        if let Some(secret) = secret {
            command.env("JWT_SECRET", text(secret));
        }
        Running::start(&mut command)
    }

    /// A start that must end by itself; one that serves is ended, with code 124.
    fn start_in_vain(&self, args: &[&str], secret: Option<&[u8]>) -> Output {
        let program = built().to_str().unwrap();
        let args = [&["20", program, "--bind", "127.0.0.1:0"], args].concat();
        let mut command = chat_server_at(Path::new("timeout"), self.folder.path(), &args);
        command.env("DATABASE_URL", &self.url);
        if let Some(secret) = secret {
            command.env("JWT_SECRET", text(secret));
        }
        output(&mut command)
    }

    fn run(&self, args: &[&str]) -> Output {
        output(&mut self.command(args))
    }

    /// What the doctor finds out about the database: how bad, and the words.
    fn doctor(&self, secret: Option<&[u8]>) -> Vec<(String, String)> {
        let mut command = self.command(&["doctor", "--json", "--bind", "127.0.0.1:0"]);
        if let Some(secret) = secret {
            command.env("JWT_SECRET", text(secret));
        }
        let answer: Value = serde_json::from_slice(&output(&mut command).stdout).unwrap();
        let checks = answer["checks"].as_array().unwrap().iter();
        let word = |check: &Value, field: &str| check[field].as_str().unwrap().to_owned();
        checks
            .filter(|check| check["subject"] == "database")
            .map(|check| (word(check, "status"), word(check, "found")))
            .collect()
    }
}

/// It succeeded and said all of that.
#[track_caller]
fn says(output: &Output, parts: &[&str]) {
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    for part in parts {
        assert!(said.contains(part), "{part} in {said}");
    }
}

/// It ended with that code and named all of that.
#[track_caller]
fn fails(output: &Output, code: i32, parts: &[&str]) {
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    for part in parts {
        assert!(said.contains(part), "{part} in {said}");
    }
}

#[track_caller]
fn found(findings: &[(String, String)], status: &str, words: &str) {
    let is_there = |(level, found): &(String, String)| level == status && found.contains(words);
    assert!(findings.iter().any(is_there), "{words} in {findings:?}");
}

async fn stats(server: &Running) -> Value {
    http::get(server.address, "/api/v1/stats").await.json()
}

async fn client(server: &Running, user: i64) -> Client {
    let path = format!("/ws?token={}", token(user, "ann", 3600));
    Client::connect(server.address, &path, user, "ann").await
}

#[tokio::test]
async fn the_start_says_which_database_it_is_and_never_its_password() {
    let Some(mut place) = Place::new() else {
        return;
    };
    let shown = place.url.replace("postgres://", "postgresql://");
    place.url = shown.replace("chat@", "chat:hunter2@");
    let mut command = place.command(&["--bind", "127.0.0.1:0"]);
    let server = Running::start(command.env("RUST_LOG", "trace"));
    let data = format!("  Data   {shown} (PostgreSQL 1");
    assert!(server.greeting.contains(&data), "{}", server.greeting);
    let stats = stats(&server).await;
    let engine = stats["build"]["database"].as_str().unwrap();
    assert!(engine.starts_with("PostgreSQL 1"), "{engine}");
    assert!(stats["storage"]["bytes"].as_u64().unwrap() > 1_000_000);
    assert_eq!(stats["storage"]["walBytes"], Value::Null);
    assert!(!server.greeting.contains("hunter2"));
    server.signal(rustix::process::Signal::TERM);
    let (code, log) = server.wait();
    assert_eq!(code, Some(0));
    assert!(log.contains("stopped") && !log.contains("hunter2"), "{log}");
    let left = std::fs::read_dir(place.folder.path()).unwrap().count();
    assert_eq!(left, 0, "nothing is kept in files");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_comes_late_is_waited_for_by_the_start() {
    let Some(place) = Place::new() else {
        return;
    };
    let there = port_of(&place.url);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let here = listener.local_addr().unwrap().port();
    let url = place.url.replace(&there.to_string(), &here.to_string());
    let mut command = chat_server(
        place.folder.path(),
        &["--bind", "127.0.0.1:0", "--db-wait", "20s"],
    );
    command.env("DATABASE_URL", url);
    let starting = tokio::task::spawn_blocking(move || Running::start(&mut command));
    // Somebody who hangs up at once is no database.
    drop(soon("an attempt", listener.accept()).await.unwrap());
    drop(soon("another", listener.accept()).await.unwrap());
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut far = TcpStream::connect(("127.0.0.1", there)).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
            });
        }
    });
    let server = soon("the start", starting).await.unwrap();
    server.logged("waiting for the database");
    server.logged("the database is there");
    let (mut ann, _) = guest(&server).await;
    assert_eq!(ann.send_room("general", "hello").await.seq, 1);
}

#[tokio::test]
async fn what_one_node_made_up_all_nodes_know() {
    let Some(place) = Place::new() else {
        return;
    };
    let unborn = place.run(&["token", "--user-id", "1"]);
    fails(
        &unborn,
        1,
        &["no chat-server log", "start the server on it once"],
    );
    let hook = ["--webhook", "http://127.0.0.1:1/hook"];
    let (first, second) = (place.node(&hook, None), place.node(&hook, None));
    for node in [&first, &second] {
        let kept = "signed with the secret in chat_secrets (webhook-secret) of postgres://";
        assert!(node.greeting.contains(kept), "{}", node.greeting);
    }
    let guest = http::request(first.address, "POST", "/api/v1/auth/guest", &[], "{}").await;
    let token = guest.json()["token"].as_str().unwrap().to_owned();
    let id = guest.json()["user"]["id"].clone();
    let printed = place.run(&["token", "--user-id", &id.to_string()]);
    for token in [&token, text(&printed.stdout).trim()] {
        for node in [&first, &second] {
            let me = http::me(node.address, token).await;
            assert_eq!((me.status, &me.json()["user"]["id"]), (200, &id));
        }
        says(&place.run(&["token", "--check", token]), &["ok "]);
    }
    let kept = sql(
        &place.url,
        "SELECT name, length(value) >= 32 FROM chat_secrets ORDER BY name",
    );
    assert_eq!(kept, ["secret|t", "webhook-secret|t"]);
}

#[tokio::test]
async fn the_doctor_and_a_new_epoch_know_the_database() {
    let Some(place) = Place::new() else {
        return;
    };
    found(
        &place.doctor(None),
        "ok",
        "no log in it yet; the first start makes it",
    );
    let tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'";
    assert_eq!(sql(&place.url, tables), ["0"], "the doctor changes nothing");
    fails(
        &place.run(&["new-epoch"]),
        1,
        &["no chat-server log", "--db"],
    );
    assert_eq!(sql(&place.url, tables), ["0"]);

    let server = place.node(&[], None);
    let (mut ann, _) = guest(&server).await;
    let old = ann.ask(json!({"type": "hello"})).await["data"]["epoch"].clone();
    let sent = ann.send_room("general", "kept").await;
    let findings = place.doctor(None);
    found(&findings, "ok", "answers in");
    found(
        &findings,
        "ok",
        "log of standalone mode, schema version 1: 1 users, 1 rooms, 1 messages, served now",
    );
    found(&findings, "warn", "fsync=off");
    found(
        &place.doctor(Some(SECRET)),
        "fail",
        "history of standalone mode",
    );
    fails(
        &place.run(&["new-epoch"]),
        1,
        &["in use by a chat-server from 127.0.0.1", "stop every"],
    );
    // Its connections are gone for a moment, and it goes on.
    sql(
        &place.url,
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
         WHERE datname = current_database() AND application_name = 'chat-server'",
    );
    fails(&place.run(&["new-epoch"]), 1, &["in use by", "stop every"]);
    drop(ann);
    server.kill();

    // The database notices that somebody was killed.
    let begun = Instant::now();
    let done = loop {
        let done = place.run(&["new-epoch"]);
        if done.status.success() || begun.elapsed() > PATIENCE {
            break done;
        }
    };
    says(&done, &[old.as_str().unwrap(), "postgres://chat@"]);
    let server = place.node(&[], None);
    let (mut ann, _) = guest(&server).await;
    let resume =
        json!({"type": "resume", "after": sent.id - 1, "rooms": ["general"], "epoch": old});
    let refused = ann.ask(resume).await["data"].clone();
    assert_eq!(
        (&refused["complete"], &refused["reason"]),
        (&json!(false), &json!("epoch"))
    );
    assert_ne!(refused["epoch"], old);
}

#[test]
fn a_database_remembers_its_mode() {
    let Some(place) = Place::new() else {
        return;
    };
    place.node(&[], None).kill();
    let other = place.start_in_vain(&[], Some(SECRET));
    fails(&other, 1, &["standalone mode", "--switch-mode"]);
    place.node(&["--switch-mode"], Some(SECRET)).kill();
    place.node(&[], Some(SECRET)).kill();
    fails(
        &place.run(&["token", "--user-id", "1"]),
        2,
        &["tokens of a backend", "JWT_SECRET"],
    );
    let free = place.start_in_vain(&[], None);
    fails(&free, 1, &["integrated mode", "--switch-mode"]);
}

/// What `sync status` says of the backend.
fn standing(place: &Place) -> Value {
    let status = place.run(&["sync", "status", "--json"]);
    assert_eq!(status.status.code(), Some(0), "{status:?}");
    let mut status: Value = serde_json::from_slice(&status.stdout).unwrap();
    status["followers"][0].take()
}

#[tokio::test]
async fn one_of_two_nodes_copies_and_the_other_goes_on_when_it_is_killed() {
    let Some(place) = Place::new() else {
        return;
    };
    let backend = Backend::start().await;
    let args = ["--backend-url", &backend.url()];
    let first = place.node(&args, Some(SECRET));
    let mut ann = client(&first, 1).await;
    ann.send_room("general", "1").await;
    assert_eq!(backend.keeps(1).await, [1]);
    let second = place.node(&args, Some(SECRET));
    second.logged("another server on this database copies");
    let mut bob = client(&second, 2).await;
    for n in 2..=20 {
        match n % 2 {
            0 => ann.send_room("general", &n.to_string()).await,
            _ => bob.send_room("general", &n.to_string()).await,
        };
    }
    assert_eq!(backend.keeps(20).await, (1..=20).collect::<Vec<_>>());
    let here = async |node: &Running| stats(node).await["sync"][0]["here"].clone();
    assert_eq!(
        (here(&first).await, here(&second).await),
        (json!(true), json!(false))
    );

    // Refused once, it is parked, passed, and sent again on demand, by whichever node it is.
    backend.answers_once(MESSAGES, Reply::status(422));
    bob.send_room("general", "21").await;
    bob.send_room("general", "22").await;
    backend.keeps(21).await;
    let parked = standing(&place);
    assert_eq!(
        (&parked["parked"], &parked["messages"][0]["id"]),
        (&json!(1), &json!(21))
    );
    fails(
        &place.run(&["sync", "skip", "99"]),
        2,
        &["99", "neither parked nor the next"],
    );
    fails(
        &place.run(&["sync", "retry", "22"]),
        2,
        &["22", "not parked"],
    );
    says(
        &place.run(&["sync", "status"]),
        &["Data    postgres://chat@", "Parked, of backend"],
    );

    first.kill();
    ann = client(&second, 1).await;
    ann.send_room("general", "23").await;
    second.logged("this server copies from now on");
    assert_eq!(backend.keeps(22).await.last(), Some(&23));
    assert_eq!(here(&second).await, json!(true));
    says(
        &place.run(&["sync", "retry", "21"]),
        &["1 message due again"],
    );
    let kept = backend.keeps(23).await;
    let mut all = kept.clone();
    all.sort_unstable();
    assert_eq!(all, (1..=23).collect::<Vec<_>>(), "each once: {kept:?}");

    backend.down().await;
    ann.send_room("general", "24").await;
    second.logged("cannot be copied at present");
    says(
        &place.run(&["sync", "skip", "24"]),
        &["1 message passed, and parked"],
    );
    says(&place.run(&["sync", "skip"]), &["1 message given up"]);
    assert_eq!(
        (&standing(&place)["parked"], &standing(&place)["position"]),
        (&json!(0), &json!(24))
    );
}
