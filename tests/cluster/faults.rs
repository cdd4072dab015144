//! Nodes die, the database dies, networks break: who is there goes on, who comes back has everything, and while nothing can
//! be stored, nothing is acknowledged.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::{
    common::{
        Client,
        postgres::{self, Postgres, sql},
        soon, token,
    },
    is_clean, is_full, light_weather,
    nodes::Cluster,
    or_full,
    storm::Dice,
    turn,
};

/// The connections on which nodes hear each other, as the server knows them: process and port.
fn ears(cluster: &Cluster) -> Vec<(i32, u16)> {
    const EARS: &str =
        "SELECT pid, client_port FROM pg_stat_activity WHERE datname = current_database()
        AND (query IN ('NOTIFY chat_log', 'SELECT 1') OR query LIKE '%LISTEN chat_log')";
    let ears = sql(&cluster.url, EARS);
    let ears = ears.iter().map(|ear| {
        let (pid, port) = ear.split_once('|').unwrap();
        (pid.parse().unwrap(), port.parse().unwrap())
    });
    ears.collect()
}

/// That every node has an ear, and none of these.
async fn have_new_ears(cluster: &Cluster, old: &[(i32, u16)]) -> Duration {
    let begun = Instant::now();
    let all_new = async {
        loop {
            let mut now = ears(cluster);
            now.retain(|ear| !old.contains(ear));
            if now.len() >= cluster.nodes.len() {
                return;
            }
            cluster.talks_for(Duration::from_millis(100)).await;
        }
    };
    soon("new ears", all_new).await;
    begun.elapsed()
}

/// How long a node may not notice that it hears nothing any more.
const NOTICED: Duration = Duration::from_secs(10);
/// Without a bell every node looks for itself, four times a second; the bell is missed for longer than this.
const DEAF_MOST: Duration = Duration::from_millis(4000);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_hear_nothing_look_for_themselves_and_hear_again() {
    let _turn = turn().await;
    let Some(url) = postgres::url_of_a_new_database() else {
        return;
    };
    let nodes = or_full(2, 3);
    let cluster = Cluster::new(&url, nodes, light_weather(nodes)).await;
    // An ear is known by what it says last, and each has yet to say it.
    have_new_ears(&cluster, &[]).await;
    let old = ears(&cluster);
    assert_eq!(old.len(), nodes, "{old:?}");
    for (pid, _) in &old {
        sql(&url, &format!("SELECT pg_terminate_backend({pid})"));
    }
    let noticed = have_new_ears(&cluster, &old).await;
    println!("killed ears were replaced after {noticed:?}");
    cluster.converges("ears were killed").await;
    let old = ears(&cluster);
    let _ = cluster.times.across();
    for node in &cluster.nodes {
        node.network.hold_some(old.iter().map(|(_, port)| *port));
    }
    let noticed = have_new_ears(&cluster, &old).await;
    let (_, [p50, p99, _]) = cluster.times.across();
    println!(
        "deaf ears were replaced after {noticed:?}; across meanwhile p50 {p50:?}, p99 {p99:?}"
    );
    cluster.talks_for(Duration::from_secs(or_full(0, 5))).await;
    cluster.nodes.iter().for_each(|node| node.network.mend());
    cluster.converges("ears were deaf").await;
    is_clean(cluster, 300).await;
    assert!(noticed < NOTICED && p99 < DEAF_MOST);
}

/// Before a long one.
const SHORT_CUTS: usize = 4;

/// What happens to a cluster.
#[derive(Clone, Copy, Debug)]
enum Harm {
    NodeKilled,
    DatabaseKilled,
    DatabaseRestarted,
    /// All nodes lose their database at once, and know it.
    Cut,
    /// The same, and nobody tells them.
    Silence,
}

const HARMS: [Harm; 5] = [
    Harm::NodeKilled,
    Harm::DatabaseKilled,
    Harm::DatabaseRestarted,
    Harm::Cut,
    Harm::Silence,
];

