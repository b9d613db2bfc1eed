//! Scans: items in key order.

use futures_util::TryStreamExt;

use super::background::Background;
use super::helpers::{key, put, scan};
use super::{Case, Check, Context, Failure};
use crate::{BackendExt, Condition, Item, Parts, Scan, json};

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "scan/every-form",
            "A scan answers the keys of its prefix, behind its start, in its direction, up to its limit, in the order of their bytes.",
            every_form,
        ),
        Case::new(
            "scan/parts",
            "A scan answers the parts that were asked for.",
            parts,
        ),
        Case::new(
            "scan/pages-while-others-write",
            "Pages neither repeat nor skip items that did not change meanwhile.",
            pages_while_others_write,
        ),
        Case::new(
            "scan/one-stream-while-others-write",
            "One stream over many items neither repeats nor skips those that did not change meanwhile.",
            one_stream_while_others_write,
        ),
    ]
}

async fn every_form(context: Context) -> Check {
    let (store, items) = (context.store(), context.collection("items")?);
    let mut keys: Vec<String> = [
        "a",
        "a/",
        "a/b",
        "a/b/c",
        "a0",
        "aa",
        "b",
        "é",
        "é1",
        "\u{ffff}",
        "\u{10000}",
        "\u{10ffff}",
        "\u{10ffff}z",
        "A",
        "~",
        " ",
        "a%",
        "a_",
        "doc.v",
        "doc.v2.txt",
    ]
    .map(String::from)
    .to_vec();
    keys.sort();
    context
        .fill(&items, keys.iter().map(|key| (key, json!({}))))
        .await?;
    let texts = [
        "",
        "a",
        "a/",
        "a/b",
        "aa",
        "b",
        "é",
        "\u{10ffff}",
        "zz",
        "doc.v",
        "%",
        "_",
        "\u{1}",
    ];
    for prefix in std::iter::once(None).chain(texts.iter().map(|text| Some((*text).to_owned()))) {
        for after in std::iter::once(None).chain(texts.iter().map(|text| Some((*text).to_owned())))
        {
            for reverse in [false, true] {
                for limit in [None, Some(0), Some(1), Some(3), Some(u64::MAX)] {
                    let asked = Scan {
                        prefix: prefix.clone(),
                        after: after.clone(),
                        reverse,
                        limit,
                        parts: Parts::ENTRY,
                    };
                    let mut wanted: Vec<_> = keys
                        .iter()
                        .filter(|key| key.starts_with(prefix.as_deref().unwrap_or_default()))
                        .filter(|key| {
                            after.as_ref().is_none_or(|after| {
                                if reverse { *key < after } else { *key > after }
                            })
                        })
                        .cloned()
                        .collect();
                    if reverse {
                        wanted.reverse();
                    }
                    wanted.truncate(limit.map_or(usize::MAX, |limit| {
                        usize::try_from(limit).unwrap_or(usize::MAX)
                    }));
                    ensure_eq!(
                        scan(store, &items, asked.clone()).await?,
                        wanted,
                        "{asked:?}"
                    );
                }
            }
        }
    }
    Ok(())
}

