//! Answers scans and queries, a page at a time.

use std::collections::VecDeque;
use std::ops::Bound;
use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};
use holdall_core::{
    CollectionName, EntryField, Error, Item, ItemStream, Key, Parts, Path, Query, Result, Scan,
    Sort,
};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Row, params_from_iter};

use super::catalogue::{Table, columns};
use super::dialect::Sqlite;
use super::indexes::{self, expression};
use super::readers::{ReadError, Snapshot};
use super::rows::{Stored, stored, text};
use super::{Shared, bodies};
use crate::sql::order::{self, Position, Segment};
use crate::sql::plan;
use crate::sql::{Clause, Value};

/// The most rows of a page.
const PAGE_ROWS: u64 = 512;

/// A page ends when its docs and bodies pass this many bytes.
const PAGE_BYTES: usize = 1024 * 1024;

/// The most items that are sorted without an index.
const MAX_SORTED: usize = 8_000_000;

/// Reads items in key order.
pub(super) fn scan(shared: Arc<Shared>, collection: CollectionName, scan: Scan) -> ItemStream {
    let Some((low, high)) = scan.bounds() else {
        return stream::empty().boxed();
    };
    let mut clauses = Vec::new();
    let mut edge = |operator: &str, edge: String| {
        clauses.push(Clause {
            sql: format!("key {operator} ?"),
            values: vec![Value::Text(edge)],
        });
    };
    match low {
        Bound::Included(key) if key.is_empty() => {}
        Bound::Included(key) => edge(">=", key),
        Bound::Excluded(key) => edge(">", key),
        Bound::Unbounded => {}
    }
    match high {
        Bound::Included(key) => edge("<=", key),
        Bound::Excluded(key) => edge("<", key),
        Bound::Unbounded => {}
    }
    let mut query = Query {
        limit: scan.limit,
        parts: scan.parts,
        ..Query::default()
    };
    if scan.reverse {
        query = query.sort(Sort::by(Path::Entry(EntryField::Key)).descending());
    }
    Answer::new(shared, collection, query, clauses).items()
}

/// Answers a query.
pub(super) fn query(shared: Arc<Shared>, collection: CollectionName, query: Query) -> ItemStream {
    if let Err(error) = query.validate() {
        return stream::once(async { Err(error) }).boxed();
    }
    Answer::new(shared, collection, query, Vec::new()).items()
}

/// A query that is being answered.
struct Answer {
    shared: Arc<Shared>,
    collection: CollectionName,
    query: Arc<Query>,
    /// Conditions beside the filter.
    clauses: Arc<Vec<Clause>>,
    left: u64,
    skip: u64,
    state: State,
}

#[derive(Clone)]
enum State {
    /// Nothing was read yet.
    Start,
    /// An index gives the order; goes on in the first segment, behind a
    /// position if there is one.
    Ordered {
        segments: VecDeque<Segment>,
        position: Option<Position>,
    },
    /// The order was made once; these rows are left.
    Sorted {
        rows: Arc<Vec<i64>>,
        next: usize,
    },
    End,
}

/// A page, and how to go on.
struct Page {
    found: Vec<Stored>,
    skipped: u64,
    state: State,
}

impl Answer {
    fn new(
        shared: Arc<Shared>,
        collection: CollectionName,
        query: Query,
        clauses: Vec<Clause>,
    ) -> Self {
        Self {
            shared,
            collection,
            left: query.limit.unwrap_or(u64::MAX),
            skip: query.offset,
            query: Arc::new(query),
            clauses: Arc::new(clauses),
            state: State::Start,
        }
    }

    fn items(self) -> ItemStream {
        let pages = stream::try_unfold(self, |mut answer| async move {
            let page = answer.page().await?;
            Ok::<_, Error>(page.map(|items| (stream::iter(items.into_iter().map(Ok)), answer)))
        });
        pages.try_flatten().boxed()
    }

    /// The next items; `None` at the end.
    async fn page(&mut self) -> Result<Option<Vec<Item>>> {
        while self.left > 0 && !matches!(self.state, State::End) {
            let turn = self.turn();
            let collection = self.collection.clone();
            let page = self
                .shared
                .readers
                .read(move |connection| turn.read(connection))
                .await;
            let page = page.map_err(|error| error.at(&collection, None))?;
            self.state = page.state;
            self.skip -= page.skipped;
            self.left -= page.found.len() as u64;
            if !page.found.is_empty() {
                return Ok(Some(
                    page.found
                        .into_iter()
                        .map(|stored| stored.into_item(&self.shared))
                        .collect(),
                ));
            }
        }
        Ok(None)
    }

