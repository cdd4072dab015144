//! Many clients who talk while the server dies again and again, and what everybody saw of it.
//!
//! Clients are careful ones: each keeps a cursor, and repeats under the same nonce what was not answered. After a death,
//! what it left in the file system is copied and judged together with all that was seen so far, while the server starts
//! again on the original.

#![allow(
    dead_code,
    reason = "each test program uses its own part of the vocabulary"
)]

pub mod image;
pub mod talker;
pub mod times;
pub mod traced;

use std::{
    collections::HashMap,
    net::SocketAddr,
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use rustix::process::{Signal, kill_process};
use tempfile::TempDir;
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::timeout,
};

use crate::{
    common::{
        self, SECRET,
        binary::{Running, chat_server_at},
        http, soon,
    },
    oracle::{
        Case, Era,
        trace::{Event, Frame, Reply, Trace, Where},
    },
    play::kept::Kept,
};
use image::{Image, read};
use talker::Talker;

/// How long everything may take once nothing is wrong any more.
const PATIENCE: Duration = Duration::from_secs(5);

/// How hard it blows.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    pub seed: u64,
    pub clients: usize,
    pub rooms: usize,
    /// Sends of all clients together.
    pub per_second: u32,
    /// Of each message's text, at least.
    pub bytes: usize,
    /// Instead of so many sends a client stops reading for a while; 0 is never.
    pub stall_one_in: usize,
}

/// Numbers that a seed decides.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Vigna's splitmix64.
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.roll() % bound as u64) as usize
    }

    pub fn one_in(&mut self, chances: usize) -> bool {
        self.below(chances) == 0
    }

    pub fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_micros(from * 1000 + self.roll() % ((to - from) * 1000))
    }
}

/// What the clients are told.
#[derive(Clone, Debug, Default)]
pub struct Sky {
    /// Which life of the server this is.
    life: usize,
    address: Option<SocketAddr>,
    /// Of several servers: where those are that live.
    pub nodes: Vec<Option<SocketAddr>>,
    /// Nobody says anything new.
    pub is_calm: bool,
    /// What there is to be seen by now.
    pub log: Option<Arc<Era>>,
}

/// What the clients tell, each by its user.
pub enum News {
    /// In and talking.
    Joined(i64),
    /// Everything that this client asked is answered.
    Settled(i64),
    /// It has seen everything.
    SeenAll(i64),
    /// This life is over, and these were its connections in it.
    Ended(usize, Vec<Trace>),
}

/// A server, those who talk to it, and all that they saw.
pub struct Storm {
    pub folder: TempDir,
    pub weather: Weather,
    pub traces: Vec<Trace>,
    /// From the start of the process to its `ready` line, for each life.
    pub starts: Vec<Duration>,
    server: Option<Running>,
    sky: watch::Sender<Sky>,
    news: mpsc::UnboundedReceiver<News>,
    answered: watch::Sender<u64>,
    talkers: JoinSet<()>,
    stamps: Arc<AtomicU64>,
}

impl Storm {
    pub fn new(weather: Weather) -> Self {
        Self::new_in(&std::env::temp_dir(), weather)
    }

    /// With its files somewhere in `folder`.
    pub fn new_in(folder: &Path, weather: Weather) -> Self {
        let (sky, _) = watch::channel(Sky::default());
        let (tell, news) = mpsc::unbounded_channel();
        let answered = watch::Sender::new(0);
        let (stamps, sends) = (Arc::new(AtomicU64::new(1)), Arc::new(AtomicUsize::new(1)));
        let mut talkers = JoinSet::new();
        for user in 1..=weather.clients {
            let talker = Talker::new(
                user,
                weather,
                (stamps.clone(), sends.clone()),
                answered.clone(),
                tell.clone(),
            );
            talkers.spawn(talker.run(sky.subscribe()));
        }
        Self {
            folder: tempfile::tempdir_in(folder).unwrap(),
            weather,
            traces: Vec::new(),
            starts: Vec::new(),
            server: None,
            sky,
            news,
            answered,
            talkers,
            stamps,
        }
    }

    /// The command that serves this storm's file.
    pub fn command(&self, program: &Path, args: &[&str]) -> Command {
        let mut command = chat_server_at(program, self.folder.path(), ARGS);
        command.args(args).env("JWT_SECRET", SECRET_TEXT);
        command
    }

    /// Starts a server, and lets everybody come.
    pub fn rise(&mut self, mut command: Command) {
        let begun = Instant::now();
        let server = Running::start(&mut command);
        self.starts.push(begun.elapsed());
        let address = Some(server.address);
        self.server = Some(server);
        self.sky.send_modify(|sky| {
            sky.life += 1;
            sky.address = address;
        });
    }

