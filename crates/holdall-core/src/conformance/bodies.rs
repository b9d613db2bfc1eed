//! Bodies that are taken in before the batch that uses them.

use bytes::Bytes;
use futures_util::{StreamExt, stream};

use super::case::refused;
use super::helpers::{ANY, body, get, key, put};
use super::{Case, Check, Context, Failure, Need};
use crate::{
    BackendExt, Batch, ByteStream, CollectionName, Condition, Conditions, Digest, Error, ErrorKind,
    GetOptions, Put, Scope, Staged, byte_stream, json,
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new("bodies/staged-is-invisible", "A staged body is seen by nobody before its batch is written.", staged_is_invisible),
        Case::new("bodies/used-once", "A staged body can be used by one batch, and in one place of it.", used_once),
        Case::new("bodies/belongs-to-its-collection", "A staged body belongs to the collection that it was staged for.", belongs_to_its_collection),
        Case::new("bodies/refused-batch-leaves-it", "A batch that was refused leaves its staged bodies for the next.", refused_batch_leaves_it).needs(Need::Conditions(Conditions::CreateOnly)),
        Case::new("bodies/forged", "A staged body that differs from what was staged, or never was, is Expired and changes nothing.", forged),
        Case::new("bodies/lease-ends", "A staged body whose lease ended is Expired, and the batch leaves nothing.", lease_ends).needs(Need::Clock),
        Case::new("bodies/stream-fails", "A stream that fails stages nothing, and its error comes back.", stream_fails),
        Case::new("bodies/several-in-a-batch", "A batch can use several staged bodies beside small ones.", several_in_a_batch).needs(Need::Scope(Scope::Collection)).needs(Need::Operations(4)),
        Case::new("bodies/large-in-odd-pieces", "A large body in pieces of any size, empty ones too, comes back byte for byte.", large_in_odd_pieces).needs(Need::Body(5 << 20)),
        Case::new("bodies/old-version-stays-readable", "A body that is read while its item is overwritten or deleted is read to its end, or fails with Conflict: it never mixes versions.", old_version_stays_readable).needs(Need::Body(3 << 20)),
        Case::new("bodies/slow-stream-blocks-nobody", "A body that comes in slowly holds up no other write.", slow_stream_blocks_nobody),
    ]
}

/// Bytes that are not alike anywhere near each other.
fn pattern(size: usize, seed: u64) -> Bytes {
    let mut out = Vec::with_capacity(size + 32);
    let mut state = seed;
    while out.len() < size {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        out.extend_from_slice(&(state >> 11).to_le_bytes());
    }
    out.truncate(size);
    out.into()
}

/// A stream of the same bytes in pieces of changing sizes.
fn odd_pieces(bytes: &Bytes) -> ByteStream {
    let sizes = [1, 0, 4095, 65_537, 7, 262_144, 0, 1_000_003];
    let mut rest = bytes.clone();
    let mut pieces = Vec::new();
    for size in sizes.into_iter().cycle() {
        if rest.is_empty() {
            break;
        }
        pieces.push(Ok(rest.split_to(size.min(rest.len()))));
    }
    stream::iter(pieces).boxed()
}

async fn staged_is_invisible(context: Context) -> Check {
    let (store, items) = (context.store(), context.collection("items")?);
    let bytes = pattern(100_000, 1);
    let staged = store.stage(&items, byte_stream(bytes.clone())).await?;
    ensure_eq!(
        (staged.size, staged.digest),
        (bytes.len() as u64, Digest::of(&bytes)),
        "size and digest that stage answers"
    );
    let seen = super::helpers::scan(store, &items, crate::Scan::all()).await?;
    ensure_eq!(seen.len(), 0, "items that a scan sees after a stage");
    let listed = store.collections().await?;
    ensure!(
        !listed.contains(&items),
        "a staged body alone makes a collection"
    );
    let a = key("a")?;
    let entry = store.put(&items, &a, ANY, Put::staged(staged)).await?;
    ensure_eq!(
        (entry.size, entry.digest),
        (bytes.len() as u64, Some(Digest::of(&bytes))),
        "size and digest of the item"
    );
    ensure!(
        body(store, &items, &a).await? == Some(bytes),
        "a staged body came back as another"
    );
    Ok(())
}

