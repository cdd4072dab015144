//! The only writer of a socket: everything that waits leaves in one system call.

use std::{collections::VecDeque, io, sync::Arc, time::Duration};

use tokio::{io::AsyncWriteExt as _, net::tcp::OwnedWriteHalf, time::timeout};

use crate::{
    frame::Frame,
    hub::{End, Outbox, shrink_after_burst},
    protocol::CloseCode,
};

/// Frames in one `writev`; Linux takes up to 1,024 (IOV_MAX), and the array lives on the stack at 16 bytes each.
const FRAMES_AT_ONCE: usize = 64;

/// Writes until the outbox ends or the peer is gone.
pub(super) async fn run(mut socket: OwnedWriteHalf, outbox: Arc<Outbox>, stall: Duration) {
    let mut batch = VecDeque::new();
    loop {
        let end = outbox.take(&mut batch, FRAMES_AT_ONCE).await;
        if let Some(End::Close(code)) = end {
            batch.push_back(Frame::close(code));
        }
        if let Err(end) = write_all(&socket, &mut batch, &outbox, stall).await {
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
    stall: Duration,
) -> Result<(), End> {
    while !batch.is_empty() {
        match write_some(socket, batch) {
            Ok(written) => outbox.written(written),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                match timeout(stall, socket.writable()).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) => return Err(End::Finish),
                    Err(_) => return Err(End::Close(CloseCode::TooSlow)),
                }
            }
            Err(_) => return Err(End::Finish),
        }
    }
    Ok(())
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
