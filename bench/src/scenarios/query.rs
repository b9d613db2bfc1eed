//! Queries of 20 rows that an index finds among many, beside the SQL that one
//! would write by hand: the same table, an index on `json_extract`.

use std::time::Instant;

use holdall_backends::sqlite::{SqliteBackend, SqliteOptions};
use holdall_core::{
    Backend, BackendExt, Batch, CollectionName, Condition, Doc, Filter, Index, Key, Put, Query,
    Sort, json,
};

use crate::data::{self, Numbers};
use crate::options::Options;
use crate::place::{self, Place};
use crate::report::{Report, Target};
use crate::rounds::{self, Contender, Work};
use crate::{Result, raw};

/// Rows of an answer.
const ROWS: u64 = 20;

/// Queries of a round.
const QUERIES: u64 = 2_000;

/// Rows of a batch, and of a transaction by hand.
const BATCH: u64 = 5_000;

/// Twenty rows have each group; the rank is a number of its own for each row.
fn doc(number: u64, rows: u64) -> String {
    let group = Numbers::from_seed(number % (rows / ROWS)).next() % 1_000_000_007;
    let rank = Numbers::from_seed(number).next() % 1_000_000_007;
    format!(
        "{{\"group\":\"group {group}\",\"rank\":{rank},\"name\":\"the row with the number {number}\",\
         \"state\":\"accepted\",\"tags\":[\"a\",\"b\"]}}"
    )
}

fn group(numbers: &mut Numbers, rows: u64) -> String {
    let number = numbers.below(rows / ROWS);
    format!(
        "group {}",
        Numbers::from_seed(number).next() % 1_000_000_007
    )
}

pub(crate) fn run(options: &Options, report: &mut Report) -> Result<()> {
    let rows = options.rows;
    let place = Place::make(options)?;
    let runtime = place::runtime()?;
    let name = CollectionName::new("rows")?;

    let file = SqliteOptions::new(place.file("holdall.db"));
    let backend = runtime.block_on(SqliteBackend::open(file))?;
    runtime.block_on(async {
        for first in (0..rows).step_by(BATCH as usize) {
            let mut batch = Batch::new();
            for number in first..rows.min(first + BATCH) {
                let put = Put::doc(Doc::parse(doc(number, rows))?);
                batch = batch.put(&name, &Key::new(data::key(number))?, Condition::Any, put);
            }
            backend.write(batch).await?;
        }
        let indexes = [Index::parse(&["group"])?, Index::parse(&["rank"])?];
        backend.define(&name, &indexes).await
    })?;

    let connection = raw::create(&place.file("raw.db"))?;
    for first in (0..rows).step_by(BATCH as usize) {
        let transaction = connection.unchecked_transaction()?;
        let mut put = connection.prepare_cached(&raw::put())?;
        for number in first..rows.min(first + BATCH) {
            raw::insert(
                &mut put,
                number,
                &data::key(number),
                &doc(number, rows),
                None,
            )?;
        }
        transaction.commit()?;
    }
    connection.execute_batch(
        "CREATE INDEX by_group ON items (json_extract(doc, '$.group'), key);
         CREATE INDEX by_rank ON items (json_extract(doc, '$.rank'), key);",
    )?;

    for shape in SHAPES {
        let lines = runtime.block_on(backend.explain(&name, (shape.query)(rows, 1)?))?;
        let uses = lines.iter().any(|line| line.contains("holdall_index_"))
            && !lines.iter().any(|line| line.contains("TEMP B-TREE"));
        report.note(&format!("{}: {}", shape.name, lines.join("; ")));
        report.holds(
            &format!("query, {}: the plan uses the index", shape.name),
            uses,
        );

        let mut statement = connection.prepare(&raw::select("items", shape.sql))?;
        let mut contenders = vec![
            Contender::new("Holdall", |round| {
                let queries = (0..QUERIES)
                    .map(|at| (shape.query)(rows, round as u64 * QUERIES + at))
                    .collect::<Result<Vec<_>>>()?;
                let start = Instant::now();
                runtime.block_on(async {
                    for query in queries {
                        let found = backend.query_all(&name, query, 1000).await?;
                        check(found.len())?;
                        std::hint::black_box(&found);
                    }
                    Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
                })?;
                Ok(work(start))
            }),
            Contender::new("SQL by hand", |round| {
                let values: Vec<_> = (0..QUERIES)
                    .map(|at| (shape.value)(rows, round as u64 * QUERIES + at))
                    .collect();
                let start = Instant::now();
                for value in values {
                    let found = statement
                        .query_map([value], raw::Item::read)?
                        .collect::<rusqlite::Result<Vec<_>>>()?;
                    check(found.len())?;
                    std::hint::black_box(&found);
                }
                Ok(work(start))
            }),
        ];
        let rates = rounds::run(options.rounds, &mut contenders)?;
        drop(contenders);
        report.part(&format!("{}, among {rows} rows", shape.name), &rates);
        if let [holdall, raw] = rates.as_slice() {
            let what = format!("query, {}: Holdall over SQL by hand", shape.name);
            report.ratio(&what, holdall.over(raw), Target::AtLeast(0.8));
        }
    }
    runtime.block_on(backend.close())?;
    Ok(())
}

/// A query in both languages.
struct Shape {
    name: &'static str,
    query: fn(u64, u64) -> Result<Query>,
    sql: &'static str,
    value: fn(u64, u64) -> rusqlite::types::Value,
}

const SHAPES: [Shape; 2] = [
    Shape {
        name: "equality",
        query: |rows, seed| {
            let group = group(&mut Numbers::from_seed(seed), rows);
            Ok(Query::new(Filter::eq("group", group)?).limit(ROWS))
        },
        sql: "WHERE json_extract(doc, '$.group') = ?1 ORDER BY key LIMIT 20",
        value: |rows, seed| group(&mut Numbers::from_seed(seed), rows).into(),
    },
    Shape {
        name: "range in order",
        query: |_, seed| {
            let rank = Numbers::from_seed(seed).below(900_000_000);
            let filter = Filter::from_json(&json!({"rank": {"$gte": rank}}))?;
            Ok(Query::new(filter).sort(Sort::parse("rank")?).limit(ROWS))
        },
        sql: "WHERE json_extract(doc, '$.rank') >= ?1 ORDER BY json_extract(doc, '$.rank'), key LIMIT 20",
        value: |_, seed| {
            let rank = Numbers::from_seed(seed).below(900_000_000);
            i64::try_from(rank).unwrap_or(i64::MAX).into()
        },
    },
];

fn check(found: usize) -> Result<()> {
    if found as u64 == ROWS {
        return Ok(());
    }
    Err(format!("a query answered {found} rows, not {ROWS}").into())
}

fn work(start: Instant) -> Work {
    Work {
        operations: QUERIES,
        nanos: start.elapsed().as_nanos(),
    }
}
