//! What `bench child` does for the scenario `server`: servers, and a client.

use std::io::BufRead;
use std::path::Path;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Instant;

use axum::Router;
use axum::extract::Path as UrlPath;
use axum::http::StatusCode;
use axum::routing::get;
use bytes::Bytes;
use holdall_backends::http::{HttpBackend, HttpOptions};
use holdall_core::{BackendExt, CollectionName, Condition, DynBackend, Key, MemoryBackend, Put};
use holdall_server::{App, Server, ServerOptions, app};
use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::memory::{self, Memory};
use crate::scenarios::body;
use crate::scenarios::server::{ITEM, ITEMS};
use crate::{Result, data, place, raw};

/// A handler that answers the same bytes as an item, and does nothing else.
pub(crate) fn bare() -> Result<()> {
    let body = Bytes::from(data::body(0, ITEM));
    let read = get(move || std::future::ready(body.clone()));
    let routes = Router::new().route("/v1/items/{collection}/{*key}", read);
    answer(routes)
}

fn answer(routes: Router) -> Result<()> {
    place::runtime()?.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        println!("http://{}", listener.local_addr()?);
        axum::serve(listener, routes).await?;
        Ok(())
    })
}

/// What one would write by hand to serve a table of SQLite: the same columns and
/// durability, a connection that reads, and one that writes, a transaction for each
/// write.
pub(crate) fn by_hand(file: &str) -> Result<()> {
    let path = Path::new(file);
    let connection = raw::create(path)?;
    for number in 0..ITEMS {
        let mut put = connection.prepare_cached(&raw::put())?;
        let body = data::body(number, ITEM);
        raw::insert(&mut put, number, &format!("k{number}"), "{}", Some(&body))?;
    }
    let writer = write_by_hand(connection);
    let reader = Arc::new(Mutex::new(raw::connect(path)?));
    let select = raw::select("items", "WHERE key = ?1");
    let read = get(
        move |UrlPath((_, key)): UrlPath<(String, String)>| async move {
            let reader = reader
                .lock()
                .map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
            let found = reader
                .prepare_cached(&select)
                .and_then(|mut select| select.query_row([&key], raw::Item::read))
                .map_err(|_| StatusCode::NOT_FOUND)?;
            Ok::<_, StatusCode>(found.body.unwrap_or_default())
        },
    );
    let write = move |UrlPath((_, key)): UrlPath<(String, String)>, body: Bytes| async move {
        let (reply, done) = oneshot::channel();
        // It ends with this process.
        let _sent = writer.send((key, body, reply));
        match done.await {
            Ok(true) => StatusCode::CREATED,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        }
    };
    let routes = Router::new().route("/v1/items/{collection}/{*key}", read.put(write));
    answer(routes)
}

type Write = (String, Bytes, oneshot::Sender<bool>);

/// A thread that writes, a transaction for each.
fn write_by_hand(connection: Connection) -> mpsc::Sender<Write> {
    let (writer, writes) = mpsc::channel::<Write>();
    std::thread::spawn(move || {
        for (number, (key, body, reply)) in (ITEMS..).zip(writes) {
            let put = connection.prepare_cached(&raw::put()).map_err(Into::into);
            let done =
                put.and_then(|mut put| raw::insert(&mut put, number, &key, "{}", Some(&body)));
            let _gone = reply.send(done.is_ok());
        }
    });
    writer
}

/// A server on a store with some items, that tells of its memory when asked.
pub(crate) fn serve(store: &str) -> Result<()> {
    let _limit = rlimit::increase_nofile_limit(u64::MAX)?;
    place::runtime()?.block_on(async {
        let store: DynBackend = match store {
            "memory:" => MemoryBackend::new().into(),
            file => place::holdall(Path::new(file)).await?,
        };
        let name = CollectionName::new("items")?;
        for number in 0..ITEMS {
            let key = Key::new(format!("k{number}"))?;
            let put = Put::bytes(data::body(number, ITEM));
            store.put(&name, &key, Condition::Any, put).await?;
        }
        let options = ServerOptions::default();
        let routes = app(App::of(store, &options));
        let server = Server::bind("127.0.0.1:0", options).await?;
        println!("{}", server.url());
        std::thread::spawn(tell_memory);
        server.serve(routes, std::future::pending()).await;
        Ok(())
    })
}

fn tell_memory() {
    let mut since = None;
    for line in std::io::stdin()
        .lock()
        .lines()
        .map_while(std::io::Result::ok)
    {
        let number = match line.as_str() {
            "mark" => Memory::mark().map(|now| {
                since = Some(now);
                0
            }),
            "grown" => since
                .as_ref()
                .map_or_else(|| Err("nothing was marked".into()), Memory::grown),
            _ => memory::resident(),
        };
        match number {
            Ok(number) => println!("{number}"),
            Err(error) => println!("{error}"),
        }
    }
}

/// A client that moves a large body in and out, each when it is told to.
pub(crate) fn move_body(url: &str, bytes: u64) -> Result<()> {
    place::runtime()?.block_on(async {
        let backend: DynBackend = HttpBackend::open(HttpOptions::new(url)).await?.into();
        body::put(&backend, "warm", 4 << 20).await?;
        body::get(&backend, "warm", 4 << 20).await?;
        println!("ready");
        for line in std::io::stdin().lock().lines() {
            let before = Memory::mark()?;
            let start = Instant::now();
            match line?.as_str() {
                "in" => body::put(&backend, "large", bytes).await?,
                _ => body::get(&backend, "large", bytes).await?,
            }
            println!("{} {}", start.elapsed().as_secs_f64(), before.grown()?);
        }
        Ok(())
    })
}
