//! The conformance suite through PgBouncer, which gives each transaction another
//! connection.

mod postgres_suite;

fn main() -> std::process::ExitCode {
    postgres_suite::main("pgbouncer", |options| options.prepare = false)
}
