//! Where the server is, and the URLs of its calls.

use std::net::IpAddr;

use holdall_core::{Error, Result};
use http::Uri;
use http::uri::{Authority, Scheme};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// All but the unreserved characters of RFC 3986: nothing on the way has a
/// reason to rewrite what is left.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// A server's address: scheme, host, port, and perhaps a path in front of all
/// others.
#[derive(Clone, Debug)]
pub(super) struct Address {
    scheme: Scheme,
    authority: Authority,
    prefix: String,
}

impl Address {
    /// Reads a URL.
    ///
    /// # Errors
    /// `Invalid`, naming the part and the rule, and showing nothing that may
    /// be a password.
    pub(super) fn parse(url: &str) -> Result<Self> {
        let refuse =
            |why: &str| Error::invalid(format!("the URL of the server is not valid: {why}"));
        let uri: Uri = url.parse().map_err(|_| {
            refuse("write it like http://HOST:PORT or https://HOST, with a path behind it if the server has one")
        })?;
        let parts = uri.into_parts();
        let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else {
            return Err(refuse("it has no host; write it like http://HOST:PORT"));
        };
        if scheme != Scheme::HTTP && scheme != Scheme::HTTPS {
            return Err(refuse("its scheme is http or https"));
        }
        if authority.as_str().contains('@') {
            return Err(refuse(
                "no user and password stand in it; give the server's token by the option token or token_file",
            ));
        }
        if authority.host().is_empty() {
            return Err(refuse("it has no host; write it like http://HOST:PORT"));
        }
        // What `port` does not understand it takes for none.
        let port = authority.as_str().strip_prefix(authority.host());
        if port != Some("") && authority.port_u16().is_none() {
            return Err(refuse("its port is a number from 0 to 65535"));
        }
        let path = parts.path_and_query;
        if path.as_ref().is_some_and(|path| path.query().is_some()) {
            return Err(refuse("options do not belong to it"));
        }
        let prefix = path.as_ref().map_or("", |path| path.path());
        let prefix = prefix.trim_end_matches('/');
        if prefix.split('/').any(|part| part == "." || part == "..") {
            return Err(refuse(
                "its path holds . or .., which the way there may rewrite",
            ));
        }
        Ok(Self {
            scheme,
            authority,
            prefix: prefix.to_owned(),
        })
    }

    /// Whether what is sent can be read on the way: without TLS, to another
    /// machine.
    pub(super) fn is_open_to_others(&self) -> bool {
        let host = self.authority.host();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let here = host.eq_ignore_ascii_case("localhost")
            || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
        self.scheme == Scheme::HTTP && !here
    }

    pub(super) fn is_secure(&self) -> bool {
        self.scheme == Scheme::HTTPS
    }

    /// The URL of a call.
    ///
    /// # Errors
    /// `TooLarge` if it passes what a URL may be.
    pub(super) fn url(&self, path: &str, query: &Parameters) -> Result<Uri> {
        let mut target = format!("{}{path}", self.prefix);
        if !query.0.is_empty() {
            target.push('?');
            target.push_str(&query.0);
        }
        Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query(target)
            .build()
            .map_err(|error| Error::too_large("the call does not fit into a URL").because(error))
    }
}

/// As it was written, with no secret in it.
impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}{}", self.scheme, self.authority, self.prefix)
    }
}

/// What stands behind the question mark.
#[derive(Clone, Debug, Default)]
pub(super) struct Parameters(String);

impl Parameters {
    pub(super) fn add(&mut self, name: &str, value: &str) {
        if !self.0.is_empty() {
            self.0.push('&');
        }
        self.0.push_str(name);
        self.0.push('=');
        self.0.extend(utf8_percent_encode(value, RESERVED));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_encoded_so_that_nothing_rewrites_them() {
        let address = Address::parse("https://example.org/store/").unwrap();
        let mut query = Parameters::default();
        query.add("collection", "a b");
        query.add("key", "../%2e\0?&=+#/ü~");
        assert_eq!(
            address.url("/v1/item", &query).unwrap().to_string(),
            "https://example.org/store/v1/item?collection=a%20b&key=..%2F%252e%00%3F%26%3D%2B%23%2F%C3%BC~"
        );
        let bare = Address::parse("http://127.0.0.1:4520").unwrap();
        let url = bare.url("/v1/collections", &Parameters::default());
        assert_eq!(
            url.unwrap().to_string(),
            "http://127.0.0.1:4520/v1/collections"
        );
    }

    #[test]
    fn what_is_no_address_is_refused_and_no_password_shown() {
        for url in [
            "http:",
            "http://",
            "http:host",
            "http:/host",
            "http://:80",
            "http://h:99999",
            "http://h:",
            "http://user:hunter2@host",
            "http://hunter2@host",
            "ftp://host",
            "http://h/a/../b",
            "http://h/?a=1",
            "http://h o",
            "/v1",
        ] {
            let error = Address::parse(url).err().unwrap_or_else(|| panic!("{url}"));
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn loopback_is_this_machine() {
        for (url, others) in [
            ("http://localhost:1", false),
            ("http://127.8.0.1", false),
            ("http://[::1]:80", false),
            ("http://[::2]:80", true),
            ("http://localhost.example.org", true),
            ("http://10.0.0.1", true),
            ("https://10.0.0.1", false),
        ] {
            assert_eq!(
                Address::parse(url).unwrap().is_open_to_others(),
                others,
                "{url}"
            );
        }
    }
}
