//! `chat-server sync`: how the copies for other servers stand, and what to do about a message that one of them refuses.
//!
//! Works on the file or database, beside a server that runs on it or without one. Reasons are another server's words: what a terminal
//! would obey is escaped.

use std::fmt::Write as _;

use clap::{Args, Subcommand, ValueEnum, builder::RangedI64ValueParser};
use serde_json::{Value, json};

use super::print;
use crate::{
    auth::span,
    config::{StartupError, StorageArgs},
    protocol::{MAX_ID, MessageId, Timestamp, printable},
    store::{Beside, Followed, Follower, Overview, Parked, Wish},
};

/// What an operator can ask for.
#[derive(Debug, Subcommand)]
pub enum SyncCommand {
    /// Show how far each copy has come, what is wrong, and which messages were refused
    Status(StatusArgs),
    /// Have refused messages sent again: those with these ids, or all of them
    Retry(ChangeArgs),
    /// Give up refused messages: those with these ids, or all of them; an id that comes next and is not taken is passed
    Skip(ChangeArgs),
}

/// What `status` takes.
#[derive(Args, Debug)]
pub struct StatusArgs {
    #[command(flatten)]
    storage: StorageArgs,
    /// Print the same as JSON
    #[arg(long)]
    json: bool,
    /// Most refused messages to show of each copy
    #[arg(long, default_value_t = 20, value_name = "N")]
    limit: u32,
}

/// What `retry` and `skip` take.
#[derive(Args, Debug)]
pub struct ChangeArgs {
    #[command(flatten)]
    storage: StorageArgs,
    /// Ids of messages, as status shows them
    #[arg(value_name = "ID", value_parser = RangedI64ValueParser::<i64>::new().range(1..=MAX_ID))]
    ids: Vec<i64>,
    /// Only of this copy
    #[arg(
        long,
        value_enum,
        value_name = "backend|webhook",
        hide_possible_values = true
    )]
    follower: Option<Who>,
}

/// [`Follower`], as it is typed.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Who {
    Backend,
    Webhook,
}

const SKIPPED: &str = "skipped by an operator";

pub(super) async fn run(command: &SyncCommand) -> Result<u8, StartupError> {
    let text = match command {
        SyncCommand::Status(args) => status(args).await?,
        SyncCommand::Retry(args) => retry(args).await?,
        SyncCommand::Skip(args) => skip(args).await?,
    };
    print(&text)?;
    Ok(0)
}

async fn status(args: &StatusArgs) -> Result<String, StartupError> {
    let mut beside = Beside::open(&args.storage.database()?).await?;
    let overview = beside.overview(args.limit).await?;
    let database = printable(&beside.place());
    if args.json {
        return Ok(format!("{:#}\n", as_json(&overview)));
    }
    if overview.followers.is_empty() {
        return Ok(format!(
            "{database}: nothing was ever copied to another server.\n\
             Start the server with --backend-url URL (BACKEND_URL) to copy every message to your backend,\n\
             or with --webhook URL to post every message to a webhook.\n"
        ));
    }
    let now = Timestamp::now();
    Ok(format!(
        "Data    {database}\nNewest  {}\n\n{}",
        overview.latest.get(),
        as_text(&overview, now)
    ))
}

async fn retry(args: &ChangeArgs) -> Result<String, StartupError> {
    let mut beside = Beside::open(&args.storage.database()?).await?;
    match beside.retry(&args.ids(), &args.whose()).await? {
        Wish::Unknown(ids) => refuse(&ids, "not parked", args),
        Wish::Granted(done) if done.parked == 0 => Ok("nothing is parked\n".into()),
        Wish::Granted(done) => Ok(format!(
            "{} due again: a running server sends it shortly, any other once it is started\n",
            messages(done.parked)
        )),
    }
}

async fn skip(args: &ChangeArgs) -> Result<String, StartupError> {
    let mut beside = Beside::open(&args.storage.database()?).await?;
    let now = Timestamp::now();
    match beside
        .skip(&args.ids(), &args.whose(), SKIPPED, now)
        .await?
    {
        Wish::Unknown(ids) => refuse(&ids, "neither parked nor the next one", args),
        Wish::Granted(done) => {
            let mut text = String::new();
            if done.passed > 0 {
                let passed = messages(done.passed);
                let _ = writeln!(
                    text,
                    "{passed} passed, and parked: sync retry brings it back"
                );
            }
            if done.parked > 0 {
                let _ = writeln!(text, "{} given up", messages(done.parked));
            }
            if text.is_empty() {
                text.push_str("nothing is parked\n");
            }
            Ok(text)
        }
    }
}

impl ChangeArgs {
    fn ids(&self) -> Vec<MessageId> {
        self.ids
            .iter()
            .copied()
            .filter_map(MessageId::new)
            .collect()
    }

    fn whose(&self) -> Vec<Follower> {
        match self.follower {
            None => Follower::ALL.to_vec(),
            Some(Who::Backend) => vec![Follower::Backend],
            Some(Who::Webhook) => vec![Follower::Webhook],
        }
    }
}

