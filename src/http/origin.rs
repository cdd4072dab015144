//! Which web pages may talk to this server (RFC 6454).
//!
//! A browser sends `Origin` with every WebSocket handshake and cannot be made to lie about it. Being equal to `Host` is
//! not enough: after DNS rebinding a stranger's page bears its own name in both. So the name itself must be one that
//! can only be this machine, or one that the operator gave.

use std::net::IpAddr;

use axum::http::{HeaderMap, header, uri::Authority};

use crate::protocol::{ErrorCode, Reject};

/// What the operator allows besides this machine itself.
#[derive(Clone, Debug, Default)]
pub struct OriginRule {
    /// Host of the public URL, in lower case.
    pub public_host: Option<String>,
    /// Whole origins, in lower case.
    pub allowed: Vec<String>,
    /// This machine's own names, in lower case.
    pub own_names: Vec<String>,
}

impl OriginRule {
    /// Allows a request without `Origin` (a native client) and one whose origin is known.
    pub fn judge(&self, headers: &HeaderMap) -> Result<(), Reject> {
        let mut origins = headers.get_all(header::ORIGIN).iter();
        let Some(origin) = origins.next() else {
            return Ok(());
        };
        let origin = origin
            .to_str()
            .unwrap_or("(not ASCII)")
            .to_ascii_lowercase();
        let host = host(headers);
        if origins.next().is_none() && self.allows(&origin, host.as_deref()) {
            return Ok(());
        }
        let shown: String = origin.chars().take(100).collect();
        let mut message = format!(
            "the web page at origin {shown} may not connect: start the server with --allow-origin {shown}"
        );
        // Perhaps its own page, behind a proxy; perhaps a stranger's name for this machine. The operator knows.
        if host.is_some() && web_name(&origin) == host {
            message += &format!(", or with --public-url {shown} if that is where others reach it");
        }
        Err(Reject::new(ErrorCode::Forbidden, message))
    }

    /// Whether somebody on this machine asks, of a request that came over loopback: `Host` names this machine as only
    /// this machine would, and no proxy passed it on. One that tells nothing of itself is known by `--public-url`.
    pub(super) fn is_local(&self, headers: &HeaderMap) -> bool {
        let is_passed_on = PROXY_HEADERS.iter().any(|&name| headers.contains_key(name));
        let is_own =
            |name: String| is_loopback(&name, name.parse().ok()) || self.own_names.contains(&name);
        self.public_host.is_none() && !is_passed_on && host(headers).is_some_and(is_own)
    }

    fn allows(&self, origin: &str, host: Option<&str>) -> bool {
        if self.allowed.iter().any(|allowed| allowed == origin) {
            return true;
        }
        let Some(name) = web_name(origin) else {
            return false;
        };
        let address = name.parse::<IpAddr>().ok();
        let is_this_machine = address.is_some() || self.own_names.contains(&name);
        is_loopback(&name, address)
            || self.public_host.as_ref() == Some(&name)
            || is_this_machine && host == Some(&name)
    }
}

/// The host of an origin that is a web page's.
fn web_name(origin: &str) -> Option<String> {
    let host = origin.strip_prefix("http://");
    host.or_else(|| origin.strip_prefix("https://"))
        .and_then(host_of)
}

/// What proxies add to a request (RFC 7239; RFC 9110 section 7.6.3; and the older customs).
const PROXY_HEADERS: [&str; 6] = [
    "forwarded",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
];

/// The host that the request is for; none when it names two (RFC 9112 section 3.2).
fn host(headers: &HeaderMap) -> Option<String> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next()?.to_str().ok().and_then(host_of);
    host.filter(|_| hosts.next().is_none())
}

/// `localhost` and everything under it never leaves the machine (RFC 6761 section 6.3).
fn is_loopback(name: &str, address: Option<IpAddr>) -> bool {
    address.is_some_and(|address| address.is_loopback())
        || name == "localhost"
        || name.ends_with(".localhost")
}

/// The host in `host`, `host:port` or `[v6]:port`, in lower case and without brackets.
fn host_of(authority: &str) -> Option<String> {
    let authority: Authority = authority.parse().ok()?;
    if authority.as_str().contains('@') {
        return None;
    }
    Some(
        authority
            .host()
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_ascii_lowercase(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(rule: &OriginRule, origin: Option<&str>, host: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().unwrap());
        }
        rule.judge(&headers).is_ok()
    }

    #[test]
    fn the_table_of_origins_holds() {
        let rule = OriginRule {
            public_host: Some("chat.example.org".into()),
            allowed: vec![
                "null".into(),
                "app://desk".into(),
                "https://team.example".into(),
            ],
            own_names: vec!["laptop".into(), "laptop.local".into()],
        };
        for (origin, host, allowed) in [
            (None, "127.0.0.1:9001", true),
            (Some("http://localhost:5173"), "127.0.0.1:9001", true),
            (Some("HTTP://LocalHost"), "127.0.0.1:9001", true),
            (Some("http://app.localhost:3000"), "localhost:9001", true),
            (Some("http://127.0.0.2"), "127.0.0.1:9001", true),
            (Some("http://[::1]:5173"), "[::1]:9001", true),
            (Some("http://192.168.1.7:5173"), "192.168.1.7:9001", true),
            (Some("http://192.168.1.8:5173"), "192.168.1.7:9001", false),
            (Some("http://laptop:5173"), "laptop:9001", true),
            (Some("http://laptop:5173"), "192.168.1.7:9001", false),
            (Some("http://laptop.local"), "LAPTOP.local:9001", true),
            (Some("https://chat.example.org"), "127.0.0.1:9001", true),
            (Some("https://team.example"), "127.0.0.1:9001", true),
            (Some("https://team.example:444"), "127.0.0.1:9001", false),
            (Some("null"), "127.0.0.1:9001", true),
            (Some("app://desk"), "127.0.0.1:9001", true),
            (Some("app://localhost"), "127.0.0.1:9001", false),
            (Some("file://"), "127.0.0.1:9001", false),
            (Some("http://evil.test"), "evil.test", false),
            (Some("http://evil.test:9001"), "evil.test:9001", false),
            (Some("http://localhost.evil.test"), "127.0.0.1:9001", false),
            (Some("http://evil-localhost"), "127.0.0.1:9001", false),
            (Some("http://127.0.0.1.evil.test"), "127.0.0.1:9001", false),
            (Some("http://localhost@evil.test"), "127.0.0.1:9001", false),
            (
                Some("http://chat.example.org.evil.test"),
                "chat.example.org",
                false,
            ),
            (Some(""), "127.0.0.1:9001", false),
        ] {
            assert_eq!(
                judged(&rule, origin, host),
                allowed,
                "origin {origin:?} host {host}"
            );
        }
        assert!(!judged(
            &OriginRule::default(),
            Some("null"),
            "127.0.0.1:9001"
        ));
    }

    #[test]
    fn a_refusal_says_what_it_got_and_which_flag_would_allow_it() {
        let mut headers = HeaderMap::new();
        headers.insert(header::ORIGIN, "https://evil.test".parse().unwrap());
        let reject = OriginRule::default().judge(&headers).unwrap_err();
        assert_eq!(reject.code, ErrorCode::Forbidden);
        assert!(
            reject.message.contains("--allow-origin https://evil.test"),
            "{}",
            reject.message
        );
        assert!(!reject.message.contains("--public-url"));
        headers.insert(header::HOST, "evil.test".parse().unwrap());
        let reject = OriginRule::default().judge(&headers).unwrap_err();
        assert!(
            reject.message.contains("--public-url https://evil.test"),
            "{}",
            reject.message
        );
    }
}
