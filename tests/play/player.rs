//! Plays a script in a world, at whatever level, and remembers everything for the oracle.
//!
//! Nothing is waited for by time: a step is said, and what comes is read whenever it is there. In the end everything is
//! mended, everybody comes back, and each waits for what it has yet to see; then everybody resumes once more.

use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::time::timeout;

use super::{
    actor::Actor,
    link::{Change, Ending, Fault, Heard, Link, World},
    script::{Again, Cursor, DEVICES, Device, Kind, Op, ROOMS, Span, Target},
    transcript::Transcript,
};
use crate::oracle::{
    Case, Era, gap,
    trace::{Event, Frame, Part, Reply, Request, Trace, Where, canary},
};

/// A device, and the connection that it has now.
struct Seat<L> {
    actor: Actor,
    open: Option<Open<L>>,
    stalled: bool,
}

struct Open<L> {
    link: L,
    trace: usize,
    asked: i64,
}

/// Everybody who plays, and all that was seen.
pub struct Player<W: World> {
    pub(super) world: W,
    seats: Vec<Seat<W::Link>>,
    traces: Vec<Trace>,
    eras: Vec<Era>,
    stamp: u64,
    sends: usize,
    newest: Vec<Option<Request>>,
    held: bool,
    resume_limit: usize,
    /// What was heard, letter by letter, where that is wanted.
    pub(super) transcript: Option<Transcript>,
}

/// How long a content is: usually a line, in a flood much of an outbox.
const LINE_BYTES: usize = 30;
const FLOOD_BYTES: usize = 300;

impl<W: World> Player<W> {
    pub async fn new(mut world: W, resume_limit: usize) -> Self {
        let (epoch, rows) = world.log().await;
        let inherited = rows.len();
        let seats = DEVICES.map(|user| Seat {
            actor: Actor::new(user),
            open: None,
            stalled: false,
        });
        Self {
            world,
            seats: seats.into(),
            traces: Vec::new(),
            eras: vec![Era {
                epoch,
                rows,
                inherited,
            }],
            stamp: 0,
            sends: 0,
            newest: DEVICES.map(|_| None).into(),
            held: false,
            resume_limit,
            transcript: None,
        }
    }

    /// Plays `ops`, mends everything, and hands over what there is to judge.
    pub async fn play(mut self, ops: &[Op]) -> (Case, W) {
        for device in 0..DEVICES.len() {
            self.connect(device, true).await;
            self.say(device, Request::Join(ROOMS[0].into())).await;
        }
        for op in ops {
            self.step(op).await;
            self.read_all().await;
        }
        self.heal().await;
        let case = self.case();
        (case, self.world)
    }

    /// What there is to judge.
    pub(super) fn case(&mut self) -> Case {
        Case {
            traces: std::mem::take(&mut self.traces),
            eras: std::mem::take(&mut self.eras),
            resume_limit: self.resume_limit,
            healed: true,
        }
    }

    pub(super) async fn step(&mut self, op: &Op) {
        match *op {
            Op::Connect(device) => self.connect(device, true).await,
            Op::ConnectSilently(device) => self.connect(device, false).await,
            Op::Cut(device) => self.cut(device),
            Op::Join(device, room) => self.say(device, Request::Join(ROOMS[room].into())).await,
            Op::Leave(device, room) => self.say(device, Request::Leave(ROOMS[room].into())).await,
            Op::Say(device, target, kind) => self.send(device, target, kind).await,
            Op::Flood(device, target, count) => {
                for _ in 0..count {
                    let request = self.new_send(device, target.place(), true, FLOOD_BYTES);
                    self.say(device, request).await;
                }
            }
            Op::Repeat(device, again) => self.repeat(device, again).await,
            Op::History(device, target, span, limit) => {
                self.history(device, target, span, limit).await;
            }
            Op::Stall(device, on) => self.seats[device].stalled = on,
            Op::Sip(device, frames) => {
                for _ in 0..frames {
                    self.read_one(device).await;
                }
            }
            Op::Resume(device, cursor) => self.resume(device, cursor).await,
            Op::Settle(device) => self.settle(device).await,
            Op::Turns(turns) => self.world.turns(turns).await,
            Op::Disk(fault) => {
                if self.world.fault(fault)
                    && let Fault::Held(is_held) = fault
                {
                    self.held = is_held;
                }
            }
            Op::Backup => self.world.back_up().await,
            Op::Restart(ending, change) => self.restart(ending, change).await,
            Op::Clock { forward } => self.world.shift_clock(HOUR, forward),
            Op::Wait => self.wait().await,
            Op::Expire => {
                self.world.shift_clock(HOUR, true);
                self.wait().await;
                self.world.shift_clock(HOUR, false);
            }
        }
    }

