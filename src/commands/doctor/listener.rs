//! Which program listens on a port, as far as this user may see that (Linux: `/proc/net/tcp`, and everybody's open files).

use std::{fs, path::Path};

/// State `LISTEN` in the tables of the system.
const LISTEN: &str = "0A";

/// The process that listens there on any address, such as `process 12, nginx`.
pub(super) fn of_port(port: u16) -> Option<String> {
    let sockets: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| listening(&table, port))
        .collect();
    let processes = fs::read_dir("/proc").ok()?;
    processes.filter_map(Result::ok).find_map(|process| {
        let folder = process.path();
        let id: u32 = folder.file_name()?.to_str()?.parse().ok()?;
        if !has_open(&folder, &sockets) {
            return None;
        }
        let name = fs::read_to_string(folder.join("comm")).unwrap_or_default();
        Some(format!("process {id}, {}", name.trim()))
    })
}

/// The sockets that listen on `port`, as they are called among a process's open files.
fn listening(table: &str, port: u16) -> Vec<String> {
    let port = format!(":{port:04X}");
    let lines = table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>());
    lines
        .filter(|fields| fields.get(1).is_some_and(|local| local.ends_with(&port)))
        .filter(|fields| fields.get(3) == Some(&LISTEN))
        .filter_map(|fields| Some(format!("socket:[{}]", fields.get(9)?)))
        .collect()
}

fn has_open(process: &Path, sockets: &[String]) -> bool {
    let files = fs::read_dir(process.join("fd")).into_iter().flatten();
    files.filter_map(Result::ok).any(|file| {
        let target = fs::read_link(file.path());
        target.is_ok_and(|target| sockets.iter().any(|socket| target == Path::new(socket)))
    })
}
