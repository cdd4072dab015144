//! Wrong input: each gets its code and names its field, and the connection lives on; what ends it ends with its own code.

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::common::{Client, TestServer, http};

async fn ann() -> (TestServer, Client) {
    let server = TestServer::start().await;
    let client = server.client("ann").await;
    (server, client)
}

/// Sends each frame as it is; wants an error with this code and field, and a living connection.
async fn refused(client: &mut Client, rows: &[(&str, &str, Option<&str>)]) {
    for (frame, code, field) in rows {
        client.say(*frame).await;
        let reply = client.next().await;
        let shown: String = frame.chars().take(80).collect();
        assert_eq!(reply["type"], "error", "{shown}");
        assert_eq!(reply["data"]["code"], *code, "{shown}: {reply}");
        assert_eq!(
            reply["data"].get("field").and_then(Value::as_str),
            *field,
            "{shown}: {reply}"
        );
        assert!(!reply["message"].as_str().unwrap().is_empty());
        client.ping().await;
    }
}

#[tokio::test]
async fn what_is_no_json_object_is_invalid_json() {
    let (_server, mut ann) = ann().await;
    let deep = "[".repeat(5_000);
    let deep_closed = deep.clone() + &"]".repeat(5_000);
    let rows: Vec<(&str, &str, Option<&str>)> = [
        "",
        " ",
        "hello",
        "null",
        "true",
        "7",
        "\"ping\"",
        "[]",
        r#"[{"type":"ping"}]"#,
        "{",
        r#"{"type":"ping""#,
        r#"{"type":"ping"} x"#,
        r#"{"type":"ping"}{"type":"ping"}"#,
        r#"{'type':'ping'}"#,
        r#"{"type":"ping",}"#,
        "{type:\"ping\"}",
        "\u{FEFF}{\"type\":\"ping\"}",
        r#"{"type":NaN}"#,
        "{\"type\":\"pi\nng\"}",
        r#"{"type":"\x"}"#,
        &deep,
        &deep_closed,
    ]
    .into_iter()
    .map(|frame| (frame, "invalid_json", None))
    .collect();
    refused(&mut ann, &rows).await;
}

#[tokio::test]
async fn a_type_that_is_missing_or_unknown_is_unknown_type() {
    let (_server, mut ann) = ann().await;
    let rows: Vec<(&str, &str, Option<&str>)> = [
        "{}",
        r#"{"type":null}"#,
        r#"{"type":7}"#,
        r#"{"type":["ping"]}"#,
        r#"{"type":""}"#,
        r#"{"type":"Ping"}"#,
        r#"{"type":"subscribe"}"#,
        r#"{"type":"\ud800"}"#,
        r#"{"TYPE":"ping"}"#,
    ]
    .into_iter()
    .map(|frame| (frame, "unknown_type", Some("type")))
    .collect();
    refused(&mut ann, &rows).await;
}

