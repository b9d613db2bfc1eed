//! Items in MariaDB or MySQL, beside mysql_async.

use std::ops::Range;

use holdall_backends::mysql::{MysqlBackend, MysqlOptions};
use holdall_core::{DynBackend, Env};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts, OptsBuilder, Params, Row, Statement, Value};
use tokio::runtime::Runtime;

use super::database::{self, BATCH, Bare, COLLECTION, ROWS};
use crate::options::Options;
use crate::report::Report;
use crate::{Result, data, place};

pub(crate) fn run(options: &Options, report: &mut Report) -> Result<()> {
    let url = database::url("mysql")?;
    let runtime = place::runtime()?;
    let name = database::name();
    let mut bare = runtime.block_on(Driver::connect(&url, &name))?;
    let measured = measure(options, report, &runtime, &url, &mut bare);
    runtime.block_on(bare.conn.query_drop(format!("DROP DATABASE {name}")))?;
    measured
}

fn measure(
    options: &Options,
    report: &mut Report,
    runtime: &Runtime,
    url: &str,
    bare: &mut Driver,
) -> Result<()> {
    let (server, _) = url.rsplit_once('/').ok_or("the URL names no database")?;
    let store = MysqlOptions::new(format!("{server}/{}", bare.database));
    let backend: DynBackend = runtime.block_on(MysqlBackend::open(store))?.into();
    database::compare(options, report, runtime, &backend, bare)?;
    Ok(runtime.block_on(backend.close())?)
}

/// A connection, and its statements.
struct Driver {
    conn: Conn,
    database: String,
    insert: Statement,
    /// Point read, equality, order; none before there are items.
    reads: Vec<Statement>,
}

impl Driver {
    async fn connect(url: &str, database: &str) -> Result<Self> {
        // As Holdall's connections are.
        let options = OptsBuilder::from_opts(Opts::from_url(url)?)
            .prefer_socket(false)
            .setup(vec![
                "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
            ]);
        let mut conn = Conn::new(options).await?;
        conn.query_drop(format!("CREATE DATABASE {database}"))
            .await?;
        conn.query_drop(format!("USE {database}")).await?;
        conn.query_drop(
            "CREATE TABLE by_hand (
               `key` VARBINARY(1024) NOT NULL PRIMARY KEY, version BINARY(16) NOT NULL,
               created DATETIME(6) NOT NULL, modified DATETIME(6) NOT NULL, size BIGINT NOT NULL,
               digest BINARY(32), chunks BINARY(16), attrs LONGBLOB, doc LONGTEXT NOT NULL,
               body LONGBLOB
             ) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
        )
        .await?;
        let rows = vec!["(?, ?, NOW(6), NOW(6), 0, ?)"; usize::try_from(BATCH)?];
        let insert = format!(
            "INSERT INTO by_hand (`key`, version, created, modified, size, doc) VALUES {}",
            rows.join(", ")
        );
        Ok(Self {
            insert: conn.prep(insert).await?,
            database: database.to_owned(),
            reads: Vec::new(),
            conn,
        })
    }

    /// Reads rows; each has its values as its own.
    async fn read(&mut self, statement: usize, value: &[u8]) -> Result<u64> {
        let statement = self.reads.get(statement).ok_or("nothing is prepared")?;
        let rows: Vec<Row> = self.conn.exec(statement, (value,)).await?;
        Ok(std::hint::black_box(rows).len() as u64)
    }
}

impl Bare for Driver {
    type Rows = Vec<(String, String)>;

    async fn prepare(&mut self) -> Result<()> {
        let analyze = format!("ANALYZE TABLE {COLLECTION}");
        let _answer: Vec<Row> = self.conn.query(analyze).await?;
        let held: Vec<String> = self
            .conn
            .exec(
                "SELECT column_name FROM information_schema.columns WHERE table_schema = ? \
                 AND table_name = ? AND column_name LIKE 'holdall%' ORDER BY ordinal_position",
                (&self.database, COLLECTION),
            )
            .await?;
        let [group, rank] = held.as_slice() else {
            return Err(format!("two columns of indexes were expected, not {held:?}").into());
        };
        let columns = "`key`, version, created, modified, size, digest, chunks, attrs, doc";
        for rest in [
            "`key` = ?".to_owned(),
            format!("{group} = ? ORDER BY `key` LIMIT {ROWS}"),
            format!("{rank} >= ? AND {rank} < x'31' ORDER BY {rank}, `key` LIMIT {ROWS}"),
        ] {
            let sql = format!("SELECT {columns} FROM `{COLLECTION}` WHERE {rest}");
            self.reads.push(self.conn.prep(sql).await?);
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
            .collect())
    }

    async fn insert(&mut self, rows: Self::Rows) -> Result<()> {
        let version = Env::system().version();
        let values = rows.into_iter().flat_map(|(key, doc)| {
            let version = Value::Bytes(version.as_bytes().to_vec());
            [key.into(), version, doc.into()]
        });
        let values = Params::Positional(values.collect());
        Ok(self.conn.exec_drop(&self.insert, values).await?)
    }
}
