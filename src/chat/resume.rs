//! Going on where an earlier connection ended, and catching up: both read the log after a cursor, and then go live.
//!
//! `resume` only moves the cursor back and says what will come; what it promised is read by the same pages that serve a
//! reader who is too slow. Nothing can fall between the log and what is live: first messages are left to the log, then
//! the log is read, then the reader is live.

use super::Chat;
use crate::{
    frame::Frame,
    hub::Presence,
    protocol::{
        Cursor, ErrorCode, Incomplete, Message, MessageId, Reject, ResumeRequest, Resumed,
        RoomName, UserId, Window,
    },
    seeded::{self, Bug},
    store::{Inbox, Scope, StoreError},
};

/// Most messages in one page of a reader who catches up: as many frames as the pump writes in four rounds.
const PAGE_MESSAGES: u32 = 256;

/// A part of what a reader has missed, encoded, oldest first.
#[derive(Debug)]
pub struct MissedPage {
    /// Which message, and its frame.
    pub frames: Vec<(MessageId, Frame)>,
    /// There is more in the log now.
    pub has_more: bool,
}

impl Chat {
    /// `resume`: receives `rooms`, and says whether what was missed will be replayed. When it will, the reader is behind
    /// until the pages after the cursor have been read. A refusal changes nothing.
    pub async fn resume(
        &self,
        presence: &mut Presence,
        request: ResumeRequest,
    ) -> Result<Resumed, Reject> {
        let ResumeRequest {
            after,
            rooms,
            epoch,
        } = request;
        let (rooms, refused) = self.admit_to_all(presence, rooms).await?;
        let fault = match epoch {
            Some(epoch) if epoch != self.store.epoch() && !seeded::has(Bug::EpochUnchecked) => {
                Some(Incomplete::Epoch)
            }
            _ if self.is_ahead(after).await? => Some(Incomplete::Ahead),
            _ => None,
        };
        let new: Vec<RoomName> = rooms
            .iter()
            .filter(|room| !presence.is_in(room))
            .cloned()
            .collect();
        let (floor, sent) = presence.listen(&rooms);
        let replay = match fault {
            Some(fault) => Ok(Err(fault)),
            None if after < sent => Ok(Err(Incomplete::Behind)),
            None => self.missed(presence, after, floor, &rooms).await,
        };
        let replay = replay.inspect_err(|_| new.iter().for_each(|room| presence.leave(room)))?;
        match replay {
            Ok(missed) => presence.rewind(after, floor, &rooms, missed > 0),
            // Also of what a slow reader was owed in them: the client is told to ask for histories.
            Err(_) => presence.receive_after(floor, &rooms),
        }
        self.metrics.resumed(replay.err());
        Ok(Resumed {
            epoch: self.store.epoch().to_owned(),
            last_id: floor,
            rooms,
            replay,
            refused,
        })
    }

    /// The rooms that may be received, and those that may not. Fails when storage cannot tell.
    async fn admit_to_all(
        &self,
        presence: &Presence,
        asked: Vec<RoomName>,
    ) -> Result<(Vec<RoomName>, Vec<(RoomName, ErrorCode)>), Reject> {
        let most = self.policy.rooms_per_connection;
        let (mut rooms, mut refused) = (Vec::new(), Vec::new());
        let mut count = presence.room_count();
        for room in asked {
            let is_new = !presence.is_in(&room);
            let verdict = match count < most || !is_new {
                true => self.open_room(presence.user(), &room).await,
                false => Err(super::rooms::too_many_rooms(most)),
            };
            match verdict {
                Ok(()) => {
                    count += usize::from(is_new);
                    rooms.push(room);
                }
                Err(reject)
                    if matches!(reject.code, ErrorCode::Unavailable | ErrorCode::Internal) =>
                {
                    return Err(reject);
                }
                Err(reject) => {
                    self.count(&reject);
                    refused.push((room, reject.code));
                }
            }
        }
        Ok((rooms, refused))
    }

    /// Whether nothing as new as `after` is stored. What is stored and not announced yet is waited for, so that a sender
    /// can go on right after its own message.
    async fn is_ahead(&self, after: Cursor) -> Result<bool, Reject> {
        if after <= self.hub.floor() {
            return Ok(false);
        }
        let latest = self.store.latest_id().await;
        if after > latest.map_err(|error| self.failure(error))? {
            return Ok(true);
        }
        self.hub.relayed(after).await;
        Ok(false)
    }

    /// How many messages a resume replays, unless they are too many.
    async fn missed(
        &self,
        presence: &Presence,
        after: Cursor,
        until: Cursor,
        rooms: &[RoomName],
    ) -> Result<Result<u32, Incomplete>, Reject> {
        let inbox = Inbox {
            user: presence.user(),
            dms_after: after,
            rooms: rooms.iter().map(|room| (room.clone(), after)).collect(),
        };
        let most = self.policy.resume_max;
        let count = self
            .store
            .count(Scope::Inbox(inbox), after, until, most + 1)
            .await;
        let count = count.map_err(|error| self.failure(error))?;
        Ok(if count > most {
            Err(Incomplete::TooMany)
        } else {
            Ok(count)
        })
    }

    /// Counts a reader who was too slow for what is live.
    pub fn note_slow(&self, user: UserId) {
        self.metrics.fell_behind.inc();
        tracing::info!(
            user_id = user.get(),
            "a connection reads too slowly: it is served from the log until it has caught up"
        );
    }

    /// The next page of what the reader has missed after `after`. `Ok(None)` when storage is busy: worth another try.
    pub async fn missed_page(
        &self,
        presence: &Presence,
        after: Cursor,
    ) -> Result<Option<MissedPage>, Reject> {
        let (scope, limit) = (Scope::Inbox(presence.inbox()), PAGE_MESSAGES);
        let page = self
            .store
            .read(
                scope,
                Window::After { after, limit },
                self.policy.page_bytes,
            )
            .await;
        let page = match page {
            Ok(page) => page,
            Err(error @ StoreError::Unavailable(_)) => {
                self.failure(error);
                return Ok(None);
            }
            Err(error) => return Err(self.failure(error)),
        };
        // What is stored and not announced yet comes by itself, and before anything that is joined from now on.
        let floor = self.hub.floor();
        let announced = page
            .messages
            .partition_point(|message| Cursor::from(message.id) <= floor);
        let has_more = page.has_more && announced == page.messages.len();
        let frame = |message: &Message| (message.id, Frame::message(message));
        let frames: Vec<_> = page.messages[..announced].iter().map(frame).collect();
        self.metrics.caught_up.inc_by(frames.len() as u64);
        Ok(Some(MissedPage { frames, has_more }))
    }
}
