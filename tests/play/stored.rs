//! The core over a store that keeps: the same sessions as in a real server, a real file or database, and no sockets.

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
    store::{self, Counters, Mode, Options},
};

use super::{
    core::{Core, SMALL, TIMING, Wire},
    kept::Kept,
    link::{Change, Ending, World},
    script::DEVICES,
};
use crate::{common::PATIENCE, oracle::trace::Row};

/// This machine's clock, moved; or one that stands but for that.
#[derive(Clone, Debug, Default)]
pub struct Shifted {
    by_ms: Arc<AtomicI64>,
    stands_at_ms: Option<i64>,
}

impl Shifted {
    /// The same time for whoever asks, until it is moved: at first the middle of January 2026.
    pub fn standing() -> Self {
        Self {
            by_ms: Arc::default(),
            stands_at_ms: Some(1_768_435_200_000),
        }
    }

    pub fn shift(&self, by: Duration, forward: bool) {
        let ms = by.as_millis() as i64;
        self.by_ms
            .fetch_add(if forward { ms } else { -ms }, Relaxed);
    }

    pub fn seconds(&self) -> i64 {
        self.clock().seconds()
    }

    pub fn clock(&self) -> Clock {
        let shifted = self.clone();
        Clock::new(move || {
            let unmoved = shifted.stands_at_ms;
            let unmoved = unmoved.unwrap_or_else(|| Timestamp::now().unix_ms());
            Timestamp::from_unix_ms(unmoved + shifted.by_ms.load(Relaxed))
        })
    }
}

/// A core and what it keeps its log in.
pub struct StoredWorld {
    kept: Kept,
    clock: Shifted,
    metrics: Arc<Metrics>,
    running: Option<(Core, store::Ending)>,
}

impl StoredWorld {
    pub async fn new(kept: Kept) -> Self {
        Self::at(Shifted::default(), kept).await
    }

    pub async fn at(clock: Shifted, kept: Kept) -> Self {
        let mut world = Self {
            kept,
            clock,
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

impl World for StoredWorld {
    type Link = Wire;

    async fn connect(&mut self, user: i64) -> Wire {
        self.core().connect(user).await
    }

    async fn end(&mut self, ending: Ending) {
        let (core, writer) = self.running.take().expect("the server runs");
        core.end(ending).await;
        assert!(writer.stop().await, "the log did not close in order");
    }

    async fn change(&mut self, change: Change) {
        self.kept.change(change);
    }

    async fn start(&mut self) {
        let (location, options) = (self.kept.location(), self.options());
        let opened = store::open(&location, &options, Counters::default()).await;
        let opened = opened.unwrap();
        let (store, feed) = (opened.store, opened.feed);
        let (metrics, clock) = (self.metrics.clone(), self.clock.clock());
        let core = Core::start(store, feed, metrics, SMALL, TIMING, clock).await;
        core.admit(DEVICES).await;
        self.running = Some((core, opened.ending));
    }

    async fn back_up(&mut self) {
        self.kept.back_up();
    }

    fn shift_clock(&mut self, by: Duration, forward: bool) {
        self.clock.shift(by, forward);
    }

    async fn relayed(&mut self, id: i64) {
        let hub = self.core().hub.clone();
        hub.relayed(Cursor::new(id).unwrap()).await;
    }

    async fn log(&mut self) -> (String, Vec<Row>) {
        self.kept.read()
    }

    fn fell_behind(&self) -> u64 {
        self.metrics.fell_behind.get()
    }
}
