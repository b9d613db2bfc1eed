//! A package as a JSON object.

use holdall::{Error, Result, Value, json};

use crate::Stanza;

/// Fields whose values are numbers.
const NUMBERS: [&str; 2] = ["size", "installed_size"];

/// The object of a stanza: every field, its name in lower case with `_` for
/// `-`; numbers as numbers, tags as a list, and a `key`.
///
/// The key is `PACKAGE_VERSION_ARCHITECTURE`, as in the name of the package's
/// file. A name alone is not unique where lists of several releases or
/// architectures come together; with version and architecture it is, and
/// none of the three may hold an underscore, so no two become one.
///
/// # Errors
/// `Invalid` if package, version or architecture is missing.
pub fn record(stanza: &Stanza) -> Result<Value> {
    let field = |name| {
        stanza
            .get(name)
            .filter(|value| !value.is_empty())
            .ok_or_else(|| Error::invalid(format!("a stanza has no {name}: {:?}", stanza.fields)))
    };
    let key = format!(
        "{}_{}_{}",
        field("Package")?,
        field("Version")?,
        field("Architecture")?
    );
    let mut members = holdall::json!({ "key": key });
    for (name, text) in &stanza.fields {
        let name = name.to_ascii_lowercase().replace('-', "_");
        if let Some(members) = members.as_object_mut() {
            let value = value(&name, text);
            members.insert(name, value);
        }
    }
    Ok(members)
}

fn value(name: &str, text: &str) -> Value {
    match name {
        "tag" => text
            .split(',')
            .map(str::trim)
            .filter(|tag| !tag.is_empty())
            .collect::<Vec<_>>()
            .into(),
        "description" => json!(text),
        name if NUMBERS.contains(&name) => text
            .parse::<u64>()
            .map_or_else(|_| json!(text), Value::from),
        // Folded only because the line was long.
        _ => text.replace('\n', " ").into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stanzas;

    #[test]
    fn every_field_becomes_a_member() {
        let text = "Package: zip\nVersion: 1:3.0-13\nArchitecture: amd64\nInstalled-Size: 627\n\
                    Tag: a::b,\n c::d\nDepends: libc6,\n bzip2\nDescription: Archiver\n for files\n";
        let stanza = stanzas(text.as_bytes()).next().unwrap().unwrap();
        assert_eq!(
            record(&stanza).unwrap(),
            json!({
                "key": "zip_1:3.0-13_amd64",
                "package": "zip",
                "version": "1:3.0-13",
                "architecture": "amd64",
                "installed_size": 627,
                "tag": ["a::b", "c::d"],
                "depends": "libc6, bzip2",
                "description": "Archiver\nfor files",
            })
        );
        let nameless = stanzas("Version: 1\nArchitecture: all\n".as_bytes())
            .next()
            .unwrap()
            .unwrap();
        assert!(record(&nameless).is_err());
    }
}
