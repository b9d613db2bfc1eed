//! Pages in browsers, which reach wherever the browser does.
//!
//! Whoever opens a page lets its scripts send requests from their own machine:
//! to a server that listens on loopback only, too, and there no token stands in
//! the way. What a page may not read it may still have done. So requests that a
//! page of another site sends are refused before anything is looked at, and not
//! only kept from being read, which is all that CORS does.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use holdall_core::{Error, Result};
use holdall_wire::names as wire;
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::Peer;

/// A site whose pages may call the server: scheme, host and port, as browsers
/// send them: `https://app.example.com`, `http://localhost:3000`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(String);

impl Origin {
    /// The text, as browsers send it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Origin {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let refuse = |why: &str| {
            Err(Error::invalid(format!(
                "{text:?} is no origin: {why}. Write one like https://app.example.com or http://localhost:3000"
            )))
        };
        if text == "*" || text == "null" {
            return refuse("it would let in the pages of every site");
        }
        let lower = text.to_ascii_lowercase();
        let Some((scheme, host)) = lower.split_once("://") else {
            return refuse("it has no scheme");
        };
        let sound = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
        if scheme.is_empty() || host.is_empty() || !host.bytes().all(sound) {
            return refuse("a scheme, ://, a host and perhaps a port are all that it has");
        }
        if lower.parse::<Uri>().is_err() {
            return refuse("it is no URL");
        }
        Ok(Self(format!("{scheme}://{}", without_port(scheme, host))))
    }
}

/// Browsers leave out the port that the scheme means.
fn without_port<'a>(scheme: &str, host: &'a str) -> &'a str {
    let port = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => return host,
    };
    host.strip_suffix(port).unwrap_or(host)
}

/// What the guard goes by.
#[derive(Clone, Debug, Default)]
pub(super) struct Guard {
    pub(super) origins: Vec<Origin>,
    /// Names that a request may call the server by, beside loopback's; `None`
    /// where tokens are asked for, and any name will do.
    pub(super) hosts: Option<Vec<String>>,
}

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

impl Guard {
    /// Refuses what a page of another site sent. `public` is what tells
    /// nothing of the store, and may be linked to from anywhere.
    pub(super) fn check(&self, parts: &Parts, public: bool) -> Result<()> {
        let headers = &parts.headers;
        // Behind TLS, the browser itself has seen that the server is who it is
        // called.
        let tls = parts.extensions.get::<Peer>().is_some_and(Peer::is_tls);
        if let Some(own) = self.hosts.as_ref().filter(|_| !tls) {
            check_hosts(parts, own)?;
        }
        let origin = match single(headers, &header::ORIGIN) {
            Ok(origin) => origin,
            Err(()) => return Err(other_site("it has more than one Origin")),
        };
        if let Some(origin) = origin {
            let listed = |origin: &str| self.origins.iter().any(|own| own.0 == origin);
            if listed(origin) {
                return Ok(());
            }
            if !hosts(parts).any(|host| host.is_some_and(|host| is_own(origin, host))) {
                return Err(other_site(
                    "its Origin is neither this server nor one that is allowed",
                ));
            }
        }
        // A page can send some requests without an Origin: pictures, links,
        // forms. `same-site` is another port of the same machine, or another
        // name below the same domain: another program, in any case.
        let from = headers.get_all(SEC_FETCH_SITE).iter();
        let mut from = from.map(HeaderValue::as_bytes);
        if !public && !from.all(|from| matches!(from, b"same-origin" | b"none")) {
            return Err(other_site(
                "its Sec-Fetch-Site says that another site sent it",
            ));
        }
        Ok(())
    }

