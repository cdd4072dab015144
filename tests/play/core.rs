//! The server without sockets: sessions, hub and relay over a store, and a link that is both socket and pump.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering::Relaxed},
    },
    time::Duration,
};

use chat_server::{
    auth::{Expiry, Identity, Tokens},
    chat::{Chat, Policy, Rate},
    clock::Clock,
    hub::{End, Hub, Outbox, Queued},
    metrics::Metrics,
    protocol::{Limits, LimitsInForce, Timestamp, UserId, Username},
    relay,
    session::{Event, Session, Shared, Timing},
    store::{CommitFeed, Store},
};
use futures_util::stream;
use tokio::{
    sync::mpsc,
    task::{JoinHandle, JoinSet},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::link::{Ending, Heard, Link};
use crate::common::SECRET;

/// How large things are. Small, so that every limit is reached.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    pub resume_max: u32,
    pub outbox_bytes: usize,
    pub page_bytes: usize,
    pub history_bytes: usize,
    pub rooms_max: u64,
    pub in_flight: usize,
    /// How long a token lasts.
    pub token_seconds: i64,
}

/// Sizes at which a script of sixty steps reaches every limit.
pub const SMALL: Sizes = Sizes {
    resume_max: 8,
    outbox_bytes: 3 * 1024,
    page_bytes: 1024,
    history_bytes: 2 * 1024,
    rooms_max: 3,
    in_flight: 4,
    token_seconds: 1800,
};

/// A wall clock that goes with the runtime's, and can be moved.
#[derive(Clone, Debug)]
pub struct Wall {
    began: Instant,
    moved_ms: Arc<AtomicI64>,
}

impl Wall {
    pub fn new() -> Self {
        Self {
            began: Instant::now(),
            moved_ms: Arc::default(),
        }
    }

    pub fn shift(&self, by: Duration, forward: bool) {
        let ms = by.as_millis() as i64;
        self.moved_ms
            .fetch_add(if forward { ms } else { -ms }, Relaxed);
    }

    pub fn now_ms(&self) -> i64 {
        // 2026-01-15, to begin with.
        const BEGINNING_MS: i64 = 1_768_435_200_000;
        BEGINNING_MS + self.began.elapsed().as_millis() as i64 + self.moved_ms.load(Relaxed)
    }

    pub fn clock(&self) -> Clock {
        let wall = self.clone();
        Clock::new(move || Timestamp::from_unix_ms(wall.now_ms()))
    }
}

/// A running server without a socket.
pub struct Core {
    pub hub: Arc<Hub>,
    pub shared: Arc<Shared>,
    pub metrics: Arc<Metrics>,
    sizes: Sizes,
    clock: Clock,
    relay: JoinHandle<()>,
    sessions: JoinSet<()>,
    outboxes: Vec<Arc<Outbox>>,
}

impl Core {
    pub async fn start(
        store: Arc<dyn Store>,
        feed: CommitFeed,
        metrics: Arc<Metrics>,
        sizes: Sizes,
        timing: Timing,
        clock: Clock,
    ) -> Self {
        let floor = store.latest_id().await.unwrap();
        let hub = Arc::new(Hub::new(floor, metrics.deliveries.clone()));
        let relay = tokio::spawn(relay::run(feed, hub.clone()));
        let chat = Chat::new(store, hub.clone(), metrics.clone(), policy(sizes));
        let shared = Shared {
            chat: Arc::new(chat),
            authority: Tokens::new(SECRET, "JWT_SECRET").into(),
            limits: Limits {
                content_bytes: 1 << 14,
                history_default: 50,
                history_max: 500,
                history_bytes: sizes.history_bytes,
                resume_rooms: 10,
            },
            clock: clock.clone(),
            timing,
            stop: CancellationToken::new(),
        };
        Self {
            hub,
            shared: Arc::new(shared),
            metrics,
            sizes,
            clock,
            relay,
            sessions: JoinSet::new(),
            outboxes: Vec::new(),
        }
    }

    /// A connection whose token has just been made.
    pub async fn connect(&mut self, user: i64) -> Wire {
        let expiry = self.clock.seconds() + self.sizes.token_seconds;
        self.connect_until(user, expiry).await
    }

