//! Words: how `match` cuts text, in this one place for every backend.

use std::borrow::Cow;

use caseless::Caseless;
use unicode_normalization::UnicodeNormalization;
use unicode_segmentation::UnicodeSegmentation;

use crate::Value;

/// The words of a text, in order, as `match` compares them.
///
/// The text is case folded and normalised (NFKC), so that `Straße` and
/// `STRASSE` are one word, then cut by the word boundaries of Unicode (UAX 29);
/// pieces without a letter or digit are no words.
///
/// ```
/// use holdall_core::words;
/// assert_eq!(words("Die STRASSE, 3.14 km"), ["die", "strasse", "3.14", "km"]);
/// assert_eq!(words("Straße"), words("ＳＴＲＡＳＳＥ"));
/// ```
pub fn words(text: &str) -> Vec<String> {
    let folded = fold(text);
    folded.unicode_words().map(str::to_owned).collect()
}

/// The words of all strings in a value, at any depth; the names of members do
/// not count.
pub fn words_of(value: &Value) -> Vec<String> {
    let mut out = Vec::new();
    collect(value, &mut out);
    out
}

fn collect(value: &Value, out: &mut Vec<String>) {
    match value {
        Value::String(text) => out.extend(words(text)),
        Value::Array(elements) => elements.iter().for_each(|element| collect(element, out)),
        Value::Object(members) => members.values().for_each(|member| collect(member, out)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Compatibility caseless matching of the Unicode standard (D146).
fn fold(text: &str) -> Cow<'_, str> {
    if !text.is_ascii() {
        return text
            .nfd()
            .default_case_fold()
            .nfkc()
            .default_case_fold()
            .nfkc()
            .collect::<String>()
            .into();
    }
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return text.to_ascii_lowercase().into();
    }
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn one_word_however_it_is_written() {
        for (a, b) in [
            ("ΣΊΣΥΦΟΣ", "σίσυφος"),
            ("Maße", "MASSE"),
            ("ﬁne", "FINE"),
            ("é", "e\u{301}"),
            ("É", "e\u{301}"),
            ("Ⅷ", "viii"),
        ] {
            assert_eq!(words(a), words(b), "{a} {b}");
        }
        assert_ne!(words("resume"), words("résumé"));
    }

    #[test]
    fn strings_at_any_depth_and_nothing_else() {
        let value = json!({"name": ["One two", {"deep": "three"}], "n": 4, "b": true});
        let mut found = words_of(&value);
        found.sort();
        assert_eq!(found, ["one", "three", "two"]);
        assert_eq!(words(" .,-!? "), Vec::<String>::new());
    }
}
