//! From the log to live: a reader who resumes, and one who was too slow, are served by the same pages.

use super::Session;
use crate::{
    hub::End,
    protocol::{CloseCode, Reject, ResumeRequest, Resumed},
    seeded::{self, Step},
};

impl Session {
    /// `resume`: what it promises is read by [`Session::catch_up`] once it has been answered.
    pub(super) async fn resume(&mut self, request: ResumeRequest) -> Result<Resumed, Reject> {
        let resumed = self.shared.chat.resume(&mut self.presence, request).await?;
        if resumed.replay.is_ok_and(|missed| missed > 0) {
            self.replay_until = Some(resumed.last_id);
        }
        Ok(resumed)
    }

    /// Live, if nothing is missed.
    pub(super) fn go_live(&mut self) {
        if self.outbox.begin_page().is_some() {
            self.outbox.abandon_page();
        }
    }

    /// Queues one page of what this reader has missed; after the last one the reader is live.
    pub(super) async fn catch_up(&mut self) -> Result<(), End> {
        let Some(after) = self.outbox.begin_page() else {
            self.replay_until = None;
            return Ok(());
        };
        match self.shared.chat.missed_page(&self.presence, after).await {
            Ok(Some(page)) => {
                seeded::step(Step::MidResume);
                self.outbox.finish_page(page.frames, page.has_more);
            }
            Ok(None) => {
                self.outbox.abandon_page();
                self.timers.retry_later();
            }
            // The log cannot be read: nothing may be passed over, and nothing can be served.
            Err(_) => return Err(End::Close(CloseCode::Internal)),
        }
        let reached = self.outbox.catching_up();
        if reached.is_none() || reached >= self.replay_until {
            self.replay_until = None;
        }
        Ok(())
    }
}
