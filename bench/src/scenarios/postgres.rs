//! Items in PostgreSQL, beside the same statements through the bare driver: on
//! Holdall's own table for what reads, on a table with the same columns for what
//! writes. The server is one of `cargo xtask services up`.

use std::error::Error;
use std::time::Instant;

use bytes::{BufMut, BytesMut};
use holdall_backends::postgres::{PostgresBackend, PostgresOptions};
use holdall_core::{
    Backend, BackendExt, Batch, CollectionName, Condition, Doc, Env, Filter, GetOptions, Index,
    Key, Parts, Put, Query, Sort, json, sort_key,
};
use holdall_testing::services;
use tokio::runtime::Runtime;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Client, NoTls, Statement};

use crate::Result;
use crate::data::{self, Numbers};
use crate::options::Options;
use crate::place;
use crate::report::{Report, Target};
use crate::rounds::{self, Contender, Work};

/// Rows of an answer.
const ROWS: u64 = 20;

/// Reads and queries of a round.
const READS: u64 = 2_000;

/// Puts of a batch.
const BATCH: u64 = 1_000;

/// Batches of a round.
const BATCHES: u64 = 10;

/// The bytes of a column as they come over the wire, and go.
struct Raw(Vec<u8>);

impl<'a> FromSql<'a> for Raw {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(raw.to_vec()))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

