//! The core over the log in memory: one thread, a clock that stands, and a disk that does what it is told.

use std::{sync::Arc, time::Duration};

use chat_server::{
    metrics::Metrics,
    protocol::{Cursor, Message, Place},
};

use super::{
    core::{Core, SMALL, Sizes, TIMING, Wall, Wire},
    link::{Change, Ending, Fault, World},
    script::DEVICES,
};
use crate::{
    common::memory::{Backup, Disk, MemoryStore, MemoryWriter},
    oracle::trace::{Row, Where},
};

/// A core, its disk, and the means to end both.
pub struct MemoryWorld {
    disk: Disk,
    wall: Wall,
    metrics: Arc<Metrics>,
    sizes: Sizes,
    running: Option<(Core, MemoryWriter)>,
    backup: Backup,
    logs: u32,
}

impl MemoryWorld {
    /// A new log; `seed` decides who has the turn when.
    pub async fn new(seed: u64) -> Self {
        let disk = Disk::named("log 0", seed);
        let mut world = Self {
            backup: disk.backup(),
            disk,
            wall: Wall::new(),
            metrics: Arc::default(),
            sizes: SMALL,
            running: None,
            logs: 0,
        };
        world.start().await;
        world
    }

    /// What time it is on its wall, in Unix seconds.
    pub fn seconds(&self) -> i64 {
        self.wall.clock().seconds()
    }

    /// A connection whose token ends at `expiry`.
    pub async fn connect_until(&mut self, user: i64, expiry: i64) -> Wire {
        self.core().connect_until(user, expiry).await
    }

    /// The next reads fail, as from a store that is too busy.
    pub fn refuse_reads(&self, reads: usize) {
        self.disk.refuse_reads(reads);
    }

    pub fn refusals_left(&self) -> usize {
        self.disk.refusals_left()
    }

    fn core(&mut self) -> &mut Core {
        &mut self.running.as_mut().expect("the server runs").0
    }
}

impl World for MemoryWorld {
    type Link = Wire;

    async fn connect(&mut self, user: i64) -> Wire {
        self.core().connect(user).await
    }

    async fn end(&mut self, ending: Ending) {
        let (core, writer) = self.running.take().expect("the server runs");
        match ending {
            Ending::Stop => {
                // A disk that is stuck would hold up the end for ever.
                self.disk.hold(false);
                core.end(ending).await;
                writer.stop().await;
            }
            Ending::Crash => {
                core.end(ending).await;
                writer.crash().await;
            }
        }
    }

    async fn change(&mut self, change: Change) {
        self.logs += u32::from(change != Change::Keep);
        let name = format!("log {}", self.logs);
        match change {
            Change::Keep => {}
            Change::Wipe => self.disk.restore(&Disk::default().backup(), &name),
            Change::Restore => self.disk.restore(&self.backup, &name),
        }
    }

    async fn start(&mut self) {
        let faults = self.disk.mend();
        let clock = self.wall.clock();
        let (store, feed, writer) = MemoryStore::open(&self.disk, clock.clone());
        let (store, metrics) = (Arc::new(store), self.metrics.clone());
        let core = Core::start(store, feed, metrics, self.sizes, TIMING, clock).await;
        core.admit(DEVICES).await;
        self.disk.set(faults);
        self.running = Some((core, writer));
    }

    async fn back_up(&mut self) {
        self.backup = self.disk.backup();
    }

    fn fault(&mut self, fault: Fault) -> bool {
        match fault {
            Fault::Full(is_full) => self.disk.fill(is_full),
            Fault::Held(is_held) => self.disk.hold(is_held),
            Fault::Uncertain(is_stored) => self.disk.lose_an_outcome(is_stored),
        }
        true
    }

    fn mend(&mut self) {
        self.disk.mend();
    }

    fn shift_clock(&mut self, by: Duration, forward: bool) {
        self.wall.shift(by, forward);
    }

    async fn pass(&mut self, time: Duration) {
        tokio::time::advance(time).await;
    }

    async fn relayed(&mut self, id: i64) {
        let hub = self.core().hub.clone();
        hub.relayed(Cursor::new(id).unwrap()).await;
    }

    async fn log(&mut self) -> (String, Vec<Row>) {
        let rows = self.disk.messages().iter().map(row).collect();
        (self.disk.epoch(), rows)
    }

    fn patience(&self) -> Duration {
        // Of a clock that stands unless nobody has anything to do.
        Duration::from_secs(5)
    }

    fn fell_behind(&self) -> u64 {
        self.metrics.fell_behind.get()
    }
}

/// A stored message, as the oracle sees it.
pub fn row(message: &Message) -> Row {
    Row {
        id: message.id.get(),
        seq: message.seq,
        from: message.from.get(),
        username: message.username.as_str().into(),
        place: match &message.place {
            Place::Room(room) => Where::Room(room.as_str().into()),
            Place::Dm(to) => Where::Dm(to.get()),
        },
        content: message.content.as_str().into(),
        timestamp: message.timestamp.to_string(),
        nonce: message.nonce.as_ref().map(|nonce| nonce.as_str().into()),
    }
}
