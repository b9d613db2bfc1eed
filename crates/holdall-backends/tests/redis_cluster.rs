//! The conformance suite on a Redis cluster, where each write is waited for until a
//! replica has it.

mod redis_suite;

fn main() -> std::process::ExitCode {
    redis_suite::conformance("redis-cluster", 1)
}
