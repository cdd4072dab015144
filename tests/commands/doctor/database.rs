//! What the doctor finds out about the file, and that the file and the server that has it open do not notice.

use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt as _, path::Path};

use rusqlite::Connection;
use rustix::process::Signal;

use super::{Told, command, doctor, told};
use crate::{common::binary::Running, guest};

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// Every file with what is in it.
fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries
        .map(|entry| {
            (
                entry.file_name().into_string().unwrap(),
                fs::read(entry.path()).unwrap(),
            )
        })
        .collect()
}

/// What the doctor says, which must leave everything as it was.
fn untouched(folder: &Path, args: &[&str]) -> Told {
    let before = contents(folder);
    let told = doctor(folder, args);
    let after = contents(folder);
    assert_eq!(
        before.keys().collect::<Vec<_>>(),
        after.keys().collect::<Vec<_>>()
    );
    assert!(before == after, "the doctor changed a file");
    told
}

/// A folder in which a server has stored a message, and was stopped as it should.
async fn stopped() -> tempfile::TempDir {
    let folder = folder();
    let server = Running::on(folder.path());
    let (mut ann, _) = guest(&server).await;
    ann.send_room("general", "kept").await;
    server.signal(Signal::TERM);
    assert_eq!(server.wait().0, Some(0));
    folder
}

#[tokio::test]
async fn beside_a_running_server_and_after_a_kill_everything_stays_as_it_is() {
    let folder = folder();
    let server = Running::on(folder.path());
    let (mut ann, _) = guest(&server).await;
    ann.send_room("general", "first").await;
    let bind = server.address.to_string();
    let names = || contents(folder.path()).into_keys().collect::<Vec<_>>();
    let before = names();
    let told = doctor(folder.path(), &["--bind", &bind]);
    told.says("ok", "port", "runs on");
    let holder = format!("served by process {}", server.pid().as_raw_nonzero());
    told.says("ok", "database", "is sound");
    told.says("ok", "database", &holder);
    assert_eq!(names(), before);
    let elsewhere = tempfile::tempdir().unwrap();
    let told = doctor(elsewhere.path(), &["--bind", &bind]);
    told.says("warn", "database", "has another file open");
    doctor(folder.path(), &[]).says("fail", "database", "in use by another chat-server (process");
    let mut other = command(folder.path(), &["--bind", &bind, "--switch-mode"]);
    let other = super::told(other.env("JWT_SECRET", "7f3c1d0a9b8e4f6521c0de9a7b3e5f10"));
    other.says("warn", "port", "runs on");

    ann.send_room("general", "second").await;
    server.kill();
    assert!(names().contains(&"chat.db-wal".to_owned()));
    untouched(folder.path(), &[]).says("ok", "database", "is sound");
    fs::remove_file(folder.path().join("chat.db-shm")).unwrap();
    untouched(folder.path(), &[]).says("ok", "database", "without changing it");
    let server = Running::on(folder.path());
    server.signal(Signal::TERM);
    assert_eq!(server.wait().0, Some(0));
    untouched(folder.path(), &[]).says("ok", "database", "is sound");
}

#[tokio::test]
async fn a_file_that_cannot_be_served_is_told_with_the_words_of_a_start() {
    let folder = stopped().await;
    let path = folder.path().join("chat.db");
    let mode = ["--switch-mode"];
    let with_secret = |args: &[&str]| {
        told(command(folder.path(), args).env("JWT_SECRET", "7f3c1d0a9b8e4f6521c0de9a7b3e5f10"))
    };
    with_secret(&[]).says(
        "fail",
        "database",
        "standalone mode, and this start is in integrated mode",
    );
    with_secret(&mode).says("ok", "database", "is sound");

    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let fix = untouched(folder.path(), &[]).says("warn", "database", "every user of this machine");
    assert!(fix.starts_with("chmod 600 /"), "{fix}");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();

    fs::hard_link(&path, folder.path().join("other.db")).unwrap();
    untouched(folder.path(), &[]).says("fail", "database", "has a second name");
    fs::remove_file(folder.path().join("other.db")).unwrap();

    let connection = Connection::open(&path).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    untouched(folder.path(), &[]).says("fail", "database", "has schema version 99");

    fs::write(folder.path().join("notes.txt"), "no database").unwrap();
    let args = ["--db", "notes.txt"];
    untouched(folder.path(), &args).says("fail", "database", "is not a chat-server database");
    for (db, words) in [(".", "is a folder"), ("none/chat.db", "cannot be opened")] {
        untouched(folder.path(), &["--db", db]).says("fail", "database", words);
    }
}

#[tokio::test]
async fn damage_and_messages_from_the_future_are_found() {
    let folder = stopped().await;
    let path = folder.path().join("chat.db");
    let connection = Connection::open(&path).unwrap();
    let future = "UPDATE messages SET timestamp = timestamp + 7200000";
    assert_eq!(connection.execute(future, []).unwrap(), 1);
    let page: i64 = connection
        .pragma_query_value(None, "page_size", |row| row.get(0))
        .unwrap();
    let root = "SELECT rootpage FROM sqlite_schema WHERE name = 'messages_room'";
    let root: i64 = connection.query_row(root, [], |row| row.get(0)).unwrap();
    drop(connection);
    untouched(folder.path(), &[]).says("warn", "clock", "in the future");

    let mut bytes = fs::read(&path).unwrap();
    let end = usize::try_from(root * page).unwrap();
    bytes[end - usize::try_from(page).unwrap()..end].fill(0xa5);
    fs::write(&path, bytes).unwrap();
    let fix = untouched(folder.path(), &[]).says("fail", "database", "is damaged");
    assert!(fix.contains("backup"), "{fix}");
}

#[test]
fn a_disk_in_memory_is_warned_of() {
    let shared = Path::new("/dev/shm");
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    if !mounts.contains(" /dev/shm tmpfs ") {
        return;
    }
    let folder = tempfile::tempdir_in(shared).unwrap();
    doctor(folder.path(), &[]).says("warn", "disk", "in memory");
}
