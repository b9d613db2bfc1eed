//! Connections to PostgreSQL.

use std::fmt;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{
    Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime, TimeoutType,
};
use futures_util::future::{join_all, select};
use futures_util::{StreamExt, TryStreamExt};
use holdall_core::{Error, MAX_DOC, Result};
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::types::Type;
use tokio_postgres::{AsyncMessage, Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::PostgresOptions;
use super::error::{failure, unreachable};
use super::spelling::PostgresSpelling;
use super::values::type_of;
use crate::files::password;
use crate::sql::Value;
use crate::sql::server::Spelling;
use crate::sql::server::driver::{
    Answer, Connection, Driver, Failure, Limits, Row, Statement, Step,
};
use crate::tls::{TlsFiles, client_config};

/// Statements that a connection keeps prepared.
const STATEMENTS: usize = 256;

/// A PostgreSQL server.
pub struct Postgres {
    pool: Pool,
    is_own: bool,
    spelling: PostgresSpelling,
    /// Makes the connection that listens; `None` where connections come from
    /// outside.
    config: Option<(Config, Option<MakeRustlsConnect>)>,
    /// Where it is, for errors.
    place: Arc<str>,
    connect_timeout: Duration,
    timeout: Duration,
    prepare: bool,
    /// What starts a transaction.
    begin: Arc<str>,
}

/// What the server says of itself.
struct Facts {
    schema: Option<String>,
    encoding: String,
    /// Settings that lose what was committed when the power fails.
    loses: Vec<String>,
    /// Whether `synchronous_commit` is off, which a transaction may change.
    is_lax: bool,
}

impl Postgres {
    pub(super) async fn connect(options: PostgresOptions) -> Result<(Self, bool)> {
        let mut config: Config = options.url.parse().map_err(|error| {
            Error::invalid(
                "the URL is not valid; write postgres://USER:PASSWORD@HOST:PORT/DATABASE",
            )
            .because(error)
        })?;
        if config.get_user().is_none() {
            return Err(Error::invalid(
                "the URL names no user; write postgres://USER@HOST/DATABASE",
            ));
        }
        if let Some(password) = password(
            options.password.as_deref(),
            options.password_file.as_deref(),
        )? {
            config.password(password);
        }
        config
            .connect_timeout(options.connect_timeout)
            .keepalives_idle(Duration::from_secs(60))
            .application_name("holdall");
        let is_safe = options.tls.unwrap_or_else(|| !is_here(&config));
        let tls = match is_safe {
            false => None,
            true => {
                let files = TlsFiles {
                    ca: options.ca.as_deref(),
                    cert: options.cert.as_deref(),
                    key: options.key.as_deref(),
                };
                Some(MakeRustlsConnect::new(client_config(files)?))
            }
        };
        config.ssl_mode(match is_safe {
            true => SslMode::Require,
            false => SslMode::Disable,
        });
        let recycling = ManagerConfig {
            recycling_method: RecyclingMethod::Fast,
        };
        let manager = match &tls {
            Some(tls) => Manager::from_config(config.clone(), tls.clone(), recycling),
            None => Manager::from_config(config.clone(), NoTls, recycling),
        };
        let pool = Pool::builder(manager)
            .max_size(usize::try_from(options.connections).unwrap_or(1))
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(options.connect_timeout))
            .create_timeout(Some(options.connect_timeout))
            .recycle_timeout(Some(options.connect_timeout))
            .build()
            .map_err(|error| Error::other("the pool could not be made").because(error))?;
        let place: Arc<str> = place(&config).into();
        Self::over(pool, true, Some((config, tls)), place, &options).await
    }

    /// Over a pool that may be somebody else's.
    pub(super) async fn over(
        pool: Pool,
        is_own: bool,
        config: Option<(Config, Option<MakeRustlsConnect>)>,
        place: Arc<str>,
        options: &PostgresOptions,
    ) -> Result<(Self, bool)> {
        let mut driver = Self {
            pool,
            is_own,
            spelling: PostgresSpelling::default(),
            config,
            place,
            connect_timeout: options.connect_timeout,
            timeout: options.timeout,
            prepare: options.prepare,
            begin: "BEGIN ISOLATION LEVEL READ COMMITTED".into(),
        };
        let facts = driver.facts().await?;
        if facts.encoding != "UTF8" {
            return Err(Error::invalid(format!(
                "the database has the encoding {}, which cannot keep all text; create one with UTF8",
                facts.encoding
            )));
        }
        let durable = facts.loses.is_empty();
        if options.durable && !durable {
            return Err(Error::unsupported(format!(
                "the server runs with {}, so that a loss of power may take what was written. \
                 Change that, or accept it with the option durable=false",
                facts.loses.join(" and ")
            )));
        }
        if options.durable && facts.is_lax {
            driver.begin =
                "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL synchronous_commit = on".into();
        }
        let schema = options.schema.clone().or(facts.schema).ok_or_else(|| {
            Error::not_found(
                "no schema of the user's search path exists; create one, or set the option schema",
            )
        })?;
        driver.spelling = PostgresSpelling::in_schema(schema);
        Ok((driver, durable && (options.durable || !facts.is_lax)))
    }

    async fn facts(&self) -> Result<Facts> {
        let ask = "SELECT current_schema()::text, current_setting('server_encoding'), \
                   current_setting('fsync'), current_setting('full_page_writes'), \
                   current_setting('synchronous_commit')";
        let mut connection = Driver::connect(self).await?;
        let answers = connection.run(vec![Statement::once(ask, [])]).await;
        let answers = answers.map_err(Failure::into_error)?;
        let row = answers.into_iter().flat_map(|answer| answer.rows).next();
        let Some([schema, rest @ ..]) = row.as_deref() else {
            return Err(Error::other("PostgreSQL did not say how it is set up"));
        };
        let text = |at: usize| match rest.get(at) {
            Some(Value::Text(text)) => text.clone(),
            _ => String::new(),
        };
        let loses = ["fsync", "full_page_writes"]
            .iter()
            .zip([text(1), text(2)])
            .filter(|(_, set)| set == "off")
            .map(|(name, _)| format!("{name} = off"))
            .collect();
        Ok(Facts {
            schema: match schema {
                Value::Text(schema) => Some(schema.clone()),
                _ => None,
            },
            encoding: text(0),
            loses,
            is_lax: text(3) == "off",
        })
    }
}

