//! A log in memory, as a double of the one on disk: the same laws, without a thread, a file or a wait.
//!
//! What a power cut leaves is the [`Disk`]; what it takes is the line and the batch that is being written. Feed and
//! receipts come after the sync, as on disk. The writer is a task, so that one thread with a stopped clock runs all of
//! it, and between any two of its steps others may have their turn: how many, a [`Tempo`] says, the same each time.

mod followers;
mod listing;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
};

use chat_server::{
    clock::Clock,
    protocol::{
        Ack, Cursor, Listing, Message, MessageId, Nonce, Place, RoomName, Timestamp, UserId,
        Username, Window,
    },
    store::{
        Account, Answer, AppendError, Begin, CommitFeed, Committed, Directory, FeedSender,
        Follower, Inbox, Messages, Neighbours, NewAccount, NewMessage, Page, Receipt, RoomOutcome,
        Scope, Standing, StoreError, StoredRoom, User, feed,
    },
};
use tokio::{
    sync::{Notify, mpsc, oneshot},
    task::{JoinHandle, yield_now},
};

/// What is on the platter, and how it behaves. Shared by every store that is opened on it, one after the other.
#[derive(Clone, Debug, Default)]
pub struct Disk(Arc<Platter>);

#[derive(Debug, Default)]
struct Platter {
    state: Mutex<State>,
    faults: Mutex<Faults>,
    /// A commit may go on that was held up.
    released: Notify,
    tempo: Tempo,
}

#[derive(Clone, Debug)]
struct State {
    epoch: String,
    messages: Vec<Message>,
    /// The last id ever used: ids are not used twice, also not after a restore.
    last_id: i64,
    users: BTreeMap<i64, KnownUser>,
    rooms: BTreeSet<String>,
    by_nonce: BTreeMap<(i64, String), usize>,
    followers: followers::Followed,
}

#[derive(Clone, Debug)]
struct KnownUser {
    user: User,
    account: Option<Option<String>>,
}

/// What the disk does to the next commits.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    is_full: bool,
    is_held: bool,
    /// So many reads are refused, as by a store that is too busy.
    refused_reads: usize,
    /// The next commit ends without a known outcome; whether it is stored.
    uncertain: Option<bool>,
}

/// How many turns others get between two steps: a short sequence that a seed decides.
#[derive(Debug, Default)]
struct Tempo(Mutex<u64>);

impl Tempo {
    fn turns(&self) -> u64 {
        let mut state = self.0.lock().unwrap();
        if *state == 0 {
            return 1;
        }
        // Marsaglia's xorshift64.
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        *state % 4
    }

    async fn pass(&self) {
        for _ in 0..self.turns() {
            yield_now().await;
        }
    }
}

impl Default for State {
    fn default() -> Self {
        Self {
            epoch: format!("{:016x}", rand::random::<u64>()),
            messages: Vec::new(),
            last_id: 0,
            users: BTreeMap::new(),
            rooms: ["general".to_owned()].into(),
            by_nonce: BTreeMap::new(),
            followers: Default::default(),
        }
    }
}

impl Disk {
    /// An empty log that bears this name; `seed` decides who has the turn when.
    pub fn named(epoch: &str, seed: u64) -> Self {
        let state = State {
            epoch: epoch.into(),
            ..State::default()
        };
        let platter = Platter {
            state: state.into(),
            tempo: Tempo(seed.into()),
            ..Platter::default()
        };
        Self(Arc::new(platter))
    }

    /// A copy of what is stored now.
    pub fn backup(&self) -> Backup {
        Backup(self.state().clone())
    }

    /// Puts `backup` in the place of what is stored, as a log that bears another name.
    pub fn restore(&self, backup: &Backup, epoch: &str) {
        *self.state() = State {
            epoch: epoch.into(),
            ..backup.0.clone()
        };
    }

    /// Everything that is stored, oldest first.
    pub fn messages(&self) -> Vec<Message> {
        self.state().messages.clone()
    }

    /// What it is called.
    pub fn epoch(&self) -> String {
        self.state().epoch.clone()
    }

