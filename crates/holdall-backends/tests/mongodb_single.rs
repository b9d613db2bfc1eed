//! The conformance suite on MongoDB without transactions, as on a server that stands alone.

mod mongo;

use std::process::ExitCode;

use holdall_backends::mongodb::Transactions;

fn main() -> ExitCode {
    mongo::conformance(|options| options.transactions = Transactions::Off)
}
