//! The HTTP door beside the socket: rooms, people, conversations and histories, by the rules and words of the frames.

use serde_json::{Value, json};

use crate::common::{Client, TestServer, http, role_token, soon};

/// Somebody with a token and no socket.
struct Reader<'a> {
    server: &'a TestServer,
    bearer: String,
}

impl<'a> Reader<'a> {
    fn of(server: &'a TestServer, user: i64, name: &str) -> Self {
        let bearer = format!("authorization: Bearer {}", server.token(user, name));
        Self { server, bearer }
    }

    async fn ask(&self, method: &str, path: &str, body: &str) -> http::Answer {
        let path = format!("/api/v1{path}");
        http::request(self.server.address, method, &path, &[&self.bearer], body).await
    }

    async fn get(&self, path: &str) -> Value {
        let answer = self.ask("GET", path, "").await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        answer.json()
    }

    /// Says something; the message.
    async fn say(&self, body: Value) -> Value {
        let answer = self.ask("POST", "/chat/messages", &body.to_string()).await;
        assert_eq!(answer.status, 201, "{}", answer.body);
        answer.json()
    }

    /// Status, code and field of a refusal.
    async fn refused(&self, path: &str) -> (u16, String, String) {
        refusal(&self.ask("GET", path, "").await)
    }
}

/// Leaves a room in which others go on talking.
async fn leave(client: &mut Client, room: &str) {
    client
        .say(json!({"type": "leave", "room": room, "ref": "leave"}).to_string())
        .await;
    while client.next().await["type"] != "leave_ack" {}
}

