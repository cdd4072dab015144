//! Nothing is wrong: how it is then, and how long it takes from one node to another.

use std::time::Duration;

use crate::{common::postgres, is_clean, nodes::Cluster, or_full, turn, weather};

/// In a release build on a machine of its own; and, where nobody knows what else runs, far more.
fn across_most() -> Duration {
    Duration::from_millis(or_full(5000, 250))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_share_rooms_and_direct_messages() {
    let _turn = turn().await;
    let Some(url) = postgres::url_of_a_new_database() else {
        return;
    };
    let nodes = or_full(2, 3);
    let cluster = Cluster::new(&url, nodes, weather(nodes)).await;
    let time = Duration::from_secs(or_full(8, 60));
    cluster.talks_for(time).await;
    let (count, [p50, p99, most]) = cluster.times.across();
    println!(
        "{nodes} nodes, {} clients: {count} deliveries from one node to another, p50 {p50:?}, p99 {p99:?}, at most {most:?}",
        cluster.weather.clients
    );
    let least = cluster.weather.per_second as usize * time.as_secs() as usize;
    is_clean(cluster, least / 2).await;
    assert!(p99 < across_most(), "{p99:?}");
}