async fn parts(context: Context) -> Check {
    let (store, items) = (context.store(), context.collection("items")?);
    for (name, size) in [("a", 10), ("b", 100_000)] {
        let with = crate::Put::bytes(vec![b'x'; size]).with_doc(crate::Doc::parse(r#"{"n":1}"#)?);
        store.put(&items, &key(name)?, Condition::Any, with).await?;
    }
    for wanted in [Parts::ENTRY, Parts::DOC, Parts::BODY, Parts::ALL] {
        let scanned: Vec<Item> = store
            .scan(&items, Scan::all().parts(wanted))
            .try_collect()
            .await?;
        let queried: Vec<Item> = store
            .query(&items, crate::Query::default().parts(wanted))
            .try_collect()
            .await?;
        let sorted = crate::Query::default()
            .sort(crate::Sort::parse("n")?)
            .parts(wanted);
        let sorted: Vec<Item> = store.query(&items, sorted).try_collect().await?;
        for found in [scanned, queried, sorted] {
            ensure_eq!(found.len(), 2, "items");
            for item in found {
                ensure_eq!(
                    item.doc.is_some(),
                    wanted.doc,
                    "whether a doc came with {wanted:?}"
                );
                ensure_eq!(
                    item.body.is_some(),
                    wanted.body,
                    "whether a body came with {wanted:?}"
                );
                let size = item.entry.size;
                if let Some(body) = item.body {
                    ensure_eq!(
                        body.bytes(1 << 20).await?.len() as u64,
                        size,
                        "the length of a body that came with a stream"
                    );
                }
            }
        }
    }
    Ok(())
}

const STILL: usize = 400;

/// Items that stay, with room between them for others that come and go.
async fn still_items(
    context: &Context,
    items: &crate::CollectionName,
) -> Result<Vec<String>, Failure> {
    let keys: Vec<_> = (0..STILL).map(|n| format!("k{n:05}")).collect();
    context
        .fill(
            items,
            keys.iter().map(|key| (key, json!({"still": true, "n": 1}))),
        )
        .await?;
    Ok(keys)
}

/// Creates and deletes items everywhere between.
fn churn(context: &Context, items: &crate::CollectionName) -> Background {
    let (store, items) = (context.store().clone(), items.clone());
    Background::start(move |n| {
        let (store, items) = (store.clone(), items.clone());
        async move {
            let name = key(&format!("k{:05}+{}", n * 37 % STILL as u64, n % 3))?;
            if n.is_multiple_of(2) {
                put(&store, &items, &name, json!({"n": n % 2})).await?;
            } else {
                store.delete(&items, &name, Condition::Any).await?;
            }
            Ok(())
        }
    })
}

async fn pages_while_others_write(context: Context) -> Check {
    let (store, items) = (context.store().clone(), context.collection("items")?);
    let keys = still_items(&context, &items).await?;
    let writer = churn(&context, &items);
    for reverse in [false, true] {
        for page in [1_u64, 7, 64] {
            let mut found: Vec<String> = Vec::new();
            let mut after = None;
            loop {
                let asked = Scan {
                    after: after.clone(),
                    reverse,
                    limit: Some(page),
                    parts: Parts::ENTRY,
                    ..Scan::all()
                };
                let got = scan(&store, &items, asked).await?;
                tokio::task::yield_now().await;
                after = got.last().cloned();
                if after.is_none() {
                    break;
                }
                found.extend(got);
                // Of each item that stays there are three that come and go.
                ensure!(
                    found.len() <= 5 * STILL,
                    "pages of {page} repeat items without end"
                );
            }
            check_still(found, &keys, reverse, &format!("pages of {page}"))?;
        }
    }
    // The same by the cursors of a sorted query: all still items tie.
    for sort in ["n", "n:desc", "still:desc"] {
        let mut found = Vec::new();
        let filter = super::helpers::filter(json!({"still": true}))?;
        let mut query = crate::Query::new(filter)
            .sort(crate::Sort::parse(sort)?)
            .limit(37);
        loop {
            let page = store.page(&items, query.clone()).await?;
            tokio::task::yield_now().await;
            found.extend(super::helpers::names(&page.items));
            let Some(next) = page.next else { break };
            query.after = Some(next);
        }
        check_still(
            found,
            &keys,
            sort.ends_with("desc"),
            &format!("pages sorted by {sort}"),
        )?;
    }
    writer.end().await
}

async fn one_stream_while_others_write(context: Context) -> Check {
    let (store, items) = (context.store().clone(), context.collection("items")?);
    let keys = still_items(&context, &items).await?;
    let writer = churn(&context, &items);
    for reverse in [false, true] {
        let mut stream = store.scan(
            &items,
            Scan {
                reverse,
                ..Scan::all()
            },
        );
        let mut found = Vec::new();
        while let Some(item) = stream.try_next().await? {
            found.push(item.key.as_str().to_owned());
            tokio::task::yield_now().await;
        }
        check_still(found, &keys, reverse, "one scan")?;
    }
    writer.end().await
}

fn check_still(found: Vec<String>, keys: &[String], reverse: bool, what: &str) -> Check {
    let mut found: Vec<_> = found.into_iter().filter(|key| !key.contains('+')).collect();
    if reverse {
        found.reverse();
    }
    let missing: Vec<_> = keys.iter().filter(|key| !found.contains(key)).collect();
    ensure!(
        missing.is_empty(),
        "{what}, reverse {reverse}: items that did not change were skipped: {missing:?}"
    );
    ensure_eq!(
        found.len(),
        keys.len(),
        "{what}, reverse {reverse}: how many of the items that did not change were told"
    );
    Ok(())
}
