//! What is to be said of a store on a database server beyond its connections.

use std::time::Duration;

use holdall_core::Env;

/// How a store on a database server is kept.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Makes the tables if they are not there; else that is `NotFound`.
    pub create: bool,
    /// How long the body of an overwritten or deleted item stays readable for
    /// those who are reading it; 1 h by default.
    pub grace: Duration,
    /// How long a staged body waits for its batch; 1 h by default.
    pub lease: Duration,
    /// How often watchers look for changes that they were not told of; 1 s by
    /// default.
    pub poll: Duration,
    /// Clock and randomness.
    pub env: Env,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            create: true,
            grace: Duration::from_secs(60 * 60),
            lease: Duration::from_secs(60 * 60),
            poll: Duration::from_secs(1),
            env: Env::system(),
        }
    }
}
