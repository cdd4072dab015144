//! Several executables over one database, each behind a network of its own that can be broken, and clients who go to any.

use std::{
    collections::HashSet,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tempfile::TempDir;
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::timeout,
};

use crate::{
    common::{
        binary::{self, Running, chat_server_at},
        postgres::{port_of, sql},
        proxy::Proxy,
        soon,
    },
    log, or_full,
    oracle::{self, Case, trace::Trace},
    storm::{self, News, SECRET_TEXT, Sky, Weather, streams, talker::Talker, times::Times},
};

/// How soon after everything is mended every client must hear what is said then: twice as late in the ordinary run, where
/// nobody knows what else runs, and as late as `CLUSTER_HEALED` says, in seconds, on a machine that is known to be busy.
pub fn healed() -> Duration {
    let said = std::env::var("CLUSTER_HEALED").ok();
    Duration::from_secs(said.map_or(or_full(20, 10), |said| said.parse().unwrap()))
}

/// So many nodes, and all who talk to them.
pub struct Cluster {
    /// Past every network.
    pub url: String,
    pub nodes: Vec<Node>,
    pub weather: Weather,
    pub times: Arc<Times>,
    /// Of people who are not talkers.
    pub traces: Vec<Trace>,
    sky: watch::Sender<Sky>,
    news: mpsc::UnboundedReceiver<News>,
    talkers: JoinSet<()>,
    stamps: Arc<AtomicU64>,
    sends: Arc<AtomicUsize>,
}

/// A node and its way to the database.
pub struct Node {
    pub network: Proxy,
    folder: TempDir,
    url: String,
    running: Option<Running>,
}

impl Node {
    pub async fn over(url: &str) -> Self {
        let port = port_of(url);
        let network = Proxy::to(port).await;
        let url = url.replace(&format!(":{port}/"), &format!(":{}/", network.port));
        Self {
            network,
            folder: tempfile::tempdir().unwrap(),
            url,
            running: None,
        }
    }

    fn command(&self) -> Command {
        const ARGS: &[&str] = &[
            "--bind=127.0.0.1:0",
            "--rate-limit=0",
            "--resume-max=100000",
        ];
        let mut command = chat_server_at(&binary::chosen(), self.folder.path(), ARGS);
        command.args(["--db", &self.url]);
        command.env("JWT_SECRET", SECRET_TEXT);
        command
    }

    /// Starts it; once it serves.
    pub async fn rise(&mut self) {
        let mut command = self.command();
        let started = tokio::task::spawn_blocking(move || Running::start(&mut command));
        self.running = Some(started.await.unwrap());
    }

    pub fn server(&self) -> &Running {
        self.running.as_ref().expect("the node runs")
    }
}

impl Cluster {
    /// That many nodes, which serve, and clients who are in their rooms and talk.
    pub async fn new(url: &str, nodes: usize, weather: Weather) -> Self {
        let (tell, news) = mpsc::unbounded_channel();
        let (sky, _) = watch::channel(Sky::default());
        let (stamps, sends) = (Arc::new(AtomicU64::new(1)), Arc::new(AtomicUsize::new(1)));
        let (times, mut talkers) = (Arc::new(Times::default()), JoinSet::new());
        let mut cluster = Self {
            url: url.into(),
            nodes: Vec::new(),
            weather,
            times: times.clone(),
            traces: Vec::new(),
            news,
            talkers: JoinSet::new(),
            stamps: stamps.clone(),
            sends: sends.clone(),
            sky,
        };
        for _ in 0..nodes {
            cluster.nodes.push(Node::over(url).await);
        }
        let rising = cluster.nodes.iter_mut().map(Node::rise);
        futures_util::future::join_all(rising).await;
        let answered = watch::Sender::new(0);
        for user in 1..=weather.clients {
            let counters = (stamps.clone(), sends.clone());
            let talker = Talker::new(user, weather, counters, answered.clone(), tell.clone());
            let talker = talker.of_many(user % nodes, times.clone());
            talkers.spawn(talker.run_among(cluster.sky.subscribe()));
        }
        cluster.talkers = talkers;
        cluster.shows_where();
        let joined = cluster.all_tell(|news| match news {
            News::Joined(user) => Some(*user),
            _ => None,
        });
        soon("everybody to join", joined).await;
        cluster
    }

