//! From what was set to what each part takes.

use std::{sync::Arc, time::Duration};

use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    auth::Tokens,
    authority::Authority,
    chat::{
        Chat, Policy, Rate,
        accounts::{AccountPolicy, Accounts},
    },
    config::{
        Config, FEED_BATCHES, HISTORY_DEFAULT, NEW_ACCOUNTS_BURST, NEW_ROOMS_BURST,
        RATE_BURST_SECONDS, READ_RETRY, RENAMES_BURST, RENAMES_PER_MINUTE, Rooms,
        SLOWEST_READER_BYTES_PER_SECOND,
    },
    http::{App, OriginRule, SocketLimits},
    hub::Hub,
    metrics::Metrics,
    protocol::{Limits, LimitsInForce},
    session::{Shared, Timing},
    stats::{Facts, Stats, Storage},
    store::{Options, Size, Store, sqlite},
};

pub(super) fn storage(config: &Config) -> Options {
    Options {
        mode: config.mode(),
        switch_mode: config.switch_mode,
        write_queue: config.limits.write_queue as usize,
        batch_max: config.limits.batch_max as usize,
        feed_batches: FEED_BATCHES,
        readers: config.limits.readers,
        patience: Duration::from_secs(config.limits.patience_seconds),
        wait: config.database_wait,
        clock: config.clock.clone(),
    }
}

/// Who judges tokens, and with what those of the built-in accounts are signed, where there are some.
pub(super) struct Judges {
    pub(super) authority: Authority,
    pub(super) accounts: Option<Arc<Tokens>>,
}

/// What keeps the log, as far as statistics tell it.
pub(super) struct Kept {
    pub(super) size: Size,
    pub(super) engine: String,
}

#[allow(
    clippy::too_many_arguments,
    reason = "it is where everything comes together"
)]
pub(super) fn app(
    config: &Config,
    store: Arc<dyn Store>,
    hub: Arc<Hub>,
    judges: Judges,
    metrics: Arc<Metrics>,
    kept: Kept,
    stop: CancellationToken,
    tasks: TaskTracker,
) -> std::io::Result<App> {
    let limits = &config.limits;
    let accounts = judges
        .accounts
        .map(|tokens| Accounts::new(store.clone(), tokens, account_policy(config)))
        .transpose()?;
    let facts = facts(config, &*store, kept);
    let stats = Stats::new(metrics.clone(), hub.clone(), config.clock.clone(), facts);
    let chat = Arc::new(Chat::new(
        store,
        hub.clone(),
        metrics.clone(),
        policy(config),
    ));
    let sessions = Arc::new(Shared {
        chat: chat.clone(),
        authority: judges.authority.clone(),
        limits: wire_limits(config),
        timing: Timing {
            hold: Duration::from_millis(limits.hold_ms),
            ping: Duration::from_secs(limits.ping_seconds),
            silence: Duration::from_secs(limits.silence_seconds),
            ask_again: Duration::from_secs(limits.auth_again_seconds),
            in_flight: limits.in_flight as usize,
            retry: READ_RETRY,
            slowest_reader: SLOWEST_READER_BYTES_PER_SECOND,
        },
        clock: config.clock.clone(),
        stop,
    });
    Ok(App {
        chat,
        hub,
        accounts,
        authority: judges.authority,
        clock: config.clock.clone(),
        origins: origins(config.public_host.clone(), config.allow_origin.clone()),
        sessions,
        socket_limits: SocketLimits {
            frame_bytes: limits.frame_bytes as usize,
            read_buffer_bytes: limits.read_buffer_bytes as usize,
            outbox_bytes: limits.outbox_bytes as usize,
            send_buffer_bytes: limits.send_buffer_bytes as usize,
            stall: Duration::from_secs(limits.stall_seconds),
            linger: Duration::from_secs(limits.linger_seconds),
        },
        metrics,
        stats: Arc::new(stats),
        tasks,
        body_bytes: limits.frame_bytes as usize,
        request_timeout: Duration::from_secs(limits.request_seconds),
    })
}

fn wire_limits(config: &Config) -> Limits {
    Limits {
        content_bytes: config.limits.content_bytes as usize,
        history_default: HISTORY_DEFAULT.min(config.limits.history_max),
        history_max: config.limits.history_max,
        history_bytes: config.limits.history_bytes as usize,
        resume_rooms: config.limits.rooms_per_connection as usize,
    }
}

fn policy(config: &Config) -> Policy {
    let limits = &config.limits;
    let per_second = f64::from(limits.rate_limit);
    Policy {
        open_rooms: config.rooms == Rooms::Open,
        rooms_max: limits.max_rooms,
        rooms_per_connection: limits.rooms_per_connection as usize,
        sends: Rate {
            per_second,
            burst: per_second * f64::from(RATE_BURST_SECONDS),
        },
        new_rooms: per_minute(limits.new_rooms_per_minute, NEW_ROOMS_BURST),
        renames: per_minute(RENAMES_PER_MINUTE, RENAMES_BURST),
        history_bytes: limits.history_bytes as usize,
        resume_max: limits.resume_max,
        page_bytes: limits.outbox_bytes as usize / 8,
        limits: limits_in_force(config),
    }
}

fn per_minute(rate: u32, burst: u32) -> Rate {
    Rate {
        per_second: f64::from(rate) / 60.0,
        burst: f64::from(burst),
    }
}

fn limits_in_force(config: &Config) -> LimitsInForce {
    let limits = &config.limits;
    LimitsInForce {
        content_bytes: limits.content_bytes as usize,
        frame_bytes: limits.frame_bytes as usize,
        history_limit: limits.history_max,
        history_bytes: limits.history_bytes as usize,
        rooms_per_connection: limits.rooms_per_connection as usize,
        resume_limit: limits.resume_max,
        rate_per_second: limits.rate_limit,
    }
}

fn facts(config: &Config, store: &dyn Store, kept: Kept) -> Facts {
    let Kept { size, engine } = kept;
    Facts {
        sqlite: sqlite::version(),
        database: engine,
        mode: config.mode().as_str(),
        epoch: store.epoch().to_owned(),
        limits: limits_in_force(config),
        storage: Box::new(move || {
            let extent = size.now();
            Storage {
                bytes: extent.bytes,
                wal_bytes: extent.wal_bytes,
            }
        }),
    }
}

fn account_policy(config: &Config) -> AccountPolicy {
    AccountPolicy {
        signup: config.signup,
        token_ttl_seconds: i64::from(config.limits.token_days) * 86_400,
        signups: per_minute(config.limits.new_accounts_per_minute, NEW_ACCOUNTS_BURST),
        hashing_at_once: config.limits.hashing_at_once as usize,
        hashing_in_line: config.limits.hashing_in_line as usize,
    }
}

/// Which web pages are let in, with this host of `--public-url` and these of `--allow-origin`.
pub(crate) fn origins(public_host: Option<String>, allowed: Vec<String>) -> OriginRule {
    OriginRule {
        public_host,
        allowed,
        own_names: own_names(),
    }
}

/// What this machine calls itself, alone and on the local network (RFC 6762 section 3).
fn own_names() -> Vec<String> {
    let name = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .to_ascii_lowercase();
    let short = name.split('.').next().unwrap_or_default().to_owned();
    if short.is_empty() {
        Vec::new()
    } else {
        vec![format!("{short}.local"), short, name]
    }
}
