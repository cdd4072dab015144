//! Which web pages would be let in: each origin that is set is judged as the handshake judges it, in the form in which a
//! browser would send it, so that one that no browser ever sends is found.

use axum::http::{HeaderMap, HeaderValue, header};

use super::{report::Finding, setup::Setup};
use crate::{config::normal_origin, http::OriginRule, server::origins};

const SUBJECT: &str = "origin";

pub(super) async fn check(setup: &Setup) -> Vec<Finding> {
    let given = &setup.args.allow_origin;
    let public = setup.public.as_ref().ok().and_then(Option::as_ref);
    let allowed = given.iter().filter_map(|origin| normal_origin(origin).ok());
    let rule = origins(public.map(|public| public.host.clone()), allowed.collect());
    let mut findings = Vec::new();
    if let Some(public) = public {
        let origin = format!(
            "{}://{}",
            public.url.scheme_str().unwrap_or("http"),
            public
                .url
                .authority()
                .map_or("", |authority| authority.as_str())
        );
        findings.push(judged(&rule, &origin, &public.host));
    }
    for origin in given {
        findings.push(match normal_origin(origin) {
            Ok(origin) => listed(
                &rule,
                &origin,
                public.map_or("localhost", |public| &public.host),
            ),
            Err(fault) => Finding::error(SUBJECT, &fault),
        });
    }
    if findings.is_empty() {
        findings.push(Finding::ok(
            SUBJECT,
            "pages of this machine may connect; for others there are --allow-origin and --public-url",
        ));
    }
    findings
}

/// What the handshake would say to a page.
fn judged(rule: &OriginRule, origin: &str, host: &str) -> Finding {
    let mut headers = HeaderMap::new();
    let values = [(header::ORIGIN, origin), (header::HOST, host)];
    for (name, value) in values {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    }
    match rule.judge(&headers) {
        Ok(()) => Finding::ok(SUBJECT, format!("pages of {origin} may connect")),
        Err(reject) => {
            let (found, fix) = reject
                .message
                .split_once(": ")
                .unwrap_or((&reject.message, ""));
            Finding::fail(SUBJECT, found, fix)
        }
    }
}

/// An origin that is allowed, which need not be one that is ever sent.
fn listed(rule: &OriginRule, origin: &str, host: &str) -> Finding {
    if origin == "null" {
        return Finding::warn(
            SUBJECT,
            "--allow-origin null lets in every local file and every sandboxed frame, whoever made it",
            "serve the page from a server and allow its origin instead",
        );
    }
    let sent = as_sent(origin);
    if sent == origin {
        return judged(rule, origin, host);
    }
    match judged(rule, &sent, host).status {
        super::report::Level::Ok => Finding::ok(SUBJECT, format!("pages of {sent} may connect")),
        _ => Finding::fail(
            SUBJECT,
            format!(
                "no browser sends --allow-origin {origin}, so that pages of {sent} may not connect"
            ),
            match origin.contains('*') {
                true => format!(
                    "there are no patterns: list each origin, such as --allow-origin {sent}"
                ),
                false => format!("start the server with --allow-origin {sent}"),
            },
        ),
    }
}

/// What a browser sends where somebody wrote this: without the port of the scheme, of a page and not of a socket, and
/// with a name where a pattern stands (RFC 6454 section 6.2).
fn as_sent(origin: &str) -> String {
    let (scheme, host) = origin.split_once("://").unwrap_or(("https", origin));
    let (scheme, port) = match scheme {
        "http" | "ws" => ("http", ":80"),
        "https" | "wss" => ("https", ":443"),
        // An application's own scheme, of which only its maker knows what it sends.
        _ => return origin.to_owned(),
    };
    let host = host.strip_suffix(port).unwrap_or(host);
    let host = host.rsplit('@').next().unwrap_or(host);
    format!("{scheme}://{}", host.replace('*', "app"))
}