#[tokio::test]
async fn a_field_that_is_wrong_is_named() {
    let (_server, mut ann) = ann().await;
    let long_name = format!(r#"{{"type":"join","room":"{}"}}"#, "r".repeat(65));
    let deep = format!(
        r#"{{"type":"join","room":{}1{}}}"#,
        "[".repeat(100),
        "]".repeat(100)
    );
    let many_rooms =
        serde_json::json!({"type": "resume", "after": 0, "rooms": vec!["a"; 501]}).to_string();
    let long_ref = format!(r#"{{"type":"ping","ref":"{}"}}"#, "r".repeat(65));
    let long_nonce = format!(
        r#"{{"type":"message","room":"a","content":"x","nonce":"{}"}}"#,
        "n".repeat(65)
    );
    refused(
        &mut ann,
        &[
            (r#"{"type":"join"}"#, "invalid_field", Some("room")),
            (
                r#"{"type":"join","room":null}"#,
                "invalid_field",
                Some("room"),
            ),
            (r#"{"type":"join","room":7}"#, "invalid_field", Some("room")),
            (
                r#"{"type":"join","room":{"name":"x"}}"#,
                "invalid_field",
                Some("room"),
            ),
            (&deep, "invalid_field", Some("room")),
            (
                r#"{"type":"join","room":""}"#,
                "invalid_field",
                Some("room"),
            ),
            (
                r#"{"type":"join","room":" general"}"#,
                "invalid_field",
                Some("room"),
            ),
            (
                r#"{"type":"join","room":"general\u00a0"}"#,
                "invalid_field",
                Some("room"),
            ),
            (
                r#"{"type":"join","room":"a\u0000b"}"#,
                "invalid_field",
                Some("room"),
            ),
            (
                r#"{"type":"join","room":"a\nb"}"#,
                "invalid_field",
                Some("room"),
            ),
            (
                r#"{"type":"join","room":"a\u202eb"}"#,
                "invalid_field",
                Some("room"),
            ),
            (
                r#"{"type":"join","room":"a\ud800b"}"#,
                "invalid_field",
                Some("room"),
            ),
            (&long_name, "invalid_field", Some("room")),
            (
                r#"{"type":"join","room":"a","room":"b"}"#,
                "invalid_field",
                Some("room"),
            ),
            (
                r#"{"type":"ping","type":"ping"}"#,
                "invalid_field",
                Some("type"),
            ),
            (r#"{"type":"leave"}"#, "invalid_field", Some("room")),
            (
                r#"{"type":"message","content":"x"}"#,
                "invalid_field",
                Some("room"),
            ),
            (
                r#"{"type":"message","room":"a"}"#,
                "invalid_field",
                Some("content"),
            ),
            (
                r#"{"type":"message","room":"a","content":""}"#,
                "invalid_field",
                Some("content"),
            ),
            (
                r#"{"type":"message","room":"a","content":" \n\u2003 "}"#,
                "invalid_field",
                Some("content"),
            ),
            (
                r#"{"type":"message","room":"a","content":"a\u0000b"}"#,
                "invalid_field",
                Some("content"),
            ),
            (
                r#"{"type":"message","room":"a","content":"\udc00"}"#,
                "invalid_field",
                Some("content"),
            ),
            (
                r#"{"type":"message","room":"a","content":["x"]}"#,
                "invalid_field",
                Some("content"),
            ),
            (
                r#"{"type":"message","room":"a","content":"x","nonce":""}"#,
                "invalid_field",
                Some("nonce"),
            ),
            (
                r#"{"type":"message","room":"a","content":"x","nonce":1}"#,
                "invalid_field",
                Some("nonce"),
            ),
            (&long_nonce, "invalid_field", Some("nonce")),
            (
                r#"{"type":"dm","content":"x"}"#,
                "invalid_field",
                Some("to"),
            ),
            (
                r#"{"type":"dm","to":"1","content":"x"}"#,
                "invalid_field",
                Some("to"),
            ),
            (
                r#"{"type":"dm","to":0,"content":"x"}"#,
                "invalid_field",
                Some("to"),
            ),
            (
                r#"{"type":"dm","to":-1,"content":"x"}"#,
                "invalid_field",
                Some("to"),
            ),
            (
                r#"{"type":"dm","to":1.5,"content":"x"}"#,
                "invalid_field",
                Some("to"),
            ),
            (
                r#"{"type":"dm","to":1e400,"content":"x"}"#,
                "invalid_field",
                Some("to"),
            ),
            (
                r#"{"type":"dm","to":9007199254740992,"content":"x"}"#,
                "invalid_field",
                Some("to"),
            ),
            (
                r#"{"type":"dm","to":9223372036854775808,"content":"x"}"#,
                "invalid_field",
                Some("to"),
            ),
            (
                r#"{"type":"dm","to":18446744073709551616,"content":"x"}"#,
                "invalid_field",
                Some("to"),
            ),
            (
                r#"{"type":"dm","to":9007199254740991,"content":"x"}"#,
                "user_not_found",
                Some("to"),
            ),
            (r#"{"type":"dm_history"}"#, "invalid_field", Some("with")),
            (
                r#"{"type":"room_history","room":"a","limit":0}"#,
                "invalid_field",
                Some("limit"),
            ),
            (
                r#"{"type":"room_history","room":"a","limit":-1}"#,
                "invalid_field",
                Some("limit"),
            ),
            (
                r#"{"type":"room_history","room":"a","limit":1.5}"#,
                "invalid_field",
                Some("limit"),
            ),
            (
                r#"{"type":"room_history","room":"a","limit":"10"}"#,
                "invalid_field",
                Some("limit"),
            ),
            (
                r#"{"type":"room_history","room":"a","before":0}"#,
                "invalid_field",
                Some("before"),
            ),
            (
                r#"{"type":"resume","rooms":[]}"#,
                "invalid_field",
                Some("after"),
            ),
            (
                r#"{"type":"resume","after":-1,"rooms":[]}"#,
                "invalid_field",
                Some("after"),
            ),
            (
                r#"{"type":"resume","after":"0","rooms":[]}"#,
                "invalid_field",
                Some("after"),
            ),
            (
                r#"{"type":"resume","after":0.5,"rooms":[]}"#,
                "invalid_field",
                Some("after"),
            ),
            (
                r#"{"type":"resume","after":9007199254740992,"rooms":[]}"#,
                "invalid_field",
                Some("after"),
            ),
            (
                r#"{"type":"resume","after":0}"#,
                "invalid_field",
                Some("rooms"),
            ),
            (
                r#"{"type":"resume","after":0,"rooms":"general"}"#,
                "invalid_field",
                Some("rooms"),
            ),
            (
                r#"{"type":"resume","after":0,"rooms":{"a":1}}"#,
                "invalid_field",
                Some("rooms"),
            ),
            (
                r#"{"type":"resume","after":0,"rooms":["a",7]}"#,
                "invalid_field",
                Some("rooms"),
            ),
            (
                r#"{"type":"resume","after":0,"rooms":["a"," b"]}"#,
                "invalid_field",
                Some("rooms"),
            ),
            (
                r#"{"type":"resume","after":0,"rooms":["\ud800"]}"#,
                "invalid_field",
                Some("rooms"),
            ),
            (&many_rooms, "invalid_field", Some("rooms")),
            (
                r#"{"type":"resume","after":0,"rooms":[],"epoch":7}"#,
                "invalid_field",
                Some("epoch"),
            ),
            (
                r#"{"type":"room_history","room":"a","after":-1}"#,
                "invalid_field",
                Some("after"),
            ),
            (
                r#"{"type":"room_history","room":"a","before":5,"after":1}"#,
                "invalid_field",
                Some("before"),
            ),
            (r#"{"type":"hello"}"#, "invalid_field", Some("ref")),
            (r#"{"type":"ping","ref":1.5}"#, "invalid_field", Some("ref")),
            (r#"{"type":"ping","ref":{}}"#, "invalid_field", Some("ref")),
            (
                r#"{"type":"ping","ref":true}"#,
                "invalid_field",
                Some("ref"),
            ),
            (
                r#"{"type":"ping","ref":18446744073709551616}"#,
                "invalid_field",
                Some("ref"),
            ),
            (&long_ref, "invalid_field", Some("ref")),
            (r#"{"type":"auth"}"#, "invalid_field", Some("token")),
        ],
    )
    .await;
}

#[tokio::test]
async fn what_is_unknown_or_null_is_ignored_whatever_its_size_or_depth() {
    let (_server, mut ann) = ann().await;
    let deep = format!(
        r#"{{"type":"ping","future":{}{},"x":1e999,"y":"\ud800"}}"#,
        "[".repeat(5_000),
        "]".repeat(5_000)
    );
    let many: String = (0..3_000).map(|n| format!(r#""k{n}":{n},"#)).collect();
    for frame in [
        deep,
        format!(r#"{{{many}"type":"ping"}}"#),
        r#"{"type":"ping","x":1,"x":2}"#.to_owned(),
        r#"{"type":"ping","room":7,"limit":"irrelevant"}"#.to_owned(),
        "\t\r\n {\"type\":\"\\u0070ing\"} \n".to_owned(),
    ] {
        ann.say(frame).await;
        assert_eq!(ann.next().await["type"], "pong");
    }
    ann.say(r#"{"type":"room_history","room":"a","limit":null,"before":null,"after":null}"#)
        .await;
    assert_eq!(ann.next().await["type"], "room_history");
}

#[tokio::test]
async fn content_is_measured_in_bytes_and_a_frame_too_large_ends_the_connection() {
    let (server, mut ann) = ann().await;
    let content = "é".repeat(8 * 1024);
    ann.send_room("a", &content).await;
    let error = ann
        .ask_in_vain(json!({"type": "message", "room": "a", "content": content + "x"}))
        .await;
    assert_eq!(
        (&error["code"], &error["field"]),
        (&json!("too_large"), &json!("content"))
    );
    let frame_of = |bytes: usize| {
        let head = r#"{"type":"ping","pad":""#;
        format!("{head}{}\"}}", "x".repeat(bytes - head.len() - 2))
    };
    ann.say(frame_of(64 * 1024)).await;
    assert_eq!(ann.next().await["type"], "pong");
    ann.say(frame_of(64 * 1024 + 1)).await;
    assert_eq!(ann.close_code().await, 1009);
    let mut bob = server.client("bob").await;
    bob.say("x".repeat(1024 * 1024)).await;
    assert_eq!(bob.close_code().await, 1009);
}

#[tokio::test]
async fn what_breaks_the_websocket_rules_ends_with_its_own_code() {
    let server = TestServer::start().await;
    let mut binary = server.client("binary").await;
    binary.send(Message::binary(&b"{}"[..])).await;
    assert_eq!(binary.close_code().await, 1003);
    // A text frame, final, masked with zeros, of one byte that is never UTF-8.
    let mut not_utf8 = server.client("not_utf8").await;
    not_utf8.raw(&[0x81, 0x81, 0, 0, 0, 0, 0xff]).await;
    assert_eq!(not_utf8.close_code().await, 1007);
    // The same without a mask, which a server must not take (RFC 6455 section 5.1).
    let mut unmasked = server.client("unmasked").await;
    unmasked.raw(&[0x81, 0x02, b'{', b'}']).await;
    assert_eq!(unmasked.close_code().await, 1002);
    // A reserved opcode.
    let mut reserved = server.client("reserved").await;
    reserved.raw(&[0x83, 0x80, 0, 0, 0, 0]).await;
    assert_eq!(reserved.close_code().await, 1002);
    // A declared length of 2^63 − 1: nobody makes room for that.
    let mut huge = server.client("huge").await;
    huge.raw(&[
        0x81, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0,
    ])
    .await;
    assert_eq!(huge.close_code().await, 1009);
    let last = server.client("last").await;
    assert_eq!(last.close().await, 1005);
}

#[tokio::test]
async fn control_frames_are_answered_between_fragments() {
    let (_server, mut ann) = ann().await;
    let masked = |head: [u8; 2], payload: &[u8]| [&head[..], &[0, 0, 0, 0], payload].concat();
    ann.raw(&masked([0x01, 0x80 | 8], br#"{"type":"#)).await;
    ann.raw(&masked([0x89, 0x80 | 2], b"hi")).await;
    assert_eq!(
        ann.next_event().await.unwrap().unwrap(),
        Message::Pong(b"hi".as_slice().into())
    );
    ann.raw(&masked([0x80, 0x80 | 7], br#""ping"}"#)).await;
    assert_eq!(ann.next().await["type"], "pong");
}

#[tokio::test]
async fn too_many_sends_are_refused_with_the_time_to_wait_and_cost_nothing_else() {
    let server = TestServer::with(|config| config.limits.rate_limit = 1).await;
    let mut ann = server.connect(1, "ann").await;
    let mut anns_phone = server.connect(1, "ann").await;
    let mut bob = server.connect(2, "bob").await;
    ann.send_room("a", "1").await;
    anns_phone.send_dm(2, "2").await;
    bob.next_dm().await;
    ann.next_dm().await;
    ann.send_room("a", "3").await;
    anns_phone.send_room("a", "4").await;
    for client in [&mut ann, &mut anns_phone] {
        let error = client
            .ask_in_vain(json!({"type": "message", "room": "a", "content": "5"}))
            .await;
        assert_eq!(error["code"], "rate_limited");
        let wait = error["retryAfterMs"].as_i64().unwrap();
        assert!((1..=1000).contains(&wait), "{wait}");
        client.ping().await;
    }
    bob.send_room("a", "another user's").await;
    assert_eq!(ann.room_history("a").await.len(), 4);
    let answer = http::request(
        server.address,
        "POST",
        "/api/v1/chat/messages",
        &[&format!("authorization: Bearer {}", server.token(1, "ann"))],
        r#"{"room":"a","content":"through the other door"}"#,
    )
    .await;
    assert_eq!(
        (answer.status, &*answer.code(), answer.header("retry-after")),
        (429, "rate_limited", Some("1"))
    );
}

#[tokio::test]
async fn rooms_have_limits_for_each_connection_and_in_all() {
    let server = TestServer::with(|config| {
        config.limits.rooms_per_connection = 2;
        config.limits.max_rooms = 3;
    })
    .await;
    let mut ann = server.client("ann").await;
    ann.join("one").await;
    ann.join("two").await;
    ann.join("two").await;
    let error = ann
        .ask_in_vain(json!({"type": "join", "room": "general"}))
        .await;
    assert_eq!(
        (&error["code"], &error["field"]),
        (&json!("forbidden"), &json!("room"))
    );
    ann.ask(json!({"type": "leave", "room": "one"})).await;
    ann.join("general").await;
    let error = ann
        .ask_in_vain(json!({"type": "message", "room": "a fourth", "content": "x"}))
        .await;
    assert_eq!(error["code"], "forbidden");
    assert!(error["message"].as_str().unwrap().contains("--max-rooms"));
}

#[tokio::test]
async fn new_rooms_have_a_rate() {
    let server = TestServer::with(|config| config.limits.new_rooms_per_minute = 1).await;
    let mut ann = server.client("ann").await;
    for n in 0..500 {
        ann.say(json!({"type": "join", "room": n.to_string()}).to_string())
            .await;
    }
    ann.ask(json!({"type": "leave", "room": "0"})).await;
    let error = ann
        .ask_in_vain(json!({"type": "join", "room": "one too many"}))
        .await;
    assert_eq!(error["code"], "rate_limited");
    assert!(error["retryAfterMs"].as_i64().unwrap() > 1000);
    ann.join("general").await;
}

#[tokio::test]
async fn where_rooms_are_listed_none_is_made_on_demand() {
    let server = TestServer::with(|config| config.rooms = chat_server::config::Rooms::Listed).await;
    let mut ann = server.client("ann").await;
    ann.join("general").await;
    for request in [
        json!({"type": "join", "room": "new"}),
        json!({"type": "message", "room": "new", "content": "x"}),
    ] {
        let error = ann.ask_in_vain(request).await;
        assert_eq!(
            (&error["code"], &error["field"]),
            (&json!("room_not_found"), &json!("room"))
        );
    }
    assert!(ann.room_history("new").await.is_empty());
}
