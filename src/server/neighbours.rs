//! Who is connected to the other servers over this log: told and asked every few seconds, for the lists of people.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::{
    hub::Hub,
    store::{Connected, Store},
};

/// A page asks for its list of people every ten seconds; a heavier database would be a high price for a fresher one.
const MEET_EVERY: Duration = Duration::from_secs(2);
/// After so long without a word, nobody is said to be connected elsewhere.
const FORGET_AFTER: Duration = Duration::from_secs(10);

/// Meets the others until `stop`, then departs.
pub(super) async fn meet_until(stop: CancellationToken, store: Arc<dyn Store>, hub: Arc<Hub>) {
    let mut ticks = interval(MEET_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut told, mut heard) = (None, Instant::now());
    let mut is_failing = false;
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            _ = ticks.tick() => {}
        }
        let (changes, here) = hub.connected_here(told).unzip();
        match store.meet(here).await {
            Ok(elsewhere) => {
                hub.connected_elsewhere(elsewhere);
                (told, heard) = (changes.or(told), Instant::now());
                is_failing = false;
            }
            Err(error) => {
                if !is_failing {
                    tracing::warn!(%error, "who is connected to other servers is not known: lists of people show those who are here");
                }
                is_failing = true;
                told = None;
                if heard.elapsed() > FORGET_AFTER {
                    hub.connected_elsewhere(Connected::default());
                }
            }
        }
    }
    if let Err(error) = store.depart().await {
        tracing::debug!(%error, "the other servers were not told of the stop, and will see it");
    }
}