    /// Nothing is wrong any more; what was.
    pub fn mend(&self) -> Faults {
        let faults = std::mem::take(&mut *self.faults());
        self.0.released.notify_one();
        faults
    }

    /// Does this to the next commits.
    pub fn set(&self, faults: Faults) {
        *self.faults() = faults;
    }

    /// Whether there is no room for another message.
    pub fn fill(&self, is_full: bool) {
        self.faults().is_full = is_full;
    }

    /// Whether commits get stuck before their sync.
    pub fn hold(&self, is_held: bool) {
        self.faults().is_held = is_held;
        self.0.released.notify_one();
    }

    /// The outcome of the next commit will not be known; `is_stored` says what it will be.
    pub fn lose_an_outcome(&self, is_stored: bool) {
        self.faults().uncertain = Some(is_stored);
    }

    /// The next `reads` are refused.
    pub fn refuse_reads(&self, reads: usize) {
        self.faults().refused_reads = reads;
    }

    /// How many reads are still going to be refused.
    pub fn refusals_left(&self) -> usize {
        self.faults().refused_reads
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap()
    }

    fn faults(&self) -> MutexGuard<'_, Faults> {
        self.0.faults.lock().unwrap()
    }
}

/// What was stored at some moment.
#[derive(Debug)]
pub struct Backup(State);

/// An open log.
#[derive(Debug)]
pub struct MemoryStore {
    disk: Disk,
    epoch: String,
    line: mpsc::UnboundedSender<Job>,
}

/// Ends the writer, in order or not.
#[derive(Debug)]
pub struct MemoryWriter {
    line: mpsc::UnboundedSender<Job>,
    task: JoinHandle<()>,
    announcer: JoinHandle<()>,
}

impl MemoryWriter {
    /// Commits what is in line.
    pub async fn stop(self) {
        let _ = self.line.send(Job::Stop);
        self.task.await.unwrap();
        self.announcer.await.unwrap();
    }

    /// Loses what was not synced: nobody hears of it, and it is not there.
    pub async fn crash(self) {
        self.announcer.abort();
        self.task.abort();
        let _ = self.task.await;
    }
}

impl MemoryStore {
    /// Opens the log on `disk` and starts its writer on this runtime.
    pub fn open(disk: &Disk, clock: Clock) -> (Self, CommitFeed, MemoryWriter) {
        let (feed_sender, told) = feed(64);
        let (late_sender, late_feed) = feed(64);
        // Whoever reads the feed may be slower than whoever waits for a receipt.
        let announcer = tokio::spawn(announce(disk.clone(), told, late_sender));
        let (line, jobs) = mpsc::unbounded_channel();
        let writer = Writer {
            disk: disk.clone(),
            clock,
            announced: disk.state().messages.len(),
            feed: feed_sender,
        };
        let task = tokio::spawn(writer.run(jobs));
        let handle = MemoryWriter {
            line: line.clone(),
            task,
            announcer,
        };
        let store = Self {
            disk: disk.clone(),
            epoch: disk.state().epoch.clone(),
            line,
        };
        (store, late_feed, handle)
    }

    async fn ask<T>(&self, job: impl FnOnce(Reply<T>) -> Job) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.enqueue(job(reply))?;
        answer
            .await
            .unwrap_or_else(|_| Err(StoreError::Uncertain("the writer is gone".into())))
    }

    fn enqueue(&self, job: Job) -> Result<(), StoreError> {
        self.line
            .send(job)
            .map_err(|_| StoreError::Unavailable("the writer has stopped"))
    }

    /// A look at what is stored, at a moment that is not quite the one of the question.
    async fn look<T>(&self, look: impl FnOnce(&State) -> T) -> Result<T, StoreError> {
        self.disk.0.tempo.pass().await;
        if let Some(left) = self.disk.refusals_left().checked_sub(1) {
            self.disk.refuse_reads(left);
            return Err(StoreError::Unavailable("too busy"));
        }
        let result = look(&self.disk.state());
        self.disk.0.tempo.pass().await;
        Ok(result)
    }
}

type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

