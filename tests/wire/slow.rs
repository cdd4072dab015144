//! Readers who are slower than what is said.

use serde_json::{Value, json};

use crate::common::{TestServer, http};

/// What a page of messages may fill: an outbox of 64 KiB, and messages of 1 KiB.
async fn small() -> TestServer {
    TestServer::with(|config| {
        config.limits.rate_limit = 0;
        config.limits.outbox_bytes = 64 * 1024;
        config.limits.history_bytes = 32 * 1024;
    })
    .await
}

/// More than the kernel's buffers and the outbox hold together.
const MANY: i64 = 6_000;

#[tokio::test]
async fn a_slow_reader_gets_everything_in_order_and_its_replies_with_it() {
    let server = small().await;
    let mut ann = server.connect(1, "ann").await;
    let mut slow = server.connect(2, "slow").await;
    ann.send_room("general", "before slow was there").await;
    slow.join("general").await;
    ann.send_dm(2, "first").await;
    let mut to_come = vec!["first".to_owned()];
    let mut refs = Vec::new();
    for n in 0..MANY {
        let content = format!("{n} {}", "x".repeat(1000));
        match n % 3 {
            0 => {
                ann.say(json!({"type": "dm", "to": 2, "content": content}).to_string())
                    .await
            }
            _ => {
                ann.say(
                    json!({"type": "message", "room": "general", "content": content}).to_string(),
                )
                .await
            }
        }
        to_come.push(content);
        if n % 1000 == 500 {
            ann.ping().await; // what was sent is stored
            // A reader who does not read may still speak. What it says itself in a DM does not come back to it.
            slow.say(json!({"type": "dm", "to": 1, "content": "not to me", "ref": n}).to_string())
                .await;
            refs.push(n);
            ann.next_dm().await;
        }
    }
    ann.ping().await;
    let (mut last_id, mut replies) = (0, Vec::new());
    for content in to_come {
        let frame = loop {
            let frame = slow.next().await;
            match frame["ref"].as_i64() {
                Some(reference) => replies.push(reference),
                None => break frame,
            }
        };
        assert_eq!(frame["data"]["content"], content);
        let id = frame["data"]["id"].as_i64().unwrap();
        assert!(id > last_id);
        last_id = id;
    }
    assert_eq!(replies, refs);
    slow.expect_silence().await;
    let metrics = http::request(server.address, "GET", "/metrics", &[], "")
        .await
        .body;
    assert!(
        !metrics.contains("chat_readers_fell_behind_total 0"),
        "{metrics}"
    );
    // Live again.
    ann.send_room("general", "live").await;
    assert_eq!(slow.next_message().await.content, "live");
}

#[tokio::test]
async fn a_room_that_is_joined_or_left_on_the_way_is_served_from_there() {
    let server = small().await;
    let mut ann = server.connect(1, "ann").await;
    let mut slow = server.connect(2, "slow").await;
    slow.join("general").await;
    let content = "x".repeat(1000);
    for n in 0..MANY {
        ann.say(json!({"type": "message", "room": "general", "content": content}).to_string())
            .await;
        if n == MANY / 2 {
            ann.send_room("late", "before").await;
            slow.say(r#"{"type":"join","room":"late","ref":"joined"}"#)
                .await;
            slow.say(r#"{"type":"dm","to":1,"content":"I have joined"}"#)
                .await;
            ann.next_dm().await;
            ann.send_room("late", "after").await;
        }
    }
    let last = ann.send_room("general", "the last").await;
    let (mut rooms, mut joined) = (Vec::new(), Value::Null);
    loop {
        let frame = slow.next().await;
        if frame["ref"] == "joined" {
            joined = frame;
            continue;
        }
        if frame["data"]["room"] == "late" {
            rooms.push(frame["data"]["content"].as_str().unwrap().to_owned());
        }
        if frame["data"]["id"] == last.id {
            break;
        }
    }
    assert_eq!(joined["data"]["lastSeq"], 1);
    assert_eq!(rooms, ["after"]);
}

#[tokio::test]
async fn a_reader_that_takes_nothing_is_closed_with_1013_and_holds_up_nobody() {
    let server = TestServer::with(|config| {
        config.limits.rate_limit = 0;
        config.limits.outbox_bytes = 512 * 1024;
        config.limits.history_bytes = 64 * 1024;
        config.limits.stall_seconds = 3;
    })
    .await;
    let [mut ann, mut slow, mut fast] = server.clients(["ann", "slow", "fast"]).await;
    slow.join("general").await;
    fast.join("general").await;
    let content = "x".repeat(16 * 1024);
    // What the kernel's buffers take and half a megabyte: 16 MiB are far more than both.
    for _ in 0..1_000 {
        ann.say(json!({"type": "message", "room": "general", "content": content}).to_string())
            .await;
    }
    for seq in 1..=1_000 {
        assert_eq!(fast.next_message().await.seq, seq);
    }
    while !http::request(server.address, "GET", "/metrics", &[], "")
        .await
        .body
        .contains(r#"chat_closes_total{code="1013"} 1"#)
    {}
    assert_eq!(slow.close_code().await, 1013);
    ann.ping().await;
}
