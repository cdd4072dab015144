//! A database's URL, taken apart as libpq does, and how it may be shown.
//!
//! **Nothing is shown but what was understood**: scheme, user, hosts, ports and database, each of characters that such a
//! name has. Where an @ may belong to a password that was not escaped, the whole is refused, since nobody can tell where the
//! password ends; no error repeats anything of the URL but parameters that are known by name.

use std::fmt::Write as _;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::error::OpenError;

/// What a URL consists of; what the parameters say of these four is in them, too.
#[derive(Default)]
pub(super) struct Address {
    scheme: &'static str,
    pub(super) user: Option<String>,
    pub(super) password: Option<Vec<u8>>,
    /// Names, addresses, and folders of sockets, with the ports that were given.
    pub(super) hosts: Vec<(String, Option<u16>)>,
    pub(super) database: Option<String>,
    /// All others, in their order.
    pub(super) parameters: Vec<(&'static str, String)>,
}

/// What is understood besides, by libpq's names.
const KNOWN: [&str; 18] = [
    "sslmode",
    "sslrootcert",
    "sslnegotiation",
    "options",
    "hostaddr",
    "connect_timeout",
    "tcp_user_timeout",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_retries",
    "target_session_attrs",
    "channel_binding",
    "load_balance_hosts",
    "user",
    "password",
    "dbname",
    "host",
];

/// What others know; it is refused by its name, which so is no piece of a password.
const OTHERS: [&str; 24] = [
    "application_name",
    "client_encoding",
    "connection_limit",
    "currentSchema",
    "fallback_application_name",
    "gssencmode",
    "krbsrvname",
    "passfile",
    "pgbouncer",
    "pool_timeout",
    "replication",
    "require_auth",
    "schema",
    "search_path",
    "service",
    "ssl",
    "sslcert",
    "sslcrl",
    "sslkey",
    "sslpassword",
    "statement_timeout",
    "statement_cache_capacity",
    "TimeZone",
    "timezone",
];

/// Stays as it is in a name that is shown.
const SHOWN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// What must be escaped, in a word for whoever forgot it.
const ESCAPE: &str = "special characters of user and password must be escaped: @ as %40, / as %2F, ? as %3F, & as %26, % as %25";

pub(super) fn wrong(what: &str) -> OpenError {
    OpenError::Url(what.into())
}

impl Address {
    /// Understands what was written.
    pub(super) fn read(url: &str) -> Result<Self, OpenError> {
        let mut address = Self::default();
        let (scheme, rest) = ["postgres", "postgresql"]
            .into_iter()
            .find_map(|scheme| Some((scheme, url.strip_prefix(scheme)?.strip_prefix("://")?)))
            .ok_or_else(|| wrong("it begins with neither postgres:// nor postgresql://"))?;
        address.scheme = scheme;
        // Credentials end at the first @, if no / comes before it.
        let rest = match rest.split_once('@') {
            Some((credentials, rest)) if !credentials.contains('/') => {
                // A password among the parameters, in which an @ was not escaped.
                if rest.contains('@')
                    || credentials
                        .split(':')
                        .next()
                        .is_some_and(|user| user.contains('?'))
                {
                    return Err(wrong(ESCAPE));
                }
                address.credentials(credentials)?;
                rest
            }
            _ => rest,
        };
        let hosts_end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (hosts, rest) = rest.split_at(hosts_end);
        // What looks like host and port may be a user and the begin of a password.
        if rest.contains('@')
            && (hosts.contains(':')
                || rest
                    .split('?')
                    .next()
                    .is_some_and(|path| path.contains('@')))
        {
            return Err(wrong(ESCAPE));
        }
        address.authority(hosts)?;
        let (path, parameters) = rest.split_once('?').unwrap_or((rest, ""));
        if let Some(name) = path.strip_prefix('/').filter(|name| !name.is_empty()) {
            address.database = Some(name_of(name, "database")?);
        }
        let parameters = parameters.split('&').enumerate();
        for (at, parameter) in parameters.filter(|(_, one)| !one.is_empty()) {
            address.parameter(at + 1, parameter)?;
        }
        address.ports()?;
        Ok(address)
    }

