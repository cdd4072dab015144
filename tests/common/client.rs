//! A client on a real socket, which remembers every frame for the report of a failure.

use std::net::SocketAddr;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{
        Message, client::IntoClientRequest as _, http::Request, protocol::WebSocketConfig,
    },
};

use super::{described, soon};

/// A message as it came live or in a history.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    pub id: i64,
    pub seq: i64,
    pub from: i64,
    pub username: String,
    pub content: String,
}

/// Where a send of ours stands.
#[derive(Clone, Debug, PartialEq)]
pub struct SentAs {
    pub id: i64,
    pub seq: i64,
    pub timestamp: String,
    pub duplicate: bool,
}

pub struct Client {
    pub user: i64,
    pub name: String,
    socket: WebSocketStream<TcpStream>,
    seen: Vec<String>,
    next_ref: i64,
}

/// The answer to a handshake.
pub type Handshake = Result<(WebSocketStream<TcpStream>, String), (u16, String)>;

/// Shakes hands with what `change` makes of a plain request: the socket and the selected subprotocol, or status and body.
pub async fn handshake(
    address: SocketAddr,
    path: &str,
    change: impl FnOnce(&mut Request<()>),
) -> Handshake {
    use tokio_tungstenite::tungstenite::Error;
    let mut request = format!("ws://{address}{path}")
        .into_client_request()
        .unwrap();
    change(&mut request);
    let stream = TcpStream::connect(address).await.unwrap();
    let config = WebSocketConfig::default()
        .max_message_size(None)
        .max_frame_size(None);
    match soon(
        "the handshake",
        client_async_with_config(request, stream, Some(config)),
    )
    .await
    {
        Ok((socket, response)) => {
            let selected = response.headers().get("sec-websocket-protocol");
            Ok((
                socket,
                selected
                    .map(|value| value.to_str().unwrap().to_owned())
                    .unwrap_or_default(),
            ))
        }
        Err(Error::Http(response)) => {
            let body = response.body().clone().unwrap_or_default();
            let (status, body) = (response.status().as_u16(), String::from_utf8(body).unwrap());
            described::answer("GET", path, status, &body);
            Err((status, body))
        }
        Err(error) => panic!("no HTTP answer to the handshake: {error}"),
    }
}

impl Client {
    pub async fn connect(address: SocketAddr, path: &str, user: i64, name: &str) -> Self {
        let (socket, _) = handshake(address, path, |_| {}).await.unwrap();
        Self::over(socket, user, name)
    }

    pub fn over(socket: WebSocketStream<TcpStream>, user: i64, name: &str) -> Self {
        Self {
            user,
            name: name.into(),
            socket,
            seen: Vec::new(),
            next_ref: 1,
        }
    }

    /// Sends a text frame as it is.
    pub async fn say(&mut self, text: impl Into<String>) {
        self.send(Message::text(text.into())).await;
    }

    pub async fn send(&mut self, message: Message) {
        self.socket.send(message).await.unwrap();
    }

    /// Sends bytes under the WebSocket layer.
    pub async fn raw(&mut self, bytes: &[u8]) {
        use tokio::io::AsyncWriteExt as _;
        self.socket.get_mut().write_all(bytes).await.unwrap();
    }

    /// The next text frame.
    pub async fn next_text(&mut self) -> String {
        loop {
            match self.next_event().await {
                Some(Ok(Message::Text(text))) => return text.as_str().to_owned(),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => panic!(
                    "{}: wanted a text frame, got {other:?}\n{}",
                    self.name,
                    self.report()
                ),
            }
        }
    }

    /// The next text frame, as JSON.
    pub async fn next(&mut self) -> Value {
        serde_json::from_str(&self.next_text().await).unwrap()
    }

    pub async fn next_event(
        &mut self,
    ) -> Option<Result<Message, tokio_tungstenite::tungstenite::Error>> {
        let what = format!("a frame for {}\n{}", self.name, self.report());
        let event = soon(&what, self.socket.next()).await;
        if let Some(Ok(Message::Text(text))) = &event {
            described::frame(text.as_str());
        }
        self.seen
            .push(format!("{event:?}").chars().take(300).collect());
        event
    }

    fn report(&self) -> String {
        let from = self.seen.len().saturating_sub(20);
        format!(
            "{} frames seen, the last of them:\n  {}",
            self.seen.len(),
            self.seen[from..].join("\n  ")
        )
    }

    /// Sends a request with a fresh `ref`; the reply to it, which must be the next frame.
    pub async fn ask(&mut self, mut request: Value) -> Value {
        let reference = self.next_ref;
        self.next_ref += 1;
        request["ref"] = json!(reference);
        self.say(request.to_string()).await;
        let reply = self.next().await;
        assert_eq!(
            reply["ref"], reference,
            "{}: a reply to something else: {reply}",
            self.name
        );
        reply
    }

