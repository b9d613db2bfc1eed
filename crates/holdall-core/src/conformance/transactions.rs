//! Transactions, on whatever a backend's batches can do.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::case::refused;
use super::helpers::{ANY, doc, filter, get, key, names, put, query, snapshot, value};
use super::{Case, Check, Context, Failure, Need};
use crate::{
    BackendExt, Conditions, Env, ErrorKind, Index, ManualClock, Parts, Put, Query, Scope, Sort,
    Timestamp, Transaction, TransactionOptions, json, transact,
};

pub(super) fn cases() -> Vec<Case> {
    [
        Case::new("transactions/commit-and-rollback", "A commit takes effect as one, under the transaction's id; a rollback leaves nothing; both end it.", commit_and_rollback),
        Case::new("transactions/conflict", "A commit is refused with Conflict if anything that was read has changed, came or went.", conflict),
        Case::new("transactions/read-own-writes", "Reads inside see the transaction's own puts and deletes, and nobody else does before commit.", read_own_writes),
        Case::new("transactions/query-own-writes", "A query inside sees the transaction's own writes in their places, with sorts, limit, offset and pages.", query_own_writes),
        Case::new("transactions/changed-between-reads", "An item that changed between two reads of one transaction is a Conflict, at the second read or at commit.", changed_between_reads),
        Case::new("transactions/expiry", "After its time every call answers Expired, and nothing was written.", expiry),
        Case::new("transactions/write-skew", "Two transactions that each read what the other writes cannot both commit, on items that are there and on items that are not.", write_skew),
        Case::new("transactions/transact-runs-again", "transact runs the closure again after a conflict, until it commits.", transact_runs_again),
        Case::new("transactions/unique-is-not-retried", "A unique value that is taken ends transact with Conflict at once: running again would not help.", unique_is_not_retried),
    ]
    .into_iter()
    .map(|case| case.needs(Need::Scope(Scope::Collection)).needs(Need::Operations(4)).needs(Need::Conditions(Conditions::Full)))
    .collect()
}

fn options(context: &Context) -> TransactionOptions {
    TransactionOptions {
        env: context.env().clone(),
        ..TransactionOptions::default()
    }
}

fn begin(context: &Context) -> Transaction {
    Transaction::begin(context.store(), &options(context))
}

async fn commit_and_rollback(context: Context) -> Check {
    let (store, items) = (context.store(), context.collection("items")?);
    context
        .fill(&items, [("a", json!({"n": 1})), ("b", json!({"n": 1}))])
        .await?;
    let before = snapshot(store, &items).await?;
    let given_up = begin(&context);
    given_up.put(&items, &key("a")?, doc(json!({"n": 9}))?)?;
    given_up.delete(&items, &key("b")?)?;
    given_up.rollback();
    refused(
        given_up.commit().await,
        ErrorKind::Closed,
        "a commit after a rollback",
    )?;
    ensure_eq!(
        snapshot(store, &items).await?,
        before,
        "the items after a rollback"
    );

    let tx = begin(&context);
    tx.put(&items, &key("a")?, doc(json!({"n": 2}))?)?;
    tx.put(&items, &key("a")?, doc(json!({"n": 3}))?)?;
    tx.delete(&items, &key("b")?)?;
    tx.put(&items, &key("c")?, Put::bytes("new"))?;
    let id = tx.commit().await?;
    ensure_eq!(id, tx.id(), "the id that the commit answers");
    ensure_eq!(
        value(store, &items, &key("a")?).await?,
        Some(json!({"n": 3})),
        "an item that was put twice"
    );
    ensure_eq!(
        store
            .head(&items, &key("c")?)
            .await?
            .map(|entry| entry.version),
        Some(id),
        "the version of an item that was put"
    );
    ensure!(
        get(store, &items, &key("b")?).await?.is_none(),
        "an item that was deleted is there"
    );
    refused(
        tx.put(&items, &key("a")?, Put::default()),
        ErrorKind::Closed,
        "a put after commit",
    )?;
    refused(
        tx.get(&items, &key("a")?).await,
        ErrorKind::Closed,
        "a get after commit",
    )?;
    refused(tx.commit().await, ErrorKind::Closed, "a second commit")?;
    let nothing = begin(&context);
    nothing.commit().await?;
    Ok(())
}

