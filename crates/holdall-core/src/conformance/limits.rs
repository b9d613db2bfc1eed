//! Limits, at the limit and one past it.

use super::case::refused;
use super::helpers::{ANY, body, get, key, scan};
use super::{Case, Check, Context, Failure};
use crate::{
    Attrs, BackendExt, Batch, BatchLimits, Doc, ErrorKind, Filter, MAX_ATTRS, Parts, Put, Scan,
    Scope, byte_stream,
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "limits/declared",
            "The declared limits make sense: at least one operation, and room for an item.",
            declared,
        ),
        Case::new(
            "limits/operations",
            "A batch of as many operations as declared is written; one more is TooLarge and leaves nothing.",
            operations,
        ),
        Case::new(
            "limits/batch-bytes",
            "A batch of as many bytes as declared is written; one more is TooLarge and leaves nothing.",
            batch_bytes,
        ),
        Case::new(
            "limits/body",
            "A body of the declared size is kept; one byte more is TooLarge and leaves nothing.",
            largest_body,
        ),
        Case::new(
            "limits/attrs",
            "Attrs of 4 KiB are kept; what passes that is refused when it is set.",
            attrs,
        ),
    ]
}

/// What the suite is willing to write to try a limit.
const MOST: u64 = 80 * 1024 * 1024;

async fn declared(context: Context) -> Check {
    let can = context.can();
    let BatchLimits {
        max_ops, max_bytes, ..
    } = can.batch;
    ensure!(max_ops >= 1, "max_ops is {max_ops}");
    ensure!(
        can.max_doc <= crate::MAX_DOC && can.max_doc >= 1024,
        "max_doc is {}",
        can.max_doc
    );
    ensure!(max_bytes >= 1024, "max_bytes is {max_bytes}");
    ensure_eq!(
        context.store().capabilities(),
        can,
        "the capabilities when they are asked for again"
    );
    Ok(())
}

async fn operations(context: Context) -> Check {
    let (store, items) = (context.store(), context.collection("items")?);
    let most = context.can().batch.max_ops;
    let batch = |count: usize| -> Result<Batch, Failure> {
        let mut batch = Batch::new();
        for n in 0..count {
            batch = batch.put(&items, &key(&format!("k{n}"))?, ANY, Put::default());
        }
        Ok(batch)
    };
    if context.can().batch.scope == Scope::Item {
        refused(
            store.write(batch(most.max(1) + 1)?).await,
            ErrorKind::Unsupported,
            "a batch of several items",
        )?;
        return Ok(());
    }
    if most > 100_000 {
        return Ok(());
    }
    let past = batch(most + 1)?;
    let small = past.bytes() <= context.can().batch.max_bytes;
    let error = refused(
        store.write(past).await,
        ErrorKind::TooLarge,
        "a batch of one operation too many",
    )?;
    ensure!(
        !small || error.to_string().contains(&most.to_string()),
        "the error does not name the limit: {error}"
    );
    ensure_eq!(
        scan(store, &items, Scan::all()).await?.len(),
        0,
        "items after a batch of one operation too many"
    );
    let at = batch(most)?;
    if at.bytes() <= context.can().batch.max_bytes {
        ensure_eq!(
            store.write(at).await?.entries.len(),
            most,
            "entries of a batch of as many operations as declared"
        );
        ensure_eq!(
            store.count(&items, &Filter::all()).await?,
            most as u64,
            "items after it"
        );
    }
    Ok(())
}

async fn batch_bytes(context: Context) -> Check {
    let (store, items) = (context.store(), context.collection("items")?);
    let can = context.can();
    let most = can.batch.max_bytes;
    if most > MOST {
        return Ok(());
    }
    // Bodies of at most the declared size, as many as it takes; the last is
    // cut to fit.
    let piece = can.max_body.min(most / 2).min(16 * 1024 * 1024);
    let batch = |total: u64| -> Result<Option<Batch>, Failure> {
        let mut batch = Batch::new();
        for n in 0_u64.. {
            let name = key(&format!("k{n:08}"))?;
            let around =
                (items.as_str().len() + name.as_str().len() + Doc::empty().as_bytes().len()) as u64;
            let left = total - batch.bytes();
            if left == 0 {
                break;
            }
            let Some(room) = left.checked_sub(around) else {
                return Ok(None);
            };
            // Leaves room for one more item, or takes all.
            let size = if room <= piece {
                room
            } else {
                piece.min(room - 2 * around)
            };
            batch = batch.put(
                &items,
                &name,
                ANY,
                Put::bytes(vec![b'x'; usize::try_from(size).unwrap_or(0)]),
            );
        }
        Ok((batch.operations().len() <= can.batch.max_ops
            && (can.batch.scope > Scope::Item || batch.operations().len() == 1))
            .then_some(batch))
    };
    if let Some(past) = batch(most + 1)? {
        ensure_eq!(past.bytes(), most + 1, "the bytes of the batch");
        refused(
            store.write(past).await,
            ErrorKind::TooLarge,
            "a batch of one byte too many",
        )?;
        ensure_eq!(
            scan(store, &items, Scan::all().parts(Parts::ENTRY))
                .await?
                .len(),
            0,
            "items after a batch of one byte too many"
        );
    }
    if let Some(at) = batch(most)? {
        ensure_eq!(at.bytes(), most, "the bytes of the batch");
        store.write(at).await.map_err(|error| {
            Failure::from(error).during(format!("a batch of {most} bytes, the declared limit"))
        })?;
    }
    Ok(())
}

async fn largest_body(context: Context) -> Check {
    let (store, items) = (context.store(), context.collection("items")?);
    let most = context.can().max_body;
    if most > MOST {
        return Ok(());
    }
    let (a, size) = (key("a")?, usize::try_from(most).unwrap_or(usize::MAX));
    refused(
        store.stage(&items, byte_stream(vec![7; size + 1])).await,
        ErrorKind::TooLarge,
        "a body of one byte too many",
    )?;
    store
        .put_stream(&items, &a, ANY, Put::default(), byte_stream(vec![7; size]))
        .await?;
    ensure!(
        body(store, &items, &a)
            .await?
            .is_some_and(|body| body.len() == size),
        "the largest body came back as another"
    );
    let before = store.head(&items, &a).await?;
    if most < context.can().batch.max_bytes {
        refused(
            store
                .put(&items, &a, ANY, Put::bytes(vec![7; size + 1]))
                .await,
            ErrorKind::TooLarge,
            "a body in a batch of one byte too many",
        )?;
    }
    ensure_eq!(
        store.head(&items, &a).await?,
        before,
        "the item after a body past the limit"
    );
    Ok(())
}

async fn attrs(context: Context) -> Check {
    let (store, items) = (context.store(), context.collection("items")?);
    let a = key("a")?;
    let mut full = Attrs::default();
    // Three bytes around each slot, and one of its name.
    full.set("s", vec![7; MAX_ATTRS - 4])?;
    refused(
        full.clone().set("t", ""),
        ErrorKind::TooLarge,
        "a slot past the limit",
    )?;
    store
        .put(
            &items,
            &a,
            ANY,
            Put {
                attrs: full.clone(),
                ..Put::default()
            },
        )
        .await?;
    ensure_eq!(
        get(store, &items, &a).await?.map(|item| item.attrs),
        Some(full),
        "attrs of 4 KiB"
    );
    Ok(())
}
