//! PostgreSQL servers of the tests' own, on free ports, which end with them; and what other programs do in their databases.
//!
//! One is shared by each test program, made when it is first asked for, and never harmed. A test that harms its server has
//! a [`Postgres`] of its own. Databases are thrown away with their server, so nobody waits for the disk, unless a test is
//! about just that. Where PostgreSQL is not installed, [`Postgres::start`] says so loudly and gives nothing.

#![allow(
    dead_code,
    reason = "each test program uses its own part of the vocabulary"
)]

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::PathBuf,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
};

/// Debian's place for the programs of each version; `PG_BIN` names another.
fn programs() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("PG_BIN") {
        return Some(named.into());
    }
    let mut found: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .ok()?
        .filter_map(|version| Some(version.ok()?.path().join("bin")))
        .filter(|bin| bin.join("initdb").exists() && bin.join("postgres").exists())
        .collect();
    found.sort();
    found.pop()
}

/// Makes the server, says its port, does what it is told line by line, and ends it when its standard input ends, which it
/// does however the tests end. PostgreSQL does not run as root: then it runs as the user that its package made.
const SERVE: &str = r#"
    bin=$1
    settings=$2
    dir=$(mktemp -d)
    as=
    if [ "$(id -u)" = 0 ]; then chown postgres "$dir"; as="setpriv --reuid postgres --regid postgres --clear-groups"; fi
    cd "$dir"
    $as "$bin/initdb" -D "$dir/data" -U chat -A trust -E UTF8 --locale=C --no-sync >"$dir/initdb.log" 2>&1 || { cat "$dir/initdb.log" >&2; exit 1; }
    # Whether it could be started on this port. While those live whose server was killed, it cannot.
    rise() {
        $as "$bin/postgres" -D "$dir/data" -p "$port" -k "$dir" -c listen_addresses=127.0.0.1 \
            -c max_connections=300 -c timezone=UTC $settings </dev/null >>"$dir/log" 2>&1 &
        pid=$!
        until "$bin/pg_isready" -q -h 127.0.0.1 -p "$port" -U chat; do
            kill -0 "$pid" 2>/dev/null || return 1
            sleep 0.05
        done
        kill -0 "$pid" 2>/dev/null
    }
    # No free port is given to anybody twice in a short while, but somebody else may be quicker: then the next is tried.
    tries=0
    port=$(awk 'BEGIN { srand(); print 20000 + int(rand() * 12000) + '"$$"' % 500 }')
    until rise; do
        tries=$((tries + 1))
        port=$((port + 1))
        [ "$tries" -lt 10 ] || { cat "$dir/log" >&2; exit 1; }
    done
    echo "$port"
    while read -r command; do
        case $command in
            # The children too, in the middle of whatever they do: left alone, they would end it first.
            kill) kill -KILL "$pid" $(cat "/proc/$pid/task/$pid/children"); wait "$pid" 2>/dev/null ;;
            stop) kill -INT "$pid"; wait "$pid" 2>/dev/null ;;
            rise) for try in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do rise && break; sleep 0.2; done ;;
        esac
        kill -0 "$pid" 2>/dev/null && echo runs || echo ended
    done
    kill -QUIT "$pid" 2>/dev/null && wait "$pid"
    rm -rf "$dir"
"#;

/// What is lost when the machine loses its power: all of it, which no test here does.
const IN_MEMORY: &str = "-c fsync=off -c full_page_writes=off";

/// Waits for the disk, and a little longer: at nearly every moment somebody's commit is on its way.
const SLOW_COMMITS: &str = "-c commit_delay=20000 -c commit_siblings=0";

/// Writes nothing of its own accord: what nobody has committed is lost when it is killed, with the numbers it had.
const LATE_WRITES: &str = "-c fsync=off -c wal_writer_delay=10000 -c wal_level=minimal -c max_wal_senders=0 -c autovacuum=off";

/// A server. It ends when this is dropped.
pub struct Postgres {
    pub port: u16,
    script: Child,
    /// `None` when it is to end.
    tell: Option<ChildStdin>,
    says: BufReader<ChildStdout>,
}

impl Postgres {
    /// One that loses nothing when it is killed, and everything without power; `None` where PostgreSQL is not installed.
    pub fn start() -> Option<Self> {
        Self::with(IN_MEMORY)
    }

    /// One that waits for the disk, as it comes.
    pub fn durable() -> Option<Self> {
        Self::with("")
    }