/// Whether all hosts are this machine.
fn is_here(config: &Config) -> bool {
    config.get_hosts().iter().all(|host| match host {
        Host::Tcp(name) => {
            name == "localhost" || name.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
        }
        #[cfg(unix)]
        Host::Unix(_) => true,
    })
}

/// The hosts, for people.
fn place(config: &Config) -> String {
    let ports = config.get_ports();
    let hosts: Vec<String> = config
        .get_hosts()
        .iter()
        .enumerate()
        .map(|(at, host)| {
            let port = ports.get(at).or(ports.first()).copied().unwrap_or(5432);
            match host {
                Host::Tcp(name) => format!("{name}:{port}"),
                #[cfg(unix)]
                Host::Unix(path) => path.display().to_string(),
            }
        })
        .collect();
    hosts.join(" or ")
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgres")
            .field("place", &self.place)
            .field("schema", &self.spelling)
            .finish_non_exhaustive()
    }
}

impl Driver for Postgres {
    type Connection = PostgresConnection;

    const RESERVED: &'static str = "pg_";
    fn limits(&self) -> Limits {
        Limits {
            max_ops: 10_000,
            max_bytes: 32 * 1024 * 1024,
            max_doc: MAX_DOC,
        }
    }

    fn spelling(&self) -> &dyn Spelling {
        &self.spelling
    }

