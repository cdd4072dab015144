//! The numbers: every limit with its unit, its reason and its flag.

use std::time::Duration;

use clap::{Args, Parser, builder::TypedValueParser};

use super::{StartupError, error::usage};

const MIB: u32 = 1024 * 1024;
const DAY_SECONDS: u64 = 86_400;

/// A number of things or bytes, within what makes sense and fits every part.
fn count(least: u32, most: u32) -> impl TypedValueParser<Value = u32> {
    clap::value_parser!(u32).range(i64::from(least)..=i64::from(most))
}

/// A span of time, short enough to be added to any clock.
fn time(least: u64, most: u64) -> impl TypedValueParser<Value = u64> {
    clap::value_parser!(u64).range(least..=most)
}

/// The limits, each with its reason. Reaching one is answered with a code, logged and counted.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Limits (--help says why)")]
pub struct Limits {
    /// Messages per second and user, with bursts of four times that; 0 is off. A person types one
    #[arg(long, default_value_t = 50, value_name = "N")]
    pub rate_limit: u32,
    /// Open connections; beyond, 503. At about 13 KB each, 10,000 take 130 MB
    #[arg(long, default_value_t = 10_000, value_name = "N", value_parser = count(1, 1_000_000))]
    pub max_connections: u32,
    /// Rooms in all; one takes about 200 bytes on disk, so 100,000 take 20 MB
    #[arg(long, default_value_t = 100_000, value_name = "N")]
    pub max_rooms: u64,
    /// Rooms made by one user in a minute, with bursts of 500: what one connection can hold, all new
    #[arg(long, default_value_t = 60, value_name = "N", hide_short_help = true, value_parser = count(1, 1_000_000))]
    pub new_rooms_per_minute: u32,
    /// Accounts and guests made from one address in a minute, with bursts of 100; this machine's own are not counted
    #[arg(long, default_value_t = 30, value_name = "N", hide_short_help = true, value_parser = count(1, 1_000_000))]
    pub new_accounts_per_minute: u32,
    /// Rooms that one connection can join
    #[arg(long, default_value_t = 500, value_name = "N", hide_short_help = true, value_parser = count(1, 100_000))]
    pub rooms_per_connection: u32,
    /// Bytes of one message's text; four screens of it
    #[arg(long, default_value_t = 16 * 1024, value_name = "BYTES", hide_short_help = true, value_parser = count(1, MIB))]
    pub content_bytes: u32,
    /// Bytes of one frame: a text of which every third byte is escaped, and its envelope
    #[arg(long, default_value_t = 64 * 1024, value_name = "BYTES", hide_short_help = true, value_parser = count(1024, 16 * MIB))]
    pub frame_bytes: u32,
    /// Messages in one history
    #[arg(long, default_value_t = 500, value_name = "N", hide_short_help = true, value_parser = count(1, 10_000))]
    pub history_max: u32,
    /// Bytes of one history: half of what may wait for a connection
    #[arg(long, default_value_t = 512 * 1024, value_name = "BYTES", hide_short_help = true, value_parser = count(1024, 256 * MIB))]
    pub history_bytes: u32,
    /// Missed messages that one resume replays; beyond, a client does better with a page of history
    #[arg(long, default_value_t = 1000, value_name = "N", hide_short_help = true, value_parser = count(1, 1_000_000))]
    pub resume_max: u32,
    /// Bytes that wait for one slow connection before it is served from the log: 1 MiB is 3,000 messages of a line
    #[arg(long, default_value_t = 1024 * 1024, value_name = "BYTES", hide_short_help = true, value_parser = count(4096, 1024 * MIB))]
    pub outbox_bytes: u32,
    /// Bytes that the system may hold for one connection besides: what a slow reader is late by, and 10,000 of them cost 2 GB
    #[arg(long, default_value_t = 192 * 1024, value_name = "BYTES", hide_short_help = true, value_parser = count(4096, 64 * MIB))]
    pub send_buffer_bytes: u32,
    /// Seconds in which a connection must take something of what waits for it
    #[arg(long, default_value_t = 30, value_name = "SECONDS", hide_short_help = true, value_parser = time(1, DAY_SECONDS))]
    pub stall_seconds: u64,
    /// Seconds between pings; proxies cut what is idle for 60
    #[arg(long, default_value_t = 25, value_name = "SECONDS", hide_short_help = true, value_parser = time(1, DAY_SECONDS))]
    pub ping_seconds: u64,
    /// Seconds of silence after which a connection is dead: two pings and an answer's time
    #[arg(long, default_value_t = 60, value_name = "SECONDS", hide_short_help = true, value_parser = time(1, DAY_SECONDS))]
    pub silence_seconds: u64,
    /// Milliseconds for which nothing is pushed to a connection that has asked nothing yet
    #[arg(long, default_value_t = 1000, value_name = "MS", hide_short_help = true, value_parser = time(0, 1000 * DAY_SECONDS))]
    pub hold_ms: u64,
    /// Sends of one connection on their way to the disk at once: enough to fill half a commit
    #[arg(long, default_value_t = 128, value_name = "N", hide_short_help = true, value_parser = count(1, 65_536))]
    pub in_flight: u32,
    /// Writes in line for the disk; four commits' worth
    #[arg(long, default_value_t = 1024, value_name = "N", hide_short_help = true, value_parser = count(1, 65_536))]
    pub write_queue: u32,
    /// Writes in one commit; a sync costs as much as about 300 inserts
    #[arg(long, default_value_t = 256, value_name = "N", hide_short_help = true, value_parser = count(1, 4096))]
    pub batch_max: u32,
    /// Reads of the database at the same time
    #[arg(long, default_value_t = 4, value_name = "N", hide_short_help = true, value_parser = count(1, 64))]
    pub readers: u32,
    /// Seconds that a request waits for a place in line before it is refused as unavailable
    #[arg(long, default_value_t = 5, value_name = "SECONDS", hide_short_help = true, value_parser = time(1, DAY_SECONDS))]
    pub patience_seconds: u64,
    /// Bytes of each connection's read buffer; 10,000 idle connections make 40 MB of it
    #[arg(long, default_value_t = 4096, value_name = "BYTES", hide_short_help = true, value_parser = count(256, MIB))]
    pub read_buffer_bytes: u32,
    /// Seconds in which the head of an HTTP request must arrive
    #[arg(long, default_value_t = 10, value_name = "SECONDS", hide_short_help = true, value_parser = time(1, DAY_SECONDS))]
    pub header_seconds: u64,
    /// Seconds that an HTTP request may take
    #[arg(long, default_value_t = 30, value_name = "SECONDS", hide_short_help = true, value_parser = time(1, DAY_SECONDS))]
    pub request_seconds: u64,
    /// Seconds for which a closed connection's last words are waited for
    #[arg(long, default_value_t = 2, value_name = "SECONDS", hide_short_help = true, value_parser = time(0, DAY_SECONDS))]
    pub linger_seconds: u64,
    /// Seconds that open connections get when the server stops
    #[arg(long, default_value_t = 5, value_name = "SECONDS", hide_short_help = true, value_parser = time(0, DAY_SECONDS))]
    pub stop_seconds: u64,
    /// Seconds that a backend or webhook may take to answer a copy: ten times what a slow one takes
    #[arg(long, default_value_t = 10, value_name = "SECONDS", hide_short_help = true, value_parser = time(1, 600))]
    pub sync_timeout_seconds: u64,
    /// Seconds between attempts at a copy, at most: one that is back waits no longer than that, and one request is no load
    #[arg(long, default_value_t = 30, value_name = "SECONDS", hide_short_help = true, value_parser = time(1, DAY_SECONDS))]
    pub sync_backoff_seconds: u64,
    /// Passwords hashed at once, at 19 MiB each
    #[arg(long, default_value_t = 2, value_name = "N", hide_short_help = true, value_parser = count(1, 64))]
    pub hashing_at_once: u32,
    /// Passwords that wait to be hashed; at 20 ms each the last waits two seconds or so
    #[arg(long, default_value_t = 128, value_name = "N", hide_short_help = true, value_parser = count(1, 10_000))]
    pub hashing_in_line: u32,
    /// Milliseconds in which the backend must say whose a token is; somebody waits before an open page
    #[arg(long, default_value_t = 2000, value_name = "MS", hide_short_help = true, value_parser = time(1, 60_000))]
    pub auth_timeout_ms: u64,
    /// Seconds for which the backend's yes to a token is believed; so long somebody whom it has locked out may still connect
    #[arg(long, default_value_t = 60, value_name = "SECONDS", hide_short_help = true, value_parser = time(0, 60))]
    pub auth_cache_seconds: u64,
    /// Seconds after which the backend is asked again about the token of an open connection, unless the token tells its end
    #[arg(long, default_value_t = 300, value_name = "SECONDS", hide_short_help = true, value_parser = time(1, DAY_SECONDS))]
    pub auth_again_seconds: u64,
    /// Days that a built-in account's token lasts
    #[arg(long, default_value_t = 30, value_name = "DAYS", hide_short_help = true, value_parser = count(1, 3650))]
    pub token_days: u32,
}

