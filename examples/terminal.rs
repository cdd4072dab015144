//! A chat in the terminal: lines in, lines out. Rooms and direct messages by commands, what was missed after a cut, and nothing twice.
//!
//! ```text
//! cargo run --example terminal -- --name ann general
//! ```
//!
//! It draws no windows, and keeps nothing: the history is the server's.

#![forbid(unsafe_code)]

#[path = "common/mod.rs"]
mod common;

#[path = "terminal/chat.rs"]
mod chat;
#[path = "terminal/command.rs"]
mod command;
#[path = "terminal/outbox.rs"]
mod outbox;
#[path = "terminal/talks.rs"]
mod talks;

use std::{
    io::{BufRead as _, Write as _},
    process::ExitCode,
    time::Duration,
};

use chat::Chat;
use clap::Parser;
use command::{Command, HELP, parse};
use common::{
    Door, Refused, Result, Socket,
    plain::{harmless, isolated},
    receive, send,
};
use serde_json::Value;
use talks::Place;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Talks in rooms and by direct messages.
#[derive(Parser)]
struct Args {
    #[command(flatten)]
    door: Door,
    /// The name of a guest; the server finds one otherwise
    #[arg(long, conflicts_with = "token")]
    name: Option<String>,
    /// The room to begin with
    #[arg(default_value = "general")]
    room: String,
}

/// Why the conversation with one connection ended.
enum End {
    Quit,
    Cut(Box<dyn std::error::Error>),
}

