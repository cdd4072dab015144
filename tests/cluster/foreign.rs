//! Other programs insert into `messages` beside the load: readers have it a second after its commit, on every node.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;

use crate::{
    common::{
        Client,
        postgres::{self, Foreigner, sql},
        soon, token,
    },
    is_clean, light_weather,
    nodes::Cluster,
    or_full,
    oracle::trace::{Event, Frame, Request, Trace, Where, canary, origin_of},
    turn,
};

/// Who inserts; and the first of those who look, one at each node.
const THEIR_USER: i64 = 2001;
const WATCHER: i64 = 3000;
const ROOM: &str = "room-0";
const SINGLE_ROWS: usize = 20;
const ROWS_AT_ONCE: usize = 5;
/// Where messages of another node's clients take longer than a third of it, it is the machine that is busy.
const SOON: Duration = Duration::from_secs(1);

/// Other programs, and when what they inserted was seen at which node.
struct Others {
    trace: Trace,
    /// Of each row, by its number: when it was committed, at the earliest.
    committed: HashMap<usize, Instant>,
    seen: mpsc::UnboundedReceiver<(usize, usize, Instant)>,
}

impl Others {
    async fn beside(cluster: &Cluster) -> Self {
        let new =
            format!("INSERT INTO users (id, username) VALUES ({THEIR_USER}, 'user{THEIR_USER}')");
        sql(&cluster.url, &new);
        let (tell, seen) = mpsc::unbounded_channel();
        for (number, node) in cluster.nodes.iter().enumerate() {
            let (user, name) = (WATCHER + number as i64, format!("watcher{number}"));
            let path = format!("/ws?token={}", token(user, &name, 3600));
            let mut watcher = Client::connect(node.server().address, &path, user, &name).await;
            watcher.join(ROOM).await;
            tokio::spawn(watch(watcher, number, tell.clone()));
        }
        Self {
            trace: Trace {
                user: THEIR_USER,
                era: 0,
                events: Vec::new(),
            },
            committed: HashMap::new(),
            seen,
        }
    }

    /// The statement that inserts one more row, and its number.
    fn insert(&mut self, cluster: &Cluster) -> (usize, String) {
        let (number, place) = (cluster.next_send(), Where::Room(ROOM.into()));
        let content = canary(THEIR_USER, &place, number, 40);
        let request = Request::Send {
            place,
            content: content.clone(),
            nonce: None,
        };
        let said = Event::Said(number as i64, request);
        self.trace.events.push((cluster.stamp(), said));
        let sql = format!(
            "INSERT INTO messages (from_user, room, content) VALUES ({THEIR_USER}, '{ROOM}', '{content}')"
        );
        (number, sql)
    }

    /// One row, committed at once.
    fn inserts_one(&mut self, cluster: &Cluster, program: &mut Foreigner) {
        let (number, sql) = self.insert(cluster);
        self.committed.insert(number, Instant::now());
        program.does(&sql);
    }

    /// Every row was seen at every node: in which order at each, and how long the slowest took.
    async fn are_seen(&mut self, nodes: usize) -> (Vec<Vec<usize>>, Duration) {
        let (mut orders, mut slowest) = (vec![Vec::new(); nodes], Duration::ZERO);
        while orders
            .iter()
            .any(|order| order.len() < self.committed.len())
        {
            let seen = soon("other programs' rows", self.seen.recv()).await;
            let (node, number, at) = seen.unwrap();
            orders[node].push(number);
            slowest = slowest.max(at.saturating_duration_since(self.committed[&number]));
        }
        (orders, slowest)
    }
}

/// Tells of every foreign row that comes.
async fn watch(
    mut watcher: Client,
    node: usize,
    tell: mpsc::UnboundedSender<(usize, usize, Instant)>,
) {
    // Until its node ends.
    while let Some(Ok(event)) = watcher.next_event().await {
        let Message::Text(text) = event else {
            continue;
        };
        if let Frame::Live(row) = Frame::parse(&text)
            && let Some((THEIR_USER, _, number)) = origin_of(&row.content)
        {
            let _ = tell.send((node, number, Instant::now()));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_others_insert_is_with_every_reader_within_a_second_and_stalls_nobody() {
    let _turn = turn().await;
    let Some(url) = postgres::url_of_a_new_database() else {
        return;
    };
    let nodes = or_full(2, 3);
    let mut cluster = Cluster::new(&url, nodes, light_weather(nodes)).await;
    let mut others = Others::beside(&cluster).await;
    let (mut one, mut slow) = (Foreigner::new(&url), Foreigner::new(&url));
    // A transaction that stays open, with rows and with a room that others must not need.
    slow.does("BEGIN");
    let mut late = Vec::new();
    for _ in 0..ROWS_AT_ONCE {
        let (number, sql) = others.insert(&cluster);
        slow.does(&sql);
        late.push(number);
    }
    slow.does(&format!(
        "UPDATE rooms SET description = 'held' WHERE name = '{ROOM}'"
    ));
    cluster.converges("a foreign transaction opened").await;
    for _ in 0..SINGLE_ROWS {
        others.inserts_one(&cluster, &mut one);
        cluster
            .talks_for(Duration::from_millis(or_full(100, 1000)))
            .await;
    }
    let (before, slowest_single) = others.are_seen(nodes).await;
    let (_, [_, p99, _]) = cluster.times.across();
    let now = Instant::now();
    others.committed = late.iter().map(|number| (*number, now)).collect();
    slow.does("COMMIT");
    let (after, slowest_late) = others.are_seen(nodes).await;
    println!(
        "beside an open transaction rows of other programs took {slowest_single:?} at most, its own {slowest_late:?} from \
         its commit, and messages of another node's clients p99 {p99:?}"
    );
    for (before, after) in before.iter().zip(&after) {
        assert!(before.is_sorted(), "{before:?}");
        assert_eq!(after, &late, "in the order in which they were inserted");
    }
    let last = cluster.stamp();
    others.trace.events.push((last, Event::Cut));
    cluster.traces.push(others.trace);
    is_clean(cluster, 300).await;
    let soon = SOON.max(3 * p99);
    assert!(slowest_single < soon && slowest_late < soon);
}
