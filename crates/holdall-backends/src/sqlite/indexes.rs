//! Declared indexes, and how they stand in the schema.

use std::sync::Arc;

use holdall_core::{CollectionName, Doc, Error, Holds, Index, Key, Path, Result, sort_key};
use rusqlite::{Connection, OptionalExtension, params_from_iter};

use super::catalogue::{Table, literal};
use super::dialect::Sqlite;
use super::error::{failed, is_unique_violation};
use super::readers::ReadError;
use super::writer::Session;
use crate::sql::Dialect;
use crate::sql::declared::{Declared, declaration, read_declaration};
use crate::sql::plan::of_type;

/// The tokenizer of word indexes: words come cut and separated by blanks, so
/// that everything but a blank belongs to one.
const TOKENIZER: &str = r##"tokenize="ascii tokenchars '!""#$%&''''()*+,-./:;<=>?@[\]^_`{|}~'""##;

/// The indexes of a collection, remembered until the schema changes: SQLite
/// counts its changes, those of other processes too. For readers alone: what a
/// writer sees may still be undone, and its count used again.
pub(super) fn of(connection: &Connection, table: &Table) -> Result<Arc<Vec<Declared>>, ReadError> {
    let schema: i64 = connection
        .prepare_cached("PRAGMA schema_version")?
        .query_row([], |row| row.get(0))?;
    if let Some((seen, declared)) = &*table.indexes.lock()
        && *seen == schema
    {
        return Ok(declared.clone());
    }
    let declared = Arc::new(read(connection, table)?);
    *table.indexes.lock() = Some((schema, declared.clone()));
    Ok(declared)
}

fn read(connection: &Connection, table: &Table) -> Result<Vec<Declared>, ReadError> {
    let mut read = connection.prepare_cached(
        "SELECT id, declaration FROM holdall_indexes WHERE collection = ?1 ORDER BY id",
    )?;
    let mut rows = read.query([table.id])?;
    let mut declared = Vec::new();
    while let Some(row) = rows.next()? {
        let index = read_declaration(super::rows::text(row, 1)?)?;
        declared.push(Declared {
            id: row.get(0)?,
            index,
        });
    }
    Ok(declared)
}

/// Makes the indexes that are not there yet.
pub(super) fn define(
    session: &mut Session,
    collection: &CollectionName,
    indexes: &[Index],
) -> Result<()> {
    let table = session.ensure_table(collection).map_err(failed)?;
    for index in indexes {
        let id = session
            .connection
            .prepare_cached(
                "INSERT INTO holdall_indexes (collection, declaration) VALUES (?1, ?2) ON CONFLICT DO NOTHING RETURNING id",
            )
            .and_then(|mut insert| {
                insert.query_row((table.id, declaration(index)), |row| row.get(0)).optional()
            })
            .map_err(failed)?;
        let Some(id) = id else { continue };
        match session.connection.execute_batch(&ddl(&table, id, index)) {
            Ok(()) => {}
            Err(error) if is_unique_violation(&error) => {
                return Err(duplicates(&session.connection, &table, index)?.at(collection, None));
            }
            Err(error) => return Err(failed(error)),
        }
    }
    Ok(())
}

/// Removes all indexes of a collection.
pub(super) fn remove_all(connection: &Connection, table: &Table) -> Result<()> {
    let declared = read(connection, table).map_err(ReadError::into_error)?;
    for Declared { id, index } in &declared {
        let sql = match index.holds {
            Holds::Words => format!(
                "DROP TRIGGER holdall_words_{id}_put; DROP TRIGGER holdall_words_{id}_change; \
                 DROP TRIGGER holdall_words_{id}_delete; DROP TABLE holdall_words_{id};"
            ),
            Holds::Any | Holds::Only(_) => format!("DROP INDEX holdall_index_{id};"),
        };
        connection.execute_batch(&sql).map_err(failed)?;
    }
    connection
        .execute(
            "DELETE FROM holdall_indexes WHERE collection = ?1",
            [table.id],
        )
        .map(drop)
        .map_err(failed)
}

/// The SQL expression of the value at a path: a column, or a sort key that is
/// NULL where the value is missing. `None` for a field that has no order.
pub(super) fn expression(path: &Path) -> Option<String> {
    Sqlite.column(path)
}

