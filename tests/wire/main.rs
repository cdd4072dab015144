//! The protocol on real sockets.

#[path = "../common/mod.rs"]
mod common;

mod accounts;
mod bad_input;
mod delivery;
mod golden;
mod handshake;
mod keys;
mod lifecycle;
mod listing;
mod resume;
mod slow;
mod stats;
