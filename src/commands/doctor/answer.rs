//! What another server's answer is, in words for somebody who expected another one.

use http_body_util::Full;
use hyper::{Request, Uri, header};
use serde_json::Value;

use super::PATIENCE;
use crate::outbound::{Answer, Outbound, Silence, under};

/// What a chat-server says of itself.
pub(super) struct Alive {
    pub(super) version: String,
    pub(super) mode: String,
}

/// Who answers at `base`, if it is a chat-server.
pub(super) async fn chat_server_at(base: &Uri) -> Option<Alive> {
    let answer = get(base, "/healthz").await.ok()?;
    chat_server(&answer)
}

/// Asks `path` under `base`, without a token.
pub(super) async fn get(base: &Uri, path: &str) -> Result<Answer, Silence> {
    fetch(&under(base, path)).await
}

/// The answer to `GET url`.
pub(super) async fn fetch(url: &Uri) -> Result<Answer, Silence> {
    let request = Request::get(url.clone()).header(header::ACCEPT, "application/json");
    let request = request.body(Full::default()).map_err(broken)?;
    outbound(url)?.send(request).await
}

/// What asks `url`.
pub(super) fn outbound(url: &Uri) -> Result<Outbound, Silence> {
    Outbound::new(url, PATIENCE).map_err(broken)
}

pub(super) fn broken(error: impl ToString) -> Silence {
    Silence::Broken(error.to_string())
}

/// Whether this is a chat-server's answer to `GET /healthz`.
pub(super) fn chat_server(answer: &Answer) -> Option<Alive> {
    let body: Value = serde_json::from_slice(&answer.body).ok()?;
    let text = |field| Some(body.get(field)?.as_str()?.to_owned());
    let is_one = answer.status == 200 && text("status")? == "ok" && body.get("signup").is_some();
    is_one.then_some(Alive {
        version: text("version")?,
        mode: text("mode")?,
    })
}

/// The code and the message of an error of ours.
pub(super) fn our_error(answer: &Answer) -> Option<(String, String)> {
    let body: Value = serde_json::from_slice(&answer.body).ok()?;
    let error = body.get("error")?;
    let text = |field| Some(error.get(field)?.as_str()?.to_owned());
    Some((text("code")?, text("message")?))
}

pub(super) fn is_html(answer: &Answer) -> bool {
    let declared = answer.content_type.as_deref();
    declared.is_some_and(|declared| declared.starts_with("text/html"))
        || answer.body.trim_ascii_start().starts_with(b"<")
}

/// Where a redirect leads: the server alone, since the rest may hold what is nobody's business.
pub(super) fn redirect(answer: &Answer) -> Option<String> {
    if !(300..400).contains(&answer.status) {
        return None;
    }
    let target = answer.headers.get(header::LOCATION)?.to_str().ok()?;
    let target: Uri = target.parse().ok()?;
    let host = target.authority()?.as_str().rsplit('@').next()?;
    Some(format!("{}://{host}", target.scheme_str()?))
}

/// `404`, `500 with an HTML page`, `302 to https://elsewhere.example`.
pub(super) fn described(answer: &Answer) -> String {
    let status = answer.status;
    match redirect(answer) {
        Some(target) => format!("{status}, a redirect to {target}"),
        None if (300..400).contains(&status) => format!("{status}, a redirect"),
        None if is_html(answer) => format!("{status} and an HTML page"),
        None => status.to_string(),
    }
}
