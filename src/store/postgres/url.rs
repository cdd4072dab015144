//! A database's URL, as libpq has them, with what the driver does not know of it: how far the server's certificate is judged.
//!
//! Unknown parameters are an error that names them: one that asks for more safety must not be passed over in silence. A
//! password is never repeated, nor anything that may be a piece of one.

use std::{borrow::Cow, fmt, path::PathBuf, str::FromStr as _};

use percent_encoding::percent_decode_str;
use tokio_postgres::{
    Config,
    config::{Host, SslMode},
};

use super::error::{OpenError, text};

/// Where a database is, as it was written; shown without what opens it.
#[derive(Clone, PartialEq, Eq)]
pub struct Url(String);

impl Url {
    /// Understands what was written, and connects to nothing.
    pub fn parse(written: &str) -> Result<Self, OpenError> {
        parse(written)?;
        Ok(Self(written.to_owned()))
    }

    /// As it was written, with the password: not to be shown.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&without_password(&self.0))
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
struct Asked<'a> {
    mode: Option<Cow<'a, str>>,
    roots: Option<Roots>,
}

/// The driver's settings, and what else must be kept.
pub(super) fn parse(url: &str) -> Result<(Config, Trust), OpenError> {
    if !["postgres://", "postgresql://"]
        .iter()
        .any(|scheme| url.starts_with(scheme))
    {
        return Err(wrong(
            "it begins with neither postgres:// nor postgresql://",
        ));
    }
    // The driver takes everything before the first @ for the name and the password.
    let parameters_from = url.find('@').unwrap_or(0);
    let (rest, parameters) = match url[parameters_from..].find('?') {
        Some(at) => url.split_at(parameters_from + at),
        None => (url, ""),
    };
    let (mut asked, mut left) = (Asked::default(), Vec::new());
    for parameter in parameters.trim_start_matches('?').split('&') {
        if !parameter.is_empty() && !asked.takes(parameter)? {
            left.push(parameter);
        }
    }
    let driven = match left.is_empty() {
        true => rest.to_owned(),
        false => format!("{rest}?{}", left.join("&")),
    };
    let config = Config::from_str(&driven);
    let mut config = config.map_err(|error| OpenError::Url(text(&error)))?;
    let (mode, trust) = asked.judge()?;
    // As libpq: TLS is for networks.
    let is_local = |host: &Host| matches!(host, Host::Unix(_));
    let mode = match config.get_hosts().iter().all(is_local) && config.get_hostaddrs().is_empty() {
        true => SslMode::Disable,
        false => mode,
    };
    config.ssl_mode(mode);
    Ok((config, trust))
}

/// What the driver understands besides, by libpq's names.
const KNOWN: [&str; 18] = [
    "user",
    "password",
    "dbname",
    "options",
    "application_name",
    "sslnegotiation",
    "host",
    "hostaddr",
    "port",
    "connect_timeout",
    "tcp_user_timeout",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_retries",
    "target_session_attrs",
    "channel_binding",
    "load_balance_hosts",
];

impl<'a> Asked<'a> {
    /// Whether `name=value` is for us; otherwise it is for the driver.
    fn takes(&mut self, parameter: &'a str) -> Result<bool, OpenError> {
        let Some((name, value)) = parameter.split_once('=') else {
            return Err(wrong("after the ? comes something that is not name=value"));
        };
        let value = percent_decode_str(value).decode_utf8();
        let value = value.map_err(|_| wrong("a parameter is no UTF-8"))?;
        match name {
            "sslmode" => self.mode = Some(value),
            "sslrootcert" if value == "system" => self.roots = Some(Roots::System),
            "sslrootcert" => self.roots = Some(Roots::File(PathBuf::from(value.into_owned()))),
            name if KNOWN.contains(&name) => return Ok(false),
            // A password with a ? in it that was not escaped would end here.
            name if name.len() <= 40
                && name.bytes().all(|c| c.is_ascii_lowercase() || c == b'_') =>
            {
                return Err(OpenError::Url(format!(
                    "chat-server knows no parameter {name}"
                )));
            }
            _ => return Err(wrong("it has a parameter that chat-server does not know")),
        }
        Ok(true)
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

fn wrong(what: &str) -> OpenError {
    OpenError::Url(what.into())
}

/// The URL as it may be shown: without the password, wherever it is.
fn without_password(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("postgres", ""));
    // Everything up to the last @ may be a piece of a password whose @ was not escaped.
    let (user, place) = match rest.rsplit_once('@') {
        Some((credentials, place)) => {
            let user = credentials.split(':').next().unwrap_or_default();
            (format!("{user}@"), place)
        }
        None => (String::new(), rest),
    };
    let place = place.split('?').next().unwrap_or_default();
    format!("{scheme}://{user}{place}")
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
        for url in [
            "postgres://ann:sec?ret@x/y?Sec?ret=1",
            "postgres://ann:se@x?ret@host/y",
            "mysql://ann:secret@x/y",
            "postgres://ann:secret@[x/y",
        ] {
            let said = parse(url).unwrap_err().to_string();
            assert!(!said.to_lowercase().contains("ret"), "{said}");
            assert!(!without_password(url).contains("ret"), "{url}");
        }
        let url = Url::parse("postgresql://ann:secret@db:5432/chat?password=secret").unwrap();
        assert_eq!(
            format!("{url} {url:?}"),
            ["postgresql://ann@db:5432/chat"; 2].join(" ")
        );
    }
}
