//! The stores of a configuration, opened when they are needed.

use std::collections::BTreeMap;
use std::sync::Arc;

use holdall_core::{DynBackend, Env, Error, Result};
use holdall_models::Records;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;

use crate::config::{Config, ModelKind};
use crate::store::of_store;
use crate::{Registry, Store};

/// The stores and models of a [`Config`]. Each backend is opened once, when
/// something first needs it, and shared by the stores on it.
///
/// Cheap to clone; clones share what is open.
#[derive(Clone, Debug)]
pub struct Stores(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: Config,
    registry: Registry,
    env: Env,
    open: Mutex<BTreeMap<String, DynBackend>>,
}

impl Stores {
    /// With the schemes of this process and the system's clock and randomness.
    pub fn new(config: Config) -> Self {
        Self::with(config, Registry::global(), Env::system())
    }

    /// With schemes, clock and randomness of the caller's.
    pub fn with(config: Config, registry: &Registry, env: Env) -> Self {
        Self(Arc::new(Inner {
            config,
            registry: registry.clone(),
            env,
            open: Mutex::default(),
        }))
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// A store by name, or a backend as the store without layers.
    ///
    /// # Errors
    /// `NotFound` if there is none of that name; those of opening.
    pub async fn store(&self, name: &str) -> Result<Store> {
        let inner = &self.0;
        let config = inner.config.store(name)?;
        let backend = self
            .backend(&config.backend)
            .await
            .map_err(of_store(name))?;
        Store::new(backend)
            .with_env(inner.env.clone())
            .layered(&config.layers)
            .map_err(of_store(name))
    }

    /// The store that `default` names.
    ///
    /// # Errors
    /// `NotFound` if the configuration names none; those of opening.
    pub async fn default(&self) -> Result<Store> {
        match self.0.config.default_name() {
            Some(name) => self.store(name).await,
            None => Err(Error::not_found(
                "the configuration names no default store; write default = \"NAME\" at its top",
            )),
        }
    }

    /// The records that a model of the configuration names.
    ///
    /// # Errors
    /// `NotFound` if there is no model of that name; those of opening;
    /// `Unsupported` if the store lacks what the model needs.
    pub async fn records<T>(&self, model: &str) -> Result<Records<T>>
    where
        T: Serialize + DeserializeOwned,
    {
        let models = self.0.config.models();
        let Some(config) = models.get(model) else {
            let known: Vec<_> = models.keys().map(|name| format!("{name:?}")).collect();
            return Err(Error::not_found(format!(
                "no model is called {model:?}; there are {}",
                if known.is_empty() {
                    "none".into()
                } else {
                    known.join(", ")
                }
            )));
        };
        match config.kind {
            ModelKind::Records => self.store(&config.store).await?.records(&config.collection),
        }
    }

    /// Closes all backends that were opened.
    ///
    /// # Errors
    /// The first of those of closing; all are closed.
    pub async fn close(&self) -> Result<()> {
        let open = std::mem::take(&mut *self.0.open.lock().await);
        let mut result = Ok(());
        for backend in open.into_values() {
            result = result.and(backend.close().await);
        }
        result
    }

    async fn backend(&self, name: &str) -> Result<DynBackend> {
        let inner = &self.0;
        let mut open = inner.open.lock().await;
        if let Some(backend) = open.get(name) {
            return Ok(backend.clone());
        }
        let settings = inner.config.backends().get(name).cloned();
        let settings =
            settings.ok_or_else(|| Error::not_found(format!("no backend is called {name:?}")))?;
        let backend = inner.registry.open(settings, inner.env.clone()).await?;
        open.insert(name.to_owned(), backend.clone());
        Ok(backend)
    }
}
