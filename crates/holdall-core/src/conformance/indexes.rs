//! Indexes: unique ones refuse, others change nothing.

use super::case::refused;
use super::helpers::{ANY, doc, key, put, query, snapshot, value};
use super::{Case, Check, Context, Need};
use crate::{
    BackendExt, Batch, Condition, ErrorKind, Filter, Holds, Index, Query, Scope, Type, json,
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new("indexes/define-again", "Declaring an index again changes nothing, before or behind the items, and another one joins it.", define_again),
        Case::new("indexes/unique", "A unique index refuses a second item with an equal value, and lets an item keep its own.", unique),
        Case::new("indexes/unique-exempts-missing-not-null", "A missing value is exempt from uniqueness, null is not; with several paths, an item that misses any is exempt.", exempt),
        Case::new("indexes/unique-over-duplicates", "A unique index over duplicates is a Conflict that names two keys, and declares nothing of the call.", over_duplicates),
        Case::new("indexes/unique-after-the-batch", "Uniqueness holds of the state after a batch: two items can swap values, or one can take what another leaves.", after_the_batch).needs(Need::Scope(Scope::Collection)).needs(Need::Operations(3)),
        Case::new("indexes/unique-of-one-type", "A unique index of one type is unique among values of this type alone.", of_one_type),
        Case::new("indexes/freed-values", "A value is free again when its item is deleted or changed.", freed_values),
        Case::new("indexes/refused", "A declaration that breaks a rule is Invalid, and declares nothing.", refused_declarations),
        Case::new("indexes/words-follow", "A word index follows overwrites and deletes.", words_follow),
    ]
}

fn unique_on(paths: &[&str]) -> crate::Result<Index> {
    Ok(Index::parse(paths)?.unique())
}

async fn define_again(context: Context) -> Check {
    let (store, items) = (context.store(), context.collection("items")?);
    let indexes = [
        unique_on(&["a"])?,
        Index::parse(&["b"])?,
        Index::parse(&["t"])?.holding(Holds::Words),
    ];
    store.define(&items, &[]).await?;
    for round in 0..3 {
        store.define(&items, &indexes).await?;
        put(
            store,
            &items,
            &key(&format!("k{round}"))?,
            json!({"a": round, "b": 1, "t": "word"}),
        )
        .await?;
    }
    store
        .define(&items, &[Index::parse(&["a"])?, Index::parse(&["b", "a"])?])
        .await?;
    let found = query(
        store,
        &items,
        Query::new(super::helpers::filter(json!({"b": 1, "a": {"$gte": 1}}))?),
    )
    .await?;
    ensure_eq!(
        found,
        ["k1", "k2"],
        "items that a query finds through indexes declared several times"
    );
    let taken = store
        .put(&items, &key("other")?, ANY, doc(json!({"a": 2}))?)
        .await;
    refused(taken, ErrorKind::Conflict, "a value that is taken")?;
    Ok(())
}

async fn unique(context: Context) -> Check {
    let (store, items) = (context.store(), context.collection("items")?);
    store.define(&items, &[unique_on(&["v"])?]).await?;
    let all = [
        json!(1),
        json!("1"),
        json!("a"),
        json!("A"),
        json!("é"),
        json!("e\u{301}"),
        json!(true),
        json!([1]),
        json!({"a": 1}),
        json!(9_007_199_254_740_993_i64),
        json!(9_007_199_254_740_992_i64),
        json!(u64::MAX),
        json!(""),
    ];
    for (n, value) in all.iter().enumerate() {
        put(store, &items, &key(&format!("k{n}"))?, json!({"v": value})).await?;
        // Its own value is no duplicate.
        put(
            store,
            &items,
            &key(&format!("k{n}"))?,
            json!({"v": value, "again": true}),
        )
        .await?;
    }
    let before = snapshot(store, &items).await?;
    for (n, value) in all
        .iter()
        .chain(&[
            json!(1.0),
            json!([1.0]),
            json!({"a": 1.0}),
            json!(9_007_199_254_740_992.0),
        ])
        .enumerate()
    {
        let answer = store
            .put(&items, &key("other")?, ANY, doc(json!({"v": value}))?)
            .await;
        let error = refused(
            answer,
            ErrorKind::Conflict,
            &format!("a second item with {value}"),
        )?;
        ensure_eq!(
            error.collection(),
            Some(&items),
            "the collection that the error names"
        );
        ensure_eq!(
            error.retry(),
            crate::Retry::No,
            "whether a retry of {value} (number {n}) helps"
        );
    }
    ensure_eq!(
        snapshot(store, &items).await?,
        before,
        "the items after duplicates were refused"
    );
    Ok(())
}

