//! The process ends at a named step, under load: whatever the step, nothing that was acknowledged or seen is lost,
//! doubled or moved.
//!
//! Three lives each: one that is killed, so that the next begins with resumes and repeated sends; one that ends itself at
//! the step; one in which all is mended and judged. Two steps lie where no hook of ours reaches, in SQLite's checkpoint
//! and behind a failed sync: there the process is traced, and the fault comes with a system call.
#![allow(
    dead_code,
    reason = "each test program uses its own part of the vocabulary"
)]

mod common;
mod oracle;
mod play;
mod storm;

use std::process::Command;

use common::binary::built;
use storm::{Dice, Storm, Weather, ends, traced};

/// At the first occasion, and at two later ones that a seed decides.
const RUNS: usize = 3;

/// A few clients, who talk fast.
fn storm(seed: u64) -> Storm {
    Storm::new(Weather {
        seed,
        clients: 6,
        rooms: 3,
        per_second: 240,
        bytes: 40,
        stall_one_in: 0,
    })
}

/// The occasions at which to end, of those up to `most`.
fn occasions(seed: u64, most: usize) -> [usize; RUNS] {
    let mut dice = Dice::new(seed);
    [1, 2 + dice.below(most - 1), 2 + dice.below(most - 1)]
}

/// Three lives, of which the second is that of the command that `second` makes; `during` is what happens to it.
async fn lives(name: &str, nth: usize, second: impl Fn(&Storm) -> Command, stops: bool) {
    let seed = rand::random::<u64>() >> 16;
    let mut storm = storm(seed);
    storm.rise(storm.command(built(), &[]));
    storm.everybody_joins().await;
    storm.answers(40).await;
    storm.kill().await;
    storm.rise(second(&storm));
    if stops {
        storm.answers(20).await;
        storm.ask_to_stop();
    }
    let (code, log) = storm.dies().await;
    assert_eq!(
        code, None,
        "{name}:{nth}, seed {seed}: not killed at the step\n{log}"
    );
    let faults = ends(storm, built(), &[]).await;
    assert!(faults.is_empty(), "{name}:{nth}, seed {seed}: {faults:#?}");
}

/// `most`: how many occasions a second or so has.
async fn ends_at(name: &str, most: usize) {
    for nth in occasions(rand::random(), most) {
        let at = format!("{name}:{nth}");
        let second = |storm: &Storm| storm.command(built(), &["--abort-at", &at]);
        lives(name, nth, second, name == "stopping").await;
    }
}

macro_rules! steps {
    ($($test:ident: $step:literal of $most:literal;)*) => {
        $(#[tokio::test]
        async fn $test() {
            ends_at($step, $most).await;
        })*

        #[test]
        fn every_step_has_its_test() {
            let tested = [$($step),*, "reopened"];
            for (name, _) in chat_server::seeded::Step::ALL {
                assert!(tested.contains(&name), "{name}");
            }
        }
    };
}

steps! {
    after_jobs_were_taken_out_of_the_line: "dequeued" of 40;
    after_a_nonce_was_looked_up: "nonce_known" of 12;
    before_a_message_is_inserted: "before_insert" of 100;
    after_a_message_was_inserted: "after_insert" of 100;
    before_a_commit: "before_commit" of 40;
    after_a_commit_of_which_nobody_was_told: "after_commit" of 40;
    after_an_acknowledgement_and_before_the_broadcast: "before_broadcast" of 40;
    in_the_middle_of_a_broadcast: "mid_broadcast" of 200;
    in_the_middle_of_a_resume: "mid_resume" of 2;
    while_the_server_stops: "stopping" of 6;
}

/// The same, with one system call on one of the database's files tampered with.
fn tampered(storm: &Storm, name: &str, tampering: &str, args: &[&str]) -> Command {
    let file = storm.folder.path().canonicalize().unwrap().join(name);
    let how = [
        "-o",
        "/dev/null",
        "-P",
        file.to_str().unwrap(),
        "-e",
        tampering,
    ];
    traced::traced(&storm.command(built(), args), &how)
}

#[tokio::test]
async fn in_the_middle_of_a_checkpoint() {
    if !traced::can_trace() {
        return;
    }
    // In a log that is written ahead, only a checkpoint writes to the file itself: at least as many pages as there are tables.
    for nth in occasions(rand::random(), 6) {
        let kill = format!("inject=pwrite64:signal=SIGKILL:when={nth}");
        let second = |storm: &Storm| tampered(storm, "chat.db", &kill, &[]);
        lives("checkpoint", nth, second, true).await;
    }
}

#[tokio::test]
async fn while_a_reopened_file_is_read_after_a_commit_of_unknown_outcome() {
    if !traced::can_trace() {
        return;
    }
    for nth in occasions(rand::random(), 30) {
        let fail = format!("inject=fsync,fdatasync:error=EIO:when={nth}");
        let second =
            |storm: &Storm| tampered(storm, "chat.db-wal", &fail, &["--abort-at", "reopened"]);
        lives("reopened", nth, second, false).await;
    }
}
