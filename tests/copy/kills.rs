//! A copy that is broken off at any moment leaves nothing that is served, and the next one does it all.

use std::{process::Stdio, time::Duration};

use super::{ends::rows, *};

/// Starts a copy, and kills it after `life`; whether it had ended before.
async fn kill_after(folder: &Path, from: &str, to: &str, life: Duration) -> bool {
    let mut command = copy_command(folder, from, to);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let _ = tokio::time::timeout(life, std::future::pending::<()>()).await;
    let _ = child.kill();
    child.wait().unwrap().success()
}

/// Of each direction; `CHAT_FULL` asks for more.
fn kills() -> u64 {
    match std::env::var_os("CHAT_FULL") {
        Some(_) => 40,
        None => 4,
    }
}

fn lives() -> impl Iterator<Item = Duration> {
    // From the first look at the ends to the last row; the span is measured on a quiet machine and need not be exact.
    (0..kills()).map(|_| Duration::from_millis(rand::random_range(20..1500)))
}

#[tokio::test]
async fn a_copy_into_a_database_that_is_killed_leaves_it_as_it_was() {
    let Some(url) = url_of_a_new_database() else {
        return;
    };
    let (folder, _) = old_file(20_000);
    for life in lives() {
        let ended = kill_after(folder.path(), "chat.db", &url, life).await;
        // The server ends the transaction of whom it lost, and not before it notices.
        let gone = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'chat-server'";
        while sql(&url, gone) != ["0"] {
            tokio::task::yield_now().await;
        }
        let tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'";
        let tables: u32 = sql(&url, tables)[0].parse().unwrap();
        match tables {
            0 => assert!(!ended, "killed after {life:?}"),
            _ => assert_eq!(rows(&url, "messages"), 20_006, "killed after {life:?}"),
        }
    }
    let said = copied(folder.path(), "chat.db", &url);
    assert!(said.contains("messages  20006,"), "{said}");
    assert_eq!(rows(&url, "messages"), 20_006);
}

#[tokio::test]
async fn a_copy_into_a_file_that_is_killed_is_not_served_and_begins_anew() {
    let Some(url) = url_of_a_new_database() else {
        return;
    };
    let (folder, path) = old_file(20_000);
    copied(folder.path(), "chat.db", &url);
    let mut halves = 0;
    for life in lives() {
        if kill_after(folder.path(), &url, "back.db", life).await {
            continue;
        }
        if folder.path().join("back.db").exists() {
            let start = ["--db", "back.db", "--bind", "127.0.0.1:0"];
            let tag = "PRAGMA application_id";
            let tag: i64 = open(&folder.path().join("back.db"))
                .query_row(tag, [], |row| row.get(0))
                .unwrap();
            if tag == 0x636f_7079 {
                halves += 1;
                let started = output(&mut chat_server(folder.path(), &start));
                let said = text(&started.stderr);
                assert_eq!(started.status.code(), Some(1), "{said}");
                assert!(said.contains("half a copy"), "{said}");
            }
        }
    }
    println!("{halves} of {} kills left half a copy", kills());
    copied(folder.path(), &url, "back.db");
    assert_eq!(dump(&folder.path().join("back.db")), dump(&path));
}

/// The same for certain, whenever the kills fell: a file with the tag of a copy, and a log that was not undone yet.
#[test]
fn half_a_copy_is_told_from_a_log_by_every_command() {
    let (folder, path) = old_file(10);
    let before = dump(&path);
    copied(folder.path(), "chat.db", "half.db");
    let half = folder.path().join("half.db");
    open(&half)
        .execute_batch("PRAGMA application_id = 0x636f7079; DELETE FROM messages WHERE id > 1004")
        .unwrap();
    for args in [
        &["--db", "half.db", "--bind", "127.0.0.1:0"][..],
        &["new-epoch", "--db", "half.db"],
        &["sync", "status", "--db", "half.db"],
        &["copy", "half.db", "other.db"],
    ] {
        let run = output(&mut chat_server(folder.path(), args));
        let said = text(&run.stderr);
        assert_eq!(run.status.code(), Some(1), "{args:?} {said}");
        assert!(
            said.contains("half a copy") && said.contains("chat-server copy FROM"),
            "{said}"
        );
    }
    copied(folder.path(), "chat.db", "half.db");
    assert_eq!(dump(&half), before);
}
