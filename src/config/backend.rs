//! The other servers that this one talks to: the backend that knows the users and keeps a copy, and a webhook.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use hyper::{Uri, header::HeaderValue};

use super::{StartupError, error::usage};
use crate::{auth::Secret, sync::WebhookKey};

/// What is sent to other servers.
#[derive(Args, Clone, Debug)]
pub struct CopyArgs {
    /// Token that is sent with each copy of a message to the backend
    #[arg(
        long,
        env = "BACKEND_TOKEN",
        hide_env_values = true,
        value_name = "TOKEN"
    )]
    pub backend_token: Option<String>,
    /// Whether every message is copied to --backend-url
    #[arg(long, value_enum, default_value_t = Switch::On, value_name = "on|off", hide_possible_values = true)]
    pub backend_sync: Switch,
    /// URL to which every message is posted, signed as Standard Webhooks are
    #[arg(long, value_name = "URL")]
    pub webhook: Option<String>,
    /// File that holds the webhook's secret, whsec_… (or set WEBHOOK_SECRET); without it one is made and kept with the database
    #[arg(long, value_name = "FILE", requires = "webhook")]
    pub webhook_secret_file: Option<PathBuf>,
    /// Send direct messages to the webhook too
    #[arg(long, requires = "webhook")]
    pub webhook_dms: bool,
}

/// On or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    /// On.
    On,
    /// Off.
    Off,
}

/// Which copies leave this server.
#[derive(Clone, Debug, Default)]
pub struct Copies {
    /// The backend gets them.
    pub to_backend: bool,
    /// `Authorization` of those: `Bearer` and the token.
    pub backend_bearer: Option<HeaderValue>,
    /// A webhook gets them.
    pub webhook: Option<Webhook>,
}

/// Who is told of messages besides the backend.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// Where it listens.
    pub url: Uri,
    /// What requests are signed with; `None`: one that is made and kept beside the database.
    pub key: Option<WebhookKey>,
    /// It gets direct messages too.
    pub dms: bool,
}

impl CopyArgs {
    /// What these mean: `has_backend`, and `environment`, the value of WEBHOOK_SECRET.
    pub(super) fn resolve(
        &self,
        has_backend: bool,
        environment: Option<Vec<u8>>,
    ) -> Result<Copies, StartupError> {
        let token = self.backend_token.as_deref();
        let token = token.filter(|token| !token.is_empty());
        Ok(Copies {
            to_backend: has_backend && self.backend_sync == Switch::On,
            backend_bearer: token.map(bearer).transpose()?,
            webhook: self
                .webhook
                .as_deref()
                .map(|url| self.webhook(url, environment))
                .transpose()?,
        })
    }

    fn webhook(&self, url: &str, environment: Option<Vec<u8>>) -> Result<Webhook, StartupError> {
        const FILE: &str = "--webhook-secret-file";
        let secret = match (&self.webhook_secret_file, environment) {
            (Some(path), _) => {
                let secret = Secret::read(path).map_err(|error| {
                    StartupError::Usage(format!(
                        "{FILE} {path:?} cannot be read: {error}; give the path of a file that holds the secret"
                    ))
                })?;
                Some((FILE, secret))
            }
            (None, Some(bytes)) if !bytes.is_empty() => {
                Some(("WEBHOOK_SECRET", Secret::new(bytes)))
            }
            (None, _) => None,
        };
        let key = secret.map(|(name, secret)| {
            WebhookKey::parse(secret.as_bytes()).map_err(|fault| {
                StartupError::Usage(format!(
                    "{name} {fault}: give the secret that the receiver knows, such as whsec_ and the output of \
                     openssl rand -base64 32, or leave it out to have one made"
                ))
            })
        });
        Ok(Webhook {
            url: http_url("--webhook", url)?,
            key: key.transpose()?,
            dms: self.webhook_dms,
        })
    }
}

/// The value of `Authorization` for `token`, which is not shown.
fn bearer(token: &str) -> Result<HeaderValue, StartupError> {
    let is_visible = token.bytes().all(|byte| byte.is_ascii_graphic());
    let value = HeaderValue::from_str(&format!("Bearer {token}"));
    match value {
        Ok(mut value) if is_visible => {
            value.set_sensitive(true);
            Ok(value)
        }
        _ => usage(
            "--backend-token (BACKEND_TOKEN) has characters that no header takes: copy the whole token, without quotes, \
             spaces or line breaks",
        ),
    }
}