    async fn wait(&mut self) {
        self.world.pass(Duration::from_secs(26)).await;
        self.world.turns(8).await;
        self.read_all().await;
    }

    pub(super) async fn connect(&mut self, device: Device, greets: bool) {
        let Seat { actor, open, .. } = &mut self.seats[device];
        if open.is_some() {
            return;
        }
        let link = self.world.connect(actor.user).await;
        let greeting = actor.greeting();
        let trace = self.traces.len();
        self.traces.push(Trace {
            user: actor.user,
            era: self.eras.len() - 1,
            events: Vec::new(),
        });
        *open = Some(Open {
            link,
            trace,
            asked: 0,
        });
        if greets {
            for request in greeting {
                self.say(device, request).await;
            }
        }
    }

    fn cut(&mut self, device: Device) {
        if self.seats[device].open.is_some() {
            self.note(device, Event::Cut);
            self.seats[device].open = None;
        }
    }

    fn note(&mut self, device: Device, event: Event) {
        self.stamp += 1;
        if let Some(open) = &self.seats[device].open {
            self.traces[open.trace].events.push((self.stamp, event));
        }
    }

    pub(super) async fn say(&mut self, device: Device, request: Request) {
        let Seat { actor, open, .. } = &mut self.seats[device];
        let Some(open) = open else { return };
        open.asked += 1;
        let reference = open.asked;
        actor.said(reference, &request);
        let text = request.encode(reference);
        self.note(device, Event::Said(reference, request));
        if let Some(open) = &mut self.seats[device].open {
            open.link.say(text).await;
        }
    }

    async fn hear(&mut self, device: Device, heard: Heard) {
        if let (Some(open), Some(transcript)) = (&self.seats[device].open, &mut self.transcript) {
            transcript.heard(open.trace, &heard);
        }
        match heard {
            Heard::Frame(text) => {
                let frame = Frame::parse(&text);
                let requests = self.seats[device].actor.hear(&frame);
                self.note(device, Event::Heard(frame));
                for request in requests {
                    self.say(device, request).await;
                }
            }
            Heard::Closed(code) => {
                self.note(device, Event::Closed(code));
                self.seats[device].open = None;
            }
        }
    }

    /// Reads what is there. Whether there was anything.
    async fn read_one(&mut self, device: Device) -> bool {
        let Some(open) = &mut self.seats[device].open else {
            return false;
        };
        let Some(heard) = open.link.next().now_or_never() else {
            return false;
        };
        self.hear(device, heard).await;
        true
    }

    async fn read_all(&mut self) {
        for device in 0..self.seats.len() {
            while !self.seats[device].stalled && self.read_one(device).await {}
        }
    }

    /// Waits for the next frame of a connection that is open; whether one came in time.
    async fn read_next(&mut self, device: Device, what: &str) -> bool {
        let patience = self.world.patience();
        let Some(open) = &mut self.seats[device].open else {
            return false;
        };
        match timeout(patience, open.link.next()).await {
            Ok(heard) => {
                self.hear(device, heard).await;
                true
            }
            Err(_) => {
                self.note(device, Event::Stuck(what.into()));
                self.cut(device);
                false
            }
        }
    }

    /// Everything that was asked so far is answered, or the connection has ended.
    async fn settle(&mut self, device: Device) {
        if self.held || self.seats[device].stalled {
            return;
        }
        self.say(device, Request::Ping).await;
        self.hear_answers(device).await;
    }

    async fn hear_answers(&mut self, device: Device) {
        while self.seats[device].open.is_some() && self.seats[device].actor.waits() {
            if !self.read_next(device, "an answer").await {
                return;
            }
        }
    }

    fn new_send(&mut self, device: Device, place: Where, nonce: bool, bytes: usize) -> Request {
        self.sends += 1;
        let request = Request::Send {
            content: canary(DEVICES[device], &place, self.sends, bytes),
            place,
            nonce: nonce.then(|| format!("nonce {}", self.sends)),
        };
        self.newest[device] = Some(request.clone());
        request
    }

