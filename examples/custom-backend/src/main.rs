//! Registers a backend of one's own and uses it like any other:
//! `cargo run -p custom-backend`.

use holdall::Registry;
use holdall::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
struct Book {
    title: String,
    year: i32,
}

#[tokio::main]
async fn main() -> Result<()> {
    custom_backend::register(Registry::global())?;

    let store = open("toy:").await?;
    let books = store.records::<Book>("books")?;
    for (id, title, year) in [
        ("emma", "Emma", 1815),
        ("heights", "Wuthering Heights", 1847),
        ("waves", "The Waves", 1931),
    ] {
        let title = title.to_owned();
        books.create(Some(id), &Book { title, year }).await?;
    }
    books.update("waves", &json!({"year": 1932})).await?;

    let query = Query::new(Filter::parse(r#"{"year":{"$lt":1900}}"#)?);
    let (old, _) = books.list(query.sort(Sort::parse("year:desc")?)).await?;
    for book in old {
        println!("{}: {} ({})", book.key, book.value.title, book.value.year);
    }
    store.close().await
}
