//! A PostgreSQL server of the tests' own, on a free port, which ends with them; and what other programs do in its databases.
//!
//! One for each test program, made when it is first asked for. Its databases are thrown away with it, so it does not wait
//! for the disk. Where PostgreSQL is not installed, [`url_of_a_new_database`] says so loudly and gives nothing.

use std::{
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Command, Stdio},
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

/// Makes the server, says its port, and ends it when its standard input ends, which it does however the tests end.
/// PostgreSQL does not run as root: then it runs as the user that its package made.
const SERVE: &str = r#"
    set -e
    bin=$1
    dir=$(mktemp -d)
    as=
    if [ "$(id -u)" = 0 ]; then chown postgres "$dir"; as="setpriv --reuid postgres --regid postgres --clear-groups"; fi
    cd "$dir"
    $as "$bin/initdb" -D "$dir/data" -U chat -A trust -E UTF8 --locale=C --no-sync >"$dir/initdb.log" 2>&1 || { cat "$dir/initdb.log" >&2; exit 1; }
    # No free port is given to anybody twice in a short while, but somebody else may be quicker: then the next is tried.
    tries=0
    while :; do
        port=$(awk 'BEGIN { srand(); print 20000 + int(rand() * 12000) + '"$$"' % 500 + '"$tries"' }')
        $as "$bin/postgres" -D "$dir/data" -p "$port" -k "$dir" -c listen_addresses=127.0.0.1 -c fsync=off \
            -c max_connections=300 -c full_page_writes=off -c timezone=UTC </dev/null >"$dir/log" 2>&1 &
        pid=$!
        until "$bin/pg_isready" -q -h 127.0.0.1 -p "$port" -U chat; do
            kill -0 "$pid" 2>/dev/null || break
            sleep 0.05
        done
        kill -0 "$pid" 2>/dev/null && break
        tries=$((tries + 1))
        [ "$tries" -lt 10 ] || { cat "$dir/log" >&2; exit 1; }
    done
    echo "$port"
    cat >/dev/null
    kill -QUIT "$pid"
    wait "$pid" || true
    rm -rf "$dir"
"#;

/// The server of this program.
struct Server {
    bin: PathBuf,
    port: u16,
}

fn server() -> Option<&'static Server> {
    static SERVER: OnceLock<Option<Server>> = OnceLock::new();
    SERVER
        .get_or_init(|| {
            let bin = programs()?;
            let mut script = Command::new("sh")
                .args(["-c", SERVE, "serve"])
                .arg(&bin)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .expect("sh");
            let mut port = String::new();
            let mut says = BufReader::new(script.stdout.take().unwrap());
            says.read_line(&mut port).unwrap();
            let port = port.trim().parse().expect("the server's port");
            // Its standard input is open until this process ends.
            std::mem::forget(script);
            Some(Server { bin, port })
        })
        .as_ref()
}

/// An empty database; `None` where there is no PostgreSQL.
pub fn url_of_a_new_database() -> Option<String> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let Some(server) = server() else {
        eprintln!("SKIP: PostgreSQL is not installed (apt-get install postgresql), or set PG_BIN");
        return None;
    };
    let name = format!("chat_{}", NUMBER.fetch_add(1, Relaxed));
    let url = |name: &str| format!("postgres://chat@127.0.0.1:{}/{name}", server.port);
    sql(&url("postgres"), &format!("CREATE DATABASE {name}"));
    Some(url(&name))
}

/// The port of the server that this URL leads to.
pub fn port_of(url: &str) -> u16 {
    let host = url.split('@').nth(1).unwrap();
    let port = host.split([':', '/']).nth(1).unwrap();
    port.parse().unwrap()
}

/// What `psql` says to some SQL, one line for each row.
pub fn sql(url: &str, sql: &str) -> Vec<String> {
    let server = server().expect("a URL came from it");
    let said = Command::new(server.bin.join("psql"))
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
    psql: std::process::Child,
    says: BufReader<std::process::ChildStdout>,
}

impl Foreigner {
    /// Connects.
    pub fn new(url: &str) -> Self {
        let server = server().expect("a URL came from it");
        let mut psql = Command::new(server.bin.join("psql"))
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
        use std::io::Write as _;
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
