//! Where a database is, as it was written; shown without what opens it.

use std::fmt;

use tokio_postgres::{Config, config::Host};

use super::{
    error::OpenError,
    parameters::{self, Trust},
};

/// `postgres://user:password@host/database?sslmode=verify-full`, as libpq has it (`parameters.rs`).
#[derive(Clone, PartialEq, Eq)]
pub struct Url {
    config: Box<Config>,
    trust: Trust,
    shown: String,
}

impl Url {
    /// Understands what was written, and connects to nothing.
    pub fn parse(written: &str) -> Result<Self, OpenError> {
        let (config, trust) = parameters::parse(written)?;
        Ok(Self {
            shown: shown(&config),
            config: Box::new(config),
            trust,
        })
    }

    /// What the driver must know, and what the connection must be.
    pub(super) fn parts(&self) -> (&Config, &Trust) {
        (&self.config, &self.trust)
    }
}

/// User, host, port and database: what an operator looks for when it is the wrong one.
fn shown(config: &Config) -> String {
    let user = config.get_user().map(|user| format!("{user}@"));
    let ports = config.get_ports();
    let hosts = config.get_hosts().iter().enumerate().map(|(at, host)| {
        let port = ports.get(at).or(ports.first()).copied().unwrap_or(5432);
        match host {
            Host::Tcp(name) if name.contains(':') => format!("[{name}]:{port}"),
            Host::Tcp(name) => format!("{name}:{port}"),
            #[cfg(unix)]
            Host::Unix(folder) => format!("{}:{port}", folder.display()),
        }
    });
    let hosts: Vec<String> = hosts.collect();
    let database = config.get_dbname().or(config.get_user());
    format!(
        "postgres://{}{}/{}",
        user.unwrap_or_default(),
        hosts.join(","),
        database.unwrap_or_default()
    )
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_shows_where_it_leads_and_not_what_opens_it() {
        for (written, expected) in [
            (
                "postgres://alice:hush@db:6543/team",
                "postgres://alice@db:6543/team",
            ),
            (
                "postgresql://alice:hush@db",
                "postgres://alice@db:5432/alice",
            ),
            (
                "postgres://u:hush@a,b:1/c?password=hush",
                "postgres://u@a:5432,b:1/c",
            ),
            (
                "postgres://u@%2Frun%2Fpostgresql/c",
                "postgres://u@/run/postgresql:5432/c",
            ),
            ("postgres://u:hush@[::1]/c", "postgres://u@[::1]:5432/c"),
        ] {
            let url = Url::parse(written).unwrap();
            assert_eq!(url.to_string(), expected);
            assert_eq!(format!("{url:?}"), expected);
        }
        let fault = Url::parse("postgres://u:hush@h:port/c").unwrap_err();
        assert!(!fault.to_string().contains("hush"), "{fault}");
    }
}
