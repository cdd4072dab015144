//! One client in a storm: talks at its pace, comes back after each death, and remembers everything.
//!
//! Of one server, it waits for the next life. Of several, it goes to any that is there, and leaves one that cannot let it in.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::{
    net::{TcpSocket, TcpStream},
    sync::{mpsc, watch},
    time::{Instant, MissedTickBehavior, interval_at, timeout},
};
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};

use super::{Dice, News, Sky, Weather, times::Times};
use crate::{
    common::token,
    oracle::{
        Era, gap,
        trace::{Event, Frame, Reply, Request, Trace, Where, canary},
    },
    play::actor::Actor,
};

/// Instead of so many sends, a client once leaves without a word and comes back at once.
const CUT_ONE_IN: usize = 40;
/// Of so many sends one is sent twice at once; after so many, one that was acknowledged a while ago is sent once more;
/// and after so many, another text under the nonce of such a one.
const TWICE_ONE_IN: usize = 10;
const AGAIN_ONE_IN: usize = 10;
const CHANGED_ONE_IN: usize = 20;
/// How many acknowledged sends ago.
const REMEMBERED: usize = 8;
/// Receive buffer of those who do, in bytes.
const STALLING_BUFFER: u32 = 16 * 1024;
/// Longest time for which a client does not read.
const STALL_MS: u64 = 12_000;
const DM_ONE_IN: usize = 5;

/// Of several servers, the next one is tried after so many milliseconds, and another one if it has not answered in `GIVE_UP`.
const PAUSE_MS: (u64, u64) = (50, 300);
const GIVE_UP: Duration = Duration::from_secs(8);

pub struct Talker {
    actor: Actor,
    dice: Dice,
    rooms: Vec<String>,
    users: usize,
    weather: Weather,
    period: Duration,
    /// Stamps of events, and numbers of sends, of all clients together.
    stamps: Arc<AtomicU64>,
    sends: Arc<AtomicUsize>,
    answered: watch::Sender<u64>,
    tell: mpsc::UnboundedSender<News>,
    /// Sends that were acknowledged, the newest last.
    acked: VecDeque<Request>,
    is_in: bool,
    /// Of several servers: which it begins with, and what it measures.
    home: usize,
    times: Option<Arc<Times>>,
}

/// A connection and what happens on it.
struct Line {
    socket: WebSocketStream<TcpStream>,
    trace: Trace,
    asked: i64,
    node: usize,
    since: std::time::Instant,
    /// It was not let in, and leaves.
    is_refused: bool,
}

impl Talker {
    pub fn new(
        user: usize,
        weather: Weather,
        (stamps, sends): (Arc<AtomicU64>, Arc<AtomicUsize>),
        answered: watch::Sender<u64>,
        tell: mpsc::UnboundedSender<News>,
    ) -> Self {
        let rooms = [user, user + 1].map(|room| format!("room-{}", room % weather.rooms));
        Self {
            actor: Actor::new(user as i64),
            dice: Dice::new(weather.seed.wrapping_mul(1000).wrapping_add(user as u64)),
            rooms: rooms.into(),
            users: weather.clients,
            weather,
            period: Duration::from_secs(weather.clients as u64) / weather.per_second,
            stamps,
            sends,
            answered,
            tell,
            acked: VecDeque::new(),
            is_in: false,
            home: 0,
            times: None,
        }
    }

    /// One that goes from server to server.
    pub fn of_many(mut self, home: usize, times: Arc<Times>) -> Self {
        self.home = home;
        self.times = Some(times);
        self
    }

    pub async fn run(mut self, mut sky: watch::Receiver<Sky>) {
        for life in 1.. {
            let Ok(now) = sky
                .wait_for(|sky| sky.life >= life)
                .await
                .map(|sky| sky.clone())
            else {
                return;
            };
            let mut traces = Vec::new();
            while let Some(address) = now.address
                && let Some(trace) = self.connection((0, address), &mut sky).await
            {
                let was_cut = matches!(trace.events.last(), Some((_, Event::Cut)));
                traces.push(trace);
                if !was_cut {
                    break;
                }
            }
            let _ = self.tell.send(News::Ended(life, traces));
        }
    }