#[derive(Debug)]
enum Job {
    Append(NewMessage, oneshot::Sender<Result<Ack, AppendError>>),
    SeeUser(UserId, Username, Reply<User>),
    CreateRoom(RoomName, u64, Reply<RoomOutcome>),
    CreateAccount(NewAccount, Reply<Option<User>>),
    Follow(Follower, Begin, Reply<Standing>),
    Follower(followers::Change, Reply<()>),
    Probe(Reply<()>),
    Stop,
}

async fn announce(disk: Disk, mut told: CommitFeed, late: FeedSender) {
    while let Some(batch) = told.next().await {
        disk.0.tempo.pass().await;
        disk.0.tempo.pass().await;
        late.send_async(batch).await;
    }
}

struct Writer {
    disk: Disk,
    clock: Clock,
    /// So many of the stored messages have gone into the feed.
    announced: usize,
    feed: FeedSender,
}

/// Told only after the sync and the feed.
type Answers = Vec<Box<dyn FnOnce() + Send>>;

impl Writer {
    async fn run(mut self, mut jobs: mpsc::UnboundedReceiver<Job>) {
        let mut batch = Vec::new();
        while jobs.recv_many(&mut batch, 64).await > 0 {
            let stop = batch.iter().any(|job| matches!(job, Job::Stop));
            self.commit(std::mem::take(&mut batch)).await;
            if stop {
                return;
            }
        }
    }

    async fn commit(&mut self, batch: Vec<Job>) {
        let disk = self.disk.clone();
        disk.0.tempo.pass().await;
        while disk.faults().is_held {
            disk.0.released.notified().await;
        }
        // Found after a commit whose outcome was not known: told before anything that comes after it.
        self.tell(Vec::new()).await;
        let faults = *disk.faults();
        if faults.is_full {
            return batch.into_iter().for_each(|job| fail(job, false));
        }
        if let Some(is_stored) = faults.uncertain {
            disk.faults().uncertain = None;
            if is_stored {
                self.apply(batch.iter());
            }
            return batch.into_iter().for_each(|job| fail(job, true));
        }
        let outcomes = self.apply(batch.iter());
        let origins: Vec<_> = outcomes
            .iter()
            .zip(&batch)
            .filter_map(|(outcome, job)| match (outcome, job) {
                (Outcome::Stored(_), Job::Append(message, _)) => Some(message.origin),
                _ => None,
            })
            .collect();
        disk.0.tempo.pass().await;
        self.tell(origins).await;
        disk.0.tempo.pass().await;
        for answer in answers(batch, outcomes) {
            answer();
        }
    }

    fn apply<'a>(&self, batch: impl Iterator<Item = &'a Job>) -> Vec<Outcome> {
        let now = self.clock.now();
        let mut state = self.disk.state();
        batch.map(|job| state.apply(job, now)).collect()
    }

    /// Everything stored and not yet announced; `origins` are those of the last of them.
    async fn tell(
        &mut self,
        origins: impl IntoIterator<Item = Option<chat_server::store::Origin>>,
    ) {
        let new: Vec<Message> = self.disk.state().messages[self.announced..].to_vec();
        self.announced += new.len();
        let mut origins: Vec<_> = origins.into_iter().collect();
        let unknown = new.len() - origins.len().min(new.len());
        origins.splice(0..0, std::iter::repeat_n(None, unknown));
        let committed: Vec<Committed> = new
            .into_iter()
            .zip(origins)
            .map(|(message, origin)| Committed {
                message: Arc::new(message),
                origin,
            })
            .collect();
        if !committed.is_empty() {
            self.feed.send_async(committed).await;
        }
    }
}

enum Outcome {
    Stored(Ack),
    Known(Result<Ack, AppendError>),
    User(Result<User, StoreError>),
    Room(RoomOutcome),
    Account(Option<User>),
    Standing(Standing),
    Nothing,
}

