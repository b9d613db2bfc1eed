//! Settings of a backend.

use std::collections::BTreeMap;
use std::fmt;

use holdall_core::{Error, Result};

use crate::url::Url;

/// How to open a backend: its URL, and options that stand in the URL or beside
/// it. Settings are data; whoever opens reads no environment.
///
/// # The URL
///
/// `scheme:location`, and options behind a question mark:
/// `sqlite:data/holdall.db?synchronous=normal&readers=8`.
///
/// - The scheme is a letter and then letters, digits, `+`, `.` and `-`; case
///   does not matter.
/// - The location means what the backend says: a path for `sqlite:`, nothing
///   for `memory:`. A path is relative to the working folder, or absolute
///   (`sqlite:/var/lib/holdall.db`).
/// - Options are `name=value`, joined by `&`, each name once.
/// - `%` and two hexadecimal digits stand for a byte. In a path, `%25` must be
///   written for a `%`, `%3F` for a `?` and `%23` for a `#`. What is decoded is
///   UTF-8 without U+0000. A plus is a plus.
/// - There is no fragment, no control character, and at most 8 KiB.
///
/// ```
/// use holdall::Settings;
/// let settings = Settings::parse("sqlite:my%20data/holdall.db?synchronous=normal")?
///     .with("readers", "8")?;
/// assert_eq!(settings.scheme(), "sqlite");
/// assert_eq!(settings.path(), "my data/holdall.db");
/// assert_eq!(settings.option("synchronous"), Some("normal"));
/// # Ok::<(), holdall::Error>(())
/// ```
///
/// # Secrets
///
/// Printed, a password in the URL is `***`, and so is each option whose name
/// has `pass`, `pwd`, `secret`, `token`, `key`, `credential` or `auth` in it.
/// Options beside the URL are not printed at all.
#[derive(Clone, PartialEq, Eq)]
pub struct Settings {
    url: Url,
    options: BTreeMap<String, String>,
    existing: bool,
}

impl Settings {
    /// From a URL.
    ///
    /// # Errors
    /// `Invalid`, naming the part and the rule; `TooLarge` above 8 KiB.
    pub fn parse(url: &str) -> Result<Self> {
        let url = Url::parse(url)?;
        let options = url.options().iter().cloned().collect();
        Ok(Self {
            url,
            options,
            existing: false,
        })
    }

    /// From a map: `url`, and options.
    ///
    /// ```
    /// use holdall::Settings;
    /// let settings = Settings::from_map([("url", "sqlite:holdall.db"), ("readers", "8")])?;
    /// assert_eq!(settings.option("readers"), Some("8"));
    /// # Ok::<(), holdall::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Invalid` if there is no `url`, or a name stands in it twice; those of
    /// [`parse`](Self::parse).
    pub fn from_map<K, V>(map: impl IntoIterator<Item = (K, V)>) -> Result<Self>
    where
        K: Into<String>,
        V: Into<String>,
    {
        let mut url = None;
        let mut others = Vec::new();
        for (name, value) in map {
            match (name.into(), value.into()) {
                (name, value) if name == "url" => {
                    if url.replace(value).is_some() {
                        return Err(Error::invalid("the settings have two members \"url\""));
                    }
                }
                other => others.push(other),
            }
        }
        let url = url.ok_or_else(|| {
            Error::invalid("the settings have no member \"url\"; write one like sqlite:holdall.db")
        })?;
        others
            .into_iter()
            .try_fold(Self::parse(&url)?, |settings, (name, value)| {
                settings.with(name, value)
            })
    }

    /// Adds an option.
    ///
    /// # Errors
    /// `Invalid` if it is there already.
    pub fn with(mut self, name: impl Into<String>, value: impl Into<String>) -> Result<Self> {
        let name = name.into();
        if self.options.contains_key(&name) {
            let place = if self.url.options().iter().any(|(own, _)| *own == name) {
                "in the URL and beside it"
            } else {
                "in the settings twice"
            };
            return Err(Error::invalid(format!(
                "the option {name:?} stands {place}; give it once"
            )));
        }
        self.options.insert(name, value.into());
        Ok(self)
    }

    /// Opens only what is there: a file that is missing is `NotFound`, and none
    /// is made. Backends that keep nothing have nothing to find, and open.
    #[must_use]
    pub fn existing(mut self) -> Self {
        self.existing = true;
        self
    }

    /// Whether only what is there is to be opened.
    pub fn is_existing(&self) -> bool {
        self.existing
    }

    /// The scheme, in lower case.
    pub fn scheme(&self) -> &str {
        self.url.scheme()
    }

    /// What stands between the scheme and the options, as it was written. It
    /// may hold a password.
    pub fn location(&self) -> &str {
        self.url.location()
    }

    /// The location as a path: percent-decoded.
    pub fn path(&self) -> String {
        self.url.path()
    }

    /// One option.
    pub fn option(&self, name: &str) -> Option<&str> {
        self.options.get(name).map(String::as_str)
    }

    /// All options by name, those of the URL and those beside it.
    pub fn options(&self) -> impl Iterator<Item = (&str, &str)> {
        self.options
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Refuses options that a backend does not know; for factories.
    ///
    /// # Errors
    /// `Invalid`, naming the option and listing those there are.
    pub fn refuse_unknown(&self, known: &[&str]) -> Result<()> {
        let Some(unknown) = self
            .options
            .keys()
            .find(|name| !known.contains(&name.as_str()))
        else {
            return Ok(());
        };
        let there_are = match known {
            [] => "it takes none".to_owned(),
            known => format!("there are {}", known.join(", ")),
        };
        Err(Error::invalid(format!(
            "the option {unknown:?} is unknown for {}:; {there_are}",
            self.scheme()
        )))
    }
}

/// The URL with its secrets replaced by `***`.
impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.url.fmt(f)
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Settings({self})")
    }
}

impl std::str::FromStr for Settings {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}
