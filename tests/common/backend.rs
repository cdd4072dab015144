//! Another server, as the tests want it: a backend that knows users and keeps messages, and can do both badly.
//!
//! A real HTTP server on a real port, on a thread of its own, so that it answers while a test blocks. Every request is
//! recorded before it is answered; what a path answers is what the test said last, else what a good backend would.

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Instant,
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
};

use super::soon;

/// Where tokens are asked about.
pub const ME: &str = "/api/v1/auth/me";
/// Where messages are kept.
pub const MESSAGES: &str = "/api/v1/chat/messages";

/// What a path answers.
#[derive(Clone, Debug)]
pub enum Reply {
    /// As a good backend would.
    Well,
    /// This status, these header lines, this body.
    With(u16, Vec<String>, String),
    /// Keeps the message, and cuts the connection instead of saying so.
    KeptButCut,
    /// Cuts the connection.
    Cut,
    /// A body that does not end.
    Endless,
    /// Status and headers, and then nothing more.
    HalfAnAnswer,
}

impl Reply {
    pub fn status(status: u16) -> Self {
        Self::json(status, &json!({"error": format!("answered {status}")}))
    }

    pub fn json(status: u16, body: &Value) -> Self {
        let json = "content-type: application/json".to_owned();
        Self::With(status, vec![json], body.to_string())
    }

    /// What a dev server or a captive portal answers to everything.
    pub fn page() -> Self {
        let html = "content-type: text/html; charset=utf-8".to_owned();
        Self::With(200, vec![html], "<!doctype html><p>Welcome!".to_owned())
    }

    pub fn redirect(to: &str) -> Self {
        Self::With(302, vec![format!("location: {to}")], String::new())
    }

    /// With one more header line.
    pub fn header(mut self, line: &str) -> Self {
        if let Self::With(_, headers, _) = &mut self {
            headers.push(line.to_owned());
        }
        self
    }
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    pub path: String,
    /// Names in lower case.
    pub headers: HashMap<String, String>,
    pub body: String,
    /// When it was there.
    pub at: Instant,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// The message's id in the body of a copy.
    pub fn id(&self) -> i64 {
        self.json()["id"].as_i64().unwrap()
    }
}

/// The running backend. It ends when this is dropped.
pub struct Backend {
    pub address: SocketAddr,
    state: Arc<State>,
    orders: mpsc::UnboundedSender<Order>,
}

enum Order {
    Down(oneshot::Sender<()>),
    Up(oneshot::Sender<()>),
}

struct State {
    book: Mutex<Book>,
    /// How many requests were recorded.
    count: watch::Sender<usize>,
    /// Answers wait while this holds.
    held: watch::Sender<bool>,
    /// A second request on one connection is its end.
    closes: AtomicBool,
}

#[derive(Default)]
struct Book {
    requests: Vec<Request>,
    always: HashMap<String, Reply>,
    next: HashMap<String, VecDeque<Reply>>,
    users: HashMap<String, Value>,
    /// Kept messages, by key, in the order in which they came.
    kept: Vec<(String, Value)>,
}

impl Backend {
    pub async fn start() -> Self {
        let state = Arc::new(State {
            book: Mutex::default(),
            count: watch::Sender::new(0),
            held: watch::Sender::new(false),
            closes: AtomicBool::new(false),
        });
        let (orders, taken) = mpsc::unbounded_channel();
        let (tell, told) = oneshot::channel();
        let served = state.clone();
        thread::spawn(move || {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = runtime.enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let address = listener.local_addr().unwrap();
                let _ = tell.send(address);
                run(Some(listener), address, served, taken).await;
            });
        });
        let address = soon("the backend", told).await.unwrap();
        Self {
            address,
            state,
            orders,
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Lets `token` in as `user`, which is answered as it is.
    pub fn knows(&self, token: &str, user: Value) {
        self.book().users.insert(token.to_owned(), user);
    }

    /// Lets `token` in no more.
    pub fn forgets(&self, token: &str) {
        self.book().users.remove(token);
    }

    /// What `path` answers from now on.
    pub fn answers(&self, path: &str, reply: Reply) {
        self.book().always.insert(path.to_owned(), reply);
    }

    /// What `path` answers next, one time; several are given in turn.
    pub fn answers_once(&self, path: &str, reply: Reply) {
        let mut book = self.book();
        book.next
            .entry(path.to_owned())
            .or_default()
            .push_back(reply);
    }

    /// Answers nobody until it is told to [`release`](Backend::release): requests are recorded, messages are kept, and both
    /// wait for their answers.
    pub fn hold(&self) {
        self.state.held.send_replace(true);
    }

    /// Answers those who wait, and everybody from now on.
    pub fn release(&self) {
        self.state.held.send_replace(false);
    }

    /// From now on a connection takes one request, without saying so: it is closed when another one has come.
    pub fn closes_what_it_kept(&self) {
        self.state.closes.store(true, Ordering::Relaxed);
    }

    /// Closes the port and cuts every connection.
    pub async fn down(&self) {
        let (done, when) = oneshot::channel();
        self.orders.send(Order::Down(done)).ok().unwrap();
        soon("the backend's end", when).await.unwrap();
    }

    /// Opens the same port again.
    pub async fn up(&self) {
        let (done, when) = oneshot::channel();
        self.orders.send(Order::Up(done)).ok().unwrap();
        soon("the backend's return", when).await.unwrap();
    }

    /// What came for `path` by now.
    pub fn seen(&self, path: &str) -> Vec<Request> {
        let book = self.book();
        let requests = book.requests.iter();
        requests
            .filter(|request| request.path == path)
            .cloned()
            .collect()
    }

    /// What came for `path`, as soon as it is at least `count` requests.
    pub async fn requests(&self, path: &str, count: usize) -> Vec<Request> {
        let mut counted = self.state.count.subscribe();
        let enough = counted.wait_for(|_| self.seen(path).len() >= count);
        let _ = soon(&format!("{count} requests for {path}"), enough)
            .await
            .unwrap();
        self.seen(path)
    }

    /// The ids of the messages that are kept, in the order in which they came, as soon as there are at least `count`.
    pub async fn keeps(&self, count: usize) -> Vec<i64> {
        let mut counted = self.state.count.subscribe();
        let enough = counted.wait_for(|_| self.book().kept.len() >= count);
        let _ = soon(&format!("{count} kept messages"), enough)
            .await
            .unwrap();
        let book = self.book();
        book.kept
            .iter()
            .map(|(_, message)| message["id"].as_i64().unwrap())
            .collect()
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.state.book.lock().unwrap()
    }
}

