//! One conversation: a frame comes in, a verb is called, a reply with its `ref` goes out.
//!
//! Requests are handled in the order in which they came and answered in that order. Sends overlap: the next one is read
//! while earlier ones are on their way to the disk, so that one client can fill a commit; everything else waits for
//! them, so that a history shows what was sent before it. Sockets are not known here: frames come as a stream of
//! [`Event`]s and leave through the [`Outbox`].

mod catch_up;
mod timers;
mod watch;

use std::{collections::VecDeque, future::poll_fn, pin::Pin, sync::Arc, time::Duration};

use futures_util::{Stream, StreamExt as _};
use tokio::{pin, select, time::sleep_until};
use tokio_util::sync::CancellationToken;

use crate::{
    auth::Identity,
    authority::Authority,
    chat::{Chat, Pending, SendFailure},
    clock::Clock,
    frame::Frame,
    hub::{End, News, Outbox, Presence},
    protocol::{
        Ack, CloseCode, Cursor, ErrorCode, Incoming, Limits, Place, Ref, Reject, Reply, Request,
        SendRequest,
    },
    seeded::{self, Step},
    store::AppendError,
};
use timers::Timers;
use watch::Watch;

/// What a socket tells its session.
#[derive(Debug)]
pub enum Event<T> {
    /// A text frame.
    Text(T),
    /// A sign of life without content: a ping or a pong.
    Alive,
    /// The peer broke a rule that ends the connection.
    Violation(CloseCode),
    /// The peer says goodbye and may still read.
    Goodbye,
}

/// When a session does what without being asked.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// Messages are held back until the first request but `hello` was handled, or this long.
    pub hold: Duration,
    /// Between two pings.
    pub ping: Duration,
    /// A connection from which nothing came for so long is closed.
    pub silence: Duration,
    /// Between two questions about a token that does not tell when it ends.
    pub ask_again: Duration,
    /// Bytes a second that a peer must read at least: a ping waits for its answer behind all that was written before it.
    pub slowest_reader: usize,
    /// Sends that one connection may have on their way to the disk.
    pub in_flight: usize,
    /// Before the log is asked again for what a reader has missed, when storage was busy.
    pub retry: Duration,
}

/// What every session of this server shares.
#[derive(Debug)]
pub struct Shared {
    /// The verbs.
    pub chat: Arc<Chat>,
    /// Judges the tokens of `auth` frames.
    pub authority: Authority,
    /// What a frame is checked against.
    pub limits: Limits,
    /// When what happens by itself.
    pub timing: Timing,
    /// What time it is, for tokens.
    pub clock: Clock,
    /// Ends every session with 1001.
    pub stop: CancellationToken,
}

/// One connection's conversation.
#[derive(Debug)]
pub struct Session {
    shared: Arc<Shared>,
    identity: Identity,
    presence: Presence,
    outbox: Arc<Outbox>,
    in_flight: VecDeque<(Option<Ref>, Pending)>,
    /// A resume has promised everything up to here: until that is queued, no further request is heard.
    replay_until: Option<Cursor>,
    timers: Timers,
    /// Of a token that does not tell when it ends.
    watch: Option<Watch>,
}

enum Wake<T> {
    Event(Option<Event<T>>),
    Stored(Result<Ack, AppendError>),
    Timer,
    News(News),
    Refused,
    Stop,
}

impl Session {
    /// A session for somebody who was admitted and is present.
    pub fn new(
        shared: Arc<Shared>,
        identity: Identity,
        presence: Presence,
        outbox: Arc<Outbox>,
    ) -> Self {
        let timers = Timers::new(shared.timing, identity.expiry, &shared.clock);
        Self {
            shared,
            identity,
            presence,
            outbox,
            in_flight: VecDeque::new(),
            replay_until: None,
            timers,
            watch: None,
        }
    }

    /// The same, let in by `token`: one that does not tell when it ends is asked about again and again.
    pub fn by_token(mut self, token: &str) -> Self {
        self.watch = Watch::of(&self.shared, token, self.identity.user);
        self
    }

