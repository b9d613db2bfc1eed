//! The tokens that there are: a store of their own.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use holdall_core::{
    BackendExt, CollectionName, Condition, DynBackend, Env, Error, ErrorKind, Filter, GetOptions,
    Item, Parts, Put, Query, Result, Timestamp,
};
use parking_lot::RwLock;
use tokio::time::Instant;

use super::audit;
use super::token::{NewToken, Secret, Token, TokenId};

/// The collection that tokens are kept in.
const COLLECTION: &str = "tokens";

/// The most tokens.
const MAX_TOKENS: usize = 10_000;

/// How long a token that was found is taken for what it was. It is what a
/// revocation takes to arrive, so it is short; and long enough that a busy
/// client does not read the store for each request.
const CACHE_LIFE: Duration = Duration::from_secs(1);

/// The most tokens in the cache. Only those whose records are there, so that
/// made-up ids push nothing out.
const CACHE_SIZE: usize = 1024;

/// Tokens, in a store that holds nothing else.
///
/// It must not be the store that is served: whoever may write there could make
/// tokens.
///
/// Cheap to clone; clones share the store.
#[derive(Clone)]
pub struct Tokens(Arc<Inner>);

struct Inner {
    backend: DynBackend,
    env: Env,
    collection: CollectionName,
    cache: RwLock<HashMap<TokenId, (Instant, Arc<Token>)>>,
}

/// Why what a client showed is no good.
#[derive(Debug)]
pub(super) enum Refusal {
    /// No such token, or another secret: which one is not told.
    Unknown,
    /// It was good, and is too old.
    Expired(Timestamp),
    /// It was good, and was revoked.
    Revoked,
    /// It cannot be told.
    Failed(Error),
}

impl Refusal {
    /// What the client is told.
    pub(super) fn into_error(self) -> Error {
        match self {
            // One sentence for no such token and for another secret.
            Self::Unknown => Error::denied(
                "the token is not known here; look whether it is whole, and of this server",
            ),
            // That there was such a token is known to whoever has its secret.
            Self::Expired(when) => {
                Error::denied(format!("the token expired at {when}; ask for a new one"))
            }
            Self::Revoked => Error::denied("the token was revoked; ask for a new one"),
            Self::Failed(error) => {
                // What is wrong with it is not for whoever has no token.
                tracing::error!(%error, "tokens cannot be checked");
                let kind = match error.kind() {
                    ErrorKind::Corrupt => ErrorKind::Corrupt,
                    _ => ErrorKind::Unavailable,
                };
                let sentence = "the token cannot be checked now; the server's log says why";
                Error::new(kind, error.retry(), sentence)
            }
        }
    }
}

impl Tokens {
    /// The tokens in a store.
    ///
    /// # Errors
    /// None that is known.
    pub fn new(backend: DynBackend, env: Env) -> Result<Self> {
        Ok(Self(Arc::new(Inner {
            backend,
            env,
            collection: CollectionName::new(COLLECTION)?,
            cache: RwLock::default(),
        })))
    }

    /// Makes a token. Its text is in the answer and nowhere else.
    ///
    /// # Errors
    /// `Invalid` for a name that is empty or has control characters, and a
    /// time that is over; `TooLarge` for a name beyond 128 bytes, or beyond
    /// 10,000 tokens; those of writing.
    pub async fn create(&self, new: NewToken) -> Result<(Token, Secret)> {
        let Inner {
            backend,
            env,
            collection,
            ..
        } = &*self.0;
        let now = env.now();
        new.validate(now)?;
        if backend.count(collection, &Filter::all()).await? >= MAX_TOKENS as u64 {
            return Err(Error::too_large(format!(
                "there are {MAX_TOKENS} tokens already; delete those that were revoked"
            )));
        }
        let secret = Secret::new(env, TokenId::new(env));
        let token = Token {
            id: secret.id().clone(),
            name: new.name,
            grant: new.grant,
            created: now,
            expires: new.expires,
            revoked: None,
            digest: secret.digest(),
        };
        let put = Put::doc(token.to_doc()?);
        backend
            .put(collection, &token.id.key()?, Condition::Absent, put)
            .await?;
        audit::token("created", &token);
        Ok((token, secret))
    }

    /// All tokens, by the time they were made.
    ///
    /// # Errors
    /// `Corrupt` if what is kept is damaged; those of reading.
    pub async fn list(&self) -> Result<Vec<Token>> {
        let inner = &*self.0;
        let query = Query {
            parts: Parts::DOC,
            ..Query::default()
        };
        let items = inner
            .backend
            .query_all(&inner.collection, query, MAX_TOKENS + 1000)
            .await?;
        let mut tokens = items.iter().map(read).collect::<Result<Vec<_>>>()?;
        tokens.sort_by(|a, b| (a.created, &a.id).cmp(&(b.created, &b.id)));
        Ok(tokens)
    }

