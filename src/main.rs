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
        // The library's own words would show the line, and the line may hold the secret.
        Err(dotenvy::Error::LineParse(line, _)) => {
            let name: String = line.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            Err(format!("the line that begins with {name:?} is no NAME=value; put the value in single quotes"))
        }
        Err(_) => Err("give this user permission to read it, or rename it".into()),
    }
}

fn fail(message: &str, code: u8) -> ExitCode {
    eprintln!("chat-server: {message}");
    ExitCode::from(code)
}