    /// One that is as good as always in the middle of a commit.
    pub fn slow() -> Option<Self> {
        Self::with(SLOW_COMMITS)
    }

    /// One that writes only what it must.
    pub fn that_writes_late() -> Option<Self> {
        Self::with(LATE_WRITES)
    }

    #[allow(
        clippy::zombie_processes,
        reason = "whoever holds a server waits for it in its drop"
    )]
    fn with(settings: &str) -> Option<Self> {
        let Some(bin) = programs() else {
            let missing = "PostgreSQL is not installed (apt-get install postgresql), or set PG_BIN";
            assert!(
                std::env::var_os("CHAT_TEST_POSTGRES").is_none(),
                "{missing}"
            );
            eprintln!("SKIP: {missing}");
            return None;
        };
        let mut script = Command::new("sh")
            .args(["-c", SERVE, "serve"])
            .arg(bin)
            .arg(settings)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("sh");
        let tell = script.stdin.take();
        let mut says = BufReader::new(script.stdout.take().unwrap());
        let mut port = String::new();
        says.read_line(&mut port).unwrap();
        Some(Self {
            port: port.trim().parse().expect("the server's port"),
            script,
            tell,
            says,
        })
    }

    /// An empty database.
    pub fn url_of_a_new_database(&self) -> String {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("chat_{}", NUMBER.fetch_add(1, Relaxed));
        let url = |name: &str| format!("postgres://chat@127.0.0.1:{}/{name}", self.port);
        sql(&url("postgres"), &format!("CREATE DATABASE {name}"));
        url(&name)
    }

    /// `kill -9` of the server and of its children, which serve its connections, whatever they are about to do.
    pub fn kill(&mut self) {
        self.does("kill", "ended");
    }

    /// Ends it as `pg_ctl stop -m fast` does: whoever is connected is thrown out.
    pub fn stop(&mut self) {
        self.does("stop", "ended");
    }

    /// Starts it again, on the same port and what is stored; once it answers.
    pub fn rise(&mut self) {
        self.does("rise", "runs");
    }

    fn does(&mut self, command: &str, expected: &str) {
        writeln!(self.tell.as_mut().unwrap(), "{command}").unwrap();
        let mut said = String::new();
        self.says.read_line(&mut said).unwrap();
        assert_eq!(said.trim(), expected, "{command}");
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        drop(self.tell.take());
        let _ = self.script.wait();
    }
}

/// An empty database of the server that the tests of this program share; `None` where there is no PostgreSQL.
pub fn url_of_a_new_database() -> Option<String> {
    // Never dropped: its standard input is open until this process ends.
    static SERVER: OnceLock<Option<Postgres>> = OnceLock::new();
    let server = SERVER.get_or_init(Postgres::start).as_ref()?;
    Some(server.url_of_a_new_database())
}

/// The port of the server that this URL leads to.
pub fn port_of(url: &str) -> u16 {
    let host = url.split('@').nth(1).unwrap();
    let port = host.split([':', '/']).nth(1).unwrap();
    port.parse().unwrap()
}

/// What `psql` says to some SQL, one line for each row.
pub fn sql(url: &str, sql: &str) -> Vec<String> {
    let bin = programs().expect("a URL came from there");
    let said = Command::new(bin.join("psql"))
        .args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-d", url, "-c", sql])
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&said.stderr);
    assert!(said.status.success(), "{sql}: {error}");
    let said = String::from_utf8(said.stdout).unwrap();
    said.lines().map(str::to_owned).collect()
}

/// Another program with a transaction that stays open: `psql`, line by line.
pub struct Foreigner {
    psql: Child,
    says: BufReader<ChildStdout>,
}

impl Foreigner {
    /// Connects.
    pub fn new(url: &str) -> Self {
        let bin = programs().expect("a URL came from there");
        let mut psql = Command::new(bin.join("psql"))
            .args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-d", url])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let says = BufReader::new(psql.stdout.take().unwrap());
        Self { psql, says }
    }

    /// Does it, and waits until it is done.
    pub fn does(&mut self, sql: &str) {
        let input = self.psql.stdin.as_mut().unwrap();
        writeln!(input, "{sql};\n\\echo done").unwrap();
        let mut line = String::new();
        while line.trim() != "done" {
            line.clear();
            assert!(self.says.read_line(&mut line).unwrap() > 0, "{sql}");
        }
    }
}

impl Drop for Foreigner {
    fn drop(&mut self) {
        let _ = self.psql.kill();
        let _ = self.psql.wait();
    }
}
