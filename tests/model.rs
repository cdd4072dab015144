//! Any script, played by careful and careless clients, ends with every promise kept.
//!
//! The server without sockets, over a log in memory, on one thread and with a clock that stands: thousands of scripts in
//! the time of a few with sockets.
#![allow(
    dead_code,
    reason = "each test program uses its own part of the vocabulary"
)]

mod common;
mod oracle;
mod play;

use play::{
    core::SMALL,
    memory::MemoryWorld,
    player::Player,
    script::{Op, scripts},
};
use proptest::{
    prelude::*,
    test_runner::{Config, TestError, TestRunner},
};

fn one_thread() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
}

/// Plays a script; the report of what it broke.
fn play(seed: u64, ops: &[Op]) -> Result<(), String> {
    let case = one_thread().block_on(async {
        let player = Player::new(MemoryWorld::new(seed).await, SMALL.resume_max as usize).await;
        player.play(ops).await.0
    });
    let violations = oracle::violations(&case);
    match violations.is_empty() {
        true => Ok(()),
        false => Err(oracle::report::report(&case, &violations)),
    }
}

#[test]
fn over_a_log_in_memory() {
    let cases = std::env::var("CASES")
        .ok()
        .and_then(|c| c.parse().ok())
        .unwrap_or(200);
    let mut runner = TestRunner::new(Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: 3000,
        ..Config::default()
    });
    let begun = std::time::Instant::now();
    let failed = std::cell::Cell::new(false);
    let result = runner.run(&(any::<u64>(), scripts(60)), |(seed, ops)| {
        for _ in 0..if failed.get() { 12 } else { 1 } {
            play(seed, &ops).map_err(|report| {
                failed.set(true);
                TestCaseError::fail(report)
            })?;
        }
        Ok(())
    });
    println!("{:?}", begun.elapsed());
    if let Err(TestError::Fail(reason, (seed, ops))) = result {
        panic!("{reason}\nseed {seed}, {ops:?}");
    }
}
