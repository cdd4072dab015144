//! The backend and the webhook: whether they can be reached, and whether the backend answers as one that knows users does.
//!
//! Only asks: `POST /api/v1/chat/messages` and the webhook are never called, since they might store what they get.

use http_body_util::Full;
use hyper::{Request, Uri, header};
use jiff::fmt::rfc2822;
use tokio::time::Instant;

use super::{
    PATIENCE,
    answer::{broken, chat_server_at, described, get, is_html, outbound, redirect},
    clock::Date,
    reach::reach,
    report::Finding,
    setup::Setup,
};
use crate::{
    authority::Authority,
    config::{Switch, http_url},
    outbound::{Answer, Silence, under},
    protocol::Timestamp,
    server::never_ourselves,
};

const SUBJECT: &str = "backend";
const ME: &str = "/api/v1/auth/me";

/// The findings, and what the backend's clock shows.
pub(super) async fn check(setup: &Setup) -> (Vec<Finding>, Option<Date>) {
    let backend = match &setup.backend {
        Ok(Some(backend)) => backend,
        Ok(None) => {
            let (ourselves, webhook) = tokio::join!(to_ourselves(setup), webhook(setup));
            return ([ourselves, webhook].concat(), None);
        }
        Err(fault) => {
            let fault = vec![Finding::error(SUBJECT, fault)];
            return ([fault, webhook(setup).await].concat(), None);
        }
    };
    let (ourselves, (asked, date), copies, webhook) = tokio::join!(
        to_ourselves(setup),
        asked(setup, backend),
        copies(setup, backend),
        webhook(setup)
    );
    ([ourselves, vec![asked], copies, webhook].concat(), date)
}

/// What a start would end with, because messages would come back for ever.
async fn to_ourselves(setup: &Setup) -> Vec<Finding> {
    let (Ok(config), Ok(address)) = (&setup.whole, &setup.address) else {
        return Vec::new();
    };
    let fault = never_ourselves(config, *address).await.err();
    fault
        .iter()
        .map(|fault| Finding::error(SUBJECT, fault))
        .collect()
}

async fn asked(setup: &Setup, backend: &Uri) -> (Finding, Option<Date>) {
    // With a key of our own the backend gets copies only, which wait until it is back.
    let is_judge = matches!(setup.authority, Ok(Some(Authority::Backend(_))));
    let bad = |found: String, fix: String| match is_judge {
        true => Finding::fail(SUBJECT, format!("{found}: nobody is let in"), fix),
        false => Finding::warn(
            SUBJECT,
            format!("{found}: its copies of messages wait"),
            fix,
        ),
    };
    let times = match reach(backend).await {
        Ok(times) => times,
        Err((found, fix)) => return (bad(format!("{backend} {found}"), fix), None),
    };
    let start = Instant::now();
    let (answer, other) = tokio::join!(get(backend, ME), chat_server_at(backend));
    let ms = start.elapsed().as_millis();
    let answer = match answer {
        Ok(answer) => answer,
        Err(silence) => {
            let fix = match silence {
                Silence::Late => format!(
                    "find out why GET {ME} takes so long there: a token is checked in {} s or not at all",
                    PATIENCE.as_secs()
                ),
                _ => format!(
                    "look into its log for GET {ME}; an https:// URL needs a certificate that this machine knows, and http:// none"
                ),
            };
            return (
                bad(
                    format!("{} gives no answer: {silence}", under(backend, ME)),
                    fix,
                ),
                None,
            );
        }
    };
    let date = date(&answer);
    if other.is_some() {
        let found = format!("a chat-server answers at {backend}, which knows no users of its own");
        return (
            bad(
                found,
                "give the address of the program that knows the users".into(),
            ),
            date,
        );
    }
    let finding = match fault(backend, &answer) {
        None => Finding::ok(
            SUBJECT,
            format!(
                "{backend} answers {} to GET {ME} without a token, as it should ({times}, answered in {ms} ms)",
                answer.status
            ),
        ),
        Some((found, fix)) if answer.status == 200 && !is_html(&answer) => {
            Finding::warn(SUBJECT, found, fix)
        }
        Some((found, fix)) => bad(found, fix),
    };
    (finding, date)
}

