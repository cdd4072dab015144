//! The scenarios. All are closed loops: a sender sends again once a message was acknowledged, so that nothing piles up
//! and no rate has to be chosen.

use std::{
    array::from_fn,
    convert::Infallible,
    sync::{
        Arc, LazyLock, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    server::{CpuClock, Server, Site},
    wire::{Result, Socket, is, number_after, unexpected},
};

/// For caches, the WAL and the windows of TCP to reach their usual sizes.
pub const WARM_UP: Duration = Duration::from_millis(500);
/// For what connecting needed to be given back.
const SETTLE: Duration = Duration::from_secs(3);
/// As many readers look at the time in each message; the others only count.
const SAMPLED_READERS: usize = 16;

/// What a scenario found: everything, and the cells of a table.
pub struct Report {
    pub json: Value,
    pub cells: [String; 5],
}

pub const HEADINGS: [&str; 5] = ["scenario", "rate", "server", "p50 / p99", "load"];

/// Senders and readers, none of which ends but by a failure.
pub type Tasks = JoinSet<Result<Infallible>>;

/// What they count together.
#[derive(Default)]
pub struct Tally {
    pub delivered: AtomicU64,
    pub acknowledged: AtomicU64,
    pub delivery: Latencies,
    pub ack: Latencies,
}

impl Tally {
    pub fn clear_latencies(&self) {
        self.delivery.take();
        self.ack.take();
    }
}

/// In microseconds.
#[derive(Default)]
pub struct Latencies(Mutex<Vec<u32>>);

impl Latencies {
    pub fn add_since(&self, start_ns: u64) {
        let us = now_ns().saturating_sub(start_ns) / 1000;
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(us.try_into().unwrap_or(u32::MAX));
    }

    /// Median and 99th percentile of what was added since the last time; zeros when nothing was.
    pub fn take(&self) -> [f64; 2] {
        let mut all = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        all.sort_unstable();
        [50, 99].map(|percent| {
            all.get(all.len() * percent / 100)
                .copied()
                .unwrap_or(0)
                .into()
        })
    }
}

/// Time since the first call.
pub fn now_ns() -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    u64::try_from(START.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// Counts what comes from a room that was joined.
pub async fn read(mut socket: Socket, tally: Arc<Tally>, sampled: bool) -> Result<Infallible> {
    loop {
        let receive = socket.receive(|text| {
            if !is(text, "message") {
                return unexpected(text);
            }
            tally.delivered.fetch_add(1, Relaxed);
            if sampled && let Some(sent_ns) = number_after(text, br#""content":""#) {
                tally.delivery.add_since(sent_ns);
            }
            Ok(())
        });
        receive.await?;
    }
}

/// Keeps so many messages of 100 bytes in flight. Their content and their `ref` both begin with when they were sent.
pub async fn send(mut socket: Socket, in_flight: usize, tally: Arc<Tally>) -> Result<Infallible> {
    let mut free = in_flight;
    loop {
        for _ in 0..std::mem::take(&mut free) {
            let now = now_ns();
            let content = format!("{now:020} {:.<79}", "");
            socket.queue(&format!(
                r#"{{"type":"message","room":"load","content":"{content}","ref":{now}}}"#
            ));
        }
        socket.flush().await?;
        let receive = socket.receive(|text| {
            let sent_ns = number_after(text, br#""ref":"#).filter(|_| is(text, "message_sent"));
            let Some(sent_ns) = sent_ns else {
                return unexpected(text);
            };
            tally.acknowledged.fetch_add(1, Relaxed);
            tally.ack.add_since(sent_ns);
            free += 1;
            Ok(())
        });
        receive.await?;
    }
}

/// One sender, which has not joined, and readers of its room.
pub async fn fanout(site: &Site, readers: usize, in_flight: usize, seconds: f64) -> Result<Report> {
    let server = site.start(readers + 1).await?;
    let (tally, mut tasks) = (Arc::new(Tally::default()), Tasks::new());
    let token = server.token(1).await?;
    for reader in 0..readers {
        let mut socket = said_hello(&server, &token).await?;
        socket
            .ask(r#"{"type":"join","room":"load","ref":0}"#, "join_ack")
            .await?;
        let sampled = reader % readers.div_ceil(SAMPLED_READERS) == 0;
        tasks.spawn(read(socket, tally.clone(), sampled));
    }
    let socket = said_hello(&server, &server.token(2).await?).await?;
    tasks.spawn(send(socket, in_flight, tally.clone()));
    let name = format!("{readers} readers, {in_flight} in flight");
    let setting = json!({ "scenario": "fanout", "readers": readers, "in_flight": in_flight });
    measure(&server, &tally, tasks, seconds, name, setting).await
}

/// Senders of different users, and nobody who reads.
pub async fn durable(
    site: &Site,
    senders: usize,
    in_flight: usize,
    seconds: f64,
) -> Result<Report> {
    let server = site.start(senders).await?;
    let (tally, mut tasks) = (Arc::new(Tally::default()), Tasks::new());
    for sender in 1..=senders {
        let socket = said_hello(&server, &server.token(sender).await?).await?;
        tasks.spawn(send(socket, in_flight, tally.clone()));
    }
    let name = format!("{senders} senders, {in_flight} in flight each");
    let setting = json!({ "scenario": "durable", "senders": senders, "in_flight": in_flight });
    measure(&server, &tally, tasks, seconds, name, setting).await
}

/// Connections that said hello and nothing since.
pub async fn idle(site: &Site, connections: usize) -> Result<Report> {
    let server = site.start(connections + 1).await?;
    let token = server.token(1).await?;
    // The first one pays for what all share.
    let mut sockets = vec![said_hello(&server, &token).await?];
    let before = server.resident_bytes()?;
    let mut clock = server.cpu_clock()?;
    let (start, start_ns) = (Instant::now(), clock.read_ns()?);
    for _ in 0..connections {
        sockets.push(said_hello(&server, &token).await?);
    }
    let (time, cpu_ns) = (start.elapsed(), clock.read_ns()? - start_ns);
    sleep(SETTLE).await;
    let bytes = server.resident_bytes()?.saturating_sub(before) as f64 / connections as f64;
    let per_second = connections as f64 / time.as_secs_f64();
    let open_us = cpu_ns as f64 / 1e3 / connections as f64;
    let json = json!({
        "scenario": "idle", "connections": connections, "pinned": server.pinned,
        "resident_bytes_per_connection": bytes.round(),
        "connections_per_second": per_second.round(),
        "server_cpu_us_per_connection": open_us.round(),
    });
    let name = format!("{connections} idle connections");
    let (rate, cost) = (
        format!("{per_second:.0} opened/s"),
        format!("{bytes:.0} bytes each"),
    );
    let load = format!("{open_us:.0} µs to open");
    Ok(Report {
        json,
        cells: [name, rate, cost, "–".into(), load],
    })
}

/// A new connection whose first request was answered.
pub async fn said_hello(server: &Server, token: &str) -> Result<Socket> {
    let open = async {
        let mut socket = Socket::open(server.address, token, None).await?;
        socket.ask(r#"{"type":"hello","ref":0}"#, "welcome").await?;
        Ok(socket)
    };
    timeout(Duration::from_secs(10), open).await?
}

/// Lets the tasks work, and says what happened in that time.
async fn measure(
    server: &Server,
    tally: &Tally,
    mut tasks: Tasks,
    seconds: f64,
    name: String,
    mut json: Value,
) -> Result<Report> {
    let mut clocks = [server.cpu_clock()?, CpuClock::of("self")];
    undisturbed(&mut tasks, WARM_UP).await?;
    let before = sample(server, tally, &mut clocks).await?;
    tally.clear_latencies();
    undisturbed(&mut tasks, Duration::try_from_secs_f64(seconds)?).await?;
    let after = sample(server, tally, &mut clocks).await?;
    let grown = from_fn(|at| after[at].saturating_sub(before[at]) as f64);
    json["pinned"] = server.pinned.into();
    Ok(report(
        name,
        json,
        grown,
        tally.ack.take(),
        tally.delivery.take(),
    ))
}

/// `grown`: the [`sample`]s' difference.
fn report(
    name: String,
    mut json: Value,
    grown: [f64; 7],
    ack: [f64; 2],
    delivery: [f64; 2],
) -> Report {
    let [
        ns,
        delivered,
        acknowledged,
        stored,
        commits,
        server_ns,
        client_ns,
    ] = grown;
    let (seconds, server_us) = (ns / 1e9, server_ns / 1e3);
    let (server_share, client_share) = (server_ns / ns, client_ns / ns);
    let batch = stored / commits;
    let figures = [
        ("seconds", seconds),
        ("messages_per_second", acknowledged / seconds),
        ("messages_per_commit", batch),
        ("deliveries_per_second", delivered / seconds),
        ("server_cpu_us_per_message", server_us / acknowledged),
        ("server_cpu_us_per_delivery", server_us / delivered),
        ("server_cpu_share", server_share),
        ("client_cpu_share", client_share),
        ("ack_p50_us", ack[0]),
        ("ack_p99_us", ack[1]),
        ("delivery_p50_us", delivery[0]),
        ("delivery_p99_us", delivery[1]),
    ];
    for (key, value) in figures {
        // Without deliveries a figure for each of them is infinite: null.
        json[key] = ((value * 1000.0).round() / 1000.0).into();
    }
    // What it is about: deliveries, where somebody reads.
    let (unit, units, count, [p50, p99]) = match delivered > 0.0 {
        true => ("delivery", "deliveries", delivered, delivery),
        false => ("message", "messages", acknowledged, ack),
    };
    let load = format!(
        "server {:.0} %, client {:.0} %, {batch:.1} messages per commit",
        server_share * 100.0,
        client_share * 100.0
    );
    let rate = format!("{:.0} {units}/s", count / seconds);
    let cost = format!("{:.2} µs CPU per {unit}", server_us / count);
    let latency = format!("{:.2} / {:.2} ms", p50 / 1e3, p99 / 1e3);
    Report {
        json,
        cells: [name, rate, cost, latency, load],
    }
}

pub async fn undisturbed(tasks: &mut Tasks, time: Duration) -> Result<()> {
    tokio::select! {
        () = sleep(time) => Ok(()),
        Some(ended) = tasks.join_next() => ended?.map(|never| match never {}),
    }
}

/// Everything that grows. What the server must be asked for comes first, since that takes a while.
async fn sample(server: &Server, tally: &Tally, clocks: &mut [CpuClock; 2]) -> Result<[u64; 7]> {
    let (stored, commits) = server.stored_and_commits().await?;
    let [delivered, acked] =
        [&tally.delivered, &tally.acknowledged].map(|count| count.load(Relaxed));
    let [server_clock, own_clock] = clocks;
    let (server_ns, client_ns) = (server_clock.read_ns()?, own_clock.read_ns()?);
    Ok([
        now_ns(),
        delivered,
        acked,
        stored,
        commits,
        server_ns,
        client_ns,
    ])
}
