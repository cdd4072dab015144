//! One number for all that a side holds: SHA-256 over every row's fields, each with its length, so that nothing reads the
//! same when it is not.

use std::fmt::Write as _;

use aws_lc_rs::digest::{Context, SHA256};

use super::{Facts, Row};
use crate::protocol::Place;

/// What was read so far.
pub(super) struct Digest {
    context: Context,
    bytes: Vec<u8>,
}

impl Digest {
    pub(super) fn new() -> Self {
        Self {
            context: Context::new(&SHA256),
            bytes: Vec::new(),
        }
    }

    pub(super) fn row(&mut self, row: &Row) {
        match row {
            Row::User(user) => {
                self.number(user.id.get());
                self.text(Some(user.username.as_str()));
                self.text(user.email.as_deref());
                self.number(user.created_ms);
                let account = user.account.as_ref();
                self.text(account.map(|account| account.name.as_str()));
                self.text(account.and_then(|account| account.password_hash.as_deref()));
                self.text(account.map(|account| account.role.as_str()));
            }
            Row::Room(room) => {
                self.text(Some(room.name.as_str()));
                self.text(room.description.as_deref());
                self.numbers([room.created_ms, room.last_position, room.last_seq]);
            }
            Row::Pair(pair) => self.numbers([
                pair.low.get(),
                pair.high.get(),
                pair.last_position,
                pair.last_seq,
            ]),
            Row::Message(message) => {
                self.numbers([message.id.get(), message.seq, message.from.get()]);
                match &message.place {
                    Place::Room(room) => self.text(Some(room.as_str())),
                    Place::Dm(to) => {
                        self.text(None);
                        self.number(to.get());
                    }
                }
                self.text(Some(message.content.as_str()));
                self.number(message.timestamp.unix_ms());
                self.text(message.nonce.as_ref().map(|nonce| nonce.as_str()));
            }
            Row::Parked(follower, parked) => {
                self.text(Some(follower.as_str()));
                self.numbers([parked.id.get(), parked.since.unix_ms()]);
                self.text(Some(&parked.reason));
                self.number(i64::from(parked.due_again));
            }
        }
        self.flush();
    }

    /// What stands beside the rows, but for the secrets.
    pub(super) fn facts(&mut self, facts: &Facts) {
        self.text(Some(&facts.epoch));
        self.text(Some(facts.mode.as_str()));
        self.number(facts.last);
        for standing in &facts.followers {
            self.text(Some(standing.follower.as_str()));
            self.number(standing.position.get());
            let failing = standing.failing.as_ref();
            self.number(failing.map_or(0, |(since, _)| since.unix_ms()));
            self.text(failing.map(|(_, reason)| reason.as_str()));
        }
        self.flush();
    }

    /// In hexadecimal digits.
    pub(super) fn finish(self) -> String {
        let mut text = String::new();
        for byte in self.context.finish().as_ref() {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        text
    }

    fn number(&mut self, number: i64) {
        self.bytes.extend_from_slice(&number.to_be_bytes());
    }

    fn numbers<const N: usize>(&mut self, numbers: [i64; N]) {
        numbers.into_iter().for_each(|number| self.number(number));
    }

    fn text(&mut self, text: Option<&str>) {
        // No text is as long as this.
        let length = text.map_or(u64::MAX, |text| text.len() as u64);
        self.bytes.extend_from_slice(&length.to_be_bytes());
        self.bytes
            .extend_from_slice(text.unwrap_or_default().as_bytes());
    }

    fn flush(&mut self) {
        self.context.update(&self.bytes);
        self.bytes.clear();
    }
}
