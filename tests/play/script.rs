//! Scripts: everything that clients, disks, clocks and operators may do to a server, in any order.

use proptest::{prelude::*, strategy::Union};

use super::link::{Change, Ending, Fault};
use crate::oracle::trace::Where;

/// The users of the devices: the first two are one user's.
pub const DEVICES: [i64; 4] = [1, 1, 2, 3];
/// The last of them may not be made: the server holds as many rooms as it may without it.
pub const ROOMS: [&str; 4] = ["general", "red", "blue", "refused"];

/// Which device: an index into [`DEVICES`].
pub type Device = usize;

/// One step.
#[derive(Clone, Debug)]
pub enum Op {
    /// Connects as a careful client does, unless it is connected.
    Connect(Device),
    /// Connects and says nothing.
    ConnectSilently(Device),
    Cut(Device),
    Join(Device, usize),
    Leave(Device, usize),
    Say(Device, Target, Kind),
    /// Several in one go, too long for the outbox of whoever does not read.
    Flood(Device, Target, u8),
    /// The newest send once more.
    Repeat(Device, Again),
    History(Device, Target, Span, u32),
    /// Reads nothing from now on, or reads again.
    Stall(Device, bool),
    /// Reads so many frames although it is stalled.
    Sip(Device, u8),
    Resume(Device, Cursor),
    /// Waits for the answers to everything so far.
    Settle(Device),
    /// Lets others have their turn.
    Turns(u8),
    Disk(Fault),
    Backup,
    Restart(Ending, Change),
    /// Moves the wall clock by an hour.
    Clock {
        forward: bool,
    },
    /// Lets half a minute go by.
    Wait,
    /// Lets every token expire: an hour goes by on the wall, and the servers look at it.
    Expire,
}

/// Where to: a room, or the user of a device.
#[derive(Clone, Copy, Debug)]
pub enum Target {
    Room(usize),
    User(Device),
}

impl Target {
    pub fn place(self) -> Where {
        match self {
            Self::Room(room) => Where::Room(ROOMS[room].into()),
            Self::User(device) => Where::Dm(DEVICES[device]),
        }
    }
}

/// How a send is made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    WithNonce,
    WithoutNonce,
    /// Under one nonce on both devices of the user at the same time.
    OnBoth,
    /// To a user who does not exist.
    ToNobody,
}

/// How a send is repeated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Again {
    Same,
    /// On the user's other device.
    Elsewhere,
    /// Another text under the same nonce.
    Changed,
}

/// From where to resume on an open connection.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cursor {
    /// Where it is.
    Here,
    /// Right after what it was last told that it had sent.
    Acked,
    /// Twice at once.
    Twice,
    Behind,
    Zero,
    Ahead,
    OtherEpoch,
    NoEpoch,
    /// With a room that is refused.
    Refused,
}

/// Which part of a history.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Span {
    Newest,
    /// Before, or after, what lies so far before the cursor.
    Before(u8),
    After(u8),
}

/// Scripts of up to `most` steps, of which everybody is there from the beginning.
pub fn scripts(most: usize) -> impl Strategy<Value = Vec<Op>> {
    prop::collection::vec(op(), 1..=most)
}

fn op() -> impl Strategy<Value = Op> {
    let device = || 0..DEVICES.len();
    let room = || 0..ROOMS.len();
    let target = || {
        prop_oneof![
            5 => (0..3usize).prop_map(Target::Room),
            1 => Just(Target::Room(3)),
            3 => device().prop_map(Target::User),
        ]
    };
    let kind = prop_oneof![
        6 => Just(Kind::WithNonce),
        3 => Just(Kind::WithoutNonce),
        2 => Just(Kind::OnBoth),
        1 => Just(Kind::ToNobody),
    ];
    let again = prop_oneof![
        Just(Again::Same),
        Just(Again::Elsewhere),
        Just(Again::Changed)
    ];
    let span = prop_oneof![
        Just(Span::Newest),
        (0..12u8).prop_map(Span::Before),
        (0..12u8).prop_map(Span::After),
    ];
    let cursor = prop_oneof![
        4 => Just(Cursor::Here),
        2 => Just(Cursor::Acked),
        1 => Just(Cursor::Twice),
        1 => Just(Cursor::Behind),
        1 => Just(Cursor::Zero),
        1 => Just(Cursor::Ahead),
        1 => Just(Cursor::OtherEpoch),
        1 => Just(Cursor::NoEpoch),
        1 => Just(Cursor::Refused),
    ];
    let fault = prop_oneof![
        2 => any::<bool>().prop_map(Fault::Full),
        3 => any::<bool>().prop_map(Fault::Held),
        2 => any::<bool>().prop_map(Fault::Uncertain),
    ];
    let restart = prop_oneof![
        4 => Just((Ending::Crash, Change::Keep)),
        2 => Just((Ending::Stop, Change::Keep)),
        1 => Just((Ending::Stop, Change::Wipe)),
        1 => Just((Ending::Crash, Change::Restore)),
        1 => Just((Ending::Stop, Change::Restore)),
    ];
    Union::new_weighted(vec![
        (10, device().prop_map(Op::Connect).boxed()),
        (2, device().prop_map(Op::ConnectSilently).boxed()),
        (6, device().prop_map(Op::Cut).boxed()),
        (
            14,
            (device(), room()).prop_map(|(d, r)| Op::Join(d, r)).boxed(),
        ),
        (
            3,
            (device(), room())
                .prop_map(|(d, r)| Op::Leave(d, r))
                .boxed(),
        ),
        (
            26,
            (device(), target(), kind)
                .prop_map(|(d, t, k)| Op::Say(d, t, k))
                .boxed(),
        ),
        (
            7,
            (device(), target(), 2..12u8)
                .prop_map(|(d, t, n)| Op::Flood(d, t, n))
                .boxed(),
        ),
        (
            6,
            (device(), again)
                .prop_map(|(d, a)| Op::Repeat(d, a))
                .boxed(),
        ),
        (
            5,
            (device(), target(), span, 1..9u32)
                .prop_map(|(d, t, s, n)| Op::History(d, t, s, n))
                .boxed(),
        ),
        (
            8,
            (device(), any::<bool>())
                .prop_map(|(d, on)| Op::Stall(d, on))
                .boxed(),
        ),
        (
            3,
            (device(), 1..6u8).prop_map(|(d, n)| Op::Sip(d, n)).boxed(),
        ),
        (
            6,
            (device(), cursor)
                .prop_map(|(d, c)| Op::Resume(d, c))
                .boxed(),
        ),
        (6, device().prop_map(Op::Settle).boxed()),
        (10, (1..12u8).prop_map(Op::Turns).boxed()),
        (5, fault.prop_map(Op::Disk).boxed()),
        (2, Just(Op::Backup).boxed()),
        (3, restart.prop_map(|(e, c)| Op::Restart(e, c)).boxed()),
        (
            1,
            any::<bool>()
                .prop_map(|forward| Op::Clock { forward })
                .boxed(),
        ),
        (1, Just(Op::Wait).boxed()),
        (1, Just(Op::Expire).boxed()),
    ])
}
