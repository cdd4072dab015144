//! What the executable can do. Only here, in `main` and in `telemetry` is anything printed.

mod copy;
mod doctor;
mod new_epoch;
#[cfg(feature = "seeded_bugs")]
mod seeded;
mod serve;
mod sync;
mod token;

use std::io::{self, Write as _};

use clap::{Parser, Subcommand};

use crate::config::{ServeArgs, StartupError, StorageArgs};

/// A chat server in one file.
#[derive(Debug, Parser)]
#[command(name = "chat-server", version, about, args_conflicts_with_subcommands = true, after_help = AFTER_HELP)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: ServeArgs,
    #[cfg(feature = "seeded_bugs")]
    #[command(flatten)]
    seeded: seeded::SeededArgs,
}

const AFTER_HELP: &str = "\
Without a command it serves. Flags come first, then the environment, then a .env file in this folder.

Environment only:
  JWT_SECRET  the secret your backend signs its tokens with (HS256); without it, and without
              --jwt-public-key, the built-in accounts are open
  WEBHOOK_SECRET  the secret that the webhook is signed with (whsec_…), instead of one that is made
  RUST_LOG    what is logged, such as chat_server=debug";

#[derive(Debug, Subcommand)]
enum Command {
    /// Print a token, or explain one
    Token(token::TokenArgs),
    /// Look for what is wrong with these settings, this machine and the servers around, and say how to mend it
    Doctor(Box<doctor::DoctorArgs>),
    /// Rename the log of a file or database that was put back by hand, so that no client takes it for what it knew
    NewEpoch(StorageArgs),
    /// Move everything into another database: a file into PostgreSQL, PostgreSQL into a file
    Copy(copy::CopyArgs),
    /// See how the copies for other servers stand, and decide about messages that one refused
    #[command(subcommand)]
    Sync(sync::SyncCommand),
}

/// What `main` found outside the command line.
#[derive(Debug, Default)]
pub struct Surroundings {
    /// The value of JWT_SECRET.
    pub jwt_secret: Option<Vec<u8>>,
    /// The value of WEBHOOK_SECRET.
    pub webhook_secret: Option<Vec<u8>>,
    /// The value of any other variable, for who names one.
    pub variable: Option<fn(&str) -> Option<String>>,
    /// A `.env` file was read.
    pub dotenv: bool,
}

/// Runs what was asked for; the exit code.
pub async fn run(cli: Cli, surroundings: Surroundings) -> Result<u8, StartupError> {
    #[cfg(feature = "seeded_bugs")]
    seeded::arm(&cli.seeded);
    match cli.command {
        Some(Command::Token(args)) => token::run(&args, surroundings).await,
        Some(Command::Doctor(args)) => doctor::run(*args, surroundings).await,
        Some(Command::NewEpoch(storage)) => new_epoch::run(&storage).await,
        Some(Command::Copy(args)) => copy::run(&args, &surroundings).await,
        Some(Command::Sync(command)) => sync::run(&command).await,
        None => serve::run(cli.serve, surroundings).await,
    }
}

/// Prints the answer of a command, which nobody may be there to read.
fn print(text: &str) -> Result<(), StartupError> {
    let mut stdout = io::stdout().lock();
    let printed = stdout.write_all(text.as_bytes());
    printed
        .and_then(|()| stdout.flush())
        .map_err(|source| StartupError::System {
            what: "the answer cannot be written to standard output",
            source,
        })
}
