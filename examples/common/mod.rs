//! What the examples share: the way into a room, and JSON frames over a WebSocket. They speak plain JSON, as a client in
//! any language would, and use nothing of this crate.
#![allow(dead_code, reason = "each example uses its own part")]

pub mod plain;

use std::{error::Error, fmt, time::Duration};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{self, ClientRequestBuilder, Message, http::Uri},
};

pub type Result<T> = std::result::Result<T, Box<dyn Error>>;
pub type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// The server pings every 25 s, so that much silence and an answer's time twice over means that it is gone.
const SILENCE: Duration = Duration::from_secs(60);
const HTTP_PATIENCE: Duration = Duration::from_secs(15);
/// The close codes after which the same token is of no use: expired or refused, and removed by a moderator.
const UNWELCOME: [u16; 2] = [4401, 4403];

/// The server said no, and will say so again: trying once more is of no use.
#[derive(Debug)]
pub struct Refused(String);

impl Error for Refused {}
impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where to go, and as whom.
#[derive(clap::Args)]
pub struct Door {
    /// Where the server listens
    #[arg(long, default_value = "ws://127.0.0.1:9001/ws")]
    pub url: String,
    /// Who comes; without a token it is a guest
    #[arg(long, env = "CHAT_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
}

/// The same, and into which room.
#[derive(clap::Args)]
pub struct Entrance {
    #[command(flatten)]
    door: Door,
    /// The room
    #[arg(long, default_value = "general")]
    pub room: String,
}

impl Entrance {
    /// Opens a connection and asks for `welcome` and `join_ack`, which come in this order.
    pub async fn enter(&mut self, guest_name: &str) -> Result<Socket> {
        if self.door.token.is_none() {
            let name = format!("{guest_name}-{:08x}", rand::random::<u32>());
            self.door.come_as_guest(Some(&name)).await?;
        }
        let mut socket = self.door.connect().await?;
        send(&mut socket, json!({ "type": "hello", "ref": "hello" })).await?;
        send(
            &mut socket,
            json!({ "type": "join", "room": self.room, "ref": "join" }),
        )
        .await?;
        Ok(socket)
    }
}

impl Door {
    /// Takes the token of a new guest. The server finds a name for one who brings none.
    pub async fn come_as_guest(&mut self, name: Option<&str>) -> Result<()> {
        let wish = json!({ "username": name });
        let answer = match self.http("POST", "/api/v1/auth/guest", Some(wish)).await {
            Err(error) if error.is::<Refused>() => {
                return Err(Refused(format!(
                    "no guest token, so bring one with --token, or another name: {error}"
                ))
                .into());
            }
            answer => answer?,
        };
        self.token = answer["token"].as_str().map(str::to_owned);
        Ok(())
    }

    /// One request of the HTTP API, and the JSON of its answer. An `error` in it is [`Refused`].
    pub async fn http(&self, method: &str, path: &str, body: Option<Value>) -> Result<Value> {
        match timeout(HTTP_PATIENCE, self.exchange(method, path, body)).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("{method} {path}: no answer within {HTTP_PATIENCE:?}").into()),
        }
    }

    async fn exchange(&self, method: &str, path: &str, body: Option<Value>) -> Result<Value> {
        let uri: Uri = self.url.parse()?;
        let authority = uri.authority().ok_or("the URL names no host")?;
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let token = self.token.iter();
        let bearer: String = token
            .map(|token| format!("Authorization: Bearer {token}\r\n"))
            .collect();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n{bearer}\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let host = authority.host().trim_matches(['[', ']']);
        let mut stream = TcpStream::connect((host, uri.port_u16().unwrap_or(80))).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let (head, body) = answer
            .split_once("\r\n\r\n")
            .ok_or("the answer is no HTTP")?;
        let status = head.split(' ').nth(1).unwrap_or_default();
        let answer: Value = serde_json::from_str(body).unwrap_or_default();
        match (answer["error"]["message"].as_str(), status.as_bytes()) {
            (Some(message), _) => Err(Refused(message.to_owned()).into()),
            (None, [b'2', ..]) => Ok(answer),
            (None, _) => Err(Refused(format!("{method} {path}: {status}")).into()),
        }
    }

    pub async fn connect(&self) -> Result<Socket> {
        let bearer = format!("Bearer {}", self.token.as_deref().unwrap_or_default());
        let request =
            ClientRequestBuilder::new(self.url.parse()?).with_header("Authorization", bearer);
        match connect_async(request).await {
            Ok((socket, _)) => Ok(socket),
            // The body says what is wrong in words.
            Err(tungstenite::Error::Http(answer)) if answer.status().is_client_error() => {
                let body = answer.body().as_deref().map(String::from_utf8_lossy);
                Err(Refused(format!("{} {}", answer.status(), body.unwrap_or_default())).into())
            }
            Err(error) => Err(error.into()),
        }
    }
}

pub async fn send(socket: &mut Socket, frame: Value) -> Result<()> {
    Ok(socket.send(Message::text(frame.to_string())).await?)
}

/// The next frame; pings are answered on the way.
pub async fn receive(socket: &mut Socket) -> Result<Value> {
    loop {
        match timeout(SILENCE, socket.next()).await? {
            Some(Ok(Message::Text(text))) => return Ok(serde_json::from_str(&text)?),
            Some(Ok(Message::Close(Some(close)))) if UNWELCOME.contains(&close.code.into()) => {
                return Err(Refused(format!("closed: {} {}", close.code, close.reason)).into());
            }
            Some(Ok(Message::Close(Some(close)))) => {
                return Err(format!("closed: {} {}", close.code, close.reason).into());
            }
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(error.into()),
            None => return Err("the connection is gone".into()),
        }
    }
}
