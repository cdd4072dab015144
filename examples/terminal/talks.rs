//! The conversations, and how far each has been shown. Nothing is shown twice: what comes live, by a replay and out of a
//! history goes through `Talk::take`, which knows the last id.

use std::collections::HashSet;

use serde_json::Value;

/// Messages that wait in a room which nobody looks at; older ones are left to its history.
const UNREAD_MAX: usize = 200;

/// Where something is said.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    Room(String),
    /// With the user of this id.
    Dm(u64),
}

impl Place {
    /// The place of a `message` or `dm`.
    pub fn of(message: &Value, me: u64) -> Option<Self> {
        if let Some(room) = message["room"].as_str() {
            return Some(Self::Room(room.to_owned()));
        }
        let (from, to) = (message["fromUser"].as_u64()?, message["to"].as_u64()?);
        Some(Self::Dm(if from == me { to } else { from }))
    }
}

/// One conversation.
#[derive(Default)]
pub struct Talk {
    /// Id of the last message that was shown or waits in `unread`, 0 where there is none; `None` before the first history.
    last: Option<u64>,
    /// Id of the oldest one that was shown.
    pub oldest: Option<u64>,
    /// Whether nothing is missing after `last`. Until then, what comes live waits in `early`.
    pub whole: bool,
    early: Vec<Value>,
    pub unread: Vec<Value>,
    /// Our own DMs, known by their receipts, which say nothing about what lies before them.
    own: HashSet<u64>,
}

impl Talk {
    pub fn since(id: u64) -> Self {
        Self {
            last: Some(id),
            ..Self::default()
        }
    }

    /// What comes live: a message that is new here, if its turn has come.
    pub fn live(&mut self, message: &Value) -> Option<Value> {
        if !self.whole {
            self.early.push(message.clone());
            return None;
        }
        self.take(message)
    }

    /// The message, unless it was here before.
    pub fn take(&mut self, message: &Value) -> Option<Value> {
        let id = message["id"].as_u64().filter(|id| Some(*id) > self.last)?;
        self.last = Some(id);
        (!self.own.remove(&id)).then(|| message.clone())
    }

    /// Our own DM is stored, and shown.
    pub fn receipt(&mut self, id: u64) {
        if Some(id) > self.last {
            self.own.insert(id);
        }
    }

    /// What waited for the history, once nothing is missing before it.
    pub fn made_whole(&mut self) -> Vec<Value> {
        self.whole = true;
        self.last = self.last.or(Some(0));
        let early = std::mem::take(&mut self.early);
        early
            .iter()
            .filter_map(|message| self.take(message))
            .collect()
    }

    /// Something may be missing after `last`. What waited comes again out of the history.
    pub fn torn(&mut self) {
        self.whole = false;
        self.early.clear();
    }

    /// In another log, such as a restored backup, the ids mean nothing.
    pub fn forget(&mut self) {
        *self = Self::default();
    }

    pub fn keep_unread(&mut self, message: Value) {
        if self.unread.len() == UNREAD_MAX {
            self.unread.remove(0);
        }
        self.unread.push(message);
    }

    pub fn shown(&mut self, message: &Value) {
        let id = message["id"].as_u64();
        self.oldest = self.oldest.or(id).min(id.or(self.oldest));
    }

    /// After which id to ask for what is missing; none for whoever has seen nothing yet.
    pub fn after(&self) -> Option<u64> {
        self.last
    }
}
