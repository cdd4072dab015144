//! Every example of the AsyncAPI document, played on real sockets.

use chat_server::protocol::schema::{Exchange, conversation};
use serde_json::{Value, json};

use crate::common::{Client, TestServer, described, http};

async fn document(server: &TestServer) -> Value {
    let answer = http::get(server.address, "/asyncapi.json").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    answer.json()
}

/// The frame without what cannot be known beforehand, which still must be there.
fn timeless(frame: &Value) -> Value {
    let mut frame = frame.clone();
    fn take_out(value: &mut Value) {
        match value {
            Value::Object(map) => {
                for name in ["timestamp", "epoch", "exp"] {
                    if let Some(value) = map.get_mut(name) {
                        *value = json!("…");
                    }
                }
                map.values_mut().for_each(take_out);
            }
            Value::Array(items) => items.iter_mut().for_each(take_out),
            _ => {}
        }
    }
    take_out(&mut frame);
    frame
}

/// The next frames of `client`, as many as are expected, and no more.
async fn receives(client: &mut Client, expected: &[Value], title: &str) {
    let mut got = Vec::new();
    for _ in expected {
        got.push(timeless(&client.next().await).to_string());
    }
    client.expect_silence().await;
    let mut expected: Vec<String> = expected
        .iter()
        .map(|frame| timeless(frame).to_string())
        .collect();
    // A live message and an acknowledgement may change places.
    got.sort();
    expected.sort();
    assert_eq!(got, expected, "{title}");
}

#[tokio::test]
async fn every_example_happens_as_it_is_told() {
    let server = TestServer::start().await;
    let mut other = server.connect(456, "other").await;
    other.join("general").await;
    let mut user = server.connect(123, "user").await;
    for exchange in conversation() {
        let Exchange {
            title, mut request, ..
        } = exchange;
        if exchange.is_on_a_new_connection {
            user.cut();
            user = server.connect_silent(123, "user").await;
        }
        if request["type"] == "auth" {
            request["token"] = json!(server.token(123, "user"));
        }
        user.say(request.to_string()).await;
        receives(&mut user, &exchange.answers, &format!("{title}: {request}")).await;
        receives(
            &mut other,
            &exchange.heard,
            &format!("{title}: {request}, as the other hears it"),
        )
        .await;
    }
}

#[tokio::test]
async fn the_examples_of_the_document_are_those_of_the_conversation() {
    let server = TestServer::start().await;
    let document = document(&server).await;
    let messages = document["components"]["messages"].as_object().unwrap();
    let mut told: Vec<Value> = Vec::new();
    for (id, message) in messages {
        let examples = message["examples"].as_array().unwrap();
        assert!(!examples.is_empty(), "{id} has no example");
        let judge = described::strict(&message["payload"], &document);
        for payload in examples.iter().map(|example| &example["payload"]) {
            assert!(
                judge.is_valid(payload),
                "{id}: {payload} is not as described"
            );
            told.push(payload.clone());
        }
    }
    let exchanges = conversation();
    let held = exchanges.iter().flat_map(|exchange| {
        [
            std::slice::from_ref(&exchange.request),
            &exchange.answers,
            &exchange.heard,
        ]
        .concat()
    });
    let held: Vec<Value> = held.collect();
    for payload in &told {
        assert!(held.contains(payload), "nobody plays {payload}");
    }
    for payload in &held {
        assert!(
            told.contains(payload),
            "the document does not show {payload}"
        );
    }
    for first in [
        json!({"type": "join", "room": "general"}),
        json!({"type": "message", "room": "general", "content": "Hello!"}),
        json!({"type": "dm", "to": 456, "content": "Hello!"}),
        json!({"type": "room_history", "room": "general", "limit": 50}),
        json!({"type": "dm_history", "with": 456, "limit": 50}),
    ] {
        assert!(told.contains(&first), "{first}");
    }
}

#[tokio::test]
async fn a_reply_is_one_of_those_that_its_operation_names() {
    let server = TestServer::start().await;
    let document = document(&server).await;
    let operations = document["operations"].as_object().unwrap();
    let named = |list: &Value| -> Vec<Value> {
        let references = list.as_array().unwrap().iter();
        references
            .map(|reference| {
                // Twice: from the operation to the channel, from there to the message.
                let on_channel = document
                    .pointer(&reference["$ref"].as_str().unwrap()[1..])
                    .unwrap();
                document
                    .pointer(&on_channel["$ref"].as_str().unwrap()[1..])
                    .unwrap()["name"]
                    .clone()
            })
            .collect()
    };
    let mut received = 0;
    for exchange in conversation() {
        let operation = operations.values().find(|operation| {
            operation["action"] == "receive"
                && named(&operation["messages"])[0] == exchange.request["type"]
        });
        let replies = named(&operation.unwrap()["reply"]["messages"]);
        for answer in exchange
            .answers
            .iter()
            .filter(|answer| answer.get("ref").is_some())
        {
            assert!(
                replies.contains(&answer["type"]),
                "{answer} is no reply to {}",
                exchange.request
            );
            received += 1;
        }
    }
    assert!(received > 10, "{received}");
    let pushed = operations
        .values()
        .filter(|operation| operation["action"] == "send");
    let pushed: Vec<Value> = pushed
        .flat_map(|operation| named(&operation["messages"]))
        .collect();
    assert_eq!(pushed, ["dm", "message"]);
}

#[tokio::test]
async fn the_documents_hold_the_limits_in_force() {
    let server = TestServer::with(|config| {
        config.limits.content_bytes = 123;
        config.limits.rooms_per_connection = 7;
        config.limits.history_max = 20;
    })
    .await;
    let document = document(&server).await;
    assert_eq!(
        document["components"]["schemas"]["Content"]["maxLength"],
        123
    );
    let fields = |message: &str| {
        document["components"]["messages"][message]["payload"]["properties"].clone()
    };
    assert_eq!(fields("resumeRequest")["rooms"]["maxItems"], 7);
    assert_eq!(fields("roomHistoryRequest")["limit"]["default"], 20);
}
