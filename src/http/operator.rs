//! Who may see how the server is doing: whoever is on its own machine, and admins. Behind a proxy (`--public-url`) all
//! requests come from this machine, so there it is admins alone.

use axum::{http::HeaderMap, response::Response};

use super::{App, Peer, error, token};
use crate::protocol::{ErrorCode, Reject};

/// Lets this machine in, and tokens with role admin; what a proxy passed on, or what came through a name that only leads
/// here, does not count as this machine. `what` is what is asked for, in the plural.
pub(super) async fn admit(
    app: &App,
    peer: &Peer,
    headers: &HeaderMap,
    what: &str,
) -> Result<(), Box<Response>> {
    if peer.address.ip().to_canonical().is_loopback() && app.origins.is_local(headers) {
        return Ok(());
    }
    let refusal = match token::identify(app, token::of_header(headers)).await {
        Ok(identity) if identity.role == "admin" => return Ok(()),
        Ok(_) => {
            let message =
                format!("{what} are for the server's own machine and for tokens with role admin");
            error::answer(app, &Reject::new(ErrorCode::Forbidden, message))
        }
        Err(reject) => error::refused_handshake(app, &reject),
    };
    Err(Box::new(refusal))
}
