//! Storage that fails at the N-th call, for N = 1, 2, 3 …, under a session without a socket: whatever fails, whenever,
//! a client is never told that something was not stored which was, nor the other way round.
#![allow(
    dead_code,
    reason = "each test program uses its own part of the vocabulary"
)]

mod common;
mod oracle;
mod play;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use chat_server::{
    clock::Clock,
    hub::End,
    protocol::{
        Ack, CloseCode, Cursor, Listing, Message, MessageId, RoomName, UserId, Username, Window,
    },
    session::{Event, Timing},
    store::{
        Account, Answer, AppendError, Begin, Counters, Directory, Follower, Followers, Lead,
        Messages, Mode, Neighbours, NewAccount, NewMessage, Options, Page, Parked, Receipt,
        RoomOutcome, Scope, Standing, StoreError, StoredRoom, User,
        sqlite::{SqliteStore, WriterHandle},
    },
};
use common::soon;
use play::{
    core::{Core, Sizes, TIMING, Wire, payload},
    link::Ending,
};
use serde_json::Value;
use tokio::sync::oneshot;

/// Real storage, of which one call fails.
#[derive(Debug)]
struct FaultyStore {
    inner: SqliteStore,
    /// The session is about to begin: calls count from here on.
    counts: AtomicBool,
    calls: AtomicUsize,
    fails_at: usize,
    how: fn() -> StoreError,
    appends: AtomicUsize,
    /// This append is stored, and nobody is told: that it is so is known when the next one is in line, where one follows.
    silent_append: usize,
    silence: Mutex<Option<oneshot::Sender<Result<Ack, AppendError>>>>,
}

/// Sends of [`SCRIPT`] that are not waited for before the next one.
const FOLLOWED_BY_ANOTHER: [usize; 2] = [1, 2];

impl FaultyStore {
    fn fault(&self) -> Result<(), StoreError> {
        let counts = self.counts.load(Relaxed);
        if counts && self.calls.fetch_add(1, Relaxed) + 1 == self.fails_at {
            Err((self.how)())
        } else {
            Ok(())
        }
    }
}

macro_rules! or_fail {
    ($self:ident, $call:expr) => {
        Box::pin(async move {
            $self.fault()?;
            $call.await
        })
    };
}

impl Messages for FaultyStore {
    fn append(&self, message: NewMessage) -> Answer<'_, Result<Receipt, StoreError>> {
        Box::pin(async move {
            self.fault()?;
            let receipt = self.inner.append(message).await?;
            let number = self.appends.fetch_add(1, Relaxed) + 1;
            if number != self.silent_append {
                drop(self.silence.lock().unwrap().take());
                return Ok(receipt);
            }
            receipt.await.unwrap();
            let (silence, receipt) = oneshot::channel();
            if FOLLOWED_BY_ANOTHER.contains(&number) {
                *self.silence.lock().unwrap() = Some(silence);
            }
            Ok(Receipt::new(receipt))
        })
    }
    fn read(
        &self,
        scope: Scope,
        window: Window,
        max_bytes: usize,
    ) -> Answer<'_, Result<Page, StoreError>> {
        or_fail!(self, self.inner.read(scope, window, max_bytes))
    }
    fn count(
        &self,
        scope: Scope,
        after: Cursor,
        until: Cursor,
        enough: u32,
    ) -> Answer<'_, Result<u32, StoreError>> {
        or_fail!(self, self.inner.count(scope, after, until, enough))
    }
    fn latest_id(&self) -> Answer<'_, Result<Cursor, StoreError>> {
        or_fail!(self, self.inner.latest_id())
    }
    fn epoch(&self) -> &str {
        self.inner.epoch()
    }
}

