//! The loop that accepts connections, within their limit.
//!
//! axum's own has no time limit for a request's head and no limit on connections, and forgets upgraded ones when it stops.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{Extension, Router};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    config::{Limits, SPARE_FILES},
    http::Peer,
    metrics::Metrics,
};

/// What the accepting loop needs.
pub(super) struct Door {
    router: Router,
    slots: Arc<Semaphore>,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
    tasks: TaskTracker,
    header_timeout: Duration,
}

/// After a failed accept: long enough not to spin, short enough not to be noticed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

impl Door {
    pub(super) fn new(
        router: Router,
        limits: &Limits,
        metrics: Arc<Metrics>,
        stop: CancellationToken,
        tasks: TaskTracker,
    ) -> Self {
        let slots = connection_slots(limits.max_connections) as usize;
        let header_timeout = Duration::from_secs(limits.header_seconds);
        let slots = Arc::new(Semaphore::new(slots));
        Self {
            router,
            slots,
            metrics,
            stop,
            tasks,
            header_timeout,
        }
    }

    pub(super) async fn accept(self, listener: TcpListener) {
        loop {
            let accepted = tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, address)) => self.welcome(stream, address),
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn welcome(&self, stream: TcpStream, address: SocketAddr) {
        let Ok(slot) = self.slots.clone().try_acquire_owned() else {
            self.metrics.connections_refused.inc();
            tracing::warn!(%address, "a connection was refused: --max-connections is reached");
            self.tasks.spawn(turn_away(stream));
            return;
        };
        tracing::info!(%address, "🔌 Connexion TCP entrante");
        // A chat's frames are small and must not wait for one another; a socket that cannot be told so still works.
        let _ = stream.set_nodelay(true);
        self.tasks.spawn(self.serve(stream, address, slot));
    }

    fn serve(
        &self,
        stream: TcpStream,
        address: SocketAddr,
        slot: OwnedSemaphorePermit,
    ) -> impl Future<Output = ()> + use<> {
        let cut = CancellationToken::new();
        let peer = Peer {
            address,
            slot: Arc::new(slot),
            cut: cut.clone(),
        };
        let service = TowerToHyperService::new(self.router.clone().layer(Extension(peer)));
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.header_timeout)
            .max_buf_size(HEAD_MAX_BYTES)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        let stop = self.stop.clone();
        async move {
            tokio::pin!(connection);
            // An upgraded connection is done here; for the others this bounds how long a peer that reads nothing stays.
            let result = tokio::select! {
                result = &mut connection => Some(result),
                () = cut.cancelled() => None,
                () = either(stop.cancelled(), sleep(HTTP_LIFE)) => {
                    connection.as_mut().graceful_shutdown();
                    tokio::select! {
                        result = timeout(HTTP_LAST_ANSWER, connection) => result.ok(),
                        () = cut.cancelled() => None,
                    }
                }
            };
            match result {
                Some(Ok(())) => {}
                Some(Err(error)) => {
                    tracing::debug!(%address, %error, "an HTTP connection broke off")
                }
                None => tracing::debug!(%address, "an HTTP connection was cut"),
            }
        }
    }
}

async fn either(one: impl Future<Output = ()>, other: impl Future<Output = ()>) {
    tokio::select! {
        () = one => {}
        () = other => {}
    }
}

/// After so long a plain HTTP connection takes no further request; browsers open another without a word.
const HTTP_LIFE: Duration = Duration::from_secs(60);
/// And after so long more it is cut, answered or not: a send that waits for a slow disk has had its chance by then.
const HTTP_LAST_ANSWER: Duration = Duration::from_secs(60);
/// Longest head of a request, in bytes: a token of 8 KiB in three places, and what browsers add.
const HEAD_MAX_BYTES: usize = 64 * 1024;

/// Says why, in the fewest bytes, and when to come back.
async fn turn_away(mut stream: TcpStream) {
    const ANSWER: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    // Whoever does not read this loses nothing by it.
    let _ = timeout(Duration::from_secs(1), stream.write_all(ANSWER)).await;
}

/// As many connections as are asked for, or as many as the system's limit on open files leaves room for.
fn connection_slots(wanted: u32) -> u32 {
    let needed = u64::from(wanted) + u64::from(SPARE_FILES);
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < needed) {
        limit.current = Some(limit.maximum.map_or(needed, |hard| hard.min(needed)));
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::warn!(%error, "the limit on open files could not be raised");
        }
    }
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    if files >= needed {
        return wanted;
    }
    let slots = u32::try_from(files)
        .unwrap_or(u32::MAX)
        .saturating_sub(SPARE_FILES)
        .max(1);
    tracing::warn!(
        files,
        slots,
        "fewer connections than --max-connections: raise the limit on open files (ulimit -n)"
    );
    slots
}
