//! The conformance suite on PostgreSQL.

mod postgres_suite;

fn main() -> std::process::ExitCode {
    postgres_suite::main("postgres", |_| {})
}
