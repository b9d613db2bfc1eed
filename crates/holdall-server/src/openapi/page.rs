//! The document as a page for people: without scripts, and nothing loaded from
//! elsewhere.

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderValue, header};
use utoipa::openapi::OpenApi;

/// The document and the page.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pages {
    pub(crate) json: Bytes,
    pub(crate) html: Bytes,
}

impl Pages {
    pub(crate) fn of(document: &OpenApi) -> Self {
        let json = serde_json::to_vec(document).unwrap_or_default();
        Self {
            json: json.into(),
            html: Bytes::new(),
        }
    }

    pub(crate) fn document(&self) -> Response {
        answer("application/json", self.json.clone())
    }

    pub(crate) fn page(&self) -> Response {
        answer("text/html; charset=utf-8", self.html.clone())
    }

    pub(crate) fn look() -> Response {
        answer("text/css; charset=utf-8", Bytes::from_static(LOOK))
    }
}

const LOOK: &[u8] = b"";

/// The same until the server is another one.
fn answer(kind: &'static str, bytes: Bytes) -> Response {
    let mut response = Response::new(Body::from(bytes));
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-cache"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// The page takes its own style sheet, and nothing else from anywhere.
const POLICY: &str = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
