//! The tests are tested: each of eleven mistakes that chat servers are known for, made on purpose, must be found by an
//! ordinary check, and the same check must find nothing without it.
//!
//! Mistakes of sessions and queues are looked for by scripts over the core; mistakes around a commit by clients of the
//! executable and its death at a chosen step; a commit that does not wait for the disk by what is asked of the kernel.
#![allow(
    dead_code,
    reason = "each test program uses its own part of the vocabulary"
)]

mod common;
mod oracle;
mod play;
mod storm;

use std::sync::{Mutex, PoisonError};

use chat_server::seeded::{Bug, sow};
use common::{
    Client,
    binary::{Running, built, chat_server},
    token,
};
use play::{
    core::SMALL,
    memory::MemoryWorld,
    player::Player,
    script::{Op, scripts},
};
use proptest::{
    prelude::*,
    strategy::ValueTree as _,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use rustix::process::Signal;
use storm::{SECRET_TEXT, Storm, Weather, ends, traced};

/// Scripts in which a mistake must show: most do in one of the first fifty, the rarest in one of a few hundred.
const SCRIPTS: usize = 3000;
/// Scripts in which none may show that was not made; the model plays many more.
const CLEAN_SCRIPTS: usize = 100;

/// A mistake is made by the whole process: one test at a time.
static TURN: Mutex<()> = Mutex::new(());

fn play(seed: u64, ops: &[Op]) -> Vec<String> {
    let one_thread = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let case = one_thread.block_on(async {
        let player = Player::new(MemoryWorld::new(seed).await, SMALL.resume_max as usize).await;
        player.play(ops).await.0
    });
    oracle::violations(&case)
}

/// The first of the scripts, the same each time, that breaks a law: which, and what it breaks.
fn first_violation(bug: Option<Bug>) -> Option<(usize, Vec<String>)> {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    sow(bug);
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let all = (any::<u64>(), scripts(60));
    let most = bug.map_or(CLEAN_SCRIPTS, |_| SCRIPTS);
    let found = (1..=most).find_map(|nth| {
        let (seed, ops) = all.new_tree(&mut runner).unwrap().current();
        Some((nth, play(seed, &ops))).filter(|(_, faults)| !faults.is_empty())
    });
    sow(None);
    found
}

/// The laws that are broken.
fn laws(faults: &[String]) -> Vec<&str> {
    let names = faults.iter().filter_map(|fault| fault.split_once(": "));
    let mut names: Vec<&str> = names.map(|(name, _)| name).collect();
    names.retain(|name| name.chars().all(|c| c.is_ascii_uppercase()));
    names.sort_unstable();
    names.dedup();
    names
}

fn name_of(bug: Bug) -> &'static str {
    let named = Bug::ALL.into_iter().find(|(_, it)| *it == bug);
    named.expect("every bug has a name").0
}

fn found(bug: Bug, expected: &[&str], faults: &[String], how: &str) {
    let (name, laws) = (name_of(bug), laws(faults));
    let is_right = laws.iter().any(|law| expected.contains(law));
    assert!(is_right, "{name} should break {expected:?}: {faults:#?}");
    println!("{name}: found by {}, {how}", laws.join(" "));
}

/// `expected`: laws of which one at least must be broken.
fn scripts_find(bug: Bug, expected: &[&str]) {
    let (nth, faults) = first_violation(Some(bug))
        .unwrap_or_else(|| panic!("{SCRIPTS} scripts did not find {}", name_of(bug)));
    found(bug, expected, &faults, &format!("in script {nth}"));
}

#[test]
fn without_a_mistake_scripts_find_none() {
    let found = first_violation(None);
    assert!(found.is_none(), "{found:#?}");
}

#[test]
fn joining_without_listening_first_is_found() {
    scripts_find(Bug::JoinWithoutListening, &["GAP"]);
}

#[test]
fn what_was_held_and_is_also_in_the_page_is_found() {
    scripts_find(Bug::SeamDuplicate, &["ORDER"]);
}

#[test]
fn a_replay_that_does_not_move_the_cursor_is_found() {
    scripts_find(Bug::ReplayKeepsCursor, &["ORDER"]);
}

#[test]
fn an_epoch_that_nobody_looks_at_is_found() {
    scripts_find(Bug::EpochUnchecked, &["EPOCH"]);
}

#[test]
fn a_full_outbox_that_nobody_minds_is_found() {
    // Whoever waits for what was dropped waits in vain.
    scripts_find(Bug::LaggedIgnored, &["GAP", "LIVE"]);
}

