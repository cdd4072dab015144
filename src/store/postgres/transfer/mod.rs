//! A database as one end of a copy.
//!
//! What is written is one transaction, from the schema to the last comparison: nobody sees a half copy, and what breaks off
//! leaves the database as it was. What is read is one snapshot. Nobody serves either meanwhile: every node holds
//! its key shared, a copy holds it alone (`presence.rs`).
//!
//! # Tables that another program made
//! They are filled if nothing was ever said in them. Their users stay as they are, and are taken for those of the log, which
//! is true if both go by the ids of one backend; so a log with accounts of its own is refused there. A user who has no row
//! is added if a row needs no more than an id and a name.

mod reads;
mod tables;
mod writes;

use std::{sync::Arc, time::Duration};

use tokio_postgres::error::SqlState;

use super::{
    Url,
    append::AppendSql,
    connect::{Database, Session},
    error::{Fault as WriteFault, OpenError, text},
    presence,
    schema::{self, Shape},
    take_in::{self, TakeInSql},
};
use crate::store::{
    Answer, Mode,
    transfer::{Facts, Fault, Found, Kind, Row, Source, Target},
};
use reads::Reads;
use tables::{judge_version, make};
use writes::Writes;

/// How long the database may be silent when it is opened; the copy itself takes the time it takes.
const PATIENCE: Duration = Duration::from_secs(10);

/// A copy is one long transaction, however long the disks take.
const NO_HURRY: &str = "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0; SET client_min_messages = error";

/// A database that no node serves.
struct End {
    session: Session,
    reads: Reads,
    writes: Option<Writes>,
    /// The users and rooms are another program's.
    is_shared: bool,
}

impl From<tokio_postgres::Error> for Fault {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::new(format!("the database said: {}", text(&error)))
    }
}

async fn enter(url: &Url) -> Result<Session, Fault> {
    let at = |error| Fault::of(url, error);
    let database = Database::parse(url.as_str(), PATIENCE).map_err(at)?;
    let session = database.connect().await.map_err(at)?;
    let client = &session.client;
    client.batch_execute(NO_HURRY).await?;
    schema::judge_server(client).await.map_err(at)?;
    if !presence::claim(client).await? {
        return Err(OpenError::InUse(presence::holders(client).await?).into());
    }
    Ok(session)
}

/// Opens the log in the database at `url` for reading. What other programs inserted is taken into it first.
pub(in crate::store) async fn open_source(url: &Url) -> Result<Box<dyn Source>, Fault> {
    let session = enter(url).await?;
    let client = &session.client;
    if !schema::has_log(client).await? {
        return Err(Fault::new(
            "there is no log of a chat-server in the database; check its name, or start chat-server on it once to make one",
        ));
    }
    judge_version(client).await?;
    let shape = Shape::of(client).await?;
    let (append, sql) = (
        AppendSql::prepare(client, shape).await?,
        TakeInSql::prepare(client, shape, &Arc::default()).await?,
    );
    loop {
        match take_in::take_in(&session, &append, &sql).await {
            Ok(0) => break,
            Ok(_) => {}
            Err(WriteFault::Undone(error)) => return Err(Fault::new(error.to_string())),
            Err(WriteFault::Unknown(why)) => return Err(Fault::new(why)),
            Err(WriteFault::Raced(_)) => {}
        }
    }
    let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
    client.batch_execute(begin).await?;
    Ok(Box::new(End::new(session, shape).await?))
}

/// Opens the database at `url` for writing: nothing was ever said in it, or an earlier copy filled it.
pub(in crate::store) async fn open_target(url: &Url, facts: &Facts) -> Result<Found, Fault> {
    let session = enter(url).await?;
    let client = &session.client;
    if schema::has_log(client).await? {
        judge_version(client).await?;
        let row = client
            .query_one("SELECT epoch, position FROM chat_log", &[])
            .await?;
        let (epoch, position): (String, i64) = (row.try_get(0)?, row.try_get(1)?);
        if epoch == facts.epoch {
            let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
            client.batch_execute(begin).await?;
            let shape = Shape::of(client).await?;
            return Ok(Found::Filled(Box::new(End::new(session, shape).await?)));
        }
        if position > 0 {
            return Err(Fault::new(format!(
                "the database holds another log (epoch {epoch} at position {position}, and FROM is {}), and was not touched; give \
                 an empty database (createdb)",
                facts.epoch
            )));
        }
    }
    client.batch_execute("BEGIN").await?;
    schema::judge_tables(client).await?;
    if !schema::has_log(client).await? {
        make(client, facts.mode).await?;
    }
    if !schema::has_sequence(client).await? {
        return Err(OpenError::NoSequence.into());
    }
    let shape = Shape::of(client).await?;
    let mut end = End::new(session, shape).await?;
    end.judge(facts).await?;
    end.writes = Some(Writes::prepare(&end.session.client, end.is_shared).await?);
    end.empty(facts).await?;
    Ok(Found::Empty(Box::new(end)))
}

impl End {
    async fn new(session: Session, shape: Shape) -> Result<Self, Fault> {
        let client = &session.client;
        Ok(Self {
            reads: Reads::new(client, shape).await?,
            session,
            writes: None,
            is_shared: shape.has_their_users,
        })
    }

