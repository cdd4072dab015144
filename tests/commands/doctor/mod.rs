//! `chat-server doctor`, as its own process: each thing that it looks at in order and out of order, and that it leaves
//! everything as it was.

mod backend;
mod database;
mod machine;
mod public_url;
mod stand_in;

use std::{path::Path, process::Command};

use serde_json::Value;

use crate::common::binary::{chat_server, output, text};

/// What the doctor told.
pub struct Told {
    pub code: Option<i32>,
    pub all: String,
    checks: Vec<Value>,
}

/// Asks the doctor, on a port that is free, with what else is given.
pub fn doctor(folder: &Path, args: &[&str]) -> Told {
    told(&mut command(folder, args))
}

/// The command, to which an environment can be given.
pub fn command(folder: &Path, args: &[&str]) -> Command {
    let mut all = vec!["doctor", "--json", "--max-connections", "100"];
    if !args.contains(&"--bind") {
        all.extend(["--bind", "127.0.0.1:0"]);
    }
    all.extend(args);
    chat_server(folder, &all)
}

/// Asks it and reads the answer.
pub fn told(command: &mut Command) -> Told {
    let output = output(command);
    let all = text(&output.stdout);
    let answer: Value = serde_json::from_str(&all)
        .unwrap_or_else(|error| panic!("{error} in {all} {}", text(&output.stderr)));
    let told = Told {
        code: output.status.code(),
        checks: answer["checks"].as_array().unwrap().clone(),
        all,
    };
    let count = |status| {
        told.checks
            .iter()
            .filter(|check| check["status"] == status)
            .count()
    };
    for status in ["ok", "warn", "fail"] {
        assert_eq!(answer[status], count(status), "{}", told.all);
    }
    assert_eq!(
        told.code,
        Some(i32::from(count("fail") > 0)),
        "{}",
        told.all
    );
    for check in &told.checks {
        let has_fix = check["fix"].as_str().is_some_and(|fix| !fix.is_empty());
        assert_eq!(has_fix, check["status"] != "ok", "{check}");
    }
    told
}

impl Told {
    /// That something was found which says `words`, and is this bad; what is to be done about it.
    #[track_caller]
    pub fn says(&self, status: &str, subject: &str, words: &str) -> String {
        let found = self.checks.iter().find(|check| {
            check["status"] == status
                && check["subject"] == subject
                && check["found"].as_str().unwrap().contains(words)
        });
        let found =
            found.unwrap_or_else(|| panic!("no {status} {subject} {words:?} in\n{}", self.all));
        found["fix"].as_str().unwrap_or_default().to_owned()
    }

    /// That nothing is said of it.
    #[track_caller]
    pub fn is_silent_on(&self, subject: &str) {
        let is_told = self.checks.iter().any(|check| check["subject"] == subject);
        assert!(!is_told, "{}", self.all);
    }
}

#[test]
fn in_an_empty_folder_all_is_well_and_nothing_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let told = doctor(folder.path(), &[]);
    for (subject, words) in [
        ("port", "takes a free one"),
        ("database", "is not there yet"),
        ("files", "100 connections"),
        ("secret", "standalone"),
        ("clock", "can be"),
        ("origin", "this machine"),
        ("public-url", "only this machine"),
    ] {
        told.says("ok", subject, words);
    }
    for subject in ["token", "backend", "copies", "webhook", "keys", "settings"] {
        told.is_silent_on(subject);
    }
    assert_eq!(told.code, Some(0));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn for_a_person_each_line_begins_with_how_bad_it_is_and_the_fix_stands_below() {
    let folder = tempfile::tempdir().unwrap();
    let args = ["doctor", "--bind", "nowhere", "--allow-origin", "null"];
    let told = output(&mut chat_server(folder.path(), &args));
    let text = text(&told.stdout);
    assert_eq!(told.status.code(), Some(1));
    assert!(text.starts_with("fail  port        --bind"), "{text}");
    assert!(
        text.contains("\n      fix         use one such as 127.0.0.1:9001\n"),
        "{text}"
    );
    assert!(
        text.contains("\nwarn  origin      --allow-origin null"),
        "{text}"
    );
    assert!(text.contains("\nok    database    "), "{text}");
    assert!(text.contains(" 1 warn, 1 fail: mend what failed"), "{text}");
}

#[test]
fn faults_in_the_flags_are_all_told_and_not_only_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let args = [
        "--bind",
        "nowhere",
        "--db",
        "postgres://db",
        "--backend-url",
        "ftp://x",
        "--public-url",
        "x",
        "--webhook",
        "y",
        "--allow-origin",
        "*",
        "--jwt-secret-file",
        "none",
        "--ping-seconds",
        "99",
    ];
    let told = doctor(folder.path(), &args);
    for (subject, words) in [
        ("port", "--bind"),
        (
            "database",
            match cfg!(feature = "postgres") {
                true => "postgres://db: nobody answers",
                false => "PostgreSQL",
            },
        ),
        ("backend", "--backend-url"),
        ("public-url", "--public-url"),
        ("webhook", "--webhook"),
        ("origin", "--allow-origin"),
        ("secret", "--jwt-secret-file"),
    ] {
        told.says("fail", subject, words);
    }
    let told = doctor(folder.path(), &["--ping-seconds", "99"]);
    told.says("fail", "settings", "--silence-seconds");
}
