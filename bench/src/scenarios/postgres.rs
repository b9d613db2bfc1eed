//! Items in PostgreSQL, beside tokio-postgres, and beside OpenDAL for what it
//! can do: values by their keys.

use std::error::Error;
use std::ops::Range;
use std::time::Instant;

use bytes::{BufMut, Bytes, BytesMut};
use holdall_backends::postgres::{PostgresBackend, PostgresOptions};
use holdall_core::{
    BackendExt, Batch, CollectionName, Condition, DynBackend, Env, GetOptions, Key, Parts, Put,
};
use tokio::runtime::Runtime;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Client, NoTls, Statement};

use super::database::{self, Bare, COLLECTION, ROWS, done};
use crate::options::Options;
use crate::peers::{self, Peer};
use crate::report::{Report, Target};
use crate::rounds::{self, Contender};
use crate::{Result, data, place};

/// Bytes of a value that OpenDAL keeps too.
const BYTES: usize = 1024;

/// Values that are read.
const VALUES: u64 = 20_000;

/// Reads of a round, and writes.
const EACH: (u64, u64) = (2_000, 500);

pub(crate) fn run(options: &Options, report: &mut Report) -> Result<()> {
    let url = database::url("postgres")?;
    let runtime = place::runtime()?;
    let schema = database::name();
    let mut bare = runtime.block_on(Driver::connect(&url, &schema))?;
    let measured = measure(options, report, &runtime, &url, &mut bare);
    let drop = format!("DROP SCHEMA {schema} CASCADE");
    runtime.block_on(bare.client.batch_execute(&drop))?;
    measured
}

fn measure(
    options: &Options,
    report: &mut Report,
    runtime: &Runtime,
    url: &str,
    bare: &mut Driver,
) -> Result<()> {
    let mut store = PostgresOptions::new(url);
    store.schema = Some(bare.schema.clone());
    let backend: DynBackend = runtime.block_on(PostgresBackend::open(store))?.into();
    database::compare(options, report, runtime, &backend, bare)?;
    if options.peers {
        values(options, report, runtime, &backend, (url, bare))?;
    }
    Ok(runtime.block_on(backend.close())?)
}

/// The bytes of a column as they come over the wire, and go.
struct Raw<T>(T);

impl<'a> FromSql<'a> for Raw<Vec<u8>> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(raw.to_vec()))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

impl<T> std::fmt::Debug for Raw<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("bytes")
    }
}

impl ToSql for Raw<&[u8]> {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.put_slice(self.0);
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// A connection, and its statements.
struct Driver {
    client: Client,
    schema: String,
    insert: Statement,
    /// Point read, equality, order; none before there are items.
    reads: Vec<Statement>,
}

impl Driver {
    async fn connect(url: &str, schema: &str) -> Result<Self> {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
        tokio::spawn(connection);
        let create = format!(
            "CREATE SCHEMA {schema};
             CREATE TABLE {schema}.by_hand (
               key text COLLATE \"C\" PRIMARY KEY, version uuid NOT NULL,
               created timestamptz NOT NULL, modified timestamptz NOT NULL, size bigint NOT NULL,
               digest bytea, chunks uuid, attrs bytea, doc jsonb NOT NULL, body bytea)"
        );
        client.batch_execute(&create).await?;
        let insert = format!(
            "INSERT INTO {schema}.by_hand (key, version, created, modified, size, doc) \
             SELECT r.key, $3::text::uuid, now(), now(), 0, r.doc::jsonb \
             FROM unnest($1::text[], $2::text[]) AS r(key, doc)"
        );
        Ok(Self {
            insert: client.prepare(&insert).await?,
            schema: schema.to_owned(),
            reads: Vec::new(),
            client,
        })
    }

    /// Reads rows, with a copy of each value, as an application would have.
    async fn read(&self, statement: usize, value: &[u8]) -> Result<u64> {
        let statement = self.reads.get(statement).ok_or("nothing is prepared")?;
        let rows = self.client.query(statement, &[&Raw(value)]).await?;
        for row in &rows {
            for at in 0..row.len() {
                std::hint::black_box(row.try_get::<_, Option<Raw<Vec<u8>>>>(at)?);
            }
        }
        Ok(rows.len() as u64)
    }
}

impl Bare for Driver {
    type Rows = (Vec<String>, Vec<String>);

    async fn prepare(&mut self) -> Result<()> {
        let table = format!("{}.{COLLECTION}", self.schema);
        let analyze = format!("VACUUM ANALYZE {table}");
        self.client.batch_execute(&analyze).await?;
        let held = self
            .client
            .query(
                "SELECT column_name::text FROM information_schema.columns WHERE table_schema = $1 \
                 AND table_name = $2 AND column_name LIKE 'holdall%' ORDER BY ordinal_position",
                &[&self.schema, &COLLECTION],
            )
            .await?;
        let held: Vec<String> = held.iter().map(|row| row.get(0)).collect();
        let [group, rank] = held.as_slice() else {
            return Err(format!("two columns of indexes were expected, not {held:?}").into());
        };
        let columns = "key, version, created, modified, size, digest, chunks, attrs, doc";
        for rest in [
            "key = $1".to_owned(),
            format!("{group} = $1 ORDER BY key LIMIT {ROWS}"),
            format!("{rank} >= $1 AND {rank} < '\\x31' ORDER BY {rank}, key LIMIT {ROWS}"),
        ] {
            let sql = format!("SELECT {columns} FROM {table} WHERE {rest}");
            self.reads.push(self.client.prepare(&sql).await?);
        }
        Ok(())
    }