async fn used_once(context: Context) -> Check {
    let (store, items) = (context.store(), context.collection("items")?);
    let (a, b) = (key("a")?, key("b")?);
    let staged = store.stage(&items, byte_stream("once")).await?;
    if context.can().batch.scope >= Scope::Collection && context.can().batch.max_ops >= 2 {
        let twice = Batch::new()
            .put(&items, &a, ANY, Put::staged(staged.clone()))
            .put(&items, &b, ANY, Put::staged(staged.clone()));
        refused(
            store.write(twice).await,
            ErrorKind::Expired,
            "a batch that uses a staged body twice",
        )?;
        ensure!(
            get(store, &items, &a).await?.is_none(),
            "a batch that used a staged body twice left an item"
        );
    }
    store
        .put(&items, &a, ANY, Put::staged(staged.clone()))
        .await?;
    refused(
        store.put(&items, &b, ANY, Put::staged(staged)).await,
        ErrorKind::Expired,
        "a second use of a staged body",
    )?;
    ensure!(
        get(store, &items, &b).await?.is_none(),
        "a second use of a staged body left an item"
    );
    ensure_eq!(
        body(store, &items, &a).await?.as_deref(),
        Some(&b"once"[..]),
        "the body after its second use was refused"
    );
    Ok(())
}

async fn belongs_to_its_collection(context: Context) -> Check {
    let (store, here, there) = (
        context.store(),
        context.collection("here")?,
        context.collection("there")?,
    );
    let a = key("a")?;
    let staged = store.stage(&here, byte_stream("mine")).await?;
    refused(
        store
            .put(&there, &a, ANY, Put::staged(staged.clone()))
            .await,
        ErrorKind::Expired,
        "a staged body of another collection",
    )?;
    ensure!(
        get(store, &there, &a).await?.is_none(),
        "a staged body of another collection left an item"
    );
    store.put(&here, &a, ANY, Put::staged(staged)).await?;
    Ok(())
}

async fn refused_batch_leaves_it(context: Context) -> Check {
    let (store, items) = (context.store(), context.collection("items")?);
    let (a, b) = (key("a")?, key("b")?);
    put(store, &items, &a, json!({})).await?;
    let bytes = pattern(80_000, 2);
    let staged = store.stage(&items, byte_stream(bytes.clone())).await?;
    refused(
        store
            .put(&items, &a, Condition::Absent, Put::staged(staged.clone()))
            .await,
        ErrorKind::Conflict,
        "a create of what is there",
    )?;
    store
        .put(&items, &b, Condition::Absent, Put::staged(staged))
        .await?;
    ensure!(
        body(store, &items, &b).await? == Some(bytes),
        "a staged body that a refused batch left came back as another"
    );
    Ok(())
}

async fn forged(context: Context) -> Check {
    let (store, items) = (context.store(), context.collection("items")?);
    let a = key("a")?;
    let staged = store.stage(&items, byte_stream("true")).await?;
    let forgeries = [
        Staged {
            id: context.env().version(),
            ..staged.clone()
        },
        Staged {
            size: 5,
            ..staged.clone()
        },
        Staged {
            digest: Digest::of(b"false"),
            ..staged.clone()
        },
    ];
    for forged in forgeries {
        refused(
            store.put(&items, &a, ANY, Put::staged(forged)).await,
            ErrorKind::Expired,
            "a staged body that is not as it was staged",
        )?;
        ensure!(
            get(store, &items, &a).await?.is_none(),
            "a forged staged body left an item"
        );
    }
    store.put(&items, &a, ANY, Put::staged(staged)).await?;
    Ok(())
}

async fn lease_ends(context: Context) -> Check {
    let (store, clock, env) = context.open_with_clock().await?;
    let items = CollectionName::new("items")?;
    let a = key("a")?;
    let kept = store.stage(&items, byte_stream("kept")).await?;
    let late = store.stage(&items, byte_stream("late")).await?;
    let lease = late
        .expires
        .as_micros()
        .saturating_sub(env.now().as_micros());
    ensure!(
        lease > 0,
        "a lease of {lease} microseconds has ended when it begins"
    );
    let lease = std::time::Duration::from_micros(lease.unsigned_abs());
    clock.advance(lease.saturating_sub(std::time::Duration::from_micros(1)));
    store
        .put(&items, &a, ANY, Put::staged(kept))
        .await
        .map_err(|error| {
            Failure::from(error).during("a staged body used a microsecond before its lease ends")
        })?;
    clock.advance(std::time::Duration::from_micros(1));
    let b = key("b")?;
    refused(
        store.put(&items, &b, ANY, Put::staged(late)).await,
        ErrorKind::Expired,
        "a staged body whose lease ended",
    )?;
    ensure!(
        get(&store, &items, &b).await?.is_none(),
        "a staged body whose lease ended left an item"
    );
    ensure_eq!(
        body(&store, &items, &a).await?.as_deref(),
        Some(&b"kept"[..]),
        "a body in use, after the lease that it had ended"
    );
    store.close().await?;
    Ok(())
}

async fn stream_fails(context: Context) -> Check {
    let (store, items) = (context.store(), context.collection("items")?);
    for pieces in [0, 1, 40] {
        let good = (0..pieces).map(|n| Ok(pattern(30_000, n)));
        let stream = stream::iter(good.chain([Err(Error::denied("the source was taken away"))]));
        let error = refused(
            store.stage(&items, stream.boxed()).await,
            ErrorKind::Denied,
            "a stream that fails",
        )?;
        ensure!(
            error.to_string().contains("taken away"),
            "the error of the stream was lost: {error}"
        );
    }
    ensure!(
        !store.collections().await?.contains(&items),
        "a stream that failed left a collection"
    );
    store
        .put_stream(&items, &key("a")?, ANY, Put::default(), byte_stream("fine"))
        .await?;
    Ok(())
}

