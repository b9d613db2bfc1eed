//! A store of a test's own, and the same database through the driver.

use holdall_backends::mongodb::driver::bson::{Document, doc};
use holdall_backends::mongodb::driver::{Client, Database};
use holdall_backends::mongodb::{MongoBackend, MongoOptions};
use holdall_core::{Backend, CollectionName, Key};
use holdall_testing::services::need;

use super::{clear, database, options};

pub fn items() -> CollectionName {
    "items".parse().unwrap()
}

pub fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

/// A store, the same database through the driver, and how to end both.
pub struct Own {
    pub store: MongoBackend,
    pub database: Database,
    pub server: String,
    pub base: String,
}

impl Own {
    pub async fn new(set: impl FnOnce(&mut MongoOptions)) -> Option<Self> {
        let server = need("mongodb")?;
        let base = database();
        let mut options = options(&server, &base);
        set(&mut options);
        let store = MongoBackend::open(options).await.unwrap();
        let client = Client::with_uri_str(&server).await.unwrap();
        Some(Self {
            store,
            database: client.database(&base),
            server,
            base,
        })
    }

    pub async fn document(&self, id: &str) -> Document {
        let items = self.database.collection::<Document>("items");
        items.find_one(doc! { "_id": id }).await.unwrap().unwrap()
    }

    pub async fn count(&self, collection: &str) -> u64 {
        self.database
            .collection::<Document>(collection)
            .count_documents(doc! {})
            .await
            .unwrap()
    }

    pub async fn end(self) {
        self.store.close().await.unwrap();
        clear(&self.server, &self.base).await;
    }
}
