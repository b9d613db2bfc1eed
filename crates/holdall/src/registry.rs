//! The table of URL schemes.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, LazyLock};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use holdall_core::{DynBackend, Env, Error, Result};
use parking_lot::RwLock;

use crate::url::read_scheme;
use crate::{Settings, built_in};

/// Opens the backends of one scheme.
pub(crate) type Factory =
    Arc<dyn Fn(Settings, Env) -> BoxFuture<'static, Result<DynBackend>> + Send + Sync>;

/// A factory from a function.
pub(crate) fn factory<F, Fut>(open: F) -> Factory
where
    F: Fn(Settings, Env) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<DynBackend>> + Send + 'static,
{
    Arc::new(move |settings, env| open(settings, env).boxed())
}

/// The URL schemes that can be opened, and how.
///
/// [`open`](crate::open) uses the one of the whole process,
/// [`Registry::global`]; a program or a test that wants one of its own makes
/// it. Clones are handles of one table.
#[derive(Clone)]
pub struct Registry(Arc<RwLock<BTreeMap<String, Factory>>>);

impl Registry {
    /// The backends that are built in.
    #[allow(
        clippy::new_without_default,
        reason = "a default would hide that this is not the global one"
    )]
    pub fn new() -> Self {
        let schemes = built_in::schemes();
        let table = schemes
            .into_iter()
            .map(|(scheme, factory)| (scheme.to_owned(), factory))
            .collect();
        Self(Arc::new(RwLock::new(table)))
    }

    /// The one of this process.
    pub fn global() -> &'static Self {
        static GLOBAL: LazyLock<Registry> = LazyLock::new(Registry::new);
        &GLOBAL
    }

    /// Adds a scheme, for backends from outside of Holdall. The factory is
    /// given the settings, and the clock and randomness to work with; it
    /// refuses options that it does not know
    /// ([`Settings::refuse_unknown`]).
    ///
    /// ```
    /// use holdall::{DynBackend, MemoryBackend, Registry, Settings, Store, Env};
    /// # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    /// # runtime.block_on(async {
    /// let registry = Registry::new();
    /// registry.register("toy", |settings, env| async move {
    ///     settings.refuse_unknown(&[])?;
    ///     Ok(DynBackend::from(MemoryBackend::with_env(env)))
    /// })?;
    /// let store = Store::open_with(&registry, Settings::parse("toy:")?, Env::system()).await?;
    /// store.close().await?;
    ///
    /// let error = registry.register("memory", |_, _| async { todo!() }).unwrap_err();
    /// assert_eq!(error.message(), "the scheme memory: is taken; register another name");
    /// # Ok::<(), holdall::Error>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// `Invalid` if the scheme is none; `Conflict` if it is taken.
    pub fn register<F, Fut>(&self, scheme: &str, open: F) -> Result<()>
    where
        F: Fn(Settings, Env) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<DynBackend>> + Send + 'static,
    {
        let scheme = read_scheme(scheme).map_err(|why| {
            Error::invalid(format!("{scheme:?} cannot be registered for URLs: {why}"))
        })?;
        let mut table = self.0.write();
        if table.contains_key(&scheme) {
            return Err(Error::conflict(format!(
                "the scheme {scheme}: is taken; register another name"
            )));
        }
        table.insert(scheme, factory(open));
        Ok(())
    }

    /// The schemes, in order.
    pub fn schemes(&self) -> Vec<String> {
        self.0.read().keys().cloned().collect()
    }

    /// Opens a backend.
    ///
    /// # Errors
    /// `Invalid` for an unknown scheme, listing those there are; those of the
    /// backend.
    pub async fn open(&self, settings: Settings, env: Env) -> Result<DynBackend> {
        let open = self.0.read().get(settings.scheme()).cloned();
        let Some(open) = open else {
            return Err(self.unknown(&settings));
        };
        open(settings, env).await
    }

    fn unknown(&self, settings: &Settings) -> Error {
        let scheme = settings.scheme();
        let left_out = built_in::LEFT_OUT.iter().find(|(own, _)| *own == scheme);
        if let Some((_, feature)) = left_out {
            return Error::unsupported(format!(
                "the scheme {scheme}: was left out when this program was built; \
                 build it with the feature {feature:?}"
            ));
        }
        let known: Vec<_> = self
            .schemes()
            .iter()
            .map(|name| format!("{name}:"))
            .collect();
        Error::invalid(format!(
            "the scheme {scheme}: of {:?} is unknown; there are {}",
            settings.to_string(),
            known.join(", ")
        ))
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Registry").field(&self.schemes()).finish()
    }
}

/// Adds a scheme to the table of this process: see [`Registry::register`].
///
/// # Errors
/// As [`Registry::register`].
pub fn register<F, Fut>(scheme: &str, open: F) -> Result<()>
where
    F: Fn(Settings, Env) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<DynBackend>> + Send + 'static,
{
    Registry::global().register(scheme, open)
}
