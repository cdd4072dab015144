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

use play::{core::SMALL, memory::MemoryWorld, player::Player, script::scripts};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};

fn one_thread() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
}

#[test]
fn over_a_log_in_memory() {
    let cases = std::env::var("CASES")
        .ok()
        .and_then(|c| c.parse().ok())
        .unwrap_or(200);
    let mut runner = TestRunner::new(Config {
        cases,
        ..Config::default()
    });
    let begun = std::time::Instant::now();
    let result = runner.run(&(any::<u64>(), scripts(60)), |(seed, ops)| {
        let case = one_thread().block_on(async {
            let player = Player::new(MemoryWorld::new(seed).await, SMALL.resume_max as usize).await;
            player.play(&ops).await.0
        });
        let violations = oracle::violations(&case);
        prop_assert!(
            violations.is_empty(),
            "{:#?}\n{:#?}",
            violations,
            case.traces
                .iter()
                .map(|t| format!(
                    "user {} era {}: {:#?}",
                    t.user,
                    t.era,
                    t.events
                        .iter()
                        .map(|e| format!("{e:?}"))
                        .collect::<Vec<_>>()
                ))
                .collect::<Vec<_>>()
        );
        Ok(())
    });
    println!("{:?}", begun.elapsed());
    if let Err(error) = result {
        panic!("{error}");
    }
}
