//! The descriptions are true: the examples happen as they are told, the paths are those of the router, and both documents
//! are served to everybody. That all other answers are as described is judged wherever a test gets one: `common/described`.

#[path = "../common/mod.rs"]
mod common;

mod examples;
mod paths;