async fn conflict(context: Context) -> Check {
    let (store, items) = (context.store(), context.collection("items")?);
    for (what, there, after) in [
        ("changed", true, true),
        ("went", true, false),
        ("came", false, true),
    ] {
        // The item that was read is written itself, or only read.
        for writes_it in [true, false] {
            let (seen, other) = (key("seen")?, key("other")?);
            store.delete(&items, &seen, ANY).await?;
            store.delete(&items, &other, ANY).await?;
            if there {
                put(store, &items, &seen, json!({"n": 1})).await?;
            }
            let tx = begin(&context);
            ensure_eq!(
                tx.get(&items, &seen).await?.is_some(),
                there,
                "whether the item is read"
            );
            if after {
                put(store, &items, &seen, json!({"n": 1})).await?;
            } else {
                store.delete(&items, &seen, ANY).await?;
            }
            tx.put(
                &items,
                if writes_it { &seen } else { &other },
                doc(json!({"by": "tx"}))?,
            )?;
            refused(
                tx.commit().await,
                ErrorKind::Conflict,
                &format!("a commit after an item that was read {what}"),
            )?;
            ensure!(
                get(store, &items, &other).await?.is_none(),
                "a refused commit left an item"
            );
        }
    }
    Ok(())
}

async fn read_own_writes(context: Context) -> Check {
    let (store, items) = (context.store(), context.collection("items")?);
    let (a, b) = (key("a")?, key("b")?);
    put(store, &items, &a, json!({"n": 1})).await?;
    let tx = begin(&context);
    tx.put(
        &items,
        &b,
        Put::bytes("mine").with_doc(crate::Doc::parse(r#"{"n":2}"#)?),
    )?;
    tx.delete(&items, &a)?;
    ensure!(
        tx.get(&items, &a).await?.is_none(),
        "an item that the transaction deleted is read"
    );
    let Some(own) = tx.get(&items, &b).await? else {
        return Err(Failure::here(
            "an item that the transaction put is not read",
        ));
    };
    ensure_eq!(
        (own.entry.version, own.entry.size),
        (tx.id(), 4),
        "version and size of an own item"
    );
    ensure_eq!(
        own.doc()?.value()?,
        json!({"n": 2}),
        "the doc of an own item"
    );
    ensure_eq!(
        own.into_body()?.bytes(10).await?,
        "mine",
        "the body of an own item"
    );
    ensure!(
        get(store, &items, &a).await?.is_some() && get(store, &items, &b).await?.is_none(),
        "others see what was not committed"
    );
    tx.commit().await?;
    ensure!(
        get(store, &items, &a).await?.is_none() && get(store, &items, &b).await?.is_some(),
        "others do not see what was committed"
    );
    Ok(())
}

async fn query_own_writes(context: Context) -> Check {
    let (store, items) = (context.store(), context.collection("items")?);
    context
        .fill(
            &items,
            (0..20).map(|n| (format!("k{n:02}"), json!({"n": n, "even": n % 2 == 0}))),
        )
        .await?;
    let tx = begin(&context);
    // What it wrote is also written to a copy, which then has the answers.
    let copy = context.collection("copy")?;
    context
        .fill(
            &copy,
            (0..20).map(|n| (format!("k{n:02}"), json!({"n": n, "even": n % 2 == 0}))),
        )
        .await?;
    for (name, change) in [
        ("k03", None),
        ("k04", Some(json!({"n": 100, "even": true}))),
        ("k05", Some(json!({"n": -1, "even": true}))),
        ("k06", Some(json!({"even": false}))),
        ("new", Some(json!({"n": 7.5, "even": true}))),
        ("k99", Some(json!({"n": 8, "even": true}))),
        ("gone", None),
    ] {
        let name = key(name)?;
        match change {
            Some(change) => {
                tx.put(&items, &name, doc(change.clone())?)?;
                put(store, &copy, &name, change).await?;
            }
            None => {
                tx.delete(&items, &name)?;
                store.delete(&copy, &name, ANY).await?;
            }
        }
    }
    for json in [
        json!({}),
        json!({"even": true}),
        json!({"n": {"$gte": 5}}),
        json!({"$not": {"n": {"$lt": 100}}}),
    ] {
        for sorts in [
            vec![],
            vec!["n"],
            vec!["n:desc"],
            vec!["even", "n:desc"],
            vec!["n:asc:first"],
        ] {
            let mut asked = Query::new(filter(json.clone())?);
            asked.sort = sorts
                .iter()
                .map(|text| Sort::parse(text))
                .collect::<crate::Result<_>>()?;
            for (offset, limit) in [
                (0, None),
                (0, Some(3)),
                (2, Some(5)),
                (7, None),
                (30, Some(2)),
                (0, Some(0)),
            ] {
                let mut part = asked.clone().offset(offset).parts(Parts::ENTRY);
                part.limit = limit;
                let wanted = query(store, &copy, part.clone()).await?;
                let found = names(&tx.query(&items, part).await?);
                ensure_eq!(
                    found,
                    wanted,
                    "{json} sorted by {sorts:?}, offset {offset}, limit {limit:?}, inside the transaction"
                );
            }
            let first = store.page(&copy, asked.clone().limit(4)).await?;
            if let Some(next) = first.next {
                let wanted = query(store, &copy, asked.clone().after(next.clone())).await?;
                ensure_eq!(
                    names(&tx.query(&items, asked.after(next)).await?),
                    wanted,
                    "{json} sorted by {sorts:?} behind a cursor, inside the transaction"
                );
            }
        }
    }
    // What a query answered counts as read.
    put(store, &items, &key("k19")?, json!({})).await?;
    refused(
        tx.commit().await,
        ErrorKind::Conflict,
        "a commit after an item that a query answered has changed",
    )?;
    Ok(())
}

async fn changed_between_reads(context: Context) -> Check {
    let (store, items) = (context.store(), context.collection("items")?);
    let a = key("a")?;
    put(store, &items, &a, json!({})).await?;
    let tx = begin(&context);
    tx.get(&items, &a).await?;
    put(store, &items, &a, json!({})).await?;
    let again = tx.get(&items, &a).await;
    if again.is_ok() {
        tx.put(&items, &key("b")?, Put::default())?;
        refused(
            tx.commit().await,
            ErrorKind::Conflict,
            "a commit after two different reads of one item",
        )?;
    } else {
        refused(
            again,
            ErrorKind::Conflict,
            "a second read of an item that changed",
        )?;
    }
    Ok(())
}

async fn expiry(context: Context) -> Check {
    let (store, items) = (context.store(), context.collection("items")?);
    let a = key("a")?;
    let clock = ManualClock::at(Timestamp::from_micros(context.env().now().as_micros()));
    let options = TransactionOptions {
        expiry: Duration::from_secs(10),
        env: Env::seeded(clock.clone(), context.seed()),
        ..TransactionOptions::default()
    };
    let (in_time, late) = (
        Transaction::begin(store, &options),
        Transaction::begin(store, &options),
    );
    late.put(&items, &a, Put::default())?;
    in_time.put(&items, &key("in-time")?, Put::default())?;
    clock.advance(Duration::from_micros(9_999_999));
    in_time.commit().await?;
    clock.advance(Duration::from_micros(1));
    refused(
        late.get(&items, &a).await,
        ErrorKind::Expired,
        "a get in an expired transaction",
    )?;
    refused(
        late.put(&items, &a, Put::default()),
        ErrorKind::Expired,
        "a put in an expired transaction",
    )?;
    refused(
        late.query(&items, Query::default()).await,
        ErrorKind::Expired,
        "a query in an expired transaction",
    )?;
    refused(
        late.commit().await,
        ErrorKind::Expired,
        "a commit of an expired transaction",
    )?;
    ensure!(
        get(store, &items, &a).await?.is_none(),
        "an expired transaction left an item"
    );
    Ok(())
}

async fn write_skew(context: Context) -> Check {
    let (store, items) = (context.store(), context.collection("items")?);
    for round in 0..40 {
        let there = round % 2 == 0;
        let (a, b) = (key(&format!("a{round}"))?, key(&format!("b{round}"))?);
        if there {
            put(store, &items, &a, json!({"on": true})).await?;
            put(store, &items, &b, json!({"on": true})).await?;
        }
        let barrier = Arc::new(tokio::sync::Barrier::new(2));
        let both = [(a.clone(), b.clone()), (b, a)].map(|(mine, other)| {
            let (tx, items, barrier) = (begin(&context), items.clone(), barrier.clone());
            tokio::spawn(async move {
                tx.get(&items, &other).await?;
                barrier.wait().await;
                tx.put(&items, &mine, doc(json!({"on": false}))?)?;
                Ok::<_, Failure>(tx.commit().await)
            })
        });
        let mut committed = 0;
        for one in both {
            match one
                .await
                .map_err(|error| Failure::here(error.to_string()))??
            {
                Ok(_) => committed += 1,
                Err(error) => drop(refused::<()>(
                    Err(error),
                    ErrorKind::Conflict,
                    "one of two transactions",
                )?),
            }
        }
        ensure!(
            committed < 2,
            "two transactions that each read what the other wrote both committed (items there before: {there})"
        );
    }
    Ok(())
}

async fn transact_runs_again(context: Context) -> Check {
    let (store, items) = (context.store().clone(), context.collection("items")?);
    let a = key("a")?;
    put(&store, &items, &a, json!({"n": 0})).await?;
    let runs = Arc::new(AtomicU32::new(0));
    let (counted, other) = (runs.clone(), store.clone());
    let (name, within) = (a.clone(), items.clone());
    let answer = transact(&store, options(&context), move |tx| {
        let (runs, store, items, a) =
            (counted.clone(), other.clone(), within.clone(), name.clone());
        async move {
            let seen = tx.get(&items, &a).await?;
            if runs.fetch_add(1, Ordering::Relaxed) < 3 {
                // Somebody gets in between, three times.
                store.put(&items, &a, ANY, Put::default()).await?;
            }
            tx.put(&items, &a, Put::bytes("done"))?;
            Ok(seen.is_some())
        }
    })
    .await?;
    ensure!(answer, "transact answered something else than the closure");
    ensure_eq!(
        runs.load(Ordering::Relaxed),
        4,
        "how often the closure ran, with three conflicts"
    );
    Ok(())
}

async fn unique_is_not_retried(context: Context) -> Check {
    let (store, items) = (context.store().clone(), context.collection("items")?);
    store
        .define(&items, &[Index::parse(&["v"])?.unique()])
        .await?;
    put(&store, &items, &key("owner")?, json!({"v": 1})).await?;
    for reads in [false, true] {
        let runs = Arc::new(AtomicU32::new(0));
        let (counted, within, a) = (runs.clone(), items.clone(), key("a")?);
        let answer = transact(&store, options(&context), move |tx| {
            let (runs, items, a) = (counted.clone(), within.clone(), a.clone());
            async move {
                runs.fetch_add(1, Ordering::Relaxed);
                if reads {
                    tx.get(&items, &a).await?;
                }
                tx.put(&items, &a, Put::doc(crate::Doc::parse(r#"{"v":1}"#)?))
            }
        })
        .await;
        refused(
            answer,
            ErrorKind::Conflict,
            "a transaction that puts a value that is taken",
        )?;
        ensure_eq!(
            runs.load(Ordering::Relaxed),
            1,
            "how often the closure ran (it read the item: {reads})"
        );
    }
    Ok(())
}
