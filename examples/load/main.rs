//! What a chat-server costs, measured from outside: how many messages it stores and delivers, and the CPU time and
//! memory of the server that each of them takes.
//!
//!     cargo build --release
//!     cargo run --release --example load -- fanout --readers 1000 --in-flight 16
//!
//! It starts the server itself, on one core, and keeps to another. CPU time per message is the figure to compare; it
//! moves less than the rates when something else runs beside it, but it does move, since a server that is held up
//! batches differently: compare runs on a quiet machine only. Where the client is busier than the server, the rates are
//! the client's. Each scenario prints a line of JSON with all its figures, then one to read.

#![forbid(unsafe_code)]

mod nodes;
mod scenario;
mod server;
mod slow;
mod wire;

use clap::{Parser, Subcommand};
use nodes::{Nodes, nodes};
use scenario::{HEADINGS, Report, durable, fanout, idle};
use server::Site;
use slow::{Slow, slow};
use wire::Result;

#[derive(Parser)]
#[command(about = "Measures a chat-server")]
struct Args {
    #[command(flatten)]
    site: Site,
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(Subcommand)]
enum Scenario {
    /// One sender, and many readers of its room
    Fanout {
        #[arg(long, default_value_t = 1000, value_name = "N")]
        readers: usize,
        /// Messages that wait for their acknowledgement at any time
        #[arg(long, default_value_t = 16, value_name = "N")]
        in_flight: usize,
        #[arg(long, default_value_t = 8.0)]
        seconds: f64,
    },
    /// Senders and no readers: messages stored
    Durable {
        #[arg(long, default_value_t = 1, value_name = "N")]
        senders: usize,
        /// Messages of each sender that wait for their acknowledgement at any time
        #[arg(long, default_value_t = 64, value_name = "N")]
        in_flight: usize,
        #[arg(long, default_value_t = 8.0)]
        seconds: f64,
    },
    /// Connections that said hello and no more: memory
    Idle {
        #[arg(long, default_value_t = 5000, value_name = "N")]
        connections: usize,
    },
    /// Members of a room that stop reading: what the others and the server's memory feel of it
    Slow(Slow),
    /// One file, and one PostgreSQL database under one, two and three servers, in one run: a Markdown table
    Nodes(Nodes),
    /// Seven of these, and a Markdown table
    All {
        /// For each of them
        #[arg(long, default_value_t = 8.0)]
        seconds: f64,
    },
}

// One thread: it shares its core with nobody, and its readers share their counters without contention.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let Args { site, scenario } = Args::parse();
    match scenario {
        Scenario::Fanout {
            readers,
            in_flight,
            seconds,
        } => show(fanout(&site, readers, in_flight, seconds).await?),
        Scenario::Durable {
            senders,
            in_flight,
            seconds,
        } => show(durable(&site, senders, in_flight, seconds).await?),
        Scenario::Slow(what) => show(slow(&site, what).await?),
        Scenario::Idle { connections } => show(idle(&site, connections).await?),
        Scenario::Nodes(what) => return nodes(site, what).await,
        Scenario::All { seconds } => return all(&site, seconds).await,
    };
    Ok(())
}

async fn all(site: &Site, seconds: f64) -> Result<()> {
    let mut rows = Vec::new();
    for (readers, in_flight) in [(100, 1), (100, 16), (1000, 1), (1000, 16)] {
        rows.push(show(fanout(site, readers, in_flight, seconds).await?));
    }
    for (senders, in_flight) in [(1, 64), (50, 1)] {
        rows.push(show(durable(site, senders, in_flight, seconds).await?));
    }
    rows.push(show(idle(site, 5000).await?));
    println!(
        "\n| {} |\n|{}",
        HEADINGS.join(" | "),
        " --- |".repeat(HEADINGS.len())
    );
    for row in rows {
        println!("| {} |", row.join(" | "));
    }
    Ok(())
}

/// Prints a report; its cells are for the table.
fn show(report: Report) -> [String; 5] {
    println!("{}", report.json);
    println!("{}", report.cells.join("; "));
    report.cells
}
