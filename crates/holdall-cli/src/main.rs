//! The program `holdall`: stores on the command line.

mod args;
mod atomic_file;
mod commands;
mod environment;
mod exit;
mod input;
mod interrupt;
mod lines;
mod origin;
mod output;
mod progress;
mod store;
mod table;
mod tokens;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Args, Command};
use crate::exit::Failure;
use crate::interrupt::Interrupt;

#[cfg(not(target_env = "msvc"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    if let Some(code) = commands::serve_suite() {
        return code;
    }
    let args = Args::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return Failure::other("threads cannot be started", error).tell(),
    };
    let result = runtime.block_on(until_interrupted(args));
    // A thread may still wait for more of stdin.
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.tell(),
    }
}

/// Runs a command. A signal drops it, which leaves the whole effect of a write
/// or none; an import ends by itself behind the batch that is under way, and a
/// server when what is in flight is done.
async fn until_interrupted(args: Args) -> Result<(), Failure> {
    let interrupt = Interrupt::listen()?;
    let ends_itself = matches!(args.command, Command::Import(_) | Command::Serve(_));
    let run = commands::run(args, interrupt.clone());
    tokio::pin!(run);
    tokio::select! {
        result = &mut run => return result,
        () = interrupt.came() => {}
    }
    if ends_itself {
        return run.await;
    }
    Err(Failure::Interrupted(None))
}
