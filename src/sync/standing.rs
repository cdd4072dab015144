//! Where a follower stands: in memory, in the log's own notes, and for those who look.
//!
//! Nothing is forgotten when the log takes no note: what came of a message is kept until it does, and until then nothing
//! more is sent.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{
    metrics::{Failing, SyncState},
    protocol::{Cursor, MessageId, Timestamp},
    store::{Follower, Followers, Standing, StoreError},
};

/// Messages that are passed over before that is noted: a commit each would be a commit for nothing.
const PASSED_MOST: u32 = 4096;
/// How long after the first of them it is noted at the latest.
const PASSED_LONGEST: Duration = Duration::from_secs(5);

/// Where one follower stands.
pub(super) struct Place {
    log: Arc<dyn Followers>,
    state: Arc<SyncState>,
    follower: Follower,
    /// Everything up to here is dealt with, whether or not that is noted.
    position: Cursor,
    parked: u64,
    failing: Option<Failing>,
    /// Somebody reading the log was told that all is not well.
    is_told: bool,
    /// A run of parked messages is logged once.
    is_parking: bool,
    /// Own storage was complained of.
    is_stuck: bool,
    unsaved: Option<Unsaved>,
}

/// What the log is still to note.
enum Unsaved {
    /// What came of a message.
    Outcome(MessageId, Option<String>),
    /// Messages that are not for this follower: how many, up to where, since when.
    Passed(u32, MessageId, Instant),
}

impl Place {
    pub(super) fn new(log: Arc<dyn Followers>, state: Arc<SyncState>, standing: Standing) -> Self {
        let failing = standing.failing;
        let place = Self {
            log,
            state,
            follower: standing.follower,
            position: standing.position,
            parked: standing.parked,
            failing: failing.map(|(since, reason)| Failing { since, reason }),
            is_told: false,
            is_parking: false,
            is_stuck: false,
            unsaved: None,
        };
        place.state.set_failing(place.failing.clone());
        place.show();
        place
    }

    pub(super) fn follower(&self) -> Follower {
        self.follower
    }

