//! What waits for one reader, and where in the log the reader stands: a plain state machine, without locks or wake-ups.
//!
//! A reader is *live* (messages are queued as they are published) or *behind* (they are left to the log, and pages of it
//! are queued instead). Dropping what waits is therefore always safe: [`Queue::safe`] says from where to read it again.

use std::{collections::VecDeque, mem};

use crate::{
    frame::Frame,
    protocol::{Cursor, MessageId},
    seeded::{self, Bug},
};

#[derive(Debug)]
pub(super) struct Queue {
    waiting: VecDeque<Queued>,
    mode: Mode,
    /// Everything waiting, held, or taken and not yet written.
    bytes: usize,
    /// Of these, the messages that wait: what can be dropped.
    message_bytes: usize,
    /// Everything up to here waits, has left, or is not for this reader: from here the log is read.
    position: Cursor,
    /// The same, but for what waits: from here the log is read when that is dropped.
    safe: Cursor,
    /// The newest message that was queued and not dropped.
    sent: Cursor,
    /// The newest message that was taken.
    taken: Cursor,
    /// DMs after [`Queue::safe`] that came from this connection, which does not get them back.
    own: Vec<MessageId>,
    /// It fell behind, and nobody has been told yet.
    fell: bool,
}

#[derive(Debug)]
enum Mode {
    Live,
    Behind {
        missed: bool,
    },
    /// A page is being read; what is published meanwhile is held, in case that this page is the last.
    Reading {
        held: Vec<Queued>,
        missed: bool,
    },
}

/// A frame, and which message it is, if it is one.
#[derive(Debug)]
pub struct Queued {
    /// The frame.
    pub frame: Frame,
    message: Option<MessageId>,
}

impl From<Frame> for Queued {
    fn from(frame: Frame) -> Self {
        Self {
            frame,
            message: None,
        }
    }
}

/// What became of a message that was published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pushed {
    /// It waits, or is held for the moment at which the reader is live.
    Queued,
    /// It is left to the log, as those before it.
    Left,
    /// It found no room: it and all that waited are left to the log from now on.
    FellBehind,
}

