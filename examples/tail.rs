//! `tail -f` for a room: its last messages, then what is said, each once and in order, also across cuts.
//!
//!     cargo run --example tail -- --room general --lines 20

#![forbid(unsafe_code)]

mod common;

use std::{convert::Infallible, io::Write as _, time::Duration};

use clap::Parser;
use common::{Entrance, Refused, Result, plain::isolated, receive, send};
use serde_json::{Value, json};

/// Prints a room's last messages, then what is said.
#[derive(Parser)]
struct Tail {
    #[command(flatten)]
    entrance: Entrance,
    /// How many old messages to begin with
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=500))]
    lines: u32,
    /// Id of the message printed last, 0 in an empty room; none before the first history.
    #[arg(skip)]
    last: Option<u64>,
    /// The log to which that id belongs.
    #[arg(skip)]
    epoch: Value,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut tail = Tail::parse();
    loop {
        let Err(error) = tail.follow().await;
        if tail.last.is_none() || error.is::<Refused>() {
            return Err(error);
        }
        // At random, so that after a restart of the server not everybody knocks at the same moment.
        let wait = Duration::from_millis(rand::random_range(100..3_000));
        eprintln!("{error}; trying again in {wait:?}");
        tokio::time::sleep(wait).await;
    }
}

impl Tail {
    /// Prints what was missed, then what comes, until the connection ends.
    async fn follow(&mut self) -> Result<Infallible> {
        let mut socket = self.entrance.enter("tail").await?;
        // Live messages wait here until the older ones are printed; `None` once they are.
        let mut early = Some(Vec::new());
        loop {
            let frame = receive(&mut socket).await?;
            let data = &frame["data"];
            match (frame["type"].as_str(), &mut early) {
                // In another log, such as a restored backup, the ids seen so far mean nothing.
                (Some("welcome"), _) if self.epoch != data["epoch"] => {
                    (self.epoch, self.last) = (data["epoch"].clone(), None);
                }
                // Joined first, read then: what is said in between comes both ways, and is printed once.
                (Some("join_ack"), _) => send(&mut socket, self.question()).await?,
                (Some("room_history"), early) => {
                    self.print(data.as_array().into_iter().flatten());
                    self.last = self.last.or(Some(0));
                    if frame["ref"] == "missed" && frame["hasMore"] == true {
                        send(&mut socket, self.question()).await?;
                    } else {
                        self.print(&early.take().unwrap_or_default());
                    }
                }
                (Some("message"), Some(early)) => early.push(data.clone()),
                (Some("message"), None) => self.print([data]),
                (Some("error"), _) => return Err(frame["message"].to_string().into()),
                _ => {}
            }
        }
    }

    /// The newest messages at first, what was missed later.
    fn question(&self) -> Value {
        let (kind, room) = ("room_history", &self.entrance.room);
        match self.last {
            None => json!({ "type": kind, "room": room, "limit": self.lines, "ref": "newest" }),
            Some(id) => json!({ "type": kind, "room": room, "after": id, "ref": "missed" }),
        }
    }

    fn print<'a>(&mut self, messages: impl IntoIterator<Item = &'a Value>) {
        for message in messages {
            let id = message["id"].as_u64();
            if id > self.last {
                self.last = id;
                let [time, name, content] = ["timestamp", "username", "content"]
                    .map(|key| isolated(message[key].as_str().unwrap_or_default()));
                if writeln!(std::io::stdout(), "{time} <{name}> {content}").is_err() {
                    // As in `tail | head`: nobody reads any more.
                    std::process::exit(0);
                }
            }
        }
    }
}
