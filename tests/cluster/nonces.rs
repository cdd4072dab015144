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

/// Each has a device at every node.
const USERS: i64 = 8;

/// Sends the same at every node at once, again and again; which nodes were the first to store it.
async fn sends_everywhere(user: i64, nodes: &[Node], times: usize) -> HashSet<usize> {
    let (name, mut firsts) = (format!("user{user}"), HashSet::new());
    let path = format!("/ws?token={}", token(user, &name, 3600));
    let devices = nodes.iter().map(|node| node.server().address);
    let devices = devices.map(|address| Client::connect(address, &path, user, &name));
    let mut devices = join_all(devices).await;
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
    firsts
}

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
    let (nodes, times) = (nodes.await, or_full(25, 125));
    let users = (1..=USERS).map(|user| sends_everywhere(user, &nodes, times));
    let firsts: HashSet<usize> = join_all(users).await.into_iter().flatten().collect();
    let all = USERS * times as i64;
    let stored =
        "SELECT count(*), count(DISTINCT (from_user, chat_nonce)), max(chat_seq) FROM messages";
    assert_eq!(sql(&url, stored), [format!("{all}|{all}|{all}")]);
    assert!(
        firsts.len() > 1,
        "one node was always the first: {firsts:?}"
    );
}
