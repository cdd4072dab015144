//! `chat-server doctor`: looks at what a person would look at when something does not work, and says how to mend it.
//!
//! It changes nothing, makes nothing, and is over in ten seconds, whatever the network does. It takes what serving takes
//! and judges it with what serving uses, so that both say the same in the same words. Everything is looked at, also after
//! something was found.

mod answer;
mod backend;
mod clock;
mod database;
mod disk;
mod files;
mod keys;
mod listener;
mod origin;
mod port;
#[cfg(feature = "postgres")]
mod postgres;
mod public_url;
mod reach;
mod report;
mod secret;
mod setup;
mod token;

use std::time::Duration;

use clap::Args;
use tokio::time::timeout;

use super::{Surroundings, print, token::standard_input};
use crate::config::{ServeArgs, StartupError};
use report::{Finding, Report};
use setup::Setup;

/// What `doctor` takes.
#[derive(Args, Debug)]
pub(super) struct DoctorArgs {
    #[command(flatten)]
    serve: ServeArgs,
    /// Judge this token as a handshake would; with -, the one on standard input, which stays out of the shell's history
    #[arg(long, value_name = "TOKEN", allow_hyphen_values = true)]
    token: Option<String>,
    /// Answer in JSON, for scripts
    #[arg(long)]
    json: bool,
}

/// One question to another server, and one to the system that could wait for a disk or a name server.
const PATIENCE: Duration = Duration::from_secs(2);
/// A check that asks several times is given up after this long. With what is asked before the checks begin (the name in
/// `--bind`, then who listens there) it stays below ten seconds.
const LONGEST: Duration = Duration::from_secs(6);

/// Looks at everything, prints what was found, and ends the process: a name server or a disk that does not answer holds a
/// thread for which returning would wait.
pub(super) async fn run(args: DoctorArgs, surroundings: Surroundings) -> Result<u8, StartupError> {
    let token = match args.token.as_deref() {
        Some("-") => Some(standard_input()?),
        token => token.map(str::to_owned),
    };
    let report = Report::new(examine(Setup::of(args.serve, surroundings, token).await).await);
    print(&if args.json {
        report.json()
    } else {
        report.text()
    })?;
    std::process::exit(report.exit_code().into())
}

async fn examine(setup: Setup) -> Vec<Finding> {
    let port = port::check(&setup).await;
    let (database, secret, keys, backend, token, origin, public_url) = tokio::join!(
        within(database::check(&setup, port.runs_here)),
        within(secret::check(&setup)),
        within(keys::check(&setup)),
        within(backend::check(&setup)),
        within(token::check(&setup)),
        within(origin::check(&setup)),
        within(public_url::check(&setup)),
    );
    let (database, newest_ms) = database.unwrap_or_else(|| (given_up("database"), None));
    let (backend, date) = backend.unwrap_or_else(|| (given_up("backend"), None));
    [
        setup.other_faults(),
        port.findings,
        database,
        files::check(&setup),
        secret.unwrap_or_else(|| given_up("secret")),
        keys.unwrap_or_else(|| given_up("keys")),
        token.unwrap_or_else(|| given_up("token")),
        backend,
        clock::check(newest_ms, date),
        origin.unwrap_or_else(|| given_up("origin")),
        public_url.unwrap_or_else(|| given_up("public-url")),
    ]
    .concat()
}

async fn within<T>(check: impl Future<Output = T>) -> Option<T> {
    timeout(LONGEST, check).await.ok()
}

fn given_up(subject: &'static str) -> Vec<Finding> {
    let found = format!("this could not be looked at in {} s", LONGEST.as_secs());
    let fix = "find out why the disk, the name server or the network does not answer";
    vec![Finding::fail(subject, found, fix)]
}