    async fn connect(&self) -> Result<PostgresConnection> {
        let client = match self.is_own {
            true => self.pool.get().await,
            // It may be set to wait for ever.
            false => match tokio::time::timeout(self.connect_timeout, self.pool.get()).await {
                Ok(client) => client,
                Err(_) => Err(PoolError::Timeout(TimeoutType::Wait)),
            },
        };
        let client = client.map_err(|error| match error {
            PoolError::Timeout(TimeoutType::Wait) => Error::timeout(format!(
                "all {} connections were busy for too long; try again, or raise the option connections",
                self.pool.status().max_size
            ))
            .in_backend("postgres"),
            PoolError::Timeout(_) => Error::timeout(format!(
                "PostgreSQL at {} did not answer in time. Is the server running, and the way to it open?",
                self.place
            ))
            .in_backend("postgres"),
            PoolError::Closed => Error::closed("the store was closed; open it again to use it"),
            PoolError::Backend(error) => unreachable(error, &self.place),
            error => Error::unavailable("no connection to PostgreSQL could be had").because(error),
        })?;
        Ok(PostgresConnection {
            client: Some(client),
            is_open: false,
            timeout: self.timeout,
            prepare: self.prepare,
            begin: self.begin.clone(),
        })
    }

    async fn announce(&self) {
        if let Ok(client) = self.pool.get().await {
            // One transaction, which need not wait for the disk: nothing is lost with it.
            let notify = format!(
                "SET LOCAL synchronous_commit = off; NOTIFY {}",
                self.spelling.channel()
            );
            // Others look by themselves, too.
            let _ = tokio::time::timeout(self.timeout, client.batch_execute(&notify)).await;
        }
    }

    async fn listen(&self, heard: impl Fn() + Send + Sync) -> Error {
        let Some((config, tls)) = &self.config else {
            return Error::unsupported("a pool from outside has no connection to listen on");
        };
        let listen = format!("LISTEN {}", self.spelling.channel());
        match tls {
            Some(tls) => match config.connect(tls.clone()).await {
                Ok((client, connection)) => follow(client, connection, &listen, heard).await,
                Err(error) => unreachable(error, &self.place),
            },
            None => match config.connect(NoTls).await {
                Ok((client, connection)) => follow(client, connection, &listen, heard).await,
                Err(error) => unreachable(error, &self.place),
            },
        }
    }

    fn close(&self) {
        if self.is_own {
            self.pool.close();
        }
    }
}

/// Rings for each word that comes over a connection, until it breaks.
async fn follow<S, T>(
    client: tokio_postgres::Client,
    mut connection: tokio_postgres::Connection<S, T>,
    listen: &str,
    heard: impl Fn(),
) -> Error
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let messages = futures_util::stream::poll_fn(|context| connection.poll_message(context));
    let words = messages.for_each(|message| {
        if let Ok(AsyncMessage::Notification(_)) = message {
            heard();
        }
        std::future::ready(())
    });
    let listening = async {
        let _ = client.batch_execute(listen).await;
        std::future::pending::<()>().await;
    };
    select(pin!(words), pin!(listening)).await;
    Error::unavailable("the connection that listens was lost")
}

/// A connection of the pool.
pub(crate) struct PostgresConnection {
    /// `None` once it is not to be used again.
    client: Option<Object>,
    /// Whether a transaction is under way.
    is_open: bool,
    timeout: Duration,
    prepare: bool,
    begin: Arc<str>,
}

impl Drop for PostgresConnection {
    fn drop(&mut self) {
        // Closing it has the server undo the transaction.
        if self.is_open
            && let Some(client) = self.client.take()
        {
            drop(Object::take(client));
        }
    }
}

impl Connection for PostgresConnection {
    async fn run(&mut self, statements: Vec<Statement>) -> Result<Vec<Answer>, Failure> {
        let commits = statements
            .iter()
            .any(|statement| statement.step == Step::Commit);
        let begins = statements
            .iter()
            .any(|statement| statement.step == Step::Begin);
        // Until it is known how it ends, so that one who gives up leaves nothing.
        let was_open = std::mem::replace(&mut self.is_open, true);
        let all = self.all(&statements);
        let ended = match tokio::time::timeout(self.timeout, all).await {
            Ok(ended) => ended,
            Err(_) => Err(Failure::Broken(
                Error::timeout(format!(
                    "PostgreSQL did not answer within {:?}; try again, or raise the option timeout",
                    self.timeout
                ))
                .in_backend("postgres"),
            )),
        };
        match ended {
            Ok(answers) => {
                self.is_open = (was_open || begins) && !commits;
                Ok(answers)
            }
            Err(Failure::Broken(error)) => {
                // It stays open, so that it is not used again.
                Err(match commits {
                    true => Failure::Lost(error),
                    false => Failure::Broken(error),
                })
            }
            Err(failure) => {
                if was_open || begins {
                    self.roll_back().await;
                } else {
                    self.is_open = false;
                }
                Err(failure)
            }
        }
    }

