//! Who is connected to which node: one row for each node, which is of no use to anybody a few seconds later.

use std::sync::{Mutex, PoisonError};

use tokio_postgres::Row;

use super::{PgStore, connect::Pool, rows::get};
use crate::{
    protocol::{RoomName, UserId},
    store::{Answer, Connected, Neighbours, StoreError},
};

/// One run of one server.
#[derive(Debug)]
pub(super) struct Node {
    id: i64,
    /// What its row says, or said before the table was emptied.
    told: Mutex<Connected>,
}

impl Default for Node {
    fn default() -> Self {
        Self {
            id: rand::random(),
            told: Mutex::default(),
        }
    }
}

const TELL: &str = "
    INSERT INTO chat_nodes (node, seen, users, rooms, members) VALUES ($1, clock_timestamp(), $2, $3, $4)
    ON CONFLICT (node) DO UPDATE
    SET seen = excluded.seen, users = excluded.users, rooms = excluded.rooms, members = excluded.members";
const STILL_HERE: &str =
    "UPDATE chat_nodes SET seen = clock_timestamp() WHERE node = $1 RETURNING 1";
/// Whoever was not heard of for so long is gone: some of what servers say about themselves may be late, not all of it.
const ELSEWHERE: &str = "
    SELECT users, rooms, members FROM chat_nodes
    WHERE node <> $1 AND seen > clock_timestamp() - interval '8 seconds'";
const FORGET: &str =
    "DELETE FROM chat_nodes WHERE node = $1 OR seen < clock_timestamp() - interval '1 minute'";

async fn tell(pool: &Pool, node: i64, here: &Connected) -> Result<(), StoreError> {
    let users: Vec<i64> = here.users.iter().map(|user| user.get()).collect();
    let (mut rooms, mut members) = (Vec::new(), Vec::new());
    for (room, users) in &here.rooms {
        for user in users {
            rooms.push(room.as_str());
            members.push(user.get());
        }
    }
    pool.change(TELL, &[&node, &users, &rooms, &members])
        .await
        .map(drop)
}

/// Adds what one node says. What is no name and no id was not written by a node, and is nobody.
fn add(all: &mut Connected, row: &Row) -> Result<(), StoreError> {
    let users: Vec<i64> = get(row, 0)?;
    all.users.extend(users.into_iter().filter_map(UserId::new));
    let (rooms, members): (Vec<&str>, Vec<i64>) = (get(row, 1)?, get(row, 2)?);
    for (room, member) in rooms.into_iter().zip(members) {
        if let (Ok(room), Some(member)) = (RoomName::new(room), UserId::new(member)) {
            all.rooms.entry(room).or_default().insert(member);
        }
    }
    Ok(())
}

impl Neighbours for PgStore {
    fn can_have_neighbours(&self) -> bool {
        true
    }

    fn meet(&self, here: Option<Connected>) -> Answer<'_, Result<Connected, StoreError>> {
        Box::pin(async move {
            let is_known = match here {
                Some(here) => {
                    *self
                        .node
                        .told
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner) = here;
                    false
                }
                None => !self
                    .pool
                    .change(STILL_HERE, &[&self.node.id])
                    .await?
                    .is_empty(),
            };
            if !is_known {
                let told = self
                    .node
                    .told
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .clone();
                tell(&self.pool, self.node.id, &told).await?;
            }
            let mut elsewhere = Connected::default();
            for row in &self.pool.read(ELSEWHERE, &[&self.node.id]).await? {
                add(&mut elsewhere, row)?;
            }
            Ok(elsewhere)
        })
    }

    fn depart(&self) -> Answer<'_, Result<(), StoreError>> {
        Box::pin(async move {
            let forgotten = self.pool.change(FORGET, &[&self.node.id]).await;
            forgotten.map(drop)
        })
    }
}
