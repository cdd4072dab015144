//! How a token reaches a door, and who stands behind it.

use axum::http::{HeaderMap, Uri, header};
use percent_encoding::percent_decode_str;

use super::App;
use crate::{
    auth::{Identity, LEEWAY_SECONDS},
    protocol::{ErrorCode, Reject},
};

/// The subprotocol that is selected when it is offered.
pub(super) const SUBPROTOCOL: &str = "chat.v1";

/// What a socket's handshake may bring, first found first used: the `Authorization` header, the subprotocol
/// `bearer.<jwt>`, `?token=`. Over plain HTTP only the first counts.
pub(super) fn of_handshake(headers: &HeaderMap, uri: &Uri) -> Option<String> {
    let offered = subprotocols(headers).find_map(|name| name.strip_prefix("bearer."));
    let from_query = || {
        let query = uri
            .query()?
            .split('&')
            .find_map(|pair| pair.strip_prefix("token="))?;
        // A JWT's letters need no escape, those of a backend's own kind of token may.
        let token = percent_decode_str(query).decode_utf8_lossy();
        (!token.is_empty()).then(|| token.into_owned())
    };
    of_header(headers)
        .or(offered)
        .map(str::to_owned)
        .or_else(from_query)
}

/// The bearer of `Authorization` (RFC 6750 section 2.1).
pub(super) fn of_header(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once([' ', '\t'])?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// What `Sec-WebSocket-Protocol` offers, in order.
pub(super) fn subprotocols(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).into_iter();
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
}

/// The token's user, made known to the chat; or why not, in words for a developer.
pub(super) async fn identify(app: &App, token: Option<&str>) -> Result<Identity, Reject> {
    let Some(token) = token else {
        let message = "no token: send it as Authorization: Bearer …, as the subprotocols chat.v1 and bearer.<token>, or as ?token=…";
        return Err(Reject::new(ErrorCode::Unauthorized, message));
    };
    let now = app.clock.seconds();
    let identity = app.authority.identity(token, now, LEEWAY_SECONDS).await;
    app.chat.admit(identity?).await
}
