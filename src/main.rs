//! The executable: reads the surroundings, then hands over to [`chat_server::commands`].

#![forbid(unsafe_code)]

use std::{env, io, process::ExitCode};

use chat_server::{
    commands::{self, Cli, Surroundings},
    telemetry,
};
use clap::Parser as _;

#[tokio::main]
async fn main() -> ExitCode {
    let dotenv = match read_dotenv() {
        Ok(read) => read,
        Err(fault) => return fail(&format!(".env in this folder cannot be read: {fault}"), 2),
    };
    let cli = Cli::parse();
    telemetry::start(env::var("RUST_LOG").ok().as_deref());
    let jwt_secret = env::var_os("JWT_SECRET").map(|secret| secret.into_encoded_bytes());
    match commands::run(cli, Surroundings { jwt_secret, dotenv }).await {
        Ok(code) => ExitCode::from(code),
        Err(error) => fail(&error.to_string(), error.exit_code()),
    }
}

/// Puts what a `.env` file says into the environment, where nothing stands yet; whether there was one.
fn read_dotenv() -> Result<bool, String> {
    match dotenvy::from_path(".env") {
        Ok(()) => Ok(true),
        Err(dotenvy::Error::Io(error)) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        // The library's own words would show a part of the line, and that part may be of a secret.
        Err(dotenvy::Error::LineParse(..)) => Err(broken_line()),
        Err(_) => Err("give this user permission to read it, or rename it".into()),
    }
}

/// Names the first line that cannot be read by itself, without showing what stands behind its name.
fn broken_line() -> String {
    let text = std::fs::read_to_string(".env").unwrap_or_default();
    let breaks = |line: &str| dotenvy::from_read_iter(line.as_bytes()).any(|pair| pair.is_err());
    let number = text.lines().position(breaks);
    let name = number
        .and_then(|number| text.lines().nth(number)?.split_once('='))
        .map_or("", |(name, _)| name);
    let number = number.map_or("a line".into(), |number| format!("line {}", number + 1));
    format!("{number} ({name}) is no NAME=value; put the value in single quotes")
}

fn fail(message: &str, code: u8) -> ExitCode {
    eprintln!("chat-server: {message}");
    ExitCode::from(code)
}