    fn turn(&self) -> Turn {
        Turn {
            shared: self.shared.clone(),
            collection: self.collection.clone(),
            query: self.query.clone(),
            clauses: self.clauses.clone(),
            left: self.left,
            skip: self.skip,
            state: self.state.clone(),
        }
    }
}

impl Stored {
    /// The item, with a large body as a stream.
    pub(super) fn into_item(self, shared: &Arc<Shared>) -> Item {
        let Self { mut item, large } = self;
        if let Some((id, range)) = large {
            item.body = Some(bodies::body(
                shared.clone(),
                id,
                range,
                item.entry.size,
                item.entry.digest,
            ));
        }
        item
    }
}

/// The reading of one page, in one transaction.
struct Turn {
    shared: Arc<Shared>,
    collection: CollectionName,
    query: Arc<Query>,
    clauses: Arc<Vec<Clause>>,
    left: u64,
    skip: u64,
    state: State,
}

impl Turn {
    fn read(&self, connection: &Connection) -> Result<Page, ReadError> {
        let _snapshot = Snapshot::begin(connection)?;
        let Some(table) = self.shared.catalogue.find(connection, &self.collection)? else {
            return Ok(Page {
                found: Vec::new(),
                skipped: 0,
                state: State::End,
            });
        };
        match &self.state {
            State::Start => self.start(connection, &table),
            State::Ordered { segments, position } => {
                let clauses = self.filter(connection, &table)?;
                self.ordered(
                    connection,
                    &table,
                    clauses,
                    segments.clone(),
                    position.clone(),
                )
            }
            State::Sorted { rows, next } => self.sorted(connection, &table, rows.clone(), *next),
            State::End => Ok(Page {
                found: Vec::new(),
                skipped: 0,
                state: State::End,
            }),
        }
    }

    fn filter(&self, connection: &Connection, table: &Table) -> Result<Vec<Clause>, ReadError> {
        let mut clauses = self.clauses.as_ref().clone();
        if !self.query.filter.is_all() {
            let declared = indexes::of(connection, table)?;
            clauses.extend(plan::filter(&self.query.filter, &declared, &Sqlite).clauses);
        }
        Ok(clauses)
    }

    fn start(&self, connection: &Connection, table: &Table) -> Result<Page, ReadError> {
        let needs_indexes = !self.query.filter.is_all() || !self.query.sort.is_empty();
        let declared = if needs_indexes {
            indexes::of(connection, table)?
        } else {
            Arc::default()
        };
        let mut clauses = self.clauses.as_ref().clone();
        clauses.extend(plan::filter(&self.query.filter, &declared, &Sqlite).clauses);
        let position = self.query.after.as_ref().map(Position::of);
        if order::has_order(&self.query, &declared) {
            let mut segments = VecDeque::from(order::segments(&self.query.sort));
            if let Some(position) = &position {
                let at = position.segment(&self.query.sort);
                segments.retain({
                    let mut reached = false;
                    move |segment| {
                        reached |= *segment == at;
                        reached
                    }
                });
            }
            return self.ordered(connection, table, clauses, segments, position);
        }
        let rows = self.sort(connection, table, clauses, position.as_ref())?;
        self.sorted(connection, table, Arc::new(rows), 0)
    }

