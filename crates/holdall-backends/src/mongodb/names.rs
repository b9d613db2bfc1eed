//! Names: of MongoDB's collections, and of fields.

use std::borrow::Cow;

use holdall_core::{CollectionName, Digest, Path};

/// The field of a document that holds what is not the doc.
pub(super) const OWN: &str = "_holdall";

/// What the store itself is: one document.
pub(super) const META: &str = "holdall.meta";

/// The `_id` of the document of [`META`] with the number of the newest batch.
pub(super) const COUNTER: &str = "counter";

/// The collections that ever were, by name.
pub(super) const COLLECTIONS: &str = "holdall.collections";

/// The batches of the last day, by id.
pub(super) const BATCHES: &str = "holdall.batches";

/// GridFS: large bodies, and those that wait for their batch.
pub(super) const FILES: &str = "holdall.bodies.files";

/// GridFS: the pieces of bodies.
pub(super) const CHUNKS: &str = "holdall.bodies.chunks";

/// The most bytes of a collection's name here; with a database's name of 63 it
/// is below MongoDB's 255.
const MAX_TABLE: usize = 120;

/// Where a name that is too long is cut, to end in its digest.
const CUT: usize = 80;

/// MongoDB's name for a collection: the same name, with what MongoDB does not
/// take, or what is Holdall's own, as `%` and two hexadecimal digits a byte. One that
/// gets too long ends in its digest.
pub(super) fn table(collection: &CollectionName) -> String {
    let name = collection.as_str();
    let mut out = String::with_capacity(name.len());
    let reserved = name.starts_with("system.") || name.starts_with("holdall.");
    for (at, character) in name.char_indices() {
        let last = at + character.len_utf8() == name.len();
        let plain = match character {
            '-' | '_' => true,
            '.' => at > 0 && !last && !out.ends_with('.'),
            other => other.is_alphanumeric(),
        };
        if plain && !(reserved && at == 0) {
            out.push(character);
        } else {
            let mut bytes = [0; 4];
            for byte in character.encode_utf8(&mut bytes).bytes() {
                push_hex(&mut out, byte);
            }
        }
    }
    if out.len() > MAX_TABLE {
        let digest = Digest::of(name.as_bytes()).to_string();
        out.truncate(out.floor_char_boundary(CUT));
        // No name that is short enough has this in it.
        out.push_str("%~");
        out.extend(digest.chars().take(32));
    }
    out
}

/// The name of a field for a member of an object.
pub(super) fn field(name: &str) -> Cow<'_, str> {
    if name.is_empty() {
        return Cow::Borrowed("%");
    }
    if !name.starts_with('$') && !name.contains(['.', '%']) {
        return Cow::Borrowed(name);
    }
    let mut out = String::with_capacity(name.len() + 4);
    for (at, character) in name.chars().enumerate() {
        match character {
            '$' if at == 0 => out.push_str("%24"),
            '.' => out.push_str("%2E"),
            '%' => out.push_str("%25"),
            other => out.push(other),
        }
    }
    Cow::Owned(out)
}

/// The same for a member of the doc itself, beside which stand `_id` and
/// [`OWN`].
pub(super) fn top_field(name: &str) -> Cow<'_, str> {
    match name {
        "_id" => Cow::Borrowed("%5Fid"),
        OWN => Cow::Borrowed("%5Fholdall"),
        other => field(other),
    }
}

/// The name of the member that a field is for; `None` if Holdall writes no such
/// field.
pub(super) fn member(field: &str) -> Option<Cow<'_, str>> {
    if field == "%" {
        return Some(Cow::Borrowed(""));
    }
    if !field.contains('%') {
        return Some(Cow::Borrowed(field));
    }
    let mut out = String::with_capacity(field.len());
    let mut pieces = field.split('%');
    out.push_str(pieces.next()?);
    for piece in pieces {
        let (digits, rest) = piece.split_at_checked(2)?;
        out.push(match digits {
            "24" => '$',
            "25" => '%',
            "2E" => '.',
            "5F" => '_',
            _ => return None,
        });
        out.push_str(rest);
    }
    Some(Cow::Owned(out))
}

/// The field, in MongoDB's notation with dots, where the value at a path lies;
/// `None` for the doc as a whole and for fields of the entry.
pub(super) fn field_of(path: &Path) -> Option<String> {
    let Path::Doc(segments) = path else {
        return None;
    };
    let (first, rest) = segments.split_first()?;
    let mut out = top_field(first).into_owned();
    for segment in rest {
        out.push('.');
        out.push_str(&field(segment));
    }
    Some(out)
}

fn push_hex(out: &mut String, byte: u8) {
    const DIGITS: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F',
    ];
    out.push('%');
    for digit in [byte >> 4, byte & 15] {
        out.push(DIGITS.get(usize::from(digit)).copied().unwrap_or('0'));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_collection_has_a_name_of_its_own_that_mongodb_takes() {
        let long = |text: &str| text.repeat(128 / text.len());
        let names = [
            "a-b",
            "a_b",
            "A_b",
            "a.b",
            "a..b",
            ".a",
            "a.",
            "$a",
            "a$",
            "%24a",
            "a b",
            "é",
            "e\u{301}",
            "system.users",
            "%73ystem.users",
            "systemusers",
            "holdall.meta",
            "..",
            " ",
            "\u{10FFFF}",
            &long("$"),
            &format!("{}%", "$".repeat(127)),
            &long("é"),
            &long("x"),
        ];
        let mut seen = std::collections::BTreeMap::new();
        for name in names {
            let table = table(&CollectionName::new(name).unwrap());
            assert!(table.len() <= MAX_TABLE, "{table}");
            assert!(!table.is_empty() && !table.contains(['$', '\0']), "{table}");
            assert!(
                !table.starts_with(['.']) && !table.ends_with('.'),
                "{table}"
            );
            assert!(
                !table.starts_with("system.") && !table.starts_with("holdall."),
                "{table}"
            );
            assert_eq!(seen.insert(table, name), None, "{name:?}");
        }
        assert_eq!(table(&CollectionName::new("a-b").unwrap()), "a-b");
        assert_eq!(
            table(&CollectionName::new("system.x").unwrap()),
            "%73ystem.x"
        );
    }

    #[test]
    fn names_of_members_come_back() {
        let names = [
            "", "a", "_id", "_holdall", "%5Fid", "$", "$set", "a$b", "a.b", ".", "..", "%", "%%",
            "%24", "%2E", "é", "0", "ab%", "%5F", "__id",
        ];
        let mut seen = std::collections::BTreeSet::new();
        for name in names {
            for field in [field(name), top_field(name)] {
                assert!(
                    !field.is_empty() && !field.starts_with('$') && !field.contains('.'),
                    "{field}"
                );
                assert_eq!(member(&field).as_deref(), Some(name), "{field}");
            }
            assert!(seen.insert(top_field(name).into_owned()), "{name:?}");
            assert!(!["_id", OWN].contains(&&*top_field(name)));
        }
        for foreign in ["%2", "%zz", "a%", "%é1"] {
            assert_eq!(member(foreign), None, "{foreign}");
        }
    }
}
