//! Connections to MySQL and MariaDB.

use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use holdall_core::{Error, MAX_DOC, Result};
use mysql_async::prelude::Queryable;
use mysql_async::{
    ClientIdentity, Conn, Opts, OptsBuilder, Params, Pool, PoolConstraints, PoolOpts, SslOpts,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::MysqlOptions;
use super::error::{failure, is_done, unreachable};
use super::spelling::MysqlSpelling;
use super::values::{from_wire, to_wire};
use crate::files::{password, read_file};
use crate::sql::Value;
use crate::sql::server::Spelling;
use crate::sql::server::driver::{
    Answer, Connection, Driver, Failure, Limits, Row, Statement, Step,
};
use crate::tls::{TlsFiles, client_config};

/// Statements that a connection keeps prepared.
const STATEMENTS: usize = 128;

/// How long a connection is kept that nobody uses. Without such a time the pool
/// keeps none, and every call connects.
const IDLE: Duration = Duration::from_secs(60);

/// The least that `max_allowed_packet` must be.
const LEAST_PACKET: usize = 4 * 1024 * 1024;

/// What the log keeps of a change at most.
const LOGGED: usize = 1024 + 32;

/// A MySQL or MariaDB server.
pub struct Mysql {
    pool: Pool,
    /// What each connection is told when it is taken from a pool that came from outside;
    /// `None` for an own one, which tells each once.
    session: Option<String>,
    /// As many as there may be connections.
    free: Arc<Semaphore>,
    spelling: MysqlSpelling,
    /// Where it is, for errors.
    place: Arc<str>,
    connect_timeout: Duration,
    timeout: Duration,
}

impl Mysql {
    pub(super) async fn connect(options: MysqlOptions) -> Result<(Self, bool)> {
        let opts = Opts::from_url(&options.url).map_err(|error| {
            Error::invalid("the URL is not valid; write mysql://USER:PASSWORD@HOST:PORT/DATABASE")
                .because(error)
        })?;
        if opts.user().is_none_or(str::is_empty) || opts.db_name().is_none_or(str::is_empty) {
            return Err(Error::invalid(
                "the URL must name a user and a database; write mysql://USER@HOST/DATABASE",
            ));
        }
        let place = match &options.socket {
            Some(socket) => socket.display().to_string(),
            None => format!("{}:{}", opts.ip_or_hostname(), opts.tcp_port()),
        };
        let is_here = options.socket.is_some() || is_here(opts.ip_or_hostname());
        let tls = match options.tls.unwrap_or(!is_here) {
            true => Some(tls(&options)?),
            false => None,
        };
        let password = match password(
            options.password.as_deref(),
            options.password_file.as_deref(),
        )? {
            Some(password) => Some(password),
            None => opts.pass().map(str::to_owned),
        };
        let connections = usize::try_from(options.connections).unwrap_or(1);
        let constraints = PoolConstraints::new(0, connections).unwrap_or_default();
        // What a connection keeps is the same for all, and is not to be lost.
        let pool = PoolOpts::default()
            .with_constraints(constraints)
            .with_inactive_connection_ttl(IDLE)
            .with_reset_connection(false);
        let builder = OptsBuilder::from_opts(opts)
            .pass(password)
            .socket(
                options
                    .socket
                    .as_ref()
                    .map(|path| path.display().to_string()),
            )
            .prefer_socket(options.socket.is_some())
            .ssl_opts(tls)
            .pool_opts(pool)
            .stmt_cache_size(STATEMENTS)
            .client_found_rows(true)
            .tcp_keepalive(Some(Duration::from_secs(60)))
            .setup(session(&options).to_vec());
        Self::over(Pool::new(builder), true, place.into(), &options).await
    }

    /// Over a pool that may be somebody else's.
    pub(super) async fn over(
        pool: Pool,
        is_own: bool,
        place: Arc<str>,
        options: &MysqlOptions,
    ) -> Result<(Self, bool)> {
        let connections = usize::try_from(options.connections).unwrap_or(1);
        let mut driver = Self {
            pool,
            session: (!is_own).then(|| session(options).join("; ")),
            free: Arc::new(Semaphore::new(connections)),
            spelling: MysqlSpelling {
                packet: LEAST_PACKET,
                patience: patience(options),
            },
            place,
            connect_timeout: options.connect_timeout,
            timeout: options.timeout,
        };
        let facts = driver.facts().await?;
        if facts.packet < LEAST_PACKET {
            return Err(Error::unsupported(format!(
                "the server takes packets of {} bytes at most; raise max_allowed_packet to {LEAST_PACKET} or more",
                facts.packet
            )));
        }
        driver.spelling.packet = facts.packet;
        let durable = facts.loses.is_empty();
        if options.durable && !durable {
            return Err(Error::unsupported(format!(
                "the server runs with {}, so that a loss of power may take what was written. \
                 Change that, or accept it with the option durable=false",
                facts.loses.join(" and ")
            )));
        }
        Ok((driver, durable))
    }

    /// A connection of the pool, whose session is as it must be.
    async fn conn(&self) -> Result<Conn> {
        let unreachable = |error| unreachable(error, &self.place);
        let mut conn = self.pool.get_conn().await.map_err(unreachable)?;
        if let Some(session) = &self.session {
            if !conn.opts().client_found_rows() {
                return Err(Error::invalid(
                    "the pool counts only rows that change; make it with client_found_rows(true)",
                ));
            }
            // Others who take it find it as they expect it.
            conn.reset_connection(true);
            conn.query_drop(session.as_str())
                .await
                .map_err(unreachable)?;
        }
        Ok(conn)
    }

    async fn facts(&self) -> Result<Facts> {
        let ask = "SELECT CAST(@@max_allowed_packet AS SIGNED), \
                   CAST(@@innodb_flush_log_at_trx_commit AS SIGNED), \
                   CAST(@@innodb_doublewrite AS CHAR), \
                   CAST(@@log_bin AS SIGNED), CAST(@@sync_binlog AS SIGNED), \
                   CAST(@@innodb_flush_method AS CHAR)";
        let mut connection = Driver::connect(self).await?;
        let answers = connection.run(vec![Statement::once(ask, [])]).await;
        let answers = answers.map_err(Failure::into_error)?;
        let row = answers.into_iter().flat_map(|answer| answer.rows).next();
        let Some(
            [
                Value::Int(packet),
                Value::Int(flush),
                Value::Text(doublewrite),
                Value::Int(logs),
                Value::Int(sync),
                Value::Text(method),
            ],
        ) = row.as_deref()
        else {
            return Err(Error::other("MySQL did not say how it is set up"));
        };
        let mut loses = Vec::new();
        if *flush != 1 {
            loses.push(format!("innodb_flush_log_at_trx_commit = {flush}"));
        }
        if matches!(doublewrite.as_str(), "0" | "OFF" | "DETECT_ONLY") {
            loses.push(format!("innodb_doublewrite = {doublewrite}"));
        }
        if *logs != 0 && *sync != 1 {
            loses.push(format!("sync_binlog = {sync}"));
        }
        if method.eq_ignore_ascii_case("nosync") {
            loses.push(format!("innodb_flush_method = {method}"));
        }
        Ok(Facts {
            packet: usize::try_from(*packet).unwrap_or(0),
            loses,
        })
    }
}

/// What a session needs that Holdall's statements run in.
fn session(options: &MysqlOptions) -> [String; 2] {
    // A lock is waited for in some attempts, which take the timeout together.
    let lock = (options.timeout.as_secs() / 6).max(1);
    let patience = patience(options);
    [
        "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED".to_owned(),
        format!(
            "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', \
             autocommit = 1, foreign_key_checks = 1, sql_safe_updates = 0, \
             innodb_lock_wait_timeout = {lock}, lock_wait_timeout = {patience}"
        ),
    ]
}

/// How long, in seconds, to wait for who changes the tables.
fn patience(options: &MysqlOptions) -> u64 {
    (options.timeout.as_secs() * 2 / 3).max(1)
}

/// Whether a host is this machine.
fn is_here(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

/// What the server says of itself.
struct Facts {
    packet: usize,
    /// Settings that lose what was committed when the power fails.
    loses: Vec<String>,
}

fn tls(options: &MysqlOptions) -> Result<SslOpts> {
    // Says what is wrong with the files before the driver takes them.
    client_config(TlsFiles {
        ca: options.ca.as_deref(),
        cert: options.cert.as_deref(),
        key: options.key.as_deref(),
    })?;
    // The driver takes the provider of the process, and there may be several to
    // choose from. It does not matter if the program has set one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut ssl = SslOpts::default();
    if let Some(ca) = &options.ca {
        ssl = ssl
            .with_root_certs(vec![read_file("ca", ca)?.into()])
            .with_disable_built_in_roots(true);
    }
    if let (Some(cert), Some(key)) = (&options.cert, &options.key) {
        let identity = ClientIdentity::new(
            read_file("cert", cert)?.into(),
            read_file("key", key)?.into(),
        );
        ssl = ssl.with_client_identity(Some(identity));
    }
    Ok(ssl)
}

impl fmt::Debug for Mysql {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mysql")
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

impl Driver for Mysql {
    type Connection = MysqlConnection;

    const RESERVED: &'static str = "holdall_";

    fn limits(&self) -> Limits {
        let packet = self.spelling.packet;
        Limits {
            // The log has a batch in one value.
            max_ops: 10_000.min(packet / 3 * 2 / LOGGED),
            max_bytes: 32 * 1024 * 1024,
            max_doc: MAX_DOC,
        }
    }

    fn spelling(&self) -> &dyn Spelling {
        &self.spelling
    }

    async fn connect(&self) -> Result<MysqlConnection> {
        let free = self.free.clone().acquire_owned();
        let permit = match tokio::time::timeout(self.connect_timeout, free).await {
            Ok(Ok(permit)) => permit,
            Ok(Err(_)) => {
                return Err(Error::closed(
                    "the store was closed; open it again to use it",
                ));
            }
            Err(_) => {
                return Err(Error::timeout(
                    "all connections were busy for too long; try again, or raise the option connections",
                )
                .in_backend("mysql"));
            }
        };
        let conn = match tokio::time::timeout(self.connect_timeout, self.conn()).await {
            Ok(conn) => conn?,
            Err(_) => {
                return Err(Error::timeout(format!(
                    "MySQL at {} did not answer in time. Is the server running, and the way to it open?",
                    self.place
                ))
                .in_backend("mysql"));
            }
        };
        Ok(MysqlConnection {
            conn: Some(conn),
            is_open: false,
            has_locks: false,
            timeout: self.timeout,
            _permit: permit,
        })
    }

    async fn announce(&self) {}

    fn listen(&self, _: impl Fn() + Send + Sync) -> impl Future<Output = Error> + Send {
        std::future::ready(Error::unsupported("MySQL tells nobody of changes"))
    }

    fn close(&self) {
        self.free.close();
        if self.session.is_none() {
            // It waits for those that are still used.
            tokio::spawn(self.pool.clone().disconnect());
        }
    }
}

/// A connection of the pool.
pub(crate) struct MysqlConnection {
    /// `None` once it is not to be used again.
    conn: Option<Conn>,
    /// Whether a transaction is under way.
    is_open: bool,
    /// Whether it has locks that the end of the transaction does not free.
    has_locks: bool,
    timeout: Duration,
    _permit: OwnedSemaphorePermit,
}

impl Drop for MysqlConnection {
    fn drop(&mut self) {
        // Closing it has the server undo the transaction, and free its locks.
        if (self.is_open || self.has_locks)
            && let Some(conn) = self.conn.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let timeout = self.timeout;
            runtime.spawn(async move {
                let _ = tokio::time::timeout(timeout, conn.disconnect()).await;
            });
        }
    }
}

impl Connection for MysqlConnection {
    async fn run(&mut self, statements: Vec<Statement>) -> Result<Vec<Answer>, Failure> {
        let begins = statements
            .iter()
            .any(|statement| statement.step == Step::Begin);
        // Until it is known how it ends, so that one who gives up leaves nothing.
        let was_open = std::mem::replace(&mut self.is_open, true);
        let mut is_inside = was_open;
        let mut answers = Vec::with_capacity(statements.len());
        for statement in &statements {
            match self.step(statement, &mut is_inside).await {
                Ok(answer) => answers.push(answer),
                // It stays open, so that it is not used again.
                Err(Failure::Broken(error)) => {
                    return Err(match statement.step {
                        Step::Commit => Failure::Lost(error),
                        _ => Failure::Broken(error),
                    });
                }
                Err(failure) => {
                    self.is_open = was_open || begins;
                    self.roll_back().await;
                    return Err(failure);
                }
            }
        }
        self.is_open = is_inside;
        Ok(answers)
    }

    async fn roll_back(&mut self) {
        if self.is_open {
            self.is_open = self.command("ROLLBACK").await.is_err();
        }
        if !self.is_open {
            // Those that stay close the connection.
            let _ = self.free_locks().await;
        }
    }
}

impl MysqlConnection {
    async fn step(
        &mut self,
        statement: &Statement,
        is_inside: &mut bool,
    ) -> Result<Answer, Failure> {
        match statement.step {
            Step::Begin => {
                self.command("START TRANSACTION").await?;
                *is_inside = true;
            }
            Step::Commit => {
                self.command("COMMIT").await?;
                *is_inside = false;
                // It is committed, whatever comes of this.
                let _ = self.free_locks().await;
            }
            Step::Define => {
                self.define(&statement.sql).await?;
                if *is_inside {
                    self.command("START TRANSACTION").await?;
                }
            }
            Step::Lock => {
                // Until it is known that it has none.
                self.has_locks = true;
                let answer = self.ask(statement).await?;
                let got = answer.rows.first().and_then(|row| row.first());
                if got != Some(&Value::Int(1)) {
                    return Err(Failure::Other(
                        Error::timeout(
                            "others change the tables for too long. Nothing was changed; try again",
                        )
                        .in_backend("mysql"),
                    ));
                }
                return Ok(answer);
            }
            Step::Plain => return self.ask(statement).await,
        }
        Ok(Answer::default())
    }

    fn conn(conn: &mut Option<Conn>) -> Result<&mut Conn, Failure> {
        conn.as_mut()
            .ok_or_else(|| Failure::Broken(Error::unavailable("the connection to MySQL was lost")))
    }

    async fn command(&mut self, sql: &str) -> Result<(), Failure> {
        let conn = Self::conn(&mut self.conn)?;
        let done = tokio::time::timeout(self.timeout, conn.query_drop(sql)).await;
        done.map_err(|_| late(self.timeout))?.map_err(failure)
    }

    async fn free_locks(&mut self) -> Result<(), Failure> {
        if self.has_locks {
            self.command("DO RELEASE_ALL_LOCKS()").await?;
            self.has_locks = false;
        }
        Ok(())
    }

    /// Changes the schema. How long it takes depends on the size of a table.
    async fn define(&mut self, sql: &str) -> Result<(), Failure> {
        match Self::conn(&mut self.conn)?.query_drop(sql).await {
            Err(error) if !is_done(&error) => Err(failure(error)),
            _ => Ok(()),
        }
    }

    async fn ask(&mut self, statement: &Statement) -> Result<Answer, Failure> {
        let timeout = self.timeout;
        let conn = Self::conn(&mut self.conn)?;
        match tokio::time::timeout(timeout, asked(conn, statement)).await {
            Ok(answer) => answer,
            Err(_) => Err(late(timeout)),
        }
    }
}

async fn asked(conn: &mut Conn, statement: &Statement) -> Result<Answer, Failure> {
    let prepared = conn.prep(statement.sql.as_str()).await.map_err(failure)?;
    let values: Vec<_> = statement.values.iter().map(to_wire).collect();
    let params = match values.is_empty() {
        true => Params::Empty,
        false => Params::Positional(values),
    };
    let mut result = conn.exec_iter(&prepared, params).await.map_err(failure)?;
    let mut answer = Answer::default();
    while let Some(row) = result.next().await.map_err(failure)? {
        let columns = row.columns();
        let values = row.unwrap().into_iter().zip(columns.iter());
        let values = values.map(|(value, column)| from_wire(value, column));
        let row: Option<Row> = values.collect();
        answer.rows.push(row.ok_or_else(|| {
            Error::corrupt(
                "a stored row does not have the types that Holdall writes; was a table changed by another program?",
            )
        })?);
    }
    answer.written = result.affected_rows();
    drop(result);
    if !statement.is_common || conn.opts().stmt_cache_size() == 0 {
        conn.close(prepared).await.map_err(failure)?;
    }
    Ok(answer)
}

fn late(timeout: Duration) -> Failure {
    Failure::Broken(
        Error::timeout(format!(
            "MySQL did not answer within {timeout:?}; try again, or raise the option timeout"
        ))
        .in_backend("mysql"),
    )
}
