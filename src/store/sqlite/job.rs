//! What the writer can be asked, and what each job comes to: a closed set, so that a batch of them is one transaction.

use tokio::sync::oneshot;

use super::Reply;
use crate::{
    protocol::{Ack, Message, MessageId, RoomName, UserId, Username},
    store::{
        AppendError, Begin, Follower, NewAccount, NewMessage, RoomOutcome, Standing, StoreError,
        User,
    },
};

/// Everything that can be asked of the writer.
#[derive(Debug)]
pub(super) enum Job {
    Append {
        message: NewMessage,
        reply: oneshot::Sender<Result<Ack, AppendError>>,
    },
    SeeUser {
        id: UserId,
        username: Username,
        reply: Reply<User>,
    },
    CreateRoom {
        room: RoomName,
        max_rooms: u64,
        reply: Reply<RoomOutcome>,
    },
    CreateAccount {
        account: NewAccount,
        reply: Reply<Option<User>>,
    },
    Follow {
        follower: Follower,
        begin: Begin,
        reply: Reply<Standing>,
    },
    Follower {
        change: Change,
        reply: Reply<()>,
    },
    Probe {
        reply: Reply<()>,
    },
    Stop,
}

/// What can happen to one who follows; see [`Followers`](crate::store::Followers).
#[derive(Debug)]
pub(super) enum Change {
    Advance {
        follower: Follower,
        to: MessageId,
        parked: Option<String>,
    },
    NoteFailure {
        follower: Follower,
        reason: String,
    },
    ConcludeAgain {
        follower: Follower,
        id: MessageId,
        parked: Option<String>,
    },
}

/// What one job came to inside the transaction, not yet told to anybody.
pub(super) enum Outcome {
    Stored(Message),
    Duplicate(Ack),
    Refused(AppendError),
    User(User),
    Room(RoomOutcome),
    Account(Option<User>),
    Standing(Standing),
    /// There is nothing to tell.
    Done,
}

impl Job {
    /// Tells whoever waits that nothing came of it.
    pub(super) fn fail(self, error: &StoreError) {
        match self {
            Self::Append { reply, .. } => drop(reply.send(Err(match error {
                StoreError::Uncertain(_) => AppendError::Uncertain,
                error => AppendError::Store(error.again()),
            }))),
            Self::SeeUser { reply, .. } => drop(reply.send(Err(error.again()))),
            Self::CreateRoom { reply, .. } => drop(reply.send(Err(error.again()))),
            Self::CreateAccount { reply, .. } => drop(reply.send(Err(error.again()))),
            Self::Follow { reply, .. } => drop(reply.send(Err(error.again()))),
            Self::Follower { reply, .. } => drop(reply.send(Err(error.again()))),
            Self::Probe { reply } => drop(reply.send(Err(error.again()))),
            Self::Stop => {}
        }
    }
}

impl StoreError {
    /// The same error for one more of those who wait.
    pub(in crate::store) fn again(&self) -> Self {
        match self {
            Self::Full => Self::Full,
            Self::Unavailable(why) => Self::Unavailable(why),
            Self::Uncertain(why) => Self::Uncertain(why.clone()),
            Self::Refused(why) => Self::Refused(why.clone()),
            Self::Internal(source) => Self::Internal(source.to_string().into()),
        }
    }
}
