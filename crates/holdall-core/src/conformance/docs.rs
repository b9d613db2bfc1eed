//! Docs are values that come back as they were put.

use super::case::refused;
use super::helpers::{ANY, key, put, query, value};
use super::{Case, Check, Context};
use crate::{
    BackendExt, Doc, ErrorKind, Filter, MAX_DEPTH, Path, Put, Query, Test, Value, equal, json,
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "docs/values",
            "A doc comes back as the value that was put: numbers at every edge, any text, any nesting.",
            values,
        ),
        Case::new(
            "docs/names",
            "Names of members may hold dots, dollars, quotes and marks, and queries find them by their escaped paths.",
            member_names,
        ),
        Case::new(
            "docs/largest",
            "A doc of the declared size is kept; a larger one is refused, and changes nothing.",
            largest,
        ),
    ]
}

/// Values that some way of storing them rounds, folds or escapes.
pub(super) fn hard_values() -> Vec<Value> {
    let mut values = vec![
        json!(null),
        json!(true),
        json!(false),
        json!(0),
        json!(-0.0),
        json!(1),
        json!(1.0),
        json!(-1),
        json!(0.1),
        json!(1.5),
        json!(-1.5),
        json!(i64::MIN),
        json!(i64::MIN + 1),
        json!(i64::MAX - 1),
        json!(i64::MAX),
        json!(i64::MAX as u64 + 1),
        json!(u64::MAX - 1),
        json!(u64::MAX),
        json!(9_007_199_254_740_991_i64),
        json!(9_007_199_254_740_992_i64),
        json!(9_007_199_254_740_993_i64),
        json!(-9_007_199_254_740_993_i64),
        json!(9_007_199_254_740_992.0),
        json!(9_223_372_036_854_775_808.0),
        json!(18_446_744_073_709_551_616.0),
        json!(-9_223_372_036_854_775_808.0),
        json!(f64::MAX),
        json!(f64::MIN),
        json!(f64::MIN_POSITIVE),
        json!(5e-324),
        json!(-5e-324),
        json!(1e-7),
        json!(1e21),
        json!(1e300),
        json!(0.1 + 0.2),
        json!(2.0_f64.powi(-1074)),
        json!(123_456_789.123_456_78),
        json!(1e22),
        json!(1e23),
        json!(""),
        json!(" "),
        json!("a"),
        json!("A"),
        json!("null"),
        json!("1"),
        json!("true"),
        json!("\""),
        json!("\\"),
        json!("/"),
        json!("\u{1}\u{1f}\u{7f}"),
        json!("\n\r\t"),
        json!("é"),
        json!("e\u{301}"),
        json!("ß"),
        json!("😀"),
        json!("\u{ffff}"),
        json!("\u{10ffff}"),
        json!("\u{2028}\u{2029}"),
        json!("\u{feff}x"),
        json!("'; drop table items; --"),
        json!("%"),
        json!("_"),
        json!("2026-11-21T09:10:58Z"),
        json!("x".repeat(5000)),
        json!([]),
        json!([[]]),
        json!([null]),
        json!([1, "1", 1.0, null, [1], {"a": 1}]),
        json!({}),
        json!({"": 1}),
        json!({"a": {"b": {"c": null}}}),
        json!({"$oid": "x"}),
        json!({"$date": 1}),
        json!({"$ne": null}),
        json!({"__proto__": 1, "constructor": 2}),
    ];
    let mut deep = json!(1);
    for level in 0..MAX_DEPTH - 2 {
        deep = if level % 2 == 0 {
            json!([deep])
        } else {
            json!({"d": deep})
        };
    }
    values.push(deep);
    values
}

async fn values(context: Context) -> Check {
    let (store, items) = (context.store(), context.collection("items")?);
    let values = hard_values();
    for (n, wanted) in values.iter().enumerate() {
        let name = key(&format!("k{n:03}"))?;
        put(store, &items, &name, json!({"v": wanted, "n": n})).await?;
        let found = value(store, &items, &name)
            .await?
            .and_then(|doc| doc.get("v").cloned());
        ensure!(
            found.as_ref().is_some_and(|found| equal(found, wanted)),
            "{wanted} came back as {found:?}"
        );
        // Not only equal: the text of a number keeps its digits.
        if let (Some(Value::Number(found)), Value::Number(wanted)) = (&found, wanted) {
            ensure!(
                found.as_f64() == wanted.as_f64()
                    && (found.as_i64() == wanted.as_i64() || wanted.is_f64()),
                "{wanted} came back as {found}"
            );
        }
    }
    // Each is found by its value, and what is equal to it with it.
    for wanted in &values {
        let filter = Filter::test("v".parse()?, Test::Eq(wanted.clone()))?;
        let keys: Vec<_> = values
            .iter()
            .enumerate()
            .filter(|(_, value)| equal(value, wanted))
            .map(|(n, _)| format!("k{n:03}"))
            .collect();
        ensure_eq!(
            query(store, &items, Query::new(filter)).await?,
            keys,
            "the items whose value equals {wanted}"
        );
    }
    Ok(())
}