fn fail(job: Job, is_uncertain: bool) {
    let error = || match is_uncertain {
        true => StoreError::Uncertain("the disk".into()),
        false => StoreError::Full,
    };
    match job {
        Job::Append(_, reply) => drop(reply.send(Err(match is_uncertain {
            true => AppendError::Uncertain,
            false => AppendError::Store(StoreError::Full),
        }))),
        Job::SeeUser(_, _, reply) => drop(reply.send(Err(error()))),
        Job::CreateRoom(_, _, reply) => drop(reply.send(Err(error()))),
        Job::CreateAccount(_, reply) => drop(reply.send(Err(error()))),
        Job::Follow(_, _, reply) => drop(reply.send(Err(error()))),
        Job::Follower(_, reply) | Job::Probe(reply) => drop(reply.send(Err(error()))),
        Job::Stop => {}
    }
}

fn answers(batch: Vec<Job>, outcomes: Vec<Outcome>) -> Answers {
    fn one<T: Send + 'static>(reply: oneshot::Sender<T>, answer: T) -> Box<dyn FnOnce() + Send> {
        Box::new(move || drop(reply.send(answer)))
    }
    let mut answers = Answers::new();
    for (job, outcome) in batch.into_iter().zip(outcomes) {
        match (job, outcome) {
            (Job::Append(_, reply), Outcome::Stored(ack)) => answers.push(one(reply, Ok(ack))),
            (Job::Append(_, reply), Outcome::Known(known)) => answers.push(one(reply, known)),
            (Job::SeeUser(_, _, reply), Outcome::User(user)) => answers.push(one(reply, user)),
            (Job::CreateRoom(_, _, reply), Outcome::Room(made)) => {
                answers.push(one(reply, Ok(made)));
            }
            (Job::CreateAccount(_, reply), Outcome::Account(user)) => {
                answers.push(one(reply, Ok(user)));
            }
            (Job::Follow(_, _, reply), Outcome::Standing(standing)) => {
                answers.push(one(reply, Ok(standing)));
            }
            (Job::Follower(_, reply) | Job::Probe(reply), _) => answers.push(one(reply, Ok(()))),
            (Job::Stop, _) => {}
            _ => unreachable!("an outcome of another job"),
        }
    }
    answers
}

impl State {
    fn apply(&mut self, job: &Job, now: Timestamp) -> Outcome {
        match job {
            Job::Append(message, _) => self.append(message, now),
            Job::SeeUser(id, username, _) => Outcome::User(Ok(self.see(*id, username))),
            Job::CreateRoom(room, most, _) => {
                let is_known = self.rooms.contains(room.as_str());
                let outcome = match (is_known, (self.rooms.len() as u64) < *most) {
                    (true, _) => RoomOutcome::Known,
                    (false, true) => RoomOutcome::Made,
                    (false, false) => RoomOutcome::Full,
                };
                if outcome == RoomOutcome::Made {
                    self.rooms.insert(room.as_str().into());
                }
                Outcome::Room(outcome)
            }
            Job::CreateAccount(account, _) => Outcome::Account(self.create_account(account)),
            Job::Follow(follower, begin, _) => Outcome::Standing(self.follow(*follower, *begin)),
            Job::Follower(change, _) => {
                self.change(change, now);
                Outcome::Nothing
            }
            Job::Probe(_) | Job::Stop => Outcome::Nothing,
        }
    }

    fn append(&mut self, new: &NewMessage, now: Timestamp) -> Outcome {
        let key = new
            .nonce
            .as_ref()
            .map(|nonce: &Nonce| (new.from.get(), nonce.as_str().to_owned()));
        if let Some(&at) = key.as_ref().and_then(|key| self.by_nonce.get(key)) {
            let known = &self.messages[at];
            let is_same = known.place == new.place && known.content == new.content;
            return Outcome::Known(match is_same {
                true => Ok(ack_of(known, true)),
                false => Err(AppendError::NonceReused),
            });
        }
        let is_there = match &new.place {
            Place::Room(room) => self.rooms.contains(room.as_str()),
            Place::Dm(to) => self.users.contains_key(&to.get()),
        };
        if !is_there {
            return Outcome::Known(Err(AppendError::UnknownPlace));
        }
        self.last_id += 1;
        let scope = match &new.place {
            Place::Room(room) => Scope::Room(room.clone()),
            Place::Dm(to) => Scope::Dm(new.from, *to),
        };
        let before = self.messages.iter().rev().find(|m| is_in(m, &scope));
        let message = Message {
            id: MessageId::new(self.last_id).unwrap(),
            seq: 1 + before.map_or(0, |message| message.seq),
            from: new.from,
            username: new.username.clone(),
            place: new.place.clone(),
            content: new.content.clone(),
            timestamp: now,
            nonce: new.nonce.clone(),
        };
        let ack = ack_of(&message, false);
        if let Some(key) = key {
            self.by_nonce.insert(key, self.messages.len());
        }
        self.messages.push(message);
        Outcome::Stored(ack)
    }

