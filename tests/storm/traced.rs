//! A server under `strace`: what it asks of the kernel can be seen there, and tampered with.

use std::{
    collections::HashSet,
    path::Path,
    process::{Command, Stdio},
};

/// Whether processes can be traced here. Where they cannot, that is said, and counted by `tests/run`.
pub fn can_trace() -> bool {
    let tried = Command::new("strace")
        .args(["-f", "-qqq", "-o", "/dev/null", "true"])
        .status();
    let can = tried.is_ok_and(|status| status.success());
    if !can {
        println!("SKIP: no strace here, or it may not trace");
    }
    can
}

/// The same command, traced as `how` says.
pub fn traced(served: &Command, how: &[&str]) -> Command {
    let mut traced = Command::new("strace");
    // The tracer is a grandchild, so that who is waited for and killed is the server.
    traced.args(["-D", "-f", "-qqq", "--seccomp-bpf"]).args(how);
    traced.arg(served.get_program()).args(served.get_args());
    for (name, value) in served.get_envs() {
        match value {
            Some(value) => traced.env(name, value),
            None => traced.env_remove(name),
        };
    }
    traced.stdin(Stdio::null());
    if let Some(folder) = served.get_current_dir() {
        traced.current_dir(folder);
    }
    traced
}

/// What [`told_too_early`] needs to be traced.
pub const WRITES: &[&str] = &[
    "-y",
    "-s",
    "400",
    "-e",
    "trace=pwrite64,fsync,fdatasync,write,writev,sendto,sendmsg",
];

/// Of a trace of [`WRITES`]: how many frames told of a message, and the first that went out while what was written to
/// the log at `wal` had not been synced.
pub fn told_too_early(trace: &str, wal: &Path) -> (usize, Option<String>) {
    let wal = format!("<{}>", wal.display());
    let (mut told, mut is_dirty, mut syncing) = (0, false, HashSet::new());
    for line in trace.lines() {
        let Some((thread, call)) = line.split_once(' ') else {
            continue;
        };
        let call = call.trim_start();
        let is_sync = call.starts_with("fsync(") || call.starts_with("fdatasync(");
        if call.starts_with("pwrite64(") && call.contains(&wal) {
            is_dirty = true;
        } else if is_sync && call.contains(&wal) {
            match call.contains("<unfinished ...>") {
                true => drop(syncing.insert(thread)),
                false => is_dirty = false,
            }
        } else if call.contains("sync resumed>") && syncing.remove(thread) {
            is_dirty = false;
        } else if ["message_sent", "dm_sent", r#"\"type\":\"message\""#]
            .iter()
            .any(|frame| call.contains(frame))
        {
            told += 1;
            if is_dirty {
                return (told, Some(line.into()));
            }
        }
    }
    (told, None)
}
