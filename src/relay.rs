//! From the commit feed to the hub: each message is encoded once, in the order in which it was stored.
//!
//! The only caller of [`Hub::publish`]. It asks nothing, decides nothing, and ends when the feed does.

use std::sync::Arc;

use crate::{
    frame::Frame,
    hub::{Audience, Hub},
    protocol::Place,
    seeded::{self, Step},
    store::{CommitFeed, Committed},
};

/// Announces everything that comes out of `feed` until the store's writer has stopped.
pub async fn run(mut feed: CommitFeed, hub: Arc<Hub>) {
    while let Some(batch) = feed.next().await {
        let mut unflushed_bytes = 0;
        seeded::step(Step::BeforeBroadcast);
        for committed in &batch {
            unflushed_bytes += announce(&hub, committed);
            if unflushed_bytes >= SLICE_BYTES {
                unflushed_bytes = 0;
                tokio::task::yield_now().await;
            }
        }
        hub.announce_floor();
    }
}

/// After so many bytes to each reader the sockets get a turn, or one large commit would fill every outbox.
const SLICE_BYTES: usize = 64 * 1024;

/// The length of the frame that was queued, in bytes.
fn announce(hub: &Hub, Committed { message, origin }: &Committed) -> usize {
    let audience = match &message.place {
        Place::Room(room) => Audience::Room(room),
        Place::Dm(to) => Audience::Dm {
            from: message.from,
            to: *to,
            except: *origin,
        },
    };
    let bytes = hub.publish(message.id, audience, || Frame::message(message));
    match &message.place {
        Place::Room(room) => tracing::debug!(id = message.id.get(), %room, "message stored"),
        Place::Dm(to) => tracing::debug!(
            id = message.id.get(),
            from = message.from.get(),
            to = to.get(),
            "dm stored"
        ),
    }
    bytes
}
