//! Any script, played by careful and careless clients, ends with every promise kept.
//!
//! The server without sockets, over a log in memory, on one thread and with a clock that stands: thousands of scripts in
//! the time of a few with sockets. A smaller number runs over SQLite, and over PostgreSQL; some over both, step by step,
//! whose transcripts are equal. A script that fails is shrunk, and printed with the command that repeats the run; what broke
//! once is played again each time.
#![allow(
    dead_code,
    reason = "each test program uses its own part of the vocabulary"
)]

mod common;
mod oracle;
mod play;

use std::cell::{Cell, RefCell};

use oracle::{Case, report::report};
use play::{
    core::SMALL,
    kept::Kept,
    link::World,
    memory::MemoryWorld,
    player::Player,
    script::{Op, scripts},
    stored::StoredWorld,
    tally::{MUST_HAPPEN, Tally},
};
use proptest::{
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner},
};

/// Most steps of a script.
const STEPS: usize = 60;
/// Between the yield points of tasks chance decides, so a script that failed is played so often while it is shrunk.
const TRIES_WHEN_SHRINKING: usize = 10;

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Draws `cases` scripts and gives each to `play`, which says what it broke.
fn draw(
    name: &str,
    half: u8,
    cases: u64,
    play: impl Fn(u64, &[Op]) -> Result<(), String>,
) -> Result<(), String> {
    let cases = setting("MODEL_CASES").unwrap_or(cases);
    let seed = setting("MODEL_SEED").unwrap_or(20_260_115);
    let mut bytes = [half; 16];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config {
        cases: u32::try_from(cases).unwrap(),
        // Scripts are kept as scripts, in `broke_once`: seeds would mean others as soon as a step is added.
        failure_persistence: None,
        max_shrink_iters: setting("MODEL_SHRINK").map_or(3_000, |it| it as u32),
        ..Config::default()
    };
    let rng = TestRng::from_seed(RngAlgorithm::XorShift, &bytes);
    let failed = Cell::new(false);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let result = runner.run(&(any::<u64>(), scripts(STEPS)), |(tempo, ops)| {
        let tries = if failed.get() {
            TRIES_WHEN_SHRINKING
        } else {
            1
        };
        for _ in 0..tries {
            play(tempo, &ops).map_err(|report| {
                failed.set(true);
                TestCaseError::fail(report)
            })?;
        }
        Ok(())
    });
    match result {
        Ok(()) => Ok(()),
        Err(TestError::Fail(reason, (tempo, ops))) => Err(format!(
            "{reason}\ntempo {tempo}, script {ops:?}\n\nrepeat with: MODEL_SEED={seed} MODEL_CASES={cases} cargo test --test model {name}"
        )),
        Err(TestError::Abort(reason)) => Err(reason.to_string()),
    }
}

async fn play<W: World>(world: W, ops: &[Op]) -> (Case, W) {
    let player = Player::new(world, SMALL.resume_max as usize).await;
    player.play(ops).await
}

fn judge(case: &Case, world: &impl World, tally: &RefCell<Tally>) -> Result<(), String> {
    let violations = oracle::violations(case);
    if !violations.is_empty() {
        return Err(report(case, &violations));
    }
    tally.borrow_mut().add(case, world.fell_behind());
    Ok(())
}

fn over_memory(tempo: u64, ops: &[Op], tally: &RefCell<Tally>) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let (case, world) = runtime.block_on(async { play(MemoryWorld::new(tempo).await, ops).await });
    judge(&case, &world, tally)
}

/// Half of the cases, so that two cores share them.
fn half_over_memory(name: &str, half: u8) {
    let cases = if setting("CHAT_FULL").is_some() {
        50_000
    } else {
        5_000
    };
    let tally = RefCell::new(Tally::default());
    let result = draw(name, half, cases, |tempo, ops| {
        over_memory(tempo, ops, &tally)
    });
    if let Err(failure) = result {
        panic!("{failure}");
    }
    let tally = tally.into_inner();
    println!("{tally}");
    if cases >= 1_000 && setting("MODEL_CASES").is_none() {
        assert_eq!(tally.missing(&MUST_HAPPEN), [""; 0], "never happened");
    }
}

