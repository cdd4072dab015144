//! Between the place where it began to listen and the newest message that it saw, a connection has seen everything.
//!
//! One walk over a trace keeps, for each room and for the DMs, from where on everything must come. A subscription ends
//! when it is left or told otherwise; then everything up to what the connection had seen by then is due.

use std::collections::{BTreeSet, HashMap};

use super::{
    Era, Facts, Verdict, must,
    trace::{Event, Frame, Reply, Request, Resumed, Row, Trace, Where},
    who,
};

pub(super) fn gap(case: &Facts<'_>) -> Verdict {
    for trace in &case.traces {
        let mut walk = Walk::new(case.era(trace), trace);
        for (_, event) in &trace.events {
            walk.step(event)
                .map_err(|what| format!("{}: {what}", who(trace)))?;
        }
        // Who is still there when all is mended has everything; who is not, what came before the newest it saw.
        if case.healed && trace.is_open() {
            walk.newest = walk.era.last_id();
        }
        walk.end()
            .map_err(|what| format!("{}: {what}", who(trace)))?;
    }
    Ok(())
}

/// What a connection that is open has yet to see of the log as it is in `era`.
pub fn missing(era: &Era, trace: &Trace) -> Option<String> {
    let mut walk = Walk::new(era, trace);
    for (_, event) in &trace.events {
        // What is wrong already will not come any more, and is judged in the end.
        if walk.step(event).is_err() {
            return None;
        }
    }
    walk.newest = era.last_id();
    walk.end().err()
}

struct Walk<'a> {
    era: &'a Era,
    user: i64,
    /// Sent on this connection: content to whether it was acknowledged as new.
    own: HashMap<&'a str, Own>,
    asked: HashMap<i64, &'a Request>,
    /// From where on each room's messages are due.
    rooms: HashMap<&'a str, i64>,
    /// From where on DMs are due, once that is known.
    dms: Option<i64>,
    /// Own DMs are due in these spans.
    replays: Vec<(i64, i64)>,
    /// Ids of the messages that came live.
    seen: BTreeSet<i64>,
    newest: i64,
}

#[derive(Clone, Copy, PartialEq)]
enum Own {
    /// This connection is the one it came from.
    Stored,
    /// It may be.
    Perhaps,
}

impl<'a> Walk<'a> {
    fn new(era: &'a Era, trace: &'a Trace) -> Self {
        let mut own = HashMap::new();
        for (_, event) in &trace.events {
            if let Event::Said(_, Request::Send { content, .. }) = event {
                own.insert(content.as_str(), Own::Perhaps);
            }
        }
        for (_, answered) in trace.answers() {
            if let (Request::Send { content, .. }, Reply::Sent(sent)) =
                (answered.asked.1, answered.reply)
                && !sent.duplicate
            {
                own.insert(content, Own::Stored);
            }
        }
        Self {
            era,
            user: trace.user,
            own,
            asked: HashMap::new(),
            rooms: HashMap::new(),
            dms: None,
            replays: Vec::new(),
            seen: BTreeSet::new(),
            newest: 0,
        }
    }

    fn step(&mut self, event: &'a Event) -> Verdict {
        match event {
            Event::Said(reference, request) => drop(self.asked.insert(*reference, request)),
            Event::Heard(Frame::Live(row)) => {
                self.seen.insert(row.id);
                self.newest = self.newest.max(row.id);
                return self.is_due(row);
            }
            Event::Heard(Frame::Reply {
                reference: Some(reference),
                reply,
                ..
            }) => match (self.asked.get(reference).copied(), reply) {
                (
                    _,
                    Reply::Joined {
                        room,
                        last_id,
                        last_seq,
                    },
                ) => {
                    return self.joined(room, *last_id, *last_seq);
                }
                (_, Reply::Left(room)) => {
                    if let Some(from) = self.rooms.remove(&**room) {
                        return self.room_is_whole(room, from);
                    }
                }
                (_, Reply::Welcome { last_id, .. }) => drop(self.dms.get_or_insert(*last_id)),
                (Some(Request::Resume { after, .. }), Reply::Resumed(resumed)) => {
                    return self.resumed(*after, resumed);
                }
                _ => {}
            },
            _ => {}
        }
        Ok(())
    }

    /// A message that came live is one that was to come.
    fn is_due(&self, row: &Row) -> Verdict {
        match &row.place {
            Where::Room(room) => must(
                self.rooms.get(&**room).is_none_or(|from| row.id > *from),
                || format!("{} came, from before the room was joined", row.id),
            ),
            Where::Dm(_) => {
                let is_own = self.own.get(&*row.content) == Some(&Own::Stored);
                must(!is_own || self.is_replayed(row.id), || {
                    format!("{} came back to where it was sent", row.id)
                })
            }
        }
    }

    fn is_replayed(&self, id: i64) -> bool {
        self.replays
            .iter()
            .any(|&(after, until)| id > after && id <= until)
    }

    fn joined(&mut self, room: &'a str, last_id: i64, last_seq: i64) -> Verdict {
        let told = self.era.row(last_id).map_or(0, |row| row.seq);
        let is_last = told == last_seq
            && (last_id == 0
                || self
                    .era
                    .row(last_id)
                    .is_some_and(|row| row.place == Where::Room(room.into())));
        must(is_last, || {
            format!("{room} is said to end with {last_id}, number {last_seq}")
        })?;
        // Joining twice is joining once.
        self.rooms.entry(room).or_insert(last_id);
        // What came before the answer is part of what comes after the position in it.
        let from = self.rooms[room];
        self.room_is_whole(room, from)
    }

    fn resumed(&mut self, after: i64, resumed: &'a Resumed) -> Verdict {
        // What was due by now of what this moves has come; nothing else is moved.
        self.dms_are_whole()?;
        for room in &resumed.rooms {
            if let Some(from) = self.rooms.get(&**room) {
                self.room_is_whole(room, *from)?;
            }
        }
        let position = match resumed.complete {
            true => after,
            false => resumed.last_id,
        };
        let listed = resumed.rooms.iter().map(|room| (&**room, position));
        self.rooms.extend(listed);
        self.dms = Some(position);
        if resumed.complete {
            self.replays.push((after, resumed.last_id));
        }
        Ok(())
    }

    fn room_is_whole(&self, room: &str, from: i64) -> Verdict {
        for row in self.era.between(from, self.newest) {
            let is_here = matches!(&row.place, Where::Room(said_in) if said_in == room);
            must(!is_here || self.has_seen(row.id), || {
                format!(
                    "{} of {room} did not come, but {} did; {from} was the start",
                    row.id, self.newest
                )
            })?;
        }
        Ok(())
    }

    fn has_seen(&self, id: i64) -> bool {
        self.seen.contains(&id)
    }

    /// Everything that is due by now has come.
    fn end(&self) -> Verdict {
        for (room, from) in &self.rooms {
            self.room_is_whole(room, *from)?;
        }
        self.dms_are_whole()
    }

    fn dms_are_whole(&self) -> Verdict {
        let Some(from) = self.dms else {
            return Ok(());
        };
        for row in self.era.between(from, self.newest) {
            let is_due = row.is_dm_of(self.user)
                && (self.is_replayed(row.id) || !self.own.contains_key(&*row.content));
            must(!is_due || self.has_seen(row.id), || {
                format!(
                    "the DM {} did not come, but {} did; {from} was the start",
                    row.id, self.newest
                )
            })?;
        }
        Ok(())
    }
}
