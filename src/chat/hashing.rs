//! Threads that do nothing but hash passwords, so that their number bounds the memory and the time that logins cost.
//!
//! argon2 takes 19 MiB for each hash. Threads of their own keep that from the threads that read the database, give each
//! block of memory back to where the next hash takes it from, and skip whoever has hung up while waiting.

use std::sync::{
    Arc, Mutex, PoisonError,
    mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
};

use argon2::Argon2;
use tokio::sync::oneshot;

/// What argon2, or the parsing of a stored hash, can say.
pub(super) type HashError = Box<dyn std::error::Error + Send + Sync>;

/// Why a password was not hashed.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotHashed {
    /// As many wait as may.
    #[error("too many passwords are waiting")]
    LineFull,
    /// argon2 failed, or its thread.
    #[error("{0}")]
    Failed(HashError),
}

/// The line before the threads.
#[derive(Debug)]
pub(super) struct Hashers(SyncSender<Work>);

struct Work(Box<dyn FnOnce(Argon2<'static>) + Send>);

impl Hashers {
    /// `threads` that hash, and `in_line` that may wait for one of them.
    pub(super) fn start(threads: usize, in_line: usize) -> std::io::Result<Self> {
        let (line, work) = sync_channel(in_line);
        let work = Arc::new(Mutex::new(work));
        for _ in 0..threads {
            let work = work.clone();
            std::thread::Builder::new()
                .name("password-hash".into())
                .spawn(move || run(&work))?;
        }
        Ok(Self(line))
    }

    /// Waits for its turn and runs `work`.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(Argon2<'static>) -> Result<T, HashError> + Send + 'static,
    ) -> Result<T, NotHashed> {
        let (reply, answer) = oneshot::channel();
        let work = Work(Box::new(move |argon2| {
            // Whoever hung up while waiting costs nothing.
            if !reply.is_closed() {
                let _ = reply.send(work(argon2));
            }
        }));
        self.0.try_send(work).map_err(|error| match error {
            TrySendError::Full(_) => NotHashed::LineFull,
            TrySendError::Disconnected(_) => {
                NotHashed::Failed("the hashing threads have ended".into())
            }
        })?;
        match answer.await {
            Ok(result) => result.map_err(NotHashed::Failed),
            Err(_) => Err(NotHashed::Failed("a hashing thread broke off".into())),
        }
    }
}

/// Ends when the line does.
fn run(work: &Mutex<Receiver<Work>>) {
    loop {
        let next = work.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Work(work)) = next else { return };
        // A hash that panics takes neither the thread nor the others' turns with it.
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(Argon2::default())));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use super::*;

    #[tokio::test]
    async fn whoever_hung_up_while_waiting_is_not_hashed_for() {
        let hashers = Hashers::start(1, 8).unwrap();
        let (open, gate) = std::sync::mpsc::channel::<()>();
        let first = hashers.run(move |_| Ok(gate.recv().is_ok()));
        let done = Arc::new(AtomicUsize::new(0));
        let count = || {
            let done = done.clone();
            hashers.run(move |_| Ok(done.fetch_add(1, Relaxed)))
        };
        let (mut first, mut hung_up) = (Box::pin(first), Box::pin(count()));
        assert!(futures_util::poll!(&mut first).is_pending());
        assert!(futures_util::poll!(&mut hung_up).is_pending());
        drop(hung_up);
        let last = count();
        open.send(()).unwrap();
        first.await.unwrap();
        assert_eq!(last.await.unwrap(), 0, "the first that was counted");
    }

    #[tokio::test]
    async fn a_hash_that_panics_costs_nobody_else_a_turn() {
        let hashers = Hashers::start(1, 8).unwrap();
        hashers.run::<()>(|_| panic!("a test")).await.unwrap_err();
        assert_eq!(hashers.run(|_| Ok(7)).await.unwrap(), 7);
    }
}
