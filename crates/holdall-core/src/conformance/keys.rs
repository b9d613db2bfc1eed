//! Keys come back byte for byte.

use futures_util::TryStreamExt;

use super::case::refused;
use super::helpers::{ANY, get, key, put, scan, value};
use super::{Case, Check, Context};
use crate::{BackendExt, ErrorKind, Item, Scan, json};

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "keys/byte-for-byte",
            "Nothing is silently changed: every key comes back byte for byte, and no two are one.",
            byte_for_byte,
        ),
        Case::new(
            "keys/longest",
            "A key of the declared length is kept; a longer one is TooLarge.",
            longest,
        ),
    ]
}

/// Keys that some way of storing them takes for each other, or for something
/// else.
pub(super) fn hard_keys(longest: usize) -> Vec<String> {
    let mut keys: Vec<String> = [
        ".",
        "..",
        "...",
        "a..b",
        "ab",
        "a.b",
        "../a",
        "a/../b",
        "a/./b",
        "a/b",
        "a//b",
        "a///b",
        "a",
        "a/",
        "/a",
        "/",
        "//",
        "a/b/",
        " ",
        "  ",
        " a",
        "a ",
        "a b",
        "a  b",
        "\t",
        "\n",
        "a\nb",
        "a\r\nb",
        "\r",
        "\u{1}",
        "\u{7f}",
        "\u{85}",
        "\u{feff}",
        "\u{feff}a",
        "A",
        "B",
        "é",
        "e\u{301}",
        "É",
        "ß",
        "ss",
        "SS",
        "ſ",
        "K",
        "\u{212a}",
        "İ",
        "i",
        "I",
        "ı",
        "ﬁ",
        "fi",
        "Ω",
        "\u{2126}",
        "😀",
        "👩\u{200d}🚀",
        "\u{200d}",
        "\u{200b}",
        "\u{202e}a",
        "日本",
        "\u{d7ff}",
        "\u{e000}",
        "\u{ffff}",
        "\u{10000}",
        "\u{10ffff}",
        "%",
        "_",
        "a%",
        "a_",
        "a%b",
        "*",
        "?",
        "[a]",
        "^a$",
        ".*",
        "\\",
        "\\\\",
        "\\0",
        "%00",
        "%2F",
        "a%2Fb",
        "'",
        "''",
        "\"",
        "`",
        ";",
        "--",
        "'; drop table items; --",
        "$key",
        "$ne",
        "{\"$ne\":1}",
        "null",
        "true",
        "0",
        "00",
        "-0",
        "0.0",
        "1",
        "01",
        "1.0",
        "1e3",
        "NaN",
        "con",
        "nul",
        "COM1",
        "aux.txt",
        "a:b",
        "a|b",
        "a<b>",
        "a.",
        "a.tmp",
        ".tmp",
        "a.json",
        "a~",
        "#a#",
        "~",
        "doc.v",
        "doc.v2.txt",
        "v9",
        "v10",
        "key=value&x=y",
        "a+b",
        "a\u{a0}b",
        "#",
        "@",
        "!",
        "-",
        "--help",
        "-rf",
    ]
    .map(String::from)
    .to_vec();
    keys.push("é".repeat(longest / 2));
    keys.push("x".repeat(longest));
    keys.push(format!("{}y", "x".repeat(longest - 1)));
    keys.push(format!("{}a", "/".repeat(longest - 1)));
    keys.retain(|key| key.len() <= longest);
    keys
}

async fn byte_for_byte(context: Context) -> Check {
    let (store, items) = (context.store(), context.collection("items")?);
    let mut keys = hard_keys(context.can().max_key);
    for text in &keys {
        put(store, &items, &key(text)?, json!({"is": text}))
            .await
            .map_err(|failure| failure.during(format!("putting {text:?}")))?;
    }
    for text in &keys {
        ensure_eq!(
            value(store, &items, &key(text)?).await?,
            Some(json!({"is": text})),
            "the item {text:?}"
        );
    }
    keys.sort();
    ensure_eq!(
        scan(store, &items, Scan::all()).await?,
        keys,
        "all keys in the order of their bytes"
    );
    let found = super::helpers::query(store, &items, crate::Query::default()).await?;
    ensure_eq!(found, keys, "all keys of a query");
    let found: Vec<Item> = store.scan(&items, Scan::all()).try_collect().await?;
    for item in &found {
        ensure_eq!(
            item.doc()?.value()?,
            json!({"is": item.key.as_str()}),
            "the doc beside the key {:?}",
            item.key
        );
    }
    // Every one can be found as a prefix and as an edge, and deleted alone.
    for text in &keys {
        let wanted: Vec<_> = keys
            .iter()
            .filter(|key| key.starts_with(text.as_str()))
            .collect();
        let found = scan(store, &items, Scan::prefix(text.as_str())).await?;
        ensure_eq!(
            found.iter().collect::<Vec<_>>(),
            wanted,
            "the keys that start with {text:?}"
        );
        let after = Scan {
            after: Some(text.clone()),
            limit: Some(1),
            ..Scan::all()
        };
        let wanted: Vec<_> = keys
            .iter()
            .find(|key| *key > text)
            .into_iter()
            .cloned()
            .collect();
        ensure_eq!(
            scan(store, &items, after).await?,
            wanted,
            "the first key behind {text:?}"
        );
    }
    let mut left = keys.clone();
    for text in keys.iter().step_by(2) {
        store.delete(&items, &key(text)?, ANY).await?;
        left.retain(|key| key != text);
    }
    ensure_eq!(
        scan(store, &items, Scan::all()).await?,
        left,
        "the keys after every second was deleted"
    );
    Ok(())
}

async fn longest(context: Context) -> Check {
    let (store, items) = (context.store(), context.collection("items")?);
    let most = context.can().max_key;
    ensure!(
        (1..=crate::MAX_KEY).contains(&most),
        "the declared max_key {most} is not 1 to {}",
        crate::MAX_KEY
    );
    let at = key(&"k".repeat(most))?;
    put(store, &items, &at, json!({})).await?;
    ensure!(
        get(store, &items, &at).await?.is_some(),
        "a key of the declared length is not there"
    );
    if most < crate::MAX_KEY {
        let past = key(&"k".repeat(most + 1))?;
        let answer = store.put(&items, &past, ANY, crate::Put::default()).await;
        refused(
            answer,
            ErrorKind::TooLarge,
            "a key one byte past the declared length",
        )?;
        ensure_eq!(
            scan(store, &items, Scan::all()).await?.len(),
            1,
            "items after a key past the limit"
        );
    }
    Ok(())
}
