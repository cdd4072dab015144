//! The server under measurement: a process of its own on a core of its own, with a new database, and what the system
//! says about it.

use std::{
    collections::HashMap, ffi::OsString, fs, net::SocketAddr, path::PathBuf, process::Stdio,
    time::Duration,
};

use rustix::process::{Resource, getrlimit, setrlimit};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    net::TcpStream,
    process::{Child, ChildStdout, Command},
    time::timeout,
};

use crate::wire::Result;

/// What to measure, and where.
#[derive(clap::Args)]
pub struct Site {
    /// The executable to measure
    #[arg(
        long,
        global = true,
        default_value = "target/release/chat-server",
        value_name = "FILE"
    )]
    server: PathBuf,
    /// Folder for the temporary database, whose disk makes the durable figures; else that of the executable
    #[arg(long, global = true, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// One core for the server and one for this client, where there are two.
    #[arg(skip = cores::two())]
    cores: Option<[usize; 2]>,
}

/// A running server; it ends when this is dropped, and its database is deleted.
pub struct Server {
    pub address: SocketAddr,
    pub pinned: bool,
    program: PathBuf,
    database: String,
    // Dropped before the folder that it writes to.
    process: Child,
    folder: TempDir,
    // Kept open: a server whose output nobody takes would fail to write it.
    _output: Lines<BufReader<ChildStdout>>,
}

impl Site {
    /// Starts a server with room for so many connections, over a new file.
    pub async fn start(&self, connections: usize) -> Result<Server> {
        self.start_over("load.db", connections).await
    }

    /// The same on every core, where several servers, their database and this client must share them.
    pub fn shared(mut self) -> Self {
        self.cores = None;
        self
    }

    /// Starts a server with room for so many connections, over this database.
    pub async fn start_over(&self, database: &str, connections: usize) -> Result<Server> {
        raise_file_limit(connections as u64 + SPARE_FILES)?;
        let no_server = |error| {
            format!(
                "{:?}: {error}; build it first, or see --server",
                self.server
            )
        };
        let program = self.server.canonicalize().map_err(no_server)?;
        // A folder of its own, in which the server works: there it finds no .env.
        let beside = program.parent().ok_or("the server is no file")?;
        let folder = tempfile::tempdir_in(self.dir.as_deref().unwrap_or(beside))?;
        let mut command = Command::new(&program);
        command.args(["--bind=127.0.0.1:0", "--rate-limit=0", "--db", database]);
        command.arg(format!("--max-connections={}", connections + 10));
        command.env("RUST_LOG", "error").env_remove("JWT_SECRET");
        command
            .current_dir(&folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        let mut process = self.spawn(command)?;
        let output = process.stdout.take().ok_or("the server has no output")?;
        let mut output = BufReader::new(output).lines();
        let address = timeout(Duration::from_secs(30), ready(&mut output)).await??;
        Ok(Server {
            address,
            pinned: self.cores.is_some(),
            program,
            database: database.to_owned(),
            process,
            folder,
            _output: output,
        })
    }

    /// A child inherits the core of its parent, which moves on to the other one.
    fn spawn(&self, mut command: Command) -> Result<Child> {
        let Some([server, client]) = self.cores else {
            return Ok(command.spawn()?);
        };
        cores::pin(server)?;
        let process = command.spawn();
        cores::pin(client)?;
        Ok(process?)
    }
}

/// What either side opens besides the connections.
const SPARE_FILES: u64 = 200;

/// The server inherits this.
fn raise_file_limit(files: u64) -> Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < files) {
        limit.current = Some(files);
        let refused = |error| format!("{files} open files are needed and not allowed: {error}");
        setrlimit(Resource::Nofile, limit).map_err(refused)?;
    }
    Ok(())
}

