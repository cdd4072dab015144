//! The core over SQLite: the same sessions as in a real server, a real file, and no sockets.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering::Relaxed},
    },
    time::Duration,
};

use chat_server::{
    clock::Clock,
    metrics::Metrics,
    protocol::{Cursor, Timestamp},
    store::{
        Counters, Mode, Options,
        sqlite::{SqliteStore, WriterHandle},
    },
};

use super::{
    core::{Core, SMALL, TIMING, Wire},
    file::LogFile,
    link::{Change, Ending, World},
    script::DEVICES,
};
use crate::{common::PATIENCE, oracle::trace::Row};

/// This machine's clock, moved.
#[derive(Clone, Debug, Default)]
pub struct Shifted(Arc<AtomicI64>);

impl Shifted {
    pub fn shift(&self, by: Duration, forward: bool) {
        let ms = by.as_millis() as i64;
        self.0.fetch_add(if forward { ms } else { -ms }, Relaxed);
    }

    pub fn seconds(&self) -> i64 {
        self.clock().seconds()
    }

    pub fn clock(&self) -> Clock {
        let shifted = self.clone();
        Clock::new(move || {
            Timestamp::from_unix_ms(Timestamp::now().unix_ms() + shifted.0.load(Relaxed))
        })
    }
}

/// A core and its file.
pub struct SqliteWorld {
    file: LogFile,
    clock: Shifted,
    metrics: Arc<Metrics>,
    running: Option<(Core, WriterHandle)>,
}

impl SqliteWorld {
    pub async fn new() -> Self {
        let mut world = Self {
            file: LogFile::new(),
            clock: Shifted::default(),
            metrics: Arc::default(),
            running: None,
        };
        world.start().await;
        world
    }

    fn core(&mut self) -> &mut Core {
        &mut self.running.as_mut().expect("the server runs").0
    }

    fn options(&self) -> Options {
        Options {
            mode: Mode::Integrated,
            switch_mode: false,
            write_queue: 64,
            batch_max: 16,
            feed_batches: 16,
            readers: 2,
            patience: PATIENCE,
            wait: Duration::ZERO,
            clock: self.clock.clock(),
        }
    }
}

impl World for SqliteWorld {
    type Link = Wire;

    async fn connect(&mut self, user: i64) -> Wire {
        self.core().connect(user).await
    }

    async fn end(&mut self, ending: Ending) {
        let (core, writer) = self.running.take().expect("the server runs");
        core.end(ending).await;
        let stopped = tokio::task::spawn_blocking(|| writer.stop());
        stopped.await.unwrap();
    }

    async fn change(&mut self, change: Change) {
        self.file.change(change);
    }

    async fn start(&mut self) {
        let (path, options) = (self.file.path(), self.options());
        let opened = tokio::task::spawn_blocking(move || {
            SqliteStore::open(&path, &options, Counters::default()).unwrap()
        });
        let (store, feed, writer) = opened.await.unwrap();
        let (metrics, clock) = (self.metrics.clone(), self.clock.clock());
        let core = Core::start(Arc::new(store), feed, metrics, SMALL, TIMING, clock).await;
        core.admit(DEVICES).await;
        self.running = Some((core, writer));
    }

    async fn back_up(&mut self) {
        self.file.back_up();
    }

    fn shift_clock(&mut self, by: Duration, forward: bool) {
        self.clock.shift(by, forward);
    }

    async fn relayed(&mut self, id: i64) {
        let hub = self.core().hub.clone();
        hub.relayed(Cursor::new(id).unwrap()).await;
    }

    async fn log(&mut self) -> (String, Vec<Row>) {
        self.file.read()
    }

    fn fell_behind(&self) -> u64 {
        self.metrics.fell_behind.get()
    }
}
