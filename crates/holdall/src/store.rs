//! What a user opens.

use holdall_core::{
    Collection, CollectionName, DynBackend, Env, Error, Result, Transaction, TransactionOptions,
    transact,
};
use holdall_models::Records;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::layer::wrap_all;
use crate::{Layer, Registry, Settings};

/// Opens a store by its URL, with the schemes of this process.
///
/// ```
/// use holdall::{Filter, open};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Book { author: String, year: i32 }
///
/// # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
/// # runtime.block_on(async {
/// let store = open("memory:").await?;
/// let books = store.collection::<Book>("books")?;
/// books.put("emma", &Book { author: "Austen".into(), year: 1815 }).await?;
/// assert_eq!(books.count(&Filter::parse(r#"{"year":{"$lt":1900}}"#)?).await?, 1);
/// store.close().await?;
/// # Ok::<(), holdall::Error>(())
/// # }).unwrap();
/// ```
///
/// # Errors
/// `Invalid` if the URL is malformed (see [`Settings`]), its scheme unknown or
/// an option unknown; those of the backend.
pub async fn open(url: &str) -> Result<Store> {
    Store::open(Settings::parse(url)?).await
}

/// A backend with its layers, and the models on it.
///
/// Cheap to clone; clones share the backend.
#[derive(Clone, Debug)]
pub struct Store {
    backend: DynBackend,
    env: Env,
}

impl Store {
    /// Opens what the settings say, with the schemes of this process and the
    /// system's clock and randomness.
    ///
    /// # Errors
    /// As [`Registry::open`].
    pub async fn open(settings: Settings) -> Result<Self> {
        Self::open_with(Registry::global(), settings, Env::system()).await
    }

    /// The same with schemes, clock and randomness of the caller's.
    ///
    /// # Errors
    /// As [`Registry::open`].
    pub async fn open_with(registry: &Registry, settings: Settings, env: Env) -> Result<Self> {
        let backend = registry.open(settings, env.clone()).await?;
        Ok(Self { backend, env })
    }

    /// A store on a backend that is open already, with the system's clock and
    /// randomness.
    pub fn new(backend: impl Into<DynBackend>) -> Self {
        Self {
            backend: backend.into(),
            env: Env::system(),
        }
    }

    /// The same with another clock and randomness, which should be those of
    /// the backend.
    #[must_use]
    pub fn with_env(mut self, env: Env) -> Self {
        self.env = env;
        self
    }

    /// The same with layers around it, the first one outermost.
    ///
    /// ```
    /// use holdall::{Layer, open};
    /// # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    /// # runtime.block_on(async {
    /// let store = open("memory:").await?;
    /// let tenant = store.clone().layered(&[Layer::Namespace { name: "acme".into() }])?;
    /// tenant.collection("notes")?.put("a", &"{}".parse::<serde_json::Value>().unwrap()).await?;
    /// assert_eq!(store.backend().collections().await?[0].as_str(), "acme/notes");
    /// # Ok::<(), holdall::Error>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// `Invalid` if they stand in another order than [`Layer::kinds`]; those
    /// of the layers.
    pub fn layered(mut self, layers: &[Layer]) -> Result<Self> {
        self.backend = wrap_all(self.backend, layers)?;
        Ok(self)
    }

    /// The backend with its layers.
    pub fn backend(&self) -> &DynBackend {
        &self.backend
    }

    /// The clock and randomness.
    pub fn env(&self) -> &Env {
        &self.env
    }

    /// A collection of a type of the caller's.
    ///
    /// # Errors
    /// `Invalid` or `TooLarge` if the name is none.
    pub fn collection<T>(&self, name: impl AsRef<str>) -> Result<Collection<T>>
    where
        T: Serialize + DeserializeOwned,
    {
        Ok(Collection::new(
            self.backend.clone(),
            CollectionName::new(name)?,
        ))
    }

    /// The model `records` on a collection.
    ///
    /// # Errors
    /// As [`collection`](Self::collection); `Unsupported` if the backend lacks
    /// what the model needs.
    pub fn records<T>(&self, name: impl AsRef<str>) -> Result<Records<T>>
    where
        T: Serialize + DeserializeOwned,
    {
        let name = CollectionName::new(name)?;
        Ok(Records::new(self.backend.clone(), name)?.with_env(self.env.clone()))
    }

    /// Runs a closure in a transaction and commits it, again after a conflict:
    /// see [`transact`](holdall_core::transact).
    ///
    /// # Errors
    /// Those of the closure and of the commit; `Conflict` when the attempts
    /// are used up.
    pub async fn transact<T, F, Fut>(&self, closure: F) -> Result<T>
    where
        F: Fn(Transaction) -> Fut,
        Fut: Future<Output = Result<T>>,
    {
        transact(&self.backend, self.transaction_options(), closure).await
    }

    /// Begins a transaction that the caller commits.
    pub fn begin(&self) -> Transaction {
        Transaction::begin(&self.backend, &self.transaction_options())
    }

    /// Checks that it works: reaches what it stands on.
    ///
    /// # Errors
    /// What is wrong.
    pub async fn health(&self) -> Result<()> {
        self.backend.health().await
    }

    /// Finishes what is under way and lets everything go, for all clones and
    /// for all stores on the same backend.
    ///
    /// # Errors
    /// What could not be finished.
    pub async fn close(&self) -> Result<()> {
        self.backend.close().await
    }

    fn transaction_options(&self) -> TransactionOptions {
        TransactionOptions {
            env: self.env.clone(),
            ..TransactionOptions::default()
        }
    }
}

/// Adds the name of a store to what went wrong with it.
pub(crate) fn of_store(name: &str) -> impl FnOnce(Error) -> Error {
    let name = name.to_owned();
    move |error| {
        let message = format!("the store {name:?} cannot be opened");
        Error::new(error.kind(), error.retry(), message).because(error)
    }
}