fn refusal(answer: &http::Answer) -> (u16, String, String) {
    let field = answer.json()["error"]["field"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    (answer.status, answer.code(), field)
}

fn invalid(field: &str) -> (u16, String, String) {
    (400, "invalid_field".into(), field.into())
}

fn contents(page: &Value) -> Vec<&str> {
    let messages = page["messages"].as_array().unwrap();
    messages
        .iter()
        .map(|message| message["content"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn a_room_is_listed_with_its_members_and_its_newest_message() {
    let server = TestServer::start().await;
    let [mut ann, mut bob] = server.clients(["ann", "bob"]).await;
    let mut ann_again = server.connect(1, "ann").await;
    for client in [&mut ann, &mut ann_again, &mut bob] {
        client.join("general").await;
    }
    ann.join("empty").await;
    let writer = Reader::of(&server, 2, "bob");
    writer
        .say(json!({"room": "general", "content": "first"}))
        .await;
    let sent = writer
        .say(json!({"room": "general", "content": "last"}))
        .await;
    let reader = Reader::of(&server, 3, "eve");
    let listed = reader.get("/rooms").await;
    assert_eq!(listed["hasMore"], false);
    let [empty, general] = listed["rooms"].as_array().unwrap().as_slice() else {
        panic!("{listed}");
    };
    assert_eq!(
        *empty,
        json!({"name": "empty", "memberCount": 1, "lastId": 0, "lastSeq": 0, "lastMessage": null})
    );
    // Two people on three connections.
    assert_eq!(
        (&general["memberCount"], &general["lastSeq"]),
        (&json!(2), &json!(2))
    );
    assert_eq!(general["lastId"], sent["id"]);
    let newest = &reader.get("/rooms/general/messages?limit=1").await["messages"][0];
    assert_eq!(&general["lastMessage"], newest);
    assert_eq!(newest["content"], "last");
    // Whoever leaves, or goes, is no member.
    leave(&mut ann, "general").await;
    leave(&mut ann, "empty").await;
    let left = reader.get("/rooms?after=empty").await;
    assert_eq!(
        left["rooms"][0]["memberCount"], 2,
        "one of ann's connections is still in"
    );
    leave(&mut ann_again, "general").await;
    let left = reader.get("/rooms?limit=1&after=empty").await;
    assert_eq!(left["rooms"][0]["memberCount"], 1);
    assert_eq!(reader.get("/rooms").await["rooms"][0]["memberCount"], 0);
}

#[tokio::test]
async fn a_room_is_made_once_and_is_the_one_that_can_be_joined() {
    let server = TestServer::start().await;
    let reader = Reader::of(&server, 1, "ann");
    let made = reader.ask("POST", "/rooms", r#"{"name":"a/b c?é"}"#).await;
    assert_eq!(made.status, 201, "{}", made.body);
    assert_eq!(made.json()["name"], "a/b c?é");
    let again = reader.ask("POST", "/rooms", r#"{"room":"a/b c?é"}"#).await;
    assert_eq!((again.status, again.json()), (200, made.json()));
    let mut client = server.client("ann").await;
    client.join("a/b c?é").await;
    reader
        .say(json!({"room": "a/b c?é", "content": "hello"}))
        .await;
    assert_eq!(client.next_message().await.content, "hello");
    let page = reader.get("/rooms/a%2Fb%20c%3F%C3%A9/messages").await;
    assert_eq!(contents(&page), ["hello"]);
    for (body, code, field) in [
        ("", "invalid_json", ""),
        ("[]", "invalid_json", ""),
        ("{}", "invalid_field", "name"),
        (r#"{"name":" x"}"#, "invalid_field", "name"),
        (r#"{"name":7}"#, "invalid_field", "name"),
        (r#"{"name":"x","name":"y"}"#, "invalid_field", "name"),
        (r#"{"name":"x","room":"x"}"#, "invalid_field", "room"),
        (r#"{"room":"\u202e"}"#, "invalid_field", "room"),
    ] {
        let answer = reader.ask("POST", "/rooms", body).await;
        assert_eq!(refusal(&answer), (400, code.into(), field.into()), "{body}");
    }
}

#[tokio::test]
async fn a_message_is_written_alike_wherever_it_stands() {
    let server = TestServer::start().await;
    let reader = Reader::of(&server, 1, "ann");
    for (body, lists) in [
        (
            r#"{"room":"general","content":"x","nonce":"n"}"#,
            ["/rooms", "/rooms/general/messages"],
        ),
        (r#"{"to":1,"content":"y"}"#, ["/dms", "/dms/1/messages"]),
    ] {
        let said = reader.ask("POST", "/chat/messages", body).await.body;
        for list in lists {
            let told = reader.ask("GET", list, "").await.body;
            assert!(told.contains(&said), "{said} in {told}");
        }
    }
}

#[tokio::test]
async fn of_eight_who_make_a_room_at_once_one_has_made_it() {
    let server = TestServer::start().await;
    let reader = Reader::of(&server, 1, "ann");
    for round in 0..5 {
        let body = json!({"name": format!("new {round}")}).to_string();
        let asked = std::iter::repeat_with(|| reader.ask("POST", "/rooms", &body)).take(8);
        let answers = futures_util::future::join_all(asked).await;
        let made = answers.iter().filter(|answer| answer.status == 201);
        assert_eq!(made.count(), 1);
        assert!(answers.iter().all(|answer| answer.status < 202));
    }
}

#[tokio::test]
async fn where_rooms_are_listed_only_an_admin_makes_one() {
    let server = TestServer::with(|config| config.rooms = chat_server::config::Rooms::Listed).await;
    let reader = Reader::of(&server, 1, "ann");
    let refused = reader.ask("POST", "/rooms", r#"{"name":"new"}"#).await;
    assert_eq!(refusal(&refused), (403, "forbidden".into(), "name".into()));
    let known = reader.ask("POST", "/rooms", r#"{"name":"general"}"#).await;
    assert_eq!(known.status, 200);
    let admin = Reader {
        server: &server,
        bearer: format!(
            "authorization: Bearer {}",
            role_token(2, "root", "admin", 3600)
        ),
    };
    let made = admin.ask("POST", "/rooms", r#"{"name":"new"}"#).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let mut ann = server.client("ann").await;
    ann.join("new").await;
}

#[tokio::test]
async fn people_are_listed_with_who_is_online() {
    let server = TestServer::start().await;
    let [ann, _bob] = server.clients(["ann", "bob"]).await;
    server.client("eve").await.close().await;
    let reader = Reader::of(&server, 1, "ann");
    let is_gone =
        async { while reader.get("/users?after=2").await["users"][0]["online"] == true {} };
    soon("eve's leaving", is_gone).await;
    let person = |id: i64, username: &str, online: bool| json!({"id": id, "username": username, "online": online});
    let [ann_on, bob_on, eve_off] = [
        person(1, "ann", true),
        person(2, "bob", true),
        person(3, "eve", false),
    ];
    let listing = |users: &[&Value], more: bool| json!({"users": users, "hasMore": more});
    assert_eq!(
        reader.get("/users").await,
        listing(&[&ann_on, &bob_on, &eve_off], false)
    );
    assert_eq!(
        reader.get("/users?limit=1").await,
        listing(&[&ann_on], true)
    );
    assert_eq!(
        reader.get("/users?after=2").await,
        listing(&[&eve_off], false)
    );
    assert_eq!(
        reader.get("/users?online=true").await,
        listing(&[&ann_on, &bob_on], false)
    );
    assert_eq!(
        reader.get("/users?online=true&limit=1").await,
        listing(&[&ann_on], true)
    );
    assert_eq!(
        reader.get("/users?online=true&after=1").await,
        listing(&[&bob_on], false)
    );
    assert_eq!(
        reader.get("/users?online=false&after=2").await,
        listing(&[&eve_off], false)
    );
    drop(ann);
}

#[tokio::test]
async fn conversations_are_seen_by_the_two_and_nobody_else() {
    let server = TestServer::start().await;
    let [_ann, _bob, eve] = server.clients(["ann", "bob", "eve"]).await;
    let (reader, bob) = (Reader::of(&server, 1, "ann"), Reader::of(&server, 2, "bob"));
    reader.say(json!({"to": 2, "content": "to bob"})).await;
    bob.say(json!({"to": 1, "content": "to ann"})).await;
    let note = &reader
        .say(json!({"to": 1, "content": "note to myself"}))
        .await["id"];
    let dms = reader.get("/dms").await;
    assert_eq!(dms["hasMore"], false);
    let [own, with_bob] = dms["dms"].as_array().unwrap().as_slice() else {
        panic!("{dms}");
    };
    assert_eq!(
        own["with"],
        json!({"id": 1, "username": "ann", "online": true})
    );
    assert_eq!((&own["lastId"], &own["lastSeq"]), (note, &json!(1)));
    assert_eq!(with_bob["with"]["username"], "bob");
    assert_eq!(with_bob["lastMessage"]["content"], "to ann");
    assert_eq!(with_bob["lastSeq"], 2);
    let older = reader.get(&format!("/dms?limit=5&before={note}")).await;
    assert_eq!(older["dms"], json!([with_bob]));
    assert_eq!(
        contents(&reader.get("/dms/2/messages").await),
        ["to bob", "to ann"]
    );
    // Somebody else finds nothing under any spelling.
    let stranger = Reader::of(&server, eve.user, "eve");
    assert_eq!(
        stranger.get("/dms").await,
        json!({"dms": [], "hasMore": false})
    );
    for other in [1, 2, 3, 999] {
        let page = stranger.get(&format!("/dms/{other}/messages")).await;
        assert_eq!(page, json!({"messages": [], "hasMore": false}));
    }
}

#[tokio::test]
async fn a_history_over_http_is_the_one_of_the_frame() {
    let server = TestServer::start().await;
    let mut ann = server.client("ann").await;
    let mut ids = Vec::new();
    for text in ["1", "2", "3", "4"] {
        ids.push(ann.send_room("general", text).await.id);
    }
    let reader = Reader::of(&server, 2, "bob");
    for (query, frame) in [
        (String::new(), String::new()),
        ("?limit=2".into(), r#","limit":2"#.into()),
        (
            format!("?limit=2&before={}", ids[2]),
            format!(r#","limit":2,"before":{}"#, ids[2]),
        ),
        (
            format!("?limit=1&after={}", ids[0]),
            format!(r#","limit":1,"after":{}"#, ids[0]),
        ),
        (
            "?limit=99999999999".into(),
            r#","limit":99999999999"#.into(),
        ),
        ("?after=0&limit=3".into(), r#","after":0,"limit":3"#.into()),
    ] {
        let over_http = reader.get(&format!("/rooms/general/messages{query}")).await;
        ann.say(format!(
            r#"{{"type":"room_history","room":"general"{frame}}}"#
        ))
        .await;
        let framed = ann.next().await;
        assert_eq!(framed["type"], "room_history", "{framed}");
        assert_eq!(over_http["messages"], framed["data"], "{query}");
        assert_eq!(over_http["hasMore"], framed["hasMore"], "{query}");
    }
    assert_eq!(
        contents(&reader.get("/rooms/nowhere/messages").await),
        [""; 0]
    );
}

#[tokio::test]
async fn wrong_parameters_are_refused_in_the_words_of_the_frames() {
    let server = TestServer::start().await;
    let mut ann = server.client("ann").await;
    let reader = Reader::of(&server, 1, "ann");
    for (path, field) in [
        ("/rooms/general/messages?limit=0", "limit"),
        ("/rooms/general/messages?limit=-1", "limit"),
        ("/rooms/general/messages?limit=1.5", "limit"),
        ("/rooms/general/messages?limit=", "limit"),
        ("/rooms/general/messages?limit=1&limit=2", "limit"),
        ("/rooms/general/messages?before=0", "before"),
        ("/rooms/general/messages?before=9007199254740992", "before"),
        ("/rooms/general/messages?before=1&after=1", "before"),
        ("/rooms/general/messages?after=-1", "after"),
        ("/rooms/%20x/messages", "room"),
        ("/rooms/%E2%80%AEx/messages", "room"),
        ("/rooms/%FF/messages", "room"),
        ("/dms/0/messages", "user"),
        ("/dms/ann/messages", "user"),
        ("/dms/9007199254740992/messages", "user"),
        ("/dms?before=x", "before"),
        ("/rooms?limit=x", "limit"),
        ("/rooms?after=%00", "after"),
        ("/users?after=x", "after"),
        ("/users?online=maybe", "online"),
    ] {
        assert_eq!(reader.refused(path).await, invalid(field), "{path}");
    }
    // Unknown parameters are ignored, like unknown fields.
    reader.get("/rooms?colour=blue").await;
    // Word for word.
    let answer = reader
        .ask("GET", "/rooms/general/messages?limit=0", "")
        .await;
    ann.say(r#"{"type":"room_history","room":"general","limit":0}"#)
        .await;
    let framed = ann.next().await;
    assert_eq!(answer.json()["error"], framed["data"]);
}

#[tokio::test]
async fn nothing_is_listed_without_a_token_and_every_path_says_what_it_takes() {
    let server = TestServer::start().await;
    for path in [
        "/rooms",
        "/rooms/general/messages",
        "/users",
        "/dms",
        "/dms/1/messages",
    ] {
        let path = format!("/api/v1{path}");
        let answer = http::get(server.address, &path).await;
        assert_eq!(
            (answer.status, &*answer.code()),
            (401, "unauthorized"),
            "{path}"
        );
        assert_eq!(answer.header("www-authenticate"), Some("bearer"), "{path}");
        let wrong = http::request(server.address, "DELETE", &path, &[], "").await;
        assert_eq!(wrong.status, 405, "{path}");
        let origin = "origin: http://localhost:5173";
        let preflight = http::request(server.address, "OPTIONS", &path, &[origin], "").await;
        assert_eq!(preflight.status, 204, "{path}");
        let allowed = preflight.header("access-control-allow-origin");
        assert_eq!(allowed, Some("http://localhost:5173"), "{path}");
        let foreign = ["origin: https://evil.example"];
        let refused = http::request(server.address, "GET", &path, &foreign, "").await;
        assert_eq!(
            (refused.status, &*refused.code()),
            (403, "forbidden"),
            "{path}"
        );
    }
    let made = http::post(server.address, "/api/v1/rooms", r#"{"name":"x"}"#).await;
    assert_eq!(made.status, 401);
}
