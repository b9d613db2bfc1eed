//! Where the server is, and who asks.

use std::fmt;

use holdall_core::{Error, Result};
use percent_encoding::percent_decode_str;

/// The port of a server where none is named.
const PORT: u16 = 6379;

/// A server: one of perhaps many of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) host: String,
    pub(super) port: u16,
}

impl Node {
    /// Reads `HOST` or `HOST:PORT`; an IPv6 address stands in brackets.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
            _ => (text, PORT),
        };
        let bracketed = host
            .strip_prefix('[')
            .map(|host| host.strip_suffix(']').filter(|host| host.contains(':')));
        let host = match bracketed {
            Some(inner) => inner?,
            None if host.contains([':', ']', '/', '@']) => return None,
            None => host,
        };
        let plain = !host.is_empty() && !host.contains(|c: char| c.is_whitespace());
        plain.then(|| Self {
            host: host.to_owned(),
            port,
        })
    }

    /// Where a server of a cluster says that a slot is: `HOST:PORT`, an IPv6
    /// address without brackets, and without a host if that is the same.
    pub(super) fn redirected(text: &str, from: &Self) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let host = if host.is_empty() || host == "?" {
            from.host.as_str()
        } else {
            host.trim_start_matches('[').trim_end_matches(']')
        };
        Some(Self {
            host: host.to_owned(),
            port: port.parse().ok()?,
        })
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// What a URL says.
pub(super) struct Address {
    pub(super) secure: bool,
    pub(super) node: Node,
    pub(super) username: Option<String>,
    pub(super) password: Option<String>,
    pub(super) database: u32,
}

impl Address {
    /// Reads `redis://[USER[:PASSWORD]@]HOST[:PORT][/DATABASE]`, or `rediss:`.
    ///
    /// # Errors
    /// `Invalid`, naming the part and the rule, and showing nothing that may be
    /// a password.
    pub(super) fn parse(url: &str) -> Result<Self> {
        let refuse =
            |why: &str| Error::invalid(format!("the URL of the server is not valid: {why}"));
        let (scheme, rest) = url.split_once("://").ok_or_else(|| {
            refuse("write it like redis://HOST:PORT, or rediss://HOST:PORT with TLS")
        })?;
        let secure = match scheme {
            "redis" => false,
            "rediss" => true,
            _ => return Err(refuse("its scheme is redis or rediss")),
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, authority),
        };
        let node = Node::parse(host).ok_or_else(|| {
            refuse("behind the slashes, and an @ if there is a user, stands HOST or HOST:PORT")
        })?;
        let database = match path {
            "" => 0,
            number => number.parse().map_err(|_| {
                refuse("behind the host stands nothing, or the number of a database")
            })?,
        };
        let decode = |text: &str| {
            let text = percent_decode_str(text).decode_utf8();
            text.map(|text| text.into_owned())
                .map_err(|_| refuse("its user and password are UTF-8"))
        };
        let (mut username, mut password) = (None, None);
        if let Some(user) = user {
            let (name, secret) = match user.split_once(':') {
                Some((name, secret)) => (name, Some(secret)),
                None => (user, None),
            };
            username = Some(decode(name)?).filter(|name| !name.is_empty());
            password = secret.map(decode).transpose()?;
        }
        Ok(Self {
            secure,
            node,
            username,
            password,
            database,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_or_refused_without_their_password() {
        let address = Address::parse("rediss://app:hunter%402@db.example:7000/3").unwrap();
        assert!(address.secure);
        assert_eq!(address.node.to_string(), "db.example:7000");
        assert_eq!(address.username.as_deref(), Some("app"));
        assert_eq!(address.password.as_deref(), Some("hunter@2"));
        assert_eq!(address.database, 3);
        let address = Address::parse("redis://:hunter2@[::1]").unwrap();
        assert_eq!(address.node.to_string(), "[::1]:6379");
        assert_eq!((address.username, address.database), (None, 0));
        for url in [
            "redis:hunter2",
            "http://hunter2@h",
            "redis://u:hunter2@",
            "redis://u:hunter2@h:99999",
            "redis://u:hunter2@a:b:c",
            "redis://u:hunter2@h/x",
            "redis://u:hunter2@h/-1",
            "redis://u:hunter2%ff@h",
            "redis://u:hunter2@[::1",
        ] {
            let error = Address::parse(url).err().unwrap_or_else(|| panic!("{url}"));
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_cluster_names_its_nodes_with_and_without_hosts() {
        let from = Node::parse("10.0.0.1:7000").unwrap();
        for (text, wanted) in [
            ("10.0.0.2:7001", "10.0.0.2:7001"),
            (":7001", "10.0.0.1:7001"),
            ("::1:7001", "[::1]:7001"),
        ] {
            assert_eq!(Node::redirected(text, &from).unwrap().to_string(), wanted);
        }
        assert_eq!(Node::redirected("nowhere", &from), None);
    }
}
