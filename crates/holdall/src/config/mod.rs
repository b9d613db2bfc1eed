//! `holdall.toml`: backends by name, stores made of them, and which model
//! lives where.

mod server;
mod tree;

use std::collections::BTreeMap;

use holdall_core::{CollectionName, Error, Result, Value};

pub use self::server::ServerSetting;
use self::tree::{Node, Place, Table};
use crate::layer::check_order;
use crate::{Layer, Settings};

/// A configuration.
///
/// ```
/// use holdall::{Config, Stores};
/// # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
/// # runtime.block_on(async {
/// let config = Config::parse(r#"
///     default = "main"
///
///     [backends.disk]
///     url = "memory:"            # the options of the backend stand beside it
///
///     [stores.main]
///     backend = "disk"
///
///     [stores.acme]
///     backend = "disk"
///     layers = [{ type = "namespace", name = "acme" }]  # outermost first
///
///     [models.contacts]
///     type = "records"
///     store = "acme"
///     collection = "contacts"
/// "#)?;
/// let stores = Stores::new(config);
/// let contacts = stores.records::<serde_json::Value>("contacts").await?;
/// contacts.create(Some("ada"), &holdall::json!({"city": "London"})).await?;
/// let main = stores.default().await?;
/// assert_eq!(main.backend().collections().await?[0].as_str(), "acme/contacts");
/// stores.close().await?;
/// # Ok::<(), holdall::Error>(())
/// # }).unwrap();
/// ```
///
/// - `[backends.NAME]`: `url` (see [`Settings`]), and options of the backend,
///   which are strings, numbers or bools. An option stands here or in the URL.
/// - `[stores.NAME]`: `backend` names one, `layers` lists what stands around
///   it, outermost first, in the order of [`Layer::kinds`]. A layer has a
///   `type`, and what that takes: `namespace` a `name`.
/// - `[models.NAME]`: `type` (`records`), `store` and `collection`. Where it
///   says `store`, and in `default`, a backend may be named too, as the store
///   without layers; a store goes before a backend of the same name.
/// - `default`: the store that is meant where none is named.
/// - `[server]`: what `holdall serve` takes; it is handed out by
///   [`server`](Self::server), and not looked at here.
///
/// A name that is not known is an error, and so is one that stands twice.
/// Errors name the place, never a value, which may be a secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    backends: BTreeMap<String, Settings>,
    stores: BTreeMap<String, StoreConfig>,
    models: BTreeMap<String, ModelConfig>,
    default: Option<String>,
    server: BTreeMap<String, ServerSetting>,
}

/// A store: a backend by name, and the layers around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreConfig {
    /// The name of the backend.
    pub backend: String,
    /// The layers, outermost first.
    pub layers: Vec<Layer>,
}

/// A model: which one, and where it lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelConfig {
    /// Which model.
    pub kind: ModelKind,
    /// The name of the store.
    pub store: String,
    /// The collection.
    pub collection: CollectionName,
}

/// The models there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ModelKind {
    /// Typed records by id.
    Records,
}

impl ModelKind {
    const ALL: [(Self, &str); 1] = [(Self::Records, "records")];

    /// Its name, as it stands in a configuration.
    pub fn name(self) -> &'static str {
        let Self::Records = self;
        "records"
    }
}

impl Config {
    /// Reads the text of a `holdall.toml`.
    ///
    /// # Errors
    /// `Invalid`, naming the place and the rule; `TooLarge` above 1 MiB.
    pub fn parse(text: &str) -> Result<Self> {
        Self::read(Node::from_toml(text)?)
    }

    /// Takes the same from a map: a JSON object of the same shape.
    ///
    /// ```
    /// use holdall::{Config, json};
    /// let config = Config::from_json(&json!({
    ///     "backends": {"main": {"url": "sqlite:holdall.db", "readers": 8}},
    ///     "default": "main",
    /// }))?;
    /// assert_eq!(config.default_name(), Some("main"));
    /// # Ok::<(), holdall::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Invalid`, naming the place and the rule.
    pub fn from_json(value: &Value) -> Result<Self> {
        Self::read(Node::from_json(value)?)
    }

    /// The backends by name.
    pub fn backends(&self) -> &BTreeMap<String, Settings> {
        &self.backends
    }

    /// The stores by name.
    pub fn stores(&self) -> &BTreeMap<String, StoreConfig> {
        &self.stores
    }

    /// The models by name.
    pub fn models(&self) -> &BTreeMap<String, ModelConfig> {
        &self.models
    }

    /// The store that is meant where none is named.
    pub fn default_name(&self) -> Option<&str> {
        self.default.as_deref()
    }

    /// The settings of `[server]` by name; `max_body` of `[server.limits]` is
    /// `limits.max_body`. Which names there are is up to the program that
    /// serves.
    pub fn server(&self) -> &BTreeMap<String, ServerSetting> {
        &self.server
    }

