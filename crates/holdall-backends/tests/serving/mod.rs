//! What the tests of `http:` share: servers in this process.

#![allow(
    clippy::unwrap_used,
    dead_code,
    unreachable_pub,
    reason = "each test binary uses a part of it, and fails by panicking"
)]

use std::process::ExitCode;
use std::sync::LazyLock;

use holdall_backends::http::{HttpBackend, HttpOptions};
use holdall_core::conformance::{Options, Target, cases, main_with};
use holdall_core::{DynBackend, Env, Result};
use holdall_server::{App, Server, ServerOptions, Tls, app};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

/// Where servers run: apart from their clients, as in life.
static SERVERS: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
});

/// Serves a store until the process ends, or the token is cancelled.
pub async fn serve(store: DynBackend, env: Env) -> (String, CancellationToken) {
    let app = App {
        env,
        ..App::new(store)
    };
    serve_app(app, None).await
}

pub async fn serve_app(served: App, tls: Option<Tls>) -> (String, CancellationToken) {
    let serving = SERVERS.spawn(async move {
        let options = ServerOptions {
            limits: served.limits,
            ending: served.ending.clone(),
            metrics: served.metrics.clone(),
            tls,
        };
        let ending = served.ending.clone();
        let server = Server::bind("127.0.0.1:0", options).await.unwrap();
        let url = server.url();
        SERVERS.spawn(server.serve(app(served), std::future::pending()));
        (url, ending)
    });
    serving.await.unwrap()
}

pub async fn connect(url: impl Into<String>, env: Env) -> Result<DynBackend> {
    let options = HttpOptions {
        env,
        ..HttpOptions::new(url)
    };
    Ok(HttpBackend::open(options).await?.into())
}

/// The `main` of a binary that runs the suite through `http:`, over stores that
/// an opener makes: the first is served to all, the others have clocks.
#[allow(
    clippy::disallowed_methods,
    reason = "a test binary has no other settings"
)]
pub fn conformance<F, Fut>(served: &str, open: F) -> ExitCode
where
    F: Fn(Env) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<DynBackend>> + Send + 'static,
{
    // A worker is told the URL, and a list of the cases needs none.
    let is_worker = std::env::args()
        .nth(1)
        .is_some_and(|first| first.starts_with("holdall-"));
    let url = if is_worker {
        String::new()
    } else {
        let open = open.clone();
        SERVERS.block_on(async move {
            let store = open(Env::system()).await.unwrap();
            serve(store, Env::system()).await.0
        })
    };
    let target = Target::new(url, |url| connect(url, Env::system()))
        .stands_on(format!("a server over {served}"))
        .reopens()
        .with_env(move |env| {
            let open = open.clone();
            async move {
                let (url, _) = serve(open(env.clone()).await?, env.clone()).await;
                connect(url, env).await
            }
        });
    match Options::from_settings(|name| std::env::var(name).ok()) {
        Ok(options) => main_with(target, cases(), options),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
