//! `kill -9` at any moment, again and again, under load: nothing that was acknowledged or seen is lost, doubled or moved.
//!
//! The seed is printed; `KILL_SEED` plays it again, as far as a killed process can be played again.
#![allow(
    dead_code,
    reason = "each test program uses its own part of the vocabulary"
)]

mod common;
mod oracle;
mod play;
mod storm;

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use common::binary;
use oracle::{Era, trace::Trace};
use storm::{Count, Dice, Storm, Weather, count, streams};

/// Kills of one file, which grows; and how many such files a full run takes.
const KILLS: usize = 25;
const FULL_FILES: u64 = 40;
/// Twenty people in five rooms who say 500 things in a second.
const LOAD: (usize, usize, u32) = (20, 5, 500);
/// From the start of the process to the moment at which it serves.
const READY: Duration = Duration::from_secs(2);

/// The build that is to be killed: the one to be shipped, where one is named.
fn program() -> PathBuf {
    if is_full() {
        binary::chosen()
    } else {
        binary::built().into()
    }
}

fn is_full() -> bool {
    std::env::var_os("CHAT_FULL").is_some()
}

/// One file, from its beginning through all its kills to the calm at the end.
async fn kill_again_and_again(seed: u64) -> (Count, Vec<Duration>) {
    let (clients, rooms, per_second) = LOAD;
    let mut storm = Storm::new(Weather {
        seed,
        clients,
        rooms,
        per_second,
        bytes: 40,
        stall_one_in: 0,
    });
    let mut dice = Dice::new(seed);
    let program = program();
    let (mut verdict, mut judged) = (None, 0);
    for kill in 0..KILLS {
        storm.rise(storm.command(&program, &[]));
        if kill == 0 {
            storm.everybody_joins().await;
        }
        // At any moment: while everybody comes back, or long after.
        let life = dice.millis(30, 1500);
        let _ = tokio::time::timeout(life, std::future::pending::<()>()).await;
        if let Some(verdict) = verdict.take() {
            innocent(verdict, seed, kill).await;
        }
        storm.kill().await;
        // What this kill left is judged while the server lives on; and all of it once more in the end.
        let (image, traces) = (storm.image(), storm.traces[judged..].to_vec());
        judged = storm.traces.len();
        verdict = Some(tokio::task::spawn_blocking(move || {
            verdict_on_a_life(traces, image.log())
        }));
    }
    if let Some(verdict) = verdict {
        innocent(verdict, seed, KILLS).await;
    }
    storm.rise(storm.command(&program, &[]));
    storm.answers(1).await;
    let starts = std::mem::take(&mut storm.starts);
    let case = storm.calms().await;
    let mut faults = oracle::violations(&case);
    faults.extend(streams(&case, true));
    assert!(faults.is_empty(), "seed {seed}, in the end: {faults:#?}");
    (count(&case), starts)
}

/// All laws but the two that must know what was said in earlier lives.
fn verdict_on_a_life(traces: Vec<Trace>, log: Era) -> Vec<String> {
    let case = storm::case(traces, log, false);
    let mut faults = oracle::violations(&case);
    faults.retain(|fault| !fault.starts_with("DUP") && !fault.starts_with("IDENT"));
    faults
}

async fn innocent(verdict: tokio::task::JoinHandle<Vec<String>>, seed: u64, kill: usize) {
    let faults = verdict.await.unwrap();
    assert!(
        faults.is_empty(),
        "seed {seed}, after kill {kill}: {faults:#?}"
    );
}

fn first_seed() -> u64 {
    let chosen = std::env::var("KILL_SEED").ok();
    chosen.map_or_else(|| rand::random::<u64>() >> 8, |seed| seed.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_at_any_moment_loses_doubles_and_moves_nothing() {
    let files = if is_full() { FULL_FILES } else { 1 };
    let (seed, begun) = (first_seed(), Instant::now());
    println!("KILL_SEED={seed} {}", program().display());
    let (mut all, mut starts) = (Count::default(), Vec::new());
    for file in 0..files {
        let (count, its_starts) = kill_again_and_again(seed + file).await;
        all.add(count);
        starts.extend(its_starts);
        println!("file {}: {count:?}, {:?} so far", file + 1, begun.elapsed());
    }
    starts.sort();
    let (median, slowest) = (starts[starts.len() / 2], starts[starts.len() - 1]);
    println!(
        "{} kills in {:?}: {all:?}; 0 lost, 0 doubled; ready after {median:?}, at most {slowest:?}",
        files as usize * KILLS,
        begun.elapsed(),
    );
    assert!(slowest < READY, "a start took {slowest:?}");
    assert!(
        all.acked > files as usize * KILLS * 20,
        "too little was said: {all:?}"
    );
}
