//! The commands, one file each.

mod bench;
mod conformance;
mod export;
mod find;
mod import;
mod item;
mod manual;
mod schema;
mod watch;

use holdall::Store;

use crate::args::{Args, Command};
use crate::exit::Failure;
use crate::interrupt::Interrupt;
use crate::output::Output;
use crate::store;

/// Runs a command.
pub(crate) async fn run(args: Args, interrupt: Interrupt) -> Result<(), Failure> {
    let mut output = Output::new(args.json, args.table);
    let result = match args.command {
        Command::Conformance(wanted) => conformance::run(&mut output, wanted).await,
        Command::Bench(wanted) => bench::run(&mut output, wanted).await,
        Command::Completions { shell } => manual::completions(&mut output, shell),
        Command::Man { dir } => manual::pages(&mut output, dir.as_deref()),
        command => {
            let store = store::open(args.store.as_deref(), only_reads(&command)).await?;
            let result = on_store(&store, &mut output, command, interrupt).await;
            // What is printed stands before what closing may complain of.
            let flushed = output.flush();
            let closed = store.close().await.map_err(Failure::from);
            result.and(flushed).and(closed)
        }
    };
    result.and_then(|()| output.flush())
}

fn only_reads(command: &Command) -> bool {
    matches!(
        command,
        Command::Get(_)
            | Command::Head(_)
            | Command::Ls(_)
            | Command::Query(_)
            | Command::Export(_)
            | Command::Collections
    )
}

async fn on_store(
    store: &Store,
    output: &mut Output,
    command: Command,
    interrupt: Interrupt,
) -> Result<(), Failure> {
    match command {
        Command::Put(wanted) => item::put(store, output, wanted).await,
        Command::Get(wanted) => item::get(store, output, wanted).await,
        Command::Head(wanted) => item::head(store, output, wanted).await,
        Command::Rm(wanted) => item::rm(store, wanted).await,
        Command::Ls(wanted) => find::ls(store, output, wanted).await,
        Command::Query(wanted) => find::query(store, output, wanted).await,
        Command::Import(wanted) => import::run(store, output, wanted, &interrupt).await,
        Command::Export(wanted) => export::run(store, output, wanted).await,
        Command::Index(wanted) => schema::index(store, wanted).await,
        Command::Collections => schema::collections(store, output).await,
        Command::Drop(wanted) => schema::drop(store, wanted).await,
        Command::Watch(wanted) => watch::run(store, output, wanted).await,
        // Those that open no store were run before.
        Command::Conformance(_)
        | Command::Bench(_)
        | Command::Completions { .. }
        | Command::Man { .. } => Ok(()),
    }
}
