//! How the server is doing, for its page and for scrapers.

use std::sync::Arc;

use axum::{
    Extension, Json,
    extract::State,
    http::{HeaderMap, header},
    response::{IntoResponse as _, Response},
};

use super::{App, Peer, error, operator};
use crate::{
    metrics::Format,
    protocol::{ErrorCode, Reject},
};

/// `GET /api/v1/stats`: numbers of now and of the last five minutes.
pub(super) async fn report(
    State(app): State<Arc<App>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
) -> Response {
    if let Err(refusal) = operator::admit(&app, &peer, &headers, "statistics").await {
        return *refusal;
    }
    let stats = app.stats.clone();
    // Off the threads that serve sockets: it asks the file system.
    let answer = tokio::task::spawn_blocking(move || Json(stats.report()).into_response()).await;
    answer.unwrap_or_else(|_| {
        let message = "the statistics could not be put together";
        error::answer(&app, &Reject::new(ErrorCode::Internal, message))
    })
}

/// `GET /metrics`: everything that is counted, in Prometheus' text format, or in OpenMetrics for those who ask for it.
pub(super) async fn metrics(
    State(app): State<Arc<App>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
) -> Response {
    if let Err(refusal) = operator::admit(&app, &peer, &headers, "metrics").await {
        return *refusal;
    }
    let format = format(&headers);
    let headers = [
        (header::CONTENT_TYPE, format.content_type()),
        (header::VARY, "accept"),
    ];
    (headers, app.metrics.render(format, app.hub.floor())).into_response()
}

/// OpenMetrics when `Accept` names it with a weight above 0 (RFC 9110 section 12.5.1); which of several is preferred is not
/// weighed, since whoever can read it names it first.
fn format(headers: &HeaderMap) -> Format {
    let values = headers.get_all(header::ACCEPT).into_iter();
    let mut ranges = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    let names_it = |range: &str| {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let weight = parts.find_map(|part| part.strip_prefix("q=")?.parse::<f64>().ok());
        name.eq_ignore_ascii_case("application/openmetrics-text") && weight != Some(0.0)
    };
    match ranges.any(names_it) {
        true => Format::OpenMetrics,
        false => Format::Classic,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_metrics_is_for_those_who_name_it() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2,*/*;q=0.1";
        for (accept, expected) in [
            (None, Format::Classic),
            (Some("*/*"), Format::Classic),
            (Some("text/plain;version=0.0.4"), Format::Classic),
            (
                Some("application/openmetrics-text;q=0, */*"),
                Format::Classic,
            ),
            (
                Some("text/html, Application/OpenMetrics-Text"),
                Format::OpenMetrics,
            ),
            (Some(prometheus), Format::OpenMetrics),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(accept) = accept {
                headers.insert(header::ACCEPT, accept.parse().unwrap());
            }
            assert_eq!(format(&headers), expected, "{accept:?}");
        }
    }
}
