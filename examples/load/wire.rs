//! The least of a WebSocket client: nothing is copied, checked or decoded that the measurement does not need, so that
//! thousands of readers cost less than the server that feeds them. No model for a real client.

use std::{cell::RefCell, error::Error, future::poll_fn, net::SocketAddr, pin::Pin, task::ready};

use tokio::{
    io::{AsyncRead as _, AsyncReadExt as _, AsyncWriteExt as _, ReadBuf},
    net::{TcpSocket, TcpStream},
};

pub type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const TEXT: u8 = 0x1;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xa;

thread_local! {
    /// All sockets read into the same bytes, so that an idle one owns none.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; 64 * 1024]);
}

/// One connection.
pub struct Socket {
    stream: TcpStream,
    /// The beginning of a frame whose end has not come yet.
    partial: Vec<u8>,
    /// Frames that leave with the next flush.
    outgoing: Vec<u8>,
}

impl Socket {
    /// Connects and shakes hands. The server says nothing unasked, so nothing follows the head of its answer.
    /// `receive_buffer` in bytes, where it is not to be the system's.
    pub async fn open(
        address: SocketAddr,
        token: &str,
        receive_buffer: Option<u32>,
    ) -> Result<Self> {
        let request = format!(
            "GET /ws HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
        );
        let socket = TcpSocket::new_v4()?;
        if let Some(bytes) = receive_buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        let mut stream = socket.connect(address).await?;
        stream.set_nodelay(true)?;
        stream.write_all(request.as_bytes()).await?;
        let mut head = Vec::with_capacity(512);
        while !head.ends_with(b"\r\n\r\n") && stream.read_buf(&mut head).await? > 0 {}
        if !head.starts_with(b"HTTP/1.1 101 ") {
            return Err(format!("no handshake: {}", String::from_utf8_lossy(&head)).into());
        }
        Ok(Self {
            stream,
            partial: Vec::new(),
            outgoing: Vec::new(),
        })
    }

    /// Sends one request and waits for its reply, which is of the type `reply`.
    pub async fn ask(&mut self, request: &str, reply: &str) -> Result<()> {
        self.queue(request);
        self.flush().await?;
        let mut answered = false;
        while !answered {
            self.receive(|text| {
                answered = is(text, reply);
                if answered { Ok(()) } else { unexpected(text) }
            })
            .await?;
        }
        Ok(())
    }

    /// Adds a text frame to what the next flush sends.
    pub fn queue(&mut self, text: &str) {
        frame(&mut self.outgoing, TEXT, text.as_bytes());
    }

    /// Sends what is queued, in one write.
    pub async fn flush(&mut self) -> Result<()> {
        self.stream.write_all(&self.outgoing).await?;
        self.outgoing.clear();
        Ok(())
    }

    /// Waits for bytes and hands over every text that they complete.
    pub async fn receive(&mut self, mut on_text: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        poll_fn(|cx| {
            SCRATCH.with_borrow_mut(|scratch| {
                let mut buffer = ReadBuf::new(scratch);
                ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
                self.arrived(buffer.filled(), &mut on_text).into()
            })
        })
        .await?;
        if self.outgoing.is_empty() {
            Ok(())
        } else {
            self.flush().await
        }
    }

    fn arrived(
        &mut self,
        bytes: &[u8],
        on_text: &mut impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        if bytes.is_empty() {
            return Err("the server is gone".into());
        }
        let mut joined = std::mem::take(&mut self.partial);
        let mut rest = bytes;
        if !joined.is_empty() {
            joined.extend_from_slice(bytes);
            rest = &joined;
        }
        while let Some((opcode, payload, behind)) = split(rest) {
            rest = behind;
            match opcode {
                TEXT => on_text(payload)?,
                PING => frame(&mut self.outgoing, PONG, payload),
                CLOSE => return Err(format!("closed: {}", String::from_utf8_lossy(payload)).into()),
                other => return Err(format!("a frame with opcode {other}").into()),
            }
        }
        self.partial = rest.to_vec();
        Ok(())
    }
}

/// Appends a frame as a client writes it (RFC 6455 section 5.2).
fn frame(buffer: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    const FINAL: u8 = 0x80;
    const MASKED: u8 = 0x80;
    buffer.push(FINAL | opcode);
    match (payload.len() as u64).to_be_bytes() {
        [0, 0, 0, 0, 0, 0, 0, short @ 0..=125] => buffer.push(MASKED | short),
        [0, 0, 0, 0, 0, 0, high, low] => buffer.extend([MASKED | 126, high, low]),
        long => {
            buffer.push(MASKED | 127);
            buffer.extend(long);
        }
    }
    // A mask of zeros is valid and leaves the payload as it is; the server unmasks it like any other.
    buffer.extend([0; 4]);
    buffer.extend_from_slice(payload);
}

/// The first frame's opcode and payload, and what follows; `None` while it is not complete.
fn split(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[first, short], rest) = bytes.split_first_chunk()?;
    let (length, rest) = match short {
        126 => rest
            .split_first_chunk()
            .map(|(long, rest)| (u64::from(u16::from_be_bytes(*long)), rest))?,
        127 => rest
            .split_first_chunk()
            .map(|(long, rest)| (u64::from_be_bytes(*long), rest))?,
        _ => (u64::from(short), rest),
    };
    let (payload, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    Some((first & 0xf, payload, rest))
}

/// Whether the frame is of this type, which the server writes first.
pub fn is(text: &[u8], kind: &str) -> bool {
    let name = text
        .strip_prefix(br#"{"type":""#)
        .and_then(|rest| rest.strip_prefix(kind.as_bytes()));
    name.is_some_and(|rest| rest.starts_with(b"\""))
}

/// Nothing else was asked for, so this is an error or a mistake.
pub fn unexpected(text: &[u8]) -> Result<()> {
    Err(format!("unexpected: {}", String::from_utf8_lossy(text)).into())
}

/// The number right behind `key`.
pub fn number_after(text: &[u8], key: &[u8]) -> Option<u64> {
    let start = text.windows(key.len()).position(|window| window == key)? + key.len();
    let digits = text[start..]
        .iter()
        .take_while(|byte| byte.is_ascii_digit());
    Some(digits.fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
}