async fn exempt(context: Context) -> Check {
    let (store, items) = (context.store(), context.collection("items")?);
    store
        .define(&items, &[unique_on(&["a"])?, unique_on(&["b", "c.d"])?])
        .await?;
    context
        .fill(
            &items,
            [
                ("x1", json!({})),
                ("x2", json!({})),
                ("x3", json!({"b": 1})),
                ("x4", json!({"b": 1})),
                ("x5", json!({"c": {"d": 1}})),
                ("x6", json!({"c": {"d": 1}})),
            ],
        )
        .await?;
    put(store, &items, &key("n1")?, json!({"a": null})).await?;
    refused(
        store
            .put(&items, &key("n2")?, ANY, doc(json!({"a": null}))?)
            .await,
        ErrorKind::Conflict,
        "a second null",
    )?;
    put(
        store,
        &items,
        &key("p1")?,
        json!({"b": 1, "c": {"d": null}}),
    )
    .await?;
    put(
        store,
        &items,
        &key("p2")?,
        json!({"b": null, "c": {"d": 1}}),
    )
    .await?;
    put(
        store,
        &items,
        &key("p3")?,
        json!({"b": "1", "c": {"d": null}}),
    )
    .await?;
    refused(
        store
            .put(
                &items,
                &key("p4")?,
                ANY,
                doc(json!({"b": 1.0, "c": {"d": null}}))?,
            )
            .await,
        ErrorKind::Conflict,
        "a second pair of values",
    )?;
    Ok(())
}

async fn over_duplicates(context: Context) -> Check {
    let (store, items) = (context.store(), context.collection("items")?);
    context
        .fill(
            &items,
            [
                ("first", json!({"v": 1, "w": 1})),
                ("other", json!({"v": 2, "w": 2})),
                ("second", json!({"v": 1.0, "w": 3})),
            ],
        )
        .await?;
    let both = [unique_on(&["w"])?, unique_on(&["v"])?];
    let error = refused(
        store.define(&items, &both).await,
        ErrorKind::Conflict,
        "a unique index over duplicates",
    )?;
    let text = error.to_string();
    ensure!(
        text.contains("\"first\"") && text.contains("\"second\""),
        "the error names not both keys: {text}"
    );
    // None of the call's indexes holds.
    put(store, &items, &key("free")?, json!({"v": 1, "w": 1})).await?;
    store.delete(&items, &key("free")?, ANY).await?;
    store.delete(&items, &key("second")?, ANY).await?;
    store.define(&items, &both).await?;
    refused(
        store
            .put(&items, &key("free")?, ANY, doc(json!({"v": 1}))?)
            .await,
        ErrorKind::Conflict,
        "a duplicate, once the index could be declared",
    )?;
    Ok(())
}

async fn after_the_batch(context: Context) -> Check {
    let (store, items) = (context.store(), context.collection("items")?);
    store.define(&items, &[unique_on(&["v"])?]).await?;
    let (a, b, c) = (key("a")?, key("b")?, key("c")?);
    context
        .fill(&items, [("a", json!({"v": 1})), ("b", json!({"v": 2}))])
        .await?;
    let swap = Batch::new()
        .put(&items, &a, ANY, doc(json!({"v": 2}))?)
        .put(&items, &b, ANY, doc(json!({"v": 1}))?);
    store.write(swap).await?;
    ensure_eq!(
        value(store, &items, &a).await?,
        Some(json!({"v": 2})),
        "an item whose value was swapped"
    );
    // The taker stands before the leaver, and behind it.
    let take = Batch::new()
        .put(&items, &c, ANY, doc(json!({"v": 2}))?)
        .delete(&items, &a, ANY);
    store.write(take).await?;
    let back = Batch::new()
        .delete(&items, &c, ANY)
        .put(&items, &a, ANY, doc(json!({"v": 2}))?);
    store.write(back).await?;
    let ring = Batch::new()
        .put(&items, &a, ANY, doc(json!({"v": 1}))?)
        .put(&items, &b, ANY, doc(json!({"v": 3}))?)
        .put(&items, &c, ANY, doc(json!({"v": 2}))?);
    store.write(ring).await?;
    let twice = Batch::new()
        .put(&items, &key("d")?, ANY, doc(json!({"v": 9}))?)
        .put(&items, &key("e")?, ANY, doc(json!({"v": 9.0}))?);
    refused(
        store.write(twice).await,
        ErrorKind::Conflict,
        "a batch that puts one value twice",
    )?;
    // A check of an item neither takes nor frees its value.
    let checked =
        Batch::new()
            .check(&items, &a, ANY)
            .put(&items, &key("d")?, ANY, doc(json!({"v": 1}))?);
    refused(
        store.write(checked).await,
        ErrorKind::Conflict,
        "a value whose owner the batch only checks",
    )?;
    for (name, wanted) in [("a", 1), ("b", 3), ("c", 2)] {
        let found = query(store, &items, Query::new(Filter::eq("v", wanted)?)).await?;
        ensure_eq!(found, [name], "the item with the value {wanted}");
    }
    Ok(())
}

