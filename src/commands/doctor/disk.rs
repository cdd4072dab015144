//! The disk under the database: whether there is room for what people will write, and what kind of disk it is.

use std::path::Path;

use rustix::fs::statvfs;

use super::report::Finding;

const SUBJECT: &str = "disk";
const MIB: u64 = 1 << 20;
/// Below this there is room for a few million lines, and somebody should know: 1 GiB.
const SPACE_WARN_BYTES: u64 = 1024 * MIB;
/// Below this the log alone, which may grow to 64 MiB before it is cut, can fill the disk: 100 MiB.
const SPACE_FAIL_BYTES: u64 = 100 * MIB;
/// Below this many files more, something else is filling the disk with small ones.
const FILES_WARN: u64 = 1000;
/// A server needs the database and three files beside it, and a migration one more.
const FILES_FAIL: u64 = 8;

pub(super) fn check(folder: &Path) -> Vec<Finding> {
    let folder = &folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let Ok(system) = statvfs(folder) else {
        // Why not is told of the database, or it is a folder that no statistics can be had of.
        return Vec::new();
    };
    let space = system.f_bavail.saturating_mul(system.f_frsize);
    // File systems that make room for files as they go have no count, and say 0.
    let files = (system.f_files > 0).then_some(system.f_favail);
    let mut findings = vec![room(folder, space, files)];
    findings.extend(kind(folder));
    findings
}

fn room(folder: &Path, space: u64, files: Option<u64>) -> Finding {
    let shown = folder.display();
    let free = format!("{} free in {shown}", amount(space));
    let files = files.unwrap_or(u64::MAX);
    if space < SPACE_FAIL_BYTES || files < FILES_FAIL {
        let found = format!("{free}, and room for {files} files");
        let found = if files < FILES_FAIL { found } else { free };
        return Finding::fail(
            SUBJECT,
            format!("only {found}: soon senders get storage_full"),
            "make room, or move the database to a larger disk (--db)",
        );
    }
    if files < FILES_WARN {
        return Finding::warn(
            SUBJECT,
            format!("{free}, and room for {files} files only"),
            "find out what fills the disk with small files (df -i)",
        );
    }
    if space < SPACE_WARN_BYTES {
        return Finding::warn(
            SUBJECT,
            format!("only {free}"),
            "make room before senders get storage_full, or move the database to a larger disk (--db)",
        );
    }
    Finding::ok(SUBJECT, free)
}

fn amount(bytes: u64) -> String {
    match bytes / MIB {
        mib @ ..1024 => format!("{mib} MiB"),
        mib => format!("{} GiB", mib / 1024),
    }
}

/// What is said of a disk on which SQLite cannot keep its promises.
#[cfg(target_os = "linux")]
fn kind(folder: &Path) -> Option<Finding> {
    const LOCAL: &str = "put the database on a disk of this machine (--db)";
    // The numbers of statfs(2).
    let system = rustix::fs::statfs(folder).ok()?;
    let number = u32::try_from(system.f_type & 0xffff_ffff).ok()?;
    let name = match number {
        0x0102_1994 | 0x8584_58f6 => {
            return Some(Finding::warn(
                SUBJECT,
                format!(
                    "{} is in memory (tmpfs): all messages are gone when this machine or container restarts",
                    folder.display()
                ),
                LOCAL,
            ));
        }
        0x6969 => "NFS",
        0x517b | 0xfe53_4d42 | 0xff53_4d42 => "SMB",
        0x0102_1997 => "9p",
        0x00c3_6400 => "Ceph",
        0x0bd0_0bd0 => "Lustre",
        0x5346_414f => "AFS",
        0x7461_636f => "OCFS2",
        0x0116_1970 => "GFS2",
        0x786f_4256 => "a folder shared by VirtualBox",
        _ => return None,
    };
    Some(Finding::warn(
        SUBJECT,
        format!(
            "{} is on {name}, where SQLite's locks and its shared memory cannot be relied upon",
            folder.display()
        ),
        LOCAL,
    ))
}

#[cfg(not(target_os = "linux"))]
fn kind(_folder: &Path) -> Option<Finding> {
    None
}

#[cfg(test)]
mod tests {
    use super::{super::report::Level, *};

    #[test]
    fn little_room_is_a_warning_and_hardly_any_a_failure() {
        let folder = Path::new("/srv");
        for (space, files, level) in [
            (50 << 30, Some(1_000_000), Level::Ok),
            (50 << 30, None, Level::Ok),
            (SPACE_WARN_BYTES, None, Level::Ok),
            (SPACE_WARN_BYTES - 1, None, Level::Warn),
            (SPACE_FAIL_BYTES - 1, None, Level::Fail),
            (50 << 30, Some(FILES_WARN - 1), Level::Warn),
            (50 << 30, Some(0), Level::Fail),
        ] {
            assert_eq!(
                room(folder, space, files).status,
                level,
                "{space} {files:?}"
            );
        }
    }
}