struct Terminal {
    door: Door,
    chat: Chat,
    input: mpsc::Receiver<String>,
    input_ended: bool,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        // What the server says is as harmless here as everywhere.
        Err(error) => {
            eprintln!("{}", harmless(&error.to_string()));
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<()> {
    let Args {
        mut door,
        name,
        room,
    } = Args::parse();
    if door.token.is_none() {
        let guest = door.come_as_guest(name.as_deref()).await;
        guest.map_err(|error| nobody_there(&door, error))?;
    }
    let mut terminal = Terminal {
        door,
        chat: Chat::new(&room),
        input: typed_lines(),
        input_ended: false,
    };
    let first = terminal.door.connect().await;
    let mut socket = first.map_err(|error| nobody_there(&terminal.door, error))?;
    loop {
        let why = match terminal.talk(&mut socket).await {
            End::Quit => return terminal.farewell(&mut socket).await,
            End::Cut(why) if why.is::<Refused>() => return Err(why),
            End::Cut(why) => why,
        };
        terminal.chat.disconnected();
        match terminal.reconnect(why).await? {
            Some(new) => socket = new,
            None => return terminal.count_unsent(),
        }
    }
}

impl Terminal {
    /// Talks over one connection until it ends, or the user is done.
    async fn talk(&mut self, socket: &mut Socket) -> End {
        self.chat.connected();
        loop {
            if let Err(error) = self.flush(socket).await {
                return End::Cut(error);
            }
            if self.input_ended && self.chat.is_idle() {
                return End::Quit;
            }
            // Until one sees where the conversation stands, what is typed waits: a pipe is not faster than the server.
            let listens = self.chat.open && self.chat.has_entered() && !self.input_ended;
            let later = self.chat.outbox.not_before;
            tokio::select! {
                frame = receive(socket) => match frame {
                    Ok(frame) => {
                        self.chat.hear(&frame);
                        self.look_for_strangers().await;
                    }
                    Err(error) => return End::Cut(error),
                },
                line = self.input.recv(), if listens => match line {
                    Some(line) if self.obey(&line).await => return End::Quit,
                    Some(_) => {}
                    None => self.input_ended = true,
                },
                () = sleep_until(later.unwrap_or_else(Instant::now)), if later.is_some() => {
                    self.chat.outbox.not_before = None;
                    self.chat.pump();
                }
            }
        }
    }

    /// Waits, longer each time and at random, and tries again; what is typed meanwhile is taken. None when the user leaves.
    async fn reconnect(&mut self, mut why: Box<dyn std::error::Error>) -> Result<Option<Socket>> {
        let mut wait = FIRST_WAIT;
        loop {
            let pause = wait.mul_f64(rand::random_range(0.5..1.0));
            wait = (2 * wait).min(LONGEST_WAIT);
            let why_in_words = isolated(&why.to_string());
            self.chat.note(format!(
                "no connection: {why_in_words}; trying again in {:.1} s",
                pause.as_secs_f64()
            ));
            let until = Instant::now() + pause;
            loop {
                self.print();
                tokio::select! {
                    () = sleep_until(until) => break,
                    line = self.input.recv(), if !self.input_ended => match line {
                        Some(line) if self.obey(&line).await => return Ok(None),
                        Some(_) => {}
                        None => self.input_ended = true,
                    },
                }
            }
            why = match self.door.connect().await {
                Ok(socket) => return Ok(Some(socket)),
                Err(error) if error.is::<Refused>() => return Err(error),
                Err(error) => error,
            };
        }
    }

    /// Does what the line says. Whether the user is done.
    async fn obey(&mut self, line: &str) -> bool {
        match parse(line) {
            Command::Say(text) => self.chat.say(self.chat.current(), text),
            Command::Join(room) => self.chat.go(Place::Room(room.to_owned())),
            Command::Leave => self.chat.leave(),
            Command::Dm(user, None) => self.chat.go(Place::Dm(user)),
            Command::Dm(user, Some(text)) => self.chat.say(Place::Dm(user), text),
            Command::History => self.chat.earlier(),
            Command::Who => self.who().await,
            Command::Rooms => self.rooms().await,
            Command::Help => HELP
                .lines()
                .for_each(|line| self.chat.note(line.to_owned())),
            Command::Unclear(why) => self.chat.note(why.to_owned()),
            Command::Nothing => {}
            Command::Quit => return true,
        }
        false
    }

    /// Who wrote for the first time while more was missed than is replayed.
    async fn look_for_strangers(&mut self) {
        let Some(since) = self.chat.lost_since.take() else {
            return;
        };
        let path = "/api/v1/dms?limit=500";
        for dm in self.list(path, "dms").await.unwrap_or_default() {
            if let (Some(user), Some(last)) = (dm["with"]["id"].as_u64(), dm["lastId"].as_u64())
                && last > since
            {
                self.chat.found(user, since);
            }
        }
    }

    async fn who(&mut self) {
        match self
            .list("/api/v1/users?online=true&limit=500", "users")
            .await
        {
            Ok(users) => {
                let line = |user: &Value| {
                    format!(
                        "{:>6}  {}",
                        user["id"].as_u64().unwrap_or_default(),
                        isolated(user["username"].as_str().unwrap_or("?"))
                    )
                };
                users.iter().for_each(|user| self.chat.note(line(user)));
            }
            Err(error) => self
                .chat
                .note(format!("no list: {}", isolated(&error.to_string()))),
        }
    }

    async fn rooms(&mut self) {
        let mut lines = Vec::new();
        let unread = self.chat.unread();
        match self.list("/api/v1/rooms?limit=500", "rooms").await {
            Ok(rooms) => lines.extend(rooms.iter().filter_map(|room| {
                let name = room["name"].as_str()?;
                let joined = unread
                    .get(name)
                    .map(|count| format!(", joined, {count} unread"));
                Some(format!(
                    "#{}: {} here{}",
                    isolated(name),
                    room["memberCount"],
                    joined.unwrap_or_default()
                ))
            })),
            Err(_) => lines.extend(
                unread
                    .iter()
                    .map(|(name, count)| format!("#{}: {count} unread", isolated(name))),
            ),
        }
        lines.into_iter().for_each(|line| self.chat.note(line));
    }

    async fn list(&self, path: &str, key: &str) -> Result<Vec<Value>> {
        let mut answer = self.door.http("GET", path, None).await?;
        match answer[key].take() {
            Value::Array(list) => Ok(list),
            _ => Err("the server does not tell".into()),
        }
    }

    /// Sends and shows what there is.
    async fn flush(&mut self, socket: &mut Socket) -> Result<()> {
        self.print();
        for frame in std::mem::take(&mut self.chat.frames) {
            send(socket, frame).await?;
        }
        Ok(())
    }

    /// The only place that writes to the standard output.
    fn print(&mut self) {
        let mut out = std::io::stdout();
        for line in self.chat.lines.drain(..) {
            if writeln!(out, "{}", harmless(&line)).is_err() {
                // As in `terminal | head`: nobody reads any more.
                std::process::exit(0);
            }
        }
    }

    async fn farewell(&mut self, socket: &mut Socket) -> Result<()> {
        let _ = socket.close(None).await;
        self.count_unsent()
    }

    fn count_unsent(&mut self) -> Result<()> {
        self.print();
        match self.chat.outbox.len() {
            0 => Ok(()),
            unsent => Err(format!("{unsent} not known to be stored").into()),
        }
    }
}

/// Lines of the standard input, read by a thread of their own: a terminal cannot be read without blocking.
fn typed_lines() -> mpsc::Receiver<String> {
    let (lines, typed) = mpsc::channel(1);
    std::thread::spawn(move || {
        for line in std::io::stdin()
            .lock()
            .split(b'\n')
            .map_while(|line| line.ok())
        {
            if lines
                .blocking_send(String::from_utf8_lossy(&line).into_owned())
                .is_err()
            {
                break;
            }
        }
    });
    typed
}

/// A first attempt that fails is rather a wrong address than a passing trouble.
fn nobody_there(door: &Door, error: Box<dyn std::error::Error>) -> Box<dyn std::error::Error> {
    match error.is::<Refused>() {
        true => error,
        false => format!("no chat server at {}: {error}", door.url).into(),
    }
}
