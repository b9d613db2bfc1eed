//! Filters mean the same on every backend.

use super::helpers::{filter, query};
use super::{Case, Check, Context, Failure};
use crate::{BackendExt, Filter, Holds, Index, MemoryBackend, Query, Type, Value, json};

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "filters/table",
            "Each operator means what the query language says: a table of filters and the items that they match.",
            table,
        ),
        Case::new(
            "filters/indexes-change-nothing",
            "Indexes never change an answer: the same table with indexes of every kind.",
            with_indexes,
        ),
        Case::new(
            "filters/every-value-against-every-value",
            "Comparisons are exact and stay within a type: every hard value against every other.",
            every_value,
        ),
        Case::new(
            "filters/entry-fields",
            "Filters on $key, $size, $created, $modified and $version test the entry.",
            entry_fields,
        ),
        Case::new(
            "filters/refused",
            "A filter that is not one is Invalid, and names the part.",
            refused_filters,
        ),
    ]
}

fn docs() -> Vec<(&'static str, Value)> {
    vec![
        ("arr", json!({"a": [1, 2], "t": ["x", "y"]})),
        (
            "arr-deep",
            json!({"a": [[1, 2], {"b": 1}], "t": ["50%", "a_b", null]}),
        ),
        ("arr-empty", json!({"a": []})),
        ("bool", json!({"a": true, "b": false})),
        ("empty", json!({})),
        ("f-big", json!({"a": 9_007_199_254_740_992.0})),
        ("f-half", json!({"a": 1.5})),
        ("i-1", json!({"a": 1, "b": {"c": "x"}})),
        ("i-1f", json!({"a": 1.0, "b": {"c": "y"}})),
        ("i-2", json!({"a": 2, "b": {"c": null}})),
        ("i-big", json!({"a": 9_007_199_254_740_993_i64})),
        ("i-max", json!({"a": u64::MAX})),
        ("i-min", json!({"a": i64::MIN})),
        ("null", json!({"a": null})),
        ("obj", json!({"a": {"x": 1, "y": [1]}})),
        ("obj2", json!({"a": {"y": [1.0], "x": 1.0}})),
        ("s-1", json!({"a": "1"})),
        ("s-empty", json!({"a": ""})),
        ("s-like", json!({"a": "50% of a_b*c.d[e]^f$ \\ 'g' \"h\""})),
        ("s-nfc", json!({"a": "café au lait", "t": "Straße"})),
        ("s-nfd", json!({"a": "cafe\u{301} au lait", "t": "STRASSE"})),
        (
            "s-text",
            json!({"a": "The quick brown fox, jumps", "t": ["over", {"the": "lazy-dog"}]}),
        ),
        ("s-upper", json!({"a": "THE QUICK"})),
    ]
}

