//! The only writer of a socket: everything that waits leaves in one system call.

use std::{collections::VecDeque, io, sync::Arc};

use tokio::{
    io::AsyncWriteExt as _,
    net::tcp::OwnedWriteHalf,
    time::{Instant, timeout, timeout_at},
};

use super::{super::Peer, SocketLimits};
use crate::{
    frame::Frame,
    hub::{End, Outbox, shrink_after_burst},
    protocol::CloseCode,
};

/// Frames in one `writev`; Linux takes up to 1,024 (IOV_MAX), and the array lives on the stack at 16 bytes each.
const FRAMES_AT_ONCE: usize = 64;

/// Writes until the outbox ends or the peer is gone. Holds the peer's share of the connection limit until then.
pub(super) async fn run(
    mut socket: OwnedWriteHalf,
    outbox: Arc<Outbox>,
    limits: SocketLimits,
    _peer: Peer,
) {
    let mut batch = VecDeque::new();
    let mut patience = Patience::new(limits);
    loop {
        let end = outbox.take(&mut batch, FRAMES_AT_ONCE).await;
        if let Some(End::Close(code)) = end {
            batch.push_back(Frame::close(code));
        }
        if let Err(end) = write_all(&socket, &mut batch, &outbox, &mut patience).await {
            return outbox.end(end);
        }
        shrink_after_burst(&mut batch);
        if end.is_some() {
            // The peer may be gone already; there is nothing left to lose.
            let _ = socket.shutdown().await;
            return;
        }
    }
}

async fn write_all(
    socket: &OwnedWriteHalf,
    batch: &mut VecDeque<Frame>,
    outbox: &Outbox,
    patience: &mut Patience,
) -> Result<(), End> {
    while !batch.is_empty() {
        match write_some(socket, batch) {
            Ok(written) => outbox.written(written),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                // In a box of its own: only a socket that is full pays for its timers.
                Box::pin(patience.wait(socket, outbox)).await?;
            }
            Err(_) => return Err(End::Finish),
        }
    }
    Ok(())
}

/// How long a peer that takes nothing is waited for: each time anew while the connection lives, in all once it has ended.
struct Patience {
    limits: SocketLimits,
    last_words_until: Option<Instant>,
}

impl Patience {
    fn new(limits: SocketLimits) -> Self {
        Self {
            limits,
            last_words_until: None,
        }
    }

    /// Resolves when the socket may take more, or with the end that the waiting has come to.
    async fn wait(&mut self, socket: &OwnedWriteHalf, outbox: &Outbox) -> Result<(), End> {
        let writable = if let Some(until) = self.last_words_until {
            timeout_at(until, socket.writable()).await
        } else {
            tokio::select! {
                writable = timeout(self.limits.stall, socket.writable()) => writable,
                end = outbox.ended() => {
                    // A slow reader shall learn that it was too slow; nobody else is waited for that long.
                    let too_slow = end == End::Close(CloseCode::TooSlow);
                    let left = if too_slow { self.limits.stall } else { self.limits.linger };
                    self.last_words_until = Some(Instant::now() + left);
                    return Ok(());
                }
            }
        };
        match writable {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(End::Finish),
            Err(_) => Err(End::Close(CloseCode::TooSlow)),
        }
    }
}

/// One system call; takes what was written off the front of `batch` and returns its length in bytes.
fn write_some(socket: &OwnedWriteHalf, batch: &mut VecDeque<Frame>) -> io::Result<usize> {
    let written = match (batch.front(), batch.len()) {
        // The usual case of a quiet room, and cheaper for the kernel than a vector of one.
        (Some(only), 1) => socket.try_write(only.as_bytes())?,
        _ => write_vector(socket, batch)?,
    };
    let mut left = written;
    while let Some(front) = batch.front_mut() {
        if left < front.len_bytes() {
            front.advance(left);
            break;
        }
        left -= front.len_bytes();
        batch.pop_front();
    }
    Ok(written)
}

fn write_vector(socket: &OwnedWriteHalf, batch: &VecDeque<Frame>) -> io::Result<usize> {
    let mut slices = [io::IoSlice::new(&[]); FRAMES_AT_ONCE];
    let count = batch.len().min(FRAMES_AT_ONCE);
    for (slice, frame) in slices.iter_mut().zip(batch) {
        *slice = io::IoSlice::new(frame.as_bytes());
    }
    socket.try_write_vectored(&slices[..count])
}
