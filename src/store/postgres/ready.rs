//! A connection on which messages are stored, with everything that is said on it before the first one.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio_postgres::Error;

use super::{
    append::AppendSql, connect::Session, passed::Passed, presence, schema::Shape,
    take_in::TakeInSql,
};

/// A connection and its statements.
pub(super) struct Ready {
    pub(super) session: Session,
    pub(super) append: AppendSql,
    pub(super) take_in: TakeInSql,
}

/// Every statement is a search in indexes, whatever the tables' sizes are while its plan is made: it is made once.
const PLANS: &str = "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off";

impl Ready {
    /// `None` while a copy is at work.
    pub(super) async fn on(
        session: Session,
        shape: Shape,
        patience: Duration,
        passed: &Arc<Mutex<Passed>>,
    ) -> Result<Option<Self>, Error> {
        if !presence::join(&session.client).await? {
            return Ok(None);
        }
        // Whoever waits for the log for longer than this has time to say so.
        let half = patience.as_millis() / 2;
        let settings = format!("{PLANS}; SET lock_timeout = {half}");
        session.client.batch_execute(&settings).await?;
        Ok(Some(Self {
            append: AppendSql::prepare(&session.client, shape).await?,
            take_in: TakeInSql::prepare(&session.client, shape, passed).await?,
            session,
        }))
    }
}
