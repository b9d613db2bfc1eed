//! Names of tables.

use holdall_core::CollectionName;

/// A name for a table that a person recognises: the letters, digits and
/// underscores of the collection's name in lower case. Many collections may have
/// the same.
///
/// Names that start with `reserved` belong to the database.
pub(crate) fn base(collection: &CollectionName, reserved: &str) -> String {
    let readable = |character: char| match character.to_ascii_lowercase() {
        plain @ ('a'..='z' | '0'..='9' | '_') => plain,
        _ => '_',
    };
    let mut base: String = collection.as_str().chars().map(readable).take(50).collect();
    if base.starts_with(reserved) || base.starts_with("holdall_") {
        base.insert_str(0, "c_");
    }
    base
}
