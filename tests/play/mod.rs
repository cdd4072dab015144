//! Scripts, those who play them, and the worlds in which they are played.

#![allow(
    async_fn_in_trait,
    reason = "every world runs on one thread or in one runtime, and nobody names these futures"
)]

pub mod actor;
pub mod core;
pub mod file;
pub mod kept;
pub mod link;
pub mod memory;
pub mod player;
pub mod recorder;
pub mod script;
pub mod socket;
pub mod stored;
#[cfg(feature = "postgres")]
pub mod tables;
pub mod tally;
pub mod transcript;