    pub fn server(&self) -> &Running {
        self.server.as_ref().expect("the server runs")
    }

    /// Everybody who comes for the first time is in.
    pub async fn everybody_joins(&mut self) {
        for _ in 0..self.weather.clients {
            let news = soon("everybody to join", self.news.recv()).await;
            assert!(
                matches!(news, Some(News::Joined(_))),
                "an end before the beginning"
            );
        }
    }

    /// So many more sends are answered.
    pub async fn answers(&self, count: u64) {
        let mut answered = self.answered.subscribe();
        let enough = *answered.borrow() + count;
        let waited = answered.wait_for(|answered| *answered >= enough);
        soon("answers", waited).await.unwrap();
    }

    /// `kill -9`, and what everybody had seen by then.
    pub async fn kill(&mut self) {
        self.server.take().expect("the server runs").kill();
        self.collect().await;
    }

    /// The server ends by itself; how, and what it had logged.
    pub async fn dies(&mut self) -> (Option<i32>, String) {
        let server = self.server.take().expect("the server runs");
        let pid = server.pid();
        let mut died = tokio::task::spawn_blocking(|| server.wait());
        let Ok(end) = timeout(common::PATIENCE, &mut died).await else {
            kill_process(pid, Signal::KILL).unwrap();
            panic!(
                "the server did not end by itself:\n{}",
                died.await.unwrap().1
            );
        };
        self.collect().await;
        end.unwrap()
    }

    /// SIGTERM.
    pub fn ask_to_stop(&self) {
        self.server().signal(Signal::TERM);
    }

    /// A thread of the server has logged that it holds; whoever it had woken before has had many turns.
    pub async fn holds(&mut self) {
        let server = self.server.take().expect("the server runs");
        let waited = tokio::task::spawn_blocking(move || {
            server.logged("held here for good");
            server
        });
        let server = soon("a step to be held at", waited).await.unwrap();
        for _ in 0..20 {
            assert_eq!(http::get(server.address, "/healthz").await.status, 200);
        }
        self.server = Some(server);
    }

    /// Everybody's connection has ended.
    async fn collect(&mut self) {
        let life = self.sky.borrow().life;
        let mut left = self.weather.clients;
        while left > 0 {
            if let Some(News::Ended(of, traces)) = soon("everybody's end", self.news.recv()).await
                && of == life
            {
                self.traces.extend(traces);
                left -= 1;
            }
        }
    }

    /// What happens from now on has this stamp or a later one.
    pub fn now(&self) -> u64 {
        self.stamps.load(Relaxed)
    }

    /// What would not have been heard any more, had the whole machine ended at `stamp`.
    pub fn forget_from(&mut self, stamp: u64) {
        for trace in &mut self.traces {
            trace.events.retain(|(at, _)| *at < stamp);
        }
    }

    /// What a death left: in the file system, or in the database.
    pub fn image(&self) -> Image {
        if common::on_postgres() {
            // What is still on its way there was acknowledged to nobody.
            return Image::of_read(read(&Kept::in_folder(self.folder.path())));
        }
        Image::of(&self.folder.path().join("chat.db"))
    }

    /// Nobody says anything new, everybody gets every answer, sees everything, and stays until this was judged.
    pub async fn calms(mut self) -> Case {
        self.sky.send_modify(|sky| sky.is_calm = true);
        self.all_tell(|news| matches!(news, News::Settled(_))).await;
        let log = read(&Kept::in_folder(self.folder.path()));
        let told = Arc::new(log.clone());
        self.sky.send_modify(|sky| sky.log = Some(told));
        self.all_tell(|news| matches!(news, News::SeenAll(_))).await;
        // Whoever has not is found by the oracle: its trace is open.
        self.sky = watch::channel(Sky::default()).0;
        while self.talkers.join_next().await.is_some() {}
        while let Ok(told) = self.news.try_recv() {
            if let News::Ended(_, traces) = told {
                self.traces.extend(traces);
            }
        }
        self.server.take().expect("the server runs").kill();
        case(self.traces, log, true)
    }

    async fn all_tell(&mut self, what: fn(&News) -> bool) {
        let mut left = self.weather.clients;
        let all = async {
            while left > 0 {
                match self.news.recv().await {
                    Some(News::Ended(_, traces)) => self.traces.extend(traces),
                    Some(news) => left -= usize::from(what(&news)),
                    None => break,
                }
            }
        };
        let _ = timeout(PATIENCE, all).await;
    }
}

