//! Load for as long as one likes, with cuts, stalls and kills: nothing is lost, doubled or moved, and memory stays.
//!
//! A few seconds in the ordinary run. `SOAK_MINUTES=30 CHAT_SERVER_BIN=target/release/chat-server cargo test --test soak
//! -- --nocapture` soaks that build for half an hour: five kills in the first third, then one life, in whose second half
//! memory is watched.
#![allow(
    dead_code,
    reason = "each test program uses its own part of the vocabulary"
)]

mod common;
mod oracle;
mod play;
mod storm;

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use common::{binary, http};
use storm::{Storm, Weather, count, streams};

const KILLS: u32 = 5;
/// Small, so that those who stall fall behind: outbox, history, the kernel's buffer.
const SMALL: [&str; 6] = [
    "--outbox-bytes=65536",
    "--history-bytes=32768",
    "--send-buffer-bytes=16384",
    "--ping-seconds=25",
    "--silence-seconds=60",
    "--stall-seconds=30",
];
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// Most that memory may grow in ten minutes, in bytes.
const GROWTH_MAX: f64 = (1 << 20) as f64;

fn minutes() -> Option<f64> {
    std::env::var("SOAK_MINUTES").ok()?.parse().ok()
}

fn program() -> PathBuf {
    if minutes().is_some() {
        binary::chosen()
    } else {
        binary::built().into()
    }
}

/// Lets time go by; what happens meanwhile is up to the clients.
async fn pass(time: Duration) {
    let _ = tokio::time::timeout(time, std::future::pending::<()>()).await;
}

/// Memory of the server that is resident, in bytes.
fn resident_bytes(storm: &Storm) -> f64 {
    let status = format!("/proc/{}/status", storm.server().pid().as_raw_nonzero());
    let status = std::fs::read_to_string(Path::new(&status)).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
    1024.0 * kilobytes.unwrap_or(0.0)
}

/// The slope of the line that fits best, in bytes for ten minutes.
fn slope(samples: &[(f64, f64)]) -> f64 {
    let n = samples.len() as f64;
    let mean = |pick: fn(&(f64, f64)) -> f64| samples.iter().map(pick).sum::<f64>() / n;
    let (at, bytes) = (mean(|sample| sample.0), mean(|sample| sample.1));
    let over: f64 = samples.iter().map(|(x, y)| (x - at) * (y - bytes)).sum();
    let under: f64 = samples.iter().map(|(x, _)| (x - at).powi(2)).sum();
    600.0 * over / under
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn load_with_cuts_stalls_and_kills_goes_on_without_a_fault() {
    let whole = Duration::from_secs_f64(60.0 * minutes().unwrap_or(0.1));
    let seed = rand::random::<u64>() >> 8;
    let program = program();
    println!("seed {seed}, {whole:?}, {}", program.display());
    let mut storm = Storm::new(Weather {
        seed,
        clients: 20,
        rooms: 5,
        per_second: 200,
        bytes: 250,
        stall_one_in: 150,
    });
    for kill in 0..KILLS {
        storm.rise(storm.command(&program, &SMALL));
        if kill == 0 {
            storm.everybody_joins().await;
        }
        pass(whole / 3 / KILLS).await;
        storm.kill().await;
    }
    storm.rise(storm.command(&program, &SMALL));
    let (begun, mut samples) = (Instant::now(), Vec::new());
    while begun.elapsed() < whole * 2 / 3 || samples.len() < 2 {
        pass(LOOK_EVERY.min(whole / 20)).await;
        if begun.elapsed() > whole / 3 {
            samples.push((begun.elapsed().as_secs_f64(), resident_bytes(&storm)));
        }
    }
    let metrics = http::get(storm.server().address, "/metrics").await.body;
    let (first, last, slope) = (samples[0].1, samples[samples.len() - 1].1, slope(&samples));
    let case = storm.calms().await;
    let counted = count(&case);
    let mut faults = oracle::violations(&case);
    faults.extend(streams(&case, true));
    println!("{counted:?}");
    println!(
        "memory {:.2} to {:.2} MiB in the last third, {:+.3} MiB in ten minutes",
        first / GROWTH_MAX,
        last / GROWTH_MAX,
        slope / GROWTH_MAX
    );
    for name in [
        "readers_fell_behind",
        "messages_caught_up",
        "resumes",
        "closes",
        "errors",
    ] {
        metrics
            .lines()
            .filter(|line| line.starts_with(&format!("chat_{name}")))
            .for_each(|line| println!("{line}"));
    }
    assert!(faults.is_empty(), "seed {seed}: {faults:#?}");
    if minutes().is_some() {
        assert!(slope < GROWTH_MAX, "memory grows");
    }
}
