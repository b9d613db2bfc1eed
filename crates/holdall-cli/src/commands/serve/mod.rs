//! `serve`.

mod logging;
mod settings;

use holdall::Store;
use holdall_server::access::{Access as Gate, Tokens};
use holdall_server::{App, Server, ServerOptions, Tls, app};
use serde_json::json;

use self::settings::{Settings, Shown};
use crate::args::Serve;
use crate::environment;
use crate::exit::{Failure, say};
use crate::interrupt::Interrupt;
use crate::output::Output;
use crate::store::{Access, Door};
use crate::table::Table;
use crate::tokens;

pub(crate) async fn run(
    door: &Door,
    output: &mut Output,
    json: bool,
    wanted: Serve,
    interrupt: &Interrupt,
) -> Result<(), Failure> {
    let settings = Settings::read(&wanted)?;
    let chosen = door.choose()?;
    let store_shown = chosen.shown();
    let store_origin = chosen.origin.clone();
    if let (Some(tokens), Some(served)) = (&settings.tokens, chosen.settings()?) {
        tokens::refuse_served(tokens, &served)?;
    }

    logging::start(&settings.log, json)?;
    let server = listen(&settings).await?;
    server.refuse_open(settings.tokens.is_some())?;
    if wanted.check {
        let is_there = chosen.examine().await?;
        if let Some(tokens) = &settings.tokens {
            Store::open(tokens.clone().existing())
                .await?
                .close()
                .await?;
        }
        let value = if is_there {
            store_shown
        } else {
            format!("{store_shown} (to be made)")
        };
        let store = Shown {
            name: "store".into(),
            value,
            origin: store_origin,
        };
        return show(output, &[store], &settings.shown);
    }

    let store = door.open(Access::Any).await?;
    let tokens = match &settings.tokens {
        Some(url) => Some(tokens::open(url.clone(), Access::Existing).await?),
        None => None,
    };
    let result = serve(
        server,
        store,
        tokens.as_ref().map(|(_, tokens)| tokens),
        settings,
        &store_shown,
        json,
        interrupt,
    );
    let result = result.await;
    let closed = match tokens {
        Some((store, _)) => store.close().await,
        None => Ok(()),
    };
    result.and(closed.map_err(Failure::from))
}

/// Listens, and reads what TLS needs before.
async fn listen(settings: &Settings) -> Result<Server, Failure> {
    let tls = settings.tls.clone().map(Tls::load).transpose()?;
    let options = ServerOptions {
        limits: settings.limits,
        tls,
        ..ServerOptions::default()
    };
    let handed = environment::sockets()
        .map_err(|error| Failure::other("the sockets of systemd cannot be used", error))?;
    if handed.is_empty() {
        Ok(Server::bind(&settings.listen.value, options).await?)
    } else {
        Ok(Server::on(handed, options)?)
    }
}

async fn serve(
    server: Server,
    store: &Store,
    tokens: Option<&Tokens>,
    settings: Settings,
    store_shown: &str,
    json: bool,
    interrupt: &Interrupt,
) -> Result<(), Failure> {
    let options = server.options().clone();
    let gate = match tokens {
        Some(tokens) => Gate::tokens(tokens.clone()),
        None => Gate::open(),
    };
    let routes = app(App {
        env: store.env().clone(),
        access: gate.origins(settings.sites),
        ..App::of(store.backend().clone(), &options)
    });

    raise_open_files();
    if let Some(tls) = options.tls {
        reload_on_hangup(tls);
    }
    let url = server.url();
    if json {
        tracing::info!(%url, store = store_shown, "serving");
    } else {
        let why = match (tokens, server.is_local()) {
            (None, true) => " (loopback only, as there are no tokens)",
            _ => "",
        };
        say("holdall", &format!("serving {store_shown} on {url}{why}"));
    }
    environment::notify_ready();
    let shutdown = async {
        interrupt.came().await;
        tracing::info!("the server ends: what is in flight is finished");
        environment::notify_stopping();
    };
    let ended = server.serve(routes, shutdown).await;
    tracing::info!(given_up = ended.given_up, "the server has ended");
    Ok(())
}

fn show(output: &mut Output, first: &[Shown], rest: &[Shown]) -> Result<(), Failure> {
    let mut table = Table::new(&["NAME", "VALUE", "FROM"]);
    for Shown {
        name,
        value,
        origin,
    } in first.iter().chain(rest)
    {
        if output.tables() {
            table.row(output, [name.clone(), value.clone(), origin.to_string()])?;
        } else {
            output.json(&json!({"name": name, "value": value, "from": origin.to_string()}))?;
        }
    }
    table.end(output)
}

/// Each connection is an open file, and the usual limit is 1,024: the system
/// lets a program raise it up to what the administrator allows.
#[cfg(unix)]
fn raise_open_files() {
    use rustix::process::{Resource, getrlimit, setrlimit};

    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit of open files cannot be raised");
    }
}

#[cfg(not(unix))]
fn raise_open_files() {}

/// A certificate lives shorter than a server: SIGHUP has its files read again.
#[cfg(unix)]
fn reload_on_hangup(tls: Tls) {
    use tokio::signal::unix::{SignalKind, signal};

    let mut hangup = match signal(SignalKind::hangup()) {
        Ok(hangup) => hangup,
        Err(error) => {
            tracing::warn!(%error, "SIGHUP cannot be listened to");
            return;
        }
    };
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            match tls.reload() {
                Ok(()) => tracing::info!("the certificate was read again"),
                Err(error) => tracing::error!(%error, "the certificate stays as it was"),
            }
        }
    });
}

#[cfg(not(unix))]
fn reload_on_hangup(_: Tls) {}