/// The secret of every server here.
pub const SECRET_TEXT: &str = match std::str::from_utf8(SECRET) {
    Ok(text) => text,
    Err(_) => panic!("the secret is text"),
};

/// More than can be missed.
const RESUME_MAX: usize = 100_000;
const ARGS: &[&str] = &[
    "--bind",
    "127.0.0.1:0",
    "--rate-limit",
    "0",
    "--resume-max",
    "100000",
];

/// What was seen, to be judged by what is stored.
pub fn case(traces: Vec<Trace>, log: Era, healed: bool) -> Case {
    Case {
        traces,
        eras: vec![log],
        resume_limit: RESUME_MAX,
        healed,
    }
}

/// What was counted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Count {
    pub stored: usize,
    pub acked: usize,
    pub duplicates: usize,
    pub seen: usize,
    pub connections: usize,
}

impl Count {
    pub fn add(&mut self, other: Self) {
        self.stored += other.stored;
        self.acked += other.acked;
        self.duplicates += other.duplicates;
        self.seen += other.seen;
        self.connections += other.connections;
    }
}

pub fn count(case: &Case) -> Count {
    let mut count = Count {
        stored: case.eras[0].rows.len(),
        connections: case.traces.len(),
        ..Count::default()
    };
    for (_, event) in case.traces.iter().flat_map(|trace| &trace.events) {
        match event {
            Event::Heard(Frame::Live(_)) => count.seen += 1,
            Event::Heard(Frame::Reply {
                reply: Reply::Sent(sent),
                ..
            }) => {
                count.acked += 1;
                count.duplicates += usize::from(sent.duplicate);
            }
            _ => {}
        }
    }
    count
}

/// The ids that were acknowledged as new at `stamp` or later.
pub fn acked_from(stamp: u64, traces: &[Trace]) -> impl Iterator<Item = i64> {
    let events = traces.iter().flat_map(|trace| &trace.events);
    events.filter_map(move |(at, event)| match event {
        Event::Heard(Frame::Reply {
            reply: Reply::Sent(sent),
            ..
        }) if *at >= stamp && !sent.duplicate => Some(sent.id),
        _ => None,
    })
}

/// Over all its connections together, each client saw everything from where it first joined, once, in order. `whole`:
/// up to the end of the log.
pub fn streams(case: &Case, whole: bool) -> Vec<String> {
    let log = &case.eras[0];
    let mut faults = Vec::new();
    let mut users: Vec<i64> = case.traces.iter().map(|trace| trace.user).collect();
    users.sort_unstable();
    users.dedup();
    for user in users {
        let (mut seen, mut from) = (Vec::new(), HashMap::new());
        let mut traces: Vec<&Trace> = case.traces.iter().filter(|it| it.user == user).collect();
        traces.sort_by_key(|trace| trace.events.first().map(|(stamp, _)| *stamp));
        for (_, event) in traces.iter().flat_map(|trace| &trace.events) {
            match event {
                Event::Heard(Frame::Live(row)) => seen.push(row.id),
                Event::Heard(Frame::Reply { reply, .. }) => match reply {
                    Reply::Joined { room, last_id, .. } => {
                        from.entry(Where::Room(room.clone())).or_insert(*last_id);
                    }
                    Reply::Welcome { last_id, .. } => {
                        from.entry(Where::Dm(user)).or_insert(*last_id);
                    }
                    _ => {}
                },
                _ => {}
            }
        }
        if let Some(pair) = seen.windows(2).find(|pair| pair[0] >= pair[1]) {
            faults.push(format!("user {user} saw {} after {}", pair[1], pair[0]));
        }
        let until = match whole {
            true => log.last_id(),
            false => seen.last().copied().unwrap_or(0),
        };
        let due = |row: &&crate::oracle::trace::Row| {
            from.get(&row.place).is_some_and(|from| row.id > *from)
                && (row.from != user || matches!(row.place, Where::Room(_)))
        };
        for row in log.between(0, until).iter().filter(due) {
            if seen.binary_search(&row.id).is_err() {
                faults.push(format!("user {user} never saw {row:?}"));
            }
        }
    }
    faults
}

/// The last life, in which all is mended; what is wrong in the end.
pub async fn ends(mut storm: Storm, program: &Path, args: &[&str]) -> Vec<String> {
    let image = storm.image().log();
    let traces = storm.traces.clone();
    let mut faults = crate::oracle::violations(&case(traces, image, false));
    storm.rise(storm.command(program, args));
    storm.answers(20).await;
    let case = storm.calms().await;
    faults.extend(crate::oracle::violations(&case));
    faults.extend(streams(&case, true));
    faults
}
