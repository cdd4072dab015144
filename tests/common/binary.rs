//! The executable itself, as its own process.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Output, Stdio},
    sync::mpsc,
};

use rustix::process::{Pid, Signal, kill_process};

use super::PATIENCE;

/// The executable that was built with these tests.
pub fn built() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_chat-server"))
}

/// The build that `CHAT_SERVER_BIN` names, by its full name, since it runs in a folder of its own; else the one of this
/// test.
pub fn chosen() -> PathBuf {
    match std::env::var_os("CHAT_SERVER_BIN") {
        Some(path) => std::fs::canonicalize(&path)
            .unwrap_or_else(|error| panic!("CHAT_SERVER_BIN={}: {error}", path.display())),
        None => built().into(),
    }
}

/// The executable, in a working directory, with nothing in its environment that could steer it.
pub fn chat_server(folder: &Path, args: &[&str]) -> Command {
    chat_server_at(built(), folder, args)
}

/// The same, but another build of it, or a program that runs it.
pub fn chat_server_at(program: &Path, folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder).args(args).stdin(Stdio::null());
    for name in [
        "DATABASE_URL",
        "WS_BIND_ADDR",
        "JWT_SECRET",
        "BACKEND_URL",
        "BACKEND_TOKEN",
        "WEBHOOK_SECRET",
        "RUST_LOG",
    ] {
        command.env_remove(name);
    }
    if !args.contains(&"--db")
        && let Some(url) = super::database_of(folder)
    {
        command.env("DATABASE_URL", url);
    }
    command
}

/// Runs to the end; for commands and for starts that fail.
pub fn output(command: &mut Command) -> Output {
    command.output().unwrap()
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A running server.
pub struct Running {
    pub address: SocketAddr,
    /// What it printed up to and with the `ready` line.
    pub greeting: String,
    child: Child,
    stdout: BufReader<ChildStdout>,
    log: mpsc::Receiver<String>,
}

impl Running {
    /// Starts and waits for the `ready` line.
    #[allow(
        clippy::zombie_processes,
        reason = "whoever holds a Running waits for it, at the latest in its drop"
    )]
    pub fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (lines, log) = mpsc::channel();
        std::thread::spawn(move || {
            let mut lines_read = stderr.lines().map_while(Result::ok);
            while lines_read
                .next()
                .is_some_and(|line| lines.send(line).is_ok())
            {}
        });
        let mut greeting = String::new();
        loop {
            let start = greeting.len();
            if stdout.read_line(&mut greeting).unwrap() == 0 {
                let log: Vec<String> = log.try_iter().collect();
                panic!(
                    "the server ended before it was ready:\n{greeting}{}",
                    log.join("\n")
                );
            }
            if let Some(address) = greeting[start..].trim().strip_prefix("ready addr=") {
                let address = address.parse().unwrap();
                return Self {
                    address,
                    greeting,
                    child,
                    stdout,
                    log,
                };
            }
        }
    }

    pub fn on(folder: &Path) -> Self {
        Self::start(&mut chat_server(folder, &["--bind", "127.0.0.1:0"]))
    }

    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// SIGKILL, and the end of the process.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Exit code, and everything that was logged and not yet read.
    pub fn wait(mut self) -> (Option<i32>, String) {
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).unwrap();
        let status = self.child.wait().unwrap();
        let log: Vec<String> = self.log.iter().collect();
        (status.code(), log.join("\n"))
    }

    /// Closes the reading end of the log: what is logged from the next line on cannot be written.
    pub fn read_no_more(&mut self) {
        // The thread that reads ends, and with it the pipe, at the first line that it cannot pass on.
        self.log = mpsc::channel().1;
    }

    /// Waits for a log line that contains `part`.
    pub fn logged(&self, part: &str) -> String {
        let mut seen = Vec::new();
        while let Ok(line) = self.log.recv_timeout(PATIENCE) {
            if line.contains(part) {
                return line;
            }
            seen.push(line);
        }
        panic!("{part:?} was not logged:\n{}", seen.join("\n"));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
