//! What a database server brings: connections that run statements.

use std::fmt::Debug;
use std::future::Future;

use holdall_core::{Error, Result};

use super::Spelling;
use crate::sql::Value;

/// A statement, with the values of its parameters, each of which stands in it as
/// `?`.
#[derive(Clone, Debug)]
pub(crate) struct Statement {
    pub(crate) sql: String,
    pub(crate) values: Vec<Value>,
    pub(crate) step: Step,
    /// Whether it comes often, so that it is worth being prepared.
    pub(crate) is_common: bool,
}

/// What a statement does to the transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Begin,
    Plain,
    /// It changes the schema. Some databases commit what came before then; the
    /// transaction goes on behind it.
    Define,
    /// It takes a lock that is held to the end of the transaction, whatever
    /// commits before it.
    Lock,
    Commit,
}

impl Statement {
    pub(crate) fn new(sql: impl Into<String>, values: impl IntoIterator<Item = Value>) -> Self {
        Self {
            sql: sql.into(),
            values: values.into_iter().collect(),
            step: Step::Plain,
            is_common: true,
        }
    }

    /// A statement that comes seldom, or that those before it in the same run
    /// make possible.
    pub(crate) fn once(sql: impl Into<String>, values: impl IntoIterator<Item = Value>) -> Self {
        Self {
            is_common: false,
            ..Self::new(sql, values)
        }
    }

    /// A statement that changes the schema.
    pub(crate) fn define(sql: impl Into<String>) -> Self {
        Self {
            step: Step::Define,
            ..Self::once(sql, [])
        }
    }

    /// A statement that takes a lock.
    pub(crate) fn lock(sql: impl Into<String>, values: impl IntoIterator<Item = Value>) -> Self {
        Self {
            step: Step::Lock,
            ..Self::once(sql, values)
        }
    }

    /// Starts a transaction in which each statement sees what is committed when
    /// it starts.
    pub(crate) fn begin() -> Self {
        Self {
            step: Step::Begin,
            ..Self::new(String::new(), [])
        }
    }

    pub(crate) fn commit() -> Self {
        Self {
            step: Step::Commit,
            ..Self::new(String::new(), [])
        }
    }
}

/// A row: a value for each column.
pub(crate) type Row = Vec<Value>;

/// What a statement answered.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) rows: Vec<Row>,
    /// Rows that were written.
    pub(crate) written: u64,
}

/// Why a statement failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// A unique index, or a primary key, has these values already.
    Taken {
        index: String,
        error: Error,
    },
    /// The transaction was chosen to give way to others; nothing of it happened.
    GaveWay(Error),
    /// A table is not laid out as it was when it was looked up.
    Outdated(Error),
    /// The connection broke before a commit was under way, so nothing happened.
    Broken(Error),
    /// The connection broke while a commit was under way.
    Lost(Error),
    Other(Error),
}

impl Failure {
    pub(crate) fn into_error(self) -> Error {
        match self {
            Self::Taken { error, .. }
            | Self::GaveWay(error)
            | Self::Outdated(error)
            | Self::Broken(error)
            | Self::Lost(error)
            | Self::Other(error) => error,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

/// What a database server takes at most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Operations of a batch.
    pub(crate) max_ops: usize,
    /// Bytes of a batch.
    pub(crate) max_bytes: u64,
    /// Bytes of a doc.
    pub(crate) max_doc: usize,
}

/// A database server.
pub(crate) trait Driver: Debug + Send + Sync + 'static {
    type Connection: Connection;

    /// How the names of tables start that belong to the database.
    const RESERVED: &'static str;

    /// What it takes at most.
    fn limits(&self) -> Limits;

    /// How it spells statements.
    fn spelling(&self) -> &dyn Spelling;

    /// Takes a connection out of the pool.
    ///
    /// # Errors
    /// `Timeout` if none became free in time; why none could be made.
    fn connect(&self) -> impl Future<Output = Result<Self::Connection>> + Send;

    /// Tells others that something was committed. It may fail silently: others
    /// look by themselves, only later.
    fn announce(&self) -> impl Future<Output = ()> + Send;

    /// Waits until others announce something; returns an error where this
    /// connection is not told, or not any more.
    fn listen(&self, heard: impl Fn() + Send + Sync) -> impl Future<Output = Error> + Send;

    /// Lets all connections go that are the driver's own.
    fn close(&self);
}

/// A connection. Dropped in the middle of a transaction it is not used again, so
/// that the server undoes what was begun.
pub(crate) trait Connection: Send {
    /// Runs statements in turn, in as few round trips as it can, and answers
    /// what each did. The first that fails ends it; a transaction is undone then.
    fn run(
        &mut self,
        statements: Vec<Statement>,
    ) -> impl Future<Output = Result<Vec<Answer>, Failure>> + Send;

    /// Undoes the transaction, if there is one.
    fn roll_back(&mut self) -> impl Future<Output = ()> + Send;
}

/// The rows of the only statement.
pub(crate) async fn rows(
    connection: &mut impl Connection,
    statement: Statement,
) -> Result<Vec<Row>, Failure> {
    let answers = connection.run(vec![statement]).await?;
    Ok(answers.into_iter().next().unwrap_or_default().rows)
}
