//! Databases for the tests of one program, each new and soon gone, and what lies in them, read past the server.
//!
//! A database belongs to a folder, as a file would lie in it: whoever knows the folder finds it, and once the folder is gone,
//! so is the database. One thread of its own talks to PostgreSQL, over connections that it keeps, since a test asks for what
//! is stored hundreds of times, from inside and outside of any runtime.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicU32, Ordering::Relaxed},
        mpsc,
    },
};

use tokio_postgres::{Client, NoTls, Row, error::SqlState};

use super::postgres;

/// Stands in the folder and holds the URL.
const NAME: &str = "database-url";

/// The database of this folder: the one that was made for it, or a new one.
pub fn of(folder: &Path) -> String {
    noted(folder).unwrap_or_else(|| {
        let url = new();
        fs::write(folder.join(NAME), &url).unwrap();
        let its = (folder.to_owned(), url.clone());
        made().lock().unwrap().push(its);
        url
    })
}

fn noted(folder: &Path) -> Option<String> {
    fs::read_to_string(folder.join(NAME)).ok()
}

/// From now on another database, an empty one, belongs to this folder.
pub fn replace(folder: &Path) {
    let _ = fs::remove_file(folder.join(NAME));
    of(folder);
}

/// Whether there is a PostgreSQL to make databases in; if not, that is said.
pub fn can_be_made() -> bool {
    static CAN: OnceLock<bool> = OnceLock::new();
    *CAN.get_or_init(|| postgres::url_of_a_new_database().is_some())
}

/// What was made, and for which folder.
fn made() -> &'static Mutex<Vec<(PathBuf, String)>> {
    static MADE: Mutex<Vec<(PathBuf, String)>> = Mutex::new(Vec::new());
    &MADE
}

/// Where databases are made; `/name` in place of `/postgres` is another one.
fn maintenance() -> &'static str {
    static URL: OnceLock<String> = OnceLock::new();
    URL.get_or_init(|| {
        let some = postgres::url_of_a_new_database();
        let some = some.expect("CHAT_TEST_DATABASE=postgres needs PostgreSQL");
        some.rsplit_once('/').unwrap().0.to_owned() + "/postgres"
    })
}

/// An empty database, in place of those whose folders are gone.
fn new() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let server = maintenance().rsplit_once('/').unwrap().0;
    let name = format!("test_{}", NUMBER.fetch_add(1, Relaxed));
    // Connections are left for whoever uses it; of the old ones none is.
    let gone: Vec<String> = {
        let mut made = made().lock().unwrap();
        let is_there = |(folder, url): &(PathBuf, String)| noted(folder).as_ref() == Some(url);
        let (there, gone): (Vec<_>, Vec<_>) = made.drain(..).partition(is_there);
        *made = there;
        gone.into_iter().map(|(_, url)| url).collect()
    };
    for url in gone {
        let name = url.rsplit_once('/').unwrap().1;
        run(maintenance(), &format!("DROP DATABASE {name} WITH (FORCE)"));
    }
    // By copying files, which costs a third of writing a log of it.
    let sql = format!("CREATE DATABASE {name} STRATEGY file_copy");
    run(maintenance(), &sql);
    format!("{server}/{name}")
}

/// The rows of a statement; none, if a table is not there.
pub fn rows(url: &str, sql: &str) -> Vec<Row> {
    match said(url, sql, true) {
        Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => Vec::new(),
        said => said.unwrap_or_else(|error| panic!("{sql}: {error:?}")),
    }
}

/// Runs statements, as one transaction where that is possible.
pub fn run(url: &str, sql: &str) {
    said(url, sql, false).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
}

type Said = Result<Vec<Row>, tokio_postgres::Error>;

struct Job {
    url: String,
    sql: String,
    asks: bool,
    reply: mpsc::Sender<Said>,
}

fn said(url: &str, sql: &str, asks: bool) -> Said {
    static LINE: OnceLock<mpsc::Sender<Job>> = OnceLock::new();
    let line = LINE.get_or_init(|| {
        let (line, jobs) = mpsc::channel();
        std::thread::spawn(move || serve(&jobs));
        line
    });
    let (reply, answer) = mpsc::channel();
    let job = Job {
        url: url.to_owned(),
        sql: sql.to_owned(),
        asks,
        reply,
    };
    line.send(job).unwrap();
    answer.recv().unwrap()
}

/// Connections that are kept.
const KEPT: usize = 8;

fn serve(jobs: &mpsc::Receiver<Job>) {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_all().build().unwrap();
    let mut kept: Vec<(String, Client)> = Vec::new();
    for job in jobs {
        let answered = runtime.block_on(async {
            kept.retain(|(_, client)| !client.is_closed());
            let at = match kept.iter().position(|(url, _)| *url == job.url) {
                Some(at) => at,
                None => {
                    let (client, connection) = tokio_postgres::connect(&job.url, NoTls).await?;
                    tokio::spawn(connection);
                    if kept.len() == KEPT {
                        kept.remove(0);
                    }
                    kept.push((job.url, client));
                    kept.len() - 1
                }
            };
            let client = &kept[at].1;
            match job.asks {
                true => client.query(&job.sql, &[]).await,
                false => client.batch_execute(&job.sql).await.map(|()| Vec::new()),
            }
        });
        let _ = job.reply.send(answered);
    }
}
