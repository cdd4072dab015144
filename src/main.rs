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
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return turn_away(&error),
    };
    telemetry::start(env::var("RUST_LOG").ok().as_deref());
    let secret = |name| env::var_os(name).map(|secret| secret.into_encoded_bytes());
    let surroundings = Surroundings {
        jwt_secret: secret("JWT_SECRET"),
        webhook_secret: secret("WEBHOOK_SECRET"),
        variable: Some(|name| env::var(name).ok()),
        dotenv,
    };
    match commands::run(cli, surroundings).await {
        Ok(code) => ExitCode::from(code),
        Err(error) => fail(&error.to_string(), error.exit_code()),
    }
}

/// Puts what a `.env` file says into the environment, where nothing stands yet; whether there was one.
fn read_dotenv() -> Result<bool, String> {
    let text = match std::fs::read_to_string(".env") {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => {
            return Err(format!(
                "{error}; it must be a text file that this user may read, or have another name"
            ));
        }
    };
    if dotenvy::from_read_iter(text.as_bytes()).any(|pair| pair.is_err()) {
        return Err(first_fault(&text));
    }
    let cut = text.lines().enumerate();
    if let Some((line, name)) = cut
        .into_iter()
        .find_map(|(at, line)| Some((at + 1, cuts_a_secret(line)?)))
    {
        return Err(format!(
            "line {line} ({name}) has a $, which would be read as a variable; put the value in single quotes"
        ));
    }
    dotenvy::from_read(text.as_bytes()).map_err(|_| first_fault(&text))?;
    Ok(true)
}

/// Which line cannot be read, without showing any of it: it may be a secret.
fn first_fault(text: &str) -> String {
    let breaks = |line: &str| dotenvy::from_read_iter(line.as_bytes()).any(|pair| pair.is_err());
    let line = text
        .lines()
        .position(breaks)
        .map_or("a line".into(), |line| format!("line {}", line + 1));
    format!("{line} is no NAME=value; put the value in single quotes")
}

/// What may hold a secret.
const SECRETS: [&str; 4] = [
    "JWT_SECRET",
    "DATABASE_URL",
    "BACKEND_TOKEN",
    "WEBHOOK_SECRET",
];

/// The secret that the line sets to something of which a `$…` would be replaced. `${NAME}` in a URL is meant.
fn cuts_a_secret(line: &str) -> Option<&'static str> {
    let line = line.trim_start();
    let line = line.strip_prefix("export ").unwrap_or(line).trim_start();
    let (name, value) = line.split_once('=')?;
    let name = SECRETS
        .into_iter()
        .find(|secret| *secret == name.trim_end())?;
    let value = match name {
        "DATABASE_URL" => value.replace("${", ""),
        _ => value.to_owned(),
    };
    let is_cut = value.contains('$') && !value.trim_start().starts_with('\'');
    is_cut.then_some(name)
}

/// Help, or what is wrong with the arguments; where one of them opens a database, without what opens it.
fn turn_away(error: &clap::Error) -> ExitCode {
    let said = error.to_string();
    if error.use_stderr() && said.contains("://") {
        eprint!("{}", without_credentials(&said));
    } else {
        // Nobody listens any more.
        let _ = error.print();
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

/// What stands between the first `://` of a line and its last `@` may be a password.
fn without_credentials(said: &str) -> String {
    let shown = said.split_inclusive('\n').map(|line| {
        let url = line.split_once("://");
        match url.and_then(|(before, url)| Some((before, url.rsplit_once('@')?.1))) {
            Some((before, host)) => format!("{before}://…@{host}"),
            None => line.to_owned(),
        }
    });
    shown.collect()
}

fn fail(message: &str, code: u8) -> ExitCode {
    eprintln!("chat-server: {message}");
    ExitCode::from(code)
}
