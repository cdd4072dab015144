//! Mistakes and sudden ends on purpose: for tests that must show that they would notice.
//!
//! A law that nothing ever broke proves little. Each [`Bug`] is a mistake that chat servers are known for, made at the
//! place where it would be made; each [`Step`] is a moment at which the process can be made to end. All of it is there
//! only with the feature `seeded_bugs`: without it [`has`] is `false` and [`step`] nothing, both at compile time.

/// A mistake that can be switched on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// The sender hears that a message is stored before it is.
    AckBeforeCommit,
    /// Readers are sent a message before it is stored.
    BroadcastBeforeCommit,
    /// Of each user only the newest nonce is known.
    OnlyTheLastNonce,
    /// A nonce is stored by a second transaction, after its message.
    NonceAfterCommit,
    /// Joining reads where the room ends before it listens.
    JoinWithoutListening,
    /// What was published while a page was read is not compared with the page.
    SeamDuplicate,
    /// The last page of a replay does not move its reader on.
    ReplayKeepsCursor,
    /// A cursor of any other log is taken for one of this log.
    EpochUnchecked,
    /// What finds no room in an outbox is dropped, and nothing is left to the log.
    LaggedIgnored,
    /// A nonce that stands for another content is acknowledged all the same.
    ChangedBodyAcked,
    /// A commit does not wait until it is on the disk.
    SyncNormal,
}

impl Bug {
    /// All of them, by name.
    pub const ALL: [(&str, Self); 11] = [
        ("ack_before_commit", Self::AckBeforeCommit),
        ("broadcast_before_commit", Self::BroadcastBeforeCommit),
        ("only_the_last_nonce", Self::OnlyTheLastNonce),
        ("nonce_after_commit", Self::NonceAfterCommit),
        ("join_without_listening", Self::JoinWithoutListening),
        ("seam_duplicate", Self::SeamDuplicate),
        ("replay_keeps_cursor", Self::ReplayKeepsCursor),
        ("epoch_unchecked", Self::EpochUnchecked),
        ("lagged_ignored", Self::LaggedIgnored),
        ("changed_body_acked", Self::ChangedBodyAcked),
        ("sync_normal", Self::SyncNormal),
    ];
}

/// A moment in the life of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The writer has taken jobs out of the line.
    Dequeued,
    /// A nonce was looked up and is known.
    NonceKnown,
    /// A message is about to be inserted.
    BeforeInsert,
    /// A message is inserted, not committed.
    AfterInsert,
    /// A batch is about to be committed.
    BeforeCommit,
    /// A batch is committed, and nobody has been told.
    AfterCommit,
    /// The senders can be told, and the relay has not published anything of the batch yet.
    BeforeBroadcast,
    /// One reader's outbox has a message, the others' have not.
    MidBroadcast,
    /// After a commit of unknown outcome, the file is open again and was read.
    Reopened,
    /// A page of missed messages was read and is not queued.
    MidResume,
    /// The server is stopping, and a session hears of it.
    Stopping,
}

impl Step {
    /// All of them, by name.
    pub const ALL: [(&str, Self); 11] = [
        ("dequeued", Self::Dequeued),
        ("nonce_known", Self::NonceKnown),
        ("before_insert", Self::BeforeInsert),
        ("after_insert", Self::AfterInsert),
        ("before_commit", Self::BeforeCommit),
        ("after_commit", Self::AfterCommit),
        ("before_broadcast", Self::BeforeBroadcast),
        ("mid_broadcast", Self::MidBroadcast),
        ("reopened", Self::Reopened),
        ("mid_resume", Self::MidResume),
        ("stopping", Self::Stopping),
    ];
}

/// Whether this mistake is to be made.
#[cfg(not(feature = "seeded_bugs"))]
#[inline(always)]
pub const fn has(_bug: Bug) -> bool {
    false
}

/// A moment goes by.
#[cfg(not(feature = "seeded_bugs"))]
#[inline(always)]
pub const fn step(_step: Step) {}

#[cfg(feature = "seeded_bugs")]
pub use sown::{Then, has, plan, sow, step};

/// What was chosen, for the whole process.
#[cfg(feature = "seeded_bugs")]
mod sown {
    use std::sync::{
        Mutex, PoisonError,
        atomic::{AtomicU8, Ordering::Relaxed},
    };

    use super::{Bug, Step};

    const NONE: u8 = u8::MAX;
    static BUG: AtomicU8 = AtomicU8::new(NONE);
    static PLAN: Mutex<Option<Plan>> = Mutex::new(None);

    /// What happens at a planned step.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Then {
        /// The process ends as by `kill -9`.
        Abort,
        /// Whoever takes the step never goes on, and everybody else does.
        Hold,
    }

    struct Plan {
        step: Step,
        /// So many times more it goes by.
        left: u32,
        then: Then,
    }

    /// Makes this mistake from now on, or none.
    pub fn sow(bug: Option<Bug>) {
        BUG.store(bug.map_or(NONE, |bug| bug as u8), Relaxed);
    }

    /// Plans what happens when `step` is taken for the `nth` time, counted from 1.
    pub fn plan(step: Step, nth: u32, then: Then) {
        let left = nth.saturating_sub(1);
        *PLAN.lock().unwrap_or_else(PoisonError::into_inner) = Some(Plan { step, left, then });
    }

    /// Whether this mistake is to be made.
    pub fn has(bug: Bug) -> bool {
        BUG.load(Relaxed) == bug as u8
    }

    /// A moment goes by, or does not.
    pub fn step(step: Step) {
        let mut plan = PLAN.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *plan {
            Some(Plan {
                step: planned,
                left,
                ..
            }) if *planned == step && *left > 0 => *left -= 1,
            Some(Plan {
                step: planned,
                then,
                ..
            }) if *planned == step => {
                let then = *then;
                *plan = None;
                drop(plan);
                end(step, then);
            }
            _ => {}
        }
    }

    fn end(step: Step, then: Then) {
        if then == Then::Hold {
            tracing::warn!(?step, "held here for good");
        } else {
            // Not abort(): nothing may be written on the way out, not even the memory of this process.
            let this = rustix::process::getpid();
            let _ = rustix::process::kill_process(this, rustix::process::Signal::KILL);
        }
        loop {
            std::thread::park();
        }
    }
}
