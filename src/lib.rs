//! A chat server in one file: it serves a WebSocket protocol of rooms and direct messages, keeps every message in
//! SQLite, and needs nothing else.
//!
//! # The law
//! **One log, many cursors.** A message is announced only after it is stored, in the order in which it was stored, and is
//! encoded once; everything else reads that one log from a cursor of its own. It holds by construction: only the
//! [`store`]'s writer assigns ids, only its commit feed drives the [`relay`], and only the relay publishes to the
//! [`hub`]. No handler *can* announce early, out of order, or twice.
//!
//! # The map, in reading order; imports go only upwards in this table (`tests/tidy.rs` holds it)
//! | layer | modules | know | must not know |
//! | --- | --- | --- | --- |
//! | 0 vocabulary | [`protocol`], [`clock`], [`metrics`], [`outbound`], [`seeded`] | frames, values that cannot be invalid, error and close codes, what time it is, how to ask another server | SQL, what is stored |
//! | 1 the log | [`frame`], [`auth`], [`store`] | how to encode, to trust, to store, read and follow | who is connected |
//! | 2 who is here | [`hub`], [`relay`], [`authority`] | connections, rooms, bounded queues; who judges tokens | SQL, what may be done |
//! | 3 what may be done, and what was | [`chat`], [`stats`] | the verbs, permission, rates; how it goes | sockets, status codes |
//! | 4 one conversation | [`session`] | frame in → verb → reply with its `ref` | axum |
//! | 5 doors | [`http`], [`sync`] | axum, HTTP, the page in `static/`; who outside is told of every message | SQL, permission |
//! | 6 the program | [`config`], [`server`], [`commands`], [`telemetry`] | everything | |
//!
//! # The life of one message
//! 1. `http::ws` reads a frame; [`session`] parses it and calls [`chat::Chat::send`], which judges place and rate.
//! 2. [`store::Messages::append`] puts it in line; the writer thread makes one transaction of all that is in line.
//! 3. After the commit the batch goes into the [`store::CommitFeed`], then the senders' receipts resolve.
//! 4. [`relay`] encodes it once as a [`frame::Frame`] and publishes it; [`hub`] queues it to every reader's outbox.
//! 5. Each connection's pump hands all that its outbox holds to the kernel in one `writev`.
//!
//! A reader who is too slow, and one who resumes after an earlier connection, are served the same way: their place in the
//! log is kept or moved back (`hub/queue.rs`, `chat/resume.rs`), pages are read from there (`session/catch_up.rs`), and
//! after the last one they are live again. So messages that wait can be dropped at any time, and none is lost.
//!
//! Another server that is told of every message is one more cursor, which lies beside the log and outlives the process:
//! [`sync`] reads from there, sends one message at a time, and moves it on when each is answered.
//!
//! [`seeded`] holds mistakes and sudden ends on purpose, with which tests show that they would notice; they exist only
//! with the feature `seeded_bugs`.
//!
//! Read first: `store/sqlite/writer.rs`, `hub/outbox.rs`, `session/mod.rs`.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod auth;
pub mod authority;
pub mod chat;
pub mod clock;
pub mod commands;
pub mod config;
pub mod frame;
pub mod http;
pub mod hub;
pub mod metrics;
pub mod outbound;
pub mod protocol;
pub mod relay;
pub mod seeded;
pub mod server;
pub mod session;
pub mod stats;
pub mod store;
pub mod sync;
pub mod telemetry;
