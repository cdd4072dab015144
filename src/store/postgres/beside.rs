//! What an operator's commands see and do, beside the nodes that serve the database: each in one short transaction.

use std::fmt;

use tokio_postgres::Transaction;

use super::{
    Url,
    connect::Session,
    error::OpenError,
    followers::{ADVANCE, FORGET, PARKED, STANDINGS, parked_row, standing},
    presence,
    visit::visit,
};
use crate::{
    protocol::{Cursor, MessageId, Timestamp},
    store::{Done, Followed, Follower, Mode, Overview, Standing, StoreError, Wish},
};

/// The log in the database, beside whoever serves it.
pub struct Beside {
    session: Session,
    mode: Mode,
    place: String,
}

impl fmt::Debug for Beside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Beside({})", self.place)
    }
}

/// The first message after the follower's cursor.
const NEXT: &str = "
    SELECT m.chat_position FROM chat_followers f JOIN messages m ON m.chat_position > f.position AND m.chat_position > 0
    WHERE f.name = $1 ORDER BY m.chat_position LIMIT 1";

const RETRY: &str = "UPDATE chat_parked SET due_again = true WHERE follower = $1 AND ($2::bigint IS NULL OR message = $2)";
const GIVE_UP_ALL: &str = "DELETE FROM chat_parked WHERE follower = $1";
/// The cursors do not move while it is decided what comes next.
const STAND_STILL: &str = "SELECT name FROM chat_followers ORDER BY name FOR UPDATE";

impl Beside {
    /// Opens the log that must be there, ours and of this version. Makes and migrates nothing.
    pub async fn open(url: &Url) -> Result<Self, OpenError> {
        let (session, mode) = visit(url).await?;
        let place = url.to_string();
        Ok(Self {
            session,
            mode,
            place,
        })
    }

    /// Where it is, for the operator.
    pub fn place(&self) -> String {
        self.place.clone()
    }

    /// Whose users it holds.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// How everybody stands, with at most `limit` of what each refused.
    pub async fn overview(&mut self, limit: u32) -> Result<Overview, OpenError> {
        let snapshot = self.session.client.build_transaction();
        let snapshot = snapshot
            .isolation_level(tokio_postgres::IsolationLevel::RepeatableRead)
            .read_only(true)
            .start()
            .await?;
        let latest: i64 = snapshot
            .query_one("SELECT position FROM chat_log", &[])
            .await?
            .try_get(0)?;
        let mut followers = Vec::new();
        for row in snapshot.query(STANDINGS, &[&None::<&str>]).await? {
            let standing: Standing = standing(&row).map_err(broken)?;
            let name = standing.follower.as_str();
            let next = next(&snapshot, standing.follower).await?;
            let parked = snapshot
                .query(PARKED, &[&name, &0_i64, &i64::from(limit)])
                .await?;
            let parked = parked.iter().map(parked_row).collect::<Result<_, _>>();
            followers.push(Followed {
                next,
                parked: parked.map_err(broken)?,
                standing,
            });
        }
        Ok(Overview {
            latest: Cursor::new(latest).unwrap_or(Cursor::START),
            followers,
        })
    }

    /// Asks for parked messages to be sent again: these, or all without any, of `whose`.
    pub async fn retry(
        &mut self,
        ids: &[MessageId],
        whose: &[Follower],
    ) -> Result<Wish, OpenError> {
        let transaction = self.session.client.transaction().await?;
        let (mut done, mut unknown) = (Done::default(), Vec::new());
        let all = ids.is_empty().then_some(None);
        for id in sorted(ids).into_iter().map(Some).chain(all) {
            let mut asked = 0;
            for follower in whose {
                let (name, id) = (follower.as_str(), id.map(MessageId::get));
                asked += transaction.execute(RETRY, &[&name, &id]).await?;
            }
            done.parked += asked;
            unknown.extend(id.filter(|_| asked == 0));
        }
        conclude(transaction, done, unknown).await
    }

    /// Gives up parked messages: these, or all without any, of `whose`. One that comes next and is not taken is passed by
    /// the cursor instead, and is parked for `reason`.
    pub async fn skip(
        &mut self,
        ids: &[MessageId],
        whose: &[Follower],
        reason: &str,
        now: Timestamp,
    ) -> Result<Wish, OpenError> {
        let transaction = self.session.client.transaction().await?;
        transaction.query(STAND_STILL, &[]).await?;
        let (mut done, mut unknown) = (Done::default(), Vec::new());
        for follower in whose.iter().filter(|_| ids.is_empty()) {
            let name = follower.as_str();
            done.parked += transaction.execute(GIVE_UP_ALL, &[&name]).await?;
        }
        for id in sorted(ids) {
            let mut is_known = false;
            for &follower in whose {
                let (name, number) = (follower.as_str(), id.get());
                if transaction.execute(FORGET, &[&name, &number]).await? > 0 {
                    done.parked += 1;
                    is_known = true;
                } else if next(&transaction, follower).await? == Some(id) {
                    let now = now.unix_ms();
                    transaction
                        .execute(ADVANCE, &[&name, &number, &Some(reason), &now])
                        .await?;
                    done.passed += 1;
                    is_known = true;
                }
            }
            unknown.extend((!is_known).then_some(id));
        }
        conclude(transaction, done, unknown).await
    }

    /// Gives the log another name: the one before, and the one from now on. Not while a node would go on telling the old one.
    pub(in crate::store) async fn new_epoch(&mut self) -> Result<(String, String), OpenError> {
        if !presence::claim(&self.session.client).await? {
            return Err(OpenError::InUse(
                presence::holders(&self.session.client).await?,
            ));
        }
        let transaction = self.session.client.transaction().await?;
        let before = "SELECT epoch FROM chat_log FOR UPDATE";
        let before = transaction.query_one(before, &[]).await?.try_get(0)?;
        let after = "UPDATE chat_log SET epoch = right(replace(gen_random_uuid()::text, '-', ''), 16) RETURNING epoch";
        let after = transaction.query_one(after, &[]).await?.try_get(0)?;
        transaction.commit().await?;
        Ok((before, after))
    }
}

async fn next(
    transaction: &Transaction<'_>,
    follower: Follower,
) -> Result<Option<MessageId>, OpenError> {
    let found = transaction.query_opt(NEXT, &[&follower.as_str()]).await?;
    let id = found.map(|row| row.try_get(0)).transpose()?;
    Ok(id.and_then(MessageId::new))
}

/// Nothing at all is done when one of the ids cannot be meant: what is not committed is undone.
async fn conclude(
    transaction: Transaction<'_>,
    done: Done,
    unknown: Vec<MessageId>,
) -> Result<Wish, OpenError> {
    if !unknown.is_empty() {
        return Ok(Wish::Unknown(unknown));
    }
    transaction.commit().await?;
    Ok(Wish::Granted(done))
}

fn sorted(ids: &[MessageId]) -> Vec<MessageId> {
    let mut ids = ids.to_owned();
    ids.sort_unstable();
    ids.dedup();
    ids
}

fn broken(error: StoreError) -> OpenError {
    OpenError::Broken(error.to_string())
}
