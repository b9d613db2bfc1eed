//! Which store is meant, and opening it.

use std::path::Path;

use holdall::{Btps, Config, Error, ErrorKind, Settings, Store, Stores};
use tokio::sync::OnceCell;

use crate::environment;
use crate::exit::Failure;
use crate::origin::Origin;

/// The store where nothing is said.
const DEFAULT: &str = "sqlite:holdall.db";

/// The configuration in the working folder.
pub(crate) const CONFIG: &str = "holdall.toml";

/// The most bytes of a configuration that are read.
const MAX_CONFIG: u64 = 1024 * 1024;

/// The way to the store: it is opened when a command has checked all else, so
/// that wrong input makes no file.
pub(crate) struct Door {
    flag: Option<String>,
    opened: OnceCell<Store>,
}

/// What a command wants of the store.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// What is there: no store is made for it.
    Existing,
    /// To write, or to wait for others that do.
    Any,
}

impl Door {
    pub(crate) fn new(flag: Option<String>) -> Self {
        Self {
            flag,
            opened: OnceCell::new(),
        }
    }

    pub(crate) async fn open(&self, access: Access) -> Result<&Store, Failure> {
        let open = async || self.choose()?.open(access).await;
        self.opened.get_or_try_init(open).await
    }

    /// Which store is meant: that of `--store`, else of `HOLDALL_STORE`, else
    /// the default of `holdall.toml`, else that of the variables of a BTPS server,
    /// else the default. What has a colon is a URL, anything else a name in
    /// `holdall.toml`.
    pub(crate) fn choose(&self) -> Result<Chosen, Failure> {
        let (named, origin) = match &self.flag {
            Some(flag) => (Some(flag.clone()), Origin::Flag("--store")),
            None => (
                environment::variable("HOLDALL_STORE"),
                Origin::Variable("HOLDALL_STORE".into()),
            ),
        };
        if let Some(named) = named {
            if named.contains(':') {
                let settings = Settings::parse(&named)?;
                return Ok(Chosen::of(Which::Url(settings), origin));
            }
            let Some(config) = read_config()? else {
                return Err(Failure::usage(format!(
                    "{named:?} is no URL, and there is no {CONFIG} here that could give that name to a store. \
                     Write a URL like sqlite:PATH"
                )));
            };
            return Ok(Chosen::of(Which::Named(config, named), origin));
        }
        if let Some(config) = read_config()?
            // What has a section for the server alone says nothing of stores.
            && (config.default_name().is_some()
                || !config.stores().is_empty()
                || !config.backends().is_empty()
                || config.server().is_empty())
        {
            return Ok(Chosen::of(Which::Default(config), Origin::File));
        }
        if let Some(Btps { trust, identity }) = Btps::read(environment::variable)? {
            if trust.settings != identity.settings {
                return Err(Failure::usage(
                    "TRUST_STORE_TYPE and IDENTITY_STORE_TYPE name two stores; say by --store which is meant",
                ));
            }
            let origin = Origin::Variable("TRUST_STORE_TYPE".into());
            return Ok(Chosen::of(Which::Url(trust.settings), origin));
        }
        let settings = Settings::parse(DEFAULT)?;
        Ok(Chosen::of(Which::Url(settings), Origin::Default))
    }

    pub(crate) async fn close(&self) -> Result<(), Failure> {
        match self.opened.get() {
            Some(store) => Ok(store.close().await?),
            None => Ok(()),
        }
    }
}

/// A store that is meant, and not open yet.
pub(crate) struct Chosen {
    which: Which,
    pub(crate) origin: Origin,
}

enum Which {
    Url(Settings),
    Named(Config, String),
    Default(Config),
}

impl Chosen {
    fn of(which: Which, origin: Origin) -> Self {
        Self { which, origin }
    }

    /// What it is called, without secrets.
    pub(crate) fn shown(&self) -> String {
        match &self.which {
            Which::Url(settings) => settings.to_string(),
            Which::Named(_, name) => name.clone(),
            Which::Default(config) => config.default_name().unwrap_or("none").to_owned(),
        }
    }

