//! The core over PostgreSQL: what `sqlite.rs` is over a file.

use std::{sync::Arc, time::Duration};

use chat_server::{
    metrics::Metrics,
    protocol::Cursor,
    store::{
        postgres::{Options, PgStore, WriterHandle},
        sqlite::{Counters, Mode},
    },
};

use super::{
    core::{Core, SMALL, TIMING, Wire},
    link::{Change, Ending, World},
    script::DEVICES,
    sqlite::Shifted,
    tables::LogTables,
};
use crate::{common::PATIENCE, oracle::trace::Row};

/// A core and its database.
pub struct PostgresWorld {
    tables: LogTables,
    clock: Shifted,
    metrics: Arc<Metrics>,
    running: Option<(Core, WriterHandle)>,
}

impl PostgresWorld {
    pub async fn new() -> Self {
        Self::at(Shifted::default()).await
    }

    pub async fn at(clock: Shifted) -> Self {
        let mut world = Self {
            tables: LogTables::new(),
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
            url: self.tables.url(),
            mode: Mode::Integrated,
            switch_mode: false,
            write_queue: 64,
            batch_max: 16,
            feed_batches: 16,
            readers: 2,
            patience: PATIENCE,
            clock: self.clock.clock(),
        }
    }
}

impl World for PostgresWorld {
    type Link = Wire;

    async fn connect(&mut self, user: i64) -> Wire {
        self.core().connect(user).await
    }

    async fn end(&mut self, ending: Ending) {
        let (core, writer) = self.running.take().expect("the server runs");
        core.end(ending).await;
        writer.stop().await;
    }

    async fn change(&mut self, change: Change) {
        self.tables.change(change);
    }

    async fn start(&mut self) {
        let opened = PgStore::open(&self.options(), Counters::default()).await;
        let (store, feed, writer) = opened.unwrap();
        let (metrics, clock) = (self.metrics.clone(), self.clock.clock());
        let core = Core::start(Arc::new(store), feed, metrics, SMALL, TIMING, clock).await;
        core.admit(DEVICES).await;
        self.running = Some((core, writer));
    }

    async fn back_up(&mut self) {
        self.tables.back_up();
    }

    fn shift_clock(&mut self, by: Duration, forward: bool) {
        self.clock.shift(by, forward);
    }

    async fn relayed(&mut self, id: i64) {
        let hub = self.core().hub.clone();
        hub.relayed(Cursor::new(id).unwrap()).await;
    }

    async fn log(&mut self) -> (String, Vec<Row>) {
        self.tables.read()
    }

    fn fell_behind(&self) -> u64 {
        self.metrics.fell_behind.get()
    }
}
