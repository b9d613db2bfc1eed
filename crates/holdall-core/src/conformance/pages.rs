//! Pages of queries, and counts.

use super::case::refused;
use super::helpers::{filter, names, put, query};
use super::sorts::{hard, sort};
use super::{Case, Check, Context, Failure};
use crate::{BackendExt, Cursor, ErrorKind, Filter, Group, Index, Query, Value, json};

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "pages/by-cursor",
            "Pages by cursor neither repeat nor skip, for any order and size, and behind an item that is gone.",
            by_cursor,
        ),
        Case::new(
            "pages/by-offset",
            "Offset leaves out that many items, and limit ends the answer.",
            by_offset,
        ),
        Case::new(
            "pages/wrong-cursor",
            "A cursor of another filter or order, a damaged one, or one beside an offset is Invalid.",
            wrong_cursor,
        ),
        Case::new(
            "counts/grouped",
            "Grouped counts are by value, in the order of values, equal numbers as one, missing last.",
            grouped,
        ),
    ]
}

async fn by_cursor(context: Context) -> Check {
    let (items, all) = hard(&context).await?;
    let store = context.store();
    for indexed in [false, true] {
        if indexed {
            let indexes = [Index::parse(&["v"])?, Index::parse(&["$key"])?];
            store.define(&items, &indexes).await?;
        }
        for sorts in [
            vec![],
            vec!["v"],
            vec!["v:desc"],
            vec!["v:asc:first"],
            vec!["v:desc:first"],
            vec!["w", "v:desc"],
            vec!["$size:desc", "v"],
            vec!["$key"],
            vec!["$key:desc:first"],
        ] {
            let mut asked = Query::new(filter(json!({"v": {"$ne": "A"}}))?);
            asked.sort = sorts
                .iter()
                .map(|text| sort(text))
                .collect::<Result<_, _>>()?;
            let whole = query(store, &items, asked.clone()).await?;
            ensure_eq!(whole.len(), all.len() - 1, "items sorted by {sorts:?}");
            for size in [1_u64, 4, 50, 1000] {
                let mut paged = asked.clone().limit(size).parts(crate::Parts::ENTRY);
                let mut found = Vec::new();
                loop {
                    let page = store.page(&items, paged.clone()).await?;
                    ensure!(
                        page.items.len() as u64 <= size,
                        "a page of {size} has {} items",
                        page.items.len()
                    );
                    ensure!(
                        page.items.iter().all(|item| item.doc.is_none()),
                        "a page of entries has docs"
                    );
                    found.extend(names(&page.items));
                    let Some(next) = page.next else { break };
                    // By way of the text, as it travels.
                    paged.after = Some(Cursor::parse(&next.to_string())?);
                    ensure!(
                        found.len() <= whole.len(),
                        "pages of {size} sorted by {sorts:?} repeat items"
                    );
                }
                ensure_eq!(
                    found,
                    whole,
                    "all pages of {size}, sorted by {sorts:?}, indexed: {indexed}"
                );
            }
        }
    }
    // Behind an item that is gone, and one that is turned into another.
    for text in ["v", "v:desc"] {
        let asked = Query::default().sort(sort(text)?).limit(20);
        let whole = query(store, &items, Query::default().sort(sort(text)?)).await?;
        let page = store.page(&items, asked.clone()).await?;
        let (Some(last), Some(next)) = (page.items.last(), page.next) else {
            return Err(Failure::here("a first page has no next"));
        };
        store
            .delete(&items, &last.key, crate::Condition::Any)
            .await?;
        let rest: Vec<_> = whole.iter().skip(20).cloned().collect();
        let behind = query(
            store,
            &items,
            Query::default().sort(sort(text)?).after(next.clone()),
        )
        .await?;
        ensure_eq!(
            behind,
            rest,
            "the items behind one that was deleted, sorted by {text}"
        );
        put(store, &items, &last.key, json!({})).await?;
        let behind = query(
            store,
            &items,
            Query::default().sort(sort(text)?).after(next),
        )
        .await?;
        ensure_eq!(
            behind
                .iter()
                .filter(|name| **name != last.key.as_str())
                .count(),
            rest.len(),
            "the other items behind one that moved, sorted by {text}"
        );
    }
    Ok(())
}

