//! How connections live and end: tokens that expire, peers that are silent or slow, a server that stops.

use std::time::Duration;

use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::common::{Client, TestServer, file_only, http, now, soon, token};

async fn connected_with(server: &TestServer, token: &str) -> Client {
    Client::connect(server.address, &format!("/ws?token={token}"), 1, "ann").await
}

#[tokio::test]
async fn an_expired_token_ends_its_connection_with_4401() {
    let server = TestServer::start().await;
    let mut ann = connected_with(&server, &token(1, "ann", 2)).await;
    ann.ping().await;
    assert_eq!(ann.close_code().await, 4401);
    // Let in by the handshake's leeway, not by more than that.
    let mut late = connected_with(&server, &token(1, "ann", -2)).await;
    assert_eq!(late.close_code().await, 4401);
}

#[tokio::test]
async fn a_newer_token_takes_the_place_of_the_one_in_force() {
    let server = TestServer::start().await;
    let mut ann = connected_with(&server, &token(1, "ann", 2)).await;
    let exp = now() + 3600;
    let reply = ann
        .ask(json!({"type": "auth", "token": token(1, "ann", 3600)}))
        .await;
    assert_eq!(reply["type"], "auth_ack");
    assert!((reply["data"]["exp"].as_i64().unwrap() - exp).abs() <= 1);
    // Another connection with the old token's life ends; this one goes on after that.
    let mut other = connected_with(&server, &token(1, "ann", 3)).await;
    assert_eq!(other.close_code().await, 4401);
    ann.ping().await;
}

#[tokio::test]
async fn a_bad_token_or_another_users_changes_nothing() {
    let server = TestServer::start().await;
    let mut ann = connected_with(&server, &token(1, "ann", 3600)).await;
    for (bad, code) in [
        (token(2, "bob", 3600), "forbidden"),
        (token(1, "ann", -1), "unauthorized"),
        ("garbage".into(), "unauthorized"),
    ] {
        let error = ann.ask_in_vain(json!({"type": "auth", "token": bad})).await;
        assert_eq!(
            (&error["code"], &error["field"]),
            (&json!(code), &json!("token"))
        );
    }
    assert_eq!(ann.ask(json!({"type": "hello"})).await["data"]["userId"], 1);
}

#[tokio::test]
async fn a_quiet_connection_is_pinged_and_a_silent_one_is_closed() {
    let server = TestServer::with(|config| {
        config.limits.ping_seconds = 1;
        config.limits.silence_seconds = 3;
    })
    .await;
    // This one answers pings, as every WebSocket library does, but says nothing else.
    let mut quiet = server.client("quiet").await;
    // Nobody reads this one's socket, so nobody answers for it.
    let mut dead = server.client("dead").await;
    for _ in 0..5 {
        assert!(matches!(
            quiet.next_event().await,
            Some(Ok(Message::Ping(_)))
        ));
    }
    quiet.ping().await;
    assert_eq!(dead.close_code_unanswered().await, 1013);
}

