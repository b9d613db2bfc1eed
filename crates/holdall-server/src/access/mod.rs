//! Who may do what: tokens with scopes, a guard against pages of other sites,
//! and audit lines. `docs/access.md` tells of it.
//!
//! ```
//! use holdall_core::{Env, MemoryBackend};
//! use holdall_server::access::{Access, Grant, NewToken, Tokens, Verb};
//! use holdall_server::{App, app};
//! # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
//! # runtime.block_on(async {
//! let tokens = Tokens::new(MemoryBackend::new().into(), Env::system())?;
//! let grant = Grant::new([Verb::Read], ["books".parse()?, "logs/*".parse()?])?;
//! let new = NewToken { name: "the reporter".into(), grant, expires: None };
//! let (token, secret) = tokens.create(new).await?;
//! assert!(secret.reveal().starts_with("hld_"));
//!
//! let routes = app(App { access: Access::tokens(tokens), ..App::new(MemoryBackend::new()) });
//! # Ok::<(), holdall_core::Error>(())
//! # }).unwrap();
//! ```

mod audit;
mod authenticate;
mod browser;
mod caller;
mod rate;
mod scope;
mod token;
mod tokens;

use std::sync::Arc;

use tower_http::cors::CorsLayer;

pub use self::browser::Origin;
pub use self::caller::Caller;
pub use self::scope::{Grant, MAX_PATTERNS, Pattern, Verb};
pub use self::token::{NewToken, Secret, Token, TokenId};
pub use self::tokens::Tokens;

pub(crate) use self::authenticate::Gate;
use self::browser::Guard;
use self::rate::Rate;
use crate::Limits;

/// Who may do what.
#[derive(Clone, Debug)]
pub struct Access {
    tokens: Option<Tokens>,
    origins: Vec<Origin>,
    hosts: Vec<String>,
    max_rate: u64,
}

impl Access {
    /// Open mode: every request may do all. For a server that listens on
    /// loopback only, and answers to no name but loopback's.
    pub fn open() -> Self {
        Self {
            tokens: None,
            origins: Vec::new(),
            hosts: Vec::new(),
            max_rate: Limits::default().max_rate,
        }
    }

    /// Every request needs a token.
    pub fn tokens(tokens: Tokens) -> Self {
        Self {
            tokens: Some(tokens),
            ..Self::open()
        }
    }

    /// Whether requests need no token.
    pub fn is_open(&self) -> bool {
        self.tokens.is_none()
    }

    /// Pages of these origins may call the server.
    #[must_use]
    pub fn origins(mut self, origins: impl IntoIterator<Item = Origin>) -> Self {
        self.origins.extend(origins);
        self
    }

    /// In open mode, a name or address, without a port, that requests may call
    /// the server by, beside `localhost` and the loopback addresses.
    #[must_use]
    pub fn host(mut self, name: impl Into<String>) -> Self {
        self.hosts.push(name.into());
        self
    }

    /// The most requests in a second with one token.
    #[must_use]
    pub fn max_rate(mut self, requests: u64) -> Self {
        self.max_rate = requests;
        self
    }
}

impl Access {
    /// What requests pass, and what answers preflights before it: these have no
    /// token.
    pub(crate) fn gate(self) -> (Gate, Option<CorsLayer>) {
        let guard = Guard {
            hosts: self.tokens.is_none().then_some(self.hosts),
            origins: self.origins,
        };
        let cors = guard.cors();
        let gate = Gate {
            tokens: self.tokens,
            guard,
            rate: Rate::new(self.max_rate),
            audit: Arc::default(),
        };
        (gate, cors)
    }
}
