//! Who makes a request, and what they may do.

use std::fmt;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use holdall_core::{CollectionName, Error, Result};
use parking_lot::Mutex;

use super::audit::{Audit, Call};
use super::scope::{Grant, Verb};
use super::token::{Token, TokenId};
use super::tokens::{Refusal, Tokens};
use crate::Failure;

/// Who makes a request. Handlers take it as an argument, and ask it before they
/// touch anything:
///
/// ```
/// use holdall_server::{Answer, access::{Caller, Verb}};
/// async fn handler(caller: Caller) -> Answer<&'static str> {
///     caller.may(Verb::Read, &"books".parse()?)?;
///     Ok("a book")
/// }
/// ```
///
/// What it refuses is written as an audit line, and so is what became of a
/// request that it allowed [`Verb::Admin`].
///
/// Cheap to clone.
#[derive(Clone)]
pub struct Caller(Arc<Inner>);

struct Inner {
    /// None in open mode.
    token: Option<(Arc<Token>, Tokens)>,
    call: Call,
    audit: Arc<Audit>,
    administers: Mutex<Option<CollectionName>>,
}

static ALL: std::sync::LazyLock<Grant> = std::sync::LazyLock::new(Grant::all);

impl Caller {
    pub(super) fn new(token: Option<(Arc<Token>, Tokens)>, call: Call, audit: Arc<Audit>) -> Self {
        Self(Arc::new(Inner {
            token,
            call,
            audit,
            administers: Mutex::default(),
        }))
    }

    /// Allows a verb on a collection, or refuses it. To be asked before
    /// anything is read, so that the answer is the same whether there is such
    /// a collection or not.
    ///
    /// # Errors
    /// `Denied`.
    pub fn may(&self, verb: Verb, collection: &CollectionName) -> Result<()> {
        self.noted(self.grant().may(verb, collection))?;
        if verb == Verb::Admin {
            *self.0.administers.lock() = Some(collection.clone());
        }
        Ok(())
    }

    /// Allows one of two verbs on a collection, or refuses it, naming the
    /// first: a `check` of a batch is fine for who may read, and for who may
    /// write.
    ///
    /// # Errors
    /// `Denied`.
    pub fn may_either(&self, verb: Verb, or: Verb, collection: &CollectionName) -> Result<()> {
        if self.reaches(or, collection) {
            return Ok(());
        }
        self.may(verb, collection)
    }

    /// Allows a verb where there is no collection to ask of, or refuses it.
    ///
    /// # Errors
    /// `Denied`.
    pub fn may_any(&self, verb: Verb) -> Result<()> {
        self.noted(self.grant().may_any(verb))
    }

    /// Whether a verb is allowed on a collection; for listings and watches of
    /// all collections, which leave out the others. Writes no audit line.
    pub fn reaches(&self, verb: Verb, collection: &CollectionName) -> bool {
        self.grant().covers(verb, collection)
    }

    /// What may be done.
    pub fn grant(&self) -> &Grant {
        self.token().map_or(&*ALL, |token| &token.grant)
    }

    /// The id of the token; `None` in open mode. What a caller makes and comes
    /// back to, such as a transaction, belongs to this id alone.
    pub fn id(&self) -> Option<&str> {
        self.token_id().map(TokenId::as_str)
    }

    /// The name of the token.
    pub fn name(&self) -> Option<&str> {
        self.token().map(|token| token.name.as_str())
    }

    /// Refuses a token that has expired or was revoked since the request came;
    /// for answers that go on, such as a watch, before each thing they tell.
    ///
    /// # Errors
    /// `Denied`; `Unavailable` where it cannot be checked.
    pub async fn still_good(&self) -> Result<()> {
        match &self.0.token {
            None => Ok(()),
            Some((token, tokens)) => {
                let refused = tokens.check_again(token).await;
                refused.map_err(Refusal::into_error)
            }
        }
    }

    fn token(&self) -> Option<&Token> {
        self.0.token.as_ref().map(|(token, _)| &**token)
    }

    fn token_id(&self) -> Option<&TokenId> {
        self.token().map(|token| &token.id)
    }

    fn noted(&self, result: Result<()>) -> Result<()> {
        if let Err(error) = &result {
            let Inner { call, audit, .. } = &*self.0;
            audit.refused(call, self.token_id(), StatusCode::FORBIDDEN, error);
        }
        result
    }

    /// Writes what became of an administrative request.
    pub(super) fn ended(&self, outcome: Option<StatusCode>) {
        let Inner { call, audit, .. } = &*self.0;
        if let Some(collection) = self.0.administers.lock().take() {
            audit.administered(call, self.token_id(), Verb::Admin, &collection, outcome);
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        let caller = parts.extensions.get::<Self>().cloned();
        caller.ok_or_else(|| {
            Error::other("nobody asked who makes this request; this is a bug of the server").into()
        })
    }
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Caller").field(&self.token()).finish()
    }
}
