//! A connection as its client has it, and the world behind it, at whatever level: the one place where levels differ.

use std::time::Duration;

use crate::{common::PATIENCE, oracle::trace::Row};

/// What a connection can do.
pub trait Link {
    /// Sends a text frame; nothing happens when the other side is gone.
    async fn say(&mut self, text: String);

    /// The next text frame, or the end. May be dropped half-way without losing anything.
    async fn next(&mut self) -> Heard;
}

/// What comes out of a connection.
#[derive(Clone, Debug, PartialEq)]
pub enum Heard {
    Frame(String),
    /// Ended by the other side, with this code if there was one.
    Closed(Option<u16>),
}

/// How a server ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Ending {
    /// In order: what was taken is stored and acknowledged, connections are closed with 1001.
    Stop,
    /// At once: what was not durable is gone.
    Crash,
}

/// What becomes of the log while the server is down.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Change {
    /// Nothing: it goes on.
    Keep,
    /// It is deleted, and another one begins.
    Wipe,
    /// It is what it was at the last backup, under another name.
    Restore,
}

/// What can be wrong with the disk.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    Full(bool),
    /// Commits are stuck until they no longer are.
    Held(bool),
    /// The outcome of the next commit is not known; whether it is stored.
    Uncertain(bool),
}

/// A server with its log, which a script can do anything to. What not every level can do is nothing unless it says so.
pub trait World {
    type Link: Link;

    /// Opens a connection of `user`.
    async fn connect(&mut self, user: i64) -> Self::Link;

    /// Ends the server. Connections that it had end sooner or later.
    async fn end(&mut self, ending: Ending);

    /// Changes the log, while the server is down.
    async fn change(&mut self, change: Change);

    /// Starts the server again.
    async fn start(&mut self);

    /// Remembers the log as it is now.
    async fn back_up(&mut self);

    /// Whether this level can do that to its disk, and has.
    fn fault(&mut self, _: Fault) -> bool {
        false
    }

    /// Nothing is wrong with the disk any more.
    fn mend(&mut self) {}

    /// Moves the wall clock, where it can be moved.
    fn shift_clock(&mut self, _by: Duration, _forward: bool) {}

    /// Lets time go by, where it can be let.
    async fn pass(&mut self, _: Duration) {}

    /// Gives everybody else `turns` turns.
    async fn turns(&mut self, turns: u8) {
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
    }

    /// Resolves once everything up to `id` has been queued to everybody who should have it.
    async fn relayed(&mut self, id: i64);

    /// The name of the log and all that is in it, by id; also while the server is down.
    async fn log(&mut self) -> (String, Vec<Row>);

    /// Longer than anything takes.
    fn patience(&self) -> Duration {
        PATIENCE
    }

    /// How often a reader fell behind, since the beginning, where it can be told.
    fn fell_behind(&self) -> u64 {
        0
    }
}