    /// Until all is over.
    pub async fn run_among(mut self, mut sky: watch::Receiver<Sky>) {
        let mut traces = Vec::new();
        let mut wanted = self.home;
        while sky.has_changed().is_ok() {
            let nodes = sky.borrow_and_update().nodes.clone();
            if let Some(Some(address)) = nodes.get(wanted).copied() {
                traces.extend(self.connection((wanted, address), &mut sky).await);
            }
            wanted = self.dice.below(nodes.len().max(1));
            let pause = self.dice.millis(PAUSE_MS.0, PAUSE_MS.1);
            let _ = timeout(pause, std::future::pending::<()>()).await;
        }
        let _ = self.tell.send(News::Ended(0, traces));
    }

    /// One connection, from its beginning to its end.
    async fn connection(
        &mut self,
        (node, address): (usize, SocketAddr),
        sky: &mut watch::Receiver<Sky>,
    ) -> Option<Trace> {
        let connected = timeout(GIVE_UP, self.connect(node, address));
        let mut line = connected.await.ok()??;
        // The resume first: after anything else messages may come, and a resume from before them is refused as behind.
        let mut greeting = self.actor.greeting();
        greeting.sort_by_key(|request| !matches!(request, Request::Resume { .. }));
        for request in greeting {
            self.say(&mut line, request).await;
        }
        for room in self.rooms.clone() {
            if !self.actor.rooms.contains(&room) {
                self.say(&mut line, Request::Join(room)).await;
            }
        }
        let mut stalled_until = Instant::now();
        let offset = self.period.mul_f64(self.dice.below(1000) as f64 / 1000.0);
        let mut tick = interval_at(Instant::now() + offset, self.period);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut settled, mut seen_all) = (false, false);
        loop {
            let Sky { is_calm, log, .. } = sky.borrow_and_update().clone();
            if line.is_refused {
                self.note(&mut line, Event::Cut);
                return Some(line.trace);
            }
            if !self.is_in
                && self
                    .rooms
                    .iter()
                    .all(|room| self.actor.rooms.contains(room))
            {
                self.is_in = true;
                let _ = self.tell.send(News::Joined(self.actor.user));
            }
            if is_calm && !settled && !self.actor.waits() {
                settled = true;
                let _ = self.tell.send(News::Settled(self.actor.user));
            }
            if let Some(log) = log
                && !seen_all
                && has_seen_all(&log, &line.trace)
            {
                seen_all = true;
                let _ = self.tell.send(News::SeenAll(self.actor.user));
            }
            tokio::select! {
                heard = line.socket.next(), if is_calm || Instant::now() >= stalled_until => match heard {
                    Some(Ok(Message::Text(text))) => self.hear(&mut line, &text).await,
                    Some(Ok(Message::Close(frame))) => {
                        self.note(&mut line, Event::Closed(frame.map(|frame| frame.code.into())));
                        return Some(line.trace);
                    }
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => {
                        self.note(&mut line, Event::Closed(None));
                        return Some(line.trace);
                    }
                },
                _ = tick.tick(), if self.is_in && !is_calm => {
                    if self.dice.one_in(CUT_ONE_IN) {
                        self.note(&mut line, Event::Cut);
                        return Some(line.trace);
                    }
                    if self.weather.stall_one_in > 0 && self.dice.one_in(self.weather.stall_one_in) {
                        // The next tick looks again.
                        stalled_until = Instant::now() + self.dice.millis(1_000, STALL_MS);
                    }
                    self.talk(&mut line).await;
                }
                changed = sky.changed() => if changed.is_err() {
                    // It is over, and whoever is still there has seen all.
                    return Some(line.trace);
                },
            }
        }
    }

    async fn connect(&self, node: usize, address: SocketAddr) -> Option<Line> {
        let user = self.actor.user;
        let token = token(user, &format!("user{user}"), 3600);
        // The server may die at any moment, also at this one.
        let socket = TcpSocket::new_v4().ok()?;
        if self.weather.stall_one_in > 0 {
            // So that a server soon feels that its reader has stopped.
            socket.set_recv_buffer_size(STALLING_BUFFER).ok()?;
        }
        let stream = socket.connect(address).await.ok()?;
        let url = format!("ws://{address}/ws?token={token}");
        let (socket, _) = client_async(url, stream).await.ok()?;
        let trace = Trace {
            user,
            era: 0,
            events: Vec::new(),
        };
        Some(Line {
            socket,
            trace,
            asked: 0,
            node,
            since: std::time::Instant::now(),
            is_refused: false,
        })
    }

    fn note(&self, line: &mut Line, event: Event) {
        let stamp = self.stamps.fetch_add(1, Relaxed);
        line.trace.events.push((stamp, event));
    }

    async fn say(&mut self, line: &mut Line, request: Request) {
        line.asked += 1;
        self.actor.said(line.asked, &request);
        let text = request.encode(line.asked);
        self.note(line, Event::Said(line.asked, request));
        // Into a dead socket nothing can be said; what it still holds is heard all the same.
        let _ = line.socket.send(Message::text(text)).await;
    }

    async fn hear(&mut self, line: &mut Line, text: &str) {
        let frame = Frame::parse(text);
        if let Frame::Reply {
            reference: Some(reference),
            reply: Reply::Sent(_),
            ..
        } = &frame
        {
            self.answered.send_modify(|answered| *answered += 1);
            self.acked.extend(said(&line.trace, *reference));
            if self.acked.len() > REMEMBERED {
                self.acked.pop_front();
            }
        }
        if let Some(times) = &self.times {
            times.heard(self.actor.user, line.node, line.since, &frame);
            line.is_refused |= is_refusal(&line.trace, &frame);
        }
        let requests = self.actor.hear(&frame);
        self.note(line, Event::Heard(frame));
        for request in requests {
            self.say(line, request).await;
        }
    }

    async fn talk(&mut self, line: &mut Line) {
        let place = match self.dice.one_in(DM_ONE_IN) {
            true => Where::Dm(1 + self.dice.below(self.users) as i64),
            false => Where::Room(self.rooms[self.dice.below(self.rooms.len())].clone()),
        };
        let (number, content) = self.content(&place);
        if let Some(times) = &self.times {
            times.said(number, line.node);
        }
        let nonce = Some(format!("{}-{number}", self.actor.user));
        let request = Request::Send {
            place,
            content,
            nonce,
        };
        self.say(line, request.clone()).await;
        if self.dice.one_in(TWICE_ONE_IN) {
            self.say(line, request).await;
        }
        if self.dice.one_in(AGAIN_ONE_IN)
            && let Some(request) = self.acked.pop_front()
        {
            self.say(line, request).await;
        }
        if self.dice.one_in(CHANGED_ONE_IN)
            && let Some(Request::Send { place, nonce, .. }) = self.acked.pop_front()
        {
            let (_, content) = self.content(&place);
            let request = Request::Send {
                place,
                content,
                nonce,
            };
            self.say(line, request).await;
        }
    }

    fn content(&self, place: &Where) -> (usize, String) {
        let number = self.sends.fetch_add(1, Relaxed);
        let content = canary(self.actor.user, place, number, self.weather.bytes);
        (number, content)
    }
}

/// The request that bears this reference: one of the newest.
fn said(trace: &Trace, reference: i64) -> Option<Request> {
    let events = trace.events.iter().rev();
    events
        .filter_map(|(_, event)| match event {
            Event::Said(with, request) if *with == reference => Some(request.clone()),
            _ => None,
        })
        .next()
}

/// Whether this refuses what a connection needs before it can be talked on.
fn is_refusal(trace: &Trace, frame: &Frame) -> bool {
    matches!(frame, Frame::Reply { reference: Some(reference), reply: Reply::Error(_), .. }
        if !matches!(said(trace, *reference), Some(Request::Send { .. })))
}

fn has_seen_all(log: &Era, trace: &Trace) -> bool {
    gap::missing(log, trace).is_none()
}
