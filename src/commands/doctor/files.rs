//! Open files: each connection is one, and the system's limit on them is often lower than --max-connections.

use rustix::process::{Resource, getrlimit};

use super::{report::Finding, setup::Setup};
use crate::config::SPARE_FILES;

const SUBJECT: &str = "files";
/// With room for fewer people than this it is no server.
const CONNECTIONS_FAIL: u64 = 16;

pub(super) fn check(setup: &Setup) -> Vec<Finding> {
    let wanted = u64::from(setup.args.limits.max_connections);
    let needed = wanted + u64::from(SPARE_FILES);
    // The soft limit is raised at the start, as far as the hard one lets it.
    let limit = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    if limit >= needed {
        let found = format!("{wanted} connections (--max-connections) fit the limit on open files");
        return vec![Finding::ok(SUBJECT, found)];
    }
    let fit = limit.saturating_sub(SPARE_FILES.into());
    let found = format!(
        "the limit of {limit} open files leaves room for {fit} connections, and --max-connections is {wanted}"
    );
    let fix = format!(
        "raise it to {needed}: ulimit -n {needed} in the shell, LimitNOFILE={needed} in a systemd unit, --ulimit nofile={needed} for docker run; or lower --max-connections"
    );
    vec![match fit < CONNECTIONS_FAIL {
        true => Finding::fail(SUBJECT, found, fix),
        false => Finding::warn(SUBJECT, found, fix),
    }]
}
