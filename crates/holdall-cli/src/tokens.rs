//! Where tokens are kept, and opening it.

use std::path::Path;

use holdall::{Env, Error, Settings, Store};
use holdall_server::access::Tokens;

use crate::environment;
use crate::exit::{Failure, say};
use crate::store::{Access, in_config, read_config};

/// Where tokens are kept if nothing is said.
pub(crate) const DEFAULT: &str = "sqlite:holdall-tokens.db";

/// The variable that says where.
pub(crate) const VARIABLE: &str = "HOLDALL_TOKENS";

/// The store of the tokens: that of `--tokens`, else of `HOLDALL_TOKENS`, else
/// of `[server]` in `holdall.toml`, else the default.
pub(crate) fn choose(flag: Option<&str>) -> Result<Settings, Failure> {
    if let Some(flag) = flag {
        return Ok(Settings::parse(flag)?);
    }
    if let Some(url) = environment::variable(VARIABLE) {
        return Ok(Settings::parse(&url)?);
    }
    let config = read_config()?;
    let setting = config
        .as_ref()
        .and_then(|config| config.server().get("tokens"));
    let url = match setting {
        Some(setting) => setting.value().map_err(in_config)?,
        None => DEFAULT,
    };
    Ok(Settings::parse(url)?)
}

/// The default, if there is such a file: who made tokens wants them asked for.
pub(crate) fn by_default() -> Option<&'static str> {
    let path = DEFAULT.split_once(':').map(|(_, path)| path);
    path.filter(|path| Path::new(path).exists())
        .map(|_| DEFAULT)
}

/// Opens it. A file that is made for it can be read by its owner alone.
pub(crate) async fn open(settings: Settings, access: Access) -> Result<(Store, Tokens), Failure> {
    let settings = match access {
        Access::Existing => settings.existing(),
        Access::Any => settings,
    };
    if settings.scheme() == "sqlite" {
        keep_private(Path::new(&settings.path()), access)?;
    }
    let store = Store::open(settings).await?;
    let tokens = Tokens::new(store.backend().clone(), Env::system())?;
    Ok((store, tokens))
}

/// Refuses to serve the store that tokens are in: who may write there could
/// make tokens.
pub(crate) fn refuse_served(tokens: &Settings, served: &Settings) -> Result<(), Failure> {
    let place = |settings: &Settings| {
        let path = settings.path();
        // What does not exist yet has no other name.
        let whole = std::fs::canonicalize(&path).unwrap_or_else(|_| path.into());
        (settings.scheme().to_owned(), whole)
    };
    if tokens.scheme() != "memory" && place(tokens) == place(served) {
        return Err(Error::invalid(format!(
            "{tokens} is the store that is served, and tokens are kept elsewhere: who may write to it \
             could make tokens. Name another one with --tokens"
        ))
        .into());
    }
    Ok(())
}

/// SQLite gives the files that it makes beside one the same permissions.
#[cfg(unix)]
fn keep_private(path: &Path, access: Access) -> Result<(), Failure> {
    use std::os::unix::fs::{MetadataExt, OpenOptionsExt};

    if access == Access::Any {
        // An empty file is a new store.
        let made = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path);
        match made {
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(Failure::file("make", path, error)),
        }
    }
    let open_to_others = std::fs::metadata(path).is_ok_and(|file| file.mode() & 0o077 != 0);
    if open_to_others {
        let shown = path.display();
        let sentence = format!("others than you may read or write {shown}; run chmod 600 on it");
        say("warning", &sentence);
    }
    Ok(())
}

#[cfg(not(unix))]
fn keep_private(_: &Path, _: Access) -> Result<(), Failure> {
    Ok(())
}
