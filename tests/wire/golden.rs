//! The frames of the two documents that this protocol comes from, letter by letter: the contract with clients that know
//! nothing else.

use chat_server::auth::PublicAlgorithm;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, jwk};
use serde_json::{Value, json};

use crate::common::{
    Client, TestServer,
    backend::{Backend, Reply},
    http, now,
};

/// The frame with its times taken out, which alone are not known beforehand.
fn timeless(mut frame: Value) -> Value {
    fn take_out(value: &mut Value) {
        match value {
            Value::Object(map) => {
                if let Some(time) = map.get_mut("timestamp") {
                    let text = time.as_str().unwrap();
                    assert_eq!(
                        (text.len(), &text[23..]),
                        (24, "Z"),
                        "RFC 3339 in UTC with milliseconds: {text}"
                    );
                    *time = json!("…");
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

async fn two_users() -> (TestServer, Client, Client) {
    let server = TestServer::start().await;
    let user = server.connect(123, "user").await;
    let other = server.connect(456, "other").await;
    (server, user, other)
}

/// What the documents show, between two who are called as they are there.
async fn five_requests_and_five_replies(mut user: Client, mut other: Client) {
    let (me, you) = (user.user, other.user);
    user.say(r#"{ "type": "join", "room": "general" }"#).await;
    other.join("general").await;

    user.say(r#"{ "type": "message", "room": "general", "content": "Hello!" }"#)
        .await;
    let message = json!({"id": 1, "fromUser": me, "username": "user", "content": "Hello!", "timestamp": "…", "room": "general", "seq": 1});
    let frame = json!({"type": "message", "data": message});
    assert_eq!(timeless(user.next().await), frame);
    assert_eq!(timeless(other.next().await), frame);

    other
        .say(format!(
            r#"{{ "type": "dm", "to": {me}, "content": "Hello!" }}"#
        ))
        .await;
    let dm = json!({"id": 2, "fromUser": you, "username": "other", "content": "Hello!", "timestamp": "…", "to": me, "seq": 1});
    assert_eq!(
        timeless(user.next().await),
        json!({"type": "dm", "data": dm})
    );

    user.say(r#"{ "type": "room_history", "room": "general", "limit": 50 }"#)
        .await;
    let history =
        json!({"type": "room_history", "data": [message], "room": "general", "hasMore": false});
    assert_eq!(timeless(user.next().await), history);

    user.say(format!(
        r#"{{ "type": "dm_history", "with": {you}, "limit": 50 }}"#
    ))
    .await;
    let history = json!({"type": "dm_history", "data": [dm], "with": you, "hasMore": false});
    assert_eq!(timeless(user.next().await), history);

    user.say(r#"{ "type": "dm", "to": 999, "content": "Hello!" }"#)
        .await;
    let error = user.next().await;
    assert_eq!(error["type"], "error");
    assert_eq!(error["message"], error["data"]["message"]);
    assert_eq!(error["data"]["code"], "user_not_found");
    assert_eq!(error["data"]["field"], "to");
    assert_eq!(error.get("ref"), None);
}

#[tokio::test]
async fn the_five_requests_of_the_documents_get_the_five_replies_with_a_secret() {
    let (_server, user, other) = two_users().await;
    five_requests_and_five_replies(user, other).await;
}

#[tokio::test]
async fn the_five_requests_get_the_five_replies_with_built_in_accounts() {
    let server = TestServer::standalone().await;
    let mut clients = Vec::new();
    for name in ["user", "other"] {
        let account = json!({"username": name, "password": "correct horse"}).to_string();
        let made = http::post(server.address, "/api/v1/auth/register", &account).await;
        let (token, id) = (&made.json()["token"], &made.json()["user"]["id"]);
        let token = token.as_str().unwrap();
        clients.push(by_token(&server, token, id.as_i64().unwrap(), name).await);
    }
    let [user, other] = clients.try_into().ok().unwrap();
    five_requests_and_five_replies(user, other).await;
}

#[tokio::test]
async fn the_five_requests_get_the_five_replies_with_a_backend_that_is_asked() {
    let backend = Backend::start().await;
    let url = backend.url().parse().unwrap();
    let server = TestServer::with(|config| {
        config.secret = None;
        config.backend = Some(url);
    })
    .await;
    for (id, name) in [(123, "user"), (456, "other")] {
        backend.knows(
            name,
            json!({"id": id, "username": name, "email": "x@example.org"}),
        );
    }
    let user = by_token(&server, "user", 123, "user").await;
    let other = by_token(&server, "other", 456, "other").await;
    five_requests_and_five_replies(user, other).await;
}

#[tokio::test]
async fn the_five_requests_get_the_five_replies_with_public_keys() {
    let key = EncodingKey::from_ec_pem(include_bytes!("keys/p256.pem")).unwrap();
    let backend = Backend::start().await;
    let jwk = jwk::Jwk::from_encoding_key(&key, Algorithm::ES256).unwrap();
    backend.answers("/jwks", Reply::json(200, &json!({"keys": [jwk]})));
    let jwks = format!("{}/jwks", backend.url()).parse().unwrap();
    let set = TestServer::with(|config| {
        config.secret = None;
        config.public_key = Some(include_bytes!("keys/p256.pub.pem").to_vec());
    });
    let published = TestServer::with(|config| {
        config.secret = None;
        config.jwks = Some((jwks, PublicAlgorithm::Es256));
    });
    for server in [set.await, published.await] {
        let token = |id: i64, name: &str| {
            let claims = json!({"user_id": id, "username": name, "exp": now() + 60});
            encode(&Header::new(Algorithm::ES256), &claims, &key).unwrap()
        };
        let user = by_token(&server, &token(123, "user"), 123, "user").await;
        let other = by_token(&server, &token(456, "other"), 456, "other").await;
        five_requests_and_five_replies(user, other).await;
    }
}

async fn by_token(server: &TestServer, token: &str, id: i64, name: &str) -> Client {
    let path = format!("/ws?token={token}");
    let mut client = Client::connect(server.address, &path, id, name).await;
    client.ping().await;
    client
}

#[tokio::test]
async fn fields_stand_in_the_order_of_the_documents() {
    let (_server, mut user, mut other) = two_users().await;
    other.join("general").await;
    user.say(r#"{"type":"message","room":"general","content":"a \"b\" \u00e9\n","nonce":"n-1"}"#)
        .await;
    let text = other.next_text().await;
    let (before, after) = text.split_once(r#""timestamp":""#).unwrap();
    assert_eq!(
        before,
        r#"{"type":"message","data":{"id":1,"fromUser":123,"username":"user","content":"a \"b\" é\n","#
    );
    assert_eq!(
        &after[24..],
        r#"","room":"general","seq":1,"nonce":"n-1"}}"#
    );
}

#[tokio::test]
async fn a_client_that_gives_no_ref_is_sent_nothing_that_the_documents_do_not_know() {
    let (_server, mut user, _other) = two_users().await;
    for request in [
        r#"{"type":"join","room":"general"}"#,
        r#"{"type":"join","room":"elsewhere"}"#,
        r#"{"type":"message","room":"unjoined","content":"to nobody"}"#,
        r#"{"type":"dm","to":456,"content":"no echo to the connection that sent it"}"#,
        r#"{"type":"leave","room":"elsewhere"}"#,
    ] {
        user.say(request).await;
    }
    user.expect_silence().await;
}

#[tokio::test]
async fn every_reply_echoes_the_ref_as_it_was_given() {
    let (_server, mut user, _other) = two_users().await;
    for reference in [
        json!("a string"),
        json!(""),
        json!(7),
        json!(-7),
        json!(i64::MAX),
    ] {
        user.say(json!({"type": "ping", "ref": reference}).to_string())
            .await;
        assert_eq!(
            user.next().await,
            json!({"type": "pong", "data": {}, "ref": reference})
        );
    }
    user.say(r#"{"type":"ping","ref":null}"#).await;
    assert_eq!(user.next().await, json!({"type": "pong", "data": {}}));
    user.say(r#"{"type":"nonsense","ref":"x"}"#).await;
    assert_eq!(user.next().await["ref"], "x");
}

#[tokio::test]
async fn acknowledgements_say_where_the_message_stands() {
    let (_server, mut user, _other) = two_users().await;
    let joined = user.ask(json!({"type": "join", "room": "general"})).await;
    assert_eq!(
        joined["data"],
        json!({"room": "general", "status": "ok", "lastId": 0, "lastSeq": 0})
    );
    user.say(r#"{"type":"message","room":"side","content":"x","nonce":"n","ref":1}"#)
        .await;
    let sent =
        json!({"room": "side", "status": "ok", "id": 1, "seq": 1, "timestamp": "…", "nonce": "n"});
    assert_eq!(
        timeless(user.next().await),
        json!({"type": "message_sent", "data": sent, "ref": 1})
    );
    user.say(r#"{"type":"dm","to":456,"content":"x","ref":2}"#)
        .await;
    let sent = json!({"to": 456, "status": "ok", "id": 2, "seq": 1, "timestamp": "…"});
    assert_eq!(
        timeless(user.next().await),
        json!({"type": "dm_sent", "data": sent, "ref": 2})
    );
    let left = user.ask(json!({"type": "leave", "room": "general"})).await;
    assert_eq!(left["data"], json!({"room": "general", "status": "ok"}));
    assert_eq!(user.join("side").await, (1, 1));
}

#[tokio::test]
async fn hello_is_answered_with_who_i_am_and_what_holds_here() {
    let (_server, mut user, _other) = two_users().await;
    user.send_room("general", "one").await;
    let welcome = user.ask(json!({"type": "hello"})).await;
    assert_eq!(welcome["type"], "welcome");
    let data = &welcome["data"];
    assert_eq!(data["userId"], 123);
    assert_eq!(
        (&data["username"], &data["role"]),
        (&json!("user"), &json!("user"))
    );
    assert_eq!(
        data["server"],
        concat!("chat-server/", env!("CARGO_PKG_VERSION"))
    );
    assert_eq!(data["epoch"].as_str().unwrap().len(), 16);
    assert!(data["lastId"].as_i64().unwrap() <= 1);
    let limits = json!({
        "contentBytes": 16384, "frameBytes": 65536, "historyLimit": 500, "historyBytes": 524288,
        "roomsPerConnection": 500, "resumeLimit": 1000, "ratePerSecond": 50,
    });
    assert_eq!(data["limits"], limits);
}