    fn see(&mut self, id: UserId, username: &Username) -> User {
        let known = self.users.entry(id.get()).or_insert_with(|| KnownUser {
            user: User {
                id,
                username: username.clone(),
                role: "user".into(),
            },
            account: None,
        });
        if known.account.is_none() {
            known.user.username = username.clone();
        }
        known.user.clone()
    }

    fn create_account(&mut self, new: &NewAccount) -> Option<User> {
        if self.account(&new.username).is_some() {
            return None;
        }
        let accounts = self.users.values().filter(|user| user.account.is_some());
        let newest = accounts.map(|known| known.user.id.get()).max().unwrap_or(0);
        let id = (newest + 1..).find(|id| !self.users.contains_key(id))?;
        let user = User {
            id: UserId::new(id)?,
            username: new.username.clone(),
            role: new.role.into(),
        };
        let known = KnownUser {
            user: user.clone(),
            account: Some(new.password_hash.clone()),
        };
        self.users.insert(id, known);
        Some(user)
    }

    fn account(&self, name: &Username) -> Option<Account> {
        let key = name.as_str().to_lowercase();
        self.users.values().find_map(|known| {
            let password_hash = known.account.clone()?;
            let is_it = known.user.username.as_str().to_lowercase() == key;
            is_it.then(|| Account {
                user: known.user.clone(),
                password_hash,
            })
        })
    }

    /// As it is read: with the name that its sender bears now.
    fn row(&self, message: &Message) -> Message {
        let username = self.users[&message.from.get()].user.username.clone();
        Message {
            username,
            ..message.clone()
        }
    }

    fn read(&self, scope: &Scope, window: Window, max_bytes: usize) -> Page {
        let is_within = |message: &&Message| is_in(message, scope);
        let (limit, found): (u32, Vec<&Message>) = match window {
            Window::After { after, limit } => {
                let from = self
                    .messages
                    .partition_point(|m| Cursor::from(m.id) <= after);
                let found = self.messages[from..].iter().filter(is_within);
                (limit, found.take(limit as usize + 1).collect())
            }
            Window::Before { before, limit } => {
                let is_before = |m: &Message| before == Cursor::END || Cursor::from(m.id) < before;
                let until = self.messages.partition_point(is_before);
                let found = self.messages[..until].iter().rev().filter(is_within);
                (limit, found.take(limit as usize + 1).collect())
            }
        };
        let (mut messages, mut bytes, mut has_more) = (Vec::new(), 0, false);
        for message in found {
            bytes += message.encoded_len_at_most();
            if messages.len() == limit as usize || (bytes > max_bytes && !messages.is_empty()) {
                has_more = true;
                break;
            }
            messages.push(self.row(message));
        }
        if matches!(window, Window::Before { .. }) {
            messages.reverse();
        }
        Page { messages, has_more }
    }
}

fn ack_of(message: &Message, duplicate: bool) -> Ack {
    Ack {
        id: message.id,
        seq: message.seq,
        timestamp: message.timestamp,
        duplicate,
    }
}

fn is_in(message: &Message, scope: &Scope) -> bool {
    match (scope, &message.place) {
        (Scope::Room(room), Place::Room(said_in)) => room == said_in,
        (Scope::Dm(a, b), Place::Dm(to)) => {
            (message.from, *to) == (*a, *b) || (message.from, *to) == (*b, *a)
        }
        (Scope::Inbox(inbox), _) => is_in_inbox(message, inbox),
        _ => false,
    }
}

