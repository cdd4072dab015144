//! Going on where an earlier connection ended.

use serde_json::{Value, json};

use crate::common::{Client, TestServer};

/// A frame that was replayed or came live, as kind, id and content.
fn brief(frame: &Value) -> (String, i64, String) {
    let data = &frame["data"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    (
        text(&frame["type"]),
        data["id"].as_i64().unwrap_or_default(),
        text(&data["content"]),
    )
}

impl Client {
    /// Resumes; the data of the ack, which must be the next frame.
    async fn resume(&mut self, after: i64, rooms: &[&str]) -> Value {
        self.resume_with(json!({"after": after, "rooms": rooms}))
            .await
    }

    async fn resume_with(&mut self, mut request: Value) -> Value {
        request["type"] = "resume".into();
        let ack = self.ask(request).await;
        assert_eq!(ack["type"], "resume_ack", "{ack}");
        ack["data"].clone()
    }

    /// The contents of the next `count` messages and DMs.
    async fn contents(&mut self, count: usize) -> Vec<String> {
        let mut contents = Vec::new();
        for _ in 0..count {
            let (kind, _, content) = brief(&self.next().await);
            assert!(["message", "dm"].contains(&&*kind), "{kind}");
            contents.push(content);
        }
        contents
    }
}

#[tokio::test]
async fn what_was_missed_in_rooms_and_dms_comes_in_id_order_and_then_it_goes_on_live() {
    let server = TestServer::start().await;
    let mut bob = server.connect(2, "bob").await;
    bob.join("general").await;
    let mut ann = server.connect(1, "ann").await;
    let seen = ann.send_room("general", "seen").await;
    assert_eq!(bob.next_message().await.id, seen.id);
    bob.send_dm(1, "my own").await;
    bob.cut();
    ann.next_dm().await;
    ann.send_room("general", "missed 1").await;
    ann.send_dm(2, "missed 2").await;
    ann.send_room("elsewhere", "not asked for").await;
    ann.send_room("side", "missed 3").await;
    server
        .connect(3, "eve")
        .await
        .send_dm(1, "not for bob")
        .await;
    ann.next_dm().await;
    let last = ann.send_room("general", "missed 4").await;
    server.relayed(last.id).await;
    let mut bob = server.connect_silent(2, "bob").await;
    bob.say(
        json!({"type": "resume", "after": seen.id, "rooms": ["general", "side", "general"]})
            .to_string(),
    )
    .await;
    let ack = bob.next().await;
    let epoch = ack["data"]["epoch"].clone();
    assert_eq!(
        ack,
        json!({"type": "resume_ack", "data": {"epoch": epoch, "lastId": last.id, "rooms": ["general", "side"], "replayed": 5, "complete": true}}),
    );
    assert_eq!(
        bob.contents(5).await,
        ["my own", "missed 1", "missed 2", "missed 3", "missed 4"]
    );
    ann.send_room("side", "live").await;
    assert_eq!(bob.contents(1).await, ["live"]);
    bob.expect_silence().await;
}

#[tokio::test]
async fn a_cursor_from_before_any_message_is_a_cursor() {
    let server = TestServer::start().await;
    let mut ann = server.connect(1, "ann").await;
    let mut bob = server.connect(2, "bob").await;
    let welcome = bob.ask(json!({"type": "hello"})).await["data"]["lastId"].clone();
    let (joined, _) = bob.join("empty").await;
    assert_eq!((welcome, joined), (json!(0), 0));
    bob.cut();
    let mut last = 0;
    for n in 1..=5 {
        last = ann.send_room("empty", &n.to_string()).await.id;
    }
    server.relayed(last).await;
    let mut bob = server.connect_silent(2, "bob").await;
    let ack = bob.resume(0, &["empty"]).await;
    assert_eq!(
        (&ack["replayed"], &ack["complete"]),
        (&json!(5), &json!(true))
    );
    assert_eq!(bob.contents(5).await, ["1", "2", "3", "4", "5"]);
    // With nothing missed there is nothing to replay, as often as one asks.
    for _ in 0..2 {
        let ack = bob.resume(last, &["empty"]).await;
        assert_eq!(
            (&ack["replayed"], &ack["complete"]),
            (&json!(0), &json!(true))
        );
    }
    bob.expect_silence().await;
}

#[tokio::test]
async fn a_replay_is_all_or_nothing_and_the_reason_is_named() {
    let server = TestServer::with(|config| config.limits.resume_max = 3).await;
    let mut ann = server.connect(1, "ann").await;
    let mut last = 0;
    for n in 1..=4 {
        last = ann.send_room("general", &n.to_string()).await.id;
    }
    server.relayed(last).await;
    let mut bob = server.connect_silent(2, "bob").await;
    let nothing = |ack: &Value, reason: &str| {
        assert_eq!(
            (&ack["replayed"], &ack["complete"]),
            (&json!(0), &json!(false))
        );
        assert_eq!(
            (&ack["reason"], &ack["lastId"]),
            (&json!(reason), &json!(last))
        );
        assert_eq!(ack["rooms"], json!(["general"]));
    };
    nothing(&bob.resume(0, &["general"]).await, "too_many");
    nothing(&bob.resume(last + 1, &["general"]).await, "ahead");
    let foreign = json!({"after": last, "rooms": ["general"], "epoch": "another"});
    nothing(&bob.resume_with(foreign).await, "epoch");
    // The room is live all the same.
    let live = ann.send_room("general", "live").await;
    assert_eq!(bob.next_message().await.id, live.id);
    let ack = bob.resume(live.id - 1, &["general"]).await;
    assert_eq!(
        (&ack["complete"], &ack["reason"]),
        (&json!(false), &json!("behind"))
    );
    let ack = bob
        .resume_with(json!({"after": live.id, "rooms": [], "epoch": ack["epoch"]}))
        .await;
    assert_eq!(ack["complete"], true);
    ann.send_room("general", "still live").await;
    assert_eq!(bob.contents(1).await, ["still live"]);
    bob.expect_silence().await;
    // Exactly as many as are replayed at most.
    let mut eve = server.connect_silent(3, "eve").await;
    let ack = eve.resume(last - 1, &["general"]).await;
    assert_eq!(
        (&ack["replayed"], &ack["complete"]),
        (&json!(3), &json!(true))
    );
    assert_eq!(eve.contents(3).await, ["4", "live", "still live"]);
}

#[tokio::test]
async fn rooms_are_refused_one_by_one() {
    let server = TestServer::with(|config| {
        config.limits.rooms_per_connection = 3;
        config.limits.max_rooms = 3;
    })
    .await;
    let mut ann = server.connect(1, "ann").await;
    let mut bob = server.connect_silent(2, "bob").await;
    let ack = bob
        .resume(0, &["new", "newer", "one too many for the server"])
        .await;
    assert_eq!(ack["rooms"], json!(["new", "newer"]));
    assert_eq!(
        ack["refused"],
        json!([{"room": "one too many for the server", "code": "forbidden"}])
    );
    assert_eq!(ack["complete"], true);
    ann.send_room("newer", "heard").await;
    assert_eq!(bob.contents(1).await, ["heard"]);
    bob.join("general").await;
    let folder = server.stop().await;
    let server = TestServer::in_folder(folder, |config| {
        config.rooms = chat_server::config::Rooms::Listed;
        config.limits.rooms_per_connection = 2;
    })
    .await;
    let mut bob = server.connect_silent(2, "bob").await;
    let ack = bob.resume(1, &["unlisted", "new"]).await;
    assert_eq!(ack["rooms"], json!(["new"]));
    assert_eq!(
        ack["refused"],
        json!([{"room": "unlisted", "code": "room_not_found"}])
    );
    bob.join("newer").await;
    let ack = bob.resume(1, &["general", "newer"]).await;
    assert_eq!(ack["rooms"], json!(["newer"]));
    assert_eq!(
        ack["refused"],
        json!([{"room": "general", "code": "forbidden"}])
    );
}

#[tokio::test]
async fn a_restart_of_the_server_changes_nothing() {
    let server = TestServer::start().await;
    let mut ann = server.connect(1, "ann").await;
    let mut bob = server.connect(2, "bob").await;
    bob.join("general").await;
    let seen = ann.send_room("general", "seen").await;
    bob.next_message().await;
    bob.cut();
    ann.send_dm(2, "before the stop").await;
    let folder = server.stop().await;
    let server = TestServer::in_folder(folder, |_| {}).await;
    let mut ann = server.connect(1, "ann").await;
    let after = ann.send_room("general", "after the start").await;
    server.relayed(after.id).await;
    let mut bob = server.connect_silent(2, "bob").await;
    let ack = bob.resume(seen.id, &["general"]).await;
    assert_eq!(
        (&ack["replayed"], &ack["complete"]),
        (&json!(2), &json!(true))
    );
    assert_eq!(
        bob.contents(2).await,
        ["before the stop", "after the start"]
    );
}

#[tokio::test]
async fn a_resume_during_a_resume_waits_and_repeats_nothing() {
    let server = TestServer::with(|config| {
        config.limits.rate_limit = 0;
        config.limits.outbox_bytes = 64 * 1024; // so that a replay takes many pages
        config.limits.history_bytes = 32 * 1024;
    })
    .await;
    let mut ann = server.connect(1, "ann").await;
    let content = "x".repeat(2000);
    let mut last = 0;
    for _ in 0..200 {
        last = ann.send_room("general", &content).await.id;
    }
    server.relayed(last).await;
    let mut bob = server.connect_silent(2, "bob").await;
    for n in 1..=2 {
        let request = json!({"type": "resume", "after": 0, "rooms": ["general"], "ref": n});
        bob.say(request.to_string()).await;
    }
    let ack = bob.next().await;
    assert_eq!(
        (&ack["ref"], &ack["data"]["replayed"]),
        (&json!(1), &json!(200))
    );
    for seq in 1..=200 {
        assert_eq!(bob.next_message().await.seq, seq);
    }
    let ack = bob.next().await;
    assert_eq!(
        (&ack["ref"], &ack["data"]["complete"]),
        (&json!(2), &json!(false))
    );
    assert_eq!(ack["data"]["reason"], "behind");
    bob.expect_silence().await;
}

#[tokio::test]
async fn an_own_dm_after_the_resume_does_not_come_back_however_late_it_is_announced() {
    let server = TestServer::with(|config| config.limits.rate_limit = 0).await;
    let mut ann = server.connect(1, "ann").await;
    server.connect(2, "bob").await;
    for round in 0..100 {
        let first = ann.send_dm(2, "before the cut").await.id;
        server.relayed(first).await;
        let mut again = server.connect_silent(1, "ann").await;
        again
            .say(json!({"type": "dm", "to": 2, "content": "mine", "ref": 1}).to_string())
            .await;
        again
            .say(json!({"type": "resume", "after": first - 1, "rooms": [], "ref": 2}).to_string())
            .await;
        let mine = again.next().await["data"]["id"].as_i64().unwrap();
        let ack = again.next().await;
        let last_id = ack["data"]["lastId"].as_i64().unwrap();
        for n in 0..ack["data"]["replayed"].as_i64().unwrap() {
            assert_eq!(again.next_dm().await.id, first + n, "round {round}");
        }
        server.relayed(mine).await;
        again.ping().await; // Whether `mine` was replayed or not, it is not what comes now.
        assert!(last_id >= first);
        ann.next_dm().await;
    }
}

#[tokio::test]
async fn a_sender_can_resume_right_after_its_own_message() {
    let server = TestServer::with(|config| config.limits.rate_limit = 0).await;
    let mut ann = server.connect(1, "ann").await;
    for n in 1..=200 {
        let sent = ann.send_dm(1, "x").await;
        let mut phone = server.connect_silent(1, "ann").await;
        let ack = phone.resume(sent.id, &[]).await;
        assert_eq!(
            (&ack["complete"], &ack["replayed"]),
            (&json!(true), &json!(0)),
            "round {n}"
        );
    }
}

#[tokio::test]
async fn a_dm_that_comes_before_the_first_request_waits_for_the_resume() {
    let server = TestServer::with(|config| config.limits.hold_ms = 10_000).await;
    let mut ann = server.connect(1, "ann").await;
    let mut bob = server.connect_silent(2, "bob").await;
    // Bob is known only once he is connected, so that this is not refused.
    let early = ann.send_dm(2, "early").await;
    server.relayed(early.id).await;
    let ack = bob.resume(0, &[]).await;
    assert_eq!(ack["replayed"], 1);
    assert_eq!(bob.contents(1).await, ["early"]);
    bob.expect_silence().await;
}
