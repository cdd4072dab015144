//! Members of a room that stop reading: what that costs the others and the server, and that they get the rest.
//!
//! One server, one sender at a fixed rate, three spans of time: everybody reads; some do not; everybody reads again until
//! all have everything. The first is the measure of the second.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use serde_json::json;
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval, timeout},
};

use crate::{
    scenario::{Latencies, Report, Tasks, WARM_UP, now_ns, said_hello, undisturbed},
    server::{Server, Site},
    wire::{Result, Socket, is, number_after, unexpected},
};

/// What to measure.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Slow {
    /// Members of the room
    #[arg(long, default_value_t = 50, value_name = "N")]
    readers: usize,
    /// Of which so many stop reading
    #[arg(long, default_value_t = 1, value_name = "N")]
    stalled: usize,
    /// Messages a second, of 1 KiB each
    #[arg(long, default_value_t = 500, value_name = "N")]
    rate: u64,
    /// For each of the first two spans
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
}

/// The receive buffer of those who stop reading, in bytes: what a small device has.
const STALLED_BUFFER: u32 = 4096;
/// Longer than anybody needs to catch up.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Default)]
struct Tally {
    sent: AtomicU64,
    /// Message frames received by all readers together.
    delivered: AtomicU64,
    delivery: Latencies,
}

/// Members of which some do not read, while that is told.
pub async fn slow(site: &Site, what: Slow) -> Result<Report> {
    let server = site.start(what.readers + 1).await?;
    let (tally, mut tasks) = (Arc::new(Tally::default()), Tasks::new());
    let (stall, _) = watch::channel(false);
    let token = server.token(1).await?;
    for reader in 0..what.readers {
        let stalls = (reader < what.stalled).then(|| stall.subscribe());
        let buffer = stalls.is_some().then_some(STALLED_BUFFER);
        let mut socket = Socket::open(server.address, &token, buffer).await?;
        socket
            .ask(r#"{"type":"join","room":"load","ref":0}"#, "join_ack")
            .await?;
        tasks.spawn(read(socket, tally.clone(), stalls));
    }
    let (sending, go_on) = watch::channel(true);
    let socket = said_hello(&server, &server.token(2).await?).await?;
    tasks.spawn(send(socket, what.rate, tally.clone(), go_on));

    undisturbed(&mut tasks, WARM_UP).await?;
    let span = Duration::try_from_secs_f64(what.seconds)?;
    let (calm, calm_bytes) = watched(&server, &tally, &mut tasks, span).await?;
    stall.send_replace(true);
    let (stalled, stalled_bytes) = watched(&server, &tally, &mut tasks, span).await?;
    sending.send_replace(false);
    stall.send_replace(false);
    let all_have_all = async {
        while tally.delivered.load(Relaxed) < tally.sent.load(Relaxed) * what.readers as u64 {
            undisturbed(&mut tasks, Duration::from_millis(10)).await?;
        }
        Result::Ok(())
    };
    let start_ns = now_ns();
    timeout(PATIENCE, all_have_all)
        .await
        .map_err(|_| "those who stopped reading did not get the rest")??;
    let caught_up = (now_ns() - start_ns) as f64 / 1e9;

    let ratio = stalled[1] / calm[1];
    let grown_mib = (stalled_bytes as f64 - calm_bytes as f64) / f64::from(1 << 20);
    let json = json!({
        "scenario": "slow", "readers": what.readers, "stalled": what.stalled, "rate": what.rate,
        "seconds": what.seconds, "pinned": server.pinned, "sent": tally.sent.load(Relaxed),
        "delivered": tally.delivered.load(Relaxed), "caught_up_seconds": caught_up,
        "calm_p50_us": calm[0], "calm_p99_us": calm[1],
        "stalled_p50_us": stalled[0], "stalled_p99_us": stalled[1], "p99_ratio": ratio,
        "resident_grown_mib": grown_mib,
    });
    let cells = [
        format!("{} of {} stop reading", what.stalled, what.readers),
        format!("{} messages/s", what.rate),
        format!("{grown_mib:+.1} MiB resident"),
        format!(
            "p99 of the others {:.2} → {:.2} ms",
            calm[1] / 1e3,
            stalled[1] / 1e3
        ),
        format!("all have all {caught_up:.2} s later"),
    ];
    Ok(Report { json, cells })
}

/// The latencies of a span (median and 99th percentile, microseconds), and the most memory in it, in bytes.
async fn watched(
    server: &Server,
    tally: &Tally,
    tasks: &mut Tasks,
    span: Duration,
) -> Result<([f64; 2], u64)> {
    tally.delivery.take();
    let mut most_bytes = 0;
    for _ in 0..20 {
        undisturbed(tasks, span / 20).await?;
        most_bytes = most_bytes.max(server.resident_bytes()?);
    }
    Ok((tally.delivery.take(), most_bytes))
}

/// Takes every message once and in order, but not while `stalls` says so.
async fn read(
    mut socket: Socket,
    tally: Arc<Tally>,
    mut stalls: Option<watch::Receiver<bool>>,
) -> Result<Infallible> {
    let mut last_seq = 0;
    loop {
        if let Some(stalled) = &mut stalls {
            stalled.wait_for(|&stalled| !stalled).await?;
        }
        let receive = socket.receive(|text| {
            if !is(text, "message") {
                return unexpected(text);
            }
            let seq = number_after(text, br#""seq":"#).unwrap_or_default();
            if seq != last_seq + 1 {
                return Err(format!("seq {seq} after {last_seq}").into());
            }
            last_seq = seq;
            tally.delivered.fetch_add(1, Relaxed);
            if stalls.is_none()
                && let Some(sent_ns) = number_after(text, br#""content":""#)
            {
                tally.delivery.add_since(sent_ns);
            }
            Ok(())
        });
        receive.await?;
    }
}

/// One message of 1 KiB at a time, at a fixed rate, whether or not the one before was acknowledged.
async fn send(
    mut socket: Socket,
    rate: u64,
    tally: Arc<Tally>,
    mut go_on: watch::Receiver<bool>,
) -> Result<Infallible> {
    let mut ticks = interval(Duration::from_nanos(1_000_000_000 / rate));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    loop {
        go_on.wait_for(|&go_on| go_on).await?;
        ticks.tick().await;
        let content = format!("{:020} {:.<1003}", now_ns(), "");
        socket.queue(&format!(
            r#"{{"type":"message","room":"load","content":"{content}"}}"#
        ));
        socket.flush().await?;
        tally.sent.fetch_add(1, Relaxed);
    }
}