    /// A page that an index gives in order.
    fn ordered(
        &self,
        connection: &Connection,
        table: &Table,
        mut clauses: Vec<Clause>,
        mut segments: VecDeque<Segment>,
        position: Option<Position>,
    ) -> Result<Page, ReadError> {
        let Some(segment) = segments.front().copied() else {
            return Ok(Page {
                found: Vec::new(),
                skipped: 0,
                state: State::End,
            });
        };
        // A position among those that have a value says that they have one.
        if position.is_none() || segment == Segment::Missing {
            clauses.extend(order::in_segment(segment, &self.query.sort, &Sqlite));
        }
        if let Some(position) = &position {
            clauses.push(order::behind(position, segment, &self.query, &Sqlite)?);
        }
        let limit = PAGE_ROWS.min(self.left.saturating_add(self.skip));
        let select = select(
            &columns(self.query.parts),
            table,
            clauses,
            segment,
            &self.query,
            limit,
        );
        let mut statement = connection.prepare_cached(&select.sql)?;
        let mut rows = statement.query(params_from_iter(select.values))?;
        let (mut found, mut skipped, mut bytes, mut last) = (Vec::new(), 0, 0, None);
        let mut full = false;
        while let Some(row) = rows.next()? {
            if skipped < self.skip {
                skipped += 1;
                last = Some(text(row, 0)?.to_owned());
            } else {
                bytes += row_bytes(row);
                found.push(stored(row, self.query.parts)?);
            }
            full = found.len() as u64 + skipped == limit || bytes >= PAGE_BYTES;
            if full {
                break;
            }
        }
        drop(rows);
        let last = found
            .last()
            .map(|stored| stored.item.key.as_str().to_owned())
            .or(last);
        let done = found.len() as u64 >= self.left;
        let position = match last {
            Some(key) if full && !done => Some(self.position(connection, table, key)?),
            _ => {
                segments.pop_front();
                None
            }
        };
        let state = if segments.is_empty() || done {
            State::End
        } else {
            State::Ordered { segments, position }
        };
        Ok(Page {
            found,
            skipped,
            state,
        })
    }

    /// Where an item of this page stands in the order.
    fn position(
        &self,
        connection: &Connection,
        table: &Table,
        key: String,
    ) -> Result<Position, ReadError> {
        let mut values = Vec::new();
        for sort in &self.query.sort {
            let column = expression(&sort.path).unwrap_or_else(|| "NULL".to_owned());
            let sql = format!("SELECT {column} FROM {} WHERE key = ?1", table.quoted);
            let value = connection
                .prepare_cached(&sql)?
                .query_row([&key], |row| encoded(&sort.path, row))
                .optional()?;
            values.push(value.transpose()?.flatten());
        }
        Ok(Position { values, key })
    }

    /// The ids of all rows of the answer, in order. They are sorted by SQLite,
    /// which needs no more memory than it is allowed.
    fn sort(
        &self,
        connection: &Connection,
        table: &Table,
        mut clauses: Vec<Clause>,
        position: Option<&Position>,
    ) -> Result<Vec<i64>, ReadError> {
        if let Some(position) = position {
            clauses.push(order::behind(position, Segment::All, &self.query, &Sqlite)?);
        }
        let condition = Clause::all(clauses);
        let most = self
            .left
            .saturating_add(self.skip)
            .min(MAX_SORTED as u64 + 1);
        let sql = format!(
            "SELECT id FROM {} WHERE {} ORDER BY {} LIMIT {most}",
            table.quoted,
            condition.sql,
            order::order(Segment::All, &self.query, &Sqlite)
        );
        let mut statement = connection.prepare_cached(&sql)?;
        let mut rows = statement.query(params_from_iter(condition.values))?;
        let (mut ids, mut skipped) = (Vec::new(), 0);
        while let Some(row) = rows.next()? {
            if skipped < self.skip {
                skipped += 1;
                continue;
            }
            ids.push(row.get(0)?);
            if ids.len() > MAX_SORTED {
                return Err(Error::too_large(format!(
                    "more than {MAX_SORTED} items are to be sorted without an index; declare one on what you sort by"
                ))
                .into());
            }
        }
        Ok(ids)
    }

    /// The next rows of an order that was made before. Each is asked again
    /// whether it matches, as it may have changed.
    fn sorted(
        &self,
        connection: &Connection,
        table: &Table,
        ids: Arc<Vec<i64>>,
        mut next: usize,
    ) -> Result<Page, ReadError> {
        let condition = Clause::all(self.filter(connection, table)?);
        let sql = format!(
            "SELECT {} FROM {} WHERE id = ? AND {}",
            columns(self.query.parts),
            table.quoted,
            condition.sql
        );
        let mut statement = connection.prepare_cached(&sql)?;
        let (mut found, mut bytes) = (Vec::new(), 0);
        while let Some(id) = ids.get(next)
            && (found.len() as u64) < PAGE_ROWS.min(self.left)
            && bytes < PAGE_BYTES
        {
            next += 1;
            let values = std::iter::once(Value::Int(*id)).chain(condition.values.iter().cloned());
            let mut rows = statement.query(params_from_iter(values))?;
            if let Some(row) = rows.next()? {
                bytes += row_bytes(row);
                found.push(stored(row, self.query.parts)?);
            }
        }
        let state = if next < ids.len() {
            State::Sorted { rows: ids, next }
        } else {
            State::End
        };
        // What was skipped never became a row of the order.
        Ok(Page {
            found,
            skipped: self.skip,
            state,
        })
    }
}