async fn of_one_type(context: Context) -> Check {
    let (store, items) = (context.store(), context.collection("items")?);
    store
        .define(
            &items,
            &[unique_on(&["v"])?.holding(Holds::Only(Type::String))],
        )
        .await?;
    context
        .fill(
            &items,
            [
                ("a", json!({"v": 1})),
                ("b", json!({"v": 1})),
                ("c", json!({"v": null})),
                ("d", json!({"v": null})),
                ("e", json!({"v": "x"})),
            ],
        )
        .await?;
    refused(
        store
            .put(&items, &key("f")?, ANY, doc(json!({"v": "x"}))?)
            .await,
        ErrorKind::Conflict,
        "a second equal string",
    )?;
    ensure_eq!(
        query(store, &items, Query::new(Filter::eq("v", 1)?)).await?,
        ["a", "b"],
        "items that a query of another type finds"
    );
    Ok(())
}

async fn freed_values(context: Context) -> Check {
    let (store, items) = (context.store(), context.collection("items")?);
    store.define(&items, &[unique_on(&["v"])?]).await?;
    let (a, b) = (key("a")?, key("b")?);
    put(store, &items, &a, json!({"v": 1})).await?;
    put(store, &items, &a, json!({"v": 2})).await?;
    put(store, &items, &b, json!({"v": 1})).await?;
    store.delete(&items, &b, ANY).await?;
    put(store, &items, &a, json!({"v": 1})).await?;
    put(store, &items, &a, json!({})).await?;
    put(store, &items, &b, json!({"v": 1})).await?;
    if context.can().conditions >= crate::Conditions::CreateOnly {
        // A refused batch takes nothing.
        refused(
            store
                .put(&items, &b, Condition::Absent, doc(json!({"v": 5}))?)
                .await,
            ErrorKind::Conflict,
            "a create of what is there",
        )?;
        put(store, &items, &a, json!({"v": 5})).await?;
    }
    Ok(())
}

async fn refused_declarations(context: Context) -> Check {
    let (store, items) = (context.store(), context.collection("items")?);
    let on = |path: &str| Index::parse(&[path]);
    let bad = [
        Index::on([]),
        Index::parse(&["a", "a"])?,
        Index::parse(&["a", "b", "c", "d", "e", "f", "g", "h", "i"])?,
        on("$version")?,
        on("$key")?.unique(),
        on("a")?.holding(Holds::Words).unique(),
        Index::parse(&["a", "b"])?.holding(Holds::Words),
        Index::parse(&["a", "b"])?.holding(Holds::Only(Type::Number)),
        on("$key")?.holding(Holds::Words),
    ];
    for bad in bad {
        let answer = store
            .define(&items, &[on("v")?.unique(), bad.clone()])
            .await;
        refused(
            answer,
            ErrorKind::Invalid,
            &format!("the declaration {bad:?}"),
        )?;
    }
    context
        .fill(&items, [("a", json!({"v": 1})), ("b", json!({"v": 1}))])
        .await?;
    Ok(())
}

async fn words_follow(context: Context) -> Check {
    let (store, items) = (context.store(), context.collection("items")?);
    store
        .define(&items, &[Index::parse(&["t"])?.holding(Holds::Words)])
        .await?;
    let search = |text: &str| super::helpers::filter(json!({"t": {"$match": text}}));
    context
        .fill(
            &items,
            [
                ("a", json!({"t": "red green"})),
                ("b", json!({"t": ["Green", {"x": "blue"}]})),
                ("c", json!({"u": "green"})),
            ],
        )
        .await?;
    ensure_eq!(
        query(store, &items, Query::new(search("GREEN")?)).await?,
        ["a", "b"],
        "items with the word green"
    );
    put(store, &items, &key("a")?, json!({"t": "red"})).await?;
    put(store, &items, &key("c")?, json!({"t": "evergreen, green"})).await?;
    ensure_eq!(
        query(store, &items, Query::new(search("green")?)).await?,
        ["b", "c"],
        "items with the word green after overwrites"
    );
    store.delete(&items, &key("b")?, ANY).await?;
    ensure_eq!(
        query(store, &items, Query::new(search("green")?)).await?,
        ["c"],
        "items with the word green after a delete"
    );
    ensure_eq!(
        store.count(&items, &search("blue")?).await?,
        0,
        "items with a word that is gone"
    );
    Ok(())
}
