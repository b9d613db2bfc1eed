//! Which store is meant, and opening it.

use std::path::Path;

use holdall::{Config, Error, Settings, Store, Stores};
use tokio::sync::OnceCell;

use crate::environment;
use crate::exit::Failure;

/// The store where nothing is said.
const DEFAULT: &str = "sqlite:holdall.db";

/// The configuration in the working folder.
const CONFIG: &str = "holdall.toml";

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
        let flag = self.flag.as_deref();
        self.opened.get_or_try_init(|| open(flag, access)).await
    }

    pub(crate) async fn close(&self) -> Result<(), Failure> {
        match self.opened.get() {
            Some(store) => Ok(store.close().await?),
            None => Ok(()),
        }
    }
}

/// Opens the store that `--store` says, else `HOLDALL_STORE`, else
/// `holdall.toml`, else the default. What has a colon is a URL, anything else
/// a name in `holdall.toml`.
async fn open(flag: Option<&str>, access: Access) -> Result<Store, Failure> {
    let named = match flag {
        Some(text) => Some(text.to_owned()),
        None => environment::variable("HOLDALL_STORE"),
    };
    if let Some(named) = named {
        if named.contains(':') {
            return open_url(&named, access).await;
        }
        let Some(config) = read_config()? else {
            return Err(Failure::usage(format!(
                "{named:?} is no URL, and there is no {CONFIG} here that could give that name to a store. \
                 Write a URL like sqlite:PATH"
            )));
        };
        return Ok(Stores::new(config).store(&named).await?);
    }
    if let Some(config) = read_config()? {
        return Ok(Stores::new(config).default().await?);
    }
    open_url(DEFAULT, access).await
}

async fn open_url(url: &str, access: Access) -> Result<Store, Failure> {
    let settings = with_token(Settings::parse(url)?)?;
    let settings = match access {
        Access::Existing => settings.existing(),
        Access::Any => settings,
    };
    Ok(Store::open(settings).await?)
}

/// The token of `HOLDALL_TOKEN`, for a server whose URL was given with the
/// command. Not for those of `holdall.toml`: the one in the working folder may
/// be somebody else's, and name a server that collects tokens.
fn with_token(settings: Settings) -> Result<Settings, Failure> {
    let takes_one = matches!(settings.scheme(), "http" | "https")
        && settings.option("token").is_none()
        && settings.option("token_file").is_none();
    match environment::variable("HOLDALL_TOKEN").filter(|_| takes_one) {
        Some(token) => Ok(settings.with("token", token)?),
        None => Ok(settings),
    }
}

fn read_config() -> Result<Option<Config>, Failure> {
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
    let config = Config::parse(&text).map_err(|error| {
        Error::new(error.kind(), error.retry(), format!("in {CONFIG}")).because(error)
    })?;
    Ok(Some(config))
}
