//! Entries: what a backend says of its items.

use super::case::refused;
use super::helpers::{ANY, body, doc, get, key, put};
use super::{Case, Check, Context, Failure, Need};
use crate::{BackendExt, Batch, ByteRange, Digest, ErrorKind, GetOptions, Key, Parts, Put, json};

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "entries/version-is-the-batch-id",
            "The version of an item is the id of the batch that put it, in gets, scans and queries.",
            version_is_the_batch_id,
        ),
        Case::new(
            "entries/created-and-modified",
            "An overwrite keeps `created` and moves `modified`; delete and create start anew.",
            created_and_modified,
        )
        .needs(Need::Clock),
        Case::new(
            "entries/size-and-digest",
            "Size and BLAKE3 digest are those of the body; an item without a body has no digest, one with an empty body has that of nothing.",
            size_and_digest,
        ),
        Case::new(
            "entries/body-none-or-empty",
            "No body and an empty body are two things.",
            body_none_or_empty,
        ),
        Case::new(
            "entries/id-is-used-once",
            "The id of a batch is used once: a second batch with it is refused, whatever it holds, and changes nothing.",
            id_is_used_once,
        )
        .needs(Need::Scope(crate::Scope::Store)),
        Case::new(
            "entries/ranges",
            "A range of a body answers exactly its bytes, in every form; one that does not lie in the body is Invalid.",
            ranges,
        ),
        Case::new(
            "entries/get-many",
            "get_many answers in the order of the keys, nothing for those that are absent, and the parts that were asked for.",
            get_many,
        ),
        Case::new(
            "entries/attrs",
            "Attrs come back as they were put, and go with the item that they were put with.",
            attrs,
        ),
    ]
}

async fn version_is_the_batch_id(context: Context) -> Check {
    let (store, items) = (context.store(), context.collection("items")?);
    let a = key("a")?;
    let id = context.env().version();
    let written = store
        .write(Batch::with_id(id).put(&items, &a, ANY, Put::bytes("x")))
        .await?;
    ensure_eq!(written.id, id, "the id that the write answers");
    ensure_eq!(
        store.head(&items, &a).await?.map(|entry| entry.version),
        Some(id),
        "the version in a get"
    );
    let scanned = super::helpers::snapshot(store, &items).await?;
    ensure_eq!(
        scanned.first().map(|(_, entry, _)| entry.version),
        Some(id),
        "the version in a scan"
    );
    let by_version = crate::Filter::eq("$version", id.to_string())?;
    let found = super::helpers::query(store, &items, crate::Query::new(by_version)).await?;
    ensure_eq!(found, ["a"], "the items that a query by $version finds");
    let chosen = store
        .write(Batch::new().put(&items, &a, ANY, Put::bytes("x")))
        .await?;
    ensure!(chosen.id != id, "the backend chose an id that was used");
    ensure_eq!(
        store.head(&items, &a).await?.map(|entry| entry.version),
        Some(chosen.id),
        "the version after a batch whose id the backend chose"
    );
    Ok(())
}

async fn created_and_modified(context: Context) -> Check {
    let (store, clock, env) = context.open_with_clock().await?;
    let items = crate::CollectionName::new("items")?;
    let a = key("a")?;
    let start = env.now();
    let first = put(&store, &items, &a, json!({})).await?;
    ensure_eq!(
        (first.created, first.modified),
        (start, start),
        "the times of a first put"
    );
    clock.advance(std::time::Duration::from_micros(1));
    let second = put(&store, &items, &a, json!({})).await?;
    ensure_eq!(
        (second.created, second.modified),
        (start, env.now()),
        "the times of an overwrite a microsecond later"
    );
    ensure_eq!(
        store.head(&items, &a).await?,
        Some(second),
        "the entry that a get answers"
    );
    clock.advance(std::time::Duration::from_secs(1));
    store.delete(&items, &a, ANY).await?;
    let third = put(&store, &items, &a, json!({})).await?;
    ensure_eq!(
        (third.created, third.modified),
        (env.now(), env.now()),
        "the times after delete and create"
    );
    store.close().await?;
    Ok(())
}

