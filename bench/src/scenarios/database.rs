//! Items on a database server, beside the same statements through its driver
//! alone: on Holdall's own table for what reads, on one with the same columns
//! for what writes.

use std::ops::Range;
use std::time::Instant;

use holdall_core::{
    BackendExt, Batch, CollectionName, Condition, Doc, DynBackend, Env, Filter, GetOptions, Index,
    Key, Parts, Put, Query, Sort, json, sort_key,
};
use holdall_testing::services;
use tokio::runtime::Runtime;

use crate::Result;
use crate::data::{self, Numbers};
use crate::options::Options;
use crate::report::{Report, Target};
use crate::rounds::{self, Contender, Rates, Work};

/// The collection that is read.
pub(super) const COLLECTION: &str = "records";

/// Rows of an answer.
pub(super) const ROWS: u64 = 20;

/// Puts of a batch.
pub(super) const BATCH: u64 = 1_000;

/// Reads and queries of a round.
const READS: u64 = 2_000;

/// Batches of a round.
const BATCHES: u64 = 10;

/// The most that Holdall may take of the time of the driver.
const MOST: f64 = 1.25;

/// The same for batches.
const MOST_BATCH: f64 = 1.3;

/// A driver alone, on one connection. What it answers are how many rows came
/// back, each as values of its own.
pub(super) trait Bare {
    /// What an insert is given.
    type Rows;

    /// Looks up where the values of the two indexes lie, once the items are
    /// there, and makes its statements ready.
    async fn prepare(&mut self) -> Result<()>;

    /// One item, by its key.
    async fn get(&mut self, key: &str) -> Result<u64>;

    /// The first items by key of a group, whose sort key this is.
    async fn equal(&mut self, group: &[u8]) -> Result<u64>;

    /// The first items by rank, from this sort key on.
    async fn ordered(&mut self, rank: &[u8]) -> Result<u64>;

    /// Rows of these numbers, before the clock runs.
    fn rows(&self, numbers: Range<u64>) -> Result<Self::Rows>;

    /// Inserts rows into a table of its own, all or none, and durably.
    async fn insert(&mut self, rows: Self::Rows) -> Result<()>;
}

/// The URL of a server that runs here.
pub(super) fn url(server: &str) -> Result<String> {
    services::url(server).ok_or_else(|| {
        format!("{server} does not run here; start it with cargo xtask services up {server}").into()
    })
}

/// A name that nobody else has, for what is dropped at the end.
pub(super) fn name() -> String {
    format!("bench_{}", Env::system().version()).replace('-', "")
}

/// Twenty rows have each group; the rank is a number of its own for each row.
pub(super) fn doc(number: u64, rows: u64) -> String {
    let group = Numbers::from_seed(number % (rows / ROWS)).next() % 1_000_000_007;
    let rank = Numbers::from_seed(number).next() % 1_000_000_007;
    format!(
        "{{\"group\":\"group {group}\",\"rank\":{rank},\"name\":\"the row with the number {number}\",\
         \"state\":\"accepted\",\"tags\":[\"a\",\"b\"]}}"
    )
}

/// The doc of a row that is only written.
pub(super) fn written_doc(number: u64) -> String {
    doc(number, 1_000_000)
}

fn group(seed: u64, rows: u64) -> String {
    let number = Numbers::from_seed(seed).below(rows / ROWS);
    format!(
        "group {}",
        Numbers::from_seed(number).next() % 1_000_000_007
    )
}

fn rank(seed: u64) -> u64 {
    Numbers::from_seed(seed).below(900_000_000)
}

/// Compares Holdall with a driver. Holdall's store is empty before.
pub(super) fn compare(
    options: &Options,
    report: &mut Report,
    runtime: &Runtime,
    backend: &DynBackend,
    bare: &mut impl Bare,
) -> Result<()> {
    let mut told = |what: &str, rates: &[Rates], most| {
        report.part(what, rates);
        if let [holdall, bare] = rates {
            let what = format!("{what}: time of Holdall over {}", bare.name);
            report.ratio(&what, bare.over(holdall), Target::AtMost(most));
        }
    };
    let rates = batches(options, runtime, backend, bare)?;
    told("a batch of 1,000 puts", &rates, MOST_BATCH);

    let rows = options.rows.max(BATCH) / BATCH * BATCH;
    let items = CollectionName::new(COLLECTION)?;
    runtime.block_on(async {
        let indexes = [Index::parse(&["group"])?, Index::parse(&["rank"])?];
        backend.define(&items, &indexes).await?;
        for first in (0..rows).step_by(usize::try_from(BATCH)?) {
            let docs = (first..first + BATCH).map(|number| (number, doc(number, rows)));
            backend.write(batch(&items, docs)?).await?;
        }
        bare.prepare().await
    })?;
    let place = (runtime, backend, &items);
    told("a point read", &reads(options, place, bare, rows)?, MOST);
    for shape in SHAPES {
        told(
            shape.name,
            &queries(options, place, bare, shape, rows)?,
            MOST,
        );
    }
    Ok(())
}

fn batch(collection: &CollectionName, docs: impl Iterator<Item = (u64, String)>) -> Result<Batch> {
    let mut batch = Batch::new();
    for (number, doc) in docs {
        let (key, put) = (Key::new(data::key(number))?, Put::doc(Doc::parse(doc)?));
        batch = batch.put(collection, &key, Condition::Any, put);
    }
    Ok(batch)
}

