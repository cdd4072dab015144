//! Those who follow the double's log: a map of cursors and a map of what was parked.

use std::collections::BTreeMap;

use chat_server::{
    protocol::{Cursor, Message, MessageId, Timestamp},
    store::{Answer, Begin, Follower, Followers, Lead, Parked, Standing, StoreError},
};

use super::{Disk, Job, MemoryStore, State};

/// Where everybody stands.
#[derive(Clone, Debug, Default)]
pub(super) struct Followed {
    cursors: BTreeMap<Follower, Place>,
    parked: BTreeMap<(Follower, MessageId), Parked>,
}

#[derive(Clone, Debug)]
struct Place {
    position: Cursor,
    failing: Option<(Timestamp, String)>,
}

#[derive(Debug)]
pub(super) enum Change {
    Advance(Follower, MessageId, Option<String>),
    NoteFailure(Follower, String),
    ConcludeAgain(Follower, MessageId, Option<String>),
}

impl State {
    pub(super) fn follow(&mut self, follower: Follower, begin: Begin) -> Standing {
        let newest = self.messages.last().map(|message| message.id.into());
        let position = match begin {
            Begin::Oldest => Cursor::START,
            Begin::Newest => newest.unwrap_or(Cursor::START),
        };
        self.followers.cursors.entry(follower).or_insert(Place {
            position,
            failing: None,
        });
        self.followers.standing(follower)
    }

    pub(super) fn change(&mut self, change: &Change, now: Timestamp) {
        let (Change::Advance(follower, ..)
        | Change::NoteFailure(follower, _)
        | Change::ConcludeAgain(follower, ..)) = *change;
        let is_stored = |id: MessageId| self.messages.iter().any(|message| message.id == id);
        let Followed { cursors, parked } = &mut self.followers;
        let Some(place) = cursors.get_mut(&follower) else {
            return;
        };
        match change {
            Change::Advance(_, to, refused) => {
                place.position = place.position.max((*to).into());
                place.failing = None;
                match refused {
                    None => drop(parked.remove(&(follower, *to))),
                    Some(_) if !is_stored(*to) => {}
                    Some(reason) => {
                        let new = || Parked {
                            id: *to,
                            reason: String::new(),
                            since: now,
                            due_again: false,
                        };
                        let entry = parked.entry((follower, *to)).or_insert_with(new);
                        entry.reason.clone_from(reason);
                    }
                }
            }
            Change::NoteFailure(_, reason) => {
                let since = place.failing.as_ref().map_or(now, |(since, _)| *since);
                place.failing = Some((since, reason.clone()));
            }
            Change::ConcludeAgain(_, id, None) => drop(parked.remove(&(follower, *id))),
            Change::ConcludeAgain(_, id, Some(reason)) => {
                if let Some(entry) = parked.get_mut(&(follower, *id)) {
                    entry.reason.clone_from(reason);
                    entry.due_again = false;
                }
            }
        }
    }
}

impl Followed {
    fn standing(&self, follower: Follower) -> Standing {
        let place = &self.cursors[&follower];
        Standing {
            follower,
            position: place.position,
            parked: self.of(follower, Cursor::START).count() as u64,
            failing: place.failing.clone(),
        }
    }

    /// What is parked of `follower` after `after`.
    fn of(&self, follower: Follower, after: Cursor) -> impl Iterator<Item = &Parked> {
        let all = self.parked.iter();
        all.filter(move |((of, id), _)| *of == follower && Cursor::from(*id) > after)
            .map(|(_, parked)| parked)
    }
}

impl Disk {
    /// What an operator does from another process: this parked message is wanted again.
    pub fn ask_again(&self, follower: Follower, id: MessageId) {
        let mut state = self.state();
        state
            .followers
            .parked
            .get_mut(&(follower, id))
            .unwrap()
            .due_again = true;
    }
}

impl Followers for MemoryStore {
    fn lead(&self, _follower: Follower) -> Answer<'_, Result<Lead, StoreError>> {
        Box::pin(async { Ok(Lead::undisputed()) })
    }

    fn follow(&self, follower: Follower, begin: Begin) -> Answer<'_, Result<Standing, StoreError>> {
        Box::pin(self.ask(move |reply| Job::Follow(follower, begin, reply)))
    }

    fn log(
        &self,
        after: Cursor,
        limit: u32,
        max_bytes: usize,
    ) -> Answer<'_, Result<Vec<Message>, StoreError>> {
        Box::pin(self.look(move |state| {
            let (mut found, mut bytes) = (Vec::new(), 0);
            let later = |message: &&Message| Cursor::from(message.id) > after;
            for message in state.messages.iter().filter(later).take(limit as usize) {
                bytes += message.encoded_len_at_most();
                if bytes > max_bytes && !found.is_empty() {
                    break;
                }
                found.push(state.row(message));
            }
            found
        }))
    }

    fn advance(
        &self,
        follower: Follower,
        to: MessageId,
        parked: Option<String>,
    ) -> Answer<'_, Result<(), StoreError>> {
        self.changed(Change::Advance(follower, to, parked))
    }

    fn note_failure(
        &self,
        follower: Follower,
        reason: String,
    ) -> Answer<'_, Result<(), StoreError>> {
        self.changed(Change::NoteFailure(follower, reason))
    }

    fn standings(&self) -> Answer<'_, Result<Vec<Standing>, StoreError>> {
        Box::pin(self.look(|state| {
            let followers = state.followers.cursors.keys();
            followers
                .map(|follower| state.followers.standing(*follower))
                .collect()
        }))
    }

    fn parked(
        &self,
        follower: Follower,
        after: Cursor,
        limit: u32,
    ) -> Answer<'_, Result<Vec<Parked>, StoreError>> {
        Box::pin(self.look(move |state| {
            let parked = state.followers.of(follower, after);
            parked.take(limit as usize).cloned().collect()
        }))
    }

    fn due_again(
        &self,
        follower: Follower,
        limit: u32,
    ) -> Answer<'_, Result<Vec<Message>, StoreError>> {
        Box::pin(self.look(move |state| {
            let due = state.followers.of(follower, Cursor::START);
            let due = due.filter(|parked| parked.due_again);
            let rows = due.filter_map(|parked| {
                let found = state.messages.iter().find(|m| m.id == parked.id)?;
                Some(state.row(found))
            });
            rows.take(limit as usize).collect()
        }))
    }

    fn conclude_again(
        &self,
        follower: Follower,
        id: MessageId,
        parked: Option<String>,
    ) -> Answer<'_, Result<(), StoreError>> {
        self.changed(Change::ConcludeAgain(follower, id, parked))
    }
}

impl MemoryStore {
    fn changed(&self, change: Change) -> Answer<'_, Result<(), StoreError>> {
        Box::pin(self.ask(move |reply| Job::Follower(change, reply)))
    }
}
