//! A database's URL, as libpq has them, with what the driver does not know of it: how far the server's certificate is judged.
//!
//! Unknown parameters are an error: one that asks for more safety must not be passed over in silence. What is shown of a
//! URL is in `address.rs`.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr as _,
};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio_postgres::{
    Config,
    config::{Host, SslMode},
};

use super::{
    address::{Address, wrong},
    error::{OpenError, text},
};

/// Where a database is, as it was written; shown without what opens it.
#[derive(Clone, PartialEq, Eq)]
pub struct Url {
    written: String,
    shown: String,
}

impl Url {
    /// Understands what was written, and connects to nothing.
    pub fn parse(written: &str) -> Result<Self, OpenError> {
        parse(written)?;
        Ok(Self {
            written: written.to_owned(),
            shown: Address::read(written)?.shown(),
        })
    }

    /// As it was written, with the password: not to be shown.
    pub(super) fn as_str(&self) -> &str {
        &self.written
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How far the connection is made safe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// In the clear, or under any certificate.
    Anybody,
    /// The certificate comes from one of these.
    IssuedBy(Roots),
    /// And it is the host's.
    HostOf(Roots),
}

/// By whom certificates may be issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Roots {
    /// Those whom this machine trusts.
    System,
    /// Those in a PEM file.
    File(PathBuf),
}

/// What the parameters of the URL say of TLS.
#[derive(Default)]
struct Asked {
    mode: Option<String>,
    roots: Option<Roots>,
}

/// The driver's settings, and what else must be kept.
pub(super) fn parse(url: &str) -> Result<(Config, Trust), OpenError> {
    let address = Address::read(url)?;
    let (mut asked, mut left) = (Asked::default(), String::new());
    for (name, value) in &address.parameters {
        if *name == "options" {
            judge_options(value)?;
        }
        if !asked.takes(name, value) {
            let value = utf8_percent_encode(value, NON_ALPHANUMERIC);
            left = format!("{left}{name}={value}&");
        }
    }
    let config = Config::from_str(&format!("postgres://?{left}"));
    let mut config = config.map_err(|error| OpenError::Url(text(&error)))?;
    let (mode, trust) = asked.judge()?;
    enter(&mut config, address);
    // As libpq: TLS is for networks.
    let is_local = |host: &Host| matches!(host, Host::Unix(_));
    let mode = match config.get_hosts().iter().all(is_local) && config.get_hostaddrs().is_empty() {
        true => SslMode::Disable,
        false => mode,
    };
    config.ssl_mode(mode);
    Ok((config, trust))
}

/// Who asks, and whom.
fn enter(config: &mut Config, address: Address) {
    if let Some(user) = address.user {
        config.user(user);
    }
    if let Some(password) = address.password {
        config.password(password);
    }
    if let Some(database) = address.database {
        config.dbname(database);
    }
    let mut hosts = address.hosts;
    if hosts.is_empty() && config.get_hostaddrs().is_empty() {
        hosts.push((String::new(), None));
    }
    for (host, port) in hosts {
        match host.as_str() {
            "" if !config.get_hostaddrs().is_empty() => {}
            "" => {
                config.host_path(socket_folder());
            }
            host => {
                config.host(host);
            }
        }
        config.port(port.unwrap_or(5432));
    }
}

/// Where this machine's server listens, of whom no host is said, as libpq is made: by distributions, or by hand.
fn socket_folder() -> &'static Path {
    let usual = Path::new("/var/run/postgresql");
    match usual.is_dir() {
        true => usual,
        false => Path::new("/tmp"),
    }
}

/// What every connection of ours is set to.
const OURS: [&str; 7] = [
    "statement_timeout",
    "lock_timeout",
    "idle_in_transaction_session_timeout",
    "client_min_messages",
    "jit",
    "default_transaction_isolation",
    "enable_seqscan",
];

/// Nothing that was asked for is overwritten in silence.
fn judge_options(options: &str) -> Result<(), OpenError> {
    let names = options.split(|c: char| c != '_' && !c.is_ascii_alphanumeric());
    // -cname=value, or -c name=value.
    let is = |name: &str, ours: &str| name == ours || name.strip_prefix('c') == Some(ours);
    let found = names
        .into_iter()
        .find_map(|name| OURS.iter().find(|ours| is(name, ours)));
    match found {
        Some(ours) => Err(OpenError::Url(format!(
            "options= sets {ours}, which chat-server sets itself"
        ))),
        None => Ok(()),
    }
}

impl Asked {
    /// Whether it is for us; otherwise it is for the driver.
    fn takes(&mut self, name: &str, value: &str) -> bool {
        match (name, value) {
            ("sslmode", _) => self.mode = Some(value.to_owned()),
            ("sslrootcert", "system") => self.roots = Some(Roots::System),
            ("sslrootcert", _) => self.roots = Some(Roots::File(PathBuf::from(value))),
            _ => return false,
        }
        true
    }

