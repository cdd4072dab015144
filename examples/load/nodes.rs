//! Several servers over one PostgreSQL database, beside one over a file, in one run: what they store, how long it takes from
//! a client of one to the clients of another, and what each of them delivers.
//!
//!     cargo build --release --features postgres
//!     cargo run --release --example load -- nodes --db postgres://chat@127.0.0.1/load
//!
//! The database should be an empty one of its own, on the disk that is to be measured. Servers, database and client share
//! all cores: where these are few, more servers are slower, and only commits and latencies tell something.

use std::{
    convert::Infallible,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use tokio::time::{MissedTickBehavior, interval};

use crate::{
    scenario::{Tally, Tasks, WARM_UP, now_ns, read, said_hello, send, undisturbed},
    server::{Server, Site},
    wire::{Result, Socket},
};

/// What to measure.
#[derive(Clone, Debug, clap::Args)]
pub struct Nodes {
    /// The PostgreSQL database
    #[arg(long, value_name = "URL")]
    db: String,
    /// Most servers over it
    #[arg(long, default_value_t = 3, value_name = "N")]
    most: usize,
    /// For each figure
    #[arg(long, default_value_t = 8.0)]
    seconds: f64,
    /// Senders of all servers together, when as much is stored as can be
    #[arg(long, default_value_t = 48, value_name = "N")]
    senders: usize,
    /// Messages of each sender that wait for their acknowledgement at any time
    #[arg(long, default_value_t = 16, value_name = "N")]
    in_flight: usize,
    /// Messages a second, when it is measured how long they take
    #[arg(long, default_value_t = 300, value_name = "N")]
    rate: u64,
    /// At each server
    #[arg(long, default_value_t = 100, value_name = "N")]
    readers: usize,
}

const FILE: &str = "load.db";
/// Readers at each server, when it is measured how long a message takes.
const FEW: usize = 30;

/// The whole table.
pub async fn nodes(site: Site, what: Nodes) -> Result<()> {
    let site = site.shared();
    let mut rows = Vec::new();
    for servers in 0..=what.most {
        let (name, database) = match servers {
            0 => ("SQLite".to_owned(), FILE),
            n => (format!("PostgreSQL, {n}"), what.db.as_str()),
        };
        let mut cells = vec![name];
        let servers = servers.max(1);
        cells.extend(stores(&site, &what, database, servers).await?);
        cells.extend(takes(&site, &what, database, servers).await?);
        cells.extend(delivers(&site, &what, database, servers).await?);
        println!("{}", cells.join("; "));
        rows.push(cells);
    }
    println!(
        "\n| servers | messages/s | commits/s | ack p50 / p99 | {} messages/s, p50 / p99 | deliveries/s of each | of all |\n|{}",
        what.rate,
        " --- |".repeat(7)
    );
    rows.iter()
        .for_each(|row| println!("| {} |", row.join(" | ")));
    Ok(())
}

async fn start(
    site: &Site,
    database: &str,
    count: usize,
    connections: usize,
) -> Result<Vec<Server>> {
    let mut servers = Vec::new();
    for _ in 0..count {
        servers.push(site.start_over(database, connections).await?);
    }
    Ok(servers)
}

async fn member(server: &Server, token: &str) -> Result<Socket> {
    let mut socket = said_hello(server, token).await?;
    let join = r#"{"type":"join","room":"load","ref":0}"#;
    socket.ask(join, "join_ack").await?;
    Ok(socket)
}

/// As much as they can store, for senders who wait.
async fn stores(site: &Site, what: &Nodes, database: &str, count: usize) -> Result<[String; 3]> {
    let servers = start(site, database, count, what.senders).await?;
    let (tally, mut tasks) = (Arc::new(Tally::default()), Tasks::new());
    for sender in 0..what.senders {
        let server = &servers[sender % count];
        let socket = said_hello(server, &server.token(sender + 1).await?).await?;
        tasks.spawn(send(socket, what.in_flight, tally.clone()));
    }
    undisturbed(&mut tasks, WARM_UP).await?;
    let before = stored(&servers).await?;
    tally.clear_latencies();
    let start_ns = now_ns();
    undisturbed(&mut tasks, Duration::try_from_secs_f64(what.seconds)?).await?;
    let after = stored(&servers).await?;
    let seconds = (now_ns() - start_ns) as f64 / 1e9;
    let rate = |before: u64, after: u64| format!("{:.0}", (after - before) as f64 / seconds);
    let [p50, p99] = tally.ack.take();
    Ok([
        rate(before.0, after.0),
        rate(before.1, after.1),
        format!("{:.1} / {:.1} ms", p50 / 1e3, p99 / 1e3),
    ])
}

/// Messages and commits of all of them.
async fn stored(servers: &[Server]) -> Result<(u64, u64)> {
    let mut all = (0, 0);
    for server in servers {
        let (messages, commits) = server.stored_and_commits().await?;
        all = (all.0 + messages, all.1 + commits);
    }
    Ok(all)
}

/// How long a message takes from a client of the first server to those of the others; or of the same, if it is alone.
async fn takes(site: &Site, what: &Nodes, database: &str, count: usize) -> Result<[String; 1]> {
    let servers = start(site, database, count, FEW + 1).await?;
    let (tally, mut tasks) = (Arc::new(Tally::default()), Tasks::new());
    let token = servers[0].token(1).await?;
    for (number, server) in servers.iter().enumerate() {
        for _ in 0..FEW {
            let sampled = number > 0 || count == 1;
            tasks.spawn(read(member(server, &token).await?, tally.clone(), sampled));
        }
    }
    let socket = said_hello(&servers[0], &servers[0].token(2).await?).await?;
    tasks.spawn(pace(socket, what.rate));
    undisturbed(&mut tasks, WARM_UP).await?;
    tally.clear_latencies();
    undisturbed(&mut tasks, Duration::try_from_secs_f64(what.seconds)?).await?;
    let [p50, p99] = tally.delivery.take();
    Ok([format!("{:.1} / {:.1} ms", p50 / 1e3, p99 / 1e3)])
}

/// What one sender's messages become with many readers at each server.
async fn delivers(site: &Site, what: &Nodes, database: &str, count: usize) -> Result<[String; 2]> {
    let servers = start(site, database, count, what.readers + 1).await?;
    let (tally, mut tasks) = (Arc::new(Tally::default()), Tasks::new());
    let token = servers[0].token(1).await?;
    for server in &servers {
        for _ in 0..what.readers {
            tasks.spawn(read(member(server, &token).await?, tally.clone(), false));
        }
    }
    let socket = said_hello(&servers[0], &servers[0].token(2).await?).await?;
    tasks.spawn(send(socket, what.in_flight, tally.clone()));
    undisturbed(&mut tasks, WARM_UP).await?;
    let (before, start_ns) = (tally.delivered.load(Relaxed), now_ns());
    undisturbed(&mut tasks, Duration::try_from_secs_f64(what.seconds)?).await?;
    let delivered = (tally.delivered.load(Relaxed) - before) as f64;
    let rate = delivered / ((now_ns() - start_ns) as f64 / 1e9);
    Ok([format!("{:.0}", rate / count as f64), format!("{rate:.0}")])
}

/// Sends so many messages of 100 bytes a second, whether or not they are answered. Each begins with when it was sent.
async fn pace(mut socket: Socket, rate: u64) -> Result<Infallible> {
    let mut ticks = interval(Duration::from_nanos(1_000_000_000 / rate));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    loop {
        ticks.tick().await;
        let content = format!("{:020} {:.<79}", now_ns(), "");
        socket.queue(&format!(
            r#"{{"type":"message","room":"load","content":"{content}"}}"#
        ));
        socket.flush().await?;
    }
}
