//! What is tested, and how to open it.

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::{DynBackend, Env, Result};

type Open = Arc<dyn Fn(String) -> BoxFuture<'static, Result<DynBackend>> + Send + Sync>;
type OpenWithEnv = Arc<dyn Fn(Env) -> BoxFuture<'static, Result<DynBackend>> + Send + Sync>;

/// A store to test: what names it, and how to open it.
#[derive(Clone)]
pub struct Target {
    describe: String,
    stands_on: String,
    open: Open,
    with_env: Option<OpenWithEnv>,
    reopens: bool,
}

impl Target {
    /// A store and its opener. The opener is given the description, here or in
    /// another process; a URL does well. It is called several times, and need
    /// not find what was written before unless [`reopens`](Self::reopens) says
    /// that it does.
    pub fn new<F, Fut>(describe: impl Into<String>, open: F) -> Self
    where
        F: Fn(String) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<DynBackend>> + Send + 'static,
    {
        Self {
            describe: describe.into(),
            stands_on: String::new(),
            open: Arc::new(move |describe| Box::pin(open(describe))),
            with_env: None,
            reopens: false,
        }
    }

    /// What it stands on, with its version, for the report: `PostgreSQL 15.18`.
    #[must_use]
    pub fn stands_on(mut self, what: impl Into<String>) -> Self {
        self.stands_on = what.into();
        self
    }

    /// Every opening finds the same store, and what was written stays when it
    /// is closed.
    #[must_use]
    pub fn reopens(mut self) -> Self {
        self.reopens = true;
        self
    }

    /// Also opens an empty store of the same kind that works with a clock and
    /// randomness of the suite's; for what takes hours.
    #[must_use]
    pub fn with_env<F, Fut>(mut self, open: F) -> Self
    where
        F: Fn(Env) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<DynBackend>> + Send + 'static,
    {
        self.with_env = Some(Arc::new(move |env| Box::pin(open(env))));
        self
    }

    /// What names it.
    pub fn describe(&self) -> &str {
        &self.describe
    }

    pub(super) fn below(&self) -> &str {
        &self.stands_on
    }

    pub(super) fn keeps(&self) -> bool {
        self.reopens
    }

    pub(super) fn takes_env(&self) -> bool {
        self.with_env.is_some()
    }

    pub(super) async fn open(&self) -> Result<DynBackend> {
        (self.open)(self.describe.clone()).await
    }

    pub(super) async fn open_as(&self, describe: String) -> Result<DynBackend> {
        (self.open)(describe).await
    }

    pub(super) async fn open_with_env(&self, env: Env) -> Result<DynBackend> {
        match &self.with_env {
            Some(open) => open(env).await,
            None => Err(crate::Error::unsupported("the target takes no clock")),
        }
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target")
            .field("describe", &self.describe)
            .finish_non_exhaustive()
    }
}