    /// libpq's meaning: `require` does not judge the certificate, unless there is something to judge it by.
    fn judge(self) -> Result<(SslMode, Trust), OpenError> {
        let is_system = self.roots == Some(Roots::System);
        Ok(match (self.mode.as_deref(), self.roots) {
            (Some("disable"), _) => (SslMode::Disable, Trust::Anybody),
            (None | Some("prefer"), None) => (SslMode::Prefer, Trust::Anybody),
            (None | Some("prefer"), Some(_)) => {
                return Err(wrong(
                    "sslrootcert checks nothing without sslmode=verify-full (or verify-ca)",
                ));
            }
            (Some("require"), None) => (SslMode::Require, Trust::Anybody),
            (Some("require" | "verify-ca"), Some(roots)) if !is_system => {
                (SslMode::Require, Trust::IssuedBy(roots))
            }
            // Anybody can have a certificate from those whom everybody trusts.
            (Some("require" | "verify-ca"), _) => {
                return Err(wrong(
                    "sslmode=verify-ca needs sslrootcert=FILE; with the machine's certificates only sslmode=verify-full says who is there",
                ));
            }
            (Some("verify-full"), roots) => (
                SslMode::Require,
                Trust::HostOf(roots.unwrap_or(Roots::System)),
            ),
            (Some("allow"), _) => {
                return Err(wrong(
                    "sslmode=allow is not offered; sslmode=prefer uses TLS where it is offered",
                ));
            }
            (Some(_), _) => {
                return Err(wrong(
                    "sslmode is one of disable, prefer, require, verify-ca and verify-full",
                ));
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode_of(parameters: &str) -> Result<(SslMode, Trust), String> {
        let url = format!("postgres://ann:secret@db.example/chat{parameters}");
        let parsed = parse(&url).map_err(|error| error.to_string())?;
        Ok((parsed.0.get_ssl_mode(), parsed.1))
    }

    #[test]
    fn sslmode_means_what_it_means_to_libpq() {
        let file = || Roots::File("/a b.pem".into());
        for (parameters, mode, trust) in [
            ("", SslMode::Prefer, Trust::Anybody),
            ("?sslmode=disable", SslMode::Disable, Trust::Anybody),
            (
                "?sslmode=prefer&connect_timeout=3",
                SslMode::Prefer,
                Trust::Anybody,
            ),
            (
                "?connect_timeout=3&sslmode=require",
                SslMode::Require,
                Trust::Anybody,
            ),
            (
                "?sslmode=require&sslrootcert=/a%20b.pem",
                SslMode::Require,
                Trust::IssuedBy(file()),
            ),
            (
                "?sslmode=verify-ca&sslrootcert=/a%20b.pem",
                SslMode::Require,
                Trust::IssuedBy(file()),
            ),
            (
                "?sslmode=verify-full",
                SslMode::Require,
                Trust::HostOf(Roots::System),
            ),
            (
                "?sslrootcert=/a%20b.pem&sslmode=verify-full",
                SslMode::Require,
                Trust::HostOf(file()),
            ),
        ] {
            assert_eq!(mode_of(parameters), Ok((mode, trust)), "{parameters}");
        }
        let socket = parse("postgres:///chat?host=/run/postgresql&sslmode=require").unwrap();
        assert_eq!(socket.0.get_ssl_mode(), SslMode::Disable);
    }

    #[test]
    fn what_is_not_known_is_named_and_a_password_is_not() {
        for (parameters, named) in [
            ("?schema=public", "schema"),
            ("?sslcert=x", "sslcert"),
            ("?sslmode=on", "sslmode"),
            ("?sslmode=allow", "sslmode"),
            ("?sslrootcert=/x", "sslrootcert"),
            ("?sslmode=verify-ca", "sslrootcert"),
            ("?sslmode=verify-ca&sslrootcert=system", "sslrootcert"),
            ("?sslmode=require&port=high", "port"),
        ] {
            let said = mode_of(parameters).unwrap_err();
            assert!(said.contains(named) && !said.contains("secret"), "{said}");
        }
    }

    #[test]
    fn without_a_host_it_is_this_machines_socket_and_nothing_asked_for_is_overwritten() {
        let (config, _) = parse("postgres:///chat").unwrap();
        assert!(matches!(config.get_hosts(), [Host::Unix(_)]));
        assert_eq!(
            (config.get_ports(), config.get_dbname()),
            (&[5432][..], Some("chat"))
        );
        let (config, _) = parse("postgres:///chat?hostaddr=127.0.0.1&port=7").unwrap();
        assert_eq!(
            (config.get_hosts().len(), config.get_ports()),
            (0, &[7][..])
        );
        let (config, _) = parse("postgres://ann:a%25b%3D@db/chat?options=-c%20a%3Db").unwrap();
        assert_eq!(config.get_password(), Some(&b"a%b="[..]));
        assert_eq!(config.get_options(), Some("-c a=b"));
        for parameters in [
            "?application_name=x",
            "?options=-cstatement_timeout%3D1",
            "?options=-c%20jit=on",
        ] {
            let said = mode_of(parameters);
            assert!(said.is_err(), "{parameters} {said:?}");
        }
    }
}
