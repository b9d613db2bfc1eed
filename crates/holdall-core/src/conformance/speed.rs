//! How fast it is, for information: nothing here fails.

use std::fmt;
use std::time::{Duration, Instant};

use super::helpers::{ANY, filter, key, query};
use super::{Context, Failure};
use crate::{BackendExt, Batch, Doc, GetOptions, Put, Query, Scope, Sort, json};

/// How often something could be done in a second, by one task.
#[derive(Clone, Debug)]
pub struct Speed {
    /// What was done.
    pub what: &'static str,
    /// How often.
    pub times: u64,
    /// In what time.
    pub took: Duration,
}

impl Speed {
    /// How often in a second.
    pub fn per_second(&self) -> f64 {
        #[allow(
            clippy::cast_precision_loss,
            reason = "a rate is rounded when it is read"
        )]
        let times = self.times as f64;
        times / self.took.as_secs_f64().max(1e-9)
    }
}

impl fmt::Display for Speed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<48} {:>12.0} a second", self.what, self.per_second())
    }
}

/// How long each is measured.
const SPAN: Duration = Duration::from_millis(400);

const ITEMS: u64 = 1000;

/// Measures puts, gets, batches and queries with items of 1 KiB.
pub(super) async fn measure(context: &Context) -> Result<Vec<Speed>, Failure> {
    let (store, items) = (context.store(), context.collection("speed")?);
    let put = |n: u64| -> Result<Put, Failure> {
        let doc = Doc::from_value(&json!({"n": n % 50, "name": format!("item {n}")}))?;
        Ok(Put::bytes(vec![b'x'; 1024]).with_doc(doc))
    };
    let name = |n: u64| key(&format!("k{:04}", n % ITEMS));
    let mut speeds = Vec::new();

    let watch = Stopwatch::start();
    let mut n = 0;
    while watch.runs() {
        store.put(&items, &name(n)?, ANY, put(n)?).await?;
        n += 1;
    }
    speeds.push(watch.stop("put of 1 KiB", n));

    let size = match context.can().batch.scope {
        Scope::Item => 1,
        Scope::Collection | Scope::Store => {
            let limits = context.can().batch;
            // An item takes less than 2 KiB.
            let by_bytes = limits.max_bytes / 2048;
            (limits.max_ops as u64).min(by_bytes).clamp(1, 1000)
        }
    };
    // At least once all around, so that all items are there.
    let rounds = ITEMS.div_ceil(size);
    let watch = Stopwatch::start();
    let mut n = 0;
    while watch.runs() || n < rounds * size {
        let mut batch = Batch::new();
        for at in n..n + size {
            batch = batch.put(&items, &name(at)?, ANY, put(at)?);
        }
        store.write(batch).await?;
        n += size;
    }
    speeds.push(watch.stop("put of 1 KiB, in batches of 1,000 or as allowed", n));

    let watch = Stopwatch::start();
    let mut n = 0;
    while watch.runs() {
        if let Some(item) = store
            .get(&items, &name(n * 7)?, GetOptions::default())
            .await?
        {
            item.into_body()?.bytes(2048).await?;
        }
        n += 1;
    }
    speeds.push(watch.stop("get of 1 KiB", n));

    store
        .define(&items, &[crate::Index::parse(&["n"])?])
        .await?;
    let watch = Stopwatch::start();
    let mut n = 0;
    while watch.runs() {
        let asked = Query::new(filter(json!({"n": n % 50}))?)
            .sort(Sort::parse("n")?)
            .limit(20);
        query(store, &items, asked).await?;
        n += 1;
    }
    speeds.push(watch.stop("query of 20 among 1,000", n));
    Ok(speeds)
}

struct Stopwatch(Instant);

impl Stopwatch {
    #[allow(
        clippy::disallowed_methods,
        reason = "it measures, and decides nothing"
    )]
    fn start() -> Self {
        Self(Instant::now())
    }

    fn runs(&self) -> bool {
        self.0.elapsed() < SPAN
    }

    fn stop(self, what: &'static str, times: u64) -> Speed {
        Speed {
            what,
            times,
            took: self.0.elapsed(),
        }
    }
}