    /// The error that `request` gets.
    pub async fn ask_in_vain(&mut self, request: Value) -> Value {
        let reply = self.ask(request).await;
        assert_eq!(reply["type"], "error", "{reply}");
        reply["data"].clone()
    }

    pub async fn ping(&mut self) {
        assert_eq!(self.ask(json!({"type": "ping"})).await["type"], "pong");
    }

    /// Joins; `(lastId, lastSeq)`.
    pub async fn join(&mut self, room: &str) -> (i64, i64) {
        let reply = self.ask(json!({"type": "join", "room": room})).await;
        assert_eq!(reply["type"], "join_ack", "{reply}");
        assert_eq!(reply["data"]["status"], "ok");
        (
            reply["data"]["lastId"].as_i64().unwrap(),
            reply["data"]["lastSeq"].as_i64().unwrap(),
        )
    }

    /// Sends to a room that this client has not joined; resolves once the message is stored.
    pub async fn send_room(&mut self, room: &str, content: &str) -> SentAs {
        sent(
            &self
                .ask(json!({"type": "message", "room": room, "content": content}))
                .await,
        )
    }

    pub async fn send_dm(&mut self, to: i64, content: &str) -> SentAs {
        sent(
            &self
                .ask(json!({"type": "dm", "to": to, "content": content}))
                .await,
        )
    }

    /// The next frame, which must be a message of a room.
    pub async fn next_message(&mut self) -> Seen {
        let frame = self.next().await;
        assert_eq!(frame["type"], "message", "{frame}\n{}", self.report());
        seen(&frame["data"])
    }

    /// The next frame, which must be a DM.
    pub async fn next_dm(&mut self) -> Seen {
        let frame = self.next().await;
        assert_eq!(frame["type"], "dm", "{frame}\n{}", self.report());
        seen(&frame["data"])
    }

    pub async fn room_history(&mut self, room: &str) -> Vec<Seen> {
        let reply = self
            .ask(json!({"type": "room_history", "room": room, "limit": 500}))
            .await;
        reply["data"].as_array().unwrap().iter().map(seen).collect()
    }

    /// Nothing has come: the next frame is the answer to a ping. Whoever asks this first waits for the fan-out.
    pub async fn expect_silence(&mut self) {
        self.ping().await;
    }

    /// The code with which the server closes, after the text frames that are still under way.
    pub async fn close_code(&mut self) -> u16 {
        loop {
            match self.next_event().await {
                Some(Ok(Message::Close(Some(frame)))) => return frame.code.into(),
                Some(Ok(_)) => {}
                other => panic!(
                    "{}: wanted a close frame, got {other:?}\n{}",
                    self.name,
                    self.report()
                ),
            }
        }
    }

    /// The code with which the server closes a peer that answers nothing, not even pings. For short frames only.
    pub async fn close_code_unanswered(&mut self) -> u16 {
        use tokio::io::AsyncReadExt as _;
        let mut bytes = Vec::new();
        soon(
            "the end of the stream",
            self.socket.get_mut().read_to_end(&mut bytes),
        )
        .await
        .unwrap();
        let mut rest = &bytes[..];
        while let [head, length, payload @ ..] = rest {
            if *head == 0x88 {
                return u16::from_be_bytes([payload[0], payload[1]]);
            }
            rest = &payload[usize::from(*length)..];
        }
        panic!("no close frame in {bytes:?}");
    }

    /// Leaves without a word.
    pub fn cut(self) {}

    /// Closes as a browser does; the code that comes back.
    pub async fn close(mut self) -> u16 {
        self.socket.close(None).await.unwrap();
        loop {
            match self.next_event().await {
                Some(Ok(Message::Close(frame))) => {
                    return frame.map_or(1005, |frame| frame.code.into());
                }
                Some(Ok(_)) => {}
                other => panic!("wanted the answer to a close, got {other:?}"),
            }
        }
    }
}

pub fn sent(reply: &Value) -> SentAs {
    assert!(
        matches!(reply["type"].as_str(), Some("message_sent" | "dm_sent")),
        "{reply}"
    );
    let data = &reply["data"];
    assert_eq!(data["status"], "ok");
    SentAs {
        id: data["id"].as_i64().unwrap(),
        seq: data["seq"].as_i64().unwrap(),
        timestamp: data["timestamp"].as_str().unwrap().into(),
        duplicate: data["duplicate"].as_bool().unwrap_or(false),
    }
}

pub fn seen(data: &Value) -> Seen {
    Seen {
        id: data["id"].as_i64().unwrap(),
        seq: data["seq"].as_i64().unwrap(),
        from: data["fromUser"].as_i64().unwrap(),
        username: data["username"].as_str().unwrap().into(),
        content: data["content"].as_str().unwrap().into(),
    }
}