/// What is wrong with an answer to the question whose no token is.
fn fault(backend: &Uri, answer: &Answer) -> Option<(String, String)> {
    let got = format!("{} answers {}", under(backend, ME), described(answer));
    let api = "give the address under which GET /api/v1/auth/me is found, without that path: such as http://localhost:8080";
    Some(match answer.status {
        401 | 403 => return None,
        200..300 if is_html(answer) => {
            (got, format!("this is a front end or a log-in page; {api}"))
        }
        200 => (
            format!("{got} without a token"),
            "let it look at the Authorization header: whoever sends no token is nobody".into(),
        ),
        300..=399 => {
            let fix = match redirect(answer) {
                Some(target) => format!(
                    "redirects are not followed, since a token must not go elsewhere: use --backend-url {target}, if that is the backend"
                ),
                None => "redirects are not followed: give the address that they lead to".to_owned(),
            };
            (got, fix)
        }
        404 | 405 => (got, api.into()),
        429 => (got, "let it allow this server more requests".into()),
        502..=504 => (
            got,
            "a proxy stands there without its backend: start the backend".into(),
        ),
        500.. => (got, "it failed: its log says why".into()),
        _ => (got, format!("401 is expected without a token; {api}")),
    })
}

/// Whether the backend knows the token that copies are sent with, asked without sending one.
async fn copies(setup: &Setup, backend: &Uri) -> Vec<Finding> {
    const SUBJECT: &str = "copies";
    let copies = &setup.args.copies;
    if copies.backend_sync == Switch::Off {
        return vec![Finding::ok(
            SUBJECT,
            "none go to the backend (--backend-sync off)",
        )];
    }
    let Some(token) = copies
        .backend_token
        .as_deref()
        .filter(|token| !token.is_empty())
    else {
        return vec![Finding::ok(
            SUBJECT,
            "go to the backend without a token (--backend-token)",
        )];
    };
    let request = Request::get(under(backend, ME))
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .body(Full::default());
    // A token that no header takes is told with the settings.
    let Ok(request) = request else {
        return Vec::new();
    };
    let answer = match outbound(backend).map_err(broken) {
        Ok(outbound) => outbound.send(request).await,
        Err(silence) => Err(silence),
    };
    match answer {
        Ok(answer) if answer.status == 200 => {
            vec![Finding::ok(
                SUBJECT,
                "the backend knows the token that they are sent with",
            )]
        }
        Ok(answer) if matches!(answer.status, 401 | 403) => vec![Finding::warn(
            SUBJECT,
            format!(
                "the backend answers {} to --backend-token (BACKEND_TOKEN) at GET {ME}",
                answer.status
            ),
            "get a new one from the backend, unless it takes this one for POST /api/v1/chat/messages only",
        )],
        // What is wrong with the backend is told of it.
        _ => Vec::new(),
    }
}

/// Whether somebody listens where the webhook is, which gets nothing now.
async fn webhook(setup: &Setup) -> Vec<Finding> {
    const SUBJECT: &str = "webhook";
    let url = setup.args.copies.webhook.as_deref();
    let url = match url
        .filter(|url| !url.is_empty())
        .map(|url| http_url("--webhook", url))
    {
        None => return Vec::new(),
        Some(Ok(url)) => url,
        Some(Err(fault)) => return vec![Finding::error(SUBJECT, &fault)],
    };
    // Its path is often what makes it a secret.
    let shown = url.authority().map_or("", |authority| authority.as_str());
    vec![match reach(&url).await {
        Ok(times) => Finding::ok(
            SUBJECT,
            format!("{shown} can be reached ({times}); nothing was posted"),
        ),
        Err((found, fix)) => Finding::warn(
            SUBJECT,
            format!("{shown} {found}: what it is told waits"),
            fix,
        ),
    }]
}

fn date(answer: &Answer) -> Option<Date> {
    let date = answer.headers.get(header::DATE)?.to_str().ok()?;
    let theirs = rfc2822::parse(date).ok()?.timestamp().as_second();
    let ours = Timestamp::now().unix_ms() / 1000;
    Some(Date { theirs, ours })
}
