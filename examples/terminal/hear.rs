//! What the server says: answers, messages, and what has to be asked for after a cut.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Asked, Chat, History, PAGE};
use crate::{
    common::plain::isolated,
    outbox::Letter,
    talks::{Place, Talk},
};

impl Chat {
    pub fn hear(&mut self, frame: &Value) {
        let data = &frame["data"];
        match frame["type"].as_str() {
            Some("message" | "dm") => self.arrive(data),
            Some("welcome") => self.welcome(data),
            Some("resume_ack") => self.resumed(data),
            Some("error") => self.refused(frame),
            _ => self.answered(frame),
        }
        self.pump();
    }

    fn welcome(&mut self, data: &Value) {
        self.me = data["userId"].as_u64().unwrap_or_default();
        self.epoch = data["epoch"].as_str().map(str::to_owned);
        self.cursor = self.cursor.max(data["lastId"].as_u64().unwrap_or_default());
        let name = isolated(data["username"].as_str().unwrap_or("?"));
        self.note(format!(
            "connected as {name} (user {}); /help lists the commands",
            self.me
        ));
        self.open = true;
        let rooms: Vec<String> = self.rooms().map(str::to_owned).collect();
        for room in rooms {
            self.ask_join(room);
        }
    }

    fn resumed(&mut self, data: &Value) {
        self.open = true;
        self.note("connected again".to_owned());
        for refusal in data["refused"].as_array().into_iter().flatten() {
            let room = refusal["room"].as_str().unwrap_or_default();
            self.talks.remove(&Place::Room(room.to_owned()));
            let code = refusal["code"].as_str().unwrap_or_default();
            self.note(format!("#{}: {}", isolated(room), isolated(code)));
        }
        if data["complete"] != true {
            let new_log = self.epoch.as_deref() != data["epoch"].as_str();
            if new_log {
                self.note(
                    "this is another log than before: what was said anew begins here".to_owned(),
                );
                self.epoch = data["epoch"].as_str().map(str::to_owned);
            }
            self.lost_since = (!new_log).then_some(self.cursor);
            self.cursor = data["lastId"].as_u64().unwrap_or_default();
            self.talks
                .values_mut()
                .for_each(if new_log { Talk::forget } else { Talk::torn });
        }
        let torn = self.talks.iter().filter(|(_, talk)| !talk.whole);
        for place in torn.map(|(place, _)| place.clone()).collect::<Vec<_>>() {
            self.catch_up(place);
        }
    }

    /// Asks for what is missing in a conversation: after what is known, or the newest.
    pub(super) fn catch_up(&mut self, place: Place) {
        let after = self.talks.get(&place).and_then(Talk::after);
        match after {
            Some(id) => self.ask_history(place, History::Missed, json!({ "after": id })),
            None => self.ask_history(place, History::Newest, json!({ "limit": PAGE })),
        }
    }

    fn arrive(&mut self, message: &Value) {
        let Some(place) = Place::of(message, self.me) else {
            return;
        };
        self.cursor = self.cursor.max(message["id"].as_u64().unwrap_or_default());
        let known = self.talks.contains_key(&place);
        if !known && matches!(place, Place::Room(_)) {
            return; // one that was left
        }
        // The first DM of somebody: what lies before it is asked for by /history.
        let talk = self.talks.entry(place.clone()).or_default();
        talk.whole |= !known;
        let new = talk.live(message);
        if message["fromUser"] == self.me {
            self.outbox.saw(&message["nonce"]);
        }
        if let Some(message) = new {
            self.deliver(&place, message);
        }
    }

    /// Shows a message, or keeps it where nobody looks. DMs are always shown.
    fn deliver(&mut self, place: &Place, message: Value) {
        if *place == self.current || matches!(place, Place::Dm(_)) {
            return self.show(place, &message);
        }
        let theirs = message["fromUser"] != self.me;
        let Some(talk) = self.talks.get_mut(place) else {
            return;
        };
        talk.keep_unread(message);
        let count = talk.unread.len();
        if let Place::Room(room) = place
            && theirs
            && count.is_power_of_two()
        {
            self.note(format!("#{}: {count} unread", isolated(room)));
        }
    }

