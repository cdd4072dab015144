//! The chat without its socket: what is typed and what the server says goes in, frames to send and lines to show come out.
//! It knows no time and no terminal.

mod hear;

use std::collections::{BTreeMap, HashMap};

use serde_json::{Value, json};

use crate::{
    common::plain::isolated,
    outbox::Outbox,
    talks::{Place, Talk},
};

const PAGE: u32 = 20;

/// What a reply with a `ref` answers.
enum Asked {
    Join(String),
    Leave,
    History(Place, History),
    Send,
}

#[derive(Clone, Copy, PartialEq)]
enum History {
    /// The end of it, on entering.
    Newest,
    /// From where we were.
    Missed,
    /// What the user wants to see, before what is shown.
    Earlier,
}

pub struct Chat {
    me: u64,
    names: HashMap<u64, String>,
    talks: BTreeMap<Place, Talk>,
    current: Place,
    pub outbox: Outbox,
    asked: HashMap<u64, Asked>,
    next_ref: u64,
    /// The log, and the last id that this connection or an earlier one has brought.
    epoch: Option<String>,
    cursor: u64,
    /// Id of our own last message in a room that was joined: it comes back, before or after its receipt.
    echo: u64,
    /// Whether the connection is there, and continues the one before.
    pub open: bool,
    /// After which id DMs of somebody new may have been missed: no history that we know of has them.
    pub lost_since: Option<u64>,
    day: String,
    pub frames: Vec<Value>,
    pub lines: Vec<String>,
}

impl Chat {
    pub fn new(room: &str) -> Self {
        let place = Place::Room(room.to_owned());
        Self {
            me: 0,
            names: HashMap::new(),
            talks: BTreeMap::from([(place.clone(), Talk::default())]),
            current: place,
            outbox: Outbox::default(),
            asked: HashMap::new(),
            next_ref: 1,
            epoch: None,
            cursor: 0,
            echo: 0,
            open: false,
            lost_since: None,
            day: String::new(),
            frames: Vec::new(),
            lines: Vec::new(),
        }
    }

    /// Whether nothing is to be waited for.
    pub fn is_idle(&self) -> bool {
        let seen = self.cursor >= self.echo;
        self.open && seen && self.asked.is_empty() && self.outbox.is_empty()
    }

    /// Whether the user sees where the conversation stands.
    pub fn has_entered(&self) -> bool {
        self.talks.get(&self.current).is_none_or(|talk| talk.whole)
    }

    // The connection.

    /// The first request of a new connection: what was missed, where something can have been missed.
    pub fn connected(&mut self) {
        match &self.epoch {
            None => self.frames.push(json!({ "type": "hello", "ref": 0 })),
            Some(epoch) => {
                let rooms: Vec<&str> = self.rooms().collect();
                let resume = json!({ "type": "resume", "after": self.cursor, "epoch": epoch, "rooms": rooms, "ref": 0 });
                self.frames.push(resume);
            }
        }
    }

    pub fn disconnected(&mut self) {
        self.open = false;
        self.asked.clear();
        self.outbox.cut();
        self.frames.clear();
        self.talks
            .values_mut()
            .filter(|talk| !talk.whole)
            .for_each(Talk::torn);
    }

    fn rooms(&self) -> impl Iterator<Item = &str> {
        self.talks.keys().filter_map(|place| match place {
            Place::Room(room) => Some(room.as_str()),
            Place::Dm(_) => None,
        })
    }

    /// There is a conversation with `user`, of which nothing after `since` is known.
    pub fn found(&mut self, user: u64, since: u64) {
        let place = Place::Dm(user);
        if !self.talks.contains_key(&place) {
            self.talks.insert(place.clone(), Talk::since(since));
            self.catch_up(place);
        }
    }

    // What the user wants.

    pub fn say(&mut self, place: Place, text: &str) {
        let number = self.outbox.push(place, text);
        let how = if self.open {
            "sending"
        } else {
            "waiting for the connection"
        };
        self.note(format!("[{number}] {how}"));
        self.pump();
    }

    pub fn current(&self) -> Place {
        self.current.clone()
    }