    /// A store by name, or a backend as the store without layers.
    ///
    /// # Errors
    /// `NotFound`, listing those there are.
    pub fn store(&self, name: &str) -> Result<StoreConfig> {
        if let Some(store) = self.stores.get(name) {
            return Ok(store.clone());
        }
        if self.backends.contains_key(name) {
            return Ok(StoreConfig {
                backend: name.to_owned(),
                layers: Vec::new(),
            });
        }
        Err(Error::not_found(format!(
            "no store or backend is called {name:?}; there are {}",
            self.names()
        )))
    }

    fn names(&self) -> String {
        let mut names: Vec<_> = self.stores.keys().chain(self.backends.keys()).collect();
        names.sort();
        names.dedup();
        if names.is_empty() {
            return "none".into();
        }
        let names: Vec<_> = names.iter().map(|name| format!("{name:?}")).collect();
        names.join(", ")
    }

    fn read(root: Node) -> Result<Self> {
        let mut root = root.table()?;
        let mut config = Self::default();
        for (name, node) in named(&mut root, "backends")? {
            config.backends.insert(name, read_backend(node.table()?)?);
        }
        for (name, node) in named(&mut root, "stores")? {
            let store = config.read_store(node.table()?)?;
            config.stores.insert(name, store);
        }
        for (name, node) in named(&mut root, "models")? {
            let model = config.read_model(node.table()?)?;
            config.models.insert(name, model);
        }
        config.default = root
            .take("default")
            .map(|node| config.store_name(node))
            .transpose()?;
        if let Some(node) = root.take("server") {
            config.server = server::read(node)?;
        }
        root.finish()?;
        Ok(config)
    }

    fn read_store(&self, mut table: Table) -> Result<StoreConfig> {
        let node = table.need("backend")?;
        let place = node.place.clone();
        let backend = node.text()?;
        if !self.backends.contains_key(&backend) {
            let known: Vec<_> = self
                .backends
                .keys()
                .map(|name| format!("{name:?}"))
                .collect();
            return Err(place.refuse(format!(
                "no backend is called {backend:?}; there are {}",
                if known.is_empty() {
                    "none".into()
                } else {
                    known.join(", ")
                }
            )));
        }
        let layers = match table.take("layers") {
            Some(node) => read_layers(node)?,
            None => Vec::new(),
        };
        table.finish()?;
        Ok(StoreConfig { backend, layers })
    }

    fn read_model(&self, mut table: Table) -> Result<ModelConfig> {
        let node = table.need("type")?;
        let place = node.place.clone();
        let name = node.text()?;
        let kind = ModelKind::ALL.into_iter().find(|(_, own)| *own == name);
        let Some((kind, _)) = kind else {
            let known: Vec<_> = ModelKind::ALL.iter().map(|(_, name)| *name).collect();
            return Err(place.refuse(format!(
                "the model {name:?} is unknown; there are {}",
                known.join(", ")
            )));
        };
        let node = table.need("store")?;
        let store = self.store_name(node)?;
        let node = table.need("collection")?;
        let place = node.place.clone();
        let collection = CollectionName::new(node.text()?).map_err(|error| place.about(&error))?;
        table.finish()?;
        Ok(ModelConfig {
            kind,
            store,
            collection,
        })
    }

    /// The name of a store that there is.
    fn store_name(&self, node: Node) -> Result<String> {
        let place = node.place.clone();
        let name = node.text()?;
        self.store(&name).map_err(|error| place.about(&error))?;
        Ok(name)
    }
}

fn named(root: &mut Table, name: &'static str) -> Result<Vec<(String, Node)>> {
    let Some(node) = root.take(name) else {
        return Ok(Vec::new());
    };
    let members = node.table()?.rest();
    match members.iter().find(|(name, _)| name.is_empty()) {
        Some((_, node)) => Err(node.place.refuse("its name is empty")),
        None => Ok(members),
    }
}

fn read_backend(mut table: Table) -> Result<Settings> {
    let node = table.need("url")?;
    let place = node.place.clone();
    let mut settings = Settings::parse(&node.text()?).map_err(|error| place.about(&error))?;
    for (name, node) in table.rest() {
        let place = node.place.clone();
        settings = settings
            .with(name, node.option()?)
            .map_err(|error| place.about(&error))?;
    }
    Ok(settings)
}

fn read_layers(node: Node) -> Result<Vec<Layer>> {
    let place = node.place.clone();
    let layers = node
        .list()?
        .into_iter()
        .map(|node| read_layer(node.table()?))
        .collect::<Result<Vec<_>>>()?;
    let kinds: Vec<_> = layers.iter().map(Layer::kind).collect();
    check_order(Layer::kinds(), &kinds).map_err(|error| place.about(&error))?;
    Ok(layers)
}

fn read_layer(mut table: Table) -> Result<Layer> {
    let node = table.need("type")?;
    let place = node.place.clone();
    let kind = node.text()?;
    let layer = match kind.as_str() {
        "namespace" => Layer::Namespace {
            name: table.need("name")?.text()?,
        },
        _ => return Err(unknown_layer(&place, &kind)),
    };
    table.finish()?;
    Ok(layer)
}

fn unknown_layer(place: &Place, kind: &str) -> Error {
    place.refuse(format!(
        "the layer {kind:?} is unknown; there are {}",
        Layer::kinds().join(", ")
    ))
}
