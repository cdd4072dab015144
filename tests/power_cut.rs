//! The power goes: everything that was not synced is gone, also what the kernel still had in memory.
//!
//! A file system of its own, on a loop device, is shut down under load without its journal being flushed, as if the
//! plug had been pulled, and mounted again. A `kill -9` cannot show this: the kernel lives on and writes everything out.
//! Needs root and a loop device, and takes its time: part of a full run only.
#![allow(
    dead_code,
    reason = "each test program uses its own part of the vocabulary"
)]

mod common;
mod oracle;
mod play;
mod storm;

use std::{fs::File, path::PathBuf, process::Command};

use common::binary::built;
use storm::{Count, Storm, Weather, count};
use tempfile::TempDir;

/// Cuts that must lose nothing, and cuts of a server that does not wait for the disk, of which one at least must lose
/// something: else these cuts cut nothing.
const CUTS: usize = 8;
const CONTROLS: usize = 2;

/// A file system of its own, which can lose its power.
struct Disk {
    image: PathBuf,
    mount: PathBuf,
    _folder: TempDir,
}

impl Disk {
    /// `None` where none can be had.
    fn new() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let disk = Self {
            image: folder.path().join("disk"),
            mount: folder.path().join("mount"),
            _folder: folder,
        };
        std::fs::create_dir(&disk.mount).unwrap();
        File::create(&disk.image)
            .unwrap()
            .set_len(256 << 20)
            .unwrap();
        let is_made = run("mkfs.ext4", &["-q", "-F", disk.image.to_str().unwrap()]);
        (is_made && disk.mount()).then_some(disk)
    }

    fn mount(&self) -> bool {
        let (image, mount) = (self.image.to_str().unwrap(), self.mount.to_str().unwrap());
        run("mount", &["-o", "loop", image, mount])
    }

    fn pull_the_plug(&self) {
        /// `FS_IOC_SHUTDOWN`, and its flag that leaves the journal unwritten (`include/uapi/linux/fs.h`).
        const SHUTDOWN: rustix::ioctl::Opcode = 0x8004_587d;
        const NO_LOG_FLUSH: u32 = 2;
        let root = File::open(&self.mount).unwrap();
        // SAFETY: this request takes a pointer to a u32, which is only read, and the setter passes one.
        unsafe {
            let shutdown = rustix::ioctl::Setter::<SHUTDOWN, u32>::new(NO_LOG_FLUSH);
            rustix::ioctl::ioctl(root, shutdown).unwrap();
        }
    }

    fn power_is_back(&self) {
        assert!(
            run("umount", &[self.mount.to_str().unwrap()]),
            "nobody uses it any more"
        );
        assert!(self.mount(), "its journal is replayed");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        run("umount", &["-l", self.mount.to_str().unwrap()]);
    }
}

fn run(program: &str, args: &[&str]) -> bool {
    let done = Command::new(program).args(args).output();
    done.is_ok_and(|done| done.status.success())
}

/// What is wrong after a cut under load, and what was counted; `None` where the power cannot be cut.
async fn a_power_cut(args: &[&str]) -> Option<(Vec<String>, Count)> {
    let disk = Disk::new()?;
    let weather = Weather {
        seed: rand::random::<u64>() >> 16,
        clients: 6,
        rooms: 3,
        per_second: 240,
        bytes: 40,
        stall_one_in: 0,
    };
    let mut storm = Storm::new_in(&disk.mount, weather);
    storm.rise(storm.command(built(), args));
    storm.everybody_joins().await;
    storm.answers(400).await;
    // A machine without power says nothing more. This one does, and what it says from now on counts for nothing.
    let cut = storm.now();
    disk.pull_the_plug();
    storm.kill().await;
    disk.power_is_back();
    let log = storm.image().log();
    let after: Vec<bool> = storm::acked_from(cut, &storm.traces)
        .map(|id| log.row(id).is_none())
        .collect();
    let lost = after.iter().filter(|is_lost| **is_lost).count();
    println!(
        "{} acknowledgements heard after the cut, {lost} of them of what is lost",
        after.len()
    );
    storm.forget_from(cut);
    let case = storm::case(storm.traces.clone(), log, false);
    Some((oracle::violations(&case), count(&case)))
}

fn is_asked_for() -> bool {
    let asked = std::env::var_os("CHAT_FULL").is_some();
    if !asked {
        println!("SKIP: power is cut in full runs only");
    }
    asked
}

#[tokio::test]
async fn a_power_cut_loses_nothing_that_was_acknowledged_or_seen() {
    if !is_asked_for() {
        return;
    }
    for cut in 1..=CUTS {
        let Some((faults, count)) = a_power_cut(&[]).await else {
            return println!(
                "SKIP: no file system of its own can be had: needs root, mkfs.ext4 and a loop device"
            );
        };
        assert!(faults.is_empty(), "cut {cut}: {faults:#?}");
        println!("cut {cut}: {count:?}, 0 lost");
    }
}

#[tokio::test]
async fn without_waiting_for_the_disk_a_power_cut_loses_what_was_acknowledged() {
    if !is_asked_for() {
        return;
    }
    let mut found = Vec::new();
    for cut in 1..=CONTROLS {
        let Some((faults, count)) = a_power_cut(&["--seeded-bug", "sync_normal"]).await else {
            return println!(
                "SKIP: no file system of its own can be had: needs root, mkfs.ext4 and a loop device"
            );
        };
        println!(
            "cut {cut}, synchronous=NORMAL: {count:?}: {} laws broken",
            faults.len()
        );
        found.extend(faults);
    }
    assert!(
        found.iter().any(|fault| fault.starts_with("LOST")),
        "{found:#?}"
    );
}