    /// Revokes a token, for good. Servers know it within a second. To revoke
    /// it again changes nothing, and the first time stays.
    ///
    /// # Errors
    /// `NotFound` if there is no such token; those of reading and writing.
    pub async fn revoke(&self, id: &TokenId) -> Result<Token> {
        const ATTEMPTS: usize = 5;
        let inner = &*self.0;
        let mut attempt = 0;
        loop {
            attempt += 1;
            let (item, mut token) = self.find(id).await?.ok_or_else(|| {
                Error::not_found(format!(
                    "there is no token {id}; `holdall token list` shows those there are"
                ))
            })?;
            if token.revoked.is_some() {
                return Ok(token);
            }
            token.revoked = Some(inner.env.now());
            let put = Put::doc(token.to_doc()?);
            let condition = Condition::Version(item.entry.version);
            let written = inner
                .backend
                .put(&inner.collection, &id.key()?, condition, put)
                .await;
            match written {
                Err(error) if error.is_conflict() && attempt < ATTEMPTS => {}
                Err(error) => return Err(error),
                Ok(_) => {
                    inner.cache.write().remove(id);
                    audit::token("revoked", &token);
                    return Ok(token);
                }
            }
        }
    }

    /// Checks that the store of the tokens works.
    ///
    /// # Errors
    /// What is wrong.
    pub async fn health(&self) -> Result<()> {
        self.0.backend.health().await
    }

    /// Finishes what is under way and lets everything go.
    ///
    /// # Errors
    /// What could not be finished.
    pub async fn close(&self) -> Result<()> {
        self.0.backend.close().await
    }

    /// The token that a client showed, if it is good now.
    pub(super) async fn check(&self, shown: &Secret) -> Result<Arc<Token>, Refusal> {
        let token = self.known(shown.id()).await?;
        // The equality of hashes takes the same time whatever differs.
        if shown.digest() != token.digest {
            return Err(Refusal::Unknown);
        }
        self.in_time(&token)?;
        Ok(token)
    }

    /// Whether a token that was good still is.
    pub(super) async fn check_again(&self, token: &Token) -> Result<(), Refusal> {
        let now = self.known(&token.id).await?;
        if now.digest != token.digest {
            return Err(Refusal::Unknown);
        }
        self.in_time(&now)
    }

    fn in_time(&self, token: &Token) -> Result<(), Refusal> {
        if token.revoked.is_some() {
            return Err(Refusal::Revoked);
        }
        match token.expires {
            Some(expires) if token.is_expired(self.0.env.now()) => Err(Refusal::Expired(expires)),
            _ => Ok(()),
        }
    }

    async fn known(&self, id: &TokenId) -> Result<Arc<Token>, Refusal> {
        if let Some(token) = self.cached(id) {
            return Ok(token);
        }
        // From before the read: a revocation may fall into it.
        let until = Instant::now() + CACHE_LIFE;
        let found = self.find(id).await.map_err(Refusal::Failed)?;
        let (_, token) = found.ok_or(Refusal::Unknown)?;
        Ok(self.remember(Arc::new(token), until))
    }

    async fn find(&self, id: &TokenId) -> Result<Option<(Item, Token)>> {
        let inner = &*self.0;
        let options = GetOptions::parts(Parts::DOC);
        let item = inner
            .backend
            .get(&inner.collection, &id.key()?, options)
            .await?;
        item.map(|item| read(&item).map(|token| (item, token)))
            .transpose()
    }

    fn cached(&self, id: &TokenId) -> Option<Arc<Token>> {
        let cache = self.0.cache.read();
        let (until, token) = cache.get(id)?;
        (Instant::now() < *until).then(|| token.clone())
    }

    fn remember(&self, token: Arc<Token>, until: Instant) -> Arc<Token> {
        let mut cache = self.0.cache.write();
        if cache.len() >= CACHE_SIZE {
            let now = Instant::now();
            cache.retain(|_, (until, _)| now < *until);
        }
        if cache.len() < CACHE_SIZE {
            cache.insert(token.id.clone(), (until, token.clone()));
        }
        token
    }
}

fn read(item: &Item) -> Result<Token> {
    Token::from_doc(item.key.as_str().parse()?, item.doc()?)
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tokens").field(&self.0.backend).finish()
    }
}
