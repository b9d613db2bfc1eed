//! The order of queries.

use futures_util::TryStreamExt;

use super::helpers::{key, query};
use super::{Case, Check, Context, Failure};
use crate::{BackendExt, Index, Item, Query, Sort, Value, compare, json};

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "sorts/total-order",
            "The order across types is total: null, booleans, numbers, strings, arrays, objects; missing last in both directions, or first if asked.",
            total_order,
        ),
        Case::new(
            "sorts/ties-by-key",
            "Ties are broken by key, in the direction of the last sort.",
            ties_by_key,
        ),
        Case::new(
            "sorts/several",
            "Several sorts apply one after the other, each in its direction.",
            several,
        ),
        Case::new(
            "sorts/entry-fields",
            "Queries sort by $key, $size, $created and $modified.",
            entry_fields,
        ),
    ]
}

pub(super) fn sort(text: &str) -> Result<Sort, Failure> {
    Ok(Sort::parse(text)?)
}

/// Fills a collection with every hard value at `v`, equal ones side by side,
/// and some items without one.
pub(super) async fn hard(
    context: &Context,
) -> Result<(crate::CollectionName, Vec<(String, Option<Value>)>), Failure> {
    let items = context.collection("items")?;
    let mut all: Vec<_> = super::docs::hard_values()
        .into_iter()
        .enumerate()
        .map(|(n, value)| (format!("k{:03}", n * 7 % 101), Some(value)))
        .collect();
    all.extend((0..5).map(|n| (format!("m{n}"), None)));
    context
        .fill(
            &items,
            all.iter().map(|(key, value)| {
                (
                    key.clone(),
                    value
                        .as_ref()
                        .map_or_else(|| json!({"w": 1}), |value| json!({"v": value})),
                )
            }),
        )
        .await?;
    Ok((items, all))
}

/// What a sort by `v` has to answer.
fn ordered(all: &[(String, Option<Value>)], descending: bool, missing_first: bool) -> Vec<String> {
    let mut sorted = all.to_vec();
    sorted.sort_by(|(key, value), (other_key, other)| {
        let turned = |order: std::cmp::Ordering| if descending { order.reverse() } else { order };
        let missing = |order: std::cmp::Ordering| {
            if missing_first {
                order.reverse()
            } else {
                order
            }
        };
        let values = match (value, other) {
            (Some(value), Some(other)) => turned(compare(value, other)),
            (None, None) => std::cmp::Ordering::Equal,
            (Some(_), None) => missing(std::cmp::Ordering::Less),
            (None, Some(_)) => missing(std::cmp::Ordering::Greater),
        };
        values.then_with(|| turned(key.cmp(other_key)))
    });
    sorted.into_iter().map(|(key, _)| key).collect()
}

async fn total_order(context: Context) -> Check {
    let (items, all) = hard(&context).await?;
    let store = context.store();
    for indexed in [false, true] {
        if indexed {
            store.define(&items, &[Index::parse(&["v"])?]).await?;
        }
        for (text, descending, first) in [
            ("v", false, false),
            ("v:desc", true, false),
            ("v:asc:first", false, true),
            ("v:desc:first", true, true),
        ] {
            let wanted = ordered(&all, descending, first);
            let found = query(store, &items, Query::default().sort(sort(text)?)).await?;
            ensure_eq!(
                found,
                wanted,
                "all items sorted by {text}, indexed: {indexed}"
            );
            let found = query(
                store,
                &items,
                Query::default().sort(sort(text)?).limit(9).offset(3),
            )
            .await?;
            let part: Vec<_> = wanted.iter().skip(3).take(9).cloned().collect();
            ensure_eq!(
                found,
                part,
                "nine items behind the third, sorted by {text}, indexed: {indexed}"
            );
        }
    }
    Ok(())
}