async fn member_names(context: Context) -> Check {
    let (store, items) = (context.store(), context.collection("items")?);
    let names = [
        "a.b",
        ".",
        "..",
        "a.",
        ".a",
        "$key",
        "$",
        "$ne",
        "$doc",
        "$where",
        "a$b",
        "\"",
        "'",
        "`",
        "a b",
        " ",
        "\\",
        "\\.",
        "[0]",
        "0",
        "01",
        "-1",
        "*",
        "**",
        "@",
        "#",
        "?",
        "%",
        "a\"b",
        "a'b",
        "a[\"b\"]",
        "\n",
        "\u{1}",
        "é",
        "e\u{301}",
        "日本",
        "😀",
        "key",
        "_id",
        "id",
        "doc",
        "version",
        "A",
        "a",
        "x:desc",
        "a,b",
        "a/b",
        "~1",
        "'; drop table items; --",
    ];
    for (n, name) in names.iter().enumerate() {
        put(
            store,
            &items,
            &key(&format!("k{n:02}"))?,
            json!({*name: n, "outer": {*name: {"inner": n}}}),
        )
        .await?;
    }
    for (n, name) in names.iter().enumerate() {
        let wanted = [format!("k{n:02}")];
        for (path, test) in [
            (Path::member(*name), Test::Eq(json!(n))),
            (
                Path::Doc(vec!["outer".into(), (*name).into(), "inner".into()]),
                Test::Gte(json!(0)),
            ),
            (Path::member(*name), Test::Exists(true)),
        ] {
            // By way of the text, so that escaping is tried too.
            let path: Path = path.to_string().parse()?;
            if name.is_empty() {
                continue;
            }
            let mut found =
                query(store, &items, Query::new(Filter::test(path.clone(), test)?)).await?;
            if *name == "outer" {
                found.truncate(1);
            }
            ensure_eq!(found, wanted, "the items with something at {path}");
            let sorted = Query::default()
                .sort(crate::Sort::by(path.clone()))
                .limit(1);
            ensure_eq!(
                query(store, &items, sorted).await?,
                wanted,
                "the first item sorted by {path}"
            );
            let groups = store.count_by(&items, &Filter::all(), &path).await?;
            ensure_eq!(groups.len(), 2, "groups by {path}");
        }
        let index = crate::Index::on([Path::member(*name)]);
        store.define(&items, &[index]).await?;
        let found = query(
            store,
            &items,
            Query::new(Filter::test(Path::member(*name), Test::Eq(json!(n)))?),
        )
        .await?;
        ensure_eq!(
            found,
            wanted,
            "the items with {n} at {name:?}, with an index"
        );
    }
    Ok(())
}

async fn largest(context: Context) -> Check {
    let (store, items) = (context.store(), context.collection("items")?);
    let a = key("a")?;
    let most = context.can().max_doc;
    let sized = |size: usize| {
        Doc::parse(format!(
            "{{\"v\":\"{}\"}}",
            "x".repeat(size.saturating_sub(8))
        ))
    };
    if most as u64 + 200 < context.can().batch.max_bytes {
        store.put(&items, &a, ANY, Put::doc(sized(most)?)).await?;
        let found = value(store, &items, &a).await?;
        let found = found.and_then(|doc| Some(doc.get("v")?.as_str()?.len()));
        ensure_eq!(
            found,
            Some(most - 8),
            "the length of the text in the largest doc"
        );
        let searched = Filter::test("v".parse()?, Test::StartsWith("xx".into()))?;
        ensure_eq!(
            query(store, &items, Query::new(searched)).await?,
            ["a"],
            "items that a query over the largest doc finds"
        );
    }
    if most < crate::MAX_DOC {
        let before = store.head(&items, &a).await?;
        refused(
            store.put(&items, &a, ANY, Put::doc(sized(most + 1)?)).await,
            ErrorKind::TooLarge,
            "a doc one byte past the declared size",
        )?;
        ensure_eq!(
            store.head(&items, &a).await?,
            before,
            "the item after a doc past the limit"
        );
    }
    Ok(())
}
