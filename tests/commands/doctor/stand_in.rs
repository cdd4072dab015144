//! Somebody else's HTTP server, which says what a test wants it to say.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

/// A server on a port of its own. Its thread ends with the test's process.
pub struct StandIn {
    pub address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
}

impl StandIn {
    /// Answers each request, of which it is told the head, with these bytes, and closes. No bytes: it stays silent.
    pub fn new(answer: impl Fn(&str) -> String + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let heard = requests.clone();
        thread::spawn(move || {
            let mut silent = Vec::new();
            for mut stream in listener.incoming().map_while(Result::ok) {
                let head = head(&mut stream);
                heard.lock().unwrap().push(head.clone());
                match answer(&head) {
                    bytes if bytes.is_empty() => silent.push(stream),
                    // Who hangs up in the middle of an answer has heard enough.
                    bytes => drop(stream.write_all(bytes.as_bytes())),
                }
            }
        });
        Self { address, requests }
    }

    /// The same answer to everything: status and headers, then the body.
    pub fn saying(head: &str, body: &str) -> Self {
        let answer = answer(head, body);
        Self::new(move |_| answer.clone())
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The first lines of all requests so far.
    pub fn asked(&self) -> Vec<String> {
        let requests = self.requests.lock().unwrap();
        let first = |head: &String| head.lines().next().unwrap_or_default().to_owned();
        requests.iter().map(first).collect()
    }
}

/// An answer as bytes; `head` is the status, and headers on lines of their own.
pub fn answer(head: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {head}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}")
}

fn head(stream: &mut TcpStream) -> String {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read == 1) {
        head.push(byte[0]);
    }
    String::from_utf8_lossy(&head).into_owned()
}