    async fn send(&mut self, device: Device, target: Target, kind: Kind) {
        let place = match kind {
            Kind::ToNobody => Where::Dm(99),
            _ => target.place(),
        };
        let request = self.new_send(device, place, kind != Kind::WithoutNonce, LINE_BYTES);
        if kind == Kind::OnBoth {
            self.say(other_device(device), request.clone()).await;
            self.in_step().await;
        }
        self.say(device, request).await;
    }

    async fn repeat(&mut self, device: Device, again: Again) {
        let Some(Request::Send {
            place,
            mut content,
            nonce: Some(nonce),
        }) = self.newest[device].clone()
        else {
            return;
        };
        if again == Again::Changed {
            self.sends += 1;
            content = canary(DEVICES[device], &place, self.sends, LINE_BYTES);
        }
        let on = match again {
            Again::Elsewhere => other_device(device),
            Again::Same | Again::Changed => device,
        };
        let nonce = Some(nonce);
        let request = Request::Send {
            place,
            content,
            nonce,
        };
        self.say(on, request).await;
    }

    async fn history(&mut self, device: Device, target: Target, span: Span, limit: u32) {
        let cursor = self.seats[device].actor.cursor.unwrap_or(0);
        let part = match span {
            Span::Newest => Part::Newest,
            Span::Before(back) => Part::Before(self.back(cursor, back).max(1)),
            Span::After(back) => Part::After(self.back(cursor, back).max(0)),
        };
        let request = Request::History {
            place: target.place(),
            part,
            limit: Some(limit),
        };
        self.say(device, request).await;
    }

    /// So far before a cursor: so many ids, or, where ids of two worlds are compared, so many messages.
    fn back(&self, cursor: i64, by: u8) -> i64 {
        let Some(era) = self.eras.last().filter(|_| self.transcript.is_some()) else {
            return cursor - i64::from(by);
        };
        let until = era.between(0, cursor);
        let left = until.len().saturating_sub(usize::from(by));
        left.checked_sub(1).map_or(0, |at| until[at].id)
    }

    async fn resume(&mut self, device: Device, cursor: Cursor) {
        let actor = &self.seats[device].actor;
        let (mut after, mut epoch) = (actor.cursor.unwrap_or(0), actor.epoch.clone());
        let mut rooms: Vec<String> = actor.rooms.iter().cloned().collect();
        match cursor {
            Cursor::Here | Cursor::Twice => {}
            Cursor::Acked => after = after.max(actor.acked),
            Cursor::Behind => after = self.back(after, 3).max(0),
            Cursor::Zero => after = 0,
            Cursor::Ahead if self.transcript.is_some() => {
                after = 50 + self.eras.last().map_or(0, Era::last_id);
            }
            Cursor::Ahead => after += 50,
            Cursor::OtherEpoch => epoch = Some("another log".into()),
            Cursor::NoEpoch => epoch = None,
            Cursor::Refused => rooms.push(ROOMS[3].into()),
        }
        let request = Request::Resume {
            after,
            rooms,
            epoch,
        };
        if cursor == Cursor::Twice {
            self.say(device, request.clone()).await;
            self.in_step().await;
        }
        self.say(device, request).await;
    }

    /// Where it matters what comes first: goes on only when everybody has every answer and has seen everything.
    pub(super) async fn in_step(&mut self) {
        if self.transcript.is_some() {
            for device in 0..self.seats.len() {
                self.settle(device).await;
            }
            // What is not acknowledged is not stored.
            let acked = self.seats.iter().map(|seat| seat.actor.acked).max();
            match acked > self.eras.last().map(Era::last_id) {
                true => self.everybody_sees_everything().await,
                false => self.everybody_sees_what_is_known().await,
            }
        }
    }

    async fn restart(&mut self, ending: Ending, change: Change) {
        if ending == Ending::Stop {
            self.held = false;
        }
        self.world.end(ending).await;
        for device in 0..self.seats.len() {
            while self.seats[device].open.is_some() && !self.seats[device].stalled {
                self.read_next(device, "the end of the server").await;
            }
            self.cut(device);
        }
        let (_, rows) = self.world.log().await;
        self.eras.last_mut().expect("there is an era").rows = rows;
        self.world.change(change).await;
        let inherited = self.world.log().await.1.len();
        self.world.start().await;
        if change != Change::Keep {
            let (epoch, rows) = self.world.log().await;
            self.eras.push(Era {
                epoch,
                rows,
                inherited,
            });
        }
    }