fn is_in_inbox(message: &Message, inbox: &Inbox) -> bool {
    let at = Cursor::from(message.id);
    match &message.place {
        Place::Room(said_in) => inbox
            .rooms
            .iter()
            .any(|(room, after)| room == said_in && at > *after),
        Place::Dm(to) => (message.from == inbox.user || *to == inbox.user) && at > inbox.dms_after,
    }
}

impl Messages for MemoryStore {
    fn append(&self, message: NewMessage) -> Answer<'_, Result<Receipt, StoreError>> {
        Box::pin(async move {
            let (reply, receipt) = oneshot::channel();
            self.enqueue(Job::Append(message, reply))?;
            Ok(Receipt::new(receipt))
        })
    }

    fn read(
        &self,
        scope: Scope,
        window: Window,
        max_bytes: usize,
    ) -> Answer<'_, Result<Page, StoreError>> {
        Box::pin(self.look(move |state| state.read(&scope, window, max_bytes)))
    }

    fn count(
        &self,
        scope: Scope,
        after: Cursor,
        until: Cursor,
        enough: u32,
    ) -> Answer<'_, Result<u32, StoreError>> {
        Box::pin(self.look(move |state| {
            let within = |m: &&Message| {
                let at = Cursor::from(m.id);
                at > after && at <= until && is_in(m, &scope)
            };
            let found = state.messages.iter().filter(within);
            found.take(enough as usize).count() as u32
        }))
    }

    fn latest_id(&self) -> Answer<'_, Result<Cursor, StoreError>> {
        Box::pin(self.look(|state| {
            let last = state.messages.last();
            last.map_or(Cursor::START, |message| message.id.into())
        }))
    }

    fn epoch(&self) -> &str {
        &self.epoch
    }
}

impl Directory for MemoryStore {
    fn user(&self, id: UserId) -> Answer<'_, Result<Option<User>, StoreError>> {
        Box::pin(self.look(move |state| {
            let known = state.users.get(&id.get());
            known.map(|known| known.user.clone())
        }))
    }

    fn see_user(&self, id: UserId, username: Username) -> Answer<'_, Result<User, StoreError>> {
        Box::pin(self.ask(move |reply| Job::SeeUser(id, username, reply)))
    }

    fn room_exists(&self, room: RoomName) -> Answer<'_, Result<bool, StoreError>> {
        Box::pin(self.look(move |state| state.rooms.contains(room.as_str())))
    }

    fn create_room(
        &self,
        room: RoomName,
        max_rooms: u64,
    ) -> Answer<'_, Result<RoomOutcome, StoreError>> {
        Box::pin(self.ask(move |reply| Job::CreateRoom(room, max_rooms, reply)))
    }

    fn rooms(
        &self,
        after: Option<RoomName>,
        limit: u32,
        max_bytes: usize,
    ) -> Answer<'_, Result<Listing<StoredRoom>, StoreError>> {
        Box::pin(self.look(move |state| state.list_rooms(after.as_ref(), limit, max_bytes)))
    }

    fn users(&self, after: i64, limit: u32) -> Answer<'_, Result<Listing<User>, StoreError>> {
        Box::pin(self.look(move |state| state.list_users(after, limit)))
    }

    fn conversations(
        &self,
        user: UserId,
        before: Cursor,
        limit: u32,
        max_bytes: usize,
    ) -> Answer<'_, Result<Listing<(User, Message)>, StoreError>> {
        Box::pin(self.look(move |state| state.list_conversations(user, before, limit, max_bytes)))
    }

    fn account(&self, name: Username) -> Answer<'_, Result<Option<Account>, StoreError>> {
        Box::pin(self.look(move |state| state.account(&name)))
    }

    fn create_account(&self, account: NewAccount) -> Answer<'_, Result<Option<User>, StoreError>> {
        Box::pin(self.ask(move |reply| Job::CreateAccount(account, reply)))
    }

    fn probe(&self) -> Answer<'_, Result<(), StoreError>> {
        Box::pin(self.ask(Job::Probe))
    }
}

impl Neighbours for MemoryStore {}