    /// Makes it the conversation that is looked at.
    pub fn go(&mut self, place: Place) {
        self.current = place.clone();
        if let Some(talk) = self.talks.get_mut(&place) {
            let unread = std::mem::take(&mut talk.unread);
            let name = self.name_of(&place);
            self.note(format!("{name}: {} unread", unread.len()));
            return unread.iter().for_each(|message| self.show(&place, message));
        }
        self.talks.insert(place.clone(), Talk::default());
        match place {
            Place::Room(room) if self.open => self.ask_join(room),
            Place::Dm(_) if self.open => self.catch_up(place),
            // The next connection does it.
            Place::Room(_) | Place::Dm(_) => {}
        }
    }

    pub fn leave(&mut self) {
        let place = self.current.clone();
        self.talks.remove(&place);
        self.echo = 0;
        let name = self.name_of(&place);
        if let Place::Room(room) = place
            && self.open
        {
            self.ask(json!({ "type": "leave", "room": room }), Asked::Leave);
        }
        self.note(format!("left {name}"));
        if let Some(other) = self.talks.keys().next().cloned() {
            self.go(other);
        }
    }

    pub fn earlier(&mut self) {
        let oldest = self.talks.get(&self.current).and_then(|talk| talk.oldest);
        match self.open {
            true => self.ask_history(
                self.current(),
                History::Earlier,
                json!({ "limit": PAGE, "before": oldest }),
            ),
            false => self.note("not now: there is no connection".to_owned()),
        }
    }

    /// The rooms that are joined, with the number of unread messages.
    pub fn unread(&self) -> HashMap<&str, usize> {
        let with_count = |room| {
            Some((
                room,
                self.talks
                    .get(&Place::Room(String::from(room)))?
                    .unread
                    .len(),
            ))
        };
        self.rooms().filter_map(with_count).collect()
    }

    // Small things.

    /// Sends what waits, when its time has come.
    pub fn pump(&mut self) {
        if self.open
            && let Some(frame) = self.outbox.next()
        {
            self.ask(frame, Asked::Send);
        }
    }

    fn ask(&mut self, mut frame: Value, asked: Asked) {
        frame["ref"] = self.next_ref.into();
        self.asked.insert(self.next_ref, asked);
        self.next_ref += 1;
        self.frames.push(frame);
    }

    fn ask_join(&mut self, room: String) {
        self.ask(json!({ "type": "join", "room": room }), Asked::Join(room));
    }

    fn ask_history(&mut self, place: Place, kind: History, mut page: Value) {
        match &place {
            Place::Room(room) => {
                (page["type"], page["room"]) = ("room_history".into(), room.as_str().into())
            }
            Place::Dm(user) => (page["type"], page["with"]) = ("dm_history".into(), (*user).into()),
        }
        self.ask(page, Asked::History(place, kind));
    }

    fn show(&mut self, place: &Place, message: &Value) {
        let text = |key: &str| message[key].as_str().unwrap_or_default();
        if let Some(talk) = self.talks.get_mut(place) {
            talk.shown(message);
        }
        if let (Some(id), Some(name)) = (message["fromUser"].as_u64(), message["username"].as_str())
        {
            self.names.entry(id).or_insert_with(|| name.to_owned());
        }
        let (day, time) = text("timestamp").split_once('T').unwrap_or(("", ""));
        if day != self.day {
            self.day = day.to_owned();
            self.lines.push(format!("-- {} (UTC)", isolated(day)));
        }
        let time = isolated(time.get(..5).unwrap_or(time));
        let who = isolated(text("username"));
        let mut lines = text("content").split('\n').map(isolated);
        let first = lines.next().unwrap_or_default();
        let head = match place {
            Place::Room(_) => format!("{time} <{who}>"),
            Place::Dm(user) if message["fromUser"] == self.me => {
                format!("{time} <{who} to {}>", self.name_of(&Place::Dm(*user)))
            }
            Place::Dm(user) => format!("{time} <{who} ({user}) to you>"),
        };
        self.lines.push(format!("{head} {first}"));
        // Nobody's second line looks like a line of somebody else.
        self.lines
            .extend(lines.map(|line| format!("      | {line}")));
    }

    fn name_of(&self, place: &Place) -> String {
        match place {
            Place::Room(room) => format!("#{}", isolated(room)),
            Place::Dm(user) => match self.names.get(user) {
                Some(name) => format!("{} ({user})", isolated(name)),
                None => format!("user {user}"),
            },
        }
    }

    pub fn note(&mut self, text: String) {
        self.lines.push(format!("-- {text}"));
    }
}
