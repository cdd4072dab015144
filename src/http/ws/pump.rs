//! The only writer of a socket: everything that waits leaves in one system call.

use std::{collections::VecDeque, io, sync::Arc, time::Duration};

use rustix::{io::Errno, net::SendFlags};
use tokio::{
    io::AsyncWriteExt as _,
    net::tcp::OwnedWriteHalf,
    time::{Instant, timeout_at},
};

use super::{super::Peer, SocketLimits};
use crate::{
    frame::Frame,
    hub::{End, Outbox, Queued, shrink_after_burst},
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
            batch.push_back(Frame::close(code).into());
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
    batch: &mut VecDeque<Queued>,
    outbox: &Outbox,
    patience: &mut Patience,
) -> Result<(), End> {
    while !batch.is_empty() {
        match write_some(socket, batch) {
            Ok(written) => outbox.written(written),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                // In a box of its own: only a socket that is full pays for its timers.
                Box::pin(patience.wait(socket, batch, outbox)).await?;
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

    /// Resolves when it is worth another try: the socket has taken or may take more, or how long it is waited for has
    /// changed. Or with the end that the waiting has come to.
    async fn wait(
        &mut self,
        socket: &OwnedWriteHalf,
        batch: &mut VecDeque<Queued>,
        outbox: &Outbox,
    ) -> Result<(), End> {
        let over_at = self
            .last_words_until
            .unwrap_or(Instant::now() + self.limits.stall);
        loop {
            let look_at = over_at.min(Instant::now() + LOOK_EVERY);
            tokio::select! {
                writable = timeout_at(look_at, socket.writable()) => {
                    let made_room = match writable {
                        Ok(writable) => writable.map(|()| true).map_err(|_| End::Finish)?,
                        Err(_) => poke(socket, batch, outbox)?,
                    };
                    if made_room {
                        outbox.note_progress();
                        return Ok(());
                    }
                }
                end = outbox.ended(), if self.last_words_until.is_none() => {
                    // A slow reader shall learn that it was too slow; nobody else is waited for that long.
                    let too_slow = end == End::Close(CloseCode::TooSlow);
                    let left = if too_slow { self.limits.stall } else { self.limits.linger };
                    self.last_words_until = Some(Instant::now() + left);
                    return Ok(());
                }
            }
            if Instant::now() < over_at {
                continue;
            }
            if self.last_words_until.is_some() {
                return Err(End::Finish);
            }
            // The frame that has begun must be whole before the one that says goodbye.
            batch.truncate(1);
            outbox.give_up();
            return Ok(());
        }
    }
}

/// Between two looks at a socket that is full.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Writes past the runtime, which waits until the kernel calls the socket writable: on Linux that is when a third of its
/// buffer is free, megabytes perhaps, while a peer that reads slowly has made room for some bytes long before.
fn poke(
    socket: &OwnedWriteHalf,
    batch: &mut VecDeque<Queued>,
    outbox: &Outbox,
) -> Result<bool, End> {
    let Some(front) = batch.front_mut() else {
        return Ok(true);
    };
    match rustix::net::send(socket.as_ref(), front.frame.as_bytes(), SendFlags::DONTWAIT) {
        Ok(written) => {
            outbox.written(written);
            advance(batch, written);
            Ok(true)
        }
        Err(Errno::AGAIN | Errno::INTR) => Ok(false),
        Err(_) => Err(End::Finish),
    }
}

/// One system call; takes what was written off the front of `batch` and returns its length in bytes.
fn write_some(socket: &OwnedWriteHalf, batch: &mut VecDeque<Queued>) -> io::Result<usize> {
    let written = match (batch.front(), batch.len()) {
        // The usual case of a quiet room, and cheaper for the kernel than a vector of one.
        (Some(only), 1) => socket.try_write(only.frame.as_bytes())?,
        _ => write_vector(socket, batch)?,
    };
    advance(batch, written);
    Ok(written)
}

/// Takes what was written off the front of `batch`.
fn advance(batch: &mut VecDeque<Queued>, written_bytes: usize) {
    let mut left = written_bytes;
    while let Some(front) = batch.front_mut() {
        if left < front.frame.len_bytes() {
            front.frame.advance(left);
            break;
        }
        left -= front.frame.len_bytes();
        batch.pop_front();
    }
}

fn write_vector(socket: &OwnedWriteHalf, batch: &VecDeque<Queued>) -> io::Result<usize> {
    let mut slices = [io::IoSlice::new(&[]); FRAMES_AT_ONCE];
    let count = batch.len().min(FRAMES_AT_ONCE);
    for (slice, item) in slices.iter_mut().zip(batch) {
        *slice = io::IoSlice::new(item.frame.as_bytes());
    }
    socket.try_write_vectored(&slices[..count])
}