impl Directory for FaultyStore {
    fn user(&self, id: UserId) -> Answer<'_, Result<Option<User>, StoreError>> {
        or_fail!(self, self.inner.user(id))
    }
    fn see_user(&self, id: UserId, username: Username) -> Answer<'_, Result<User, StoreError>> {
        or_fail!(self, self.inner.see_user(id, username))
    }
    fn room_exists(&self, room: RoomName) -> Answer<'_, Result<bool, StoreError>> {
        or_fail!(self, self.inner.room_exists(room))
    }
    fn create_room(
        &self,
        room: RoomName,
        max_rooms: u64,
    ) -> Answer<'_, Result<RoomOutcome, StoreError>> {
        or_fail!(self, self.inner.create_room(room, max_rooms))
    }
    fn rooms(
        &self,
        after: Option<RoomName>,
        limit: u32,
        max_bytes: usize,
    ) -> Answer<'_, Result<Listing<StoredRoom>, StoreError>> {
        or_fail!(self, self.inner.rooms(after, limit, max_bytes))
    }
    fn users(&self, after: i64, limit: u32) -> Answer<'_, Result<Listing<User>, StoreError>> {
        or_fail!(self, self.inner.users(after, limit))
    }
    fn conversations(
        &self,
        user: UserId,
        before: Cursor,
        limit: u32,
        max_bytes: usize,
    ) -> Answer<'_, Result<Listing<(User, Message)>, StoreError>> {
        or_fail!(
            self,
            self.inner.conversations(user, before, limit, max_bytes)
        )
    }
    fn account(&self, name: Username) -> Answer<'_, Result<Option<Account>, StoreError>> {
        or_fail!(self, self.inner.account(name))
    }
    fn create_account(&self, account: NewAccount) -> Answer<'_, Result<Option<User>, StoreError>> {
        or_fail!(self, self.inner.create_account(account))
    }
    fn probe(&self) -> Answer<'_, Result<(), StoreError>> {
        or_fail!(self, self.inner.probe())
    }
}

impl Neighbours for FaultyStore {}

impl Followers for FaultyStore {
    fn lead(&self, follower: Follower) -> Answer<'_, Result<Lead, StoreError>> {
        or_fail!(self, self.inner.lead(follower))
    }
    fn follow(&self, follower: Follower, begin: Begin) -> Answer<'_, Result<Standing, StoreError>> {
        or_fail!(self, self.inner.follow(follower, begin))
    }
    fn log(
        &self,
        after: Cursor,
        limit: u32,
        max_bytes: usize,
    ) -> Answer<'_, Result<Vec<Message>, StoreError>> {
        or_fail!(self, self.inner.log(after, limit, max_bytes))
    }
    fn advance(
        &self,
        follower: Follower,
        to: MessageId,
        parked: Option<String>,
    ) -> Answer<'_, Result<(), StoreError>> {
        or_fail!(self, self.inner.advance(follower, to, parked))
    }
    fn note_failure(
        &self,
        follower: Follower,
        reason: String,
    ) -> Answer<'_, Result<(), StoreError>> {
        or_fail!(self, self.inner.note_failure(follower, reason))
    }
    fn standings(&self) -> Answer<'_, Result<Vec<Standing>, StoreError>> {
        or_fail!(self, self.inner.standings())
    }
    fn parked(
        &self,
        follower: Follower,
        after: Cursor,
        limit: u32,
    ) -> Answer<'_, Result<Vec<Parked>, StoreError>> {
        or_fail!(self, self.inner.parked(follower, after, limit))
    }
    fn due_again(
        &self,
        follower: Follower,
        limit: u32,
    ) -> Answer<'_, Result<Vec<Message>, StoreError>> {
        or_fail!(self, self.inner.due_again(follower, limit))
    }
    fn conclude_again(
        &self,
        follower: Follower,
        id: MessageId,
        parked: Option<String>,
    ) -> Answer<'_, Result<(), StoreError>> {
        or_fail!(self, self.inner.conclude_again(follower, id, parked))
    }
}

