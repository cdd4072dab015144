//! A client that does not know whether its message arrived may ask any node.

use std::collections::HashSet;

use futures_util::future::join_all;
use serde_json::json;

use crate::{
    common::{
        Client,
        client::sent,
        postgres::{self, sql},
        token,
    },
    nodes::Node,
    or_full, turn,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_nonce_at_three_nodes_at_once_is_one_message() {
    let _turn = turn().await;
    let Some(url) = postgres::url_of_a_new_database() else {
        return;
    };
    let nodes = join_all([(); 3].map(async |()| {
        let mut node = Node::over(&url).await;
        node.rise().await;
        node
    }));
    let (mut nodes, path) = (nodes.await, format!("/ws?token={}", token(1, "ann", 3600)));
    let devices = nodes
        .iter_mut()
        .map(|node| Client::connect(node.server().address, &path, 1, "ann"));
    let mut devices = join_all(devices).await;
    let (times, mut firsts) = (or_full(200, 1000), HashSet::new());
    for n in 0..times {
        let message = json!({"type": "message", "room": "general", "content": n.to_string(), "nonce": n.to_string()});
        let asked = devices.iter_mut().map(|device| device.ask(message.clone()));
        let acks: Vec<_> = join_all(asked).await.iter().map(sent).collect();
        for ack in &acks[1..] {
            assert_eq!((ack.id, ack.seq), (acks[0].id, acks[0].seq), "{acks:?}");
            assert_eq!(ack.timestamp, acks[0].timestamp);
        }
        let first: Vec<usize> = (0..acks.len()).filter(|at| !acks[*at].duplicate).collect();
        assert_eq!(first.len(), 1, "{acks:?}");
        firsts.extend(first);
    }
    let stored = "SELECT count(*), count(DISTINCT chat_nonce), max(chat_seq) FROM messages";
    assert_eq!(sql(&url, stored), [format!("{times}|{times}|{times}")]);
    assert!(
        firsts.len() > 1,
        "one node was always the first: {firsts:?}"
    );
}
