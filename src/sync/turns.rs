//! Of several servers on one log one tells a follower. The others wait for their turn, and show how it stands meanwhile.

use std::{convert::Infallible, time::Duration};

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{Copier, LOOK_EVERY, Setup};
use crate::{
    metrics::Failing,
    store::{Begin, Follower, StoreError},
};

/// After a failure to find out whose turn it is.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Tells `follower` until `stop`, whenever it is this server's turn.
pub async fn take_turns(setup: Setup, follower: Follower, begin: Begin, stop: CancellationToken) {
    let turns = Turns {
        setup,
        follower,
        begin,
    };
    let _ = stop.run_until_cancelled(turns.forever()).await;
}

struct Turns {
    setup: Setup,
    follower: Follower,
    begin: Begin,
}

impl Turns {
    async fn forever(&self) -> Infallible {
        loop {
            if let Err(error) = self.turn().await {
                tracing::debug!(follower = self.follower.as_str(), %error, "whose turn it is to copy cannot be found out");
                sleep(AGAIN_AFTER).await;
            }
        }
    }

    /// Waits for a turn, and takes it until it is lost.
    async fn turn(&self) -> Result<(), StoreError> {
        let Self {
            setup,
            follower,
            begin,
        } = self;
        let name = follower.as_str();
        let mut has_waited = false;
        let lead = tokio::select! {
            biased;
            lead = setup.log.lead(*follower) => lead?,
            never = self.look_on(&mut has_waited) => match never {},
        };
        // Where the one before stopped.
        let standing = setup.log.follow(*follower, *begin).await?;
        if has_waited {
            let position = standing.position.get();
            tracing::info!(follower = name, position, "this server copies from now on");
        }
        setup.state.set_here(true);
        let mut copier = Copier::new(setup.clone(), standing);
        tokio::select! {
            () = lead.lost() => {}
            never = copier.work() => match never {},
        }
        setup.state.set_here(false);
        tracing::warn!(
            follower = name,
            "the hold on the database that lets this server copy is lost: another may go on"
        );
        Ok(())
    }

    /// Shows what the one whose turn it is notes.
    async fn look_on(&self, has_waited: &mut bool) -> Infallible {
        loop {
            sleep(LOOK_EVERY).await;
            if !std::mem::replace(has_waited, true) {
                let name = self.follower.as_str();
                tracing::info!(follower = name, "another server on this database copies");
            }
            let standings = self.setup.log.standings().await.unwrap_or_default();
            let standing = standings
                .into_iter()
                .find(|it| it.follower == self.follower);
            if let Some(standing) = standing {
                let state = &self.setup.state;
                state.stands(standing.position, standing.parked);
                let failing = standing.failing;
                state.set_failing(failing.map(|(since, reason)| Failing { since, reason }));
            }
        }
    }
}
