//! Items in MongoDB, beside its own driver.

use std::ops::Range;

use holdall_backends::mongodb::{MongoBackend, MongoOptions};
use holdall_core::{Doc, DynBackend, Env};
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Bson, Document, doc};
use mongodb::options::{Acknowledgment, DatabaseOptions, ReadConcern, WriteConcern};
use mongodb::{Client, Collection, Database};
use tokio::runtime::Runtime;

use super::database::{self, Bare, COLLECTION, ROWS};
use crate::options::Options;
use crate::report::Report;
use crate::{Result, data, place};

pub(crate) fn run(options: &Options, report: &mut Report) -> Result<()> {
    let url = database::url("mongodb")?;
    let runtime = place::runtime()?;
    let name = database::name();
    let mut bare = runtime.block_on(Driver::connect(&url, &name))?;
    let measured = measure(options, report, &runtime, &url, &mut bare);
    runtime.block_on(async { bare.database.drop().await })?;
    measured
}

fn measure(
    options: &Options,
    report: &mut Report,
    runtime: &Runtime,
    url: &str,
    bare: &mut Driver,
) -> Result<()> {
    let (server, rest) = url.rsplit_once('/').ok_or("the URL names no database")?;
    let settings = rest.split_once('?').map_or("", |(_, settings)| settings);
    let database = bare.database.name();
    let store = MongoOptions::new(format!("{server}/{database}?{settings}"));
    let backend: DynBackend = runtime.block_on(MongoBackend::open(store))?.into();
    database::compare(options, report, runtime, &backend, bare)?;
    Ok(runtime.block_on(backend.close())?)
}

struct Driver {
    client: Client,
    database: Database,
    items: Collection<Document>,
    by_hand: Collection<Document>,
}

impl Driver {
    async fn connect(url: &str, name: &str) -> Result<Self> {
        let client = Client::with_uri_str(url).await?;
        // As Holdall has it.
        let options = DatabaseOptions::builder()
            .read_concern(ReadConcern::majority())
            .write_concern(durable())
            .build();
        let database = client.database_with_options(name, options);
        database.create_collection("by_hand").await?;
        Ok(Self {
            items: database.collection(COLLECTION),
            by_hand: database.collection("by_hand"),
            database,
            client,
        })
    }

    /// The first documents by what an index of Holdall has of them, from a text
    /// on and before another.
    async fn read(&self, index: u32, from: String, to: String) -> Result<u64> {
        let field = format!("_holdall.sort.{index}");
        let limit = i64::try_from(ROWS)?;
        let mut cursor = self
            .items
            .find(doc! { &field: { "$gte": from, "$lt": to } })
            .sort(doc! { &field: 1 })
            .limit(limit)
            .projection(doc! {
                "_holdall.words": 0, "_holdall.unique": 0, "_holdall.body": 0,
            })
            .read_concern(ReadConcern::snapshot())
            .await?;
        let mut found = 0;
        while cursor.advance().await? {
            std::hint::black_box(cursor.deserialize_current()?);
            found += 1;
        }
        Ok(found)
    }
}

fn durable() -> WriteConcern {
    WriteConcern::builder()
        .w(Acknowledgment::Majority)
        .journal(true)
        .build()
}

/// The text that the backend has an index keep for bytes; docs/mongodb.md tells it.
fn text(bytes: &[u8]) -> String {
    let shifted = bytes.iter().map(|byte| u32::from(*byte) + 1);
    shifted.filter_map(char::from_u32).collect()
}

impl Bare for Driver {
    type Rows = Vec<Document>;

    async fn prepare(&mut self) -> Result<()> {
        Ok(())
    }

    async fn get(&mut self, key: &str) -> Result<u64> {
        let found = self
            .items
            .find_one(doc! { "_id": key })
            .projection(doc! {
                "_holdall.words": 0, "_holdall.unique": 0, "_holdall.sort": 0, "_holdall.body": 0,
            })
            .await?;
        Ok(u64::from(std::hint::black_box(found).is_some()))
    }

    async fn equal(&mut self, group: &[u8]) -> Result<u64> {
        let from = text(group);
        // Behind the value stands the key, which begins with no such character.
        let to = format!("{from}\u{101}");
        self.read(1, from, to).await
    }

    async fn ordered(&mut self, rank: &[u8]) -> Result<u64> {
        // Numbers begin with 0x30.
        self.read(2, text(rank), text(&[0x31])).await
    }

    fn rows(&self, numbers: Range<u64>) -> Result<Self::Rows> {
        let version = Bson::Binary(Binary {
            subtype: BinarySubtype::Uuid,
            bytes: Env::system().version().as_bytes().to_vec(),
        });
        let now = Env::system().now().as_micros();
        let row = |number| {
            let mut row = doc! { "_id": data::key(number) };
            let doc = Doc::parse(database::written_doc(number))?.value()?;
            let doc = mongodb::bson::serialize_to_document(&doc)?;
            row.extend(doc);
            row.insert(
                "_holdall",
                doc! { "version": version.clone(), "created": now, "modified": now, "size": 0_i64 },
            );
            Ok(row)
        };
        numbers.map(row).collect()
    }

    /// In a transaction, without which some could be there and others not.
    async fn insert(&mut self, rows: Self::Rows) -> Result<()> {
        let mut session = self.client.start_session().await?;
        let start = session.start_transaction();
        start.write_concern(durable()).await?;
        self.by_hand.insert_many(rows).session(&mut session).await?;
        Ok(session.commit_transaction().await?)
    }
}
