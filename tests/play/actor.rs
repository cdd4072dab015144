//! The reference client: what a careful client does so that nothing is lost or doubled, and no more than that.
//!
//! It keeps a cursor, which moves with each message; an outbox, from which a send goes when it has been answered; and
//! the rooms it wants. After a cut it says hello, resumes, and repeats what was not answered under the same nonce.

use std::collections::{BTreeMap, BTreeSet};

use crate::oracle::trace::{Frame, Part, Reply, Request, Where};

/// A device of a user, over all its connections.
#[derive(Debug)]
pub struct Actor {
    pub user: i64,
    /// Everything up to here has come; `None` before the first welcome.
    pub cursor: Option<i64>,
    pub epoch: Option<String>,
    /// The newest that it was told was stored; no cursor, since others' messages before it may not have come.
    pub acked: i64,
    /// What it wants to be in.
    pub rooms: BTreeSet<String>,
    /// Not answered yet, by nonce, in the order in which they were first sent.
    outbox: Vec<(String, Request)>,
    /// Requests of the connection that is open, which wait for an answer.
    asked: BTreeMap<i64, Request>,
}

impl Actor {
    pub fn new(user: i64) -> Self {
        Self {
            user,
            cursor: None,
            epoch: None,
            acked: 0,
            rooms: BTreeSet::new(),
            outbox: Vec::new(),
            asked: BTreeMap::new(),
        }
    }

    /// What it says first on a new connection.
    pub fn greeting(&mut self) -> Vec<Request> {
        self.asked.clear();
        let mut requests = vec![Request::Hello];
        if let Some(after) = self.cursor {
            requests.push(Request::Resume {
                after,
                rooms: self.rooms.iter().cloned().collect(),
                epoch: self.epoch.clone(),
            });
        }
        requests.extend(self.outbox.iter().map(|(_, request)| request.clone()));
        requests
    }

    /// It has said this.
    pub fn said(&mut self, reference: i64, request: &Request) {
        match request {
            Request::Send {
                nonce: Some(nonce), ..
            } if !self.outbox.iter().any(|(known, _)| known == nonce) => {
                self.outbox.push((nonce.clone(), request.clone()));
            }
            Request::Leave(room) => drop(self.rooms.remove(room)),
            _ => {}
        }
        self.asked.insert(reference, request.clone());
    }

    /// What it says to what it hears.
    pub fn hear(&mut self, frame: &Frame) -> Vec<Request> {
        let (reference, reply) = match frame {
            Frame::Live(row) => {
                self.cursor = self.cursor.max(Some(row.id));
                return Vec::new();
            }
            Frame::Reply {
                reference, reply, ..
            } => (*reference, reply),
        };
        let asked = reference.and_then(|reference| self.asked.remove(&reference));
        if let Reply::Sent(sent) = reply {
            self.acked = self.acked.max(sent.id);
        }
        match (asked, reply) {
            (_, Reply::Welcome { epoch, last_id, .. }) if self.cursor.is_none() => {
                self.cursor = Some(*last_id);
                self.epoch = Some(epoch.clone());
            }
            (_, Reply::Joined { room, .. }) => drop(self.rooms.insert(room.clone())),
            (
                Some(Request::Send {
                    nonce: Some(nonce), ..
                }),
                Reply::Sent(_) | Reply::Error(_),
            ) => {
                self.outbox.retain(|(known, _)| *known != nonce);
            }
            (_, Reply::Resumed(resumed)) => {
                self.rooms.extend(resumed.rooms.iter().cloned());
                self.epoch = Some(resumed.epoch.clone());
                if !resumed.complete {
                    self.cursor = Some(resumed.last_id);
                    return resumed.rooms.iter().map(|room| newest(room)).collect();
                }
            }
            _ => {}
        }
        Vec::new()
    }

    /// Whether an answer is due.
    pub fn waits(&self) -> bool {
        !self.asked.is_empty()
    }
}

fn newest(room: &str) -> Request {
    Request::History {
        place: Where::Room(room.into()),
        part: Part::Newest,
        limit: None,
    }
}