async fn by_offset(context: Context) -> Check {
    let (store, items) = (context.store(), context.collection("items")?);
    context
        .fill(
            &items,
            (0..30).map(|n| (format!("k{n:02}"), json!({"n": 29 - n, "even": n % 2 == 0}))),
        )
        .await?;
    for text in [None, Some("n"), Some("n:desc"), Some("even")] {
        let mut asked = Query::new(filter(json!({"n": {"$lt": 25}}))?);
        asked.sort = text.map(sort).transpose()?.into_iter().collect();
        let whole = query(store, &items, asked.clone()).await?;
        for offset in [0, 1, 7, 24, 25, 26, 1000, u64::MAX] {
            for limit in [None, Some(0), Some(1), Some(10), Some(100), Some(u64::MAX)] {
                let mut part = asked.clone().offset(offset);
                part.limit = limit;
                let at = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
                let wanted: Vec<_> = whole
                    .iter()
                    .skip(at(offset))
                    .take(limit.map_or(usize::MAX, at))
                    .cloned()
                    .collect();
                ensure_eq!(
                    query(store, &items, part).await?,
                    wanted,
                    "offset {offset}, limit {limit:?}, sorted by {text:?}"
                );
            }
        }
    }
    Ok(())
}

async fn wrong_cursor(context: Context) -> Check {
    let (store, items) = (context.store(), context.collection("items")?);
    context
        .fill(&items, (0..5).map(|n| (format!("k{n}"), json!({"n": n}))))
        .await?;
    let asked = Query::new(filter(json!({"n": {"$gte": 0}}))?)
        .sort(sort("n")?)
        .limit(2);
    let Some(cursor) = store.page(&items, asked.clone()).await?.next else {
        return Err(Failure::here("a first page has no next"));
    };
    let elsewhere = [
        (
            "another filter",
            Query::new(filter(json!({"n": {"$gte": 1}}))?).sort(sort("n")?),
        ),
        (
            "another order",
            Query::new(asked.filter.clone()).sort(sort("n:desc")?),
        ),
        ("no order", Query::new(asked.filter.clone())),
        ("an offset beside it", asked.clone().offset(1)),
    ];
    for (what, other) in elsewhere {
        let answer = query(store, &items, other.after(cursor.clone())).await;
        refused(answer, ErrorKind::Invalid, &format!("a cursor with {what}"))?;
    }
    let text = cursor.to_string();
    for damaged in [
        "",
        "x",
        text.get(1..).unwrap_or_default(),
        &format!("{text}A"),
    ] {
        refused(
            Cursor::parse(damaged),
            ErrorKind::Invalid,
            "a damaged cursor",
        )?;
    }
    ensure_eq!(
        query(store, &items, asked.after(cursor)).await?,
        ["k2", "k3"],
        "the second page"
    );
    Ok(())
}

async fn grouped(context: Context) -> Check {
    let (store, items) = (context.store(), context.collection("items")?);
    let values = [
        json!(1),
        json!(1.0),
        json!("1"),
        json!(null),
        json!(true),
        json!("a"),
        json!("A"),
        json!([1]),
        json!([1.0]),
        json!({"x": 1}),
        json!(0),
        json!(-0.0),
        json!(u64::MAX),
        json!(1.5),
    ];
    let docs = values
        .iter()
        .map(|value| json!({"v": value, "w": {"x": value}}))
        .chain([json!({}), json!({})]);
    context
        .fill(
            &items,
            docs.enumerate().map(|(n, doc)| (format!("k{n}"), doc)),
        )
        .await?;
    let wanted: Vec<(Option<Value>, u64)> = vec![
        (Some(json!(null)), 1),
        (Some(json!(true)), 1),
        (Some(json!(0)), 2),
        (Some(json!(1)), 2),
        (Some(json!(1.5)), 1),
        (Some(json!(u64::MAX)), 1),
        (Some(json!("1")), 1),
        (Some(json!("A")), 1),
        (Some(json!("a")), 1),
        (Some(json!([1])), 2),
        (Some(json!({"x": 1})), 1),
        (None, 2),
    ];
    let wanted: Vec<_> = wanted
        .into_iter()
        .map(|(value, count)| Group { value, count })
        .collect();
    for indexed in [false, true] {
        if indexed {
            store.define(&items, &[Index::parse(&["v"])?]).await?;
        }
        for path in ["v", "w.x"] {
            let found = store
                .count_by(&items, &Filter::all(), &path.parse()?)
                .await?;
            ensure_eq!(found, wanted, "the groups by {path}, indexed: {indexed}");
        }
        let found = store
            .count_by(&items, &filter(json!({"v": {"$gt": "1"}}))?, &"v".parse()?)
            .await?;
        ensure_eq!(
            found.iter().map(|group| group.count).collect::<Vec<_>>(),
            [1, 1],
            "the groups that a filter leaves"
        );
    }
    let keys = store
        .count_by(&items, &Filter::all(), &"$key".parse()?)
        .await?;
    ensure_eq!(keys.len(), values.len() + 2, "groups by $key");
    let sizes = store
        .count_by(&items, &Filter::all(), &"$size".parse()?)
        .await?;
    ensure_eq!(
        sizes,
        [Group {
            value: Some(json!(0)),
            count: values.len() as u64 + 2
        }],
        "groups by $size"
    );
    Ok(())
}