    /// Nothing is wrong any more; everybody is there, has an answer to everything, and has seen everything. Twice, the
    /// second time after everybody has resumed.
    pub(super) async fn heal(&mut self) {
        self.world.mend();
        self.held = false;
        for seat in &mut self.seats {
            seat.stalled = false;
        }
        self.everybody_settles().await;
        // Tells what an earlier commit left untold.
        let last_word = self.new_send(3, Target::Room(0).place(), true, LINE_BYTES);
        self.say(3, last_word).await;
        self.settle(3).await;
        self.everybody_sees_everything().await;
        // Reading all of it takes a quarter of the time, so half of the scripts do.
        if self.sends.is_multiple_of(2) {
            self.read_histories().await;
        }
        for device in 0..self.seats.len() {
            self.cut(device);
        }
        for device in 0..self.seats.len() {
            self.connect(device, true).await;
        }
        for device in 0..self.seats.len() {
            self.hear_answers(device).await;
        }
        self.everybody_sees_everything().await;
        let rows = self.world.log().await.1;
        self.eras.last_mut().expect("there is an era").rows = rows;
    }

    /// One reconnect is enough for each cause; a client that needs more goes round in circles.
    async fn everybody_settles(&mut self) {
        const ATTEMPTS: usize = 4;
        for device in 0..self.seats.len() {
            for attempt in 1.. {
                self.connect(device, true).await;
                self.settle(device).await;
                if self.seats[device].open.is_some() {
                    break;
                }
                if attempt == ATTEMPTS {
                    self.connect(device, false).await;
                    self.note(device, Event::Stuck("a connection that lasts".into()));
                    break;
                }
            }
        }
    }

    async fn everybody_sees_everything(&mut self) {
        let rows = self.world.log().await.1;
        self.eras.last_mut().expect("there is an era").rows = rows;
        self.everybody_sees_what_is_known().await;
    }

    /// All that was stored when the log was last read.
    async fn everybody_sees_what_is_known(&mut self) {
        let last = self.eras.last().map_or(0, Era::last_id);
        if timeout(self.world.patience(), self.world.relayed(last))
            .await
            .is_err()
        {
            self.note(0, Event::Stuck(format!("the fan-out of {last}")));
        }
        for device in 0..self.seats.len() {
            while self.read_one(device).await {}
            while let Some(what) = self.missing(device) {
                if !self.read_next(device, &what).await {
                    break;
                }
                while self.read_one(device).await {}
            }
        }
    }

    fn missing(&self, device: Device) -> Option<String> {
        let open = self.seats[device].open.as_ref()?;
        gap::missing(self.eras.last()?, &self.traces[open.trace])
    }

    /// Every room, read by one, and every conversation, read by both, page by page.
    async fn read_histories(&mut self) {
        let rooms = ROOMS[..3].iter();
        let rooms = rooms.map(|room| Where::Room((*room).into()));
        for (device, of_rooms) in [(0, false), (2, true), (3, false)] {
            let pairs = [1, 2, 3].map(Where::Dm);
            let mut waiting: Vec<(Where, i64)> = pairs.into_iter().map(|pair| (pair, 0)).collect();
            if of_rooms {
                waiting.extend(rooms.clone().map(|room| (room, 0)));
            }
            while !waiting.is_empty() {
                waiting = self.read_pages(device, waiting).await;
            }
        }
    }

    /// Reads a page of each place, after a cursor; the places of which there is more, and from where on.
    async fn read_pages(&mut self, device: Device, places: Vec<(Where, i64)>) -> Vec<(Where, i64)> {
        let Some(open) = &self.seats[device].open else {
            return Vec::new();
        };
        let (trace, before) = (open.trace, self.traces[open.trace].events.len());
        for (place, after) in places {
            let request = Request::History {
                place,
                part: Part::After(after),
                limit: Some(40),
            };
            self.say(device, request).await;
        }
        self.settle(device).await;
        let more = |(_, event): &(u64, Event)| match event {
            Event::Heard(Frame::Reply {
                reply:
                    Reply::History {
                        place,
                        rows,
                        has_more: true,
                    },
                ..
            }) => Some((place.clone(), rows.last()?.id)),
            _ => None,
        };
        self.traces[trace].events[before..]
            .iter()
            .filter_map(more)
            .collect()
    }
}

const HOUR: Duration = Duration::from_secs(3600);

/// The other device of the same user, or the same where there is only one.
fn other_device(device: Device) -> Device {
    let others =
        (0..DEVICES.len()).find(|&other| other != device && DEVICES[other] == DEVICES[device]);
    others.unwrap_or(device)
}
