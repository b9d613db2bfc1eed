//! What is in force: flags, else variables, else `holdall.toml`, else defaults.

use std::collections::BTreeMap;
use std::path::PathBuf;

use holdall::{Error, ServerSetting, Settings as Url};
use holdall_server::access::Origin as Site;
use holdall_server::{Limits, TlsFiles};

use crate::args::Serve;
use crate::environment;
use crate::exit::Failure;
use crate::origin::Origin;
use crate::store::{in_config, read_config};
use crate::tokens;

/// A value, and who says so.
#[derive(Clone, Debug)]
pub(super) struct Set<T> {
    pub(super) value: T,
    pub(super) origin: Origin,
}

pub(super) struct Settings {
    pub(super) listen: Set<String>,
    pub(super) tls: Option<TlsFiles>,
    pub(super) sites: Vec<Site>,
    /// Where the tokens are kept.
    pub(super) tokens: Option<Url>,
    pub(super) log: String,
    pub(super) limits: Limits,
    /// All of them, as they are shown.
    pub(super) shown: Vec<Shown>,
}

/// A setting as it is shown, without secrets.
pub(super) struct Shown {
    pub(super) name: String,
    pub(super) value: String,
    pub(super) origin: Origin,
}

pub(super) const LISTEN: &str = "127.0.0.1:4520";

/// What `[server]` may hold beside `limits`.
const NAMES: [&str; 7] = [
    "listen",
    "log",
    "cors",
    "tokens",
    "tls.cert",
    "tls.key",
    "tls.client_ca",
];

type File = BTreeMap<String, ServerSetting>;

impl Settings {
    pub(super) fn read(wanted: &Serve) -> Result<Self, Failure> {
        let file = match read_config()? {
            Some(config) => config.server().clone(),
            None => File::new(),
        };
        refuse_unknown(&file)?;
        let mut shown = Vec::new();
        let one = |flag: Option<&str>, name, option, variable| {
            choose(&file, flag, name, option, variable)
        };

        let listen = one(
            wanted.listen.as_deref(),
            "listen",
            "--listen",
            "HOLDALL_LISTEN",
        )?;
        let listen = listen.unwrap_or_else(|| by_default(LISTEN));
        shown.push(listen.shown("listen"));
        let log = one(wanted.log.as_deref(), "log", "--log", "HOLDALL_LOG")?;
        let log = log.unwrap_or_else(|| by_default("info"));
        shown.push(log.shown("log"));

        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
        let cert = path(&wanted.tls_cert);
        let cert = one(
            cert.as_deref(),
            "tls.cert",
            "--tls-cert",
            "HOLDALL_TLS_CERT",
        )?;
        let key = path(&wanted.tls_key);
        let key = one(key.as_deref(), "tls.key", "--tls-key", "HOLDALL_TLS_KEY")?;
        let ca = path(&wanted.tls_client_ca);
        let ca = one(
            ca.as_deref(),
            "tls.client_ca",
            "--tls-client-ca",
            "HOLDALL_TLS_CLIENT_CA",
        )?;
        for (name, set) in [
            ("tls.cert", &cert),
            ("tls.key", &key),
            ("tls.client_ca", &ca),
        ] {
            shown.push(Set::or_none(set.as_ref(), name));
        }
        let tls = tls(cert, key, ca)?;

        let (sites, sites_shown) = sites(wanted, &file)?;
        shown.push(sites_shown);

        let tokens = one(
            wanted.tokens.as_deref(),
            "tokens",
            "--tokens",
            tokens::VARIABLE,
        )?;
        let tokens = tokens.or_else(|| tokens::by_default().map(by_default));
        let tokens = match tokens {
            None => {
                shown.push(Set::or_none(None, "tokens"));
                None
            }
            Some(set) => {
                let url = Url::parse(&set.value)?;
                let value = url.to_string();
                shown.push(
                    Set {
                        value,
                        origin: set.origin,
                    }
                    .shown("tokens"),
                );
                Some(url)
            }
        };

        let limits = limits(wanted, &file, &mut shown)?;
        Ok(Self {
            listen,
            tls,
            sites,
            tokens,
            log: log.value,
            limits,
            shown,
        })
    }
}

impl Set<String> {
    fn shown(&self, name: &str) -> Shown {
        Shown {
            name: name.to_owned(),
            value: self.value.clone(),
            origin: self.origin.clone(),
        }
    }

    fn or_none(set: Option<&Self>, name: &str) -> Shown {
        let none = || by_default("none");
        set.cloned().unwrap_or_else(none).shown(name)
    }
}

fn by_default(value: &str) -> Set<String> {
    Set {
        value: value.to_owned(),
        origin: Origin::Default,
    }
}

