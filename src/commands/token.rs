//! `chat-server token`: a token to try with, or an explanation of one.

use std::io::{self, Read as _};

use clap::Args;
use jiff::{Span, SpanRelativeTo, Unit};

use super::{Surroundings, print};
use crate::{
    auth::{LEEWAY_SECONDS, TOKEN_MAX_BYTES, Tokens, explain},
    config::{Config, StartupError, StorageArgs},
    protocol::{MAX_ID, Timestamp, UserId, Username},
    server::{self, kept_tokens},
    store::{Mode, Secrets, remembered_mode},
};

/// What `token` takes.
#[derive(Args, Debug)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["user_id", "check"]))]
pub struct TokenArgs {
    #[command(flatten)]
    storage: StorageArgs,
    /// Whose token
    #[arg(long, value_name = "ID", value_parser = clap::value_parser!(i64).range(1..=MAX_ID))]
    user_id: Option<i64>,
    /// The name others see; without it, user- and the number
    #[arg(long, value_name = "NAME", requires = "user_id")]
    username: Option<String>,
    /// The role
    #[arg(long, default_value = "user", value_name = "ROLE")]
    role: String,
    /// How long it lasts: 90s, 15m, 1h, 30d
    #[arg(long, default_value = "1h", value_name = "TIME", value_parser = seconds)]
    ttl: i64,
    /// Explain this token: what it says, what is wrong with it, how to mend it; without TOKEN, or with -, the one on
    /// standard input, which stays out of the shell's history
    #[arg(long, value_name = "TOKEN", num_args = 0..=1, default_missing_value = "-", allow_hyphen_values = true, conflicts_with_all = ["username", "role", "ttl"])]
    check: Option<String>,
}

pub(super) async fn run(args: &TokenArgs, surroundings: Surroundings) -> Result<u8, StartupError> {
    let config = Config::of_storage(&args.storage, surroundings.jwt_secret)?;
    let now = Timestamp::now().unix_ms() / 1000;
    if let Some(token) = &args.check {
        let authority = match server::backends_authority(&config)? {
            Some(authority) => authority,
            None => own_tokens(&config).await?.into(),
        };
        let read = (token == "-").then(standard_input).transpose()?;
        let token = read.as_ref().unwrap_or(token).trim();
        let token = token.strip_prefix("Bearer ").unwrap_or(token);
        let verdict = authority.identity(token, now, LEEWAY_SECONDS).await;
        print(&explain(token, now, &verdict))?;
        return Ok(u8::from(verdict.is_err()));
    }
    let tokens = match server::backends_tokens(&config)? {
        Some(tokens) => tokens,
        None if config.jwks.is_some() || config.backend.is_some() => {
            return Err(StartupError::Usage(
                "tokens are made by the backend (BACKEND_URL, --jwks-url), and no secret is set here: log in there to get one, or \
                 set JWT_SECRET on both sides"
                    .into(),
            ));
        }
        None => own_tokens(&config).await?,
    };
    let user = args.user_id.and_then(UserId::new);
    let user = user.ok_or_else(|| {
        StartupError::Usage("--user-id is missing: give the user's number".into())
    })?;
    let username = match &args.username {
        Some(name) => Username::new(name)
            .map_err(|fault| StartupError::Usage(format!("--username {fault}")))?,
        None => Username::cleaned("", user),
    };
    let token = tokens.sign(user, &username, &args.role, now, args.ttl);
    let token = token.map_err(|error| StartupError::Usage(error.to_string()))?;
    print(&format!("{token}\n"))?;
    Ok(0)
}

/// What stands on standard input, up to somewhat more than a token may have.
pub(super) fn standard_input() -> Result<String, StartupError> {
    let mut bytes = Vec::new();
    let most = 2 * TOKEN_MAX_BYTES as u64;
    let read = io::stdin().lock().take(most).read_to_end(&mut bytes);
    read.map_err(|error| StartupError::System {
        what: "the token cannot be read from standard input",
        source: error,
    })?;
    // What is not UTF-8 is no token, and is judged as it stands.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The tokens of the built-in accounts, if that is what the server takes with the same flags and environment.
async fn own_tokens(config: &Config) -> Result<Tokens, StartupError> {
    let database = &config.database;
    if remembered_mode(database).await? == Some(Mode::Integrated) {
        return Err(StartupError::Usage(format!(
            "{database} takes the tokens of a backend, and no secret is set: set JWT_SECRET, --jwt-secret-file, --jwt-public-key, \
             --jwks-url or BACKEND_URL as the server has it"
        )));
    }
    kept_tokens(&Secrets::of(&database.canonical())).await
}

/// `90s`, `15m`, `1h`, `30d`, as seconds.
fn seconds(text: &str) -> Result<i64, String> {
    let span: Span = text
        .parse()
        .map_err(|_| "use a time such as 90s, 15m, 1h or 30d".to_owned())?;
    let seconds = span
        .total((Unit::Second, SpanRelativeTo::days_are_24_hours()))
        .map_err(|error| error.to_string())?;
    if (1.0..=3.2e9).contains(&seconds) {
        Ok(seconds as i64)
    } else {
        Err("must be from 1s to 100 years".into())
    }
}