    /// Whether the tables can be filled at all.
    async fn judge(&self, facts: &Facts) -> Result<(), Fault> {
        let client = &self.session.client;
        let row = client
            .query_one(
                "SELECT EXISTS (SELECT 1 FROM messages), (SELECT count(*) FROM users), (SELECT count(*) FROM chat_accounts)",
                &[],
            )
            .await?;
        let (said, users, accounts): (bool, i64, i64) =
            (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        if said {
            return Err(Fault::new(
                "there are messages of another program in the database, whose places in the log would be those of FROM's; nothing \
                 was changed: give an empty database (createdb), or one whose table messages is empty",
            ));
        }
        if users > 0 && (accounts > 0 || !self.is_shared) {
            return Err(Fault::new(format!(
                "{users} users are in the database already, whose ids may be those of others in FROM; nothing was changed: give an \
                 empty database (createdb)"
            )));
        }
        let is_text =
            |value: &[u8]| std::str::from_utf8(value).is_ok_and(|text| !text.contains('\0'));
        if let Some(kept) = facts.secrets.iter().find(|kept| !is_text(&kept.value)) {
            return Err(Fault::new(format!(
                "FROM's {} is no text, which a database cannot keep; put it into JWT_SECRET, and move the file away",
                kept.name
            )));
        }
        if let (false, Some(room)) = (self.is_shared, self.strange_room().await?) {
            return Err(Fault::new(format!(
                "the room {room:?} is in the database already, and would be mixed with FROM's; nothing was changed: delete it \
                 there, or give an empty database (createdb)"
            )));
        }
        if self.is_shared && facts.mode == Mode::Standalone {
            return Err(Fault::new(
                "the tables in the database belong to another program, and FROM has accounts of its own (standalone mode), whose ids \
                 mean other people there; nothing was changed: give an empty database (createdb)",
            ));
        }
        Ok(())
    }

    /// A room that somebody made in a database without messages.
    async fn strange_room(&self) -> Result<Option<String>, Fault> {
        let sql = "SELECT name::text FROM rooms WHERE name <> 'general' ORDER BY name LIMIT 1";
        let room = self.session.client.query_opt(sql, &[]).await?;
        Ok(room.map(|room| room.try_get(0)).transpose()?)
    }

    /// What a start on an empty database leaves, and nobody misses.
    async fn empty(&self, facts: &Facts) -> Result<(), Fault> {
        let client = &self.session.client;
        let general = match self.is_shared {
            true => "",
            false => "DELETE FROM rooms WHERE name = 'general';",
        };
        let sql = format!(
            "{general} DELETE FROM chat_parked; DELETE FROM chat_followers; DELETE FROM chat_secrets;
             DELETE FROM chat_rooms; DELETE FROM chat_dms"
        );
        client.batch_execute(&sql).await?;
        Writes::followers(client, facts).await?;
        Ok(())
    }

    /// A refusal in words that name what is in the way.
    fn refused(&self, kind: Kind, error: &tokio_postgres::Error) -> Fault {
        let said = text(error);
        let column = error.as_db_error().and_then(|said| said.column());
        Fault::new(match error.code() {
            Some(&SqlState::NOT_NULL_VIOLATION) => format!(
                "the table of another program needs a value in {:?} that FROM does not have ({said}); nothing was changed: make \
                 those rows there first, or give an empty database (createdb)",
                column.unwrap_or("a column")
            ),
            Some(&SqlState::FOREIGN_KEY_VIOLATION) => format!(
                "a row of {kind:?} names one that is not there ({said}); nothing was changed: look whether FROM is whole \
                 (chat-server doctor)"
            ),
            Some(&SqlState::UNIQUE_VIOLATION) => format!(
                "a row of {kind:?} is in the database already, or one with the same name ({said}); nothing was changed: change one \
                 of the two, or give an empty database (createdb)"
            ),
            _ => format!(
                "{kind:?} cannot be written: {said}; nothing was changed: see what the database says, or give an empty one (createdb)"
            ),
        })
    }
}

impl Source for End {
    fn facts(&mut self) -> Answer<'_, Result<Facts, Fault>> {
        Box::pin(self.reads.facts(&self.session.client))
    }

    fn page<'a>(
        &'a mut self,
        kind: Kind,
        after: Option<&'a Row>,
        limit: usize,
    ) -> Answer<'a, Result<Vec<Row>, Fault>> {
        Box::pin(self.reads.page(&self.session.client, kind, after, limit))
    }

    fn left_out(&mut self) -> Answer<'_, Result<Vec<String>, Fault>> {
        Box::pin(self.reads.left_out(&self.session.client))
    }

    fn is_shared(&self) -> bool {
        self.is_shared
    }
}

impl Target for End {
    fn put<'a>(&'a mut self, kind: Kind, rows: &'a [Row]) -> Answer<'a, Result<(), Fault>> {
        Box::pin(async move {
            let Some(writes) = &self.writes else {
                return Err(Fault::new("it is only read"));
            };
            let written = writes.put(&self.session.client, kind, rows).await;
            written.map_err(|error| self.refused(kind, &error))
        })
    }

    fn settle<'a>(&'a mut self, facts: &'a Facts) -> Answer<'a, Result<(), Fault>> {
        Box::pin(async move {
            let Some(writes) = &self.writes else {
                return Err(Fault::new("it is only read"));
            };
            Ok(writes.log(&self.session.client, facts).await?)
        })
    }

    fn finish(self: Box<Self>) -> Answer<'static, Result<(), Fault>> {
        Box::pin(async move {
            let committed = self.session.client.batch_execute("COMMIT").await;
            committed.map_err(|error| {
                Fault::new(format!(
                    "whether the copy is complete is not known ({}); run the same command again, which tells",
                    text(&error)
                ))
            })
        })
    }
}
