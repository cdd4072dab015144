//! Readers who are slower than what is said.

use serde_json::{Value, json};

use crate::common::{Client, TestServer, http};

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

/// Says it so often in the room; storage may take its time for all of it.
async fn say_often(client: &mut Client, times: usize, request: &Value) {
    for said in 1..=times {
        client.say(request.to_string()).await;
        if said % 1_000 == 0 {
            client.ping().await;
        }
    }
}

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
        if n % 1_000 == 0 {
            ann.ping().await;
        }
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
async fn a_resume_of_one_room_forgets_nothing_that_a_slow_reader_is_owed_in_another() {
    let server = small().await;
    let mut ann = server.connect(1, "ann").await;
    let mut slow = server.connect(2, "slow").await;
    slow.join("owed").await;
    let content = "x".repeat(1000);
    let said = json!({"type": "message", "room": "owed", "content": content});
    say_often(&mut ann, MANY as usize, &said).await;
    let cursor = ann.send_room("added", "known").await;
    let missed = ann.send_room("added", "missed").await;
    server.relayed(missed.id).await;
    slow.say(
        json!({"type": "resume", "after": cursor.id, "rooms": ["added"], "ref": "resume"})
            .to_string(),
    )
    .await;
    let (mut owed, mut added, mut ack) = (0, Vec::new(), Value::Null);
    while added.is_empty() || ack.is_null() {
        let frame = slow.next().await;
        match frame["data"]["room"].as_str() {
            Some("owed") => {
                owed += 1;
                assert_eq!(frame["data"]["seq"], owed);
            }
            Some(_) => added.push(frame["data"]["content"].clone()),
            None => ack = frame,
        }
    }
    assert_eq!((owed, added), (MANY, vec![json!("missed")]));
    assert_eq!(
        (&ack["data"]["complete"], &ack["data"]["replayed"]),
        (&json!(true), &json!(1))
    );
}

#[tokio::test]
async fn after_an_incomplete_resume_a_slow_reader_is_live_from_its_last_id() {
    let server = small().await;
    let mut ann = server.connect(1, "ann").await;
    let mut slow = server.connect(2, "slow").await;
    slow.join("general").await;
    let content = "x".repeat(1000);
    let mut last = 0;
    for _ in 0..MANY {
        ann.say(
            json!({"type": "message", "room": "general", "content": content, "ref": 1}).to_string(),
        )
        .await;
    }
    for _ in 0..MANY {
        let sent = ann.next().await;
        let id = sent["data"]["id"].as_i64();
        last = id.unwrap_or_else(|| panic!("{sent}"));
    }
    server.relayed(last).await;
    slow.say(r#"{"type":"resume","after":0,"rooms":["general"],"ref":"resume"}"#)
        .await;
    let ack = loop {
        let frame = slow.next().await;
        if frame["ref"] == "resume" {
            break frame;
        }
    };
    assert_eq!(
        (&ack["data"]["reason"], &ack["data"]["lastId"]),
        (&json!("behind"), &json!(last))
    );
    ann.send_room("general", "live").await;
    assert_eq!(slow.next_message().await.content, "live");
}

#[tokio::test]
async fn a_long_way_to_catch_up_does_not_stop_the_clock() {
    let server = TestServer::with(|config| {
        config.limits.rate_limit = 0;
        config.limits.resume_max = 1_000_000;
    })
    .await;
    let mut ann = server.connect(1, "ann").await;
    let said = json!({"type": "message", "room": "general", "content": "x"});
    say_often(&mut ann, 60_000, &said).await;
    let token = crate::common::token(2, "late", 2);
    let mut late = Client::connect(server.address, &format!("/ws?token={token}"), 2, "late").await;
    late.say(r#"{"type":"resume","after":0,"rooms":["general"]}"#)
        .await;
    // As fast as it can be read; long before the end the token is over.
    assert_eq!(late.close_code().await, 4401);
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
    // Far more than the kernel's buffers and half a megabyte.
    for _ in 0..200 {
        ann.say(json!({"type": "message", "room": "general", "content": content}).to_string())
            .await;
    }
    for seq in 1..=200 {
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
