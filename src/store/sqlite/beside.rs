//! What an operator sees and does about followers, whether a server has the file open or not.
//!
//! A second connection from a process of its own: it waits for the writer's lock, changes a few rows in one short
//! transaction, and takes no part in checkpoints, so that a running server notices nothing but the rows. Not for a process
//! that has the file open already: looking at the header opens and closes it, which drops SQLite's locks on it
//! (<https://sqlite.org/howtocorrupt.html>, section 2.2).

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior, params};

use super::{OpenError, SCHEMA_VERSION, followers, lock, open, reader, statements::message_id};
use crate::{
    protocol::{Cursor, MessageId, Timestamp},
    store::{Done, Followed, Follower, Overview, Standing, Wish},
};

type Sql<T> = rusqlite::Result<T>;

/// The file, opened beside whoever serves it.
#[derive(Debug)]
pub struct Beside {
    connection: Connection,
    database: PathBuf,
}

impl Beside {
    /// Opens the file at `path`, which must be there, ours and of this version. Makes and migrates nothing.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        if !path.is_file() {
            return Err(OpenError::Missing(path.to_owned()));
        }
        let database = lock::the_one_name(path)?;
        let (connection, version) = open::visit(&database)?;
        match version {
            None => Err(OpenError::Missing(database)),
            Some(found) if found < SCHEMA_VERSION => Err(OpenError::Older {
                path: database,
                found,
                known: SCHEMA_VERSION,
            }),
            Some(_) => Ok(Self {
                connection,
                database,
            }),
        }
    }

    /// The file, by its one full name.
    pub fn database(&self) -> &Path {
        &self.database
    }

    /// How everybody stands, with at most `limit` of what each refused.
    pub fn overview(&mut self, limit: u32) -> Result<Overview, OpenError> {
        self.within(TransactionBehavior::Deferred, |snapshot| {
            let describe = |standing: Standing| {
                let next = next_id(&snapshot, standing.follower)?;
                let parked = followers::parked(&snapshot, standing.follower, Cursor::START, limit)?;
                Ok(Followed {
                    standing,
                    next,
                    parked,
                })
            };
            let standings = followers::standings(&snapshot)?.into_iter();
            Ok(Overview {
                latest: reader::latest_id(&snapshot)?,
                followers: standings.map(describe).collect::<Sql<_>>()?,
            })
        })
    }

    /// Asks for parked messages to be sent again: these, or all without any, of `whose`.
    pub fn retry(&mut self, ids: &[MessageId], whose: &[Follower]) -> Result<Wish, OpenError> {
        self.each(ids, whose, RETRY_ALL, |connection, follower, id| {
            let asked = connection.execute(RETRY, params![follower.as_str(), id.get()])?;
            Ok((asked > 0).then_some(Done {
                parked: 1,
                passed: 0,
            }))
        })
    }

    /// Gives up parked messages: these, or all without any, of `whose`. One that comes next and is not taken is passed by
    /// the cursor instead, and is parked for `reason`.
    pub fn skip(
        &mut self,
        ids: &[MessageId],
        whose: &[Follower],
        reason: &str,
        now: Timestamp,
    ) -> Result<Wish, OpenError> {
        self.each(ids, whose, GIVE_UP_ALL, |connection, follower, id| {
            if followers::forget(connection, follower, id)? {
                return Ok(Some(Done {
                    parked: 1,
                    passed: 0,
                }));
            }
            if next_id(connection, follower)? != Some(id) {
                return Ok(None);
            }
            followers::advance(connection, follower, id, Some(reason), now)?;
            Ok(Some(Done {
                parked: 0,
                passed: 1,
            }))
        })
    }

    /// Does `one` to each of `ids` for each of `whose`, by id, or `all` to everything of theirs without any; nothing at all
    /// when one of them is nobody's.
    fn each(
        &mut self,
        ids: &[MessageId],
        whose: &[Follower],
        all: &str,
        one: impl Fn(&Connection, Follower, MessageId) -> Sql<Option<Done>>,
    ) -> Result<Wish, OpenError> {
        let mut ids = ids.to_owned();
        ids.sort_unstable();
        ids.dedup();
        self.within(TransactionBehavior::Immediate, |transaction| {
            let (mut done, mut unknown) = (Done::default(), Vec::new());
            for follower in whose.iter().filter(|_| ids.is_empty()) {
                done.parked += transaction.execute(all, [follower.as_str()])? as u64;
            }
            for &id in &ids {
                let mut is_known = false;
                for &follower in whose {
                    let Some(part) = one(&transaction, follower, id)? else {
                        continue;
                    };
                    is_known = true;
                    done.parked += part.parked;
                    done.passed += part.passed;
                }
                unknown.extend((!is_known).then_some(id));
            }
            if !unknown.is_empty() {
                // Not committed, it is undone.
                return Ok(Wish::Unknown(unknown));
            }
            transaction.commit()?;
            Ok(Wish::Granted(done))
        })
    }

    /// Runs `work` in a transaction of its own, which is undone unless `work` commits it.
    fn within<T>(
        &mut self,
        behavior: TransactionBehavior,
        work: impl FnOnce(Transaction<'_>) -> Sql<T>,
    ) -> Result<T, OpenError> {
        let transaction = self.connection.transaction_with_behavior(behavior);
        transaction
            .and_then(work)
            .map_err(|source| open::refine(&self.database, source))
    }
}

const RETRY: &str = "UPDATE parked SET due_again = 1 WHERE follower = ?1 AND message = ?2";
const RETRY_ALL: &str = "UPDATE parked SET due_again = 1 WHERE follower = ?1";
const GIVE_UP_ALL: &str = "DELETE FROM parked WHERE follower = ?1";

/// The first message after the follower's cursor.
const NEXT: &str = "
    SELECT m.id FROM followers f JOIN messages m ON m.id > f.position WHERE f.name = ?1 ORDER BY m.id LIMIT 1";

fn next_id(connection: &Connection, follower: Follower) -> Sql<Option<MessageId>> {
    let mut statement = connection.prepare_cached(NEXT)?;
    let next = statement.query_row([follower.as_str()], |row| message_id(row.get(0)?));
    next.optional()
}
