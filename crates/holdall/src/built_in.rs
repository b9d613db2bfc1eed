//! The backends that are built in: a line each in the table, and how each
//! reads its settings.

use holdall_core::{DynBackend, Env, Error, MemoryBackend, Result};

use crate::Settings;
use crate::registry::{Factory, factory};

/// The table of URL schemes.
pub(crate) fn schemes() -> Vec<(&'static str, Factory)> {
    vec![
        ("memory", factory(memory)),
        #[cfg(feature = "dynamodb")]
        ("dynamodb", factory(dynamodb)),
        #[cfg(feature = "http")]
        ("http", factory(http)),
        #[cfg(feature = "http")]
        ("https", factory(http)),
        #[cfg(feature = "mongodb")]
        ("mongodb", factory(mongodb)),
        #[cfg(feature = "mongodb")]
        ("mongodb+srv", factory(mongodb)),
        #[cfg(feature = "mysql")]
        ("mariadb", factory(mysql)),
        #[cfg(feature = "mysql")]
        ("mysql", factory(mysql)),
        #[cfg(feature = "postgres")]
        ("postgres", factory(postgres)),
        #[cfg(feature = "postgres")]
        ("postgresql", factory(postgres)),
        #[cfg(feature = "redis")]
        ("redis", factory(redis)),
        #[cfg(feature = "redis")]
        ("rediss", factory(redis)),
        #[cfg(feature = "sqlite")]
        ("sqlite", factory(sqlite)),
    ]
}

/// Schemes that this build could have and has not, each with its feature.
pub(crate) const LEFT_OUT: &[(&str, &str)] = &[
    #[cfg(not(feature = "dynamodb"))]
    ("dynamodb", "dynamodb"),
    #[cfg(not(feature = "http"))]
    ("http", "http"),
    #[cfg(not(feature = "http"))]
    ("https", "http"),
    #[cfg(not(feature = "mongodb"))]
    ("mongodb", "mongodb"),
    #[cfg(not(feature = "mongodb"))]
    ("mongodb+srv", "mongodb"),
    #[cfg(not(feature = "mysql"))]
    ("mariadb", "mysql"),
    #[cfg(not(feature = "mysql"))]
    ("mysql", "mysql"),
    #[cfg(not(feature = "postgres"))]
    ("postgres", "postgres"),
    #[cfg(not(feature = "postgres"))]
    ("postgresql", "postgres"),
    #[cfg(not(feature = "redis"))]
    ("redis", "redis"),
    #[cfg(not(feature = "redis"))]
    ("rediss", "redis"),
    #[cfg(not(feature = "sqlite"))]
    ("sqlite", "sqlite"),
];

fn invalid(settings: &Settings, why: &str) -> Error {
    Error::invalid(format!(
        "the URL {:?} is not valid: {why}",
        settings.to_string()
    ))
}

async fn memory(settings: Settings, env: Env) -> Result<DynBackend> {
    if !settings.location().is_empty() {
        return Err(invalid(
            &settings,
            "nothing stands behind memory:, as every opening is a new, empty store",
        ));
    }
    settings.refuse_unknown(&[])?;
    Ok(MemoryBackend::with_env(env).into())
}

#[cfg(feature = "sqlite")]
async fn sqlite(settings: Settings, env: Env) -> Result<DynBackend> {
    use holdall_backends::sqlite::{SqliteBackend, SqliteOptions};

    let path = settings.path();
    if path.is_empty() {
        return Err(invalid(
            &settings,
            "the path of the file is missing; write sqlite:PATH",
        ));
    }
    // A habit from other programs, which would name a file in the root folder.
    if path.starts_with("//") {
        return Err(invalid(
            &settings,
            "a path follows the colon at once: write sqlite:PATH or sqlite:/absolute/PATH",
        ));
    }
    // SQLite itself takes these for something else than a file.
    if path.starts_with(':') {
        return Err(invalid(
            &settings,
            "a path does not start with a colon; a store in memory is memory:, a file \
             of such a name sqlite:./NAME",
        ));
    }
    let mut options = SqliteOptions::new(path);
    options.env = env;
    options.create = !settings.is_existing();
    for (name, value) in settings.options() {
        options.set(name, value)?;
    }
    let backend = SqliteBackend::open(options).await?;
    Ok(std::sync::Arc::new(backend))
}

