//! The page and the client library, out of the executable.

use axum::{
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header},
    response::{IntoResponse as _, Response},
};
use rust_embed::RustEmbed;

#[derive(RustEmbed)]
#[folder = "static/"]
struct Static;

/// The file that the path names; only names that were embedded exist.
pub(super) async fn file(method: Method, uri: Uri, headers: HeaderMap) -> Response {
    if method != Method::GET && method != Method::HEAD {
        return (
            StatusCode::METHOD_NOT_ALLOWED,
            [(header::ALLOW, "GET, HEAD")],
        )
            .into_response();
    }
    serve(uri.path().trim_start_matches('/'), &headers)
}

/// The page.
pub(super) fn page(headers: &HeaderMap) -> Response {
    serve("index.html", headers)
}

fn serve(name: &str, headers: &HeaderMap) -> Response {
    // In a debug build names lead into a folder, so a name that climbs must not get that far.
    let plain = name
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'/'));
    let file = if plain && !name.contains("..") {
        Static::get(name)
    } else {
        None
    };
    let Some(file) = file else {
        return (
            StatusCode::NOT_FOUND,
            "404: there is no such path here; the page is at /\n",
        )
            .into_response();
    };
    let etag: String = file.metadata.sha256_hash()[..16]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let etag = format!("\"{etag}\"");
    let known = headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .any(|value| value.as_bytes() == etag.as_bytes());
    let mut response = match known {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => file.data.into_owned().into_response(),
    };
    let headers = response.headers_mut();
    // Hexadecimal and a media type: both are always header values.
    if let (Ok(etag), Ok(kind)) = (
        HeaderValue::from_str(&etag),
        HeaderValue::from_str(&media_type(name, file.metadata.mimetype())),
    ) {
        headers.insert(header::ETAG, etag);
        headers.insert(header::CONTENT_TYPE, kind);
    }
    // The browser keeps it and asks each time, so that a new executable shows its new page at once.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(
        "cross-origin-resource-policy",
        HeaderValue::from_static("cross-origin"),
    );
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_ORIGIN,
        HeaderValue::from_static("*"),
    );
    response
}

fn media_type(name: &str, kind: &str) -> String {
    if name.ends_with(".ts") {
        // The types of the client library; the table of endings takes them for films.
        "application/typescript; charset=utf-8".to_owned()
    } else if kind.starts_with("text/") {
        format!("{kind}; charset=utf-8")
    } else {
        kind.to_owned()
    }
}
