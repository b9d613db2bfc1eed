//! `bench`: how fast a store is, for information.

use std::time::{Duration, Instant};

use futures_util::{StreamExt, TryStreamExt, stream};
use holdall::{
    BackendExt, Batch, CollectionName, Condition, Doc, DynBackend, Filter, GetOptions, Index, Key,
    Put, Query, Result, Scan, Scope, Settings, Store,
};
use serde_json::json;

use crate::args::Bench;
use crate::exit::Failure;
use crate::output::Output;
use crate::table::Table;

/// Items in the collection that is measured.
const ITEMS: u64 = 10_000;

/// Writes one after the other, writes at once, and how many at once.
const WRITES: u64 = 200;
const CONCURRENT: u64 = 2000;
const WRITERS: usize = 64;

/// A step ends here, however slow the store.
const MOST: Duration = Duration::from_secs(3);

/// What a step did, and how long it took.
type Measured = (u64, Duration);

pub(crate) async fn run(output: &mut Output, wanted: Bench) -> Result<(), Failure> {
    let store = Store::open(Settings::parse(&wanted.url)?).await?;
    let name = CollectionName::new(format!("bench-{}", store.env().version()))?;
    let result = measure(store.backend(), &name, output).await;
    let dropped = store.backend().drop_collection(&name).await;
    let closed = store.close().await;
    result?;
    dropped?;
    Ok(closed?)
}

async fn measure(
    backend: &DynBackend,
    name: &CollectionName,
    output: &mut Output,
) -> Result<(), Failure> {
    let mut rows = Rows(Table::new(&["WHAT", "A SECOND", "COUNT", "MS"]));
    let filled = fill(backend, name).await?;
    rows.add(output, "put docs of 1 KiB in batches", filled)?;
    let items = filled.0;
    let key = |nth: u64| Key::new(format!("{:08}", nth.wrapping_mul(7919) % items.max(1)));

    let single = repeat(WRITES, 1, |nth| async move {
        let put = Put::doc(doc(nth)?);
        backend
            .put(name, &key(nth)?, Condition::Any, put)
            .await
            .map(drop)
    });
    rows.add(output, "put, one after the other", single.await?)?;
    let many = repeat(CONCURRENT, WRITERS, |nth| async move {
        let put = Put::doc(doc(nth)?);
        backend
            .put(name, &key(nth)?, Condition::Any, put)
            .await
            .map(drop)
    });
    rows.add(output, "put, 64 at once", many.await?)?;
    let reads = repeat(ITEMS, 1, |nth| async move {
        backend
            .get(name, &key(nth)?, GetOptions::default())
            .await
            .map(drop)
    });
    rows.add(output, "get, one after the other", reads.await?)?;

    let started = Instant::now();
    let found = backend
        .scan(name, Scan::all())
        .try_fold(0, |sum, _| async move { Ok(sum + 1) });
    rows.add(output, "scan", (found.await?, started.elapsed()))?;

    let query = |nth: u64| async move {
        let filter = Filter::eq("group", nth % 500)?;
        backend
            .query_all(name, Query::new(filter).limit(20), 20)
            .await
            .map(drop)
    };
    rows.add(output, "query of 20, no index", repeat(20, 1, query).await?)?;
    backend.define(name, &[Index::parse(&["group"])?]).await?;
    rows.add(
        output,
        "query of 20, with an index",
        repeat(ITEMS, 1, query).await?,
    )?;
    rows.0.end(output)
}

/// Does something so many times, some of them at once, until the time is up.
async fn repeat<F, Fut>(count: u64, at_once: usize, step: F) -> Result<Measured>
where
    F: Fn(u64) -> Fut,
    Fut: Future<Output = Result<()>>,
{
    let started = Instant::now();
    let steps = stream::iter(0..count)
        .take_while(|_| std::future::ready(started.elapsed() < MOST))
        .map(step)
        .buffer_unordered(at_once);
    let done = steps
        .try_fold(0, |sum, ()| async move { Ok(sum + 1) })
        .await?;
    Ok((done, started.elapsed()))
}

async fn fill(backend: &DynBackend, name: &CollectionName) -> Result<Measured> {
    let limits = backend.capabilities().batch;
    let most = match limits.scope {
        Scope::Item => 1,
        Scope::Collection | Scope::Store => limits.max_ops.clamp(1, 500),
    };
    let started = Instant::now();
    let (mut done, mut batch) = (0, Batch::new());
    for nth in 0..ITEMS {
        let key = Key::new(format!("{nth:08}"))?;
        batch = batch.put(name, &key, Condition::Any, Put::doc(doc(nth)?));
        let full = batch.operations().len() == most || batch.bytes() > limits.max_bytes / 2;
        if full || nth + 1 == ITEMS {
            done += batch.operations().len() as u64;
            backend.write(std::mem::take(&mut batch)).await?;
            if started.elapsed() > MOST {
                break;
            }
        }
    }
    Ok((done, started.elapsed()))
}

fn doc(nth: u64) -> Result<Doc> {
    let text = "0123456789abcdef".repeat(60);
    Doc::from_value(&json!({"number": nth, "group": nth % 500, "text": text}))
}

struct Rows(Table);

impl Rows {
    fn add(
        &mut self,
        output: &mut Output,
        what: &str,
        (count, time): Measured,
    ) -> Result<(), Failure> {
        #[allow(clippy::cast_precision_loss, reason = "a rate for people")]
        let rate = (count as f64 / time.as_secs_f64().max(1e-9)).round();
        if !output.tables() {
            return output.json(&json!({
                "what": what,
                "per_second": rate,
                "count": count,
                "ms": u64::try_from(time.as_millis()).unwrap_or(u64::MAX),
            }));
        }
        let cells = [
            what.to_owned(),
            format!("{rate}"),
            count.to_string(),
            time.as_millis().to_string(),
        ];
        self.0.row(output, cells)
    }
}