#[cfg(feature = "http")]
async fn http(settings: Settings, env: Env) -> Result<DynBackend> {
    use holdall_backends::http::{HttpBackend, HttpOptions};

    if !settings.location().starts_with("//") {
        return Err(invalid(
            &settings,
            "two slashes and the host follow the colon: write http://HOST:PORT or https://HOST",
        ));
    }
    // Whether it is to be made does not matter: a server's store is there.
    let mut options = HttpOptions::new(format!("{}:{}", settings.scheme(), settings.location()));
    options.env = env;
    for (name, value) in settings.options() {
        options.set(name, value)?;
    }
    Ok(HttpBackend::open(options).await?.into())
}

#[cfg(feature = "mysql")]
async fn mysql(settings: Settings, env: Env) -> Result<DynBackend> {
    use holdall_backends::mysql::{MysqlBackend, MysqlOptions};

    if !settings.location().starts_with("//") {
        return Err(invalid(
            &settings,
            "two slashes, the user and the host follow the colon: write mysql://USER@HOST/DATABASE",
        ));
    }
    let mut options = MysqlOptions::new(format!("mysql:{}", settings.location()));
    options.server.env = env;
    options.server.create = !settings.is_existing();
    for (name, value) in settings.options() {
        options.set(name, value)?;
    }
    Ok(MysqlBackend::open(options).await?.into())
}

#[cfg(feature = "postgres")]
async fn postgres(settings: Settings, env: Env) -> Result<DynBackend> {
    use holdall_backends::postgres::{PostgresBackend, PostgresOptions};

    if !settings.location().starts_with("//") {
        return Err(invalid(
            &settings,
            "two slashes, the user and the host follow the colon: write postgres://USER@HOST/DATABASE",
        ));
    }
    let mut options = PostgresOptions::new(format!("postgres:{}", settings.location()));
    options.server.env = env;
    options.server.create = !settings.is_existing();
    for (name, value) in settings.options() {
        options.set(name, value)?;
    }
    Ok(PostgresBackend::open(options).await?.into())
}

#[cfg(feature = "redis")]
async fn redis(settings: Settings, env: Env) -> Result<DynBackend> {
    use holdall_backends::redis::{RedisBackend, RedisOptions};

    if !settings.location().starts_with("//") {
        return Err(invalid(
            &settings,
            "two slashes and the host follow the colon: write redis://HOST:PORT or rediss://HOST:PORT",
        ));
    }
    let mut options = RedisOptions::new(format!("{}:{}", settings.scheme(), settings.location()));
    options.env = env;
    options.create = !settings.is_existing();
    for (name, value) in settings.options() {
        options.set(name, value)?;
    }
    Ok(RedisBackend::open(options).await?.into())
}

#[cfg(feature = "mongodb")]
async fn mongodb(settings: Settings, env: Env) -> Result<DynBackend> {
    use holdall_backends::mongodb::{MongoBackend, MongoOptions};

    if !settings.location().starts_with("//") {
        return Err(invalid(
            &settings,
            "two slashes and the host follow the colon: write mongodb://HOST:PORT/DATABASE",
        ));
    }
    let mut options = MongoOptions::new(format!("{}:{}", settings.scheme(), settings.location()));
    options.env = env;
    options.create = !settings.is_existing();
    for (name, value) in settings.options() {
        options.set(name, value)?;
    }
    Ok(MongoBackend::open(options).await?.into())
}

#[cfg(feature = "dynamodb")]
async fn dynamodb(settings: Settings, env: Env) -> Result<DynBackend> {
    use holdall_backends::dynamodb::{DynamoDbBackend, DynamoDbOptions};

    let table = settings.path();
    if table.is_empty() || table.contains('/') {
        return Err(invalid(
            &settings,
            "the name of the table follows the colon at once: write dynamodb:TABLE?region=REGION",
        ));
    }
    let mut options = DynamoDbOptions::new(table);
    options.env = env;
    options.create = !settings.is_existing();
    for (name, value) in settings.options() {
        options.set(name, value)?;
    }
    Ok(DynamoDbBackend::open(options).await?.into())
}
