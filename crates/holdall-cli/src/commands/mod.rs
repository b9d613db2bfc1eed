//! The commands, one file each.

mod bench;
mod conformance;
mod export;
mod find;
mod import;
mod item;
mod manual;
mod schema;
mod serve;
mod token;
mod watch;

pub(crate) use self::conformance::serve as serve_suite;
pub(crate) use self::token::expiry;
use crate::args::{Args, Command};
use crate::exit::Failure;
use crate::interrupt::Interrupt;
use crate::output::Output;
use crate::store::Door;

/// Runs a command.
pub(crate) async fn run(args: Args, interrupt: Interrupt) -> Result<(), Failure> {
    let json = args.json;
    let mut output = Output::new(json, args.table);
    let result = match args.command {
        Command::Conformance(wanted) => conformance::run(&mut output, wanted).await,
        Command::Bench(wanted) => bench::run(&mut output, wanted).await,
        Command::Token(wanted) => token::run(&mut output, wanted).await,
        Command::Completions { shell } => manual::completions(&mut output, shell),
        Command::Man { dir } => manual::pages(&mut output, dir.as_deref()),
        command => {
            let door = Door::new(args.store);
            let result = match command {
                Command::Serve(wanted) => {
                    serve::run(&door, &mut output, json, wanted, &interrupt).await
                }
                command => on_store(&door, &mut output, command, interrupt).await,
            };
            // What is printed stands before what closing may complain of.
            let flushed = output.flush();
            let closed = door.close().await;
            result.and(flushed).and(closed)
        }
    };
    result.and_then(|()| output.flush())
}

async fn on_store(
    door: &Door,
    output: &mut Output,
    command: Command,
    interrupt: Interrupt,
) -> Result<(), Failure> {
    match command {
        Command::Put(wanted) => item::put(door, output, wanted).await,
        Command::Get(wanted) => item::get(door, output, wanted).await,
        Command::Head(wanted) => item::head(door, output, wanted).await,
        Command::Rm(wanted) => item::rm(door, wanted).await,
        Command::Ls(wanted) => find::ls(door, output, wanted).await,
        Command::Query(wanted) => find::query(door, output, wanted).await,
        Command::Import(wanted) => import::run(door, output, wanted, &interrupt).await,
        Command::Export(wanted) => export::run(door, output, wanted).await,
        Command::Index(wanted) => schema::index(door, wanted).await,
        Command::Collections => schema::collections(door, output).await,
        Command::Drop(wanted) => schema::drop(door, wanted).await,
        Command::Watch(wanted) => watch::run(door, output, wanted).await,
        // Those that open no store, and the server, were run before.
        Command::Serve(_)
        | Command::Conformance(_)
        | Command::Bench(_)
        | Command::Token(_)
        | Command::Completions { .. }
        | Command::Man { .. } => Ok(()),
    }
}
