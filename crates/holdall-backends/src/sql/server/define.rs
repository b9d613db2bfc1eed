//! Declares indexes, and drops collections.
//!
//! An index over docs is made in three steps, each of which may be repeated:
//! the columns are added, and from then on every writer fills them; the rows
//! that were there are filled, page by page, while others read and write; then
//! the index is made and told to readers.

use std::sync::Arc;

use holdall_core::{ChangeKind, CollectionName, Doc, Error, Index, Result};

use super::driver::{Connection, Driver, Failure, Statement, rows};
use super::layout::{Indexed, Layout, Table, holding};
use super::{Shared, apply, damaged, index_columns, log};
use crate::sql::Value;
use crate::sql::changes::Logged;

/// Rows that are filled at once.
const PAGE: usize = 500;

/// How often a step is tried that had to give way to others.
const ATTEMPTS: usize = 20;

/// Declares indexes, beside those there are.
pub(super) async fn define<D: Driver>(
    shared: &Arc<Shared<D>>,
    collection: &CollectionName,
    indexes: &[Index],
) -> Result<()> {
    let mut connection = shared.connect().await?;
    let defined = run(shared, &mut connection, collection, indexes).await;
    shared.catalogue.forget(collection);
    defined.map_err(|failure| failure.into_error().at(collection, None))
}

async fn run<D: Driver>(
    shared: &Arc<Shared<D>>,
    connection: &mut D::Connection,
    collection: &CollectionName,
    indexes: &[Index],
) -> Result<(), Failure> {
    shared.ensure_table(connection, collection).await?;
    let mut attempt = 0;
    loop {
        attempt += 1;
        let defined = async {
            if !add(shared, connection, collection, indexes).await? {
                return Ok(true);
            }
            fill(shared, connection, collection).await?;
            make(shared, connection, collection, indexes).await
        };
        match defined.await {
            Ok(true) => return Ok(()),
            // Another call took an index back that it could not make.
            Ok(false) if attempt < ATTEMPTS => {}
            Ok(false) => {
                return Err(Error::conflict(
                    "others declare the same indexes, and take them back; try again",
                )
                .into());
            }
            Err(Failure::GaveWay(_)) if attempt < ATTEMPTS => {}
            Err(failure) => return Err(failure),
        }
    }
}

/// The row of a collection, held until the end of the transaction.
async fn hold<D: Driver>(
    shared: &Shared<D>,
    connection: &mut D::Connection,
    collection: &CollectionName,
) -> Result<Table, Failure> {
    let mut hold = vec![Statement::begin()];
    hold.extend(shared.spelling().lock_layout(collection));
    hold.push(shared.find_table(collection, " FOR UPDATE"));
    let answers = connection.run(hold).await?;
    let row = answers
        .into_iter()
        .last()
        .and_then(|answer| answer.rows.into_iter().next());
    let row = row.ok_or_else(|| Error::other("a collection that has a table is not listed"))?;
    Ok(Table::read(&row, |name| shared.own(name))?)
}

/// Changes the layout of a table; writers who go by another are refused from
/// then on.
fn lay_out<D: Driver>(shared: &Shared<D>, table: &Table, layout: &Layout, by: i64) -> Statement {
    let sql = format!(
        "UPDATE {} SET layout = ?, generation = generation + ? WHERE id = ?",
        shared.own("holdall_collections")
    );
    let values = [
        Value::Text(layout.text()),
        Value::Int(by),
        Value::Int(table.id),
    ];
    Statement::new(sql, values)
}

/// Adds the columns of indexes; answers whether there is anything left to do.
async fn add<D: Driver>(
    shared: &Shared<D>,
    connection: &mut D::Connection,
    collection: &CollectionName,
    indexes: &[Index],
) -> Result<bool, Failure> {
    let table = hold(shared, connection, collection).await?;
    let mut layout = table.layout.clone();
    let columns: Vec<_> = indexes.iter().flat_map(|index| layout.add(index)).collect();
    if layout.last == table.layout.last {
        connection.roll_back().await;
        let is_ready = |index: &Index| {
            let mut ready = table.layout.indexes.iter().filter(|there| there.ready);
            ready.any(|there| there.index == *index)
        };
        return Ok(!indexes.iter().all(is_ready));
    }
    let mut statements: Vec<_> = columns
        .iter()
        .map(|column| {
            shared
                .spelling()
                .add_column(&table, &column.name, column.holding)
        })
        .collect();
    statements.extend([lay_out(shared, &table, &layout, 1), Statement::commit()]);
    connection.run(statements).await?;
    Ok(true)
}

