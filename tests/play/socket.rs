//! The whole server behind real sockets: in this process, or the executable in its own, which can be killed.

use std::{net::SocketAddr, path::Path, process::Command, time::Duration};

use chat_server::{
    auth::{Secret, Tokens},
    config::{Config, Limits, NamedSecret},
    protocol::{Cursor, UserId, Username},
    server::Server,
};
use futures_util::{SinkExt as _, StreamExt as _};
use rustix::process::Signal;
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{WebSocketStream, tungstenite::Message};

use super::{
    core::SMALL,
    kept::Kept,
    link::{Change, Ending, Heard, Link, World},
    script::DEVICES,
    stored::Shifted,
};
use crate::{
    common::{
        self, PATIENCE, SECRET,
        binary::{Running, chat_server},
        client::handshake,
    },
    oracle::trace::Row,
};

/// A WebSocket client that judges nothing.
#[derive(Debug)]
pub struct Socket(WebSocketStream<TcpStream>);

impl Socket {
    /// With a token that was just made, by a clock that shows `now`.
    pub async fn connect(address: SocketAddr, user: i64, now: i64) -> Self {
        let (id, name) = (UserId::new(user), Username::new(&format!("user{user}")));
        let tokens = Tokens::new(SECRET, "JWT_SECRET");
        let token = tokens.sign(
            id.unwrap(),
            &name.unwrap(),
            "user",
            now,
            SMALL.token_seconds,
        );
        let token = token.unwrap();
        let path = format!("/ws?token={token}");
        Self(handshake(address, &path, |_| {}).await.unwrap().0)
    }
}

impl Link for Socket {
    async fn say(&mut self, text: String) {
        // Whoever is gone, or does not read because nobody reads what it has sent, says so by its end.
        let _ = timeout(PATIENCE, self.0.send(Message::text(text))).await;
    }

    async fn next(&mut self) -> Heard {
        loop {
            match self.0.next().await {
                Some(Ok(Message::Text(text))) => return Heard::Frame(text.as_str().to_owned()),
                Some(Ok(Message::Close(frame))) => {
                    return Heard::Closed(frame.map(|frame| frame.code.into()));
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Heard::Closed(None),
            }
        }
    }
}

/// Sizes at which a script reaches the limits, as far as flags allow it.
fn small(limits: &mut Limits) {
    limits.resume_max = SMALL.resume_max;
    limits.outbox_bytes = 4096;
    limits.history_bytes = SMALL.history_bytes as u32;
    limits.max_rooms = SMALL.rooms_max;
    limits.in_flight = SMALL.in_flight as u32;
    limits.rate_limit = 0;
    limits.linger_seconds = 0;
}

/// A server in this process.
pub struct ServerWorld {
    kept: Kept,
    clock: Shifted,
    running: Option<Server>,
}

impl ServerWorld {
    pub async fn new() -> Self {
        Self::at(Shifted::default(), Kept::new()).await
    }

    pub async fn at(clock: Shifted, kept: Kept) -> Self {
        let mut world = Self {
            kept,
            clock,
            running: None,
        };
        world.start().await;
        world
    }

    fn server(&self) -> &Server {
        self.running.as_ref().expect("the server runs")
    }

    /// Ends the server, so that its connections to a database are closed.
    pub async fn stop(mut self) {
        self.end(Ending::Stop).await;
    }
}

impl World for ServerWorld {
    type Link = Socket;

    async fn connect(&mut self, user: i64) -> Socket {
        Socket::connect(self.server().address, user, self.clock.seconds()).await
    }

    async fn end(&mut self, _: Ending) {
        let server = self.running.take().expect("the server runs");
        assert!(server.stop().await, "the server did not stop in order");
    }

    async fn change(&mut self, change: Change) {
        self.kept.change(change);
    }

    async fn start(&mut self) {
        let mut config = Config::at(self.kept.location());
        config.secret = Some(NamedSecret {
            secret: Secret::new(SECRET),
            name: "JWT_SECRET",
        });
        config.clock = self.clock.clock();
        small(&mut config.limits);
        // Sockets whose client has closed are waited for no longer than it takes to notice.
        config.limits.stop_seconds = 1;
        self.running = Some(Server::start(config).await.unwrap());
        introduce(self.server().address, self.clock.seconds()).await;
    }

    async fn back_up(&mut self) {
        self.kept.back_up();
    }

    fn shift_clock(&mut self, by: Duration, forward: bool) {
        self.clock.shift(by, forward);
    }

    async fn relayed(&mut self, id: i64) {
        let id = Cursor::new(id).unwrap();
        self.server().hub().relayed(id).await;
    }

    async fn log(&mut self) -> (String, Vec<Row>) {
        self.kept.read()
    }
}

/// Everybody of whom scripts speak has been here.
async fn introduce(address: SocketAddr, now: i64) {
    for user in DEVICES {
        Socket::connect(address, user, now).await;
    }
}

/// The executable, in a process of its own.
pub struct BinaryWorld {
    kept: Kept,
    running: Option<Running>,
}

impl BinaryWorld {
    pub async fn new() -> Self {
        let mut world = Self {
            kept: Kept::new(),
            running: None,
        };
        world.start().await;
        world
    }

    fn address(&self) -> SocketAddr {
        self.running.as_ref().expect("the server runs").address
    }
}

fn command(folder: &Path) -> Command {
    let mut command = chat_server(folder, &["--bind", "127.0.0.1:0"]);
    command.env("JWT_SECRET", std::str::from_utf8(SECRET).unwrap());
    for (flag, value) in [
        ("--resume-max", i64::from(SMALL.resume_max)),
        ("--outbox-bytes", 4096),
        ("--history-bytes", SMALL.history_bytes as i64),
        ("--max-rooms", SMALL.rooms_max as i64),
        ("--in-flight", SMALL.in_flight as i64),
        ("--rate-limit", 0),
        ("--linger-seconds", 0),
        ("--stop-seconds", 1),
    ] {
        command.args([flag.to_owned(), value.to_string()]);
    }
    command
}

impl World for BinaryWorld {
    type Link = Socket;

    async fn connect(&mut self, user: i64) -> Socket {
        Socket::connect(self.address(), user, common::now()).await
    }

    async fn end(&mut self, ending: Ending) {
        let running = self.running.take().expect("the server runs");
        match ending {
            Ending::Crash => running.kill(),
            Ending::Stop => {
                running.signal(Signal::TERM);
                let (code, log) = tokio::task::spawn_blocking(|| running.wait())
                    .await
                    .unwrap();
                assert_eq!(code, Some(0), "{log}");
            }
        }
    }

    async fn change(&mut self, change: Change) {
        self.kept.change(change);
    }

    async fn start(&mut self) {
        self.running = Some(Running::start(&mut command(&self.kept.folder())));
        introduce(self.address(), common::now()).await;
    }

    async fn back_up(&mut self) {
        self.kept.back_up();
    }

    /// Nobody outside can know: whoever waits for a message waits for it on its connection.
    async fn relayed(&mut self, _: i64) {}

    async fn log(&mut self) -> (String, Vec<Row>) {
        self.kept.read()
    }
}