    async fn roll_back(&mut self) {
        if let Some(client) = &self.client {
            let undone = tokio::time::timeout(self.timeout, client.batch_execute("ROLLBACK")).await;
            self.is_open = !matches!(undone, Ok(Ok(())));
        }
    }
}

impl PostgresConnection {
    async fn all(&self, statements: &[Statement]) -> Result<Vec<Answer>, Failure> {
        let Some(client) = &self.client else {
            return Err(Failure::Broken(Error::unavailable(
                "the connection to PostgreSQL was lost",
            )));
        };
        if client.statement_cache.size() > STATEMENTS {
            client.statement_cache.clear();
        }
        let mut ready = Vec::with_capacity(statements.len());
        for statement in statements {
            ready.push(self.ready(client, statement).await?);
        }
        // Each is sent when it is first polled, in this order, and none waits for
        // the answer of another.
        let running = ready.into_iter().map(|ready| ready.run(client));
        let mut answers = Vec::with_capacity(statements.len());
        for answer in join_all(running).await {
            answers.push(answer.map_err(failure)?);
        }
        Ok(answers)
    }

    async fn ready<'a>(
        &self,
        client: &Object,
        statement: &'a Statement,
    ) -> Result<Ready<'a>, Failure> {
        Ok(match statement.step {
            Step::Begin => Ready::Simple(self.begin.clone()),
            Step::Commit => Ready::Simple("COMMIT".into()),
            Step::Plain | Step::Define | Step::Lock => {
                let sql = numbered(&statement.sql);
                let types: Vec<Type> = statement.values.iter().map(type_of).collect();
                if self.prepare && statement.is_common {
                    let prepared = client.prepare_typed_cached(&sql, &types).await;
                    Ready::Prepared(prepared.map_err(failure)?, &statement.values)
                } else {
                    Ready::Typed(sql, types, &statement.values)
                }
            }
        })
    }
}

/// A statement that can be sent.
enum Ready<'a> {
    Simple(Arc<str>),
    Prepared(tokio_postgres::Statement, &'a [Value]),
    Typed(String, Vec<Type>, &'a [Value]),
}

impl Ready<'_> {
    async fn run(self, client: &Object) -> Result<Answer, tokio_postgres::Error> {
        let rows = match &self {
            Self::Simple(sql) => {
                client.batch_execute(sql).await?;
                return Ok(Answer::default());
            }
            Self::Prepared(statement, values) => client.query_raw(statement, *values).await?,
            Self::Typed(sql, types, values) => {
                let values = values.iter().zip(types.iter().cloned());
                client.query_typed_raw(sql, values).await?
            }
        };
        let mut rows = pin!(rows);
        let mut answer = Answer::default();
        while let Some(row) = rows.try_next().await? {
            let values = (0..row.len()).map(|at| row.try_get::<_, Value>(at));
            answer.rows.push(values.collect::<Result<Row, _>>()?);
        }
        answer.written = rows.rows_affected().unwrap_or(0);
        Ok(answer)
    }
}

/// Numbers the parameters: `?` becomes `$1`, `$2` and so on.
fn numbered(sql: &str) -> String {
    use std::fmt::Write;
    let mut out = String::with_capacity(sql.len() + 16);
    for (number, piece) in sql.split('?').enumerate() {
        if number > 0 {
            let _ = write!(out, "${number}");
        }
        out.push_str(piece);
    }
    out
}