fn refuse_unknown(file: &File) -> Result<(), Failure> {
    for (name, setting) in file {
        let limit = name.strip_prefix("limits.");
        if NAMES.contains(&name.as_str())
            || limit.is_some_and(|name| Limits::names().any(|own| own == name))
        {
            continue;
        }
        let there_are = match limit {
            Some(_) => Limits::names().collect::<Vec<_>>().join(", "),
            None => format!("{}, limits", NAMES.join(", ")),
        };
        let why = format!("this name is unknown here; there are {there_are}");
        return Err(in_config(setting.refuse(why)).into());
    }
    Ok(())
}

/// One setting, by all its ways.
fn choose(
    file: &File,
    flag: Option<&str>,
    name: &str,
    option: &'static str,
    variable: &str,
) -> Result<Option<Set<String>>, Failure> {
    if let Some(flag) = flag {
        return Ok(Some(Set {
            value: flag.to_owned(),
            origin: Origin::Flag(option),
        }));
    }
    if let Some(value) = environment::variable(variable) {
        return Ok(Some(Set {
            value,
            origin: Origin::Variable(variable.to_owned()),
        }));
    }
    let Some(setting) = file.get(name) else {
        return Ok(None);
    };
    Ok(Some(Set {
        value: setting.value().map_err(in_config)?.to_owned(),
        origin: Origin::File,
    }))
}

fn tls(
    cert: Option<Set<String>>,
    key: Option<Set<String>>,
    ca: Option<Set<String>>,
) -> Result<Option<TlsFiles>, Failure> {
    match (cert, key) {
        (None, None) if ca.is_some() => Err(Failure::usage(
            "client certificates need TLS: give --tls-cert and --tls-key, too",
        )),
        (None, None) => Ok(None),
        (Some(cert), Some(key)) => Ok(Some(TlsFiles {
            certificate: cert.value.into(),
            key: key.value.into(),
            client_ca: ca.map(|ca| ca.value.into()),
        })),
        (Some(_), None) => Err(Failure::usage(
            "there is a certificate and no key; give --tls-key",
        )),
        (None, Some(_)) => Err(Failure::usage(
            "there is a key and no certificate; give --tls-cert",
        )),
    }
}

/// The sites whose pages may call the server.
fn sites(wanted: &Serve, file: &File) -> Result<(Vec<Site>, Shown), Failure> {
    let variable = environment::variable("HOLDALL_CORS");
    let (texts, origin) = if !wanted.cors.is_empty() {
        (wanted.cors.clone(), Origin::Flag("--cors"))
    } else if let Some(list) = variable {
        let texts = list.split(',').map(|site| site.trim().to_owned());
        (texts.collect(), Origin::Variable("HOLDALL_CORS".into()))
    } else if let Some(setting) = file.get("cors") {
        (setting.values().to_vec(), Origin::File)
    } else {
        (Vec::new(), Origin::Default)
    };
    let sites = texts.iter().map(|text| text.parse::<Site>());
    let sites = sites.collect::<holdall::Result<Vec<_>>>()?;
    let value = if texts.is_empty() {
        "none".to_owned()
    } else {
        texts.join(", ")
    };
    let name = "cors".to_owned();
    Ok((
        sites,
        Shown {
            name,
            value,
            origin,
        },
    ))
}

fn limits(wanted: &Serve, file: &File, shown: &mut Vec<Shown>) -> Result<Limits, Failure> {
    let mut limits = Limits::default();
    let mut origins = BTreeMap::new();
    for name in Limits::names() {
        if let Some(setting) = file.get(&format!("limits.{name}")) {
            let value = setting.value().map_err(in_config)?;
            let set = limits.set(name, value);
            set.map_err(|error| in_config(setting.refuse(error)))?;
            origins.insert(name, Origin::File);
        }
        let variable = format!("HOLDALL_LIMIT_{}", name.to_ascii_uppercase());
        if let Some(value) = environment::variable(&variable) {
            limits.set(name, &value).map_err(|error| {
                let what = format!("the variable {variable} is not valid");
                Error::new(error.kind(), error.retry(), what).because(error)
            })?;
            origins.insert(name, Origin::Variable(variable));
        }
    }
    for limit in &wanted.limit {
        let Some((name, value)) = limit.split_once('=') else {
            return Err(Failure::usage(format!(
                "--limit takes NAME=VALUE, like max_body=64MiB, and not {limit:?}"
            )));
        };
        limits.set(name, value)?;
        let name = Limits::names().find(|own| *own == name);
        origins.extend(name.map(|name| (name, Origin::Flag("--limit"))));
    }
    limits.check()?;
    shown.extend(limits.values().map(|(name, value)| Shown {
        name: format!("limits.{name}"),
        value,
        origin: origins.remove(name).unwrap_or(Origin::Default),
    }));
    Ok(limits)
}
