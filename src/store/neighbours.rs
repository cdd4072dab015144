//! Several servers over one log: who is connected to the others.
//!
//! It is told so that a list of people is the same on every server. Nothing is delivered by it: messages come from the log.

use std::collections::{HashMap, HashSet};

use super::{Answer, StoreError};
use crate::protocol::{RoomName, UserId};

/// Who is connected, to one server or to several.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Connected {
    /// Everybody.
    pub users: HashSet<UserId>,
    /// Who of them has joined which room; a room that nobody has joined is not in it.
    pub rooms: HashMap<RoomName, HashSet<UserId>>,
}

/// The other servers over this log. A backend that only one server can use has none, and nothing to implement.
pub trait Neighbours: Send + Sync {
    /// Whether there can be any.
    fn can_have_neighbours(&self) -> bool {
        false
    }

    /// Tells them who is connected here (`None`: the same as when this was last asked) and asks who is connected to them,
    /// all together. Who is not heard of for a while is connected to nobody.
    fn meet(&self, _here: Option<Connected>) -> Answer<'_, Result<Connected, StoreError>> {
        Box::pin(async { Ok(Connected::default()) })
    }

    /// Tells them that nobody is connected here any more.
    fn depart(&self) -> Answer<'_, Result<(), StoreError>> {
        Box::pin(async { Ok(()) })
    }
}
