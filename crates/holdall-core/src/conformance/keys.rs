//! Keys come back byte for byte, and collections keep their names apart.

use futures_util::TryStreamExt;

use super::case::refused;
use super::helpers::{ANY, get, key, put, scan, value};
use super::{Case, Check, Context, Failure};
use crate::{BackendExt, ErrorKind, Item, MAX_COLLECTION, Scan, json};

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
        Case::new(
            "collections/apart",
            "Collections whose names differ in case, marks or normalisation are apart.",
            apart,
        ),
        Case::new(
            "collections/hostile-names",
            "A name never becomes part of a query: any text is a collection, and its own.",
            hostile_names,
        ),
        Case::new(
            "collections/longest-name",
            "A name of 128 bytes is kept exactly, or refused as TooLarge; what is refused leaves nothing.",
            longest_name,
        ),
        Case::new(
            "collections/listed",
            "Collections with items are listed by name, once; an empty one equals an absent one.",
            listed,
        ),
        Case::new(
            "collections/dropped",
            "A dropped collection is gone with its items and its indexes; others stay.",
            dropped,
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

async fn apart(context: Context) -> Check {
    let store = context.store();
    let base = context.collection("")?;
    let base = base
        .as_str()
        .get(base.as_str().len().saturating_sub(20)..)
        .unwrap_or_default()
        .to_owned();
    let mut collections = Vec::new();
    for tail in [
        "a-b", "a_b", "A_b", "a.b", "a b", "a/b", "ab", "é", "e\u{301}", "AB", "a_b_", "a__b",
    ] {
        collections.push(context.use_collection(&format!("{base}{tail}"))?);
    }
    for (n, collection) in collections.iter().enumerate() {
        put(store, collection, &key("who")?, json!({"n": n})).await?;
    }
    for (n, collection) in collections.iter().enumerate() {
        ensure_eq!(
            value(store, collection, &key("who")?).await?,
            Some(json!({"n": n})),
            "the item of {collection:?}"
        );
    }
    let listed = store.collections().await?;
    for collection in &collections {
        ensure!(listed.contains(collection), "{collection:?} is not listed");
    }
    for (n, collection) in collections.iter().enumerate().step_by(2) {
        store.drop_collection(collection).await?;
        ensure!(
            value(store, collection, &key("who")?).await?.is_none(),
            "{collection:?} (number {n}) has an item after it was dropped"
        );
    }
    for (n, collection) in collections.iter().enumerate().skip(1).step_by(2) {
        ensure_eq!(
            value(store, collection, &key("who")?).await?,
            Some(json!({"n": n})),
            "the item of {collection:?} after others were dropped"
        );
    }
    Ok(())
}

async fn hostile_names(context: Context) -> Check {
    let store = context.store();
    let base = context.collection("")?;
    let unique: String = base.as_str().chars().rev().take(20).collect();
    for name in [
        "sqlite_",
        "\"",
        "'; drop table items; --",
        "%",
        "_",
        "..",
        "../",
        ".",
        "/",
        "\\",
        "$",
        "pg_",
        "system.",
        "日本",
        "😀",
        "\n",
        "\u{1}",
        " ",
        "`",
        "]",
        "#",
        "?",
        "*",
        "\u{feff}",
        "con",
    ] {
        for name in [format!("{name}{unique}"), format!("{unique}{name}")] {
            let collection = context.use_collection(&name)?;
            let told = |failure: Failure| failure.during(format!("in the collection {name:?}"));
            put(store, &collection, &key("a")?, json!({"name": name}))
                .await
                .map_err(told)?;
            ensure_eq!(
                value(store, &collection, &key("a")?).await?,
                Some(json!({"name": name})),
                "the item of {name:?}"
            );
            store
                .define(&collection, &[crate::Index::parse(&["name"])?])
                .await
                .map_err(Failure::from)
                .map_err(told)?;
            let found = super::helpers::query(
                store,
                &collection,
                crate::Query::new(crate::Filter::eq("name", name.as_str())?),
            )
            .await?;
            ensure_eq!(found, ["a"], "the items that a query of {name:?} finds");
            ensure!(
                store.collections().await?.contains(&collection),
                "{name:?} is not listed as it was given"
            );
            store.drop_collection(&collection).await?;
            ensure!(
                !store.collections().await?.contains(&collection),
                "{name:?} is listed after it was dropped"
            );
        }
    }
    Ok(())
}

async fn longest_name(context: Context) -> Check {
    let store = context.store();
    let base = context.collection("")?;
    // What a namespace leaves of a name; any backend takes as much.
    const SURE: usize = MAX_COLLECTION - 65;
    for (len, fill) in [(SURE, "x"), (MAX_COLLECTION, "x"), (MAX_COLLECTION, "é")] {
        let mut name = base.as_str().to_owned();
        while name.len() + fill.len() <= len {
            name.push_str(fill);
        }
        let collection = context.use_collection(&name)?;
        let twin = context.use_collection(&format!(
            "{}y",
            name.trim_end_matches(fill).to_owned()
                + &fill.repeat((len - base.as_str().len()) / fill.len() - 1)
        ))?;
        let answer = store
            .put(&collection, &key("a")?, ANY, crate::Put::default())
            .await;
        if len > SURE && answer.is_err() {
            refused(
                answer,
                ErrorKind::TooLarge,
                "a name of 128 bytes, if it is not kept",
            )?;
            ensure!(
                !store.collections().await?.contains(&collection),
                "a name that was refused is listed"
            );
            continue;
        }
        answer?;
        ensure!(
            get(store, &twin, &key("a")?).await?.is_none(),
            "two names of {len} bytes that differ at their end are one collection"
        );
        ensure!(
            store.collections().await?.contains(&collection),
            "a name of {len} bytes is not listed as it was given"
        );
    }
    Ok(())
}

async fn listed(context: Context) -> Check {
    let store = context.store();
    let (full, empty) = (context.collection("full")?, context.collection("empty")?);
    let a = key("a")?;
    ensure!(
        get(store, &empty, &a).await?.is_none(),
        "an absent collection has an item"
    );
    ensure_eq!(
        scan(store, &empty, Scan::all()).await?.len(),
        0,
        "items of an absent collection"
    );
    ensure_eq!(
        store.count(&empty, &crate::Filter::all()).await?,
        0,
        "the count of an absent collection"
    );
    ensure_eq!(
        store
            .count_by(&empty, &crate::Filter::all(), &"n".parse()?)
            .await?
            .len(),
        0,
        "groups of an absent collection"
    );
    store.delete(&empty, &a, ANY).await?;
    store.drop_collection(&empty).await?;
    store
        .define(&empty, &[crate::Index::parse(&["n"])?])
        .await?;
    put(store, &full, &a, json!({})).await?;
    let listed = store.collections().await?;
    ensure!(
        !listed.contains(&empty),
        "a collection without items is listed"
    );
    ensure_eq!(
        listed.iter().filter(|name| **name == full).count(),
        1,
        "how often a collection is listed"
    );
    ensure!(
        listed.is_sorted(),
        "collections are not listed by name: {listed:?}"
    );
    store.delete(&full, &a, ANY).await?;
    ensure!(
        !store.collections().await?.contains(&full),
        "a collection whose items were all deleted is listed"
    );
    Ok(())
}

async fn dropped(context: Context) -> Check {
    let (store, items, others) = (
        context.store(),
        context.collection("items")?,
        context.collection("others")?,
    );
    let unique = [crate::Index::parse(&["n"])?.unique()];
    store.define(&items, &unique).await?;
    context
        .fill(&items, (0..250).map(|n| (format!("k{n}"), json!({"n": n}))))
        .await?;
    store
        .put_stream(
            &items,
            &key("body")?,
            ANY,
            crate::Put::default(),
            crate::byte_stream(vec![7; 200_000]),
        )
        .await?;
    context.fill(&others, [("a", json!({"n": 1}))]).await?;
    store.drop_collection(&items).await?;
    ensure_eq!(
        scan(store, &items, Scan::all()).await?.len(),
        0,
        "items after the collection was dropped"
    );
    ensure_eq!(
        scan(store, &others, Scan::all()).await?,
        ["a"],
        "items of another collection"
    );
    context.fill(&items, [("a", json!({"n": 1})), ("b", json!({"n": 1}))]).await.map_err(|failure| failure.during("putting what a unique index would refuse, after it was dropped with its collection"))?;
    let error = refused(
        store.define(&items, &unique).await,
        ErrorKind::Conflict,
        "a unique index over duplicates",
    )?;
    ensure!(
        error.to_string().contains("\"a\"") && error.to_string().contains("\"b\""),
        "the error names not both keys: {error}"
    );
    Ok(())
}
