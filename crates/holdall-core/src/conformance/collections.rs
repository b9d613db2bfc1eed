//! Collections keep their names, and keep apart.

use super::case::refused;
use super::helpers::{ANY, get, key, put, scan, value};
use super::{Case, Check, Context, Failure};
use crate::{BackendExt, ErrorKind, MAX_COLLECTION, Scan, json};

pub(super) fn cases() -> Vec<Case> {
    vec![
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
