//! Delivery over real sockets, under load, retries, cuts and restarts, judged by the oracle.
//!
//! `CHAT_FULL=1` runs the same code with the large figures.

#[path = "../common/mod.rs"]
mod common;
#[allow(
    dead_code,
    reason = "each test program uses its own part of the vocabulary"
)]
#[path = "../oracle/mod.rs"]
mod oracle;
#[allow(
    dead_code,
    reason = "each test program uses its own part of the vocabulary"
)]
#[path = "../play/mod.rs"]
mod play;

mod cursors;
mod load;
mod resumes;
mod retries;
mod scripts;

use std::time::Duration;

use common::TestServer;
use play::{
    kept::Kept,
    recorder::{Recorder, Stamps},
    stored::Shifted,
};

/// The large figure where that is asked for.
fn figure(usual: usize, full: usize) -> usize {
    if std::env::var_os("CHAT_FULL").is_some() {
        full
    } else {
        usual
    }
}

/// A server without a rate limit whose clock can be moved, and the stamps of everything that happens to it.
struct Scene {
    server: TestServer,
    clock: Shifted,
    stamps: Stamps,
}

impl Scene {
    async fn new() -> Self {
        let clock = Shifted::default();
        let in_force = clock.clock();
        let server = TestServer::with(move |config| {
            config.limits.rate_limit = 0;
            config.clock = in_force;
        });
        Self {
            server: server.await,
            clock,
            stamps: Stamps::default(),
        }
    }

    /// The same file under a new server.
    async fn restarted(self) -> Self {
        let folder = self.server.stop().await;
        let in_force = self.clock.clock();
        let server = TestServer::in_folder(folder, move |config| {
            config.limits.rate_limit = 0;
            config.clock = in_force;
        });
        Self {
            server: server.await,
            ..self
        }
    }

    fn pass(&self, time: Duration) {
        self.clock.shift(time, true);
    }

    /// A connection that has said hello.
    async fn connect(&self, user: i64) -> Recorder {
        Recorder::connect(
            self.server.address,
            user,
            self.clock.seconds(),
            &self.stamps,
        )
        .await
    }

    /// A connection that has said nothing.
    async fn silent(&self, user: i64) -> Recorder {
        Recorder::silent(
            self.server.address,
            user,
            self.clock.seconds(),
            &self.stamps,
        )
        .await
    }

    fn log(&self) -> (String, Vec<oracle::trace::Row>) {
        Kept::read_in(self.server.folder.path())
    }
}
