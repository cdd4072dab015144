//! The protocol on real sockets.

#[path = "../common/mod.rs"]
mod common;

mod accounts;
mod asked;
mod bad_input;
mod delivery;
mod golden;
mod handshake;
mod jwks;
mod keys;
mod lifecycle;
mod listing;
mod resume;
mod slow;
mod stats;
