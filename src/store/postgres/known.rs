//! What becomes of each message of a batch, decided from what the database said of what the batch names.
//!
//! Nothing is asked and nothing is written here: that is `append.rs`, which decides twice, once to know what it must store
//! and once when that is stored.

use std::collections::{HashMap, HashSet};

use tokio_postgres::{Error, Row};

use crate::{
    protocol::{Ack, Message, MessageId, Place, RoomName, Timestamp, UserId},
    store::{AppendError, NewMessage, StoreError},
};

/// What one message came to inside the transaction, not yet told to anybody.
#[derive(Debug)]
pub(super) enum Outcome {
    Stored(Message),
    Duplicate(Ack),
    Refused(AppendError),
}

pub(super) type NonceKey = (i64, Vec<u8>);

/// The message that a nonce stands for: how it was acknowledged, its place and its content.
pub(super) type Stored = (Ack, Place, String);

/// What is known of what a batch names.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) users: HashSet<i64>,
    pub(super) free_users: HashSet<i64>,
    pub(super) rooms: HashSet<String>,
    pub(super) free_rooms: HashSet<String>,
    pub(super) nonces: HashMap<NonceKey, Stored>,
}

pub(super) fn stored(row: &Row) -> Result<Option<(NonceKey, Stored)>, Error> {
    let id = MessageId::new(row.try_get(2)?);
    let room = row.try_get::<_, Option<&str>>(5)?;
    let place = match room {
        Some(room) => RoomName::new(room).ok().map(Place::Room),
        None => row
            .try_get::<_, Option<i64>>(6)?
            .and_then(UserId::new)
            .map(Place::Dm),
    };
    let (Some(id), Some(place)) = (id, place) else {
        return Ok(None);
    };
    let ack = Ack {
        id,
        seq: row.try_get(3)?,
        timestamp: Timestamp::from_unix_ms(row.try_get(4)?),
        duplicate: true,
    };
    let key = (row.try_get(0)?, row.try_get(1)?);
    // Emptied by another program since: whatever is sent now is something else.
    let content: Option<String> = row.try_get(7)?;
    Ok(Some((key, (ack, place, content.unwrap_or_default()))))
}

pub(super) fn nonce_key(new: &NewMessage) -> Option<NonceKey> {
    let nonce = new.nonce.as_ref()?;
    Some((new.from.get(), nonce.as_str().as_bytes().to_vec()))
}

impl Known {
    /// What becomes of it, unless it is to be inserted.
    pub(super) fn judge(&self, new: &NewMessage) -> Option<Outcome> {
        if let Some(key) = nonce_key(new)
            && let Some((ack, place, content)) = self.nonces.get(&key)
        {
            let is_same = *place == new.place && content == new.content.as_str();
            return Some(match is_same {
                true => Outcome::Duplicate(*ack),
                false => Outcome::Refused(AppendError::NonceReused),
            });
        }
        let (is_known, is_free) = match &new.place {
            Place::Room(room) => (
                self.rooms.contains(room.as_str()),
                self.free_rooms.contains(room.as_str()),
            ),
            Place::Dm(to) => (
                self.users.contains(&to.get()),
                self.free_users.contains(&to.get()),
            ),
        };
        let from = new.from.get();
        if !is_known {
            return Some(Outcome::Refused(AppendError::UnknownPlace));
        }
        if !self.users.contains(&from) {
            let why = StoreError::Internal("the sender has no row in users".into());
            return Some(Outcome::Refused(why.into()));
        }
        if !is_free || !self.free_users.contains(&from) {
            let why = "another program holds the row of the sender, the recipient or the room";
            return Some(Outcome::Refused(StoreError::Unavailable(why).into()));
        }
        None
    }

    /// A message is stored: whatever else bears its nonce is the same, or refused.
    pub(super) fn add(&mut self, message: Message) -> Outcome {
        if let Some(nonce) = &message.nonce {
            let key = (message.from.get(), nonce.as_str().as_bytes().to_vec());
            let ack = Ack {
                duplicate: true,
                ..ack_of(&message)
            };
            let content = message.content.as_str().to_owned();
            self.nonces
                .insert(key, (ack, message.place.clone(), content));
        }
        Outcome::Stored(message)
    }

    /// What becomes of one that was not to be inserted.
    pub(super) fn judge_again(&self, new: &NewMessage) -> Outcome {
        self.judge(new).unwrap_or_else(|| {
            // It had no number, or one that no message can have: the ids are used up.
            let why = StoreError::Internal("there is no id for the message".into());
            Outcome::Refused(why.into())
        })
    }
}

pub(super) fn ack_of(message: &Message) -> Ack {
    Ack {
        id: message.id,
        seq: message.seq,
        timestamp: message.timestamp,
        duplicate: false,
    }
}