    fn credentials(&mut self, credentials: &str) -> Result<(), OpenError> {
        let (user, password) = match credentials.split_once(':') {
            Some((user, password)) => (user, Some(password)),
            None => (credentials, None),
        };
        if !user.is_empty() {
            self.user = Some(name_of(user, "user")?);
        }
        self.password = password.map(|password| percent_decode_str(password).collect());
        Ok(())
    }

    fn authority(&mut self, hosts: &str) -> Result<(), OpenError> {
        for one in hosts.split(',').filter(|_| !hosts.is_empty()) {
            let (host, port) = match one.strip_prefix('[').and_then(|one| one.split_once(']')) {
                Some((host, "")) => (host, None),
                Some((host, port)) => (host, Some(port.strip_prefix(':').ok_or_else(odd_host)?)),
                None => match one.split_once(':') {
                    Some((host, port)) => (host, Some(port)),
                    None => (one, None),
                },
            };
            let port = port
                .filter(|port| !port.is_empty())
                .map(port_of)
                .transpose()?;
            self.hosts.push((host_of(host)?, port));
        }
        Ok(())
    }

    fn parameter(&mut self, at: usize, written: &str) -> Result<(), OpenError> {
        let (name, value) = written.split_once('=').ok_or_else(|| {
            OpenError::Url(format!(
                "after the ? comes something that is not name=value; {ESCAPE}"
            ))
        })?;
        let Some(known) = KNOWN.iter().chain(&["port"]).find(|known| **known == name) else {
            return Err(unknown(at, name));
        };
        match *known {
            "password" => self.password = Some(percent_decode_str(value).collect()),
            "user" => self.user = Some(name_of(value, "user")?),
            "dbname" => self.database = Some(name_of(value, "database")?),
            "host" if !self.hosts.is_empty() => {
                return Err(wrong("it names its host twice, before and after the ?"));
            }
            "host" => {
                let value = text_of(value)?;
                let hosts = value.split(',').map(|host| Ok((host_of(host)?, None)));
                self.hosts = hosts.collect::<Result<_, OpenError>>()?;
            }
            known => self.parameters.push((known, text_of(value)?)),
        }
        Ok(())
    }

    /// The parameter `port` is the hosts' port.
    fn ports(&mut self) -> Result<(), OpenError> {
        let Some(at) = self.parameters.iter().position(|(name, _)| *name == "port") else {
            return Ok(());
        };
        let (_, ports) = self.parameters.remove(at);
        let ports = ports
            .split(',')
            .map(port_of)
            .collect::<Result<Vec<_>, _>>()?;
        if self.hosts.is_empty() {
            self.hosts.push((String::new(), None));
        }
        let fits = ports.len() == 1 || ports.len() == self.hosts.len();
        if !fits || self.hosts.iter().any(|(_, port)| port.is_some()) {
            return Err(wrong(
                "its ports do not fit its hosts: write host:port,host:port",
            ));
        }
        for (host, port) in self.hosts.iter_mut().zip(ports.iter().cycle()) {
            host.1 = Some(*port);
        }
        Ok(())
    }