/// Filters, and which keys of [`docs`] they match, by hand: the evaluator is
/// tried too.
fn tables() -> Vec<(Value, Vec<&'static str>)> {
    vec![
        (json!({"a": 1}), vec!["i-1", "i-1f"]),
        (json!({"a": 1.0}), vec!["i-1", "i-1f"]),
        (json!({"a": "1"}), vec!["s-1"]),
        (json!({"a": true}), vec!["bool"]),
        (json!({"a": null}), vec!["null"]),
        (json!({"a": ""}), vec!["s-empty"]),
        (json!({"a": [1, 2]}), vec!["arr"]),
        (json!({"a": [1.0, 2]}), vec!["arr"]),
        (json!({"a": [2, 1]}), vec![]),
        (json!({"a": []}), vec!["arr-empty"]),
        (
            json!({"a": {"$eq": {"y": [1], "x": 1}}}),
            vec!["obj", "obj2"],
        ),
        (json!({"a": {"$eq": {"x": 1}}}), vec![]),
        (json!({"a": 9_007_199_254_740_993_i64}), vec!["i-big"]),
        (json!({"a": 9_007_199_254_740_992_i64}), vec!["f-big"]),
        (json!({"a": u64::MAX}), vec!["i-max"]),
        (json!({"a": i64::MIN}), vec!["i-min"]),
        (json!({"a": "café au lait"}), vec!["s-nfc"]),
        (json!({"a": "the quick"}), vec![]),
        (
            json!({"a": {"$gt": 1}}),
            vec!["f-big", "f-half", "i-2", "i-big", "i-max"],
        ),
        (
            json!({"a": {"$gte": 1}}),
            vec!["f-big", "f-half", "i-1", "i-1f", "i-2", "i-big", "i-max"],
        ),
        (json!({"a": {"$lt": 1}}), vec!["i-min"]),
        (json!({"a": {"$lte": 1.25}}), vec!["i-1", "i-1f", "i-min"]),
        (
            json!({"a": {"$gt": 9_007_199_254_740_992_i64}}),
            vec!["i-big", "i-max"],
        ),
        (json!({"a": {"$gt": 1, "$lt": 2}}), vec!["f-half"]),
        (json!({"a": {"$lt": "1"}}), vec!["s-empty"]),
        (
            json!({"a": {"$gte": "THE"}}),
            vec!["s-nfc", "s-nfd", "s-text", "s-upper"],
        ),
        (json!({"a": {"$gt": false}}), vec!["bool"]),
        (json!({"a": {"$gte": null}}), vec!["null"]),
        (json!({"a": {"$gt": null}}), vec![]),
        (json!({"a": {"$gt": [1]}}), vec!["arr", "arr-deep"]),
        (json!({"a": {"$lt": [1]}}), vec!["arr-empty"]),
        (json!({"a": {"$gte": {"x": 0}}}), vec!["obj", "obj2"]),
        (
            json!({"a": {"$in": [1, "1", null, [1, 2]]}}),
            vec!["arr", "i-1", "i-1f", "null", "s-1"],
        ),
        (json!({"a": {"$in": []}}), vec![]),
        (json!({"a": {"$exists": false}}), vec!["empty"]),
        (
            json!({"b": {"$exists": true}}),
            vec!["bool", "i-1", "i-1f", "i-2"],
        ),
        (json!({"b.c": null}), vec!["i-2"]),
        (
            json!({"b.c": {"$exists": true}}),
            vec!["i-1", "i-1f", "i-2"],
        ),
        (json!({"b.c": {"$in": ["x", "y"]}}), vec!["i-1", "i-1f"]),
        (json!({"a.0": 1}), vec!["arr"]),
        (json!({"a.0.1": 2}), vec!["arr-deep"]),
        (json!({"a.1.b": 1}), vec!["arr-deep"]),
        (json!({"a.00": 1}), vec![]),
        (json!({"a.-1": 1}), vec![]),
        (json!({"a.x": 1}), vec!["obj", "obj2"]),
        (json!({"a.y.0": 1}), vec!["obj", "obj2"]),
        (json!({"a": {"$contains": 1}}), vec!["arr"]),
        (json!({"a": {"$contains": [1, 2]}}), vec!["arr-deep"]),
        (json!({"t": {"$contains": "x"}}), vec!["arr"]),
        (json!({"t": {"$contains": null}}), vec!["arr-deep"]),
        (json!({"t": {"$contains": "50"}}), vec![]),
        (json!({"a": {"$contains": "50%"}}), vec!["s-like"]),
        (json!({"a": {"$contains": "%"}}), vec!["s-like"]),
        (json!({"a": {"$contains": "_b*c."}}), vec!["s-like"]),
        (json!({"a": {"$contains": "0_"}}), vec![]),
        (json!({"a": {"$contains": ".*"}}), vec![]),
        (json!({"a": {"$contains": "\\"}}), vec!["s-like"]),
        (json!({"a": {"$contains": "'g'"}}), vec!["s-like"]),
        (json!({"a": {"$contains": "quick"}}), vec!["s-text"]),
        (
            json!({"a": {"$contains": ""}}),
            vec![
                "s-1", "s-empty", "s-like", "s-nfc", "s-nfd", "s-text", "s-upper",
            ],
        ),
        (json!({"a": {"$contains": "é"}}), vec!["s-nfc"]),
        (json!({"a": {"$startsWith": "50%"}}), vec!["s-like"]),
        (json!({"a": {"$startsWith": "5_"}}), vec![]),
        (json!({"a": {"$startsWith": "%"}}), vec![]),
        (json!({"a": {"$startsWith": "the"}}), vec![]),
        (json!({"a": {"$startsWith": "caf"}}), vec!["s-nfc", "s-nfd"]),
        (json!({"a": {"$startsWith": "cafe"}}), vec!["s-nfd"]),
        (
            json!({"a": {"$startsWith": ""}}),
            vec![
                "s-1", "s-empty", "s-like", "s-nfc", "s-nfd", "s-text", "s-upper",
            ],
        ),
        (json!({"a": {"$startsWith": "1"}}), vec!["s-1"]),
        (json!({"a": {"$match": "quick"}}), vec!["s-text", "s-upper"]),
        (json!({"a": {"$match": "fox THE"}}), vec!["s-text"]),
        (json!({"a": {"$match": "qui"}}), vec![]),
        (json!({"a": {"$match": "CAFÉ"}}), vec!["s-nfc", "s-nfd"]),
        (json!({"a": {"$match": "cafe"}}), vec![]),
        (json!({"t": {"$match": "strasse"}}), vec!["s-nfc", "s-nfd"]),
        (json!({"t": {"$match": "lazy over"}}), vec!["s-text"]),
        (json!({"t": {"$match": "dog"}}), vec!["s-text"]),
        (json!({"$match": "quick dog"}), vec!["s-text"]),
        (json!({"$match": "fox OR dog"}), vec![]),
        (json!({"$match": "\"quick\" -brown*"}), vec!["s-text"]),
        (json!({"a": {"$match": "g h"}}), vec!["s-like"]),
        (json!({"a": {"$match": "1"}}), vec!["s-1"]),
        (
            json!({"$and": [{"a": {"$gt": 0}}, {"b": {"$exists": true}}]}),
            vec!["i-1", "i-1f", "i-2"],
        ),
        (
            json!({"$or": [{"a": null}, {"a": true}]}),
            vec!["bool", "null"],
        ),
        (json!({"$or": []}), vec![]),
        (json!({"$not": {"a": {"$exists": true}}}), vec!["empty"]),
        (
            json!({"a": {"$exists": true}, "$not": {"$or": [{"a": {"$gte": ""}}, {"a": {"$gte": i64::MIN}}, {"a": {"$gte": []}}, {"a": {"$gte": {}}}]}}),
            vec!["bool", "null"],
        ),
        (
            json!({"b": {"$not": {"$exists": false}}, "a": {"$ne": true}}),
            vec!["i-1", "i-1f", "i-2"],
        ),
    ]
}

