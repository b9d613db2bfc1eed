//! Answers that are compressed.

use axum::extract::Request;
use axum::middleware::map_request;
use http::header::Entry;
use http::{Extensions, HeaderMap, HeaderValue, StatusCode, Version, header};
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{Predicate as _, SizeAbove};
use utoipa_axum::router::OpenApiRouter;

/// Less than this is not worth it: it fits into one packet.
const LEAST: u64 = 1024;

/// Compresses answers of JSON, lines of JSON and pages for clients that take
/// gzip. Never those with an `ETag`, as items have: it is of the bytes as they
/// are stored, and a client that has it must get these, or `If-Match` and
/// ranges would be of another representation. Neither are bodies, which may
/// be compressed already, nor events, which would wait in a buffer. So it stands
/// around the routes of long answers alone.
pub(crate) fn compress<S>(routes: OpenApiRouter<S>) -> OpenApiRouter<S>
where
    S: Clone + Send + Sync + 'static,
{
    let worth = SizeAbove::new(LEAST).and(fits);
    routes
        .layer(CompressionLayer::new().compress_when(worth))
        .layer(map_request(say_gzip_or_nothing))
}

/// A client that takes neither gzip nor plain answers is answered plainly all
/// the same. The layer would say 406, of a write that has happened.
async fn say_gzip_or_nothing(mut request: Request) -> Request {
    let headers = request.headers_mut();
    let wanted = headers.get_all(header::ACCEPT_ENCODING);
    let gzip = wanted.iter().any(takes_gzip);
    match headers.entry(header::ACCEPT_ENCODING) {
        Entry::Occupied(mut said) if gzip => {
            said.insert(HeaderValue::from_static("gzip"));
        }
        Entry::Occupied(said) => {
            said.remove_entry_mult();
        }
        Entry::Vacant(_) => {}
    }
    request
}

fn takes_gzip(value: &HeaderValue) -> bool {
    let text = value.to_str().unwrap_or_default();
    text.split(',').any(|coding| {
        let (name, parameters) = coding.split_once(';').unwrap_or((coding, ""));
        let weight = parameters.trim().strip_prefix("q=").unwrap_or("1");
        name.trim().eq_ignore_ascii_case("gzip")
            && weight
                .trim()
                .parse::<f32>()
                .is_ok_and(|weight| weight > 0.0)
    })
}

fn fits(_: StatusCode, _: Version, headers: &HeaderMap, _: &Extensions) -> bool {
    const KINDS: [&str; 4] = [
        "application/json",
        holdall_wire::names::LINES_TYPE,
        "text/html",
        "application/openmetrics-text",
    ];
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default();
    KINDS.contains(&kind) && !headers.contains_key(header::ETAG)
}
