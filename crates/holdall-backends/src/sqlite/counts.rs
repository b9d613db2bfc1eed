//! Counts items, together and by the value at a path.

use std::sync::Arc;

use holdall_core::{
    CollectionName, EntryField, Filter, Group, MAX_GROUPS, MAX_SORT_BYTES, Path, Result, Value,
    too_many_groups, value_of_sort_key,
};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, params_from_iter};

use super::Shared;
use super::dialect::Sqlite;
use super::indexes::{self, expression};
use super::readers::{ReadError, Snapshot};
use super::rows::shape;
use crate::sql::{Clause, plan};

/// Counts what a filter matches.
pub(super) async fn count(
    shared: &Arc<Shared>,
    collection: &CollectionName,
    filter: &Filter,
) -> Result<u64> {
    let (shared, collection, filter) = (shared.clone(), collection.clone(), filter.clone());
    let readers = shared.readers.clone();
    let count = move |connection: &Connection| {
        let _snapshot = Snapshot::begin(connection)?;
        let Some(table) = shared.catalogue.find(connection, &collection)? else {
            return Ok(0);
        };
        let declared = indexes::of(connection, &table)?;
        let condition = Clause::all(plan::filter(&filter, &declared, &Sqlite).clauses);
        let sql = format!(
            "SELECT count(*) FROM {} WHERE {}",
            table.quoted, condition.sql
        );
        let count = connection
            .prepare_cached(&sql)?
            .query_row(params_from_iter(condition.values), |row| row.get(0))?;
        Ok(count)
    };
    readers.read(count).await
}

/// Counts what a filter matches by the value at a path.
pub(super) async fn count_by(
    shared: &Arc<Shared>,
    collection: &CollectionName,
    filter: &Filter,
    path: &Path,
) -> Result<Vec<Group>> {
    path.check()?;
    let (shared, collection, filter, path) = (
        shared.clone(),
        collection.clone(),
        filter.clone(),
        path.clone(),
    );
    let readers = shared.readers.clone();
    readers
        .read(move |connection| groups(&shared, connection, &collection, &filter, &path))
        .await
}

fn groups(
    shared: &Shared,
    connection: &Connection,
    collection: &CollectionName,
    filter: &Filter,
    path: &Path,
) -> Result<Vec<Group>, ReadError> {
    let _snapshot = Snapshot::begin(connection)?;
    let Some(table) = shared.catalogue.find(connection, collection)? else {
        return Ok(Vec::new());
    };
    let declared = indexes::of(connection, &table)?;
    let condition = Clause::all(plan::filter(filter, &declared, &Sqlite).clauses);
    let column = expression(path).unwrap_or_else(|| "version".to_owned());
    let sql = format!(
        "SELECT {column}, count(*) FROM {} WHERE {} GROUP BY {column} ORDER BY {column} NULLS LAST LIMIT {}",
        table.quoted,
        condition.sql,
        MAX_GROUPS + 1
    );
    let mut groups = Vec::new();
    let mut bytes = 0;
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(condition.values))?;
    while let Some(row) = rows.next()? {
        let value = row.get_ref(0)?;
        if let ValueRef::Text(text) | ValueRef::Blob(text) = value {
            bytes += text.len();
        }
        if groups.len() == MAX_GROUPS || bytes > MAX_SORT_BYTES {
            return Err(too_many_groups().into());
        }
        groups.push(Group {
            value: group_value(path, value)?,
            count: row.get(1)?,
        });
    }
    drop(rows);
    drop(statement);
    if column == "version" {
        groups.sort_by(|a, b| text_of(a).cmp(&text_of(b)));
    }
    Ok(groups)
}

fn text_of(group: &Group) -> Option<&str> {
    group.value.as_ref().and_then(Value::as_str)
}

fn group_value(path: &Path, value: ValueRef<'_>) -> Result<Option<Value>, ReadError> {
    Ok(match (path, value) {
        (_, ValueRef::Null) => None,
        (Path::Entry(EntryField::Version), value) => {
            Some(super::rows::version(value)?.to_string().into())
        }
        (_, ValueRef::Blob(bytes)) => value_of_sort_key(bytes)?,
        (_, ValueRef::Integer(number)) => Some(number.into()),
        (_, value) => Some(value.as_str().map_err(shape)?.into()),
    })
}
