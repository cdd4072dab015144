//! Several nodes over one PostgreSQL, as their clients see them: nobody misses anything, nobody sees anything twice, all see
//! one order, what is acknowledged is stored once, and what is refused is not, whatever dies or is cut off meanwhile.
//!
//! A few seconds of each in the ordinary run. `CHAT_FULL=1 CHAT_SERVER_BIN=target/release/chat-server cargo test --features
//! postgres --test cluster -- --nocapture` is three nodes and half an hour of it. `CHAT_SERVER_BIN` names another build in
//! either. The seed is printed; `CLUSTER_SEED` plays it again, as far as killed processes can be played again.
#![allow(
    dead_code,
    reason = "each test program uses its own part of the vocabulary"
)]

#[path = "../common/mod.rs"]
mod common;
#[path = "../oracle/mod.rs"]
mod oracle;
#[path = "../play/mod.rs"]
mod play;
#[path = "../storm/mod.rs"]
mod storm;

mod control;
mod faults;
mod foreign;
mod load;
mod log;
mod nodes;
mod nonces;

use storm::{Count, Weather};
use tokio::sync::{Mutex, MutexGuard};

/// The long version of everything.
fn is_full() -> bool {
    std::env::var_os("CHAT_FULL").is_some()
}

/// Either of them.
fn or_full<T>(ordinary: T, full: T) -> T {
    if is_full() { full } else { ordinary }
}

/// One at a time: two cores are few for what one of these starts.
async fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::const_new(());
    TURN.lock().await
}

/// Thirty people at each node, eight or twelve in each room, who say 300 things in a second.
fn weather(nodes: usize) -> Weather {
    let seed = match std::env::var("CLUSTER_SEED") {
        Ok(seed) => seed.parse().unwrap(),
        Err(_) => rand::random::<u64>() >> 8,
    };
    println!("CLUSTER_SEED={seed}");
    Weather {
        seed,
        clients: 30 * nodes,
        rooms: 15,
        per_second: 300,
        bytes: 40,
        stall_one_in: 0,
    }
}

/// Less of it in the ordinary run, where there is something else to be seen.
fn light_weather(nodes: usize) -> Weather {
    Weather {
        clients: or_full(12, 30) * nodes,
        rooms: or_full(6, 15),
        per_second: or_full(150, 300),
        ..weather(nodes)
    }
}

/// Judged: nothing is wrong, and enough was said for that to mean something.
async fn is_clean(cluster: nodes::Cluster, least: usize) -> Count {
    let seed = cluster.weather.seed;
    let (case, faults) = cluster.calms().await;
    let count = storm::count(&case);
    let shown = &faults[..faults.len().min(20)];
    assert!(
        faults.is_empty(),
        "seed {seed}: {} faults: {shown:#?}",
        faults.len()
    );
    assert!(count.acked >= least, "too little was said: {count:?}");
    println!("{count:?}, 0 lost, 0 doubled, 0 out of order");
    count
}