/// The address in the line that the server prints once it listens.
async fn ready(output: &mut Lines<BufReader<ChildStdout>>) -> Result<SocketAddr> {
    while let Some(line) = output.next_line().await? {
        if let Some(address) = line.strip_prefix("ready addr=") {
            return Ok(address.parse()?);
        }
    }
    Err("the server ended before it listened".into())
}

impl Server {
    /// A token of user `id`, made by the program itself: it knows the secret that is kept with the database.
    pub async fn token(&self, id: usize) -> Result<String> {
        let mut command = Command::new(&self.program);
        command.args(["token", "--ttl=1d", "--db", &self.database]);
        command.args([format!("--user-id={id}"), format!("--username=user{id}")]);
        command.env_remove("JWT_SECRET").current_dir(&self.folder);
        let output = command.output().await?;
        let token = String::from_utf8(output.stdout)?.trim().to_owned();
        if token.is_empty() {
            Err("the server made no token".into())
        } else {
            Ok(token)
        }
    }

    pub fn cpu_clock(&self) -> Result<CpuClock> {
        let id = self.process.id().ok_or("the server has ended")?;
        Ok(CpuClock::of(&id.to_string()))
    }

    /// Memory that is resident, in bytes.
    pub fn resident_bytes(&self) -> Result<u64> {
        let id = self.process.id().ok_or("the server has ended")?;
        let rollup = fs::read_to_string(format!("/proc/{id}/smaps_rollup"))?;
        let kilobytes = rollup.lines().find_map(|line| line.strip_prefix("Rss:"));
        let kilobytes = kilobytes.and_then(|rest| rest.strip_suffix("kB")?.trim().parse().ok());
        Ok(1024 * kilobytes.unwrap_or(0_u64))
    }

    /// Messages stored so far, and the transactions that it took.
    pub async fn stored_and_commits(&self) -> Result<(u64, u64)> {
        let mut stream = TcpStream::connect(self.address).await?;
        let request = format!(
            "GET /metrics HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
            self.address
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let counter = |name: &str| {
            answer
                .lines()
                .find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
        };
        let counters = counter("chat_messages_stored_total ").zip(counter("chat_commits_total "));
        Ok(counters.ok_or("the counters are missing in /metrics")?)
    }
}

/// CPU time of a process by the scheduler's own clock, which is finer than utime and stime with their ticks of 10 ms.
pub struct CpuClock {
    tasks: PathBuf,
    seen: HashMap<OsString, u64>,
}

impl CpuClock {
    /// `process` is an id, or `self`.
    pub fn of(process: &str) -> Self {
        let tasks = format!("/proc/{process}/task").into();
        Self {
            tasks,
            seen: HashMap::new(),
        }
    }

    /// Nanoseconds so far. A thread that has ended since the last call counts as it was then: those that wait for
    /// blocking work end after ten idle seconds.
    pub fn read_ns(&mut self) -> Result<u64> {
        for task in fs::read_dir(&self.tasks)? {
            let task = task?;
            let stat = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            let ns = stat.split(' ').next().and_then(|ns| ns.parse().ok());
            if let Some(ns) = ns {
                self.seen.insert(task.file_name(), ns);
            }
        }
        Ok(self.seen.values().sum())
    }
}

#[cfg(target_os = "linux")]
mod cores {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

    /// The first two that this process may use.
    pub fn two() -> Option<[usize; 2]> {
        let allowed = sched_getaffinity(None).ok()?;
        let mut cores = (0..CpuSet::MAX_CPU).filter(|&core| allowed.is_set(core));
        Some([cores.next()?, cores.next()?])
    }

    /// From now on this thread, and what it starts, runs there only.
    pub fn pin(core: usize) -> rustix::io::Result<()> {
        let mut set = CpuSet::new();
        set.set(core);
        sched_setaffinity(None, &set)
    }
}

#[cfg(not(target_os = "linux"))]
mod cores {
    pub fn two() -> Option<[usize; 2]> {
        None
    }

    pub fn pin(_: usize) -> std::io::Result<()> {
        Ok(())
    }
}
