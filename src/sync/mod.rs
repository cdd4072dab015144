//! Telling others of every message: one task for each follower, which is one more cursor on the log.
//!
//! # The law
//! In id order, one message at a time, at least once. After each answer the cursor is made durable before the next message
//! is sent: whatever ends this process, the only message that is sent again is the one whose answer was lost. A message
//! that is refused for good is parked with its reason and passed; everything else is tried until it is taken.
//!
//! It holds nobody up: it reads pages of the log like any reader, waits for the hub's announcements when it has nothing
//! to do, and what it cannot send stays where it is, in the log. It does not know how the log is stored, and makes no
//! copy of it.

mod destination;
mod pace;
mod signature;
mod standing;
mod turns;
mod verdict;

use std::{collections::VecDeque, convert::Infallible, sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

pub use destination::Destination;
pub use signature::WebhookKey;
pub use turns::take_turns;

use crate::{
    clock::Clock,
    metrics::SyncState,
    outbound::Outbound,
    protocol::{Cursor, Message},
    store::{Followers, Standing, StoreError},
};
use pace::Pace;
use standing::Place;
use verdict::{Verdict, judge};

/// Messages that are read at once.
const PAGE_MESSAGES: u32 = 256;
/// Bytes of them, at most but for the first.
const PAGE_BYTES: usize = 256 * 1024;
/// Parked messages that are read at once when they are due again.
const AGAIN_MESSAGES: u32 = 16;
/// How often it is looked for what an operator did, while there is something that an operator might want to do.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// What one follower needs.
#[derive(Clone)]
pub struct Setup {
    /// Where the log and the cursors lie.
    pub log: Arc<dyn Followers>,
    /// Names the log.
    pub epoch: String,
    /// Where messages go.
    pub destination: Destination,
    /// What sends them.
    pub outbound: Outbound,
    /// Where it is told how it goes.
    pub state: Arc<SyncState>,
    /// What time it is, for operators and signatures.
    pub clock: Clock,
    /// How far the log reaches.
    pub announced: watch::Receiver<Cursor>,
    /// The longest wait between attempts.
    pub backoff: Duration,
}

/// Sends one follower what it follows.
pub struct Copier {
    setup: Setup,
    place: Place,
    /// Read and not yet sent.
    page: VecDeque<Message>,
    /// Nothing is to be read up to here.
    read: Cursor,
    pace: Pace,
    /// Parked and due again, and when to try them.
    again: VecDeque<Message>,
    again_pace: Pace,
    /// The other side wants to hear nothing before.
    quiet_until: Instant,
    look_at: Instant,
}

/// Why the next message could not be dealt with now.
enum Hindrance {
    /// It was not taken.
    There { reason: String, at_least: Duration },
    /// Our own storage.
    Here(StoreError),
}

impl From<StoreError> for Hindrance {
    fn from(error: StoreError) -> Self {
        Self::Here(error)
    }
}

impl Copier {
    /// For the follower who stands at `standing`.
    pub fn new(setup: Setup, standing: Standing) -> Self {
        let (pace, again_pace) = (Pace::new(setup.backoff), Pace::new(setup.backoff));
        Self {
            read: standing.position,
            place: Place::new(setup.log.clone(), setup.state.clone(), standing),
            setup,
            page: VecDeque::new(),
            pace,
            again: VecDeque::new(),
            again_pace,
            quiet_until: Instant::now(),
            look_at: Instant::now(),
        }
    }

    /// Until `stop`: then at once, and what was on its way is sent again next time.
    pub async fn run(mut self, stop: CancellationToken) {
        let _ = stop.run_until_cancelled(self.work()).await;
    }

    async fn work(&mut self) -> Infallible {
        loop {
            // Taking turns, neither what is new nor what is due again waits for all of the other.
            self.look().await;
            let has_sent_again = self.send_again().await;
            let has_sent = self.send_next().await;
            if !has_sent && !has_sent_again {
                self.wait().await;
            }
        }
    }

    /// Until there may be something to do.
    async fn wait(&mut self) {
        let is_held_up = self.pace.is_failing() || self.quiet_until > Instant::now();
        let mut moments = Vec::new();
        match is_held_up {
            true => moments.push(self.pace.due().max(self.quiet_until)),
            false => moments.extend(self.place.save_at()),
        }
        if self.pace.is_failing() || self.place.has_parked() {
            moments.push(self.look_at);
        }
        if !self.again.is_empty() {
            moments.push(self.again_pace.due().max(self.quiet_until));
        }
        let timer = async {
            match moments.into_iter().min() {
                Some(moment) => sleep_until(moment).await,
                None => std::future::pending().await,
            }
        };
        let news = async {
            // What is new waits behind what cannot be sent; and a hub that is gone announces nothing more.
            if is_held_up || self.setup.announced.changed().await.is_err() {
                std::future::pending().await
            }
        };
        tokio::select! {
            () = timer => {}
            () = news => {}
        }
    }

    /// Finds out what an operator did: skipped the message that is not taken, or wants parked ones to be sent again.
    async fn look(&mut self) {
        let is_about_to_retry = self.pace.is_failing() && self.pace.is_due();
        let is_time = self.look_at <= Instant::now();
        let is_worth_it = self.pace.is_failing() || self.place.has_parked();
        if !(is_about_to_retry || is_time && is_worth_it) {
            return;
        }
        self.look_at = Instant::now() + LOOK_EVERY;
        // What cannot be read now is looked for next time.
        if let Ok(true) = self.place.refresh().await {
            let position = self.place.position();
            self.page
                .retain(|message| Cursor::from(message.id) > position);
            self.pace.reset();
            self.quiet_until = Instant::now();
        }
        if self.place.has_parked() && self.again.is_empty() {
            let due = self
                .setup
                .log
                .due_again(self.place.follower(), AGAIN_MESSAGES);
            self.again.extend(due.await.unwrap_or_default());
        }
    }

    /// Sends the next message of the log; whether there was one and it is dealt with.
    async fn send_next(&mut self) -> bool {
        if !self.pace.is_due() || self.quiet_until > Instant::now() {
            return false;
        }
        match self.try_next().await {
            Ok(has_sent) => has_sent,
            Err(Hindrance::There { reason, at_least }) => {
                self.pace.failed(at_least);
                self.keep_quiet(at_least);
                self.place.hindered(reason, self.setup.clock.now()).await;
                false
            }
            Err(Hindrance::Here(error)) => {
                self.pace.failed(Duration::ZERO);
                self.place.stuck(&error, self.setup.clock.now());
                false
            }
        }
    }

    async fn try_next(&mut self) -> Result<bool, Hindrance> {
        self.place.save().await?;
        let Some(message) = self.next().await? else {
            self.pace.reset();
            self.place.idle();
            return Ok(false);
        };
        let refusal = match self.send(&message).await {
            Verdict::Taken => None,
            Verdict::Refused(reason) => Some(reason),
            Verdict::Again { reason, at_least } => {
                return Err(Hindrance::There { reason, at_least });
            }
        };
        self.page.pop_front();
        self.place.concluded(message.id, refusal);
        self.place.save().await?;
        self.pace.reset();
        Ok(true)
    }

    /// The next message that concerns this follower, which stays the first of the page until it is dealt with.
    async fn next(&mut self) -> Result<Option<Message>, StoreError> {
        loop {
            while let Some(message) = self.page.front() {
                if !self.setup.destination.passes_over(message) {
                    return Ok(Some(message.clone()));
                }
                self.place.passed_over(message.id);
                self.page.pop_front();
            }
            self.place.save_if_far().await?;
            let position = self.place.position();
            let latest = *self.setup.announced.borrow_and_update();
            if latest <= self.read.max(position) {
                return Ok(None);
            }
            let page = self.setup.log.log(position, PAGE_MESSAGES, PAGE_BYTES);
            self.page = page.await?.into();
            if self.page.is_empty() {
                // Nothing lies there, and nothing will.
                self.read = latest;
            }
        }
    }

    /// Sends a parked message that is due again; whether it is dealt with.
    async fn send_again(&mut self) -> bool {
        if !self.again_pace.is_due() || self.quiet_until > Instant::now() {
            return false;
        }
        let Some(message) = self.again.pop_front() else {
            return false;
        };
        let refusal = if self.setup.destination.passes_over(&message) {
            Some("direct messages are not sent here: see --webhook-dms".to_owned())
        } else {
            match self.send(&message).await {
                Verdict::Taken => None,
                Verdict::Refused(reason) => Some(reason),
                Verdict::Again { at_least, .. } => {
                    // The others get their turn before it comes again.
                    self.again.push_back(message);
                    self.again_pace.failed(at_least);
                    self.keep_quiet(at_least);
                    return false;
                }
            }
        };
        if self.place.concluded_again(message.id, refusal).await {
            self.again_pace.reset();
            if self.again.is_empty() {
                // There may be more of them.
                self.look_at = Instant::now();
            }
        } else {
            self.again_pace.failed(Duration::ZERO);
        }
        true
    }

    /// Who says when to come again means all of us.
    fn keep_quiet(&mut self, for_now: Duration) {
        self.quiet_until = self.quiet_until.max(Instant::now() + for_now);
    }

    async fn send(&self, message: &Message) -> Verdict {
        let Setup {
            destination,
            outbound,
            clock,
            state,
            epoch,
            ..
        } = &self.setup;
        let verdict = match destination.request(epoch, message, clock.seconds()) {
            Ok(request) => judge(
                outbound.send(request).await,
                &destination.untold(message),
                clock.seconds(),
            ),
            Err(fault) => Verdict::Refused(fault),
        };
        match verdict {
            Verdict::Taken => state.took(),
            _ => state.failed(),
        }
        verdict
    }
}