    fn answered(&mut self, frame: &Value) {
        let Some(asked) = frame["ref"]
            .as_u64()
            .and_then(|number| self.asked.remove(&number))
        else {
            return;
        };
        match asked {
            Asked::Join(room) => self.catch_up(Place::Room(room)),
            Asked::History(place, kind) => self.read(place, kind, frame),
            Asked::Send => self.stored(&frame["data"]),
            Asked::Leave => {}
        }
    }

    fn read(&mut self, place: Place, kind: History, frame: &Value) {
        let messages = frame["data"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        let more = frame["hasMore"] == true;
        if kind == History::Earlier {
            return self.read_back(&place, messages, more);
        }
        if kind == History::Newest && place == self.current {
            let name = self.name_of(&place);
            let how_many = if messages.is_empty() {
                "nothing was said yet"
            } else {
                "the last messages"
            };
            self.note(format!("{name}: {how_many}"));
        }
        for message in messages {
            let new = self
                .talks
                .get_mut(&place)
                .and_then(|talk| talk.take(message));
            if let Some(message) = new {
                self.deliver(&place, message);
            }
        }
        if kind == History::Missed && more && !messages.is_empty() {
            return self.catch_up(place);
        }
        let early = self.talks.get_mut(&place).map(Talk::made_whole);
        for message in early.into_iter().flatten() {
            self.deliver(&place, message);
        }
    }

    /// What the user asked to see, whatever was shown before.
    fn read_back(&mut self, place: &Place, messages: &[Value], more: bool) {
        let name = self.name_of(place);
        if messages.is_empty() {
            return self.note(format!("nothing before that in {name}"));
        }
        self.note(format!("earlier in {name}"));
        for message in messages {
            self.show(place, message);
        }
        let rest = if more {
            "more: /history"
        } else {
            "that was the beginning"
        };
        self.note(rest.to_owned());
    }

    fn stored(&mut self, receipt: &Value) {
        let Some(Letter {
            number,
            place,
            text,
            shown,
            ..
        }) = self.outbox.settle()
        else {
            return;
        };
        if let (Place::Dm(_), false, Some(id)) = (&place, shown, receipt["id"].as_u64()) {
            self.talks.entry(place.clone()).or_default().receipt(id);
            let message = json!({ "id": id, "fromUser": self.me, "username": "you", "content": text, "timestamp": receipt["timestamp"] });
            self.show(&place, &message);
        }
        if matches!(place, Place::Room(_)) && self.talks.contains_key(&place) {
            self.echo = receipt["id"].as_u64().unwrap_or_default();
        }
        self.note(format!("[{number}] stored"));
    }

    fn refused(&mut self, frame: &Value) {
        let why = isolated(frame["message"].as_str().unwrap_or_default());
        if frame["ref"] == 0 {
            // No resume, so it was a room that nobody can join: the ones that were never entered are given up.
            let before = self.talks.len();
            self.talks.retain(|_, talk| talk.after().is_some());
            if self.talks.len() < before {
                self.connected();
            }
        }
        let asked = frame["ref"]
            .as_u64()
            .and_then(|number| self.asked.remove(&number));
        match asked {
            Some(Asked::Send) => match frame["data"]["retryAfterMs"].as_u64() {
                Some(wait) => self.outbox.put_back(Duration::from_millis(wait)),
                None => {
                    let letter = self.outbox.settle();
                    let number = letter.map(|letter| letter.number).unwrap_or_default();
                    self.note(format!("[{number}] failed: {why}"));
                }
            },
            Some(Asked::Join(room)) => {
                self.talks.remove(&Place::Room(room.clone()));
                self.note(format!("#{} cannot be joined: {why}", isolated(&room)));
            }
            Some(Asked::History(place, kind)) => {
                if let Some(talk) = self
                    .talks
                    .get_mut(&place)
                    .filter(|_| kind != History::Earlier)
                {
                    talk.whole = true;
                }
                self.note(format!("no history: {why}"));
            }
            Some(Asked::Leave) | None => self.note(why),
        }
    }
}
