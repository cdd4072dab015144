//! The PostgreSQL database: whether it is reached, whether it could be served, and what is in it. Changes nothing.

use std::time::Instant;

use super::{PATIENCE, report::Finding, setup::Setup};
use crate::store::postgres::{Counts, Inspection, Url, inspect};

const SUBJECT: &str = "database";
/// Connections of one node besides those that read: one writes, one listens, and one for each copy.
const BESIDE_READERS: i64 = 4;

/// The findings, and when the newest message was stored, in Unix milliseconds.
pub(super) async fn check(setup: &Setup, url: &Url) -> (Vec<Finding>, Option<i64>) {
    let (asked, switch_mode) = (setup.mode(), setup.args.switch_mode);
    let begun = Instant::now();
    match inspect(url, asked, switch_mode, PATIENCE).await {
        Ok(seen) => {
            let newest = seen.counts.as_ref().and_then(|counts| counts.newest_ms);
            let took = begun.elapsed().as_millis();
            let reached = format!("{url} answers in {took} ms: PostgreSQL {}", seen.version);
            let mut findings = vec![Finding::ok(SUBJECT, reached), state(&seen)];
            findings.extend(settings(setup, &seen));
            (findings, newest)
        }
        Err(error) => {
            let found = format!("{url}: {error}");
            (vec![Finding::fail(SUBJECT, found, error.fix())], None)
        }
    }
}

fn state(seen: &Inspection) -> Finding {
    let served = match seen.nodes {
        0 => String::new(),
        nodes => format!(", served now (with {nodes} connections)"),
    };
    if let Some(counts) = &seen.counts {
        let Counts {
            schema,
            mode,
            users,
            rooms,
            messages,
            ..
        } = counts;
        let mode = mode.as_str();
        return Finding::ok(
            SUBJECT,
            format!(
                "it holds a log of {mode} mode, schema version {schema}: {users} users, {rooms} rooms, {messages} messages{served}"
            ),
        );
    }
    let others = match seen.has_tables {
        true => "makes one beside the tables that are there, and leaves those their rows",
        false => "makes it",
    };
    Finding::ok(
        SUBJECT,
        format!("there is no log in it yet; the first start {others}"),
    )
}

/// What the server is set to, as far as it keeps promises from being kept.
fn settings(setup: &Setup, seen: &Inspection) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !seen.is_durable {
        findings.push(Finding::warn(
            SUBJECT,
            "the database server runs with fsync=off: what is acknowledged may be lost in a power cut",
            "set fsync = on in postgresql.conf",
        ));
    }
    let needed = i64::from(setup.args.limits.readers) + BESIDE_READERS;
    if seen.nodes == 0 && seen.free_connections < needed {
        let free = seen.free_connections;
        findings.push(Finding::warn(
            SUBJECT,
            format!("the database server has room for {free} connections more, and a server takes up to {needed}"),
            "raise max_connections in postgresql.conf, or lower --readers",
        ));
    }
    findings
}