#[test]
fn over_a_log_in_memory_first_half() {
    half_over_memory("over_a_log_in_memory_first_half", 1);
}

#[test]
fn over_a_log_in_memory_second_half() {
    half_over_memory("over_a_log_in_memory_second_half", 2);
}

/// What broke a promise once, as it was shrunk.
fn broke_once() -> Vec<Vec<Op>> {
    use play::script::{Cursor::Here, Kind::WithNonce, Op::*, Target::User};
    vec![
        // An own DM that was announced while a resume was judged came back to where it was sent.
        vec![
            Say(3, User(0), WithNonce),
            Resume(3, Here),
            Flood(2, User(3), 2),
        ],
    ]
}

#[test]
fn what_broke_once_is_whole() {
    let tally = RefCell::new(Tally::default());
    for ops in broke_once() {
        for tempo in 1..=100 {
            over_memory(tempo, &ops, &tally).unwrap_or_else(|failure| panic!("{failure}"));
        }
    }
}

#[test]
fn over_sqlite() {
    let cases = if setting("CHAT_FULL").is_some() {
        3_000
    } else {
        150
    };
    let tally = RefCell::new(Tally::default());
    let result = draw("over_sqlite", 3, cases, |_, ops| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let (case, world) =
            runtime.block_on(async { play(StoredWorld::new(Kept::file()).await, ops).await });
        judge(&case, &world, &tally)
    });
    if let Err(failure) = result {
        panic!("{failure}");
    }
    println!("{}", tally.into_inner());
}

#[cfg(feature = "postgres")]
mod over_postgres {
    use super::*;
    use crate::{
        common::databases,
        play::{
            stored::Shifted,
            transcript::{difference, transcript},
        },
    };

    fn runtime() -> tokio::runtime::Runtime {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().build().unwrap()
    }

    #[test]
    fn every_promise_is_kept() {
        if !databases::can_be_made() {
            return;
        }
        let cases = if setting("CHAT_FULL").is_some() {
            1_000
        } else {
            40
        };
        let tally = RefCell::new(Tally::default());
        let result = draw(
            "over_postgres::every_promise_is_kept",
            4,
            cases,
            |_, ops| {
                let (case, world) = runtime()
                    .block_on(async { play(StoredWorld::new(Kept::tables()).await, ops).await });
                judge(&case, &world, &tally)
            },
        );
        if let Err(failure) = result {
            panic!("{failure}");
        }
        println!("{}", tally.into_inner());
    }

    #[test]
    fn the_answers_are_those_of_sqlite() {
        if !databases::can_be_made() {
            return;
        }
        let cases = if setting("CHAT_FULL").is_some() {
            1_000
        } else {
            20
        };
        let tally = RefCell::new(Tally::default());
        let limit = SMALL.resume_max as usize;
        let name = "over_postgres::the_answers_are_those_of_sqlite";
        let result = draw(name, 5, cases, |_, ops| {
            let (one, other) = runtime().block_on(async {
                let one = StoredWorld::at(Shifted::standing(), Kept::file()).await;
                let one = transcript(one, limit, ops).await;
                let other = StoredWorld::at(Shifted::standing(), Kept::tables()).await;
                let other = transcript(other, limit, ops).await;
                let told = difference(&one.2, &other.2);
                told.map_or(Ok(()), Err)?;
                Ok::<_, String>((one, other))
            })?;
            judge(&one.0, &one.1, &tally)?;
            judge(&other.0, &other.1, &tally)
        });
        if let Err(failure) = result {
            panic!("{failure}");
        }
        println!("{}", tally.into_inner());
    }
}