impl std::fmt::Debug for Raw {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl ToSql for Raw {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.put_slice(&self.0);
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// Twenty rows have each group; the rank is a number of its own for each row.
fn doc(number: u64, rows: u64) -> String {
    let group = Numbers::from_seed(number % (rows / ROWS)).next() % 1_000_000_007;
    let rank = Numbers::from_seed(number).next() % 1_000_000_007;
    format!(
        "{{\"group\":\"group {group}\",\"rank\":{rank},\"name\":\"the row with the number {number}\",\
         \"state\":\"accepted\",\"tags\":[\"a\",\"b\"]}}"
    )
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

fn batch(name: &CollectionName, first: u64, rows: u64) -> Result<Batch> {
    let mut batch = Batch::new();
    for number in first..first + BATCH {
        let put = Put::doc(Doc::parse(doc(number, rows))?);
        batch = batch.put(name, &Key::new(data::key(number))?, Condition::Any, put);
    }
    Ok(batch)
}

pub(crate) fn run(options: &Options, report: &mut Report) -> Result<()> {
    let url = services::url("postgres")
        .ok_or("no PostgreSQL runs here; start one with cargo xtask services up postgres")?;
    let runtime = place::runtime()?;
    let client = runtime.block_on(async {
        let (client, connection) = tokio_postgres::connect(&url, NoTls).await?;
        tokio::spawn(connection);
        Ok::<_, tokio_postgres::Error>(client)
    })?;
    let schema = format!("bench_{}", Env::system().version()).replace('-', "");
    runtime.block_on(client.batch_execute(&format!("CREATE SCHEMA {schema}")))?;
    let measured = measure(options, report, &runtime, &client, (&url, &schema));
    runtime.block_on(client.batch_execute(&format!("DROP SCHEMA {schema} CASCADE")))?;
    measured
}

fn measure(
    options: &Options,
    report: &mut Report,
    runtime: &Runtime,
    client: &Client,
    (url, schema): (&str, &str),
) -> Result<()> {
    let rows = options.rows.max(BATCH) / BATCH * BATCH;
    let name = CollectionName::new("rows")?;
    let mut store = PostgresOptions::new(url);
    store.schema = Some(schema.to_owned());
    let backend = runtime.block_on(PostgresBackend::open(store))?;
    batches(options, report, runtime, client, (&backend, schema))?;

    let indexes = [Index::parse(&["group"])?, Index::parse(&["rank"])?];
    runtime.block_on(async {
        backend.define(&name, &indexes).await?;
        for first in (0..rows).step_by(usize::try_from(BATCH)?) {
            backend.write(batch(&name, first, rows)?).await?;
        }
        client
            .batch_execute(&format!("VACUUM ANALYZE {schema}.rows"))
            .await?;
        Ok::<_, Box<dyn Error + Send + Sync>>(())
    })?;

    let columns = "key, version, created, modified, size, digest, chunks, attrs, doc";
    let table = format!("{schema}.rows");
    let point = prepare(
        runtime,
        client,
        &format!("SELECT {columns} FROM {table} WHERE key = $1"),
    )?;
    let key = |round: usize, at: u64| {
        data::key(Numbers::from_seed(round as u64 * READS + at).below(rows))
    };
    let mut contenders = vec![
        Contender::new("Holdall", |round| {
            let keys = (0..READS).map(|at| Key::new(key(round, at)));
            let keys = keys.collect::<holdall_core::Result<Vec<_>>>()?;
            let start = Instant::now();
            runtime.block_on(async {
                for key in keys {
                    let options = GetOptions::parts(Parts::DOC);
                    let item = backend.get(&name, &key, options).await?;
                    check(u64::from(item.is_some()), 1)?;
                }
                done(start, READS)
            })
        }),
        Contender::new("the driver", |round| {
            let keys = (0..READS).map(|at| Raw(key(round, at).into_bytes()));
            let keys = keys.collect::<Vec<_>>();
            let start = Instant::now();
            runtime.block_on(async {
                for key in keys {
                    check(read(client, &point, key).await?, 1)?;
                }
                done(start, READS)
            })
        }),
    ];
    let rates = rounds::run(options.rounds, &mut contenders)?;
    drop(contenders);
    told(report, "point read", &rates, 1.25);

    let held = runtime.block_on(client.query(
        "SELECT column_name::text FROM information_schema.columns WHERE table_schema = $1 \
         AND table_name = 'rows' AND column_name LIKE 'holdall%' ORDER BY ordinal_position",
        &[&schema],
    ))?;
    let held: Vec<String> = held.iter().map(|row| row.get(0)).collect();
    let [by_group, by_rank] = held.as_slice() else {
        return Err(format!("two columns of indexes were expected, not {held:?}").into());
    };
    let shapes: [Shape; 2] = [
        Shape {
            name: "query of 20 rows by equality",
            query: |rows, seed| Ok(Query::new(Filter::eq("group", group(seed, rows))?).limit(ROWS)),
            sql: format!(
                "SELECT {columns} FROM {table} WHERE {by_group} = $1 ORDER BY key LIMIT 20"
            ),
            value: |rows, seed| sort_key(&group(seed, rows).into()),
        },
        Shape {
            name: "query of 20 rows in order",
            query: |_, seed| {
                let filter = Filter::from_json(&json!({"rank": {"$gte": rank(seed)}}))?;
                Ok(Query::new(filter).sort(Sort::parse("rank")?).limit(ROWS))
            },
            sql: format!(
                "SELECT {columns} FROM {table} WHERE {by_rank} >= $1 AND {by_rank} < '\\x31' \
                 ORDER BY {by_rank}, key LIMIT 20"
            ),
            value: |_, seed| sort_key(&rank(seed).into()),
        },
    ];
    for shape in shapes {
        let statement = prepare(runtime, client, &shape.sql)?;
        let mut contenders = vec![
            Contender::new("Holdall", |round| {
                let queries = (0..READS).map(|at| (shape.query)(rows, round as u64 * READS + at));
                let queries = queries.collect::<Result<Vec<_>>>()?;
                let start = Instant::now();
                runtime.block_on(async {
                    for query in queries {
                        let found = backend.query_all(&name, query, 1000).await?;
                        check(found.len() as u64, ROWS)?;
                    }
                    done(start, READS)
                })
            }),
            Contender::new("the driver", |round| {
                let values = (0..READS)
                    .map(|at| Raw((shape.value)(rows, round as u64 * READS + at)))
                    .collect::<Vec<_>>();
                let start = Instant::now();
                runtime.block_on(async {
                    for value in values {
                        check(read(client, &statement, value).await?, ROWS)?;
                    }
                    done(start, READS)
                })
            }),
        ];
        let rates = rounds::run(options.rounds, &mut contenders)?;
        drop(contenders);
        told(report, shape.name, &rates, 1.25);
    }
    Ok(runtime.block_on(backend.close())?)
}

/// A query in both languages.
struct Shape {
    name: &'static str,
    query: fn(u64, u64) -> Result<Query>,
    sql: String,
    value: fn(u64, u64) -> Vec<u8>,
}

/// Batches of puts beside one insert of as many rows.
fn batches(
    options: &Options,
    report: &mut Report,
    runtime: &Runtime,
    client: &Client,
    (backend, schema): (&PostgresBackend, &str),
) -> Result<()> {
    runtime.block_on(client.batch_execute(&format!(
        "CREATE TABLE {schema}.by_hand (
           key text COLLATE \"C\" PRIMARY KEY, version uuid NOT NULL,
           created timestamptz NOT NULL, modified timestamptz NOT NULL, size bigint NOT NULL,
           digest bytea, chunks uuid, attrs bytea, doc jsonb NOT NULL, body bytea)"
    )))?;
    let insert = prepare(
        runtime,
        client,
        &format!(
            "INSERT INTO {schema}.by_hand (key, version, created, modified, size, doc) \
             SELECT r.key, $3::text::uuid, now(), now(), 0, r.doc::jsonb \
             FROM unnest($1::text[], $2::text[]) AS r(key, doc)"
        ),
    )?;
    let name = CollectionName::new("batches")?;
    let first = |round: usize, at: u64| (round as u64 * BATCHES + at) * BATCH;
    let mut contenders = vec![
        Contender::new("Holdall", |round| {
            let all = (0..BATCHES).map(|at| batch(&name, first(round, at), 1_000_000));
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
            let texts = |of: &dyn Fn(u64) -> String, at| {
                let numbers = first(round, at)..first(round, at) + BATCH;
                numbers.map(of).collect::<Vec<String>>()
            };
            let all: Vec<_> = (0..BATCHES)
                .map(|at| {
                    (
                        texts(&data::key, at),
                        texts(&|number| doc(number, 1_000_000), at),
                    )
                })
                .collect();
            let start = Instant::now();
            runtime.block_on(async {
                for (keys, docs) in all {
                    let version = Env::system().version().to_string();
                    client.execute(&insert, &[&keys, &docs, &version]).await?;
                }
                done(start, BATCHES)
            })
        }),
    ];
    let rates = rounds::run(options.rounds, &mut contenders)?;
    drop(contenders);
    told(report, "a batch of 1,000 puts", &rates, 1.3);
    Ok(())
}

fn prepare(runtime: &Runtime, client: &Client, sql: &str) -> Result<Statement> {
    Ok(runtime.block_on(client.prepare(sql))?)
}

/// Reads rows, with a copy of each value, as an application would have.
async fn read(client: &Client, statement: &Statement, value: Raw) -> Result<u64> {
    let rows = client.query(statement, &[&value]).await?;
    for row in &rows {
        for at in 0..row.len() {
            std::hint::black_box(row.try_get::<_, Option<Raw>>(at)?);
        }
    }
    Ok(rows.len() as u64)
}

fn check(found: u64, wanted: u64) -> Result<()> {
    if found == wanted {
        return Ok(());
    }
    Err(format!("{found} rows came back, not {wanted}").into())
}

fn done(start: Instant, operations: u64) -> Result<Work> {
    Ok(Work {
        operations,
        nanos: start.elapsed().as_nanos(),
    })
}

/// A ratio of times: that of Holdall over that of the driver.
fn told(report: &mut Report, what: &str, rates: &[rounds::Rates], most: f64) {
    report.part(what, rates);
    if let [holdall, bare] = rates {
        let what = format!("postgres, {what}: time of Holdall over {}", bare.name);
        report.ratio(&what, bare.over(holdall), Target::AtMost(most));
    }
}
