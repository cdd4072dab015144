//! `chat-server copy`: a log moves from a file into PostgreSQL and back, and nobody notices but the operator.
//!
//! The real executable, real files, a throw-away PostgreSQL; where there is none, every test says `SKIP` aloud.

#[path = "../common/mod.rs"]
mod common;

mod ends;
mod kills;
mod moves;
mod refusals;
mod shared;

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use common::{
    Client,
    binary::{Running, chat_server, output, text},
    http,
    postgres::{sql, url_of_a_new_database},
};
use ends::{dump, open};
use serde_json::json;
use tempfile::TempDir;

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn copy_command(folder: &Path, from: &str, to: &str) -> Command {
    chat_server(folder, &["copy", from, to])
}

fn copy(folder: &Path, from: &str, to: &str) -> Output {
    output(&mut copy_command(folder, from, to))
}

/// What a copy that must succeed says.
fn copied(folder: &Path, from: &str, to: &str) -> String {
    let run = copy(folder, from, to);
    let (said, log) = (text(&run.stdout), text(&run.stderr));
    assert_eq!(run.status.code(), Some(0), "{said}{log}");
    said
}

/// What a copy that must not succeed says.
fn refused(folder: &Path, from: &str, to: &str) -> String {
    let run = copy(folder, from, to);
    let (said, log) = (text(&run.stdout), text(&run.stderr));
    assert_eq!(run.status.code(), Some(1), "{said}{log}");
    log
}

/// The checksum in what a copy said.
fn checksum(said: &str) -> &str {
    let line = said.lines().find(|line| line.starts_with("sha256"));
    line.unwrap().split_whitespace().nth(1).unwrap()
}

/// A server on the database at `db`, in `folder`.
fn serve(folder: &Path, db: &str) -> Running {
    Running::start(&mut chat_server(
        folder,
        &["--db", db, "--bind", "127.0.0.1:0"],
    ))
}

/// An account's token, and its id.
async fn account(server: &Running, verb: &str, name: &str) -> (String, i64) {
    let body = json!({"username": name, "password": "correct horse"}).to_string();
    let path = format!("/api/v1/auth/{verb}");
    let answer = http::post(server.address, &path, &body).await;
    let said = answer.json();
    assert!(matches!(answer.status, 200 | 201), "{said}");
    let id = said["user"]["id"].as_i64().unwrap();
    (said["token"].as_str().unwrap().to_owned(), id)
}

async fn client(server: &Running, token: &str, user: i64, name: &str) -> Client {
    let path = format!("/ws?token={token}");
    let mut client = Client::connect(server.address, &path, user, name).await;
    client.ping().await;
    client
}

/// `chat.db` in a folder, as a server left it that was killed, with `more` messages of old.
fn old_file(more: u32) -> (TempDir, PathBuf) {
    let folder = folder();
    let path = folder.path().join("chat.db");
    serve(folder.path(), "chat.db").kill();
    open(&path).execute_batch(&ends::old(more)).unwrap();
    (folder, path)
}