    /// Talks until one side ends it, and says how the writing is to end.
    pub async fn run<T: AsRef<str>>(mut self, events: impl Stream<Item = Event<T>>) -> End {
        pin!(events);
        let timer = sleep_until(self.timers.next());
        pin!(timer);
        let outbox = self.outbox.clone();
        let shared = self.shared.clone();
        loop {
            let has_room = outbox.has_room();
            let listens = has_room
                && self.replay_until.is_none()
                && self.in_flight.len() < shared.timing.in_flight;
            let may_read_log = self.timers.may_read_log();
            let wake = select! {
                biased;
                () = shared.stop.cancelled() => Wake::Stop,
                result = front(&mut self.in_flight), if !self.in_flight.is_empty() => Wake::Stored(result),
                // Either of the two, whichever is lucky, so that neither a flood of requests nor a long way to catch up
                // keeps the other waiting. Before the timer: after a pause of this process, what has come in the meantime
                // is no silence.
                wake = async { select! {
                    news = outbox.news(!has_room, may_read_log) => Wake::News(news),
                    event = events.next(), if listens => Wake::Event(event),
                } } => wake,
                () = Watch::refused(&mut self.watch), if self.watch.is_some() => Wake::Refused,
                () = &mut timer => Wake::Timer,
            };
            let step = match wake {
                Wake::Event(Some(Event::Text(text))) => self.hear(text.as_ref()).await,
                Wake::Event(Some(Event::Alive)) => self.alive(),
                Wake::Event(Some(Event::Violation(code))) => Err(End::Close(code)),
                Wake::Event(Some(Event::Goodbye)) => Err(End::Finish),
                // Nobody is left to read an answer.
                Wake::Event(None) => return End::Finish,
                Wake::News(News::Ended(end)) => return end,
                Wake::News(News::FellBehind) => {
                    shared.chat.note_slow(self.identity.user);
                    Ok(())
                }
                Wake::News(News::Room) => self.alive(),
                Wake::News(News::Behind) => Box::pin(self.catch_up()).await,
                Wake::Stored(result) => self.conclude(result),
                Wake::Timer => Ok(()),
                Wake::Refused => Err(End::Close(CloseCode::TokenExpired)),
                Wake::Stop => {
                    seeded::step(Step::Stopping);
                    Err(End::Close(CloseCode::GoingAway))
                }
            };
            // Also after anything else: a flood of requests, or a long way to catch up, must not stop the clock, nor keep
            // a connection whose token is refused.
            let step = step.and_then(|()| match self.timers.is_due() {
                _ if Watch::is_over(self.watch.as_ref()) => {
                    Err(End::Close(CloseCode::TokenExpired))
                }
                true => self.tick(listens),
                false => Ok(()),
            });
            match step {
                Ok(()) => timer.as_mut().reset(self.timers.next()),
                // Whatever the end, what was taken is acknowledged first.
                Err(end) => return self.settle().await.err().unwrap_or(end),
            }
        }
    }

    /// A sign of life; none is given for a token that has expired.
    fn alive(&mut self) -> Result<(), End> {
        self.outbox.heard();
        self.timers.heard()
    }

    async fn hear(&mut self, text: &str) -> Result<(), End> {
        self.alive()?;
        let Incoming { reference, request } = Incoming::parse(text, &self.shared.limits);
        match request {
            Ok(Request::Send(request)) => self.send(reference, request).await,
            // In a box of its own: what a session rarely does should not make every idle one larger.
            request => Box::pin(self.handle(reference, request)).await,
        }
    }

    async fn send(&mut self, reference: Option<Ref>, request: SendRequest) -> Result<(), End> {
        let sent = self
            .shared
            .chat
            .send(&self.identity, request, Some(self.presence.origin()));
        match Box::pin(sent).await {
            Ok(pending) => self.in_flight.push_back((reference, pending)),
            Err(reject) => {
                self.settle().await?;
                self.refuse(reference, reject);
            }
        }
        Ok(())
    }

    async fn handle(
        &mut self,
        reference: Option<Ref>,
        request: Result<Request, Reject>,
    ) -> Result<(), End> {
        self.settle().await?;
        let result = match request {
            Ok(request) => self.answer(request).await,
            Err(reject) => Err(reject),
        };
        match result {
            Ok(reply) if reference.is_some() || is_always_sent(&reply) => {
                self.reply(reference, &reply)
            }
            Ok(_) => self.release(),
            Err(reject) => self.refuse(reference, reject),
        }
        Ok(())
    }

    async fn answer(&mut self, request: Request) -> Result<Reply, Reject> {
        let (chat, me) = (&self.shared.chat, self.identity.user);
        match request {
            Request::Join(room) => chat.join(&mut self.presence, me, room).await,
            Request::Leave(room) => {
                self.presence.leave(&room);
                Ok(Reply::Left(room))
            }
            Request::Resume(request) => self.resume(request).await.map(Reply::Resumed),
            Request::RoomHistory(room, window) => chat
                .history(me, Place::Room(room), window)
                .await
                .map(Reply::History),
            Request::DmHistory(with, window) => chat
                .history(me, Place::Dm(with), window)
                .await
                .map(Reply::History),
            Request::Hello => Ok(Reply::Welcome(Box::new(chat.welcome(&self.identity)))),
            Request::Auth(token) => self.renew(&token).await,
            Request::Ping => Ok(Reply::Pong),
            // Sends are taken out before they get here.
            Request::Send(_) => Err(Reject::new(ErrorCode::Internal, "a send lost its way")),
        }
    }

