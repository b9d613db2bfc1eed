//! Many tasks at once: no update is lost, and no two win.

use std::sync::Arc;

use super::background::Background;
use super::helpers::{ANY, doc, key, put, value};
use super::jobs::{self, Account};
use super::{Case, Check, Context, Failure, Need};
use crate::{BackendExt, Batch, Condition, Conditions, Parts, Put, Scope, json};

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new("races/increments", "Conditions are checked at commit: of many tasks that count one item up by its version, no increment is lost.", increments).needs(Need::Conditions(Conditions::Full)),
        Case::new("races/increments-in-transactions", "Transactions that count one item up lose no increment.", increments_in_transactions).needs(Need::Conditions(Conditions::Full)),
        Case::new("races/one-creator", "Conditions are checked at commit: of many creates of one key, one succeeds.", one_creator).needs(Need::Conditions(Conditions::CreateOnly)),
        Case::new("races/one-deleter", "Of many deletes of one version, one succeeds.", one_deleter).needs(Need::Conditions(Conditions::Full)),
        Case::new("races/one-owner-of-a-unique-value", "Of many items that want one unique value, one gets it.", one_owner),
        Case::new("races/staged-body-has-one-user", "Of many batches that use one staged body, one succeeds.", one_user),
        Case::new("races/transfers", "Transfers between accounts keep their sum, and readers that check what they read never see another.", transfers)
            .needs(Need::Scope(Scope::Collection))
            .needs(Need::Operations(4))
            .needs(Need::Conditions(Conditions::Full)),
        Case::new("races/write-skew", "A check conflicts with every concurrent write of its key, absent keys included: two batches that each check what the other writes never both commit.", write_skew)
            .needs(Need::Scope(Scope::Collection))
            .needs(Need::Operations(2))
            .needs(Need::Conditions(Conditions::Full)),
        Case::new("races/failures-stand-alone", "Of batches that are written at one time, each stands alone: those that fail take no other with them.", failures_stand_alone).needs(Need::Conditions(Conditions::CreateOnly)),
    ]
}

const TASKS: usize = 8;

/// Runs tasks that all begin when the last one is ready, and answers what each
/// of them did.
async fn at_once<T, Fut>(count: usize, task: impl Fn(usize) -> Fut) -> Result<Vec<T>, Failure>
where
    T: Send + 'static,
    Fut: Future<Output = T> + Send + 'static,
{
    let barrier = Arc::new(tokio::sync::Barrier::new(count));
    let tasks: Vec<_> = (0..count)
        .map(|number| {
            let (barrier, task) = (barrier.clone(), task(number));
            tokio::spawn(async move {
                barrier.wait().await;
                task.await
            })
        })
        .collect();
    let mut done = Vec::new();
    for task in tasks {
        done.push(
            task.await
                .map_err(|error| Failure::here(error.to_string()))?,
        );
    }
    Ok(done)
}