fn ddl(table: &Table, id: i64, index: &Index) -> String {
    let mut columns: Vec<String> = index.paths.iter().filter_map(expression).collect();
    let condition = match (index.holds, index.paths.first(), columns.first()) {
        (Holds::Words, Some(path), _) => return words_ddl(table, id, path),
        (Holds::Only(of), Some(Path::Doc(_)), Some(column)) => {
            format!(" WHERE {}", of_type(column, of, &Sqlite))
        }
        _ => String::new(),
    };
    let unique = if index.unique { "UNIQUE " } else { "" };
    // The key makes the index give items in the order of queries, ties too.
    if !index.unique && !columns.iter().any(|column| column == "key") {
        columns.push("key".to_owned());
    }
    format!(
        "CREATE {unique}INDEX holdall_index_{id} ON {} ({}){condition}",
        table.quoted,
        columns.join(", ")
    )
}

/// A full-text index that holds no text, kept by triggers.
fn words_ddl(table: &Table, id: i64, path: &Path) -> String {
    let (table, path) = (&table.quoted, literal(&path.to_string()));
    let words = format!("holdall_words_{id}");
    let insert = |row: &str| {
        format!(
            "INSERT INTO {words} (rowid, words) VALUES ({row}.id, holdall_words({row}.doc, {path}));"
        )
    };
    let delete = format!("DELETE FROM {words} WHERE rowid = old.id;");
    format!(
        "CREATE VIRTUAL TABLE {words} USING fts5(words, content='', contentless_delete=1, {TOKENIZER});
         INSERT INTO {words} (rowid, words) SELECT id, holdall_words(doc, {path}) FROM {table};
         CREATE TRIGGER {words}_put AFTER INSERT ON {table} BEGIN {put} END;
         CREATE TRIGGER {words}_change AFTER UPDATE OF doc ON {table} BEGIN {delete} {put} END;
         CREATE TRIGGER {words}_delete AFTER DELETE ON {table} BEGIN {delete} END;",
        put = insert("new"),
    )
}

/// The error of a unique index over items that share values.
fn duplicates(connection: &Connection, table: &Table, index: &Index) -> Result<Error> {
    let columns: Vec<String> = index.paths.iter().filter_map(expression).collect();
    let there: Vec<String> = columns
        .iter()
        .map(|column| format!("{column} IS NOT NULL"))
        .collect();
    let narrow = match (index.holds, columns.first()) {
        (Holds::Only(of), Some(column)) => format!(" AND {}", of_type(column, of, &Sqlite)),
        _ => String::new(),
    };
    let sql = format!(
        "SELECT min(key), max(key) FROM {} WHERE {}{narrow} GROUP BY {} HAVING count(*) > 1 LIMIT 1",
        table.quoted,
        there.join(" AND "),
        columns.join(", ")
    );
    let keys: Option<(String, String)> = connection
        .query_row(&sql, [], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()
        .map_err(failed)?;
    let (first, second) = keys.unwrap_or_default();
    Ok(index.taken(&second, &first))
}

/// The error of a put whose values are taken, naming the item that has them.
pub(super) fn taken(
    connection: &Connection,
    table: &Table,
    key: &Key,
    doc: &Doc,
    violation: &rusqlite::Error,
) -> Error {
    // SQLite names the index: "UNIQUE constraint failed: index 'holdall_index_5'".
    let id = violation
        .to_string()
        .rsplit_once("holdall_index_")
        .and_then(|(_, tail)| tail.trim_end_matches('\'').parse::<i64>().ok());
    let declared = match read(connection, table) {
        Ok(declared) => declared,
        Err(error) => return error.into_error(),
    };
    let Some(Declared { index, .. }) = declared.iter().find(|declared| Some(declared.id) == id)
    else {
        return Error::conflict("a value that must be unique is taken by another item")
            .because(violation.to_string());
    };
    match owner(connection, table, index, doc) {
        Ok(Some(owner)) => index.taken(key.as_str(), &owner),
        Ok(None) => Error::conflict(format!(
            "the values at {index} must be unique, and are taken by another item"
        )),
        Err(error) => error.into_error(),
    }
}

/// The key of the item that has the values of a doc in a unique index.
fn owner(
    connection: &Connection,
    table: &Table,
    index: &Index,
    doc: &Doc,
) -> Result<Option<String>, ReadError> {
    let mut conditions = Vec::new();
    let mut values = Vec::new();
    for path in &index.paths {
        if let (Some(column), Some(value)) = (expression(path), doc.at(path)?) {
            conditions.push(format!("{column} = ?"));
            values.push(sort_key(&value));
        }
    }
    let sql = format!(
        "SELECT key FROM {} WHERE {} LIMIT 1",
        table.quoted,
        conditions.join(" AND ")
    );
    Ok(connection
        .query_row(&sql, params_from_iter(values), |row| row.get(0))
        .optional()?)
}
