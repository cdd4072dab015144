//! A bot: whoever says `!echo something` in its room, or to it in a direct message, hears `something` back.
//!
//! ```text
//! cargo run --example echo_bot -- --room general
//! ```

#![forbid(unsafe_code)]

mod common;

use clap::Parser;
use common::{Entrance, Result, receive, send};
use serde_json::{Value, json};

/// Answers `!echo something` with `something`.
#[derive(Parser)]
struct Args {
    #[command(flatten)]
    entrance: Entrance,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let Args { mut entrance } = Args::parse();
    let mut socket = entrance.enter("echo-bot").await?;
    let mut me = Value::Null;
    loop {
        let frame = receive(&mut socket).await?;
        match frame["type"].as_str() {
            Some("welcome") => me = frame["data"].clone(),
            Some("join_ack") => {
                let (room, name) = (&entrance.room, me["username"].as_str().unwrap_or("?"));
                println!("echo-bot is in #{room} as {name}");
            }
            Some("message" | "dm") => {
                if let Some(answer) = answer(&frame, &me["userId"]) {
                    send(&mut socket, answer).await?;
                }
            }
            Some("error") => complain(&frame)?,
            // Among others `message_sent` and `dm_sent`: what was said is on the server's disk.
            _ => {}
        }
    }
}

/// What there is to say to a `message` or `dm`.
fn answer(frame: &Value, my_id: &Value) -> Option<Value> {
    let heard = &frame["data"];
    let echo = heard["content"].as_str()?.strip_prefix("!echo ")?;
    if &heard["fromUser"] == my_id || echo.trim().is_empty() {
        return None;
    }
    // The nonce follows from the message that is answered: an answer that is sent twice is still one message.
    let nonce = format!("echo-{}", heard["id"]);
    let mut answer = json!({ "content": echo, "nonce": nonce, "ref": nonce });
    if frame["type"] == "dm" {
        answer["type"] = "dm".into();
        answer["to"] = heard["fromUser"].clone();
    } else {
        answer["type"] = "message".into();
        answer["room"] = heard["room"].clone();
    }
    Some(answer)
}

/// A bot that may not listen ends; one that could not answer once goes on.
fn complain(error: &Value) -> Result<()> {
    match error["ref"].as_str() {
        Some(name) if name.starts_with("echo-") => eprintln!("{name}: {}", error["message"]),
        _ => return Err(error["message"].to_string().into()),
    }
    Ok(())
}
