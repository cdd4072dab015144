//! One conversation, from which every example is taken. A test holds it on real sockets, so each of them is true.

use serde_json::{Value, json};

/// A request, and what comes of it on a server where nothing has been said before.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// What it shows.
    pub title: &'static str,
    /// Sent by user 123, `user`, who has one connection at a time.
    pub request: Value,
    /// It is sent on a new connection, and all that follows too.
    pub is_on_a_new_connection: bool,
    /// What user 123 receives; a live message and an acknowledgement may change places.
    pub answers: Vec<Value>,
    /// What user 456, `other`, receives, who has joined `general`.
    pub heard: Vec<Value>,
}

impl Exchange {
    fn new(title: &'static str, request: Value) -> Self {
        Self {
            title,
            request,
            is_on_a_new_connection: false,
            answers: Vec::new(),
            heard: Vec::new(),
        }
    }

    fn answered(mut self, answers: &[Value]) -> Self {
        self.answers = answers.to_vec();
        self
    }

    fn heard(mut self, frame: &Value) -> Self {
        self.heard = vec![frame.clone()];
        self
    }

    fn on_a_new_connection(mut self) -> Self {
        self.is_on_a_new_connection = true;
        self
    }
}

const TIMES: [&str; 4] = [
    "2026-01-15T12:00:00.123Z",
    "2026-01-15T12:00:07.004Z",
    "2026-01-15T12:01:31.870Z",
    "2026-01-15T12:02:02.551Z",
];
const NONCE: &str = "6f1c2b1e-8f0a-4a53-9a3e-0d6a2f6c7b11";
const DM_NONCE: &str = "b0a9d1f4-2d55-4c0e-8a47-5b1f7d3e9c20";
const EPOCH: &str = "9f2c41d07be35a68";

fn said() -> [Value; 4] {
    let from = |mut place: Value, id: i64, time: &str, content: &str| {
        place["id"] = json!(id);
        place["fromUser"] = json!(123);
        place["username"] = json!("user");
        place["content"] = json!(content);
        place["timestamp"] = json!(time);
        place
    };
    [
        from(json!({"room": "general", "seq": 1}), 1, TIMES[0], "Hello!"),
        from(
            json!({"room": "general", "seq": 2, "nonce": NONCE}),
            2,
            TIMES[1],
            "Stored once, however often it is sent",
        ),
        // The send that was repeated had drawn 3.
        from(json!({"to": 456, "seq": 1}), 4, TIMES[2], "Hello!"),
        from(
            json!({"to": 456, "seq": 2, "nonce": DM_NONCE}),
            5,
            TIMES[3],
            "Between us",
        ),
    ]
}

/// The conversation, in its order.
pub fn conversation() -> Vec<Exchange> {
    let mut all = rooms();
    all.extend(direct());
    all.extend(histories());
    all.extend(connection());
    all
}

fn rooms() -> Vec<Exchange> {
    let [first, second, ..] = said().map(|data| json!({"type": "message", "data": data}));
    let again = json!({"type": "message", "room": "general", "content": second["data"]["content"], "nonce": NONCE, "ref": 2});
    let ack = json!({"room": "general", "status": "ok", "id": 2, "seq": 2, "timestamp": TIMES[1], "nonce": NONCE});
    let mut duplicate = ack.clone();
    duplicate["duplicate"] = json!(true);
    let sent = |data: &Value| json!({"type": "message_sent", "data": data, "ref": 2});
    let joined = json!({"room": "general", "status": "ok", "lastId": 0, "lastSeq": 0});
    vec![
        Exchange::new(
            "Without ref: no acknowledgement",
            json!({"type": "join", "room": "general"}),
        ),
        Exchange::new(
            "With ref: acknowledged",
            json!({"type": "join", "room": "general", "ref": 1}),
        )
        .answered(&[json!({"type": "join_ack", "data": joined, "ref": 1})]),
        Exchange::new(
            "Without ref: no acknowledgement",
            json!({"type": "message", "room": "general", "content": "Hello!"}),
        )
        .answered(std::slice::from_ref(&first))
        .heard(&first),
        Exchange::new(
            "With ref and nonce: acknowledged, and safe to repeat",
            again.clone(),
        )
        .answered(&[sent(&ack), second.clone()])
        .heard(&second),
        Exchange::new("Repeated with the same nonce: not stored again", again)
            .answered(&[sent(&duplicate)]),
    ]
}