async fn several_in_a_batch(context: Context) -> Check {
    let (store, items) = (context.store(), context.collection("items")?);
    let sizes = [10, 200_000, 70_000];
    let mut batch = Batch::new().put(&items, &key("inline")?, ANY, Put::bytes("small"));
    for (n, size) in (0..).zip(sizes) {
        let staged = store.stage(&items, odd_pieces(&pattern(size, n))).await?;
        batch = batch.put(&items, &key(&format!("k{n}"))?, ANY, Put::staged(staged));
    }
    store.write(batch).await?;
    for (n, size) in (0..).zip(sizes) {
        let found = body(store, &items, &key(&format!("k{n}"))?).await?;
        ensure!(
            found == Some(pattern(size, n)),
            "body {n} of a batch of several came back as another"
        );
    }
    ensure_eq!(
        body(store, &items, &key("inline")?).await?.as_deref(),
        Some(&b"small"[..]),
        "the small body"
    );
    Ok(())
}

async fn large_in_odd_pieces(context: Context) -> Check {
    let (store, items) = (context.store(), context.collection("items")?);
    let a = key("a")?;
    let bytes = pattern((5 << 20) - 3, 7);
    let entry = store
        .put_stream(&items, &a, ANY, Put::default(), odd_pieces(&bytes))
        .await?;
    ensure_eq!(entry.digest, Some(Digest::of(&bytes)), "the digest");
    ensure!(
        body(store, &items, &a).await? == Some(bytes.clone()),
        "a large body came back as another"
    );
    let range = crate::ByteRange::Bounded(1_000_001, 3_000_001);
    let part = store.get(&items, &a, GetOptions::range(range)).await?;
    let Some(part) = part else {
        return Err(Failure::here("a large item is not there"));
    };
    let part = part.into_body()?.bytes(1 << 22).await?;
    ensure!(
        part.len() == 2_000_000 && bytes.slice(1_000_001..3_000_001) == part,
        "a range of a large body is another"
    );
    Ok(())
}

async fn old_version_stays_readable(context: Context) -> Check {
    let (store, items) = (context.store(), context.collection("items")?);
    let a = key("a")?;
    for deletes in [false, true] {
        let (old, new) = (pattern(3 << 20, 10), pattern(3 << 20, 11));
        store
            .put_stream(&items, &a, ANY, Put::default(), byte_stream(old.clone()))
            .await?;
        let Some(item) = get(store, &items, &a).await? else {
            return Err(Failure::here("the item is not there"));
        };
        let mut reading = item.into_body()?.into_stream();
        let first = reading.next().await.transpose()?.unwrap_or_default();
        if deletes {
            store.delete(&items, &a, ANY).await?;
        } else {
            store
                .put_stream(&items, &a, ANY, Put::default(), byte_stream(new))
                .await?;
        }
        let mut read = first.to_vec();
        let mut refused = false;
        while let Some(piece) = reading.next().await {
            match piece {
                Ok(piece) => read.extend_from_slice(&piece),
                Err(error) if error.is_conflict() => {
                    refused = true;
                    break;
                }
                Err(error) => return Err(error.into()),
            }
        }
        ensure!(
            refused || read == old,
            "a read that began before the item changed mixed versions, or lost its end"
        );
        ensure!(
            !refused,
            "the old body should stay readable for its grace period, and was gone at once"
        );
    }
    Ok(())
}

async fn slow_stream_blocks_nobody(context: Context) -> Check {
    let (store, items) = (context.store().clone(), context.collection("items")?);
    let (send, receive) = tokio::sync::mpsc::channel::<Bytes>(1);
    let slow = stream::unfold(receive, |mut receive| async move {
        receive.recv().await.map(|piece| (Ok(piece), receive))
    });
    let stage = {
        let (store, items) = (store.clone(), items.clone());
        tokio::spawn(async move { store.stage(&items, slow.boxed()).await })
    };
    for n in 0..4_u64 {
        send.send(pattern(100_000, n))
            .await
            .map_err(|_| Failure::here("stage gave its stream up"))?;
        // If the stage held a writer, this would wait for ever, and time out.
        put(&store, &items, &key(&format!("k{n}"))?, json!({"n": n})).await?;
    }
    drop(send);
    let staged = stage
        .await
        .map_err(|error| Failure::here(error.to_string()))??;
    ensure_eq!(staged.size, 400_000, "the size of the slow body");
    store
        .put(&items, &key("slow")?, ANY, Put::staged(staged))
        .await?;
    Ok(())
}
