//! What was seen: only what is stored, as it is stored, in order, by those it is meant for, and in time.

use std::collections::{HashMap, HashSet, VecDeque};

use super::{
    Facts, Verdict, must, sends,
    trace::{Event, Frame, Reply, Request, Row, Where, origin_of},
    who,
};

/// Whatever anybody saw is stored as it was seen; what was refused is not stored.
pub(super) fn phantom(case: &Facts<'_>) -> Verdict {
    for trace in &case.traces {
        let era = case.era(trace);
        for seen in trace.rows() {
            let stored = era.row(seen.id);
            // A name is the one its bearer has at that moment.
            let is_it = stored.is_some_and(|row| {
                row.seq == seen.seq
                    && row.from == seen.from
                    && row.place == seen.place
                    && row.content == seen.content
                    && row.timestamp == seen.timestamp
                    && row.nonce == seen.nonce
            });
            must(is_it, || {
                format!("{} saw {seen:?}, stored is {stored:?}", who(trace))
            })?;
        }
    }
    let refused = sends::refused(case);
    for (number, era) in case.eras.iter().enumerate() {
        for row in &era.rows[era.inherited..] {
            let key = (number, row.from, &*row.content, &row.place);
            must(!refused.contains(&key), || {
                format!("{row:?} was refused and is stored")
            })?;
        }
    }
    Ok(())
}