async fn ties_by_key(context: Context) -> Check {
    let (store, items) = (context.store(), context.collection("items")?);
    context
        .fill(
            &items,
            ["b", "a", "é", "c", "B"].map(|key| (key, json!({"n": 1, "m": null}))),
        )
        .await?;
    let mut keys = vec!["B", "a", "b", "c", "é"];
    for text in ["n", "m", "none", "none:asc:first"] {
        ensure_eq!(
            query(store, &items, Query::default().sort(sort(text)?)).await?,
            keys,
            "items that tie, sorted by {text}"
        );
    }
    let two = Query::default().sort(sort("n:desc")?).sort(sort("m")?);
    ensure_eq!(
        query(store, &items, two).await?,
        keys,
        "items that tie, the last sort ascending"
    );
    keys.reverse();
    for text in ["n:desc", "m:desc", "none:desc", "none:desc:first"] {
        ensure_eq!(
            query(store, &items, Query::default().sort(sort(text)?)).await?,
            keys,
            "items that tie, sorted by {text}"
        );
    }
    let two = Query::default().sort(sort("n")?).sort(sort("m:desc")?);
    ensure_eq!(
        query(store, &items, two).await?,
        keys,
        "items that tie, the last sort descending"
    );
    Ok(())
}

async fn several(context: Context) -> Check {
    let (store, items) = (context.store(), context.collection("items")?);
    let docs = [
        ("a", json!({"x": 1, "y": "b"})),
        ("b", json!({"x": 1.0, "y": "a"})),
        ("c", json!({"x": 2})),
        ("d", json!({"y": "c"})),
        ("e", json!({"x": 1})),
        ("f", json!({"x": "1", "y": "a"})),
    ];
    context.fill(&items, docs).await?;
    for indexed in [false, true] {
        if indexed {
            store.define(&items, &[Index::parse(&["x", "y"])?]).await?;
        }
        for (sorts, wanted) in [
            (["x", "y"], ["b", "a", "e", "c", "f", "d"]),
            (["x", "y:desc"], ["a", "b", "e", "c", "f", "d"]),
            (["x:desc", "y"], ["f", "c", "b", "a", "e", "d"]),
            (
                ["x:asc:first", "y:asc:first"],
                ["d", "e", "b", "a", "c", "f"],
            ),
            (["y", "x"], ["b", "f", "a", "d", "e", "c"]),
            (["y:desc", "x:desc"], ["d", "a", "f", "b", "c", "e"]),
        ] {
            let asked = Query::default().sort(sort(sorts[0])?).sort(sort(sorts[1])?);
            ensure_eq!(
                query(store, &items, asked).await?,
                wanted,
                "items sorted by {sorts:?}, indexed: {indexed}"
            );
        }
    }
    Ok(())
}

async fn entry_fields(context: Context) -> Check {
    let (store, items) = (context.store(), context.collection("items")?);
    for (name, size) in [("c", 5), ("a", 70_000), ("b", 0)] {
        store
            .put(
                &items,
                &key(name)?,
                crate::Condition::Any,
                crate::Put::bytes(vec![1; size]),
            )
            .await?;
    }
    for (text, wanted) in [
        ("$key", ["a", "b", "c"]),
        ("$key:desc", ["c", "b", "a"]),
        ("$size", ["b", "c", "a"]),
        ("$size:desc", ["a", "c", "b"]),
    ] {
        ensure_eq!(
            query(store, &items, Query::default().sort(sort(text)?)).await?,
            wanted,
            "items sorted by {text}"
        );
    }
    for text in ["$created", "$modified:desc"] {
        let found: Vec<Item> = store
            .query(&items, Query::default().sort(sort(text)?))
            .try_collect()
            .await?;
        let times: Vec<_> = found.iter().map(|item| item.entry.modified).collect();
        let ordered = if text.ends_with("desc") {
            times.iter().rev().is_sorted()
        } else {
            times.is_sorted()
        };
        ensure!(
            ordered && times.len() == 3,
            "items sorted by {text} have the times {times:?}"
        );
    }
    Ok(())
}
