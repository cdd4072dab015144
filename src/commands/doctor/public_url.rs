//! The way from outside: whether `--public-url` leads to a chat-server, and whether the proxy before it lets WebSocket
//! through. Asks without a token, so that nobody is let in and nothing is stored.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http_body_util::Full;
use hyper::{Request, Uri, header};
use tokio::time::Instant;

use super::{
    answer::{broken, chat_server, described, get, our_error, outbound},
    report::Finding,
    setup::Setup,
};
use crate::outbound::{Answer, Silence, is_here, under};

const SUBJECT: &str = "public-url";

pub(super) async fn check(setup: &Setup) -> Vec<Finding> {
    match &setup.public {
        Err(fault) => vec![Finding::error(SUBJECT, fault)],
        Ok(None) => vec![without_one(setup)],
        Ok(Some(public)) => {
            let mut findings = vec![reached(setup, &public.url).await];
            findings.extend(unencrypted(&public.url));
            findings
        }
    }
}

fn without_one(setup: &Setup) -> Finding {
    match &setup.address {
        Ok(address) if !address.ip().is_loopback() => Finding::warn(
            SUBJECT,
            format!(
                "others reach {address} without encryption (ws://): everybody on the network can read what is sent"
            ),
            "put a TLS proxy in front, listen on 127.0.0.1, and give the proxy's address with --public-url https://…",
        ),
        _ => Finding::ok(SUBJECT, "none is set: only this machine reaches the server"),
    }
}

fn unencrypted(url: &Uri) -> Option<Finding> {
    (url.scheme_str() == Some("http") && !is_here(url)).then(|| {
        Finding::warn(
            SUBJECT,
            format!("{url} is not encrypted: pages use ws:// there, and https:// pages may not use it at all"),
            "let the proxy serve https (Caddy does so by itself), and begin --public-url with https://",
        )
    })
}

async fn reached(setup: &Setup, url: &Uri) -> Finding {
    let start = Instant::now();
    let target = match &setup.address {
        Ok(address) => format!("http://{address}"),
        Err(_) => "this server".to_owned(),
    };
    let shown = url.to_string();
    let shown = shown.trim_end_matches('/');
    let answer = match get(url, "/healthz").await {
        Ok(answer) => answer,
        Err(silence) => {
            return Finding::fail(
                SUBJECT,
                format!("{shown} gives no answer: {silence}"),
                format!(
                    "let its name and its proxy lead to {target}, and start the server; if it works from elsewhere, this network does not lead back into itself"
                ),
            );
        }
    };
    let Some(server) = chat_server(&answer) else {
        let fix = match answer.status {
            502..=504 => format!(
                "the proxy finds no server behind it: start it, or let the proxy lead to {target}"
            ),
            _ => format!("let the proxy pass everything under {shown}/ on to {target}, unchanged"),
        };
        let found = format!(
            "{shown}/healthz is no chat-server's: it answers {}",
            described(&answer)
        );
        return Finding::fail(SUBJECT, found, fix);
    };
    match upgrade(url).await {
        Ok(answer) => {
            let ms = start.elapsed().as_millis();
            let good = format!(
                "{shown} is chat-server {}, and WebSocket passes ({ms} ms)",
                server.version
            );
            upgraded(&answer, good, url, shown, &target)
        }
        Err(silence) => Finding::fail(
            SUBJECT,
            format!("{shown} answers, and not when WebSocket is asked for: {silence}"),
            proxy_lines(&target),
        ),
    }
}

/// Asks for a WebSocket as a page of that URL would (RFC 6455 section 4.1).
async fn upgrade(url: &Uri) -> Result<Answer, Silence> {
    let origin = format!(
        "{}://{}",
        url.scheme_str().unwrap_or("http"),
        url.authority().map_or("", |authority| authority.as_str())
    );
    let request = Request::get(under(url, "/ws"))
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_VERSION, "13")
        .header(
            header::SEC_WEBSOCKET_KEY,
            STANDARD.encode(rand::random::<[u8; 16]>()),
        )
        .header(header::ORIGIN, origin)
        .body(Full::default());
    outbound(url)?.send(request.map_err(broken)?).await
}

fn upgraded(answer: &Answer, good: String, url: &Uri, shown: &str, target: &str) -> Finding {
    match (answer.status, our_error(answer)) {
        // Without a token nobody gets further than this.
        (101, _) | (401, Some(_)) => Finding::ok(SUBJECT, good),
        (403, Some((code, message))) if code == "forbidden" => Finding::fail(
            SUBJECT,
            format!("{shown} refuses its own pages: {message}"),
            format!("start the server with --public-url {url}, as the doctor was"),
        ),
        (503, Some((_, message))) => Finding::fail(
            SUBJECT,
            format!("{shown} takes no WebSocket now: {message}"),
            "try again; if it stays so, see the server's log",
        ),
        (200 | 400 | 404 | 405 | 426, _) => Finding::fail(
            SUBJECT,
            format!(
                "the proxy before {shown} drops the Upgrade headers of WebSocket: the handshake is answered with {}",
                described(answer)
            ),
            proxy_lines(target),
        ),
        _ => Finding::fail(
            SUBJECT,
            format!(
                "{shown} answers a WebSocket handshake with {}",
                described(answer)
            ),
            proxy_lines(target),
        ),
    }
}

fn proxy_lines(target: &str) -> String {
    format!(
        "nginx, in the location: proxy_pass {target}; proxy_http_version 1.1;\n\
         \x20 proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection \"upgrade\"; proxy_set_header Host $host;\n\
         Caddy: reverse_proxy {target}"
    )
}