fn direct() -> Vec<Exchange> {
    let [.., first, second] = said().map(|data| json!({"type": "dm", "data": data}));
    let ack = json!({"to": 456, "status": "ok", "id": 5, "seq": 2, "timestamp": TIMES[3], "nonce": DM_NONCE});
    let words = "no user 999 has ever been here: check the id";
    let error = json!({"code": "user_not_found", "message": words, "field": "to"});
    vec![
        Exchange::new("Without ref: no acknowledgement", json!({"type": "dm", "to": 456, "content": "Hello!"})).heard(&first),
        Exchange::new(
            "With ref and nonce: acknowledged, and safe to repeat",
            json!({"type": "dm", "to": 456, "content": "Between us", "nonce": DM_NONCE, "ref": "dm-1"}),
        )
        .answered(&[json!({"type": "dm_sent", "data": ack, "ref": "dm-1"})])
        .heard(&second),
        Exchange::new("To nobody", json!({"type": "dm", "to": 999, "content": "Hello!", "ref": "dm-2"}))
            .answered(&[json!({"type": "error", "message": words, "data": error, "ref": "dm-2"})]),
    ]
}

fn histories() -> Vec<Exchange> {
    let [first, second, third, fourth] = said();
    let room = json!({"type": "room_history", "data": [first, second], "room": "general", "hasMore": false});
    let rest = json!({"type": "room_history", "data": [second], "room": "general", "hasMore": false, "ref": 3});
    let dms = json!({"type": "dm_history", "data": [third, fourth], "with": 456, "hasMore": false});
    let last =
        json!({"type": "dm_history", "data": [fourth], "with": 456, "hasMore": true, "ref": 4});
    vec![
        Exchange::new(
            "The newest messages",
            json!({"type": "room_history", "room": "general", "limit": 50}),
        )
        .answered(&[room]),
        Exchange::new(
            "What came after a message",
            json!({"type": "room_history", "room": "general", "after": 1, "limit": 100, "ref": 3}),
        )
        .answered(&[rest]),
        Exchange::new(
            "The newest messages",
            json!({"type": "dm_history", "with": 456, "limit": 50}),
        )
        .answered(&[dms]),
        Exchange::new(
            "The newest message before one",
            json!({"type": "dm_history", "with": 456, "limit": 1, "before": 9, "ref": 4}),
        )
        .answered(&[last]),
    ]
}

fn connection() -> Vec<Exchange> {
    let [_, _, third, fourth] = said().map(|data| json!({"type": "dm", "data": data}));
    let left = json!({"room": "general", "status": "ok"});
    let resumed =
        json!({"epoch": EPOCH, "lastId": 5, "rooms": ["general"], "replayed": 2, "complete": true});
    let other_log = json!({"epoch": EPOCH, "lastId": 5, "rooms": ["general"], "replayed": 0, "complete": false, "reason": "epoch"});
    vec![
        Exchange::new("With ref: acknowledged", json!({"type": "leave", "room": "general", "ref": 5}))
            .answered(&[json!({"type": "leave_ack", "data": left, "ref": 5})]),
        Exchange::new("Who am I, and what holds here", json!({"type": "hello", "ref": "hello"})).answered(&[welcome()]),
        Exchange::new("What was missed since message 2", json!({"type": "resume", "after": 2, "rooms": ["general"], "ref": 6}))
            .on_a_new_connection()
            .answered(&[json!({"type": "resume_ack", "data": resumed, "ref": 6}), third, fourth]),
        Exchange::new(
            "A position of another log",
            json!({"type": "resume", "after": 2, "rooms": ["general"], "epoch": "0000000000000000", "ref": 7}),
        )
        .on_a_new_connection()
        .answered(&[json!({"type": "resume_ack", "data": other_log, "ref": 7})]),
        Exchange::new("A newer token", json!({"type": "auth", "token": "eyJhbGciOiJIUzI1NiJ9.e30.signature", "ref": 8}))
            .answered(&[json!({"type": "auth_ack", "data": {"exp": 1_771_070_400}, "ref": 8})]),
        Exchange::new("Without ref", json!({"type": "ping"})).answered(&[json!({"type": "pong", "data": {}})]),
        Exchange::new("With ref", json!({"type": "ping", "ref": "still there?"}))
            .answered(&[json!({"type": "pong", "data": {}, "ref": "still there?"})]),
    ]
}

fn welcome() -> Value {
    let limits = json!({
        "contentBytes": 16_384, "frameBytes": 65_536, "historyLimit": 500, "historyBytes": 524_288,
        "roomsPerConnection": 500, "resumeLimit": 1000, "ratePerSecond": 50
    });
    let data = json!({
        "userId": 123, "username": "user", "role": "user", "server": concat!("chat-server/", env!("CARGO_PKG_VERSION")),
        "epoch": EPOCH, "lastId": 5, "limits": limits
    });
    json!({"type": "welcome", "data": data, "ref": "hello"})
}
