//! Counts items, by the database where it can.

use std::sync::Arc;

use holdall_core::{
    CollectionName, Filter, Group, MAX_GROUPS, Path, Result, evaluate, sort_key_or_missing,
    value_of_sort_key,
};

use super::driver::{Driver, Row, Statement};
use super::layout::Table;
use super::read::scan;
use super::spelling::Columns;
use super::{Holding, Shared, damaged};
use crate::sql::plan::{self, is_in_order};
use crate::sql::{Clause, Value};

/// Counts what a filter matches.
pub(super) async fn count<D: Driver>(
    shared: &Arc<Shared<D>>,
    collection: &CollectionName,
    filter: &Filter,
) -> Result<u64> {
    let statement = |table: &Table| {
        let dialect = Columns {
            table,
            spelling: shared.spelling(),
        };
        let pushed = plan::filter(filter, &table.declared, &dialect);
        if pushed.rest.is_some() {
            return Ok(Vec::new());
        }
        let Clause { sql, values } = Clause::all(pushed.clauses);
        let sql = format!("SELECT count(*) FROM {} WHERE {sql}", table.quoted);
        Ok(vec![Statement::new(sql, values)])
    };
    let Some((_, answers)) = shared.read(collection, statement).await? else {
        return Ok(0);
    };
    match answers.into_iter().flat_map(|answer| answer.rows).next() {
        Some(row) => match row.as_slice() {
            [Value::Int(count)] => Ok(u64::try_from(*count).unwrap_or(0)),
            _ => Err(damaged(&row)),
        },
        None => {
            let narrowed = Some(filter.clone());
            evaluate::count(filter, |wanted| {
                scan(shared.clone(), collection.clone(), wanted, narrowed)
            })
            .await
        }
    }
}

/// Counts what a filter matches by the value at a path.
pub(super) async fn count_by<D: Driver>(
    shared: &Arc<Shared<D>>,
    collection: &CollectionName,
    filter: &Filter,
    path: &Path,
) -> Result<Vec<Group>> {
    path.check()?;
    let statement = |table: &Table| {
        let dialect = Columns {
            table,
            spelling: shared.spelling(),
        };
        let pushed = plan::filter(filter, &table.declared, &dialect);
        let (Some(column), None) = (table.ready_column(path, Holding::SortKey), pushed.rest) else {
            return Ok(Vec::new());
        };
        let Clause { sql, values } = Clause::all(pushed.clauses);
        let sql = format!(
            "SELECT {column}, count(*) FROM {} WHERE {sql} GROUP BY {column} LIMIT {}",
            table.quoted,
            MAX_GROUPS + 1
        );
        Ok(vec![Statement::new(sql, values)])
    };
    let Some((_, answers)) = shared.read(collection, statement).await? else {
        return Ok(Vec::new());
    };
    if let Some(answer) = answers.into_iter().next()
        && answer.rows.len() <= MAX_GROUPS
        && let Some(mut groups) = groups(&answer.rows)?
    {
        groups.sort_by(|(a, _), (b, _)| a.cmp(b));
        let read = |(value, count): (Vec<u8>, u64)| {
            value_of_sort_key(&value).map(|value| Group { value, count })
        };
        return groups.into_iter().map(read).collect();
    }
    let narrowed = Some(filter.clone());
    evaluate::count_by(filter, path, |wanted| {
        scan(shared.clone(), collection.clone(), wanted, narrowed)
    })
    .await
}

/// How often each sort key is there.
type Counts = Vec<(Vec<u8>, u64)>;

/// The sort keys of groups; `None` if one is kept by its start alone.
fn groups(rows: &[Row]) -> Result<Option<Counts>> {
    let mut groups = Vec::with_capacity(rows.len());
    for row in rows {
        let [value, Value::Int(count)] = row.as_slice() else {
            return Err(damaged(row));
        };
        let key = match value {
            Value::Null => sort_key_or_missing(None),
            Value::Bytes(kept) if is_in_order(kept) => kept.clone(),
            Value::Bytes(_) => return Ok(None),
            _ => return Err(damaged(row)),
        };
        groups.push((key, u64::try_from(*count).unwrap_or(0)));
    }
    Ok(Some(groups))
}