    /// Answers preflights, and lets pages of the allowed origins read answers.
    /// Only those on the list, and no cookies: a page must have a token.
    pub(super) fn cors(&self) -> Option<CorsLayer> {
        let origins: Vec<_> = self
            .origins
            .iter()
            .filter_map(|origin| HeaderValue::from_str(&origin.0).ok())
            .collect();
        if origins.is_empty() {
            return None;
        }
        let methods = [
            Method::GET,
            Method::HEAD,
            Method::PUT,
            Method::POST,
            Method::DELETE,
        ];
        let taken = [
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::IF_MATCH,
            header::IF_NONE_MATCH,
            header::IF_RANGE,
            header::RANGE,
            HeaderName::from_static("last-event-id"),
            wire::BATCH,
            wire::BODY,
            wire::HEAD_LENGTH,
        ];
        let shown = [
            header::ACCEPT_RANGES,
            header::CONTENT_RANGE,
            header::ETAG,
            header::LOCATION,
            header::RETRY_AFTER,
            header::WWW_AUTHENTICATE,
            wire::ATTRS,
            wire::BATCH,
            wire::CREATED,
            wire::DIGEST,
            wire::HEAD_LENGTH,
            wire::MODIFIED,
            wire::RANGE,
            wire::SIZE,
        ];
        Some(
            CorsLayer::new()
                .allow_origin(AllowOrigin::list(origins))
                .allow_methods(methods)
                .allow_headers(taken)
                .expose_headers(shown)
                .max_age(Duration::from_secs(600)),
        )
    }
}

fn other_site(why: &str) -> Error {
    Error::denied(format!(
        "a page of another site may not call this server: {why}. Start the server with that origin on its list if it may"
    ))
}

/// Whether the request calls the server by one of its names.
///
/// A page of `evil.example` is let through by the browser as long as it talks
/// to `evil.example`, whatever address that name has by now: it may have been
/// turned to 127.0.0.1 meanwhile. That name still stands in the request.
fn check_hosts(parts: &Parts, own: &[String]) -> Result<()> {
    for host in hosts(parts) {
        let name = host.map(name_of);
        let good = name
            .is_some_and(|name| is_loopback(name) || own.iter().any(|own| same_host(own, name)));
        if !good {
            return Err(Error::denied(
                "without tokens, this server answers to localhost and its own address only, and the request \
                 calls it by another name. Use that, or make tokens",
            ));
        }
    }
    Ok(())
}

/// All that a request says of whom it is for; `None` for what is no text. None
/// at all is fine: HTTP/1.0 has none, and browsers always send one.
fn hosts(parts: &Parts) -> impl Iterator<Item = Option<&str>> {
    let named = parts.headers.get_all(header::HOST).iter();
    let named = named.map(|host| host.to_str().ok());
    named.chain(parts.uri.authority().map(|host| Some(host.as_str())))
}

fn is_own(origin: &str, host: &str) -> bool {
    let origin = origin.split_once("://");
    origin.is_some_and(|(scheme, own)| {
        matches!(scheme, "http" | "https")
            && without_port(scheme, own).eq_ignore_ascii_case(without_port(scheme, host))
    })
}

/// `[::1]:4520` and `localhost:4520` without the port, and `[::1]` without
/// brackets.
fn name_of(host: &str) -> &str {
    if let Some(rest) = host.strip_prefix('[') {
        return rest.split_once(']').map_or(rest, |(name, _)| name);
    }
    host.split_once(':').map_or(host, |(name, _)| name)
}

fn is_loopback(name: &str) -> bool {
    name == "127.0.0.1"
        || name.eq_ignore_ascii_case("localhost")
        || name
            .parse::<IpAddr>()
            .is_ok_and(|address| address.to_canonical().is_loopback())
}

fn same_host(own: &str, name: &str) -> bool {
    match (own.parse::<IpAddr>(), name.parse::<IpAddr>()) {
        (Ok(own), Ok(name)) => own.to_canonical() == name.to_canonical(),
        _ => own.eq_ignore_ascii_case(name),
    }
}

/// The one header of a name; an error if there are more, or it is no text.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, ()> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| ()),
        _ => Err(()),
    }
}