    /// `auth`: a newer token for the same user takes the place of the one in force. No leeway: this one is new.
    async fn renew(&mut self, token: &str) -> Result<Reply, Reject> {
        let now = self.shared.clock.seconds();
        let identity = self.shared.authority.identity(token, now, 0).await;
        let identity = identity.map_err(|denial| {
            let reject = Reject::from(denial).on("token");
            tracing::warn!(user_id = self.identity.user.get(), reason = %reject.message, "a newer token was refused");
            reject
        })?;
        if identity.user != self.identity.user {
            let message = "this token is another user's: open another connection for it";
            return Err(Reject::new(ErrorCode::Forbidden, message).on("token"));
        }
        self.identity = self.shared.chat.admit(identity).await?;
        self.timers.renew(self.identity.expiry, &self.shared.clock);
        self.watch = Watch::of(&self.shared, token, self.identity.user);
        Ok(Reply::AuthAck(self.identity.expiry.0))
    }

    /// Waits until every send so far is stored and acknowledged.
    async fn settle(&mut self) -> Result<(), End> {
        while !self.in_flight.is_empty() {
            let result = front(&mut self.in_flight).await;
            self.conclude(result)?;
        }
        Ok(())
    }

    /// Acknowledges the oldest send in flight.
    fn conclude(&mut self, result: Result<Ack, AppendError>) -> Result<(), End> {
        let Some((reference, pending)) = self.in_flight.pop_front() else {
            return Ok(());
        };
        match self.shared.chat.conclude(pending, result) {
            Ok(sent) if reference.is_some() => self.reply(reference, &Reply::Sent(sent)),
            Ok(_) => self.release(),
            Err(SendFailure::Refused(reject)) => self.refuse(reference, reject),
            Err(SendFailure::Uncertain) => {
                // Answers come in the order of the requests: behind one that has none, nothing can be answered any more.
                self.in_flight.clear();
                return Err(End::Close(CloseCode::Internal));
            }
        }
        Ok(())
    }

    fn refuse(&mut self, reference: Option<Ref>, reject: Reject) {
        tracing::debug!(
            user_id = self.identity.user.get(),
            code = reject.code.as_str(),
            "request refused"
        );
        self.shared.chat.count(&reject);
        self.reply(reference, &Reply::Error(reject));
    }

    fn reply(&mut self, reference: Option<Ref>, reply: &Reply) {
        self.outbox.reply(Frame::reply(reply, reference.as_ref()));
        // Whoever asks where the log stands is about to say from where to go on: a message that came in between would leave
        // that position behind what was sent. The first second ends the wait in any case.
        if !matches!(reply, Reply::Welcome(_)) {
            self.release();
        }
    }

    /// The first request was handled: from now on messages may come unasked.
    fn release(&mut self) {
        if self.timers.release() {
            // Nearly always nothing was missed since the connection began, and the reader is live from here on.
            self.go_live();
        }
    }

    /// `listened`: silence counts only while this session reads, and while the peer does not take what was written.
    fn tick(&mut self, listened: bool) -> Result<(), End> {
        let listened = listened && !self.outbox.made_progress();
        let due = self.timers.tick(listened, self.outbox.unheard_bytes())?;
        if due.release {
            self.release();
        }
        if due.ping {
            self.outbox.reply(Frame::ping());
            // Monotonic time may stand still while a laptop sleeps; the token's time does not.
            self.timers.renew(self.identity.expiry, &self.shared.clock);
        }
        Ok(())
    }
}

fn is_always_sent(reply: &Reply) -> bool {
    matches!(
        reply,
        Reply::History(_) | Reply::Resumed(_) | Reply::AuthAck(_) | Reply::Pong | Reply::Error(_)
    )
}

/// The outcome of the oldest send in flight. Safe to drop half-way: the send stays where it is.
async fn front(in_flight: &mut VecDeque<(Option<Ref>, Pending)>) -> Result<Ack, AppendError> {
    poll_fn(|cx| match in_flight.front_mut() {
        Some((_, pending)) => Future::poll(Pin::new(pending.stored()), cx),
        None => std::task::Poll::Pending,
    })
    .await
}
