//! A refusal as an HTTP answer: `{"error":{"code","message","field"?}}` and the status that fits its code.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

use super::App;
use crate::protocol::{ErrorCode, Reject, error_body};

/// The body alone, for an answer whose status is not the code's own.
pub(super) fn body(reject: &Reject) -> Response {
    axum::Json(error_body(reject)).into_response()
}

/// The answer to a request that was refused; counts it, and logs it when somebody was not let in or not allowed.
pub(super) fn answer(app: &App, reject: &Reject) -> Response {
    app.chat.count(reject);
    if matches!(reject.code, ErrorCode::Unauthorized | ErrorCode::Forbidden) {
        tracing::warn!(code = reject.code.as_str(), reason = %reject.message, "refused");
    }
    let mut response = (status(reject.code), body(reject)).into_response();
    let headers = response.headers_mut();
    if reject.code == ErrorCode::Unauthorized {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    // In whole seconds, rounded up (RFC 9110 section 10.2.3).
    if let Some(wait_ms) = reject.retry_after_ms {
        headers.insert(
            header::RETRY_AFTER,
            HeaderValue::from(wait_ms.div_ceil(1000)),
        );
    }
    response
}

/// The answer to somebody who is not let in at all.
pub(super) fn refused_handshake(app: &App, reject: &Reject) -> Response {
    app.metrics.handshakes_refused.inc();
    answer(app, reject)
}

/// The status that fits the code.
pub(super) fn status(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::InvalidJson | ErrorCode::UnknownType | ErrorCode::InvalidField => {
            StatusCode::BAD_REQUEST
        }
        ErrorCode::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorCode::Unauthorized => StatusCode::UNAUTHORIZED,
        ErrorCode::Forbidden => StatusCode::FORBIDDEN,
        ErrorCode::RoomNotFound | ErrorCode::UserNotFound => StatusCode::NOT_FOUND,
        ErrorCode::NameTaken | ErrorCode::NonceReused => StatusCode::CONFLICT,
        ErrorCode::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        ErrorCode::StorageFull => StatusCode::INSUFFICIENT_STORAGE,
        ErrorCode::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorCode::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
