//! A stream that reads from the socket and writes into the outbox.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf},
    net::tcp::OwnedReadHalf,
};

use crate::{frame::Frame, hub::Outbox};

/// What tungstenite takes for the connection.
pub(super) struct Tap {
    socket: OwnedReadHalf,
    /// What came together with the handshake.
    leftover: Bytes,
    outbox: Arc<Outbox>,
}

impl Tap {
    pub(super) fn new(socket: OwnedReadHalf, leftover: Bytes, outbox: Arc<Outbox>) -> Self {
        Self {
            socket,
            leftover,
            outbox,
        }
    }

    /// Reads and forgets until the peer has closed.
    pub(super) async fn drain(&mut self) {
        // On the heap: an array would lie in every connection's task from the beginning.
        let mut scratch = vec![0; 1024];
        while matches!(self.socket.read(&mut scratch).await, Ok(1..)) {}
    }
}

impl AsyncRead for Tap {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.leftover.is_empty() {
            let count = buf.remaining().min(self.leftover.len());
            buf.put_slice(&self.leftover.split_to(count));
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.socket).poll_read(cx, buf)
    }
}

impl AsyncWrite for Tap {
    /// Takes whole control frames: tungstenite flushes after each and this never takes less than it is given.
    fn poll_write(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.outbox.reply(Frame::encoded(bytes));
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