    /// A connection whose token ends at `expiry`.
    pub async fn connect_until(&mut self, user: i64, expiry: i64) -> Wire {
        let identity = Identity {
            user: UserId::new(user).unwrap(),
            username: Username::new(&format!("user{user}")).unwrap(),
            role: "user".into(),
            expiry: Expiry(expiry),
        };
        let outbox = Arc::new(Outbox::new(self.sizes.outbox_bytes));
        let presence = self.hub.connect(identity.user, outbox.clone());
        let session = Session::new(self.shared.clone(), identity, presence, outbox.clone());
        let (events, heard) = mpsc::unbounded_channel();
        let heard = stream::unfold(heard, |mut heard| async {
            heard.recv().await.map(|event| (event, heard))
        });
        let ended = outbox.clone();
        self.sessions.spawn(async move {
            let end = session.run(heard).await;
            ended.end(end);
        });
        self.outboxes.push(outbox.clone());
        Wire {
            events,
            outbox,
            taken: VecDeque::new(),
        }
    }

    /// Makes the users known, as their handshakes would.
    pub async fn admit(&self, users: impl IntoIterator<Item = i64>) {
        for user in users {
            let identity = Identity {
                user: UserId::new(user).unwrap(),
                username: Username::new(&format!("user{user}")).unwrap(),
                role: "user".into(),
                expiry: Expiry(i64::MAX),
            };
            self.shared.chat.admit(identity).await.unwrap();
        }
    }

    /// Ends every session; in a crash none has a last word. The writer must still be at work, and is ended after this; then
    /// the relay that is returned ends by itself.
    pub async fn end(mut self, ending: Ending) -> JoinHandle<()> {
        match ending {
            Ending::Stop => {
                self.shared.stop.cancel();
                while self.sessions.join_next().await.is_some() {}
            }
            Ending::Crash => {
                self.sessions.shutdown().await;
                self.relay.abort();
                for outbox in &self.outboxes {
                    outbox.end(End::Finish);
                }
            }
        }
        self.relay
    }
}

fn policy(sizes: Sizes) -> Policy {
    let none = Rate {
        per_second: 0.0,
        burst: 0.0,
    };
    Policy {
        open_rooms: true,
        rooms_max: sizes.rooms_max,
        rooms_per_connection: 10,
        sends: none,
        new_rooms: none,
        renames: none,
        history_bytes: sizes.history_bytes,
        resume_max: sizes.resume_max,
        page_bytes: sizes.page_bytes,
        limits: LimitsInForce {
            content_bytes: 1 << 14,
            frame_bytes: 1 << 16,
            history_limit: 500,
            history_bytes: sizes.history_bytes,
            rooms_per_connection: 10,
            resume_limit: sizes.resume_max,
            rate_per_second: 0,
        },
    }
}

/// The times of a real server, but for what a script cannot wait for.
pub const TIMING: Timing = Timing {
    hold: Duration::from_secs(1),
    ping: Duration::from_secs(25),
    silence: Duration::from_secs(60),
    in_flight: SMALL.in_flight,
    ask_again: Duration::from_secs(300),
    retry: Duration::from_millis(100),
    slowest_reader: 4096,
};

/// A connection to a [`Core`]: what the socket and the pump would be.
#[derive(Debug)]
pub struct Wire {
    pub events: mpsc::UnboundedSender<Event<String>>,
    pub outbox: Arc<Outbox>,
    taken: VecDeque<Queued>,
}

impl Wire {
    /// The next frame as it would go to the socket; the end, once there is none.
    pub async fn next_bytes(&mut self) -> Result<Vec<u8>, End> {
        while self.taken.is_empty() {
            if let Some(end) = self.outbox.take(&mut self.taken, 4).await {
                return Err(end);
            }
        }
        let frame = self.taken.pop_front().unwrap().frame;
        self.outbox.written(frame.len_bytes());
        Ok(frame.as_bytes().to_vec())
    }
}

impl Link for Wire {
    async fn say(&mut self, text: String) {
        let _ = self.events.send(Event::Text(text));
    }

    async fn next(&mut self) -> Heard {
        loop {
            let bytes = match self.next_bytes().await {
                Ok(bytes) => bytes,
                Err(End::Close(code)) => return Heard::Closed(Some(code.code())),
                Err(End::Finish) => return Heard::Closed(None),
            };
            match bytes[0] & 0x0f {
                1 => return Heard::Frame(payload(&bytes)),
                // A ping, which is answered.
                _ => drop(self.events.send(Event::Alive)),
            }
        }
    }
}

/// The text in a frame of the server's.
pub fn payload(frame: &[u8]) -> String {
    let start = match frame[1] {
        126 => 4,
        127 => 10,
        _ => 2,
    };
    String::from_utf8(frame[start..].to_vec()).unwrap()
}
