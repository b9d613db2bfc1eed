//! What `bench child` does for the scenario `server`: servers, and a client.

use std::io::BufRead;
use std::path::Path;
use std::time::Instant;

use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use holdall_backends::http::{HttpBackend, HttpOptions};
use holdall_core::{BackendExt, CollectionName, Condition, DynBackend, Key, MemoryBackend, Put};
use holdall_server::{App, Server, ServerOptions, app};

use crate::memory::{self, Memory};
use crate::scenarios::body;
use crate::scenarios::server::{ITEM, ITEMS};
use crate::{Result, data, place};

/// A handler that answers the same bytes as an item, and does nothing else.
pub(crate) fn bare() -> Result<()> {
    let body = Bytes::from(data::body(0, ITEM));
    let answer = get(move || std::future::ready(body.clone()));
    let routes = Router::new().route("/v1/items/{collection}/{*key}", answer);
    place::runtime()?.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        println!("http://{}", listener.local_addr()?);
        axum::serve(listener, routes).await?;
        Ok(())
    })
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