    /// Tells the clients which nodes live.
    fn shows_where(&self) {
        let nodes = self.nodes.iter();
        let nodes = nodes.map(|node| node.running.as_ref().map(|running| running.address));
        let nodes = nodes.collect();
        self.sky.send_modify(|sky| sky.nodes = nodes);
    }

    /// `kill -9`.
    pub fn kill(&mut self, node: usize) {
        self.nodes[node].running.take().expect("it runs").kill();
        self.shows_where();
    }

    pub async fn rise(&mut self, node: usize) {
        self.nodes[node].rise().await;
        self.shows_where();
    }

    /// Lets them talk for so long.
    pub async fn talks_for(&self, time: Duration) {
        let _ = timeout(time, std::future::pending::<()>()).await;
    }

    /// How long it takes until everybody has heard something that was said after this moment; so everything before it too,
    /// or a law is broken.
    pub async fn converges(&self, what: &str) -> Duration {
        let begun = Instant::now();
        let number = self.sends.load(Relaxed);
        while self.times.have_heard(number) < self.weather.clients {
            let heard = self.times.have_heard(number);
            assert!(
                begun.elapsed() < healed(),
                "after {what} only {heard} of {} clients hear what is said",
                self.weather.clients
            );
            self.talks_for(Duration::from_millis(20)).await;
        }
        println!("{what}: all hear again after {:?}", begun.elapsed());
        begun.elapsed()
    }

    /// The number of one more send, for somebody who is no talker.
    pub fn next_send(&self) -> usize {
        self.sends.fetch_add(1, Relaxed)
    }

    pub fn stamp(&self) -> u64 {
        self.stamps.fetch_add(1, Relaxed)
    }

    /// Nobody says anything new, everybody gets every answer, sees everything, and stays until this was judged: the case,
    /// and what is wrong in it.
    pub async fn calms(mut self) -> (Case, Vec<String>) {
        self.sky.send_modify(|sky| sky.is_calm = true);
        let settled = self.all_tell(|news| match news {
            News::Settled(user) => Some(*user),
            _ => None,
        });
        let _ = timeout(healed(), settled).await;
        let url = self.url.clone();
        soon("foreign rows to be taken in", async {
            while !sql(&url, log::UNTAKEN).is_empty() {
                let _ = timeout(Duration::from_millis(50), std::future::pending::<()>()).await;
            }
        })
        .await;
        let log = log::read(&self.url);
        let told = Arc::new(log.clone());
        self.sky.send_modify(|sky| sky.log = Some(told));
        let seen = self.all_tell(|news| match news {
            News::SeenAll(user) => Some(*user),
            _ => None,
        });
        // Whoever has not is found by the oracle: its trace is open.
        let _ = timeout(healed(), seen).await;
        self.sky = watch::channel(Sky::default()).0;
        while self.talkers.join_next().await.is_some() {}
        while let Ok(told) = self.news.try_recv() {
            if let News::Ended(_, traces) = told {
                self.traces.extend(traces);
            }
        }
        let case = storm::case(self.traces, log, true);
        let mut faults = oracle::violations(&case);
        faults.extend(streams(&case, true));
        (case, faults)
    }

    /// Every client has told this.
    async fn all_tell(&mut self, what: fn(&News) -> Option<i64>) {
        let mut told = HashSet::new();
        while told.len() < self.weather.clients {
            match self.news.recv().await {
                Some(news) => told.extend(what(&news)),
                None => return,
            }
        }
    }
}
