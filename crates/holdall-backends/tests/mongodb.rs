//! The conformance suite on MongoDB.

mod mongo;

use std::process::ExitCode;

use holdall_backends::mongodb::Transactions;

fn main() -> ExitCode {
    mongo::conformance(Transactions::On)
}