/// Bursts are this many seconds of `--rate-limit`.
pub const RATE_BURST_SECONDS: u32 = 4;
/// Names that one user's tokens may bring in a minute, and at once: a person is renamed once a year, and each costs a commit.
pub const RENAMES_PER_MINUTE: u32 = 6;
/// See [`RENAMES_PER_MINUTE`].
pub const RENAMES_BURST: u32 = 10;
/// Accounts and guests that one address may make at once: a class behind one router.
pub const NEW_ACCOUNTS_BURST: u32 = 100;
/// New rooms that one user may make at once.
pub const NEW_ROOMS_BURST: u32 = 500;
/// Messages in a history when the request names no limit.
pub const HISTORY_DEFAULT: u32 = 50;
/// Commits that the relay may be behind the writer.
pub const FEED_BATCHES: usize = 64;
/// Bytes a second at which a peer must read to be heard of in time: a ping waits behind what was written before it. With
/// 400 KB in the kernels' buffers on both sides, a dead peer is found 100 s later than `--silence-seconds`.
pub const SLOWEST_READER_BYTES_PER_SECOND: usize = 4096;
/// Before the log is asked again for what a reader has missed, when all readers of the database were busy for as long as
/// `--patience-seconds`.
pub const READ_RETRY: Duration = Duration::from_secs(1);
/// Files that the process needs besides its connections: database, log, listener, readers and some to spare.
pub const SPARE_FILES: u32 = 128;
/// Below this many bytes a secret is warned of (RFC 7518 section 3.2 wants as many as the hash has: 32).
pub const GOOD_SECRET_BYTES: usize = 32;
/// Below this many bytes a secret can be guessed, and listening beyond this machine needs `--allow-weak-secret`.
pub const WEAK_SECRET_BYTES: usize = 16;

impl Default for Limits {
    fn default() -> Self {
        #[derive(Parser)]
        struct Nothing {
            #[command(flatten)]
            limits: Limits,
        }
        Nothing::parse_from(["chat-server"]).limits
    }
}

impl Limits {
    pub(super) fn check(&self) -> Result<(), StartupError> {
        if self.content_bytes >= self.frame_bytes {
            return usage(
                "--content-bytes must be smaller than --frame-bytes, since a content travels in a frame",
            );
        }
        if self.silence_seconds <= self.ping_seconds {
            return usage(
                "--silence-seconds must be larger than --ping-seconds, or every quiet connection is closed",
            );
        }
        if self.history_bytes > self.outbox_bytes / 2 {
            return usage(
                "--history-bytes must not be larger than half of --outbox-bytes, where a history waits among messages",
            );
        }
        Ok(())
    }
}