/// Batches of puts beside one insert of as many rows.
fn batches(
    options: &Options,
    runtime: &Runtime,
    backend: &DynBackend,
    bare: &mut impl Bare,
) -> Result<Vec<Rates>> {
    let name = CollectionName::new("batches")?;
    let numbers = |round: usize, at: u64| {
        let first = (round as u64 * BATCHES + at) * BATCH;
        first..first + BATCH
    };
    let mut contenders = vec![
        Contender::new("Holdall", |round| {
            let all = (0..BATCHES).map(|at| {
                let docs = numbers(round, at).map(|number| (number, written_doc(number)));
                batch(&name, docs)
            });
            let all = all.collect::<Result<Vec<_>>>()?;
            let start = Instant::now();
            runtime.block_on(async {
                for batch in all {
                    backend.write(batch).await?;
                }
                done(start, BATCHES)
            })
        }),
        Contender::new("an insert of 1,000 rows", |round| {
            let all = (0..BATCHES).map(|at| bare.rows(numbers(round, at)));
            let all = all.collect::<Result<Vec<_>>>()?;
            let start = Instant::now();
            runtime.block_on(async {
                for rows in all {
                    bare.insert(rows).await?;
                }
                done(start, BATCHES)
            })
        }),
    ];
    rounds::run(options.rounds, &mut contenders)
}

/// Where Holdall keeps what is read.
type Place<'a> = (&'a Runtime, &'a DynBackend, &'a CollectionName);

fn reads(
    options: &Options,
    (runtime, backend, name): Place<'_>,
    bare: &mut impl Bare,
    rows: u64,
) -> Result<Vec<Rates>> {
    let keys = |round: usize| {
        let seeds = (0..READS).map(move |at| round as u64 * READS + at);
        seeds.map(move |seed| data::key(Numbers::from_seed(seed).below(rows)))
    };
    let mut contenders = vec![
        Contender::new("Holdall", |round| {
            let keys = keys(round).map(Key::new);
            let keys = keys.collect::<holdall_core::Result<Vec<_>>>()?;
            let start = Instant::now();
            runtime.block_on(async {
                for key in keys {
                    let item = backend
                        .get(name, &key, GetOptions::parts(Parts::DOC))
                        .await?;
                    check(u64::from(std::hint::black_box(item).is_some()), 1)?;
                }
                done(start, READS)
            })
        }),
        Contender::new("the driver", |round| {
            let keys = keys(round).collect::<Vec<_>>();
            let start = Instant::now();
            runtime.block_on(async {
                for key in keys {
                    check(bare.get(&key).await?, 1)?;
                }
                done(start, READS)
            })
        }),
    ];
    rounds::run(options.rounds, &mut contenders)
}

/// A query of Holdall, and the sort key that the driver asks with.
#[derive(Clone, Copy)]
struct Shape {
    name: &'static str,
    query: fn(u64, u64) -> Result<Query>,
    value: fn(u64, u64) -> Vec<u8>,
    is_ordered: bool,
}

const SHAPES: [Shape; 2] = [
    Shape {
        name: "a query of 20 rows by equality",
        query: |rows, seed| Ok(Query::new(Filter::eq("group", group(seed, rows))?).limit(ROWS)),
        value: |rows, seed| sort_key(&group(seed, rows).into()),
        is_ordered: false,
    },
    Shape {
        name: "a query of 20 rows in order",
        query: |_, seed| {
            let filter = Filter::from_json(&json!({"rank": {"$gte": rank(seed)}}))?;
            Ok(Query::new(filter).sort(Sort::parse("rank")?).limit(ROWS))
        },
        value: |_, seed| sort_key(&rank(seed).into()),
        is_ordered: true,
    },
];

fn queries(
    options: &Options,
    (runtime, backend, name): Place<'_>,
    bare: &mut impl Bare,
    shape: Shape,
    rows: u64,
) -> Result<Vec<Rates>> {
    let seeds = |round: usize| (0..READS).map(move |at| round as u64 * READS + at);
    let mut contenders = vec![
        Contender::new("Holdall", |round| {
            let queries = seeds(round).map(|seed| (shape.query)(rows, seed));
            let queries = queries.collect::<Result<Vec<_>>>()?;
            let start = Instant::now();
            runtime.block_on(async {
                for query in queries {
                    let found = backend.query_all(name, query, 1000).await?;
                    check(std::hint::black_box(found).len() as u64, ROWS)?;
                }
                done(start, READS)
            })
        }),
        Contender::new("the driver", |round| {
            let values = seeds(round).map(|seed| (shape.value)(rows, seed));
            let values = values.collect::<Vec<_>>();
            let start = Instant::now();
            runtime.block_on(async {
                for value in values {
                    let found = match shape.is_ordered {
                        true => bare.ordered(&value).await?,
                        false => bare.equal(&value).await?,
                    };
                    check(found, ROWS)?;
                }
                done(start, READS)
            })
        }),
    ];
    rounds::run(options.rounds, &mut contenders)
}

fn check(found: u64, wanted: u64) -> Result<()> {
    if found == wanted {
        return Ok(());
    }
    Err(format!("{found} rows came back, not {wanted}").into())
}

pub(super) fn done(start: Instant, operations: u64) -> Result<Work> {
    Ok(Work {
        operations,
        nanos: start.elapsed().as_nanos(),
    })
}
