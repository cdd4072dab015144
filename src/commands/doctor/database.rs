//! The database file and the disk under it: whether it could be served, whether somebody serves it, whether it is sound.

use std::{
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::task::spawn_blocking;

use super::{disk, report::Finding, setup::Setup};
use crate::{
    config::StartupError,
    store::{
        Location, Mode,
        sqlite::{Inspection, OpenError, Soundness},
    },
};

const SUBJECT: &str = "database";
/// For so long the file is read through; a gigabyte takes about as long.
const READ_THROUGH: Duration = Duration::from_secs(3);

/// The findings, and when the newest message was stored, in Unix milliseconds.
pub(super) async fn check(setup: &Setup, runs_here: bool) -> (Vec<Finding>, Option<i64>) {
    let path = match &setup.database {
        Ok(Location::File(path)) => path.clone(),
        #[cfg(feature = "postgres")]
        Ok(Location::Postgres(url)) => return super::postgres::check(setup, url).await,
        Err(fault) => return (vec![Finding::error(SUBJECT, fault)], None),
    };
    let (mode, switch_mode) = (setup.mode(), setup.args.switch_mode);
    let looked = spawn_blocking(move || look(path, mode, switch_mode, runs_here)).await;
    looked.unwrap_or_else(|_| {
        let fix = "run it again with RUST_LOG=debug, and report what it says";
        (
            vec![Finding::fail(SUBJECT, "looking at it broke off", fix)],
            None,
        )
    })
}

fn look(
    path: PathBuf,
    mode: Mode,
    switch_mode: bool,
    runs_here: bool,
) -> (Vec<Finding>, Option<i64>) {
    let inspected = Inspection::of(&path).and_then(|seen| {
        seen.judge_mode(mode, switch_mode)?;
        match &seen.holder {
            Some(holder) if !runs_here => Err(OpenError::Locked {
                path: seen.database.clone(),
                holder: holder.clone(),
            }),
            _ => Ok(seen),
        }
    });
    let seen = match inspected {
        Ok(seen) => seen,
        Err(error) => {
            let fault = Finding::error(SUBJECT, &StartupError::from(error));
            let folder = path
                .parent()
                .filter(|folder| !folder.as_os_str().is_empty());
            let disk = disk::check(folder.unwrap_or(Path::new(".")));
            return ([vec![fault], disk].concat(), None);
        }
    };
    let mut findings = vec![state(&seen)];
    if runs_here && seen.holder.is_none() {
        findings.push(Finding::warn(
            SUBJECT,
            "the chat-server that runs on the port has another file open",
            "give the doctor --db, or the folder to start in, as the server has it",
        ));
    }
    findings.extend(too_open(&seen.database));
    findings.extend(disk::check(
        seen.database.parent().unwrap_or(Path::new("/")),
    ));
    (findings, seen.newest_ms())
}

fn state(seen: &Inspection) -> Finding {
    let name = seen.database.display();
    let served = match &seen.holder {
        Some(holder) => format!(", served by {holder}"),
        None => String::new(),
    };
    match seen.soundness(READ_THROUGH) {
        Soundness::Sound => Finding::ok(SUBJECT, format!("{name} is sound{served}")),
        Soundness::Unfinished => Finding::ok(
            SUBJECT,
            format!(
                "{name} shows no damage in what could be read in {} s{served}",
                READ_THROUGH.as_secs()
            ),
        ),
        Soundness::Unknown if !seen.database.exists() => Finding::ok(
            SUBJECT,
            format!("{name} is not there yet; the first start makes it"),
        ),
        Soundness::Unknown => Finding::ok(
            SUBJECT,
            format!("{name} is ours; it cannot be read through without changing it{served}"),
        ),
        Soundness::Damaged(words) => Finding::fail(
            SUBJECT,
            format!("{name} is damaged: {words}{served}"),
            "stop the server, keep a copy of the file and of what lies beside it, and put a backup back (chat-server new-epoch afterwards)",
        ),
    }
}

/// Everybody's messages are in it.
fn too_open(database: &Path) -> Option<Finding> {
    let mode = database.metadata().ok()?.mode();
    let shown = database.display();
    is_for_others(mode).then(|| {
        Finding::warn(
            SUBJECT,
            format!("{shown} can be read by every user of this machine, with all messages"),
            format!("chmod 600 {shown}"),
        )
    })
}

/// Whether the permission bits let users read who are neither the owner nor of the group.
pub(super) fn is_for_others(mode: u32) -> bool {
    mode & 0o004 != 0
}