    /// Without what opens it.
    pub(super) fn shown(&self) -> String {
        let escaped = |text: &str| utf8_percent_encode(text, SHOWN).to_string();
        let mut shown = format!("{}://", self.scheme);
        if let Some(user) = &self.user {
            shown = shown + &escaped(user) + "@";
        }
        for (at, (host, port)) in self.hosts.iter().enumerate() {
            let host = match host {
                host if host.contains('/') => escaped(host),
                host if host.contains(':') => format!("[{host}]"),
                host => host.clone(),
            };
            shown = shown + if at > 0 { "," } else { "" } + &host;
            if let Some(port) = port {
                // Writing to a string cannot fail.
                let _ = write!(shown, ":{port}");
            }
        }
        if let Some(database) = &self.database {
            shown = shown + "/" + &escaped(database);
        }
        shown
    }
}

fn unknown(at: usize, name: &str) -> OpenError {
    OpenError::Url(match OTHERS.iter().find(|other| **other == name) {
        Some(&"application_name") => {
            "application_name= cannot be chosen: chat-servers know each other by theirs".into()
        }
        Some(name) => format!("chat-server knows no parameter {name}"),
        None => format!("chat-server does not know its parameter number {at} after the ?"),
    })
}

fn odd_host() -> OpenError {
    OpenError::Url(format!("what stands for its host cannot be one; {ESCAPE}"))
}

fn port_of(port: &str) -> Result<u16, OpenError> {
    let port = port.parse().ok().filter(|port| *port > 0);
    port.ok_or_else(|| OpenError::Url(format!("its port is no number from 1 to 65535; {ESCAPE}")))
}

fn text_of(written: &str) -> Result<String, OpenError> {
    let text = percent_decode_str(written).decode_utf8();
    let text = text.map_err(|_| wrong("a part of it is no UTF-8"))?;
    match text.contains('\0') {
        true => Err(wrong("it holds a NUL")),
        false => Ok(text.into_owned()),
    }
}

fn name_of(written: &str, what: &str) -> Result<String, OpenError> {
    let name = text_of(written)?;
    match name.is_empty() || name.contains(char::is_control) {
        true => Err(OpenError::Url(format!("its {what} is no name"))),
        false => Ok(name),
    }
}

/// A name, an address, or the folder of a socket.
fn host_of(written: &str) -> Result<String, OpenError> {
    let host = text_of(written)?;
    let is_folder =
        host.starts_with('/') && !host.contains(char::is_control) && !host.contains('@');
    let is_name = |c: char| c.is_alphanumeric() || "-_.:%".contains(c);
    match is_folder || host.chars().all(is_name) {
        true => Ok(host),
        false => Err(odd_host()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_odd_url_shows_a_piece_of_its_password() {
        for url in [
            "postgres://127.0.0.1/e1?user=chat&password=hunter2&options=x@y",
            "postgres:///e1?host=/run/pg&user=chat&password=hun@hunter",
            "postgres:///e1?user=a&password=hunter2",
            "postgres://h:5432/e1?user=a&password=hunter@hunter",
            "postgres://chat:p@hunter2@127.0.0.1:5/e1",
            "postgres://chat:hunter/hunter@h/e1",
            "postgres://chat:1/hunter@h/e1",
            "postgres://chat:hunter?hunter=1@h/e1",
            "postgres://chat:hunter?hunter@h/e1?hunter=1",
            "postgres://chat:hunter#hunter@h/e1",
            "postgres://h/e1?password=a&hunter=b",
            "postgres://h?password=hunter@hunter",
            "postgres://chat:hunter2",
            "postgres://chat:hunter2/e1",
            "postgres://chat:hunter2@[h/e1",
            "postgres://chat:hunter2@h:hunter/e1",
            "postgres://chat:hunter2@h x/e1",
            "postgres://:hunter2@h",
            "postgres://chat:a%@hunter2/e1@h",
            "mysql://chat:hunter2@h",
            "POSTGRES://chat:hunter2@h",
            " postgres://chat:hunter2@h",
            "postgres:chat:hunter2@h",
            "host=h password=hunter2",
        ] {
            let said = match Address::read(url) {
                Ok(address) => address.shown(),
                Err(error) => format!("{error} {error:?} {}", error.fix()),
            };
            assert!(!said.contains("hunter"), "{url}: {said}");
        }
    }

    #[test]
    fn what_is_shown_is_where_it_is() {
        for (url, shown) in [
            (
                "postgresql://ann:s@db:5432/chat?password=t",
                "postgresql://ann@db:5432/chat",
            ),
            (
                "postgres://ann:p%40s%3Fs@[::1]:5/c",
                "postgres://ann@[::1]:5/c",
            ),
            ("postgres://ann:a?b:c@db/chat", "postgres://ann@db/chat"),
            (
                "postgres://a:1,b:2/chat?user=ann%40corp",
                "postgres://ann%40corp@a:1,b:2/chat",
            ),
            (
                "postgres:///chat?user=ann@corp",
                "postgres://ann%40corp@/chat",
            ),
            (
                "postgres:///chat?host=/run/pg&port=7",
                "postgres://%2Frun%2Fpg:7/chat",
            ),
            ("postgres:///chat", "postgres:///chat"),
        ] {
            assert_eq!(
                Address::read(url).map(|address| address.shown()).unwrap(),
                shown
            );
        }
    }
}
