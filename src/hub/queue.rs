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

/// Everything that waits for one reader, and its place in the log.
#[derive(Debug)]
pub struct Queue {
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

/// What waits.
#[derive(Debug)]
pub struct Queued {
    /// The frame.
    pub frame: Frame,
    /// Which message it is, if it is one.
    pub message: Option<MessageId>,
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
pub enum Pushed {
    /// It waits, or is held for the moment at which the reader is live.
    Queued,
    /// It is left to the log, as those before it.
    Left,
    /// It found no room: it and all that waited are left to the log from now on.
    FellBehind,
}

impl Queue {
    /// For a reader that is not live yet and that gets what comes after `position`.
    pub fn new(position: Cursor) -> Self {
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

    /// Everything that waits, is held, or was taken and is not written yet.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Everything but the messages that wait.
    pub fn kept_bytes(&self) -> usize {
        self.bytes - self.message_bytes.min(self.bytes)
    }

    /// Whether messages are queued as they are published.
    pub fn is_live(&self) -> bool {
        matches!(self.mode, Mode::Live)
    }

    /// Whether one frame waits: the one that was just added, for which the pump may be asleep.
    pub fn has_one(&self) -> bool {
        self.waiting.len() == 1
    }

    /// Everything up to here waits, has left, or is not for this reader.
    pub fn position(&self) -> Cursor {
        self.position
    }

    /// The newest message that this reader was sent, or will be if nothing is dropped.
    pub fn sent(&self) -> Cursor {
        self.sent
    }

    /// How many DMs from this connection are remembered.
    pub fn own(&self) -> usize {
        self.own.len()
    }

    /// A message was published; ids increase. It must not make all that waits longer than `limit_bytes`.
    pub fn push(&mut self, id: MessageId, frame: Frame, limit_bytes: usize) -> Pushed {
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
    pub fn skip(&mut self, id: MessageId) {
        if self.is_live() {
            self.position = id.into();
        }
        self.own.push(id);
        self.settle();
    }

    /// Adds what is no message, whatever the limit.
    pub fn add(&mut self, item: Queued) {
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
    pub fn fell_behind(&mut self) -> bool {
        mem::take(&mut self.fell)
    }

    /// Leaves messages to the log from now on. Nothing is missed by that yet.
    pub fn leave_to_log(&mut self) {
        if self.is_live() {
            self.mode = Mode::Behind { missed: false };
        }
    }

    /// Reads the log from `position` on at the latest, which must not lie before what was sent; `missed` says that there is
    /// something. Own DMs up to `floor` come back this time.
    ///
    /// A reader that is behind already goes on from where it is: what it is owed lies in other rooms.
    pub fn rewind(&mut self, position: Cursor, floor: Cursor, missed: bool) {
        self.position = self.position.min(position);
        self.safe = self.safe.min(position);
        self.own.retain(|&id| Cursor::from(id) > floor);
        if let Mode::Behind { missed: before } = &mut self.mode {
            *before |= missed;
        }
    }

    /// Begins to read a page after the returned position. `None` when nothing is missed: then the reader is live.
    pub fn begin_page(&mut self) -> Option<Cursor> {
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
    pub fn finish_page(&mut self, page: Vec<(MessageId, Frame)>, has_more: bool) {
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
    pub fn stop_reading(&mut self) -> (Vec<Queued>, bool) {
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
    pub fn take(&mut self, batch: &mut VecDeque<Queued>, most: usize, enough_bytes: usize) -> bool {
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
    pub fn written(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// Drops all that waits, replies as well.
    pub fn clear(&mut self) {
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