    /// How its backend is opened; `None` where nothing says which it is.
    pub(crate) fn settings(&self) -> Result<Option<Settings>, Failure> {
        let (config, name) = match &self.which {
            Which::Url(settings) => return Ok(Some(settings.clone())),
            Which::Named(config, name) => (config, name.as_str()),
            Which::Default(config) => match config.default_name() {
                Some(name) => (config, name),
                None => return Ok(None),
            },
        };
        Ok(Some(of_config(config, name)?.0))
    }

    async fn open(self, access: Access) -> Result<Store, Failure> {
        match self.which {
            Which::Url(settings) => open_url(settings, access).await,
            Which::Named(config, name) => Ok(Stores::new(config).store(&name).await?),
            Which::Default(config) => Ok(Stores::new(config).default().await?),
        }
    }

    /// Opens what is there, and closes it. Answers whether there is anything;
    /// where there is not, opening it would make it.
    ///
    /// # Errors
    /// Those that opening it to write would meet.
    pub(crate) async fn examine(self) -> Result<bool, Failure> {
        let (settings, layers) = match self.which {
            Which::Url(settings) => (settings, Vec::new()),
            Which::Named(config, name) => of_config(&config, &name)?,
            Which::Default(config) => match config.default_name() {
                Some(name) => of_config(&config, name)?,
                // It says what is missing.
                None => return Ok(Stores::new(config).default().await.map(|_| true)?),
            },
        };
        let path = settings.path();
        match Store::open(settings.existing()).await {
            Ok(store) => {
                let store = store.layered(&layers)?;
                let health = store.health().await;
                let closed = store.close().await;
                health.and(closed)?;
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let folder = Path::new(&path).parent();
                match folder.filter(|folder| !folder.as_os_str().is_empty()) {
                    Some(folder) if !folder.is_dir() => Err(error.into()),
                    _ => Ok(false),
                }
            }
            Err(error) => Err(error.into()),
        }
    }
}

fn of_config(config: &Config, name: &str) -> Result<(Settings, Vec<holdall::Layer>), Failure> {
    let store = config.store(name)?;
    let settings = config.backends().get(&store.backend).cloned();
    let settings = settings
        .ok_or_else(|| Error::not_found(format!("no backend is called {:?}", store.backend)))?;
    Ok((settings, store.layers))
}

async fn open_url(settings: Settings, access: Access) -> Result<Store, Failure> {
    let settings = with_token(settings)?;
    let settings = match access {
        Access::Existing => settings.existing(),
        Access::Any => settings,
    };
    Ok(Store::open(settings).await?)
}

/// The token of `HOLDALL_TOKEN`, for a server whose URL was given with the
/// command. Not for those of `holdall.toml`: the one in the working folder may
/// be somebody else's, and name a server that collects tokens.
pub(crate) fn with_token(settings: Settings) -> holdall::Result<Settings> {
    let takes_one = matches!(settings.scheme(), "http" | "https")
        && settings.option("token").is_none()
        && settings.option("token_file").is_none();
    match environment::variable("HOLDALL_TOKEN").filter(|_| takes_one) {
        Some(token) => settings.with("token", token),
        None => Ok(settings),
    }
}

/// `holdall.toml` in the working folder, if there is one.
pub(crate) fn read_config() -> Result<Option<Config>, Failure> {
    use std::io::Read;

    let path = Path::new(CONFIG);
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Failure::file("read", path, error)),
    };
    let mut text = String::new();
    // One byte more shows the library that there are too many.
    file.take(MAX_CONFIG + 1)
        .read_to_string(&mut text)
        .map_err(|error| Failure::file("read", path, error))?;
    Ok(Some(Config::parse(&text).map_err(in_config)?))
}

/// Says that it stands in `holdall.toml`.
pub(crate) fn in_config(error: Error) -> Error {
    Error::new(error.kind(), error.retry(), format!("in {CONFIG}")).because(error)
}