#[tokio::test]
async fn a_client_that_asks_and_does_not_read_is_not_asked_to_wait_by_the_others() {
    let server = TestServer::with(|config| config.limits.rate_limit = 0).await;
    let [mut ann, mut greedy] = server.clients(["ann", "greedy"]).await;
    for _ in 0..40 {
        ann.send_room("general", &"x".repeat(16 * 1024)).await;
    }
    // 200 histories of half a megabyte each: a server that queued them all would hold 100 MB.
    for _ in 0..200 {
        greedy
            .say(r#"{"type":"room_history","room":"general","limit":500}"#)
            .await;
    }
    ann.ping().await;
    for _ in 0..200 {
        assert_eq!(greedy.next().await["type"], "room_history");
    }
    greedy.ping().await;
}

#[tokio::test]
async fn a_server_that_stops_acknowledges_what_it_took_and_closes_with_1001() {
    let server = TestServer::start().await;
    let [mut ann, mut bob] = server.clients(["ann", "bob"]).await;
    bob.join("general").await;
    ann.say(r#"{"type":"message","room":"general","content":"last words","ref":1}"#)
        .await;
    let acked = ann.next().await["data"]["id"].as_i64().unwrap();
    let (folder, ann_code, bob_code) =
        tokio::join!(server.stop(), ann.close_code(), bob.close_code());
    assert_eq!((ann_code, bob_code), (1001, 1001));
    if !file_only("after a stop the write-ahead log is empty") {
        let wal = folder.path().join("chat.db-wal").metadata();
        let wal = wal.map_or(0, |wal| wal.len());
        assert_eq!(wal, 0, "the file alone holds everything");
    }
    let server = TestServer::in_folder(folder, |_| {}).await;
    let mut ann = server.connect(1, "ann").await;
    let history = ann.room_history("general").await;
    assert_eq!((history[0].id, &*history[0].content), (acked, "last words"));
}

#[tokio::test]
async fn ids_positions_and_the_epoch_survive_a_restart() {
    let server = TestServer::start().await;
    let mut ann = server.connect(1, "ann").await;
    server.connect(2, "bob").await.cut();
    let room = ann.send_room("general", "before").await;
    let dm = ann.send_dm(2, "before").await;
    let welcome = ann.ask(json!({"type": "hello"})).await;
    ann.cut();
    let server = TestServer::in_folder(server.stop().await, |_| {}).await;
    let mut ann = server.connect(1, "ann").await;
    let again = ann.ask(json!({"type": "hello"})).await;
    assert_eq!(again["data"]["epoch"], welcome["data"]["epoch"]);
    assert_eq!(again["data"]["lastId"], dm.id);
    let (last_id, last_seq) = ann.join("general").await;
    assert_eq!((last_id, last_seq), (room.id, room.seq));
    let after = ann.send_dm(2, "after").await;
    assert_eq!((after.id, after.seq), (dm.id + 1, 2));
}

#[tokio::test]
async fn connections_beyond_the_limit_are_told_to_come_back() {
    let server = TestServer::with(|config| config.limits.max_connections = 2).await;
    let [ann, mut bob] = server.clients(["ann", "bob"]).await;
    let refused = http::get(server.address, "/healthz").await;
    assert_eq!(
        (refused.status, refused.header("retry-after")),
        (503, Some("1"))
    );
    bob.ping().await;
    ann.close().await;
    let back = async {
        while http::get(server.address, "/healthz").await.status != 200 {
            tokio::task::yield_now().await;
        }
    };
    soon("the place that became free", back).await;
}

#[tokio::test]
async fn a_request_whose_head_does_not_come_is_given_up() {
    let server = TestServer::with(|config| config.limits.header_seconds = 1).await;
    let started = std::time::Instant::now();
    let answer = http::raw(server.address, b"GET / HTTP/1.1\r\nhost: x\r\nx-slow:").await;
    assert!(answer.status == 408 || answer.status == 0, "{answer:?}");
    assert!(started.elapsed() >= Duration::from_millis(900));
}

#[tokio::test]
async fn metrics_are_for_this_machine() {
    let server = TestServer::start().await;
    let mut ann = server.client("ann").await;
    ann.send_room("general", "counted").await;
    ann.ask_in_vain(json!({"type": "nonsense"})).await;
    let metrics = http::get(server.address, "/metrics").await;
    assert_eq!(metrics.status, 200);
    for line in [
        "chat_connections 1",
        "chat_messages_stored_total 1",
        r#"chat_errors_total{code="unknown_type"} 1"#,
    ] {
        assert!(
            metrics.body.lines().any(|found| found == line),
            "{line} in\n{}",
            metrics.body
        );
    }
    assert!(!metrics.body.contains("counted") && !metrics.body.contains("general"));
    assert_eq!(
        http::get(server.address, "/readyz").await.json(),
        json!({"status": "ready"})
    );
}

#[tokio::test]
async fn a_client_that_says_goodbye_right_after_a_send_still_gets_its_acknowledgement() {
    let server = TestServer::start().await;
    for last_words in [Message::Close(None), Message::binary(&b"no text"[..])] {
        let mut ann = server.client("ann").await;
        for n in 0..3 {
            ann.say(format!(
                r#"{{"type":"message","room":"general","content":"x","ref":{n}}}"#
            ))
            .await;
        }
        ann.send(last_words).await;
        for n in 0..3 {
            assert_eq!(ann.next().await["ref"], n);
        }
        assert!(matches!(
            ann.next_event().await,
            Some(Ok(Message::Close(_)))
        ));
    }
}

#[tokio::test]
async fn a_newer_token_is_forgiven_a_clock_that_is_ahead() {
    let server = TestServer::start().await;
    let mut ann = connected_with(&server, &token(1, "ann", 60)).await;
    let claims = json!({"user_id": 1, "username": "ann", "exp": now() + 60, "iat": now() + 3});
    let key = jsonwebtoken::EncodingKey::from_secret(crate::common::SECRET);
    let ahead = jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap();
    let reply = ann.ask(json!({"type": "auth", "token": ahead})).await;
    assert_eq!(reply["type"], "auth_ack", "{reply}");
}
