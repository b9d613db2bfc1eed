//! Answers that are written without hyper: where there is no request yet that
//! it could answer.

use bytes::Bytes;
use holdall_core::Error;
use holdall_wire::Problem;
use http::StatusCode;

/// An error as a whole HTTP/1.1 response that ends its connection.
pub(super) fn last_words(error: &Error, status: StatusCode) -> Bytes {
    let problem = Problem::with_status(error, status);
    let body = serde_json::to_string(&problem).unwrap_or_default();
    let retry = match status {
        StatusCode::SERVICE_UNAVAILABLE => "retry-after: 1\r\n",
        _ => "",
    };
    format!(
        "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-type: {}\r\ncache-control: no-store\r\n{retry}content-length: {}\r\n\r\n{body}",
        Problem::TYPE,
        body.len(),
    )
    .into()
}

/// The status of an answer that hyper gives by itself to a head that it cannot
/// read, which has no content.
pub(super) fn status_of_automatic(response: &[u8]) -> Option<StatusCode> {
    const DATE: usize = "date: Sat, 21 Nov 2026 12:00:00 GMT\r\n\r\n".len();
    [
        StatusCode::BAD_REQUEST,
        StatusCode::URI_TOO_LONG,
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
    ]
    .into_iter()
    .find(|status| {
        let start = response.strip_prefix(b"HTTP/1.1 ");
        let rest = start.and_then(|rest| rest.strip_prefix(status.as_str().as_bytes()));
        let Some(rest) = rest else { return false };
        let line = rest.iter().position(|byte| *byte == b'\n');
        let headers = line.and_then(|end| rest.get(end + 1..));
        headers
            .and_then(|headers| headers.strip_prefix(b"connection: close\r\ncontent-length: 0\r\n"))
            .is_some_and(|date| date.len() == DATE && date.starts_with(b"date: "))
    })
}
