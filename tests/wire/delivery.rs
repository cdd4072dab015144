//! Who gets what, in which order.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::common::{
    TestServer,
    client::{self, sent},
};

#[tokio::test]
async fn a_room_message_reaches_every_member_and_nobody_else() {
    let server = TestServer::start().await;
    let [mut ann, mut bob, mut eve] = server.clients(["ann", "bob", "eve"]).await;
    bob.join("general").await;
    eve.join("elsewhere").await;
    let sent = ann.send_room("general", "hello").await; // resolves at message_sent: durable
    let seen = bob.next_message().await;
    assert_eq!(
        (seen.id, &*seen.content, &*seen.username),
        (sent.id, "hello", "ann")
    );
    server.relayed(sent.id).await; // the fan-out of this id is complete
    eve.expect_silence().await;
    ann.expect_silence().await;
}

#[tokio::test]
async fn whoever_leaves_a_room_hears_no_more_of_it() {
    let server = TestServer::start().await;
    let [mut ann, mut bob] = server.clients(["ann", "bob"]).await;
    bob.join("general").await;
    bob.join("general").await; // joining twice is joining once
    ann.send_room("general", "heard").await;
    assert_eq!(bob.next_message().await.content, "heard");
    bob.ask(json!({"type": "leave", "room": "general"})).await;
    let sent = ann.send_room("general", "not heard").await;
    server.relayed(sent.id).await;
    bob.expect_silence().await;
}

#[tokio::test]
async fn a_dm_reaches_all_of_the_recipient_and_the_senders_other_connections() {
    let server = TestServer::start().await;
    let mut ann = server.connect(1, "ann").await;
    let mut anns_phone = server.connect(1, "ann").await;
    let mut bob = server.connect(2, "bob").await;
    let mut bobs_phone = server.connect(2, "bob").await;
    let mut eve = server.connect(3, "eve").await;
    let sent = ann.send_dm(2, "psst").await;
    for client in [&mut anns_phone, &mut bob, &mut bobs_phone] {
        assert_eq!(client.next_dm().await.id, sent.id);
    }
    server.relayed(sent.id).await;
    ann.expect_silence().await;
    eve.expect_silence().await;
    let to_self = ann.send_dm(1, "note to self").await;
    assert_eq!(anns_phone.next_dm().await.id, to_self.id);
    server.relayed(to_self.id).await;
    ann.expect_silence().await;
    anns_phone.expect_silence().await;
}