async fn size_and_digest(context: Context) -> Check {
    let (store, items) = (context.store(), context.collection("items")?);
    let a = key("a")?;
    for size in [
        0_usize, 1, 1023, 1024, 1025, 4096, 65_535, 65_536, 65_537, 300_000,
    ] {
        if size as u64
            > context
                .can()
                .max_body
                .min(context.can().batch.max_bytes / 2)
        {
            continue;
        }
        let bytes: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
        let entry = store
            .put(&items, &a, ANY, Put::bytes(bytes.clone()))
            .await?;
        ensure_eq!(
            entry.size,
            size as u64,
            "the size of a body of {size} bytes"
        );
        ensure_eq!(
            entry.digest,
            Some(Digest::of(&bytes)),
            "the digest of a body of {size} bytes"
        );
        ensure_eq!(
            store.head(&items, &a).await?,
            Some(entry),
            "the entry of a body of {size} bytes"
        );
        ensure!(
            body(store, &items, &a)
                .await?
                .is_some_and(|found| found == bytes),
            "a body of {size} bytes came back as another"
        );
    }
    let entry = put(store, &items, &a, json!({})).await?;
    ensure_eq!(
        (entry.size, entry.digest),
        (0, None),
        "size and digest of an item without a body"
    );
    Ok(())
}

async fn body_none_or_empty(context: Context) -> Check {
    let (store, items) = (context.store(), context.collection("items")?);
    let (none, empty) = (key("none")?, key("empty")?);
    put(store, &items, &none, json!({})).await?;
    let entry = store.put(&items, &empty, ANY, Put::bytes("")).await?;
    ensure_eq!(
        (entry.size, entry.digest),
        (0, Some(Digest::of(b""))),
        "size and digest of an empty body"
    );
    ensure_eq!(
        body(store, &items, &none).await?,
        None,
        "the body of an item without one"
    );
    ensure_eq!(
        body(store, &items, &empty).await?,
        Some(bytes::Bytes::new()),
        "the body of an item with an empty one"
    );
    let staged = store
        .put_stream(&items, &empty, ANY, Put::default(), crate::byte_stream(""))
        .await?;
    ensure_eq!(
        staged.digest,
        Some(Digest::of(b"")),
        "the digest of an empty body that was staged"
    );
    ensure_eq!(
        body(store, &items, &empty).await?,
        Some(bytes::Bytes::new()),
        "an empty body that was staged"
    );
    Ok(())
}

async fn id_is_used_once(context: Context) -> Check {
    let (store, items) = (context.store(), context.collection("items")?);
    let (a, b) = (key("a")?, key("b")?);
    let id = context.env().version();
    store
        .write(Batch::with_id(id).put(&items, &a, ANY, doc(json!({"n": 1}))?))
        .await?;
    for batch in [
        Batch::with_id(id).put(&items, &a, ANY, doc(json!({"n": 1}))?),
        Batch::with_id(id).put(&items, &b, ANY, doc(json!({"n": 2}))?),
        Batch::with_id(id).delete(&items, &a, ANY),
    ] {
        refused(
            store.write(batch).await,
            ErrorKind::Conflict,
            "a batch whose id was used",
        )?;
    }
    ensure!(
        get(store, &items, &a).await?.is_some() && get(store, &items, &b).await?.is_none(),
        "a batch whose id was used changed something"
    );
    store.delete(&items, &a, ANY).await?;
    let again = Batch::with_id(id).put(&items, &a, ANY, doc(json!({"n": 1}))?);
    refused(
        store.write(again).await,
        ErrorKind::Conflict,
        "a batch whose id was used for an item that is gone",
    )?;
    Ok(())
}