fn refuse(ids: &[MessageId], what: &str, args: &ChangeArgs) -> Result<String, StartupError> {
    let ids: Vec<String> = ids.iter().map(|id| id.get().to_string()).collect();
    let of = args.whose();
    let of: Vec<&str> = of.iter().map(|follower| follower.as_str()).collect();
    Err(StartupError::Usage(format!(
        "{} {} {what} (of {}), and nothing was changed: chat-server sync status shows which ids there are",
        ids.join(", "),
        if ids.len() == 1 { "is" } else { "are" },
        of.join(" or "),
    )))
}

fn messages(count: u64) -> String {
    match count {
        1 => "1 message".to_owned(),
        _ => format!("{count} messages"),
    }
}

fn lag(overview: &Overview, followed: &Followed) -> i64 {
    (overview.latest.get() - followed.standing.position.get()).max(0)
}

fn as_json(overview: &Overview) -> Value {
    let parked = |parked: &Parked| {
        json!({
            "id": parked.id,
            "since": parked.since.unix_ms(),
            "reason": parked.reason,
            "due_again": parked.due_again,
        })
    };
    let followed = |followed: &Followed| {
        let standing = &followed.standing;
        let failing = standing.failing.as_ref();
        json!({
            "follower": standing.follower.as_str(),
            "position": standing.position,
            "latest": overview.latest,
            "lag": lag(overview, followed),
            "next": followed.next,
            "failing": failing.map(|(since, reason)| json!({"since": since.unix_ms(), "reason": reason})),
            "parked": standing.parked,
            "messages": followed.parked.iter().map(parked).collect::<Vec<_>>(),
        })
    };
    let followers: Vec<Value> = overview.followers.iter().map(followed).collect();
    json!({"latest": overview.latest, "followers": followers})
}

fn as_text(overview: &Overview, now: Timestamp) -> String {
    let mut rows = vec![["COPY", "POSITION", "LAG", "PARKED", "NEXT", "STATE"].map(String::from)];
    let (mut hints, mut parked) = (String::new(), String::new());
    for followed in &overview.followers {
        let standing = &followed.standing;
        let name = standing.follower.as_str();
        let next = followed.next.map(|id| id.get().to_string());
        let state = match &standing.failing {
            None => "ok".to_owned(),
            Some((since, reason)) => {
                if let Some(next) = &next {
                    let _ = writeln!(
                        hints,
                        "Message {next} is tried again and again; chat-server sync skip {next} --follower {name} passes it."
                    );
                }
                let seconds = (now.unix_ms() - since.unix_ms()).max(0) / 1000;
                format!("failing for {}: {}", span(seconds), printable(reason))
            }
        };
        rows.push([
            name.into(),
            standing.position.get().to_string(),
            lag(overview, followed).to_string(),
            standing.parked.to_string(),
            next.unwrap_or_else(|| "-".into()),
            state,
        ]);
        parked.push_str(&parked_text(followed));
    }
    let table = aligned(&rows, &[1, 2, 3, 4]);
    let blocks = [table, hints, parked].into_iter();
    let blocks: Vec<String> = blocks.filter(|block| !block.is_empty()).collect();
    blocks.join("\n")
}

fn parked_text(followed: &Followed) -> String {
    let standing = &followed.standing;
    if standing.parked == 0 {
        return String::new();
    }
    let name = standing.follower.as_str();
    let mut rows = vec![["ID", "SINCE", "REASON"].map(String::from)];
    for parked in &followed.parked {
        let due = if parked.due_again { " (due again)" } else { "" };
        rows.push([
            parked.id.get().to_string(),
            moment(parked.since),
            printable(&parked.reason) + due,
        ]);
    }
    let mut text = format!("Parked, of {name}\n");
    if !followed.parked.is_empty() {
        text.push_str(&aligned(&rows, &[0]));
    }
    let more = standing.parked.saturating_sub(followed.parked.len() as u64);
    if more > 0 {
        let _ = writeln!(
            text,
            "and {more} more: --limit {} shows all",
            standing.parked
        );
    }
    text
}

/// Columns two spaces apart; those of `right` are numbers.
fn aligned<const N: usize>(rows: &[[String; N]], right: &[usize]) -> String {
    let width = |column: usize| {
        let widths = rows.iter().map(|row| row[column].chars().count());
        widths.max().unwrap_or(0)
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let width = widths[column];
            let gap = if column == 0 { "" } else { "  " };
            let _ = match right.contains(&column) {
                true => write!(line, "{gap}{cell:>width$}"),
                false => write!(line, "{gap}{cell:<width$}"),
            };
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn moment(time: Timestamp) -> String {
    let seconds = jiff::Timestamp::from_second(time.unix_ms().div_euclid(1000));
    seconds.map_or_else(|_| time.unix_ms().to_string(), |time| time.to_string())
}
