//! What has been typed and is not stored yet: sent one at a time and in order, again after a cut, each with a nonce of its
//! own, so that what is sent twice is stored once. It lives no longer than the program.

use std::{collections::VecDeque, time::Duration};

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::talks::Place;

/// One thing that was said.
pub struct Letter {
    /// By which the user knows it.
    pub number: u64,
    pub place: Place,
    pub text: String,
    pub nonce: String,
    /// Whether it came back from the log before its receipt.
    pub shown: bool,
}

#[derive(Default)]
pub struct Outbox {
    letters: VecDeque<Letter>,
    written: u64,
    /// Whether the first one is on its way.
    under_way: bool,
    /// Until when the server wants to hear nothing.
    pub not_before: Option<Instant>,
}

impl Outbox {
    /// The letter's number.
    pub fn push(&mut self, place: Place, text: &str) -> u64 {
        self.written += 1;
        self.letters.push_back(Letter {
            number: self.written,
            place,
            text: text.to_owned(),
            nonce: format!("{:032x}", rand::random::<u128>()),
            shown: false,
        });
        self.written
    }

    pub fn is_empty(&self) -> bool {
        self.letters.is_empty()
    }

    pub fn len(&self) -> usize {
        self.letters.len()
    }

    /// The frame of the first letter, unless it is on its way or must wait.
    pub fn next(&mut self) -> Option<Value> {
        let waits = self.not_before.is_some_and(|time| Instant::now() < time);
        let letter = self.letters.front().filter(|_| !self.under_way && !waits)?;
        (self.under_way, self.not_before) = (true, None);
        let mut frame = json!({ "content": letter.text, "nonce": letter.nonce });
        match &letter.place {
            Place::Room(room) => {
                (frame["type"], frame["room"]) = ("message".into(), room.as_str().into())
            }
            Place::Dm(user) => (frame["type"], frame["to"]) = ("dm".into(), (*user).into()),
        }
        Some(frame)
    }

    /// The first letter, now that it is stored or refused for good.
    pub fn settle(&mut self) -> Option<Letter> {
        self.under_way = false;
        self.letters.pop_front()
    }

    /// The first letter stays, for a later try.
    pub fn put_back(&mut self, wait: Duration) {
        self.under_way = false;
        self.not_before = Some(Instant::now() + wait);
    }

    /// Its answer is lost with the connection.
    pub fn cut(&mut self) {
        self.under_way = false;
    }

    /// Whether this is one of ours, which has come back before its receipt.
    pub fn saw(&mut self, nonce: &Value) {
        for letter in &mut self.letters {
            letter.shown |= nonce.as_str() == Some(&letter.nonce);
        }
    }
}
