//! `chat-server`: serve until a signal comes.

use std::{
    io::{self, Write as _},
    net::IpAddr,
};

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Surroundings;
use crate::{
    config::{Config, GOOD_SECRET_BYTES, ServeArgs, StartupError},
    server::Server,
    store::{Follower, Location, Mode},
};

/// Exit code after a second signal: what shells give a program that SIGINT ended.
const INTERRUPTED: i32 = 130;

pub(super) async fn run(args: ServeArgs, surroundings: Surroundings) -> Result<u8, StartupError> {
    let mut signals = Signals::listen()?;
    let config = Config::resolve(args, surroundings.jwt_secret, surroundings.webhook_secret)?;
    warn_of_short_secret(&config);
    let started = tokio::select! {
        biased;
        started = Server::start(config.clone()) => started,
        // Nothing was accepted yet, and a file that is being opened survives any end.
        () = signals.next() => std::process::exit(INTERRUPTED),
    };
    let mut server = started?;
    greet(&format!(
        "{}ready addr={}\n",
        welcome(&server, &config, surroundings.dotenv),
        server.address
    ));
    let failed = tokio::select! {
        () = signals.next() => false,
        () = server.failed() => true,
    };
    if failed {
        tracing::error!("a part without which nothing can be served has ended: ending");
        std::process::exit(1);
    }
    tracing::info!("stopping; a second signal ends at once");
    tokio::spawn(async move {
        signals.next().await;
        std::process::exit(INTERRUPTED);
    });
    if !server.stop().await {
        // Returning would wait for the thread that does not end.
        std::process::exit(1);
    }
    Ok(0)
}

/// Prints, and goes on serving when nobody can read it.
fn greet(text: &str) {
    let mut stdout = io::stdout().lock();
    if let Err(error) = stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        tracing::warn!(%error, "the start-up text could not be printed");
    }
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// A file that grows beyond the limit on file sizes: by default that would end the process; listened to, the write
    /// fails instead and is answered like a full disk.
    _file_size: Signal,
}

impl Signals {
    fn listen() -> Result<Self, StartupError> {
        let listen = |kind| {
            signal(kind).map_err(|source| StartupError::System {
                what: "signals cannot be listened to",
                source,
            })
        };
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            _file_size: listen(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

fn warn_of_short_secret(config: &Config) {
    let Some(named) = &config.secret else { return };
    let bytes = named.secret.as_bytes().len();
    if bytes < GOOD_SECRET_BYTES {
        let name = named.name;
        tracing::warn!(
            "{name} has {bytes} bytes; use at least {GOOD_SECRET_BYTES} random ones, such as from: openssl rand -hex 32"
        );
    }
}

/// Where to click, what mode this is, where the data lies.
fn welcome(server: &Server, config: &Config, dotenv: bool) -> String {
    let port = server.address.port();
    let ip = server.address.ip();
    let mut lines = vec![
        format!("chat-server {}", env!("CARGO_PKG_VERSION")),
        String::new(),
    ];
    lines.push(format!(
        "  Page   {}",
        url(
            if ip.is_unspecified() {
                IpAddr::from([127, 0, 0, 1])
            } else {
                ip
            },
            port
        )
    ));
    if !ip.is_loopback() {
        for address in network_addresses(ip) {
            lines.push(format!(
                "         {}   from other machines on your network",
                url(address, port)
            ));
        }
        lines.push(
            "         Everybody on the network can read what is sent (ws:// is not encrypted);"
                .into(),
        );
        lines.push(
            "         for more than a demo, put a TLS proxy in front and see --public-url.".into(),
        );
    }
    match config.mode() {
        Mode::Standalone => {
            let ways = if config.signup {
                "anybody may sign up or be a guest"
            } else {
                "log in only (--no-signup)"
            };
            lines.push(format!("  Mode   standalone: built-in accounts, {ways}"));
            lines.push("         Set JWT_SECRET to let in your backend's users instead.".into());
        }
        Mode::Integrated => {
            lines.push(format!("  Mode   integrated: {}", whose_users(config)));
            lines.push(
                match config.secret {
                    Some(_) => {
                        "         chat-server token --user-id 1 --username alice prints one to try."
                    }
                    None => "         chat-server token --check explains one of them.",
                }
                .into(),
            );
        }
    }
    lines.push(format!("  Data   {}", data(server, config)));
    lines.extend(copies(server, config));
    if dotenv {
        lines.push("  Note   settings were read from .env in this folder".into());
    }
    lines.push(String::new());
    lines.join("\n") + "\n"
}

/// Who else is told of every message.
fn copies(server: &Server, config: &Config) -> Vec<String> {
    let mut lines = Vec::new();
    for state in server.copies.states() {
        let label = if lines.is_empty() { "Copy" } else { "" };
        let webhook = config.copies.webhook.as_ref();
        let webhook = webhook.filter(|_| state.follower() == Follower::Webhook.as_str());
        let (what, note) = match webhook {
            Some(webhook) if !webhook.dms => {
                ("messages in rooms go", " (direct ones with --webhook-dms)")
            }
            _ => ("every message goes", ""),
        };
        let (to, url) = (state.follower(), state.url());
        lines.push(format!("  {label:<6} {what} to the {to} at {url}{note}"));
        if let (Some(_), Some(path)) = (webhook, &server.copies.webhook_secret) {
            lines.push(format!("         signed with the secret in {path}"));
        }
    }
    lines
}

/// Who lets the backend's users in.
fn whose_users(config: &Config) -> String {
    let by = match (&config.secret, &config.public_key, &config.jwks) {
        (Some(named), ..) => format!("{}, HS256", named.name),
        (None, Some(_), _) => "--jwt-public-key".to_owned(),
        (None, None, Some((url, algorithm))) => format!("{}, keys at {url}", algorithm.as_str()),
        (None, None, None) => match &config.backend {
            Some(url) => return format!("{url} is asked whose a token is (GET /api/v1/auth/me)"),
            None => "no key".to_owned(),
        },
    };
    format!("users come with tokens of your backend ({by})")
}

/// A file by its name; a database that others may share, by its URL and with what runs it.
fn data(server: &Server, config: &Config) -> String {
    match config.database {
        Location::File(_) => server.database.clone(),
        #[cfg(feature = "postgres")]
        Location::Postgres(_) => format!("{} ({})", server.database, server.engine),
    }
}

fn url(ip: IpAddr, port: u16) -> String {
    match ip {
        IpAddr::V4(ip) => format!("http://{ip}:{port}/"),
        IpAddr::V6(ip) => format!("http://[{ip}]:{port}/"),
    }
}

/// The addresses by which other machines reach a server that listens on `ip`.
fn network_addresses(ip: IpAddr) -> Vec<IpAddr> {
    if !ip.is_unspecified() {
        return Vec::new();
    }
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    interfaces
        .iter()
        .filter(|interface| !interface.is_loopback())
        .map(|interface| interface.ip())
        // 0.0.0.0 takes no IPv6; [::] takes both.
        .filter(|address| (ip.is_ipv6() || address.is_ipv4()) && is_worth_showing(*address))
        .collect()
}

/// Link-local IPv6 addresses need a zone, which no browser takes.
fn is_worth_showing(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !address.is_link_local(),
        IpAddr::V6(address) => !address.is_unicast_link_local(),
    }
}
