//! The conformance suite on MongoDB.

mod mongo;

use std::process::ExitCode;

use holdall_backends::mongodb::Transactions;

fn main() -> ExitCode {
    mongo::conformance(|options| options.transactions = Transactions::On)
}