/// Fills the columns of rows that were there before the columns.
async fn fill<D: Driver>(
    shared: &Shared<D>,
    connection: &mut D::Connection,
    collection: &CollectionName,
) -> Result<(), Failure> {
    let Some(table) = shared.look_up(connection, collection).await? else {
        return Ok(());
    };
    if table.layout.columns.iter().all(|column| column.ready) {
        return Ok(());
    }
    let key = shared.spelling().key();
    let mut after = String::new();
    loop {
        let sql = format!(
            "SELECT {key}, version, doc FROM {} WHERE {key} > ? ORDER BY {key} LIMIT {PAGE}",
            table.quoted
        );
        let page = rows(
            connection,
            Statement::new(sql, [Value::Text(after.clone())]),
        )
        .await?;
        let is_last = page.len() < PAGE;
        let mut filled = Vec::with_capacity(page.len());
        for row in page {
            let [key @ Value::Text(_), version, Value::Doc(doc)] = row.as_slice() else {
                return Err(damaged(&row).into());
            };
            if let Value::Text(key) = key {
                after.clone_from(key);
            }
            let mut values = vec![key.clone(), version.clone()];
            values.extend(apply::indexed(&table, &Doc::from_stored(doc.clone()))?);
            filled.push(values);
        }
        if !filled.is_empty() {
            let statements = shared.spelling().fill(&table, filled);
            connection.run(statements).await?;
        }
        if is_last {
            return Ok(());
        }
    }
}

/// Makes the indexes, whose columns are filled: all or none. Answers whether they
/// were still declared.
async fn make<D: Driver>(
    shared: &Shared<D>,
    connection: &mut D::Connection,
    collection: &CollectionName,
    indexes: &[Index],
) -> Result<bool, Failure> {
    let table = hold(shared, connection, collection).await?;
    let mut layout = table.layout.clone();
    let mut statements = Vec::new();
    for index in indexes {
        let found = layout
            .indexes
            .iter_mut()
            .find(|there| there.index == *index);
        let Some(found) = found else {
            connection.roll_back().await;
            return Ok(false);
        };
        if !std::mem::replace(&mut found.ready, true) {
            let name = table.index_name(found.id);
            statements.extend(shared.spelling().create_index(&table, &name, index));
        }
        for column in &mut layout.columns {
            column.ready |= column.holding == holding(index) && index.paths.contains(&column.path);
        }
    }
    statements.extend([lay_out(shared, &table, &layout, 0), Statement::commit()]);
    match connection.run(statements).await {
        Ok(_) => Ok(true),
        Err(Failure::Taken { index, error }) => {
            let error = match table.index_of(&index) {
                Some(index) => duplicates(shared, connection, &table, index).await?,
                None => error,
            };
            take_back(shared, connection, collection, indexes).await?;
            Err(error.into())
        }
        Err(failure) => Err(failure),
    }
}

/// Takes indexes that were not made out of the layout. Their columns stay, for the
/// next that needs them.
async fn take_back<D: Driver>(
    shared: &Shared<D>,
    connection: &mut D::Connection,
    collection: &CollectionName,
    indexes: &[Index],
) -> Result<(), Failure> {
    let table = hold(shared, connection, collection).await?;
    let mut layout = table.layout.clone();
    let is_kept = |there: &Indexed| there.ready || !indexes.contains(&there.index);
    layout.indexes.retain(is_kept);
    let gone = table.layout.indexes.iter().filter(|there| !is_kept(there));
    let mut statements: Vec<_> = gone
        .flat_map(|there| {
            let name = table.index_name(there.id);
            shared.spelling().drop_index(&table, &name, &there.index)
        })
        .collect();
    statements.extend([lay_out(shared, &table, &layout, 0), Statement::commit()]);
    connection.run(statements).await.map(drop)
}