    fn name(&self) -> &'static str {
        self.follower.as_str()
    }

    pub(super) fn position(&self) -> Cursor {
        self.position
    }

    pub(super) fn has_parked(&self) -> bool {
        self.parked > 0
    }

    /// When messages that were passed over are to be noted.
    pub(super) fn save_at(&self) -> Option<Instant> {
        match self.unsaved {
            Some(Unsaved::Passed(_, _, since)) => Some(since + PASSED_LONGEST),
            _ => None,
        }
    }

    /// The message is not for this follower.
    pub(super) fn passed_over(&mut self, id: MessageId) {
        let (count, since) = match self.unsaved {
            Some(Unsaved::Passed(count, _, since)) => (count, since),
            _ => (0, Instant::now()),
        };
        self.unsaved = Some(Unsaved::Passed(count.saturating_add(1), id, since));
        self.position = id.into();
        self.show();
    }

    /// The message was taken, or refused for that reason. To be [saved](Place::save) before the next is sent.
    pub(super) fn concluded(&mut self, id: MessageId, refusal: Option<String>) {
        let (name, id_shown) = (self.name(), id.get());
        match &refusal {
            Some(reason) if !self.is_parking => {
                tracing::warn!(follower = name, id = id_shown, %reason, "a message was refused and is parked: see chat-server sync status");
            }
            Some(reason) => {
                tracing::debug!(follower = name, id = id_shown, %reason, "one more message was refused and is parked");
            }
            None => {}
        }
        self.is_parking = refusal.is_some();
        self.unsaved = Some(Unsaved::Outcome(id, refusal));
    }

    /// Notes what is not noted yet; messages that were passed over, when it is time.
    pub(super) async fn save(&mut self) -> Result<(), StoreError> {
        match &self.unsaved {
            Some(Unsaved::Passed(_, _, since)) if since.elapsed() < PASSED_LONGEST => Ok(()),
            Some(_) => self.save_now().await,
            None => Ok(()),
        }
    }

    /// Notes messages that were passed over, when they are many.
    pub(super) async fn save_if_far(&mut self) -> Result<(), StoreError> {
        match self.unsaved {
            Some(Unsaved::Passed(count, ..)) if count >= PASSED_MOST => self.save_now().await,
            _ => Ok(()),
        }
    }

    async fn save_now(&mut self) -> Result<(), StoreError> {
        let (id, refusal) = match &self.unsaved {
            Some(Unsaved::Outcome(id, refusal)) => (*id, refusal.clone()),
            Some(Unsaved::Passed(_, id, _)) => (*id, None),
            None => return Ok(()),
        };
        let parked = u64::from(refusal.is_some());
        self.log.advance(self.follower, id, refusal).await?;
        self.unsaved = None;
        self.is_stuck = false;
        self.parked += parked;
        self.position = self.position.max(id.into());
        self.show();
        self.all_is_well();
        Ok(())
    }

    /// The next message was not taken.
    pub(super) async fn hindered(&mut self, reason: String, now: Timestamp) {
        if !self.is_told {
            self.is_told = true;
            tracing::warn!(
                follower = self.name(), url = self.state.url(), %reason,
                "messages cannot be copied at present: they wait in the log, and are tried again"
            );
        }
        if let Some(Unsaved::Passed(..)) = self.unsaved
            && self.failing.is_none()
        {
            // So that those who look at the log find the message that is not taken behind the cursor, and not one before it.
            let _ = self.save_now().await;
        }
        if self.fail(reason.clone(), now) {
            // For those who look when this process is gone; it is said again with the next reason.
            let _ = self.log.note_failure(self.follower, reason).await;
        }
    }

    fn all_is_well(&mut self) {
        if self.failing.take().is_some() {
            self.state.set_failing(None);
        }
        if std::mem::take(&mut self.is_told) {
            tracing::info!(
                follower = self.name(),
                url = self.state.url(),
                "messages are copied again"
            );
        }
    }

    /// The log cannot be read, or takes no note; so it cannot note that either.
    pub(super) fn stuck(&mut self, error: &StoreError, now: Timestamp) {
        if !std::mem::replace(&mut self.is_stuck, true) {
            tracing::warn!(follower = self.name(), %error, "the log cannot be copied at present: it is tried again");
        }
        self.fail(
            format!("this server's own log is the trouble: {error}"),
            now,
        );
    }

    /// The log can be read, and there is nothing to do.
    pub(super) fn idle(&mut self) {
        if std::mem::take(&mut self.is_stuck) {
            self.all_is_well();
        }
    }

    /// Shows the reason; whether it is another one than before.
    fn fail(&mut self, reason: String, now: Timestamp) -> bool {
        let before = self.failing.as_ref();
        if before.is_some_and(|failing| failing.reason == reason) {
            return false;
        }
        let since = before.map_or(now, |failing| failing.since);
        self.failing = Some(Failing { since, reason });
        self.state.set_failing(self.failing.clone());
        true
    }

    /// Reads where this follower stands; whether an operator has moved it on.
    pub(super) async fn refresh(&mut self) -> Result<bool, StoreError> {
        let standings = self.log.standings().await?;
        let Some(standing) = { standings }
            .into_iter()
            .find(|it| it.follower == self.follower)
        else {
            return Ok(false);
        };
        self.parked = standing.parked;
        let is_moved = standing.position > self.position;
        if is_moved {
            self.position = standing.position;
            self.unsaved = None;
            self.all_is_well();
            tracing::info!(
                follower = self.name(),
                position = self.position.get(),
                "a message was skipped"
            );
        }
        self.show();
        Ok(is_moved)
    }

    /// What came of a parked message that was due again; whether that is noted.
    pub(super) async fn concluded_again(&mut self, id: MessageId, refusal: Option<String>) -> bool {
        let gone = u64::from(refusal.is_none());
        let noted = self.log.conclude_again(self.follower, id, refusal).await;
        if let Err(error) = &noted {
            tracing::warn!(follower = self.name(), id = id.get(), %error, "the log does not take note of a parked message: it is sent again");
            return false;
        }
        self.parked = self.parked.saturating_sub(gone);
        self.show();
        true
    }

    fn show(&self) {
        self.state.stands(self.position, self.parked);
    }
}