async fn check_tables(context: &Context, indexes: &[Index]) -> Check {
    let (store, items) = (context.store(), context.collection("items")?);
    // Half of the indexes come before the items, half behind them.
    let (before, behind) = indexes.split_at(indexes.len() / 2);
    store.define(&items, before).await?;
    context.fill(&items, docs()).await?;
    store.define(&items, behind).await?;
    let all: Vec<_> = docs().iter().map(|(key, _)| (*key).to_owned()).collect();
    for (json, wanted) in tables() {
        let one = filter(json.clone())?;
        ensure_eq!(
            query(store, &items, Query::new(one.clone())).await?,
            wanted,
            "the items that {json} matches"
        );
        ensure_eq!(
            store.count(&items, &one).await?,
            wanted.len() as u64,
            "the count of {json}"
        );
        // Two-valued logic: what a filter does not match, its opposite does.
        let others: Vec<_> = all
            .iter()
            .filter(|key| !wanted.contains(&key.as_str()))
            .cloned()
            .collect();
        ensure_eq!(
            query(store, &items, Query::new(one.clone().not()?)).await?,
            others,
            "the items that not {json} matches"
        );
        let pair = Filter::or(vec![one.clone(), one.clone().not()?])?;
        ensure_eq!(
            store.count(&items, &pair).await?,
            all.len() as u64,
            "the count of {json} or its opposite"
        );
    }
    // ne and nin are the opposites of eq and in, missing values included.
    for value in [json!(1), json!(null), json!("1"), json!([1, 2])] {
        let equal = query(
            store,
            &items,
            Query::new(filter(json!({"a": {"$eq": value}}))?),
        )
        .await?;
        for other in [
            json!({"a": {"$ne": value}}),
            json!({"a": {"$nin": [value]}}),
        ] {
            let mut found = query(store, &items, Query::new(filter(other.clone())?)).await?;
            found.extend(equal.clone());
            found.sort();
            ensure_eq!(
                found,
                all,
                "the items that {other} matches, with those that eq does"
            );
        }
    }
    Ok(())
}

async fn table(context: Context) -> Check {
    check_tables(&context, &[]).await
}

async fn with_indexes(context: Context) -> Check {
    let on = |path: &str| Index::parse(&[path]);
    let words = on("a")?.holding(Holds::Words);
    let whole = on("$doc")?.holding(Holds::Words);
    let kinds = [
        Type::Number,
        Type::String,
        Type::Null,
        Type::Bool,
        Type::Array,
        Type::Object,
    ];
    check_tables(
        &context,
        &[on("a")?, on("t")?, on("b.c")?, Index::parse(&["a", "b.c"])?],
    )
    .await?;
    check_tables(
        &context,
        &[words.clone(), on("t")?.holding(Holds::Words), whole],
    )
    .await?;
    let typed = kinds
        .into_iter()
        .map(|kind| Ok(on("a")?.holding(Holds::Only(kind))))
        .collect::<Result<Vec<_>, Failure>>()?;
    check_tables(&context, &typed).await?;
    check_tables(
        &context,
        &[
            on("b.c")?.unique(),
            on("a.0")?,
            on("$key")?,
            on("$modified")?,
            words,
        ],
    )
    .await
}