const SCRIPT: [&str; 9] = [
    r#"{"type":"join","room":"general","ref":"join"}"#,
    r#"{"type":"message","room":"general","content":"1","ref":"1"}"#,
    r#"{"type":"message","room":"new","content":"2","ref":"2"}"#,
    r#"{"type":"dm","to":2,"content":"3","ref":"3"}"#,
    r#"{"type":"room_history","room":"general","ref":"history"}"#,
    r#"{"type":"message","room":"general","content":"4","nonce":"n","ref":"4"}"#,
    r#"{"type":"join","room":"another","ref":"join2"}"#,
    r#"{"type":"dm_history","with":2,"ref":"dms"}"#,
    r#"{"type":"ping","ref":"ping"}"#,
];

/// What one run came to.
struct Run {
    frames: Vec<Value>,
    end: End,
    stored: Vec<String>,
    calls: usize,
}

/// Plays the script against storage whose call number `fails_at` fails.
async fn play(fails_at: usize, how: fn() -> StoreError) -> Run {
    play_with(&SCRIPT, fails_at, how, 0).await
}

async fn play_with(
    script: &[&'static str],
    fails_at: usize,
    how: fn() -> StoreError,
    silent_append: usize,
) -> Run {
    let folder = tempfile::tempdir().unwrap();
    let (inner, feed, writer) = SqliteStore::open(
        &folder.path().join("chat.db"),
        &options(),
        Counters::default(),
    )
    .unwrap();
    for id in 1..=2 {
        inner.see_user(user(id), name(id)).await.unwrap();
    }
    let store = Arc::new(FaultyStore {
        inner,
        counts: false.into(),
        calls: 0.into(),
        fails_at,
        how,
        appends: 0.into(),
        silent_append,
        silence: Mutex::default(),
    });
    let (metrics, clock) = (Arc::default(), Clock::default());
    let mut core = Core::start(store.clone(), feed, metrics, SIZES, TIMES, clock).await;
    store.counts.store(true, Relaxed);
    let wire = core.connect(1).await;
    let (frames, end) = soon("the session", talk(wire, script)).await;
    let calls = store.calls.load(Relaxed);
    let stored = stored(&store.inner).await;
    let relay = core.end(Ending::Stop).await;
    drop(store);
    finish(writer).await;
    soon("the relay", relay).await.unwrap();
    Run {
        frames,
        end,
        stored,
        calls,
    }
}

/// Says everything and hears everything: every text frame, as JSON, and the end.
async fn talk(mut wire: Wire, script: &[&str]) -> (Vec<Value>, End) {
    for text in script {
        wire.events.send(Event::Text((*text).into())).unwrap();
    }
    // That was all.
    wire.events = tokio::sync::mpsc::unbounded_channel().0;
    let mut frames = Vec::new();
    loop {
        match wire.next_bytes().await {
            Ok(bytes) => frames.push(serde_json::from_str(&payload(&bytes)).unwrap()),
            Err(end) => return (frames, end),
        }
    }
}

fn options() -> Options {
    Options {
        mode: Mode::Integrated,
        switch_mode: false,
        write_queue: 16,
        batch_max: 16,
        feed_batches: 16,
        readers: 1,
        patience: Duration::from_secs(5),
        wait: Duration::ZERO,
        clock: Clock::default(),
    }
}

/// No limit is reached.
const SIZES: Sizes = Sizes {
    resume_max: 1000,
    outbox_bytes: 1 << 20,
    page_bytes: 1 << 17,
    history_bytes: 1 << 19,
    rooms_max: 100,
    in_flight: 8,
    token_seconds: 3600,
};

/// Nothing happens by itself, but for what failed, which is tried again at once.
const TIMES: Timing = Timing {
    ping: Duration::from_secs(3600),
    silence: Duration::from_secs(7200),
    in_flight: SIZES.in_flight,
    ask_again: Duration::from_secs(300),
    retry: Duration::from_millis(1),
    ..TIMING
};

fn user(id: i64) -> UserId {
    UserId::new(id).unwrap()
}

fn name(id: i64) -> Username {
    Username::new(&format!("user{id}")).unwrap()
}

async fn finish(writer: WriterHandle) {
    tokio::task::spawn_blocking(|| writer.stop()).await.unwrap();
}

/// The contents of everything that is stored.
async fn stored(store: &SqliteStore) -> Vec<String> {
    let mut contents = Vec::new();
    let rooms = ["general", "new"].map(|room| Scope::Room(RoomName::new(room).unwrap()));
    for scope in rooms.into_iter().chain([Scope::Dm(user(1), user(2))]) {
        let all = Window::After {
            after: Cursor::START,
            limit: 100,
        };
        let page = store.read(scope, all, usize::MAX).await.unwrap();
        contents.extend(
            page.messages
                .iter()
                .map(|message| message.content.as_str().to_owned()),
        );
    }
    contents
}

/// For each send of the script: acknowledged means stored, an error means not stored, and nothing else was stored.
fn judge(run: &Run, context: &str) {
    for send in ["1", "2", "3", "4"] {
        let answer = run.frames.iter().find(|frame| frame["ref"] == send);
        let is_stored = run.stored.iter().any(|content| content == send);
        match answer.map(|frame| frame["type"].as_str().unwrap()) {
            Some("message_sent" | "dm_sent") => assert!(
                is_stored,
                "{context}: {send} was acknowledged and is not there"
            ),
            Some("error") => assert!(!is_stored, "{context}: {send} was refused and is there"),
            Some(other) => panic!("{context}: {other} as the answer to {send}"),
            // No answer: the connection has ended.
            None => assert_eq!(
                run.end,
                End::Close(CloseCode::Internal),
                "{context}: {send} was never answered"
            ),
        }
    }
}

#[tokio::test]
async fn whichever_call_fails_every_send_is_answered_with_the_truth() {
    let calm = play(0, || StoreError::Full).await;
    judge(&calm, "without a fault");
    assert_eq!((calm.stored.len(), calm.end), (4, End::Finish));
    assert!(calm.calls >= 10, "{} calls", calm.calls);
    type Fault = (fn() -> StoreError, &'static str);
    let faults: [Fault; 4] = [
        (|| StoreError::Full, "storage_full"),
        (|| StoreError::Unavailable("a test"), "unavailable"),
        (|| StoreError::Internal("a test".into()), "internal"),
        (|| StoreError::Uncertain("a test".into()), "internal"),
    ];
    for (how, code) in faults {
        for n in 1..=calm.calls {
            let run = play(n, how).await;
            let context = format!("{code} at call {n}");
            judge(&run, &context);
            let errors: Vec<&Value> = run
                .frames
                .iter()
                .filter(|frame| frame["type"] == "error")
                .collect();
            assert_eq!(errors.len(), 1, "{context}: {:?}", run.frames);
            assert_eq!(errors[0]["data"]["code"], code, "{context}");
            assert_eq!(run.end, End::Finish, "{context}: the connection lives on");
            assert!(
                run.frames.iter().any(|frame| frame["type"] == "pong"),
                "{context}"
            );
        }
    }
}

#[tokio::test]
async fn a_commit_whose_outcome_is_not_known_ends_the_connection_and_is_never_an_error() {
    for n in 1..=4 {
        let run = play_with(&SCRIPT, 0, || StoreError::Full, n).await;
        judge(&run, &format!("append {n} without an outcome"));
        assert_eq!(run.end, End::Close(CloseCode::Internal));
        assert!(
            run.frames.iter().all(|frame| frame["type"] != "error"),
            "{:?}",
            run.frames
        );
        // Who counts answers must not take the next one for the one that is missing.
        let of_request = |frame: &Value| frame["ref"].as_str().map(str::to_owned);
        let answered: Vec<String> = run.frames.iter().filter_map(of_request).collect();
        let first = ["1", "2", "3", "4"].iter().take(n - 1);
        let sends = answered.iter().filter(|it| it.parse::<u8>().is_ok());
        assert!(sends.eq(first), "append {n}: {answered:?}");
    }
}

const RESUME_SCRIPT: [&str; 5] = [
    r#"{"type":"message","room":"general","content":"1","ref":"1"}"#,
    r#"{"type":"dm","to":2,"content":"2","ref":"2"}"#,
    r#"{"type":"message","room":"new","content":"3","ref":"3"}"#,
    r#"{"type":"resume","after":0,"rooms":["general","new"],"ref":"resume"}"#,
    r#"{"type":"ping","ref":"ping"}"#,
];

/// What follows a resume is what its ack promised, or the connection ends: never a part of it that is called all.
fn judge_resume(run: &Run, context: &str) {
    let at = run
        .frames
        .iter()
        .position(|frame| frame["ref"] == "resume")
        .unwrap_or_else(|| panic!("{context}: no answer: {:?}", run.frames));
    let replayed: Vec<&str> = run.frames[at + 1..]
        .iter()
        .filter_map(|frame| frame["data"]["content"].as_str())
        .collect();
    let answer = &run.frames[at];
    if answer["type"] == "error" {
        assert_eq!(replayed, [""; 0], "{context}: refused, and replayed");
        return assert_eq!(run.end, End::Finish, "{context}");
    }
    let ack = &answer["data"];
    assert_eq!(ack["complete"], true, "{context}: {ack}");
    let rooms = ack["rooms"].as_array().unwrap();
    let refused = ack["refused"].as_array().map_or(0, Vec::len);
    assert_eq!(rooms.len() + refused, 2, "{context}: {ack}");
    let last_id = ack["lastId"].as_i64().unwrap();
    let id_of = |content: &str| {
        let ack = run.frames.iter().find(|frame| frame["ref"] == content)?;
        ack["data"]["id"].as_i64()
    };
    let (missed, ids): (Vec<&str>, Vec<i64>) = [("1", "general"), ("2", ""), ("3", "new")]
        .into_iter()
        .filter(|(_, room)| room.is_empty() || rooms.iter().any(|name| name == room))
        .filter_map(|(content, _)| Some((content, id_of(content)?)))
        // A DM of its own that is announced only after the resume does not come back.
        .filter(|&(content, id)| content != "2" || id <= last_id)
        .unzip();
    assert!(missed.starts_with(&replayed), "{context}: {replayed:?}");
    if run.end == End::Finish {
        // What was stored and not announced yet comes live, after the replay, if the end does not come first.
        let promised = ids.iter().filter(|&&id| id <= last_id).count();
        assert_eq!(ack["replayed"], promised, "{context}");
        assert!(replayed.len() >= promised, "{context}: {replayed:?}");
        assert!(
            run.frames.iter().any(|frame| frame["type"] == "pong"),
            "{context}"
        );
    } else {
        assert_eq!(run.end, End::Close(CloseCode::Internal), "{context}");
    }
}

#[tokio::test]
async fn whichever_call_fails_a_resume_keeps_what_it_promises_or_ends() {
    let play = |fails_at, how| play_with(&RESUME_SCRIPT, fails_at, how, 0);
    let calm = play(0, || StoreError::Full).await;
    judge_resume(&calm, "without a fault");
    let faults: [fn() -> StoreError; 3] = [
        || StoreError::Full,
        || StoreError::Unavailable("a test"),
        || StoreError::Internal("a test".into()),
    ];
    let mut ends = std::collections::HashSet::new();
    for (kind, how) in faults.into_iter().enumerate() {
        for n in 1..=calm.calls {
            let run = play(n, how).await;
            judge_resume(&run, &format!("fault {kind} at call {n}"));
            ends.insert(run.end);
        }
    }
    assert_eq!(
        ends.len(),
        2,
        "some pages failed for good, and some calls did not matter: {ends:?}"
    );
}
