//! A chat server in one file: it serves a WebSocket protocol of rooms and direct messages, keeps every message in
//! SQLite, and needs nothing else. With the feature `postgres` it keeps them in PostgreSQL, and several nodes serve one log.
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
//! # One machine, and more
//! [`store::open`] gives what this program needs of a database: a [`store::Store`], and the feed of what is
//! committed. Nothing above [`store`] knows which it is. With PostgreSQL the feed also brings what other nodes and other
//! programs stored, in the one order of the log; a node adds readers, and no order of its own.
//!
//! Measured in one run of `examples/load nodes` on two cores that servers, database and clients share (48 senders, 16 messages
//! each under way; README): one server over a file stored 59,214 messages/s in 234 commits/s; one, two and three nodes over
//! PostgreSQL 18,237, 20,423 and 14,779 in 71, 106 and 115; a node of three delivered 235,409 messages/s to its readers, all
//! three 706,226; at 300 messages/s a message took 3.2 ms (median) and 12.1 ms (p99) from one of three nodes to another.
//!
//! **What bounds a cluster** is that one order. Every commit waits for the one before it, over all nodes, and for the disk:
//! commits a second are bounded by the disk's syncs, messages a second by how many share a commit. So more nodes carry more
//! connections and more deliveries, and not more messages: the same senders on more nodes make smaller batches. Fan-out is
//! each node's own, and a node reads each message of the others once, however many readers it has. The first bound that a
//! team would meet is the sends of one very busy minute, and it is met by waiting senders, not by lost messages.
//!
//! **Beyond one PostgreSQL.** The next step is one writer for all nodes: they hand their batches to the node that holds the
//! log, which makes one transaction of all of them, as one node does today; it enters in `store/postgres/writer.rs` and is
//! seen by nobody. After it comes another engine: a log that is replicated by itself and hands out positions (NATS JetStream,
//! or a Raft group of the nodes over their own files), with a database beside it for histories. It enters as one more
//! implementation of [`store::Store`] and is judged by the laws in `tests/store`. What no engine changes is that one order
//! has one head; who outgrows that gives each group of rooms a log of its own, with a cursor for each, and that is a change of
//! the protocol.
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
