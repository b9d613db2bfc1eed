//! The environment variables of BTPS servers, read as settings of stores.

use holdall_core::{Error, Result};

use crate::Settings;

/// The stores that a BTPS server keeps its trust and identity records in, as its
/// environment names them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Btps {
    /// Trust records: `TRUST_STORE_TYPE`, and `TRUST_STORE_ENTITY`, which is
    /// `btps_trust` by default.
    pub trust: BtpsStore,
    /// Identities: `IDENTITY_STORE_TYPE`, and `IDENTITY_STORE_ENTITY`, which is
    /// `btps_identities` by default.
    pub identity: BtpsStore,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BtpsStore {
    /// How its backend is opened.
    pub settings: Settings,
    /// The collection.
    pub entity: String,
}

/// The types there are, for errors.
const TYPES: &str = "mongodb and postgres";

impl Btps {
    /// Reads the variables, each by its name; `None` if none is set that chooses a
    /// store: neither a type, nor `MONGODB_URI`, nor `POSTGRES_URI`.
    ///
    /// A type that is not set is `postgres` where `POSTGRES_URI` is set and
    /// `MONGODB_URI` is not, else `mongodb`. MongoDB is at `MONGODB_URI`, by default
    /// `mongodb://localhost:27017`, in the database `MONGODB_DB_NAME`, else in that of
    /// the URI, else in `btps`. PostgreSQL is at `POSTGRES_URI`.
    ///
    /// ```
    /// use holdall::Btps;
    /// let variables = |name: &str| (name == "TRUST_STORE_TYPE").then(|| "mongodb".to_owned());
    /// let stores = Btps::read(variables)?.unwrap();
    /// assert_eq!(stores.trust.settings.to_string(), "mongodb://localhost:27017/btps");
    /// assert_eq!(stores.identity.entity, "btps_identities");
    /// # Ok::<(), holdall::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Invalid` for an unknown type, naming those there are, for `postgres`
    /// without `POSTGRES_URI`, and for what is no URL.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Self>> {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let choose = [
            "TRUST_STORE_TYPE",
            "IDENTITY_STORE_TYPE",
            "MONGODB_URI",
            "POSTGRES_URI",
        ];
        if choose.into_iter().all(|name| set(name).is_none()) {
            return Ok(None);
        }
        let default = match (set("MONGODB_URI"), set("POSTGRES_URI")) {
            (None, Some(_)) => "postgres",
            _ => "mongodb",
        };
        let store = |kind: &str, entity: &str| {
            let name = format!("{kind}_STORE_TYPE");
            let of_type = set(&name).unwrap_or_else(|| default.to_owned());
            Ok::<_, Error>(BtpsStore {
                settings: settings(&name, &of_type, &set)?,
                entity: set(&format!("{kind}_STORE_ENTITY")).unwrap_or_else(|| entity.to_owned()),
            })
        };
        Ok(Some(Self {
            trust: store("TRUST", "btps_trust")?,
            identity: store("IDENTITY", "btps_identities")?,
        }))
    }
}

fn settings(name: &str, of_type: &str, set: &impl Fn(&str) -> Option<String>) -> Result<Settings> {
    match of_type {
        "mongodb" => {
            let uri = set("MONGODB_URI").unwrap_or_else(|| "mongodb://localhost:27017".to_owned());
            let uri = in_database(&uri, set("MONGODB_DB_NAME").as_deref());
            parse("MONGODB_URI", &uri, &["mongodb", "mongodb+srv"])
        }
        "postgres" | "postgresql" => {
            let uri = set("POSTGRES_URI").ok_or_else(|| {
                Error::invalid(format!(
                    "{name} is {of_type:?}, and POSTGRES_URI, which says where that is, is not set"
                ))
            })?;
            parse("POSTGRES_URI", &uri, &["postgres", "postgresql"])
        }
        _ => Err(Error::invalid(format!(
            "{name} is {of_type:?}, an unknown type of store; there are {TYPES}"
        ))),
    }
}