    async fn get(&mut self, key: &str) -> Result<u64> {
        self.read(0, key.as_bytes()).await
    }

    async fn equal(&mut self, group: &[u8]) -> Result<u64> {
        self.read(1, group).await
    }

    async fn ordered(&mut self, rank: &[u8]) -> Result<u64> {
        self.read(2, rank).await
    }

    fn rows(&self, numbers: Range<u64>) -> Result<Self::Rows> {
        Ok(numbers
            .map(|number| (data::key(number), database::written_doc(number)))
            .unzip())
    }

    async fn insert(&mut self, (keys, docs): Self::Rows) -> Result<()> {
        let version = Env::system().version().to_string();
        let values: [&(dyn ToSql + Sync); 3] = [&keys, &docs, &version];
        self.client.execute(&self.insert, &values).await?;
        Ok(())
    }
}

/// Values of 1 KiB, one read or written after the other, beside OpenDAL.
fn values(
    options: &Options,
    report: &mut Report,
    runtime: &Runtime,
    backend: &DynBackend,
    (url, bare): (&str, &Driver),
) -> Result<()> {
    let name = CollectionName::new("values")?;
    runtime.block_on(async {
        let schema = &bare.schema;
        let create =
            format!("CREATE TABLE {schema}.items (key text PRIMARY KEY, value bytea NOT NULL)");
        bare.client.batch_execute(&create).await?;
        let insert =
            format!("INSERT INTO {schema}.items SELECT unnest($1::text[]), unnest($2::bytea[])");
        for first in (0..VALUES).step_by(100) {
            let numbers = first..first + 100;
            let keys: Vec<String> = numbers.clone().map(data::key).collect();
            let bodies: Vec<Vec<u8>> = numbers.map(|number| data::body(number, BYTES)).collect();
            let mut batch = Batch::new();
            for (key, body) in keys.iter().zip(&bodies) {
                let put = Put::bytes(body.clone());
                batch = batch.put(&name, &Key::new(key.clone())?, Condition::Any, put);
            }
            backend.write(batch).await?;
            bare.client.execute(&insert, &[&keys, &bodies]).await?;
        }
        let analyze = format!("VACUUM ANALYZE {schema}.values, {schema}.items");
        Ok::<_, Box<dyn Error + Send + Sync>>(bare.client.batch_execute(&analyze).await?)
    })?;
    let place = match url.contains('?') {
        true => format!("{url}&options[search_path]={}", bare.schema),
        false => format!("{url}?options[search_path]={}", bare.schema),
    };
    let program = peers::build()?;
    let mut peer = Peer::start(&program, "opendal-postgresql", place, VALUES, BYTES)?;
    let (reads, writes) = EACH;
    let all = usize::try_from(VALUES)?;

    let mut contenders = vec![
        Contender::new("Holdall", |round| {
            let keys = data::order(all, reads, round as u64).into_iter();
            let keys = keys.map(|at| Key::new(data::key(at as u64)));
            let keys = keys.collect::<holdall_core::Result<Vec<_>>>()?;
            let start = Instant::now();
            runtime.block_on(async {
                for key in keys {
                    let item = backend
                        .get(&name, &key, GetOptions::parts(Parts::BODY))
                        .await?;
                    std::hint::black_box(item.ok_or("an item is missing")?);
                }
                done(start, reads)
            })
        }),
        Contender::new("OpenDAL postgresql", |round| peer.read(reads, round as u64)),
    ];
    let rates = rounds::run(options.rounds, &mut contenders)?;
    drop(contenders);
    beside(report, "a read of 1 KiB", &rates);

    let body = Bytes::from(data::body(0, BYTES));
    let mut contenders = vec![
        Contender::new("Holdall", |round| {
            let keys = (0..writes).map(|at| Key::new(data::written_key(&round.to_string(), 0, at)));
            let keys = keys.collect::<holdall_core::Result<Vec<_>>>()?;
            let start = Instant::now();
            runtime.block_on(async {
                for key in keys {
                    let put = Put::bytes(body.clone());
                    backend.put(&name, &key, Condition::Any, put).await?;
                }
                done(start, writes)
            })
        }),
        Contender::new("OpenDAL postgresql", |round| {
            peer.write(1, writes, BYTES, round)
        }),
    ];
    let rates = rounds::run(options.rounds, &mut contenders)?;
    drop(contenders);
    beside(report, "a write of 1 KiB", &rates);
    Ok(())
}

fn beside(report: &mut Report, what: &str, rates: &[rounds::Rates]) {
    report.part(what, rates);
    if let [holdall, peer] = rates {
        let what = format!("{what}: Holdall over {}", peer.name);
        report.ratio(&what, holdall.over(peer), Target::None);
    }
}