#[tokio::test]
async fn a_conversation_of_two_is_read_by_these_two_alone() {
    let server = TestServer::start().await;
    let mut ann = server.connect(1, "ann").await;
    let mut bob = server.connect(12, "bob").await;
    let mut eve = server.connect(112, "eve").await; // 1|12 and 11|2 must not be one key
    server.connect(11, "kim").await;
    server.connect(2, "lee").await;
    ann.send_dm(12, "between us").await;
    bob.next_dm().await;
    bob.send_dm(1, "yes").await;
    ann.next_dm().await;
    let contents = |reply: Value| -> Vec<String> {
        reply["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|m| m["content"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(
        contents(ann.ask(json!({"type": "dm_history", "with": 12})).await),
        ["between us", "yes"]
    );
    assert_eq!(
        contents(bob.ask(json!({"type": "dm_history", "with": 1})).await),
        ["between us", "yes"]
    );
    for with in [1, 12, 112, 11, 2, 999] {
        assert_eq!(
            contents(eve.ask(json!({"type": "dm_history", "with": with})).await),
            [""; 0]
        );
    }
    // A room that is named like the pair is only a room.
    for room in ["1", "12", "1|12", "1-12", "dm:1:12"] {
        assert!(eve.room_history(room).await.is_empty());
    }
}

#[tokio::test]
async fn sends_get_their_ids_in_the_order_in_which_they_came() {
    let server = TestServer::with(|config| config.limits.rate_limit = 0).await;
    let [mut ann, mut bob] = server.clients(["ann", "bob"]).await;
    bob.join("general").await;
    for n in 0..500 {
        let room = if n % 3 == 0 { "other" } else { "general" };
        ann.say(
            json!({"type": "message", "room": room, "content": n.to_string(), "ref": n})
                .to_string(),
        )
        .await;
    }
    let mut last_id = 0;
    for n in 0..500 {
        let reply = ann.next().await;
        assert_eq!(reply["ref"], n);
        let id = sent(&reply).id;
        assert!(id > last_id);
        last_id = id;
    }
    let (mut last, mut seq) = (0, 0);
    for n in (0..500).filter(|n| n % 3 != 0) {
        let seen = bob.next_message().await;
        assert_eq!((seen.content, seen.seq), (n.to_string(), seq + 1));
        assert!(seen.id > last);
        (last, seq) = (seen.id, seen.seq);
    }
}

#[tokio::test]
async fn a_history_shows_what_was_sent_before_it_was_asked_for() {
    let server = TestServer::start().await;
    let mut ann = server.client("ann").await;
    for n in 0..20 {
        ann.say(
            json!({"type": "message", "room": "general", "content": n.to_string()}).to_string(),
        )
        .await;
    }
    assert_eq!(ann.room_history("general").await.len(), 20);
}

#[tokio::test]
async fn what_comes_live_begins_right_after_what_join_says_is_stored() {
    let server = TestServer::with(|config| config.limits.rate_limit = 0).await;
    let mut writer = server.client("writer").await;
    let writing = tokio::spawn(async move {
        for n in 0..2_000 {
            writer.send_room("busy", &n.to_string()).await;
        }
        writer
    });
    let mut joins = 0;
    while !writing.is_finished() {
        let mut reader = server.connect(1000 + joins, "reader").await;
        reader
            .say(r#"{"type":"join","room":"busy","ref":"join"}"#)
            .await;
        // The acknowledgement and the first live message may come in either order.
        let (mut last_seq, mut first_live) = (None, None);
        while last_seq.is_none() || first_live.is_none() {
            let frame = reader.next().await;
            match frame["type"].as_str() {
                Some("join_ack") => last_seq = frame["data"]["lastSeq"].as_i64(),
                _ => drop(first_live.get_or_insert(client::seen(&frame["data"]).seq)),
            }
            if writing.is_finished() {
                break;
            }
        }
        if let (Some(last_seq), Some(first_live)) = (last_seq, first_live) {
            assert_eq!(first_live, last_seq + 1);
            joins += 1;
        }
    }
    assert!(joins > 3, "only {joins} joins while the room was busy");
    writing.await.unwrap();
}

#[tokio::test]
async fn histories_page_in_both_directions_without_a_hole() {
    let server = TestServer::with(|config| config.limits.rate_limit = 0).await;
    let mut ann = server.client("ann").await;
    for n in 1..=120 {
        ann.send_room(if n % 2 == 0 { "even" } else { "odd" }, &n.to_string())
            .await;
    }
    let ids = |reply: &Value| -> Vec<i64> {
        reply["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|m| m["id"].as_i64().unwrap())
            .collect()
    };
    let newest = ann
        .ask(json!({"type": "room_history", "room": "even"}))
        .await;
    assert_eq!(
        ids(&newest),
        (21..=120).filter(|n| n % 2 == 0).collect::<Vec<_>>()
    );
    assert_eq!(newest["hasMore"], true);
    let older = ann
        .ask(json!({"type": "room_history", "room": "even", "before": 22, "limit": 50}))
        .await;
    assert_eq!(
        ids(&older),
        (1..=20).filter(|n| n % 2 == 0).collect::<Vec<_>>()
    );
    assert_eq!(older["hasMore"], false);
    let after = ann
        .ask(json!({"type": "room_history", "room": "even", "after": 0, "limit": 3}))
        .await;
    assert_eq!(
        (ids(&after), &after["hasMore"]),
        (vec![2, 4, 6], &json!(true))
    );
    let end = ann
        .ask(json!({"type": "room_history", "room": "even", "after": 116, "limit": 2}))
        .await;
    assert_eq!(
        (ids(&end), &end["hasMore"]),
        (vec![118, 120], &json!(false))
    );
    let none = ann
        .ask(json!({"type": "room_history", "room": "nobody was here"}))
        .await;
    assert_eq!((ids(&none), &none["hasMore"]), (vec![], &json!(false)));
    let clamped = ann
        .ask(json!({"type": "room_history", "room": "even", "limit": 9_007_199_254_740_993_i64}))
        .await;
    assert_eq!(ids(&clamped).len(), 60);
}

#[tokio::test]
async fn a_history_ends_at_its_limit_of_bytes() {
    let server = TestServer::with(|config| config.limits.rate_limit = 0).await;
    let mut ann = server.client("ann").await;
    // 15,000 quotes are 30,000 bytes as JSON: seventeen of them fit into 512 KiB.
    let content = "\"".repeat(15_000);
    for _ in 0..20 {
        ann.send_room("big", &content).await;
    }
    ann.say(r#"{"type":"room_history","room":"big","limit":500}"#)
        .await;
    let text = ann.next_text().await;
    assert!(text.len() <= 512 * 1024, "{} bytes", text.len());
    let reply: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(reply["hasMore"], true);
    let ids: Vec<i64> = reply["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| m["id"].as_i64().unwrap())
        .collect();
    assert_eq!(ids, (4..=20).collect::<Vec<_>>());
}

#[tokio::test]
async fn content_comes_back_byte_for_byte() {
    let server = TestServer::start().await;
    let [mut ann, mut bob] = server.clients(["ann", "bob"]).await;
    bob.join("general").await;
    let texts = [
        " leading and trailing \n",
        "\u{202E}right to left\u{202C}",
        "👩‍👩‍👧‍👦 e\u{301} é \u{FEFF}",
        "\u{1}\u{7f}\"\\/\u{2028}",
        "'); DROP TABLE messages;--",
        "<script>alert(1)</script>",
        "x",
    ];
    for text in texts {
        ann.send_room("general", text).await;
        assert_eq!(bob.next_message().await.content, text);
    }
    let stored: Vec<String> = ann
        .room_history("general")
        .await
        .into_iter()
        .map(|seen| seen.content)
        .collect();
    assert_eq!(stored, texts);
}

#[tokio::test]
async fn the_same_nonce_is_the_same_message() {
    let server = TestServer::start().await;
    let mut ann = server.connect(1, "ann").await;
    let mut anns_phone = server.connect(1, "ann").await;
    let mut bob = server.connect(2, "bob").await;
    bob.join("general").await;
    let send = json!({"type": "message", "room": "general", "content": "once", "nonce": "n"});
    let first = sent(&ann.ask(send.clone()).await);
    assert!(!first.duplicate);
    for client in [&mut ann, &mut anns_phone] {
        let again = sent(&client.ask(send.clone()).await);
        assert!(again.duplicate);
        assert_eq!(
            (again.id, again.seq, &again.timestamp),
            (first.id, first.seq, &first.timestamp)
        );
    }
    for other in [
        json!({"type": "message", "room": "general", "content": "twice", "nonce": "n"}),
        json!({"type": "message", "room": "elsewhere", "content": "once", "nonce": "n"}),
        json!({"type": "dm", "to": 2, "content": "once", "nonce": "n"}),
    ] {
        let error = ann.ask_in_vain(other).await;
        assert_eq!(
            (&error["code"], &error["field"]),
            (&json!("nonce_reused"), &json!("nonce"))
        );
    }
    // A nonce is the sender's own.
    bob.say(
        json!({"type": "message", "room": "general", "content": "bob's", "nonce": "n"}).to_string(),
    )
    .await;
    assert_eq!(bob.next_message().await.id, first.id);
    let bobs = bob.next_message().await;
    assert_eq!((&*bobs.content, bobs.seq), ("bob's", 2));
    assert_eq!(ann.room_history("general").await.len(), 2);
}

#[tokio::test]
async fn one_nonce_from_eight_connections_at_once_is_one_row() {
    let server = TestServer::start().await;
    let mut clients = Vec::new();
    for _ in 0..8 {
        clients.push(server.connect(1, "ann").await);
    }
    let sends = clients.into_iter().map(|mut client| async move {
        let send = json!({"type": "message", "room": "general", "content": "once", "nonce": "n"});
        sent(&client.ask(send).await)
    });
    let acks = futures_util::future::join_all(sends).await;
    let places: HashSet<(i64, i64)> = acks.iter().map(|ack| (ack.id, ack.seq)).collect();
    assert_eq!(places.len(), 1);
    assert_eq!(acks.iter().filter(|ack| !ack.duplicate).count(), 1);
}

#[tokio::test]
async fn identity_is_the_tokens_whatever_the_frame_says() {
    let server = TestServer::start().await;
    let [mut ann, mut bob] = server.clients(["ann", "bob"]).await;
    bob.join("general").await;
    ann.say(
        json!({
            "type": "message", "room": "general", "content": "it is me", "from": 2, "fromUser": 2, "userId": 2,
            "username": "bob", "id": 99, "seq": 99, "timestamp": "1999-01-01T00:00:00Z", "data": {"fromUser": 2},
        })
        .to_string(),
    )
    .await;
    let seen = bob.next_message().await;
    assert_eq!(
        (seen.from, &*seen.username, seen.id, seen.seq),
        (ann.user, "ann", 1, 1)
    );
}

#[tokio::test]
async fn nothing_is_pushed_before_the_first_request_was_handled() {
    let server = TestServer::with(|config| config.limits.hold_ms = 3_600_000).await;
    let mut ann = server.connect(1, "ann").await;
    server.connect(2, "bob").await.cut();
    let mut bob = server.connect_silent(2, "bob").await;
    let sent = ann.send_dm(2, "you have mail").await;
    server.relayed(sent.id).await;
    bob.ping().await; // the answer comes first, although the DM waited longer
    assert_eq!(bob.next_dm().await.id, sent.id);
}

#[tokio::test]
async fn a_client_that_only_listens_is_served_after_a_while() {
    let server = TestServer::with(|config| config.limits.hold_ms = 50).await;
    let mut ann = server.connect(1, "ann").await;
    server.connect(2, "bob").await.cut();
    let mut bob = server.connect_silent(2, "bob").await;
    let sent = ann.send_dm(2, "you have mail").await;
    assert_eq!(bob.next_dm().await.id, sent.id);
}

#[tokio::test]
async fn a_new_name_shows_everywhere_and_two_may_bear_one() {
    let server = TestServer::start().await;
    let mut first = server.connect(1, "sam").await;
    let mut second = server.connect(2, "sam").await;
    first.send_room("general", "one").await;
    second.send_room("general", "two").await;
    let mut renamed = server.connect(1, "samantha").await;
    let names: Vec<String> = renamed
        .room_history("general")
        .await
        .into_iter()
        .map(|seen| seen.username)
        .collect();
    assert_eq!(names, ["samantha", "sam"]);
}