fn parse(name: &str, uri: &str, schemes: &[&str]) -> Result<Settings> {
    let settings = Settings::parse(uri)
        .map_err(|error| error.while_doing(format_args!("{name} cannot be used")))?;
    match schemes.contains(&settings.scheme()) {
        true => Ok(settings),
        false => Err(Error::invalid(format!(
            "{name} cannot be used: it must start with {}://",
            schemes.join(":// or ")
        ))),
    }
}

/// The URI with a database: this one, else its own, else `btps`.
fn in_database(uri: &str, name: Option<&str>) -> String {
    let (place, options) = match uri.split_once('?') {
        Some((place, options)) => (place, format!("?{options}")),
        None => (uri, String::new()),
    };
    let start = place.find("//").map_or(0, |at| at + 2);
    let (hosts, own) = match place.get(start..).and_then(|rest| rest.find('/')) {
        Some(at) => place.split_at(start + at),
        None => (place, ""),
    };
    let own = own.trim_start_matches('/');
    let name = name
        .or(Some(own).filter(|own| !own.is_empty()))
        .unwrap_or("btps");
    format!("{hosts}/{name}{options}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Option<Btps>> {
        Btps::read(|name| {
            let mut found = variables.iter().filter(|(there, _)| *there == name);
            found.next().map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn the_variables_choose_stores() {
        assert_eq!(read(&[]).unwrap(), None);
        assert_eq!(
            read(&[("MONGODB_DB_NAME", "x"), ("POSTGRES_URI", "")]).unwrap(),
            None
        );
        for (variables, trust, identity) in [
            (
                vec![("TRUST_STORE_TYPE", "mongodb")],
                "mongodb://localhost:27017/btps",
                "mongodb://localhost:27017/btps",
            ),
            (
                vec![("MONGODB_URI", "mongodb://db:1/own?tls=true")],
                "mongodb://db:1/own?tls=true",
                "mongodb://db:1/own?tls=true",
            ),
            (
                vec![
                    ("MONGODB_URI", "mongodb://db:1/own"),
                    ("MONGODB_DB_NAME", "other"),
                ],
                "mongodb://db:1/other",
                "mongodb://db:1/other",
            ),
            (
                vec![("POSTGRES_URI", "postgresql://me@db/btps")],
                "postgresql://me@db/btps",
                "postgresql://me@db/btps",
            ),
            (
                vec![
                    ("POSTGRES_URI", "postgresql://me@db/btps"),
                    ("TRUST_STORE_TYPE", "postgres"),
                    ("IDENTITY_STORE_TYPE", "mongodb"),
                ],
                "postgresql://me@db/btps",
                "mongodb://localhost:27017/btps",
            ),
        ] {
            let stores = read(&variables).unwrap().unwrap();
            assert_eq!(stores.trust.settings.to_string(), trust);
            assert_eq!(stores.identity.settings.to_string(), identity);
            assert_eq!(stores.trust.entity, "btps_trust");
        }
        let stores = read(&[
            ("TRUST_STORE_TYPE", "mongodb"),
            ("TRUST_STORE_ENTITY", "mine"),
        ]);
        assert_eq!(stores.unwrap().unwrap().trust.entity, "mine");
    }

    #[test]
    fn what_cannot_be_meant_is_told_without_a_password() {
        for (variables, part) in [
            (
                vec![("IDENTITY_STORE_TYPE", "oracle")],
                "there are mongodb and postgres",
            ),
            (vec![("TRUST_STORE_TYPE", "postgres")], "POSTGRES_URI"),
            (
                vec![("POSTGRES_URI", "me:hunter2@db")],
                "POSTGRES_URI cannot be used",
            ),
        ] {
            let error = read(&variables).unwrap_err();
            assert!(error.to_string().contains(part), "{error}");
            assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        }
    }
}