/// Accepts until the orders end.
async fn run(
    mut listener: Option<TcpListener>,
    address: SocketAddr,
    state: Arc<State>,
    mut orders: mpsc::UnboundedReceiver<Order>,
) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = async {
            match &listener {
                Some(listener) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            order = orders.recv() => match order {
                None => return,
                Some(Order::Down(done)) => {
                    listener = None;
                    connections.shutdown().await;
                    let _ = done.send(());
                }
                Some(Order::Up(done)) => {
                    listener = Some(TcpListener::bind(address).await.unwrap());
                    let _ = done.send(());
                }
            },
            accepted = accepted => {
                let (stream, _) = accepted.unwrap();
                connections.spawn(serve(stream, state.clone()));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// One connection: requests one after the other, until somebody has enough. Who reads it no more is no fault.
async fn serve(stream: TcpStream, state: Arc<State>) -> Option<()> {
    let mut stream = BufReader::new(stream);
    for earlier in 0.. {
        let request = read(&mut stream).await?;
        if earlier > 0 && state.closes.load(Ordering::Relaxed) {
            break;
        }
        let path = request.path.clone();
        let reply = {
            let mut book = state.book.lock().unwrap();
            book.requests.push(request.clone());
            let next = book.next.get_mut(&path).and_then(VecDeque::pop_front);
            next.or_else(|| book.always.get(&path).cloned())
                .unwrap_or(Reply::Well)
        };
        let well = matches!(reply, Reply::Well | Reply::KeptButCut)
            .then(|| state.well(&request))
            .unwrap_or((404, Value::Null));
        state.count.send_modify(|count| *count += 1);
        let mut held = state.held.subscribe();
        held.wait_for(|held| !held).await.ok()?;
        let reply = match reply {
            Reply::Well => Reply::json(well.0, &well.1),
            reply => reply,
        };
        let bytes = match reply {
            Reply::Well | Reply::Cut | Reply::KeptButCut => return None,
            Reply::With(status, headers, body) => whole(status, &headers, &body),
            Reply::Endless => {
                const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n";
                stream.get_mut().write_all(HEAD).await.ok()?;
                loop {
                    stream.get_mut().write_all(&[b' '; 4096]).await.ok()?;
                }
            }
            Reply::HalfAnAnswer => {
                const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n{";
                stream.get_mut().write_all(HEAD).await.ok()?;
                // Until the other side has had enough.
                let _ = stream.read_u8().await;
                return None;
            }
        };
        stream.get_mut().write_all(bytes.as_bytes()).await.ok()?;
    }
    None
}

fn whole(status: u16, headers: &[String], body: &str) -> String {
    let mut text = format!("HTTP/1.1 {status} so\r\n");
    for header in headers {
        text.push_str(&format!("{header}\r\n"));
    }
    if status != 204 {
        text.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    format!("{text}\r\n{body}")
}

/// `None` at the end of the connection.
async fn read(stream: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok()?;
    let mut words = line.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length");
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body).await.ok()?;
    Some(Request {
        method,
        path,
        headers,
        body: String::from_utf8(body).unwrap(),
        at: Instant::now(),
    })
}

impl State {
    /// What a good backend does and answers: it knows its users, and keeps every message once.
    fn well(&self, request: &Request) -> (u16, Value) {
        let mut book = self.book.lock().unwrap();
        match (request.method.as_str(), request.path.as_str()) {
            ("GET", ME) => {
                let token = request.header("authorization").unwrap_or_default();
                let token = token.strip_prefix("Bearer ").unwrap_or_default();
                match book.users.get(token) {
                    Some(user) => (200, user.clone()),
                    None => (401, json!({"error": "the backend knows no such token"})),
                }
            }
            ("POST", MESSAGES) => {
                let key = request.header("idempotency-key").unwrap_or_default();
                if book.kept.iter().any(|(kept, _)| kept == key) {
                    return (409, json!({"error": "kept before"}));
                }
                book.kept.push((key.to_owned(), request.json()));
                (201, json!({"data": {"id": book.kept.len()}}))
            }
            _ => (404, json!({"error": "no such path"})),
        }
    }
}
