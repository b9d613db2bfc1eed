//! Removes what nobody needs any more, a little at a time.

use std::sync::{Arc, Weak};
use std::time::Duration;

use holdall_core::{Result, Timestamp};

use super::driver::{Connection, Driver, Failure, Statement};
use super::{Shared, log};
use crate::sql::Value;

/// How often to look.
const EVERY: Duration = Duration::from_secs(60);

/// Batches of the log, and pieces of bodies, that one step removes at most.
const STEP: i64 = 256;

/// Locks rows, or finds none where another process has them.
const SKIP: &str = " FOR UPDATE SKIP LOCKED";

/// Sweeps from time to time, as long as the backend is there.
pub(super) fn start<D: Driver>(shared: &Arc<Shared<D>>) {
    tokio::spawn(run(Arc::downgrade(shared)));
}

async fn run<D: Driver>(shared: Weak<Shared<D>>) {
    loop {
        tokio::time::sleep(EVERY).await;
        let Some(shared) = shared.upgrade() else {
            return;
        };
        // What fails here fails where it is needed, too, and is told there; a
        // closed backend ends with the last who hold it.
        while let Ok(true) = step(&shared).await {}
    }
}

/// Removes some; answers whether there is more.
pub(super) async fn step<D: Driver>(shared: &Arc<Shared<D>>) -> Result<bool> {
    let mut connection = shared.connect().await?;
    let log = trim_log(shared, &mut connection).await;
    let log = log.map_err(Failure::into_error)?;
    let bodies = remove_body(shared, &mut connection).await;
    Ok(log | bodies.map_err(Failure::into_error)?)
}

/// Removes batches whose ids are too old to be asked for.
async fn trim_log<D: Driver>(
    shared: &Shared<D>,
    connection: &mut D::Connection,
) -> Result<bool, Failure> {
    let now = Value::Time(shared.options.env.now().as_micros());
    // So that what is removed has a place, which cursors can be compared with.
    log::number(shared, connection).await?;
    let table = shared.own("holdall_log");
    let old = format!(
        "SELECT max(seq), count(*) FROM (SELECT seq, until FROM {table} WHERE seq IS NOT NULL \
         ORDER BY seq LIMIT {STEP}) AS first WHERE until < ?"
    );
    let answers = connection
        .run(vec![
            Statement::begin(),
            log::meta(shared, "trimmed", SKIP),
            Statement::new(old, [now.clone()]),
        ])
        .await?;
    let mut answers = answers.into_iter().skip(1);
    let is_ours = answers.next().is_some_and(|answer| !answer.rows.is_empty());
    let found = answers
        .next()
        .and_then(|answer| answer.rows.into_iter().next());
    if !is_ours {
        connection.roll_back().await;
        return Ok(false);
    }
    let given_up = format!("DELETE FROM {table} WHERE seq IS NULL AND changes = ? AND until < ?");
    let mut statements = vec![Statement::new(
        given_up,
        [Value::Bytes(Vec::new()), now.clone()],
    )];
    let mut more = false;
    if let Some([Value::Int(last), Value::Int(count)]) = found.as_deref() {
        // Not only those that are old: a cursor names a place, and a gap behind
        // it would go unnoticed.
        let delete = format!("DELETE FROM {table} WHERE seq <= ? AND until < ?");
        statements.push(Statement::new(delete, [Value::Int(*last), now]));
        statements.push(log::set_meta(shared, "trimmed", *last));
        more = *count == STEP;
    }
    statements.push(Statement::commit());
    connection.run(statements).await?;
    Ok(more)
}

/// Removes pieces of one body whose time is over, and the body with its last
/// piece.
async fn remove_body<D: Driver>(
    shared: &Shared<D>,
    connection: &mut D::Connection,
) -> Result<bool, Failure> {
    let now = shared.options.env.now();
    let (bodies, chunks) = (shared.own("holdall_bodies"), shared.own("holdall_chunks"));
    let time = |time: Timestamp| Value::Time(time.as_micros());
    let find = format!("SELECT id FROM {bodies} WHERE expires < ? OR dropped < ? LIMIT 1{SKIP}");
    let values = [time(now), time(now.before(shared.options.grace))];
    let answers = connection
        .run(vec![Statement::begin(), Statement::new(find, values)])
        .await?;
    let found = answers
        .into_iter()
        .nth(1)
        .and_then(|answer| answer.rows.into_iter().next());
    let Some(body) = found.and_then(|row| row.into_iter().next()) else {
        connection.roll_back().await;
        return Ok(false);
    };
    // No longer to be taken over by a batch whose clock is behind.
    let mark = format!("UPDATE {bodies} SET expires = NULL, dropped = ? WHERE id = ?");
    let first = format!("SELECT min(number) FROM {chunks} WHERE body = ?");
    let answers = connection
        .run(vec![
            Statement::new(mark, [Value::Time(0), body.clone()]),
            Statement::new(first, [body.clone()]),
        ])
        .await?;
    let first = answers
        .into_iter()
        .nth(1)
        .and_then(|answer| answer.rows.into_iter().next());
    let remove = match first.as_deref() {
        Some([Value::Int(first)]) => Statement::new(
            format!("DELETE FROM {chunks} WHERE body = ? AND number < ?"),
            [body, Value::Int(first + STEP)],
        ),
        _ => Statement::new(format!("DELETE FROM {bodies} WHERE id = ?"), [body]),
    };
    connection.run(vec![remove, Statement::commit()]).await?;
    Ok(true)
}