impl Queue {
    /// For a reader that is not live yet and that gets what comes after `position`.
    pub(super) fn new(position: Cursor) -> Self {
        Self {
            waiting: VecDeque::new(),
            mode: Mode::Behind { missed: false },
            bytes: 0,
            message_bytes: 0,
            position,
            safe: position,
            sent: Cursor::START,
            taken: Cursor::START,
            own: Vec::new(),
            fell: false,
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Everything but the messages that wait.
    pub(super) fn kept_bytes(&self) -> usize {
        self.bytes - self.message_bytes.min(self.bytes)
    }

    pub(super) fn is_live(&self) -> bool {
        matches!(self.mode, Mode::Live)
    }

    /// Whether one frame waits: the one that was just added, for which the pump may be asleep.
    pub(super) fn has_one(&self) -> bool {
        self.waiting.len() == 1
    }

    pub(super) fn position(&self) -> Cursor {
        self.position
    }

    /// The newest message that this reader was sent, or will be if nothing is dropped.
    pub(super) fn sent(&self) -> Cursor {
        self.sent
    }

    /// How many DMs from this connection are remembered.
    pub(super) fn own(&self) -> usize {
        self.own.len()
    }

    /// A message was published; ids increase. It must not make all that waits longer than `limit_bytes`.
    pub(super) fn push(&mut self, id: MessageId, frame: Frame, limit_bytes: usize) -> Pushed {
        let fits = self.bytes + frame.len_bytes() <= limit_bytes;
        match &mut self.mode {
            Mode::Live if fits => {
                self.add_message(id, frame);
                Pushed::Queued
            }
            Mode::Live if seeded::has(Bug::LaggedIgnored) => Pushed::Left,
            Mode::Live => {
                self.fall_behind();
                Pushed::FellBehind
            }
            Mode::Reading { held, .. } if fits => {
                self.bytes += frame.len_bytes();
                let message = Some(id);
                held.push(Queued { frame, message });
                Pushed::Queued
            }
            Mode::Reading { missed, .. } | Mode::Behind { missed } => {
                *missed = true;
                Pushed::Left
            }
        }
    }

    /// A message was published that came from this connection, which does not get it back.
    pub(super) fn skip(&mut self, id: MessageId) {
        if self.is_live() {
            self.position = id.into();
        }
        self.own.push(id);
        self.settle();
    }

    /// Adds what is no message, whatever the limit.
    pub(super) fn add(&mut self, item: Queued) {
        self.bytes += item.frame.len_bytes();
        self.waiting.push_back(item);
    }

    fn add_message(&mut self, id: MessageId, frame: Frame) {
        (self.position, self.sent) = (id.into(), id.into());
        self.message_bytes += frame.len_bytes();
        let message = Some(id);
        self.add(Queued { frame, message });
    }

    /// Drops the messages that wait, not the replies.
    fn fall_behind(&mut self) {
        self.waiting.retain(|item| item.message.is_none());
        self.waiting.shrink_to_fit();
        self.bytes = self.kept_bytes();
        self.message_bytes = 0;
        (self.position, self.sent) = (self.safe, self.taken);
        self.mode = Mode::Behind { missed: true };
        self.fell = true;
    }

    /// Whether it fell behind since this was last asked.
    pub(super) fn fell_behind(&mut self) -> bool {
        mem::take(&mut self.fell)
    }

    /// Leaves messages to the log from now on. Nothing is missed by that yet.
    pub(super) fn leave_to_log(&mut self) {
        if self.is_live() {
            self.mode = Mode::Behind { missed: false };
        }
    }

    /// Reads the log from `position` on at the latest, which must not lie before what was sent; `missed` says that there is
    /// something. Own DMs up to `floor` come back this time.
    ///
    /// A reader that is behind already goes on from where it is: what it is owed lies in other rooms.
    pub(super) fn rewind(&mut self, position: Cursor, floor: Cursor, missed: bool) {
        self.position = self.position.min(position);
        self.safe = self.safe.min(position);
        self.own.retain(|&id| Cursor::from(id) > floor);
        if let Mode::Behind { missed: before } = &mut self.mode {
            *before |= missed;
        }
    }

    /// Begins to read a page after the returned position. `None` when nothing is missed: then the reader is live.
    pub(super) fn begin_page(&mut self) -> Option<Cursor> {
        let Mode::Behind { missed } = self.mode else {
            return None;
        };
        if missed {
            let held = Vec::new();
            self.mode = Mode::Reading {
                held,
                missed: false,
            };
            return Some(self.position);
        }
        self.mode = Mode::Live;
        self.settle();
        None
    }

    /// Adds a page, whatever the limit; nothing in it may be ahead of what was published. With the last one, the reader is
    /// live if what came meanwhile could be held.
    pub(super) fn finish_page(&mut self, page: Vec<(MessageId, Frame)>, has_more: bool) {
        let (held, missed) = self.stop_reading();
        for (id, frame) in page {
            if self.own.binary_search(&id).is_ok() {
                self.position = id.into();
            } else if seeded::has(Bug::ReplayKeepsCursor) && !has_more {
                self.add(frame.into());
            } else {
                self.add_message(id, frame);
            }
        }
        if !has_more && !missed {
            self.mode = Mode::Live;
            for Queued { frame, message } in held {
                let is_new = |&id: &MessageId| {
                    Cursor::from(id) > self.position || seeded::has(Bug::SeamDuplicate)
                };
                if let Some(id) = message.filter(is_new) {
                    self.add_message(id, frame);
                }
            }
        }
        self.settle();
    }

    /// Ends the reading: what was held, which counts no more, and whether something could not be held.
    pub(super) fn stop_reading(&mut self) -> (Vec<Queued>, bool) {
        match mem::replace(&mut self.mode, Mode::Behind { missed: true }) {
            Mode::Reading { held, missed } => {
                let bytes: usize = held.iter().map(|item| item.frame.len_bytes()).sum();
                self.bytes = self.bytes.saturating_sub(bytes);
                (held, missed)
            }
            Mode::Live | Mode::Behind { .. } => (Vec::new(), true),
        }
    }

    /// Moves up to `most` of what waits into `batch`, and no more once that has `enough_bytes`: what was taken cannot be
    /// dropped. Whether there was anything.
    pub(super) fn take(
        &mut self,
        batch: &mut VecDeque<Queued>,
        most: usize,
        enough_bytes: usize,
    ) -> bool {
        if self.waiting.is_empty() {
            shrink_after_burst(&mut self.waiting);
            return false;
        }
        let (mut count, mut bytes, mut newest) = (0, 0, None);
        for item in self.waiting.iter().take(most) {
            if bytes >= enough_bytes {
                break;
            }
            count += 1;
            bytes += item.frame.len_bytes();
            if item.message.is_some() {
                newest = item.message;
                self.message_bytes -= item.frame.len_bytes().min(self.message_bytes);
            }
        }
        if batch.is_empty() && count == self.waiting.len() {
            mem::swap(&mut self.waiting, batch);
        } else {
            batch.extend(self.waiting.drain(..count));
        }
        self.taken = newest.map_or(self.taken, Cursor::from);
        self.safe = self.safe.max(self.taken);
        self.settle();
        true
    }

    /// `bytes` of what was taken have been written.
    pub(super) fn written(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// Drops all that waits, replies as well.
    pub(super) fn clear(&mut self) {
        self.waiting = VecDeque::new();
        self.message_bytes = 0;
    }

    /// With no message waiting, nothing that is dropped would have to be read again.
    fn settle(&mut self) {
        if self.sent == self.taken {
            self.safe = self.position;
        }
        if !self.own.is_empty() {
            let safe = self.safe;
            self.own.retain(|&id| Cursor::from(id) > safe);
        }
    }
}

/// A queue that a burst made longer than this gives its memory back when it is empty: 64 frames of 40 bytes are 2.5 KiB.
const KEPT_FRAMES: usize = 64;

/// Gives back what only a burst needs. Cheap enough for every round, since a usual round changes nothing.
pub fn shrink_after_burst<T>(queue: &mut VecDeque<T>) {
    if queue.capacity() > KEPT_FRAMES && queue.is_empty() {
        *queue = VecDeque::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT_BYTES: usize = 100;

    fn frame(id: i64) -> Frame {
        Frame::encoded(&[u8::try_from(id).unwrap(); 30])
    }

    fn id(id: i64) -> MessageId {
        MessageId::new(id).unwrap()
    }

    fn at(position: i64) -> Cursor {
        Cursor::new(position).unwrap()
    }

    fn live() -> Queue {
        let mut queue = Queue::new(Cursor::START);
        assert_eq!(queue.begin_page(), None);
        queue
    }

    fn push(queue: &mut Queue, ids: std::ops::RangeInclusive<i64>) -> Pushed {
        ids.map(|n| queue.push(id(n), frame(n), LIMIT_BYTES))
            .last()
            .unwrap()
    }

    fn page(ids: std::ops::RangeInclusive<i64>) -> Vec<(MessageId, Frame)> {
        ids.map(|n| (id(n), frame(n))).collect()
    }

    /// The messages that wait, as taken and written by a pump; a reply is 0.
    fn take(queue: &mut Queue, most: usize) -> Vec<i64> {
        let mut batch = VecDeque::new();
        queue.take(&mut batch, most, usize::MAX);
        let ids = batch
            .iter()
            .map(|item| item.message.map_or(0, MessageId::get));
        let ids = ids.collect();
        queue.written(batch.iter().map(|item| item.frame.len_bytes()).sum());
        ids
    }

    #[test]
    fn a_new_reader_is_not_live_and_what_it_misses_is_in_the_log() {
        let mut queue = Queue::new(at(5));
        assert_eq!(push(&mut queue, 6..=6), Pushed::Left);
        assert_eq!(queue.begin_page(), Some(at(5)));
        queue.finish_page(page(6..=6), false);
        assert!(queue.is_live());
        assert_eq!(push(&mut queue, 7..=7), Pushed::Queued);
        assert_eq!(take(&mut queue, 9), [6, 7]);
    }

    #[test]
    fn whoever_falls_behind_keeps_the_replies_and_goes_on_after_what_was_taken() {
        let mut queue = live();
        push(&mut queue, 1..=2);
        assert_eq!(take(&mut queue, 1), [1]);
        queue.add(frame(9).into());
        assert_eq!(push(&mut queue, 3..=4), Pushed::FellBehind);
        assert_eq!(push(&mut queue, 5..=5), Pushed::Left);
        assert_eq!(take(&mut queue, 9), [0]);
        assert_eq!((queue.bytes(), queue.sent()), (0, at(1)));
        assert_eq!(queue.begin_page(), Some(at(1)));
        queue.finish_page(page(2..=3), true);
        assert_eq!(take(&mut queue, 9), [2, 3]);
        assert_eq!(queue.begin_page(), Some(at(3)));
        queue.finish_page(page(4..=5), false);
        push(&mut queue, 6..=6);
        assert_eq!(take(&mut queue, 9), [4, 5, 6]);
    }

    #[test]
    fn what_was_taken_can_no_longer_be_dropped_and_counts_as_kept() {
        let mut queue = live();
        push(&mut queue, 1..=3);
        assert_eq!(queue.kept_bytes(), 0);
        let mut batch = VecDeque::new();
        queue.take(&mut batch, 9, 31);
        assert_eq!(
            (batch.len(), queue.kept_bytes(), queue.bytes()),
            (2, 60, 90)
        );
        assert_eq!(push(&mut queue, 4..=4), Pushed::FellBehind);
        assert_eq!((queue.kept_bytes(), queue.bytes()), (60, 60));
        queue.written(60);
        assert_eq!((queue.bytes(), queue.sent()), (0, at(2)));
    }

    #[test]
    fn what_comes_while_the_last_page_is_read_follows_it_once() {
        let mut queue = live();
        push(&mut queue, 1..=4);
        queue.begin_page();
        push(&mut queue, 5..=7);
        queue.finish_page(page(1..=6), false);
        assert!(queue.is_live());
        assert_eq!(take(&mut queue, 9), [1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(queue.bytes(), 0);
    }

    #[test]
    fn more_than_can_be_held_while_a_page_is_read_is_another_page() {
        let mut queue = live();
        push(&mut queue, 1..=4);
        queue.begin_page();
        push(&mut queue, 5..=9);
        queue.finish_page(page(1..=4), false);
        assert_eq!(take(&mut queue, 9), [1, 2, 3, 4]);
        assert_eq!(queue.begin_page(), Some(at(4)));
    }

    #[test]
    fn a_page_that_could_not_be_read_is_still_missing() {
        let mut queue = live();
        push(&mut queue, 1..=4);
        queue.begin_page();
        push(&mut queue, 5..=5);
        queue.stop_reading();
        assert_eq!((queue.begin_page(), queue.bytes()), (Some(at(0)), 0));
    }

    #[test]
    fn own_dms_do_not_come_back_out_of_the_log() {
        let mut queue = live();
        push(&mut queue, 1..=1);
        queue.skip(id(2));
        assert_eq!(push(&mut queue, 3..=5), Pushed::FellBehind);
        queue.skip(id(6));
        assert_eq!(queue.begin_page(), Some(at(0)));
        queue.finish_page(page(1..=3), true);
        queue.begin_page();
        queue.finish_page(page(4..=6), false);
        assert_eq!(take(&mut queue, 9), [1, 3, 4, 5]);
        assert_eq!(queue.own(), 0);
    }

    #[test]
    fn with_nothing_waiting_an_own_dm_moves_the_position() {
        let mut queue = live();
        push(&mut queue, 1..=1);
        take(&mut queue, 9);
        queue.skip(id(2));
        assert_eq!(queue.own(), 0);
        assert_eq!(push(&mut queue, 3..=6), Pushed::FellBehind);
        assert_eq!((queue.begin_page(), queue.sent()), (Some(at(2)), at(1)));
    }

    #[test]
    fn a_resume_has_own_dms_replayed() {
        let mut queue = live();
        push(&mut queue, 1..=1);
        queue.skip(id(2));
        queue.leave_to_log();
        queue.skip(id(3));
        queue.rewind(at(1), at(2), true);
        assert_eq!(queue.begin_page(), Some(at(1)));
        queue.finish_page(page(2..=3), false);
        assert_eq!(take(&mut queue, 9), [1, 2]);
    }

    #[test]
    fn a_resume_forgets_nothing_that_was_owed_before() {
        let mut queue = live();
        push(&mut queue, 1..=1);
        take(&mut queue, 9);
        push(&mut queue, 2..=5);
        queue.leave_to_log();
        queue.rewind(at(9), at(9), false);
        assert_eq!(queue.begin_page(), Some(at(1)));
    }

    #[test]
    fn what_still_waits_after_a_resume_is_read_again_when_it_is_dropped() {
        let mut queue = live();
        push(&mut queue, 1..=1);
        take(&mut queue, 9);
        push(&mut queue, 2..=3);
        queue.leave_to_log();
        queue.rewind(at(3), at(3), false);
        queue.begin_page();
        assert_eq!(push(&mut queue, 4..=5), Pushed::FellBehind);
        assert_eq!(queue.begin_page(), Some(at(1)));
    }
}