/// The error of a unique index over items that share values.
async fn duplicates<D: Driver>(
    shared: &Shared<D>,
    connection: &mut D::Connection,
    table: &Table,
    index: &Index,
) -> Result<Error, Failure> {
    let (columns, limit) = index_columns(table, index, shared.spelling());
    let there: Vec<String> = columns
        .iter()
        .map(|column| format!("{column} IS NOT NULL"))
        .chain(limit)
        .collect();
    let key = shared.spelling().key();
    let sql = format!(
        "SELECT min({key}), max({key}) FROM {} WHERE {} GROUP BY {} HAVING count(*) > 1 LIMIT 1",
        table.quoted,
        there.join(" AND "),
        columns.join(", ")
    );
    let found = rows(connection, Statement::new(sql, [])).await?;
    Ok(match found.into_iter().next().as_deref() {
        Some([Value::Text(first), Value::Text(second)]) => index.taken(second, first),
        _ => Error::conflict(format!(
            "the values at {index} must be unique, and two items shared them"
        )),
    })
}

/// Drops a collection: its items and its indexes.
pub(super) async fn drop_collection<D: Driver>(
    shared: &Arc<Shared<D>>,
    collection: &CollectionName,
) -> Result<()> {
    let mut connection = shared.connect().await?;
    let mut attempt = 0;
    loop {
        attempt += 1;
        let done = drop_now(shared, &mut connection, collection).await;
        shared.catalogue.forget(collection);
        match done {
            Ok(()) => {
                shared.tell();
                return Ok(());
            }
            Err(Failure::GaveWay(_) | Failure::Outdated(_)) if attempt < ATTEMPTS => {}
            Err(failure) => return Err(failure.into_error().at(collection, None)),
        }
    }
}

async fn drop_now<D: Driver>(
    shared: &Arc<Shared<D>>,
    connection: &mut D::Connection,
    collection: &CollectionName,
) -> Result<(), Failure> {
    if shared.look_up(connection, collection).await?.is_none() {
        return Ok(());
    }
    let table = hold(shared, connection, collection).await?;
    let now = shared.options.env.now();
    let layout = Layout {
        last: table.layout.last,
        ..Layout::default()
    };
    let release = format!(
        "UPDATE {} SET dropped = ? WHERE id IN (SELECT chunks FROM {} WHERE chunks IS NOT NULL)",
        shared.own("holdall_bodies"),
        table.quoted
    );
    let key = shared.spelling().key();
    let any = format!("SELECT {key} FROM {} LIMIT 1", table.quoted);
    let mut statements = shared.spelling().lock_table(&table);
    // From here on no batch is committed that went by the old layout.
    statements.push(lay_out(shared, &table, &layout, 1));
    if !shared.spelling().empties_tables() {
        connection
            .run(vec![shared.spelling().lock_schema()])
            .await?;
        let name = shared.new_table(connection, collection).await?;
        let replace = format!(
            "UPDATE {} SET table_name = ? WHERE id = ?",
            shared.own("holdall_collections")
        );
        let values = [Value::Text(name), Value::Int(table.id)];
        statements.push(Statement::new(replace, values));
    }
    let locks = statements.len();
    statements.extend([
        Statement::new(any, []),
        Statement::new(release, [Value::Time(now.as_micros())]),
    ]);
    let answers = connection.run(statements).await?;
    let was_filled = answers.get(locks).is_some_and(|any| !any.rows.is_empty());
    let mut statements = Vec::new();
    if was_filled {
        let change = Logged {
            collection: table.id,
            key: String::new(),
            kind: ChangeKind::Dropped,
            previous: None,
            created: now,
        };
        let tables = (vec![Value::Int(table.id)], table.generation + 1);
        let id = shared.options.env.version();
        statements.push(log::append(shared, id, now, &[change], tables));
    }
    statements.extend(shared.spelling().empty_table(&table));
    statements.push(Statement::commit());
    connection.run(statements).await.map(drop)
}
