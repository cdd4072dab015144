//! How much there is of everything, seen in one moment.

use super::Hub;

/// What the hub holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Connections.
    pub connections: usize,
    /// Users with a connection.
    pub users: usize,
    /// Rooms that a connection has joined.
    pub rooms: usize,
    /// Rooms joined, summed over connections.
    pub joins: usize,
    /// What waits for all readers together, in bytes.
    pub bytes: usize,
    /// What waits for the one for whom most does.
    pub max_bytes: usize,
    /// Readers that are served from the log, and not live.
    pub behind: usize,
}

impl Hub {
    /// What is here now. Looks once into every outbox under the hub's lock, which costs about as much as to publish one message in
    /// a room that everybody has joined.
    pub fn load(&self) -> Load {
        let inner = self.lock();
        let mut load = Load {
            users: inner.users.len(),
            rooms: inner.rooms.len(),
            joins: inner.rooms.values().map(|room| room.readers.len()).sum(),
            ..Load::default()
        };
        for outbox in inner.users.values().flat_map(|readers| readers.values()) {
            let (bytes, is_live) = outbox.load();
            load.connections += 1;
            load.bytes += bytes;
            load.max_bytes = load.max_bytes.max(bytes);
            load.behind += usize::from(!is_live);
        }
        load
    }
}