async fn ranges(context: Context) -> Check {
    use ByteRange::{Bounded, From, Last};
    let (store, items) = (context.store(), context.collection("items")?);
    let a = key("a")?;
    let most = context
        .can()
        .max_body
        .min(context.can().batch.max_bytes / 2);
    for size in [0_u64, 10, 70_000, 600_000] {
        if size > most {
            continue;
        }
        let bytes: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
        store
            .put(&items, &a, ANY, Put::bytes(bytes.clone()))
            .await?;
        let middle = size / 2;
        let edges = [
            0,
            1,
            middle,
            size.saturating_sub(1),
            size,
            size + 1,
            u64::MAX,
        ];
        let mut asked: Vec<ByteRange> = edges
            .iter()
            .flat_map(|edge| [From(*edge), Last(*edge)])
            .collect();
        asked.extend(
            edges
                .iter()
                .flat_map(|start| edges.iter().map(|end| Bounded(*start, *end))),
        );
        for range in asked {
            let answer = store.get(&items, &a, GetOptions::range(range)).await;
            let wanted = match range.resolve(size) {
                Ok(wanted) => wanted,
                Err(_) => {
                    refused(
                        answer,
                        ErrorKind::Invalid,
                        &format!("{range:?} of {size} bytes"),
                    )?;
                    continue;
                }
            };
            let Some(found) = answer.map_err(|error| {
                Failure::from(error).during(format!("{range:?} of {size} bytes"))
            })?
            else {
                return Err(Failure::here(format!(
                    "{range:?} of {size} bytes was answered as absent"
                )));
            };
            ensure_eq!(
                found.entry.size,
                size,
                "the entry's size with {range:?}: it is that of the whole body"
            );
            let found = found.into_body()?;
            ensure_eq!(
                found.range(),
                wanted,
                "the range that the body says it is, for {range:?} of {size}"
            );
            let found = found.bytes(1 << 20).await?;
            let cut = bytes
                .iter()
                .skip(usize::try_from(wanted.start).unwrap_or(usize::MAX))
                .take(found.len());
            ensure!(
                found.len() as u64 == wanted.end - wanted.start && found.iter().eq(cut),
                "{range:?} of {size} bytes answered other bytes"
            );
        }
    }
    Ok(())
}

async fn get_many(context: Context) -> Check {
    let (store, items) = (context.store(), context.collection("items")?);
    context
        .fill(&items, (0..30).map(|n| (format!("k{n}"), json!({"n": n}))))
        .await?;
    let asked: Vec<Key> = ["k3", "none", "k29", "k0", "K0", "k11", "k3"]
        .iter()
        .map(|text| key(text))
        .collect::<Result<_, _>>()?;
    let found = store.get_many(&items, &asked, Parts::DOC).await?;
    let numbers: Vec<_> = found
        .iter()
        .map(|item| {
            item.as_ref()
                .map(|item| Ok::<_, crate::Error>(item.doc()?.value()?.get("n").cloned()))
                .transpose()
        })
        .collect::<Result<_, _>>()?;
    let wanted: Vec<_> = [Some(3), None, Some(29), Some(0), None, Some(11), Some(3)]
        .into_iter()
        .map(|n| n.map(|n| Some(json!(n))))
        .collect();
    ensure_eq!(numbers, wanted, "the docs that get_many answers");
    for (item, asked) in found.iter().zip(&asked) {
        ensure!(
            item.as_ref().is_none_or(|item| item.key == *asked),
            "get_many answered {item:?} for {asked:?}"
        );
    }
    let entries = store.get_many(&items, &asked, Parts::ENTRY).await?;
    ensure!(
        entries
            .iter()
            .flatten()
            .all(|item| item.doc.is_none() && item.body.is_none()),
        "get_many of entries answered more"
    );
    ensure_eq!(
        store.get_many(&items, &[], Parts::ALL).await?.len(),
        0,
        "items that get_many answers for no keys"
    );
    let many: Vec<Key> = (0..2500)
        .map(|n| key(&format!("k{}", n % 40)))
        .collect::<Result<_, _>>()?;
    let found = store.get_many(&items, &many, Parts::ENTRY).await?;
    ensure_eq!(
        found.iter().flatten().count(),
        (0..2500).filter(|n| n % 40 < 30).count(),
        "items that get_many finds among 2,500 keys"
    );
    Ok(())
}

async fn attrs(context: Context) -> Check {
    let (store, items) = (context.store(), context.collection("items")?);
    let a = key("a")?;
    let mut with = doc(json!({}))?;
    with.attrs.set("one", vec![0, 255, 10])?;
    with.attrs.set("two", "")?;
    let wanted = with.attrs.clone();
    store.put(&items, &a, ANY, with).await?;
    let found = get(store, &items, &a).await?.map(|item| item.attrs);
    ensure_eq!(found, Some(wanted.clone()), "the attrs in a get");
    let scanned: Vec<_> =
        futures_util::TryStreamExt::try_collect(store.scan(&items, crate::Scan::all())).await?;
    let scanned: Vec<_> = scanned
        .into_iter()
        .map(|item: crate::Item| item.attrs)
        .collect();
    ensure_eq!(scanned, [wanted], "the attrs in a scan");
    put(store, &items, &a, json!({})).await?;
    let found = get(store, &items, &a)
        .await?
        .map(|item| item.attrs.is_empty());
    ensure_eq!(
        found,
        Some(true),
        "whether an item put without attrs has none"
    );
    Ok(())
}
