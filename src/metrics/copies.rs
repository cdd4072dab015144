//! The numbers of those outside who are told of every message, made for each look, since they know themselves how they
//! are doing. Of nobody who is not told anything there is a line.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use super::SyncStates;
use crate::protocol::Cursor;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FollowerLabel {
    follower: &'static str,
}

/// The numbers of everybody, of a log that reaches to `latest`; empty when nobody is told.
pub(super) fn registry(states: &SyncStates, latest: Cursor) -> Registry {
    let mut registry = Registry::with_prefix("chat_sync");
    let states = states.all();
    if states.is_empty() {
        return registry;
    }
    let (lag, parked) = (Family::<_, Gauge>::default(), Family::<_, Gauge>::default());
    let (delivered, failures) = (
        Family::<_, Counter>::default(),
        Family::<_, Counter>::default(),
    );
    for state in states {
        let label = FollowerLabel {
            follower: state.follower(),
        };
        let gauge = |value| i64::try_from(value).unwrap_or(i64::MAX);
        lag.get_or_create(&label).set(gauge(state.lag(latest)));
        parked.get_or_create(&label).set(gauge(state.parked()));
        delivered.get_or_create(&label).inc_by(state.delivered());
        failures.get_or_create(&label).inc_by(state.failures());
    }
    let lag_help = "how far the copies are behind the newest message";
    registry.register("lag", lag_help, lag);
    registry.register("parked", "messages refused for good, parked", parked);
    registry.register("delivered", "messages copied", delivered);
    let failures_help = "attempts to copy a message that failed";
    registry.register("failures", failures_help, failures);
    registry
}