async fn every_value(context: Context) -> Check {
    let (store, items) = (context.store(), context.collection("items")?);
    let reference = MemoryBackend::new();
    let values = super::docs::hard_values();
    let docs = || {
        values
            .iter()
            .enumerate()
            .map(|(n, value)| (format!("k{n:03}"), json!({"v": value})))
    };
    context.fill(&items, docs()).await?;
    let reference: crate::DynBackend = reference.into();
    context.fill_in(&reference, &items, docs()).await?;
    for indexed in [false, true] {
        if indexed {
            store.define(&items, &[Index::parse(&["v"])?]).await?;
        }
        for value in &values {
            for operator in ["$gt", "$gte", "$lt", "$lte", "$contains"] {
                let one = filter(json!({"v": {operator: value}}))?;
                let wanted = query(&reference, &items, Query::new(one.clone())).await?;
                ensure_eq!(
                    query(store, &items, Query::new(one)).await?,
                    wanted,
                    "the items whose value is {operator} {value}, indexed: {indexed}"
                );
            }
        }
    }
    Ok(())
}

async fn entry_fields(context: Context) -> Check {
    let (store, items) = (context.store(), context.collection("items")?);
    let mut entries = Vec::new();
    for (name, size) in [("a/1", 0), ("a/2", 10), ("b%", 20), ("b_", 30)] {
        let put = crate::Put::bytes(vec![0; size]);
        let key = super::helpers::key(name)?;
        entries.push(store.put(&items, &key, crate::Condition::Any, put).await?);
    }
    let (Some(first), Some(last)) = (entries.first(), entries.last()) else {
        return Ok(());
    };
    let all = vec!["a/1", "a/2", "b%", "b_"];
    for (json, wanted) in [
        (json!({"$key": "b%"}), vec!["b%"]),
        (json!({"$key": {"$startsWith": "a/"}}), vec!["a/1", "a/2"]),
        (json!({"$key": {"$startsWith": "b_"}}), vec!["b_"]),
        (
            json!({"$key": {"$gt": "a/1", "$lt": "b_"}}),
            vec!["a/2", "b%"],
        ),
        (
            json!({"$key": {"$in": ["b_", "a/1", "none"]}}),
            vec!["a/1", "b_"],
        ),
        (json!({"$key": {"$contains": "/"}}), vec!["a/1", "a/2"]),
        (json!({"$key": {"$match": "b"}}), vec![]),
        (json!({"$size": {"$gte": 20}}), vec!["b%", "b_"]),
        (json!({"$size": 10.0}), vec!["a/2"]),
        (json!({"$size": {"$exists": false}}), vec![]),
        (json!({"$version": first.version.to_string()}), vec!["a/1"]),
        (
            json!({"$version": {"$nin": [first.version.to_string(), last.version.to_string()]}}),
            vec!["a/2", "b%"],
        ),
        (
            json!({"$created": {"$gte": first.created.to_string()}}),
            all.clone(),
        ),
        (
            json!({"$created": {"$lt": first.created.to_string()}}),
            vec![],
        ),
        (
            json!({"$modified": {"$lte": last.modified.to_string()}}),
            all.clone(),
        ),
        (
            json!({"$modified": {"$gt": "9999-01-01T00:00:00+01:00"}}),
            vec![],
        ),
        (json!({"\\$key": "b%"}), vec![]),
    ] {
        // What the words of a key are is for the one place that cuts words.
        let wanted = if json == json!({"$key": {"$match": "b"}}) {
            all.iter()
                .copied()
                .filter(|key| crate::words(key).contains(&"b".to_owned()))
                .collect()
        } else {
            wanted
        };
        let one = filter(json.clone())?;
        ensure_eq!(
            query(store, &items, Query::new(one.clone())).await?,
            wanted,
            "the items that {json} matches"
        );
        ensure_eq!(
            store.count(&items, &one).await?,
            wanted.len() as u64,
            "the count of {json}"
        );
    }
    Ok(())
}

async fn refused_filters(context: Context) -> Check {
    let (store, items) = (context.store(), context.collection("items")?);
    for text in [
        r#"{"a":{"$gtt":1}}"#,
        r#"{"a":{"$where":"1"}}"#,
        r#"{"$nor":[]}"#,
        r#"{"a":{"$regex":"x"}}"#,
        "[]",
        r#"{"a..b":1}"#,
    ] {
        super::case::refused(Filter::parse(text), crate::ErrorKind::Invalid, text)?;
    }
    // A query that is refused says so as the first item of its stream.
    let bad = Query::default().sort(crate::Sort::parse("$version")?);
    super::case::refused(
        query(store, &items, bad).await,
        crate::ErrorKind::Invalid,
        "a sort by $version",
    )?;
    let mut many = Query::default();
    for n in 0..9 {
        many = many.sort(crate::Sort::parse(&format!("a{n}"))?);
    }
    super::case::refused(
        query(store, &items, many).await,
        crate::ErrorKind::TooLarge,
        "a query with nine sorts",
    )?;
    Ok(())
}
