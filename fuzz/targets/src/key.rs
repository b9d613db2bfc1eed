use std::ops::RangeBounds;

use holdall_core::{CollectionName, Key, MAX_COLLECTION, MAX_KEY, Scan};

use crate::lines;

/// A key; in further lines a prefix and a key to start after. What a key is,
/// and which keys a range admits.
pub fn key(data: &[u8]) -> bool {
    let Some([text, prefix, after]) = lines(data) else {
        return false;
    };
    let sound = !text.is_empty() && !text.contains('\0');
    let key = Key::new(text);
    assert_eq!(key.is_ok(), sound && text.len() <= MAX_KEY);
    let name = CollectionName::new(text);
    assert_eq!(name.is_ok(), sound && text.len() <= MAX_COLLECTION);
    let Ok(key) = key else {
        return false;
    };
    assert_eq!(key.as_str(), text);
    assert_eq!(key.to_string().parse::<Key>().ok().as_ref(), Some(&key));

    let end = Key::after_prefix(prefix);
    let below_end = end.as_deref().is_none_or(|end| text < end);
    assert_eq!(
        text.starts_with(prefix),
        text >= prefix && below_end,
        "the end of the prefix is {end:?}"
    );
    for reverse in [false, true] {
        let scan = Scan {
            prefix: Some(prefix.to_owned()),
            after: (!after.is_empty()).then(|| after.to_owned()),
            reverse,
            ..Scan::default()
        };
        let behind = after.is_empty() || if reverse { text < after } else { text > after };
        let admitted = scan
            .bounds()
            .is_some_and(|bounds| bounds.contains(&text.to_owned()));
        assert_eq!(admitted, text.starts_with(prefix) && behind, "{scan:?}");
    }
    true
}
