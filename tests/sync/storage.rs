//! The task that copies, on a log that does not always do what it should.

use std::{sync::Arc, time::Duration};

use chat_server::{
    clock::Clock,
    metrics::SyncState,
    outbound::Outbound,
    protocol::{Content, Cursor, MessageId, Place, RoomName, UserId, Username},
    store::{Begin, Directory as _, Follower, Followers as _, Messages as _, NewMessage},
    sync::{Copier, Destination, Setup},
};
use http_body_util::Full;
use hyper::Request;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    common::{
        PATIENCE,
        backend::{Backend, MESSAGES, Reply},
        memory::{Disk, MemoryStore, MemoryWriter},
        soon,
    },
    ids,
};

const FOLLOWER: Follower = Follower::Backend;

/// A log of its own, its follower, and how far the log reaches.
struct Log {
    disk: Disk,
    store: Arc<MemoryStore>,
    announced: watch::Sender<Cursor>,
    state: Arc<SyncState>,
    stop: CancellationToken,
    _writer: MemoryWriter,
}

impl Log {
    async fn of(messages: usize) -> Self {
        let disk = Disk::default();
        let (store, _, writer) = MemoryStore::open(&disk, Clock::default());
        let (ann, name) = (UserId::new(1).unwrap(), Username::new("ann").unwrap());
        store.see_user(ann, name.clone()).await.unwrap();
        for _ in 0..messages {
            let said = NewMessage {
                from: ann,
                username: name.clone(),
                place: Place::Room(RoomName::general()),
                content: Content::new("hello").unwrap(),
                nonce: None,
                origin: None,
            };
            store.append(said).await.unwrap().await.unwrap();
        }
        store.follow(FOLLOWER, Begin::Oldest).await.unwrap();
        Self {
            disk,
            announced: watch::Sender::new(store.latest_id().await.unwrap()),
            store: Arc::new(store),
            state: Arc::new(SyncState::new(FOLLOWER.as_str(), String::new())),
            stop: CancellationToken::new(),
            _writer: writer,
        }
    }

    async fn copied_to(&self, backend: &Backend) {
        let destination = Destination::backend(&backend.url().parse().unwrap(), None);
        let setup = Setup {
            log: self.store.clone(),
            epoch: self.store.epoch().to_owned(),
            outbound: Outbound::new(destination.url(), Duration::from_secs(10)).unwrap(),
            destination,
            state: self.state.clone(),
            clock: Clock::default(),
            announced: self.announced.subscribe(),
            backoff: Duration::from_millis(1),
        };
        let standing = self.store.standings().await.unwrap().remove(0);
        tokio::spawn(Copier::new(setup, standing).run(self.stop.clone()));
    }

    /// Once everything up to `id` is dealt with, and that is noted.
    async fn reaches(&self, id: i64) {
        let noted = async {
            while self.state.position() < id {
                tokio::task::yield_now().await;
            }
        };
        soon("the end of the log", noted).await;
        let standings = self.store.standings().await.unwrap();
        assert_eq!(standings[0].position.get(), id);
    }
}

#[tokio::test]
async fn a_log_that_takes_no_note_is_asked_again_and_the_message_is_not_sent_again() {
    for is_stored in [false, true] {
        let backend = Backend::start().await;
        let log = Log::of(3).await;
        log.disk.lose_an_outcome(is_stored);
        log.copied_to(&backend).await;
        log.reaches(3).await;
        assert_eq!(ids(&backend.seen(MESSAGES)), [1, 2, 3]);
    }
}

#[tokio::test]
async fn nothing_more_is_sent_while_the_disk_is_full_and_chat_is_not_told_otherwise() {
    let backend = Backend::start().await;
    let log = Log::of(3).await;
    log.disk.fill(true);
    log.copied_to(&backend).await;
    backend.requests(MESSAGES, 1).await;
    // The time of many attempts: the next message would be there before all of these.
    let url = backend.url().parse().unwrap();
    let outbound = Outbound::new(&url, PATIENCE).unwrap();
    for _ in 0..50 {
        let other = Request::get(url.clone()).body(Full::default()).unwrap();
        outbound.send(other).await.unwrap();
    }
    assert_eq!(ids(&backend.seen(MESSAGES)), [1]);
    assert_eq!(log.state.position(), 0);
    let failing = log.state.failing().unwrap();
    assert!(failing.reason.ends_with("the disk is full"), "{failing:?}");
    log.disk.fill(false);
    log.reaches(3).await;
    assert_eq!(log.state.failing(), None);
    assert_eq!(ids(&backend.seen(MESSAGES)), [1, 2, 3]);
}

#[tokio::test]
async fn a_log_that_cannot_be_read_is_read_later() {
    let backend = Backend::start().await;
    let log = Log::of(2).await;
    log.copied_to(&backend).await;
    // The task has not had a turn yet.
    log.disk.refuse_reads(5);
    log.reaches(2).await;
    assert_eq!(log.disk.refusals_left(), 0);
    assert_eq!(ids(&backend.seen(MESSAGES)), [1, 2]);
}

#[tokio::test]
async fn what_is_due_again_and_what_is_new_take_turns() {
    let backend = Backend::start().await;
    let log = Log::of(6).await;
    for id in 1..=3 {
        let (id, why) = (MessageId::new(id).unwrap(), Some("no".to_owned()));
        log.store.advance(FOLLOWER, id, why).await.unwrap();
        log.disk.ask_again(FOLLOWER, id);
    }
    backend.answers_once(MESSAGES, Reply::status(422));
    log.copied_to(&backend).await;
    backend.requests(MESSAGES, 6).await;
    log.reaches(6).await;
    assert_eq!(ids(&backend.seen(MESSAGES)), [1, 4, 2, 5, 3, 6]);
    let parked = log.store.parked(FOLLOWER, Cursor::START, 9).await.unwrap();
    let parked: Vec<_> = parked
        .iter()
        .map(|it| (it.id.get(), it.due_again))
        .collect();
    assert_eq!(
        parked,
        [(1, false)],
        "refused again, it waits for an operator again"
    );
}

#[tokio::test]
async fn what_stands_in_the_way_is_noted_from_its_beginning_and_forgotten_at_its_end() {
    let backend = Backend::start().await;
    let log = Log::of(1).await;
    for status in [500, 500, 503] {
        backend.answers_once(MESSAGES, Reply::status(status));
    }
    backend.answers(MESSAGES, Reply::status(429).header("retry-after: 3600"));
    log.copied_to(&backend).await;
    backend.requests(MESSAGES, 4).await;
    let (mut first, mut last) = (None, String::new());
    let noted = async {
        while !last.starts_with("it answered 429") {
            let standing = log.store.standings().await.unwrap().remove(0);
            if let Some((since, reason)) = standing.failing {
                assert_eq!(*first.get_or_insert(since), since);
                last = reason;
            }
            tokio::task::yield_now().await;
        }
    };
    soon("the last reason", noted).await;
    assert_eq!(log.state.failing().unwrap().reason, last);
    assert_eq!(log.state.failures(), 4);
    log.stop.cancel();
    backend.answers(MESSAGES, Reply::Well);
    let after = Log {
        stop: CancellationToken::new(),
        ..log
    };
    after.copied_to(&backend).await;
    after.reaches(1).await;
    assert_eq!(after.state.failing(), None);
    assert_eq!(after.store.standings().await.unwrap()[0].failing, None);
}