/// What the value of `flag` says, as it is, if that is an http or https URL. Credentials have no place in it: it is logged.
pub(crate) fn http_url(flag: &str, url: &str) -> Result<Uri, StartupError> {
    let parsed = url.parse::<Uri>().ok();
    let Some(parsed) = parsed.filter(|url| {
        matches!(url.scheme_str(), Some("http" | "https"))
            && url.host().is_some_and(|host| !host.is_empty())
    }) else {
        return usage(format!(
            "{flag} is no http:// or https:// URL: use one such as http://localhost:8080"
        ));
    };
    let authority = parsed.authority().map(|authority| authority.as_str());
    let authority = authority.unwrap_or_default();
    if authority.contains('@') {
        return usage(format!(
            "{flag} holds a user name or a password, and it is logged: leave them out"
        ));
    }
    // What is no port would be read as none, and whoever listens at the scheme's own would get what is sent.
    let is_plain = parsed.host() == Some(authority);
    if !is_plain && parsed.port_u16().is_none_or(|port| port == 0) {
        return usage(format!(
            "{flag} has no port from 1 to 65535 behind its host's colon: correct it"
        ));
    }
    Ok(parsed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::StorageArgs;

    fn args(flags: &[&str]) -> CopyArgs {
        #[derive(clap::Parser)]
        struct Program {
            #[command(flatten)]
            args: CopyArgs,
        }
        let flags = [&["chat-server"], flags].concat();
        <Program as clap::Parser>::parse_from(flags).args
    }

    fn fault(flags: &[&str], secret: Option<&str>) -> String {
        let secret = secret.map(|secret| secret.as_bytes().to_vec());
        args(flags).resolve(true, secret).unwrap_err().to_string()
    }

    const SECRET: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

    #[test]
    fn a_backend_gets_copies_unless_that_is_off() {
        let on = |flags, has| args(flags).resolve(has, None).unwrap().to_backend;
        assert!(on(&[], true));
        assert!(!on(&[], false));
        assert!(!on(&["--backend-sync", "off"], true));
        assert!(!on(&["--backend-sync", "off"], false));
    }

    #[test]
    fn a_token_goes_into_a_header_or_is_told_by_its_flag_and_never_shown() {
        let copies = args(&["--backend-token", "abc.def"]).resolve(true, None);
        let bearer = copies.unwrap().backend_bearer.unwrap();
        assert_eq!(bearer, "Bearer abc.def");
        assert!(!format!("{bearer:?}").contains("abc"));
        for token in ["SECRET\nx", "SECRET x", "SECRET\u{e9}"] {
            let fault = fault(&["--backend-token", token], None);
            assert!(
                fault.starts_with("--backend-token (BACKEND_TOKEN) has"),
                "{fault}"
            );
            assert!(!fault.contains("SECRET"));
        }
    }

    #[test]
    fn a_webhook_keeps_its_url_to_the_last_slash_and_its_secret_is_read() {
        let flags = [
            "--webhook",
            "https://hooks.example/in/?a=b",
            "--webhook-dms",
        ];
        let webhook = args(&flags)
            .resolve(false, Some(SECRET.into()))
            .unwrap()
            .webhook
            .unwrap();
        assert_eq!(webhook.url, "https://hooks.example/in/?a=b");
        assert!(webhook.dms && webhook.key.is_some());
        let made = args(&flags[..2])
            .resolve(false, Some(Vec::new()))
            .unwrap()
            .webhook
            .unwrap();
        assert!(!made.dms && made.key.is_none());
    }

    #[test]
    fn a_backends_url_leads_to_one_place_or_is_told_by_its_flag() {
        #[derive(clap::Parser)]
        struct Program {
            #[command(flatten)]
            args: StorageArgs,
        }
        let backend = |url| {
            let flags = ["chat-server", "--backend-url", url];
            <Program as clap::Parser>::parse_from(flags).args.backend()
        };
        for (url, is) in [
            ("http://localhost:8080/", "http://localhost:8080/"),
            (
                "HTTPS://backend.example/app//",
                "https://backend.example/app",
            ),
            ("http://[::1]", "http://[::1]/"),
            ("http://[::1]:8080", "http://[::1]:8080/"),
        ] {
            assert_eq!(backend(url).unwrap().unwrap(), is);
        }
        for url in [
            "",
            " ",
            "localhost:8080",
            "http://",
            "http://:8080",
            "http://localhost:",
            "http://localhost:0",
            "http://localhost:80800",
            "http://[::1]:80800",
            "http://user:SECRET@localhost:8080",
            "http://localhost:8080/?key=SECRET",
            "http://local host:8080",
            "http://localhost:8080\nSECRET",
        ] {
            let fault = backend(url).unwrap_err().to_string();
            let is_told = fault.starts_with("--backend-url (BACKEND_URL) ");
            assert!(is_told && !fault.contains("SECRET"), "{url}: {fault}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_webhook_is_told_by_its_flag() {
        let url = ["--webhook", "http://localhost:1"];
        assert!(
            fault(&url, Some("hunter2")).starts_with("WEBHOOK_SECRET does not begin with whsec_")
        );
        assert!(!fault(&url, Some("hunter2")).contains("hunter2"));
        let file = [&url[..], &["--webhook-secret-file", "/nowhere/at/all"]].concat();
        assert!(
            fault(&file, None)
                .starts_with("--webhook-secret-file \"/nowhere/at/all\" cannot be read")
        );
        for url in [
            "hooks.example",
            "ftp://hooks.example",
            "http://",
            "https://user:pw@hooks.example",
        ] {
            assert!(
                fault(&["--webhook", url], None).starts_with("--webhook "),
                "{url}"
            );
        }
    }
}