/// How many of several writes succeeded, where the others may only conflict.
fn winners<T>(results: Vec<crate::Result<T>>) -> Result<usize, Failure> {
    let mut won = 0;
    for result in results {
        match result {
            Ok(_) => won += 1,
            Err(error) if error.is_conflict() => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(won)
}

async fn increments(context: Context) -> Check {
    const EACH: u64 = 40;
    let (store, items) = (context.store().clone(), context.collection("items")?);
    let counter = key("counter")?;
    let done = at_once(TASKS, |_| {
        let (store, items, counter) = (store.clone(), items.clone(), counter.clone());
        async move { jobs::increment(&store, &items, &counter, EACH).await }
    })
    .await?;
    done.into_iter().collect::<Result<Vec<_>, _>>()?;
    let found = value(&store, &items, &counter).await?;
    ensure_eq!(
        found,
        Some(json!({"n": EACH * TASKS as u64})),
        "the counter after {TASKS} tasks counted {EACH} times each"
    );
    Ok(())
}

async fn increments_in_transactions(context: Context) -> Check {
    const EACH: u64 = 25;
    let (store, items) = (context.store().clone(), context.collection("items")?);
    let counter = key("counter")?;
    let done = at_once(TASKS, |_| {
        let (store, items, counter) = (store.clone(), items.clone(), counter.clone());
        async move {
            for _ in 0..EACH {
                let (items, counter) = (items.clone(), counter.clone());
                crate::transact(&store, crate::TransactionOptions::default(), move |tx| {
                    let (items, counter) = (items.clone(), counter.clone());
                    async move {
                        let n = match tx.get(&items, &counter).await? {
                            Some(item) => jobs::number(&item)?,
                            None => 0,
                        };
                        tx.put(&items, &counter, jobs::numbered(n + 1)?)
                    }
                })
                .await?;
            }
            Ok::<_, crate::Error>(())
        }
    })
    .await?;
    done.into_iter().collect::<Result<Vec<_>, _>>()?;
    let found = value(&store, &items, &counter).await?;
    ensure_eq!(
        found,
        Some(json!({"n": EACH * TASKS as u64})),
        "the counter after {TASKS} tasks counted {EACH} times each"
    );
    Ok(())
}

async fn one_creator(context: Context) -> Check {
    let (store, items) = (context.store().clone(), context.collection("items")?);
    for round in 0..40 {
        let name = key(&format!("k{round}"))?;
        let results = at_once(TASKS, |task| {
            let (store, items, name) = (store.clone(), items.clone(), name.clone());
            async move {
                store
                    .put(
                        &items,
                        &name,
                        Condition::Absent,
                        jobs::numbered(task as u64)?,
                    )
                    .await
            }
        })
        .await?;
        let entries: Vec<_> = results
            .iter()
            .flatten()
            .map(|entry| entry.version)
            .collect();
        ensure_eq!(winners(results)?, 1, "creates of one key that succeeded");
        let found = store.head(&items, &name).await?.map(|entry| entry.version);
        ensure_eq!(
            found.into_iter().collect::<Vec<_>>(),
            entries,
            "the version of the item, against that of the create that succeeded"
        );
    }
    Ok(())
}

async fn one_deleter(context: Context) -> Check {
    let (store, items) = (context.store().clone(), context.collection("items")?);
    let a = key("a")?;
    for _ in 0..30 {
        let version = put(&store, &items, &a, json!({})).await?.version;
        let results = at_once(TASKS, |_| {
            let (store, items, a) = (store.clone(), items.clone(), a.clone());
            async move { store.delete(&items, &a, Condition::Version(version)).await }
        })
        .await?;
        ensure_eq!(
            winners(results)?,
            1,
            "deletes of one version that succeeded"
        );
    }
    Ok(())
}

async fn one_owner(context: Context) -> Check {
    let (store, items) = (context.store().clone(), context.collection("items")?);
    store
        .define(&items, &[crate::Index::parse(&["n"])?.unique()])
        .await?;
    for round in 0..30 {
        let results = at_once(TASKS, |task| {
            let (store, items) = (store.clone(), items.clone());
            async move {
                store
                    .put(
                        &items,
                        &crate::Key::new(format!("k{round}-{task}"))?,
                        ANY,
                        jobs::numbered(round)?,
                    )
                    .await
            }
        })
        .await?;
        ensure_eq!(winners(results)?, 1, "items that got a unique value");
        let found = store.count(&items, &crate::Filter::eq("n", round)?).await?;
        ensure_eq!(found, 1, "items that have a unique value");
    }
    Ok(())
}

async fn one_user(context: Context) -> Check {
    let (store, items) = (context.store().clone(), context.collection("items")?);
    for round in 0..20 {
        let staged = store
            .stage(&items, crate::byte_stream(vec![1; 70_000]))
            .await?;
        let results = at_once(4, |task| {
            let (store, items, staged) = (store.clone(), items.clone(), staged.clone());
            async move {
                store
                    .put(
                        &items,
                        &crate::Key::new(format!("k{round}-{task}"))?,
                        ANY,
                        Put::staged(staged),
                    )
                    .await
            }
        })
        .await?;
        let won = results.iter().filter(|result| result.is_ok()).count();
        ensure_eq!(won, 1, "batches that used one staged body");
    }
    Ok(())
}

async fn transfers(context: Context) -> Check {
    const EACH: u64 = 40;
    let (store, items) = (context.store().clone(), context.collection("items")?);
    jobs::open_accounts(&store, &items).await?;
    let seed = context.seed();
    let workers = at_once(TASKS, |task| {
        let (store, items) = (store.clone(), items.clone());
        async move { jobs::transfer(&store, &items, EACH, seed ^ task as u64).await }
    });
    let reader = {
        let (store, items) = (store.clone(), items.clone());
        Background::start(move |_| {
            let (store, items) = (store.clone(), items.clone());
            async move { check_sum(&store, &items).await }
        })
    };
    let worked = workers.await?;
    reader.end().await?;
    worked.into_iter().collect::<Result<Vec<_>, _>>()?;
    ensure_eq!(
        jobs::sum(&store, &items).await?,
        Account::TOTAL,
        "the sum of the accounts after {TASKS} tasks made {EACH} transfers each"
    );
    Ok(())
}

/// Reads all accounts, and has a batch of checks confirm that they were so at
/// one time.
async fn check_sum(store: &crate::DynBackend, items: &crate::CollectionName) -> Check {
    let keys = Account::keys()?;
    let found = store.get_many(items, &keys, Parts::DOC).await?;
    let mut sum = 0;
    let mut batch = Batch::new();
    for item in found.iter().flatten() {
        sum += jobs::number(item)?;
        batch = batch.check(items, &item.key, Condition::Version(item.entry.version));
    }
    if batch.operations().len() > store.capabilities().batch.max_ops {
        return Ok(());
    }
    match store.write(batch).await {
        Ok(_) => ensure_eq!(
            sum,
            Account::TOTAL,
            "the sum of accounts that a batch of checks confirmed to be of one time"
        ),
        Err(error) if error.is_conflict() => {}
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

async fn write_skew(context: Context) -> Check {
    let (store, items) = (context.store().clone(), context.collection("items")?);
    for round in 0..60 {
        let there = round % 2 == 0;
        let pair = [key(&format!("a{round}"))?, key(&format!("b{round}"))?];
        let mut seen = [Condition::Absent, Condition::Absent];
        if there {
            for (name, seen) in pair.iter().zip(&mut seen) {
                *seen = Condition::Version(
                    put(&store, &items, name, json!({"on": true}))
                        .await?
                        .version,
                );
            }
        }
        let results = at_once(2, |task| {
            let (mine, other, seen) = if task == 0 {
                (&pair[0], &pair[1], seen[1])
            } else {
                (&pair[1], &pair[0], seen[0])
            };
            let batch =
                Batch::new()
                    .check(&items, other, seen)
                    .put(&items, mine, ANY, Put::bytes("off"));
            let store = store.clone();
            async move { store.write(batch).await }
        })
        .await?;
        let won = winners(results)?;
        ensure!(
            won < 2,
            "two batches that each checked what the other wrote both committed (items there before: {there})"
        );
        ensure!(
            won > 0,
            "of two batches that checked what the other wrote, neither committed"
        );
    }
    Ok(())
}

async fn failures_stand_alone(context: Context) -> Check {
    let (store, items) = (context.store().clone(), context.collection("items")?);
    put(&store, &items, &key("taken")?, json!({})).await?;
    for round in 0..10 {
        let results = at_once(16, |task| {
            let (store, items) = (store.clone(), items.clone());
            async move {
                let fails = task % 3 == 0;
                let name = crate::Key::new(if fails {
                    "taken".to_owned()
                } else {
                    format!("k{round}-{task}")
                })?;
                let answer = store
                    .put(
                        &items,
                        &name,
                        Condition::Absent,
                        doc(json!({"by": task}))
                            .map_err(|failure| crate::Error::other(failure.to_string()))?,
                    )
                    .await;
                Ok::<_, crate::Error>((fails, answer))
            }
        })
        .await?;
        for (task, result) in results.into_iter().enumerate() {
            let (fails, answer) = result?;
            ensure!(
                answer.is_ok() != fails,
                "write {task} of 16 at one time, which should fail: {fails}, answered {answer:?}"
            );
        }
        let there = store.count(&items, &crate::Filter::all()).await?;
        ensure_eq!(
            there,
            1 + 10 * (round + 1),
            "items after {} rounds of ten writes that succeed and six that fail",
            round + 1
        );
    }
    Ok(())
}
