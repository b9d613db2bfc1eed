//! The conformance suite on MongoDB without change streams, where watchers poll.

mod mongo;

use std::process::ExitCode;

use holdall_backends::mongodb::Transactions;

fn main() -> ExitCode {
    mongo::conformance(|options| {
        options.transactions = Transactions::On;
        options.streams = false;
    })
}