/// The rows of a segment that all clauses hold of, in order.
fn select(
    columns: &str,
    table: &Table,
    clauses: Vec<Clause>,
    segment: Segment,
    query: &Query,
    limit: u64,
) -> Clause {
    let Clause { sql, values } = Clause::all(clauses);
    let order = order::order(segment, query, &Sqlite);
    let sql = format!(
        "SELECT {columns} FROM {} WHERE {sql} ORDER BY {order} LIMIT {limit}",
        table.quoted
    );
    Clause { sql, values }
}

/// How SQLite answers the first page of a query.
pub(super) async fn explain(
    shared: &Arc<Shared>,
    collection: CollectionName,
    query: Query,
) -> Result<Vec<String>> {
    query.validate()?;
    let (inner, readers) = (shared.clone(), shared.readers.clone());
    let explain = move |connection: &Connection| {
        let _snapshot = Snapshot::begin(connection)?;
        let Some(table) = inner.catalogue.find(connection, &collection)? else {
            return Ok(Vec::new());
        };
        let declared = indexes::of(connection, &table)?;
        let mut clauses = plan::filter(&query.filter, &declared, &Sqlite).clauses;
        let ordered = order::has_order(&query, &declared);
        let segment = order::segments(&query.sort)
            .first()
            .copied()
            .filter(|_| ordered)
            .unwrap_or(Segment::All);
        clauses.extend(order::in_segment(segment, &query.sort, &Sqlite));
        let columns = if ordered {
            columns(query.parts)
        } else {
            "id".to_owned()
        };
        let select = select(&columns, &table, clauses, segment, &query, PAGE_ROWS);
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {}", select.sql))?;
        let lines = statement.query_map(params_from_iter(select.values), |row| row.get(3))?;
        let lines = lines.collect::<rusqlite::Result<Vec<String>>>()?;
        drop(statement);
        Ok(lines)
    };
    readers.read(explain).await
}

/// What the doc and the body of a row weigh.
fn row_bytes(row: &Row<'_>) -> usize {
    let weigh = |column| match row.get_ref(column) {
        Ok(ValueRef::Text(bytes) | ValueRef::Blob(bytes)) => bytes.len(),
        _ => 0,
    };
    weigh(8) + weigh(9)
}

/// The encoded value of an expression, in the first column.
fn encoded(path: &Path, row: &Row<'_>) -> rusqlite::Result<Result<Option<Vec<u8>>>> {
    Ok(match (path, row.get_ref(0)?) {
        (_, ValueRef::Null) => Ok(None),
        (Path::Doc(_), ValueRef::Blob(bytes)) => Ok(Some(bytes.to_vec())),
        (Path::Entry(_), ValueRef::Integer(number)) => {
            Ok(Some(holdall_core::sort_key(&number.into())))
        }
        (Path::Entry(_), value @ ValueRef::Text(_)) => {
            Ok(Some(holdall_core::sort_key(&value.as_str()?.into())))
        }
        _ => Err(Error::corrupt(
            "a column has another type than Holdall writes",
        )),
    })
}

/// Reads several items in one transaction.
pub(super) async fn get_many(
    shared: &Arc<Shared>,
    collection: &CollectionName,
    keys: &[Key],
    parts: Parts,
) -> Result<Vec<Option<Item>>> {
    let (inner, collection, keys) = (shared.clone(), collection.clone(), keys.to_vec());
    let found = shared.readers.read(move |connection| {
        let _snapshot = Snapshot::begin(connection)?;
        let Some(table) = inner.catalogue.find(connection, &collection)? else {
            return Ok(keys.iter().map(|_| None).collect());
        };
        let mut statement = connection.prepare_cached(table.get(parts))?;
        let mut found = Vec::with_capacity(keys.len());
        for key in &keys {
            let mut rows = statement.query([key.as_str()])?;
            let item = rows.next()?.map(|row| stored(row, parts)).transpose();
            found.push(item?);
        }
        drop(statement);
        Ok::<_, ReadError>(found)
    });
    let found: Vec<Option<Stored>> = found.await?;
    Ok(found
        .into_iter()
        .map(|stored| stored.map(|stored| stored.into_item(shared)))
        .collect())
}
