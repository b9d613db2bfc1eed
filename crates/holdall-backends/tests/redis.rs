//! The conformance suite on Redis.

mod redis_suite;

fn main() -> std::process::ExitCode {
    redis_suite::conformance("redis", 0)
}