/// How a life ends.
#[derive(Clone, Copy)]
enum Death {
    /// `kill -9` after some answers.
    Kill,
    /// By itself, at this step.
    At(&'static str),
    /// `kill -9` while it is held at this step and everybody else goes on.
    Held(&'static str),
}

/// A life that ends so, and another in which all is mended: what is wrong then.
async fn two_lives(bug: Option<Bug>, death: Death) -> Vec<String> {
    let seed = rand::random::<u64>() >> 16;
    let mut storm = Storm::new(Weather {
        seed,
        clients: 6,
        rooms: 3,
        per_second: 240,
        bytes: 40,
        stall_one_in: 0,
    });
    let made: Vec<&str> = match bug {
        Some(bug) => vec!["--seeded-bug", name_of(bug)],
        None => Vec::new(),
    };
    let mut args = made.clone();
    match death {
        Death::Kill => {}
        Death::At(step) => args.extend(["--abort-at", step]),
        Death::Held(step) => args.extend(["--hold-at", step]),
    }
    storm.rise(storm.command(built(), &args));
    match death {
        Death::Kill => {
            storm.everybody_joins().await;
            storm.answers(120).await;
            storm.kill().await;
        }
        Death::At(_) => drop(storm.dies().await),
        Death::Held(_) => {
            storm.holds().await;
            storm.kill().await;
        }
    }
    ends(storm, built(), &made).await
}

/// Three deaths: one alone may find only repeated sends in the batch that it strikes, and nothing to lose.
async fn deaths_show(bug: Bug, death: Death, law: &str) {
    let faults = two_lives(None, death).await;
    assert!(faults.is_empty(), "without {}: {faults:#?}", name_of(bug));
    let mut faults = Vec::new();
    for _ in 0..3 {
        faults.extend(two_lives(Some(bug), death).await);
        if laws(&faults).contains(&law) {
            break;
        }
    }
    found(bug, &[law], &faults, "by a death");
}

#[tokio::test]
async fn an_acknowledgement_before_the_commit_is_found() {
    deaths_show(
        Bug::AckBeforeCommit,
        Death::Held("before_commit:40"),
        "LOST",
    )
    .await;
}

#[tokio::test]
async fn a_broadcast_before_the_commit_is_found() {
    deaths_show(
        Bug::BroadcastBeforeCommit,
        Death::Held("before_commit:40"),
        "PHANTOM",
    )
    .await;
}

#[tokio::test]
async fn a_nonce_that_is_stored_after_its_message_is_found() {
    deaths_show(Bug::NonceAfterCommit, Death::At("after_commit:40"), "DUP").await;
}

#[tokio::test]
async fn a_memory_for_the_last_nonce_only_is_found() {
    deaths_show(Bug::OnlyTheLastNonce, Death::Kill, "DUP").await;
}

#[tokio::test]
async fn an_acknowledgement_of_another_text_is_found() {
    deaths_show(Bug::ChangedBodyAcked, Death::Kill, "LOST").await;
}

/// One message after the other, each acknowledged and seen before the next is sent: how many frames told of one, and
/// the first that did so before it was on the disk.
async fn traced_life(args: &[&str]) -> (usize, Option<String>) {
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace");
    let mut how = vec!["-o", trace.to_str().unwrap()];
    how.extend(traced::WRITES);
    let mut served = chat_server(
        folder.path(),
        &["--bind", "127.0.0.1:0", "--rate-limit", "0"],
    );
    served.args(args).env("JWT_SECRET", SECRET_TEXT);
    let server = Running::start(&mut traced::traced(&served, &how));
    let connect = async |user: i64, name: &str| {
        let path = format!("/ws?token={}", token(user, name, 3600));
        Client::connect(server.address, &path, user, name).await
    };
    let (mut ann, mut bob) = (connect(1, "ann").await, connect(2, "bob").await);
    bob.join("general").await;
    for n in 0..TRACED {
        let sent = ann.send_room("general", &n.to_string()).await;
        assert_eq!(bob.next_message().await.id, sent.id);
    }
    server.signal(Signal::TERM);
    drop(tokio::task::spawn_blocking(|| server.wait()).await);
    let text = String::from_utf8_lossy(&std::fs::read(&trace).unwrap()).into_owned();
    let wal = folder.path().canonicalize().unwrap().join("chat.db-wal");
    traced::told_too_early(&text, &wal)
}

/// Messages of a traced life; of each, two frames tell.
const TRACED: usize = 200;

#[tokio::test]
async fn a_commit_that_does_not_wait_for_the_disk_is_found() {
    if !traced::can_trace() {
        return;
    }
    let (told, early) = traced_life(&[]).await;
    assert!(
        told >= 2 * TRACED && early.is_none(),
        "{told} told, {early:?}"
    );
    let (_, early) = traced_life(&["--seeded-bug", "sync_normal"]).await;
    let early = early.expect("nothing was told before it was on the disk");
    println!("sync_normal: found by the system calls, at {early}");
}

#[test]
fn every_mistake_has_its_test() {
    let this = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/seeded.rs"));
    let this = this.unwrap();
    for (name, bug) in Bug::ALL {
        let looked_for =
            this.contains(&format!("Bug::{bug:?},")) || this.contains(&format!("\"{name}\""));
        assert!(looked_for, "{name}");
    }
}