/// One client at each node, who is there before it happens.
async fn witnesses_of(cluster: &Cluster) -> Vec<Client> {
    let mut witnesses = Vec::new();
    for (number, node) in cluster.nodes.iter().enumerate() {
        let (user, name) = (4000 + number as i64, format!("witness{number}"));
        let path = format!("/ws?token={}", token(user, &name, 3600));
        witnesses.push(Client::connect(node.server().address, &path, user, &name).await);
    }
    witnesses
}

/// Whatever they send is refused, as unavailable.
async fn are_refused(witnesses: Vec<Client>) {
    for mut witness in witnesses {
        let send = json!({"type": "message", "room": "general", "content": "not to be stored"});
        let refused = witness.ask_in_vain(send).await;
        assert_eq!(refused["code"], "unavailable", "{refused}");
    }
}

async fn harm(cluster: &mut Cluster, postgres: &mut Postgres, harm: Harm, dice: &mut Dice) {
    let pause = Duration::from_secs(or_full(2, 15));
    match harm {
        Harm::NodeKilled => {
            let node = dice.below(cluster.nodes.len());
            cluster.kill(node);
            cluster.converges("a node was killed").await;
            cluster.rise(node).await;
        }
        Harm::DatabaseKilled => {
            let witnesses = witnesses_of(cluster).await;
            postgres.kill();
            are_refused(witnesses).await;
            postgres.rise();
        }
        Harm::DatabaseRestarted => {
            let witnesses = witnesses_of(cluster).await;
            postgres.stop();
            are_refused(witnesses).await;
            postgres.rise();
        }
        Harm::Cut => {
            // Commits are on their way in most of these.
            for _ in 0..SHORT_CUTS {
                cluster.nodes.iter().for_each(|node| node.network.cut());
                cluster.nodes.iter().for_each(|node| node.network.mend());
                cluster.talks_for(dice.millis(150, 350)).await;
            }
            let witnesses = witnesses_of(cluster).await;
            cluster.nodes.iter().for_each(|node| node.network.cut());
            are_refused(witnesses).await;
            cluster.talks_for(pause).await;
            cluster.nodes.iter().for_each(|node| node.network.mend());
        }
        Harm::Silence => {
            cluster.nodes.iter().for_each(|node| node.network.hold());
            cluster.talks_for(pause).await;
            cluster.nodes.iter().for_each(|node| node.network.mend());
        }
    }
    cluster.converges(&format!("{harm:?}")).await;
}

/// From an empty database through all its harms to the calm at the end.
async fn round(postgres: &mut Postgres, harms: &[Harm]) {
    let nodes = or_full(2, 3);
    let weather = light_weather(nodes);
    let (mut dice, url) = (Dice::new(weather.seed), postgres.url_of_a_new_database());
    let mut cluster = Cluster::new(&url, nodes, weather).await;
    for harm_now in harms {
        cluster
            .talks_for(dice.millis(500, or_full(1000, 5000)))
            .await;
        harm(&mut cluster, postgres, *harm_now, &mut dice).await;
    }
    is_clean(cluster, 100 * harms.len()).await;
}

/// Of the long version; `CLUSTER_MINUTES` says otherwise.
fn whole() -> Duration {
    let minutes = std::env::var("CLUSTER_MINUTES").ok();
    let minutes = minutes.map_or(30.0, |minutes| minutes.parse().unwrap());
    Duration::from_secs_f64(60.0 * minutes)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deaths_and_cuts_lose_double_and_move_nothing() {
    let _turn = turn().await;
    let Some(mut postgres) = Postgres::slow() else {
        return;
    };
    let begun = Instant::now();
    round(&mut postgres, &HARMS).await;
    let mut dice = Dice::new(rand::random());
    while is_full() && begun.elapsed() < whole() {
        let harms = [(); 6].map(|()| HARMS[dice.below(HARMS.len())]);
        println!("{:?} so far; {harms:?}", begun.elapsed());
        round(&mut postgres, &harms).await;
    }
}
