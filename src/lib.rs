#![forbid(unsafe_code)]
#![warn(missing_docs)]
//! chat-server
pub mod protocol;
pub mod metrics;
pub mod frame;
pub mod auth;
pub mod store;
pub mod hub;
pub mod relay;
pub mod chat;
pub mod session;
pub mod http;
pub mod config;
pub mod commands;
pub mod server;
pub mod telemetry;
