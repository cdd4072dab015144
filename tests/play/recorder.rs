//! A client on a real socket whose every word is kept for the oracle.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
};

use super::{
    link::{Heard, Link as _},
    socket::Socket,
};
use crate::{
    common::soon,
    oracle::{
        Case, Era, report,
        trace::{Event, Frame, Reply, Request, Resumed, Row, Sent, Trace, Where},
        violations,
    },
};

/// What came first, over all connections of a test.
#[derive(Clone, Debug, Default)]
pub struct Stamps(Arc<AtomicU64>);

/// One connection.
#[derive(Debug)]
pub struct Recorder {
    socket: Socket,
    pub trace: Trace,
    stamps: Stamps,
    asked: i64,
}

impl Recorder {
    /// Connects at `now`, and says hello.
    pub async fn connect(address: SocketAddr, user: i64, now: i64, stamps: &Stamps) -> Self {
        let mut recorder = Self::silent(address, user, now, stamps).await;
        recorder.ask(Request::Hello).await;
        recorder
    }

    /// Connects and says nothing.
    pub async fn silent(address: SocketAddr, user: i64, now: i64, stamps: &Stamps) -> Self {
        Self {
            socket: Socket::connect(address, user, now).await,
            trace: Trace {
                user,
                era: 0,
                events: Vec::new(),
            },
            stamps: stamps.clone(),
            asked: 0,
        }
    }

    fn note(&mut self, event: Event) {
        let stamp = self.stamps.0.fetch_add(1, SeqCst);
        self.trace.events.push((stamp, event));
    }

    /// Asks and does not wait; the `ref`.
    pub async fn say(&mut self, request: Request) -> i64 {
        self.asked += 1;
        let text = request.encode(self.asked);
        self.note(Event::Said(self.asked, request));
        self.socket.say(text).await;
        self.asked
    }

    /// What comes next; may be dropped half-way.
    pub async fn hear(&mut self) -> Frame {
        match self.socket.next().await {
            Heard::Frame(text) => {
                let frame = Frame::parse(&text);
                self.note(Event::Heard(frame.clone()));
                frame
            }
            Heard::Closed(code) => {
                self.note(Event::Closed(code));
                panic!("user {} was closed with {code:?}", self.trace.user);
            }
        }
    }

    /// The answer to the request with this `ref`, behind whatever comes before it.
    pub async fn answer_to(&mut self, asked: i64) -> Reply {
        loop {
            if let Frame::Reply {
                reference: Some(reference),
                reply,
                ..
            } = soon("an answer", self.hear()).await
                && reference == asked
            {
                return reply;
            }
        }
    }

    pub async fn ask(&mut self, request: Request) -> Reply {
        let asked = self.say(request).await;
        self.answer_to(asked).await
    }

    /// Joins; what the room's newest message is: its id and number.
    pub async fn join(&mut self, room: &str) -> (i64, i64) {
        match self.ask(Request::Join(room.into())).await {
            Reply::Joined {
                last_id, last_seq, ..
            } => (last_id, last_seq),
            other => panic!("{other:?} as the answer to a join"),
        }
    }

    pub async fn send(&mut self, request: Request) -> Sent {
        match self.ask(request).await {
            Reply::Sent(sent) => sent,
            other => panic!("{other:?} as the answer to a send"),
        }
    }

    pub async fn resume(&mut self, after: i64, rooms: &[&str], epoch: Option<&str>) -> Resumed {
        let request = resume(after, rooms, epoch);
        match self.ask(request).await {
            Reply::Resumed(resumed) => resumed,
            other => panic!("{other:?} as the answer to a resume"),
        }
    }

    /// The next message.
    pub async fn next_live(&mut self) -> Row {
        loop {
            if let Frame::Live(row) = soon("a message", self.hear()).await {
                return row;
            }
        }
    }

    /// The ids of all messages so far.
    pub fn seen(&self) -> Vec<i64> {
        let live = |(_, event): &(u64, Event)| match event {
            Event::Heard(Frame::Live(row)) => Some(row.id),
            _ => None,
        };
        self.trace.events.iter().filter_map(live).collect()
    }

    /// Goes without a word; what is left is the record.
    pub fn cut(mut self) -> Trace {
        self.note(Event::Cut);
        self.trace
    }
}

/// A send that the oracle can place: number `number` of all, under a nonce of its own.
pub fn numbered(from: i64, place: Where, number: usize) -> Request {
    Request::Send {
        content: crate::oracle::trace::canary(from, &place, number, 0),
        place,
        nonce: Some(format!("nonce {number}")),
    }
}

pub fn room(name: &str) -> Where {
    Where::Room(name.into())
}

pub fn resume(after: i64, rooms: &[&str], epoch: Option<&str>) -> Request {
    Request::Resume {
        after,
        rooms: rooms.iter().map(|&room| room.to_owned()).collect(),
        epoch: epoch.map(str::to_owned),
    }
}

/// Fails with the oracle's sentences if what was recorded breaks a law.
pub fn judge(traces: Vec<Trace>, (epoch, rows): (String, Vec<Row>), resume_limit: usize) {
    let case = Case {
        traces,
        eras: vec![Era {
            epoch,
            rows,
            inherited: 0,
        }],
        resume_limit,
        healed: false,
    };
    let violations = violations(&case);
    if !violations.is_empty() {
        let report = report::report(&case, &violations);
        let shown: String = report.chars().take(20_000).collect();
        panic!("{shown}");
    }
}