/// In each conversation `seq` is 1 … n; ids grow, in the log, over the frames of each connection, and over the
/// acknowledgements of what it sent.
pub(super) fn order(case: &Facts<'_>) -> Verdict {
    for era in &case.eras {
        let mut positions: HashMap<Where, i64> = HashMap::new();
        let mut pairs: HashMap<(i64, i64), i64> = HashMap::new();
        let mut last = 0;
        for row in &era.rows {
            let position = match &row.place {
                Where::Dm(to) => {
                    let pair = (row.from.min(*to), row.from.max(*to));
                    pairs.entry(pair).or_default()
                }
                room => positions.entry(room.clone()).or_default(),
            };
            *position += 1;
            must(row.seq == *position, || {
                format!("{row:?} should be number {position}")
            })?;
            must(row.id > last, || format!("{row:?} comes after {last}"))?;
            last = row.id;
        }
    }
    for trace in &case.traces {
        let (mut last_seen, mut last_acked) = (0, 0);
        for (_, event) in &trace.events {
            match event {
                Event::Heard(Frame::Live(row)) => {
                    must(row.id > last_seen, || {
                        format!("{} saw {} after {last_seen}", who(trace), row.id)
                    })?;
                    last_seen = row.id;
                }
                Event::Heard(Frame::Reply {
                    reply: Reply::Sent(sent),
                    ..
                }) if !sent.duplicate => {
                    must(sent.id > last_acked, || {
                        format!("{} was told of {} after {last_acked}", who(trace), sent.id)
                    })?;
                    last_acked = sent.id;
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// A room's message comes only to whoever asked for the room and has not left it, a DM only to its two users, and a
/// content nowhere but in a message.
pub(super) fn leak(case: &Facts<'_>) -> Verdict {
    for trace in &case.traces {
        let mut rooms = Rooms::default();
        for (_, event) in &trace.events {
            rooms.step(event);
            let row = match event {
                Event::Heard(Frame::Live(row)) => row,
                Event::Heard(Frame::Reply { reply, leak, .. }) => {
                    let leak = leak.as_deref().unwrap_or_default();
                    must(leak.is_empty(), || format!("{} got {leak}", who(trace)))?;
                    if let Reply::History { rows, place, .. } = reply {
                        may_read(rows, trace.user, place)
                            .map_err(|what| format!("{} read {what}", who(trace)))?;
                    }
                    continue;
                }
                _ => continue,
            };
            let may = match &row.place {
                Where::Room(room) => rooms.may_come(room),
                Where::Dm(_) => row.is_dm_of(trace.user),
            };
            must(may, || format!("{} got {row:?}", who(trace)))?;
        }
    }
    Ok(())
}

/// The rooms of which messages may come: those that were joined, and those that are about to be.
#[derive(Default)]
struct Rooms<'a> {
    joined: HashSet<&'a str>,
    asked: HashMap<i64, Vec<&'a str>>,
}

impl<'a> Rooms<'a> {
    fn step(&mut self, event: &'a Event) {
        match event {
            Event::Said(reference, Request::Join(room)) => {
                self.asked.insert(*reference, vec![room]);
            }
            Event::Said(reference, Request::Resume { rooms, .. }) => {
                let rooms = rooms.iter().map(String::as_str).collect();
                self.asked.insert(*reference, rooms);
            }
            Event::Heard(Frame::Reply {
                reference, reply, ..
            }) => {
                self.asked.remove(&reference.unwrap_or_default());
                match reply {
                    Reply::Joined { room, .. } => drop(self.joined.insert(room)),
                    Reply::Resumed(resumed) => {
                        self.joined.extend(resumed.rooms.iter().map(String::as_str));
                    }
                    Reply::Left(room) => drop(self.joined.remove(&**room)),
                    _ => {}
                }
            }
            _ => {}
        }
    }

    fn may_come(&self, room: &str) -> bool {
        self.joined.contains(room) || self.asked.values().flatten().any(|asked| *asked == room)
    }
}

fn may_read(rows: &[Row], reader: i64, place: &Where) -> Verdict {
    for row in rows {
        let is_meant = match origin_of(&row.content) {
            Some((from, Where::Dm(to), _)) => [from, to].contains(&reader),
            _ => true,
        };
        must(row.is_in(reader, place) && is_meant, || format!("{row:?}"))?;
    }
    Ok(())
}

/// Whoever a message is said to be from has said it, there; and bears that name.
pub(super) fn ident(case: &Facts<'_>) -> Verdict {
    let said: HashSet<(i64, &str, &Where)> = case
        .attempts
        .iter()
        .map(|attempt| (attempt.trace.user, attempt.content, attempt.place))
        .collect();
    for row in case.eras.iter().flat_map(|era| &era.rows) {
        let origin = origin_of(&row.content);
        let is_theirs = origin
            .is_some_and(|(from, place, _)| (from, &place) == (row.from, &row.place))
            && said.contains(&(row.from, &*row.content, &row.place));
        must(is_theirs, || format!("nobody but another said {row:?}"))?;
    }
    // Whatever else was seen is stored as it was seen, or a phantom.
    for row in case.traces.iter().flat_map(|trace| trace.rows()) {
        let name = row.username.strip_prefix("user");
        let is_own = name.and_then(|id| id.parse().ok()) == Some(row.from);
        must(is_own, || format!("{row:?} bears another's name"))?;
    }
    for trace in &case.traces {
        for (_, answered) in trace.answers() {
            if let Reply::Welcome { user, .. } = answered.reply {
                must(*user == trace.user, || {
                    format!("{} was called {user}", who(trace))
                })?;
            }
        }
    }
    Ok(())
}

/// Every request of a connection that lives is answered once, in the order in which they were made, and nothing was
/// waited for in vain. A send of which nobody knows what came of it has no answer but the end: nothing behind it has one,
/// or whoever counts answers instead of reading references would take that for its own.
pub(super) fn live(case: &Facts<'_>) -> Verdict {
    for trace in &case.traces {
        let mut waiting = VecDeque::new();
        for (_, event) in &trace.events {
            match event {
                Event::Said(reference, request) => waiting.push_back((*reference, request)),
                Event::Heard(Frame::Reply {
                    reference, reply, ..
                }) => {
                    let next = waiting.pop_front();
                    let is_next = next.is_some_and(|(next, request)| {
                        Some(next) == *reference && answers(request, reply)
                    });
                    must(is_next, || {
                        let me = who(trace);
                        format!("{me} got {reply:?} for {reference:?}, where {next:?} was next")
                    })?;
                }
                Event::Stuck(what) => {
                    return Err(format!("{} waited in vain for {what}", who(trace)));
                }
                _ => {}
            }
        }
        let is_due = case.healed && trace.is_open();
        must(!is_due || waiting.is_empty(), || {
            format!("{} got no answer to {waiting:?}", who(trace))
        })?;
    }
    Ok(())
}

fn answers(request: &Request, reply: &Reply) -> bool {
    match (request, reply) {
        (_, Reply::Error(_))
        | (Request::Hello, Reply::Welcome { .. })
        | (Request::Ping, Reply::Pong)
        | (Request::Auth(_), Reply::AuthAck)
        | (Request::Send { .. }, Reply::Sent(_))
        | (Request::History { .. }, Reply::History { .. })
        | (Request::Resume { .. }, Reply::Resumed(_)) => true,
        (Request::Join(room), Reply::Joined { room: told, .. })
        | (Request::Leave(room), Reply::Left(told)) => room == told,
        _ => false,
    }
}
