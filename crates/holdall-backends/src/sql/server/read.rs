//! Reads items, scans and queries, a page at a time.
//!
//! A query whose order an index gives is answered by the database, page by page,
//! each behind the last item of the one before. What the database cannot filter
//! exactly is narrowed by it and asked of the rows that come back. All else is
//! answered by the reference evaluator, over the items that may match.

use std::collections::VecDeque;
use std::ops::Bound;
use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};
use holdall_core::{
    CollectionName, Cursor, EntryField, Error, Filter, GetOptions, Item, ItemStream, Key, Parts,
    Path, Query, Result, Scan, Sort, Subject, Value as Json, evaluate, sort_key,
    sort_key_or_missing,
};

use super::driver::{Driver, Failure, Row, Statement, rows};
use super::layout::Table;
use super::rows::{Stored, columns, read};
use super::spelling::Columns;
use super::{Shared, damaged};
use crate::sql::order::{self, Position, Segment};
use crate::sql::plan::{self, Pushed, is_in_order};
use crate::sql::{Clause, Dialect, Kind, Value};

/// The most rows of a page.
const PAGE_ROWS: u64 = 512;

/// The rows of a first page, before it is known what they weigh.
const FIRST_ROWS: u64 = 32;

/// What the docs and bodies of a page should weigh.
const PAGE_BYTES: usize = 1024 * 1024;

/// The most keys that are asked for at once.
const KEYS: usize = 1000;

/// Reads one item.
pub(super) async fn get<D: Driver>(
    shared: &Arc<Shared<D>>,
    collection: &CollectionName,
    key: &Key,
    options: &GetOptions,
) -> Result<Option<Item>> {
    let column = shared.spelling().key();
    let wanted = columns(options.parts, column);
    let statement = |table: &Table| {
        let sql = format!("SELECT {wanted} FROM {} WHERE {column} = ?", table.quoted);
        Ok(vec![Statement::new(
            sql,
            [Value::Text(key.as_str().to_owned())],
        )])
    };
    let Some((_, answers)) = shared.read(collection, statement).await? else {
        return Ok(None);
    };
    let Some(mut row) = answers.into_iter().flat_map(|answer| answer.rows).next() else {
        return Ok(None);
    };
    if let Some(Value::Version(version)) = row.get(1) {
        options.check_version(*version)?;
    }
    let stored = read(&mut row, options.parts, options.range)?;
    Ok(Some(stored.into_item(shared)))
}

/// Reads several items, up to a thousand in one statement.
pub(super) async fn get_many<D: Driver>(
    shared: &Arc<Shared<D>>,
    collection: &CollectionName,
    keys: &[Key],
    parts: Parts,
) -> Result<Vec<Option<Item>>> {
    let mut found = hashbrown::HashMap::new();
    let column = shared.spelling().key();
    let wanted = columns(parts, column);
    for some in keys.chunks(KEYS) {
        let statement = |table: &Table| {
            let values = some
                .iter()
                .map(|key| Value::Text(key.as_str().to_owned()))
                .collect();
            let any = shared.spelling().any_of(column, Kind::Text, values);
            let sql = format!("SELECT {wanted} FROM {} WHERE {}", table.quoted, any.sql);
            Ok(vec![Statement::new(sql, any.values)])
        };
        let Some((_, answers)) = shared.read(collection, statement).await? else {
            break;
        };
        for mut row in answers.into_iter().flat_map(|answer| answer.rows) {
            let stored = read(&mut row, parts, None)?;
            found.insert(stored.item.key.clone(), stored);
        }
    }
    let mut asked = hashbrown::HashMap::new();
    for key in keys {
        *asked.entry(key).or_insert(0) += 1;
    }
    let mut items = Vec::with_capacity(keys.len());
    for key in keys {
        // A key may be asked for twice, and a body is read once.
        let left = asked.entry(key).or_insert(1);
        *left -= 1;
        items.push(match *left {
            0 => found.remove(key).map(|stored| stored.into_item(shared)),
            _ => get(shared, collection, key, &GetOptions::parts(parts)).await?,
        });
    }
    Ok(items)
}

/// The collections that have items.
pub(super) async fn collections<D: Driver>(shared: &Arc<Shared<D>>) -> Result<Vec<CollectionName>> {
    const ATTEMPTS: usize = 5;
    let mut connection = shared.connect().await?;
    let mut attempt = 0;
    loop {
        attempt += 1;
        match filled(shared, &mut connection).await {
            // A table was dropped between the two reads.
            Err(Failure::Outdated(_)) if attempt < ATTEMPTS => {}
            names => return names.map_err(Failure::into_error),
        }
    }
}

async fn filled<D: Driver>(
    shared: &Shared<D>,
    connection: &mut D::Connection,
) -> Result<Vec<CollectionName>, Failure> {
    let sql = format!(
        "SELECT name, table_name FROM {} ORDER BY name",
        shared.own("holdall_collections")
    );
    let all = rows(connection, Statement::new(sql, [])).await?;
    let mut names = Vec::new();
    for some in all.chunks(100) {
        let mut parts = Vec::new();
        let mut values = Vec::new();
        for row in some {
            let [name, Value::Text(table)] = row.as_slice() else {
                return Err(damaged(row).into());
            };
            let table = shared.own(table);
            parts.push(format!(
                "SELECT ? AS name WHERE EXISTS (SELECT 1 FROM {table})"
            ));
            values.push(name.clone());
        }
        let filled = Statement::new(parts.join(" UNION ALL "), values);
        for row in rows(connection, filled).await? {
            match row.as_slice() {
                [Value::Text(name)] => names.push(CollectionName::new(name.clone())?),
                _ => return Err(damaged(&row).into()),
            }
        }
    }
    names.sort();
    Ok(names)
}

/// Reads items in key order: those that a filter may match, if there is one.
pub(super) fn scan<D: Driver>(
    shared: Arc<Shared<D>>,
    collection: CollectionName,
    scan: Scan,
    narrowed: Option<Filter>,
) -> ItemStream {
    let Some((low, high)) = scan.bounds() else {
        return stream::empty().boxed();
    };
    let column = shared.spelling().key();
    let edge = |operator: &str, edge: String| {
        Clause::new(format!("{column} {operator} ?"), [Value::Text(edge)])
    };
    let low = match low {
        Bound::Included(key) if key.is_empty() => None,
        Bound::Included(key) => Some(edge(">=", key)),
        Bound::Excluded(key) => Some(edge(">", key)),
        Bound::Unbounded => None,
    };
    let high = match high {
        Bound::Included(key) => Some(edge("<=", key)),
        Bound::Excluded(key) => Some(edge("<", key)),
        Bound::Unbounded => None,
    };
    let mut query = Query {
        limit: scan.limit,
        parts: scan.parts,
        ..Query::default()
    };
    if scan.reverse {
        query = query.sort(Sort::by(Path::Entry(EntryField::Key)).descending());
    }
    let asked = Asked {
        shared,
        collection,
        query,
        edges: low.into_iter().chain(high).collect(),
        narrowed,
    };
    Answer::new(asked).items()
}

/// Answers a query.
pub(super) fn query<D: Driver>(
    shared: Arc<Shared<D>>,
    collection: CollectionName,
    query: Query,
) -> ItemStream {
    if let Err(error) = query.validate() {
        return stream::once(async { Err(error) }).boxed();
    }
    let asked = Asked {
        shared,
        collection,
        query,
        edges: Vec::new(),
        narrowed: None,
    };
    Answer::new(asked).items()
}

/// What is asked for.
struct Asked<D> {
    shared: Arc<Shared<D>>,
    collection: CollectionName,
    query: Query,
    /// Conditions on the key beside the filter.
    edges: Vec<Clause>,
    /// A filter that the items may match, and need not.
    narrowed: Option<Filter>,
}

/// A query that is being answered.
struct Answer<D> {
    asked: Asked<D>,
    left: u64,
    skip: u64,
    /// How many rows the next page has at most.
    rows: u64,
    /// The place of the last row that was read.
    last: Option<Position>,
    state: State,
}

enum State {
    /// Nothing was read yet.
    Start,
    /// The database gives the order; goes on in the first segment, behind a
    /// position if there is one.
    Ordered {
        segments: VecDeque<Segment>,
        position: Option<Position>,
    },
    /// The evaluator answers the rest.
    Evaluated(ItemStream),
    End,
}

/// A page as the database gave it.
struct Page {
    found: Vec<Stored>,
    /// Rows that came back, those that do not match too.
    rows: u64,
    bytes: usize,
    last: Option<Position>,
    /// Whether the order broke off, as more than the start of a value decides.
    broken: bool,
}

impl<D: Driver> Answer<D> {
    fn new(asked: Asked<D>) -> Self {
        Self {
            left: asked.query.limit.unwrap_or(u64::MAX),
            skip: asked.query.offset,
            rows: FIRST_ROWS,
            last: None,
            state: State::Start,
            asked,
        }
    }

    fn items(self) -> ItemStream {
        let pages = stream::try_unfold(self, |mut answer| async move {
            let collection = answer.asked.collection.clone();
            let page = answer.page().await;
            let page = page.map_err(|error| error.at(&collection, None))?;
            Ok::<_, Error>(page.map(|items| (stream::iter(items.into_iter().map(Ok)), answer)))
        });
        pages.try_flatten().boxed()
    }

    /// The next items; `None` at the end.
    async fn page(&mut self) -> Result<Option<Vec<Item>>> {
        loop {
            if self.left == 0 {
                return Ok(None);
            }
            match std::mem::replace(&mut self.state, State::End) {
                State::End => return Ok(None),
                State::Start => self.start().await?,
                State::Evaluated(mut items) => {
                    let next = items.try_next().await?;
                    self.state = State::Evaluated(items);
                    return Ok(next.map(|item| vec![item]));
                }
                State::Ordered { segments, position } => {
                    let items = self.ordered(segments, position).await?;
                    if !items.is_empty() {
                        return Ok(Some(items));
                    }
                }
            }
        }
    }

    /// Decides who gives the order.
    async fn start(&mut self) -> Result<()> {
        let mut connection = self.asked.shared.connect().await?;
        let table = self
            .asked
            .shared
            .table(&mut connection, &self.asked.collection)
            .await;
        let Some(table) = table.map_err(Failure::into_error)? else {
            return Ok(());
        };
        let position = self.asked.query.after.as_ref().map(Position::of);
        let dialect = Columns {
            table: &table,
            spelling: self.asked.shared.spelling(),
        };
        let knows = |sort: &Sort| dialect.column(&sort.path).is_some();
        let ordered = self.asked.query.sort.iter().all(knows)
            && position.as_ref().is_none_or(Position::is_whole)
            && (order::has_order(&self.asked.query, &table.declared)
                || self.left.saturating_add(self.skip) <= PAGE_ROWS);
        if !ordered {
            self.state = self.evaluated(self.asked.query.clone());
            return Ok(());
        }
        let mut segments = VecDeque::from(order::segments(&self.asked.query.sort));
        if let Some(position) = &position {
            let at = position.segment(&self.asked.query.sort);
            while segments.front().is_some_and(|segment| *segment != at) {
                segments.pop_front();
            }
        }
        self.state = State::Ordered { segments, position };
        Ok(())
    }

    /// Has the evaluator answer a query over what may match.
    fn evaluated(&self, query: Query) -> State {
        let (shared, collection) = (self.asked.shared.clone(), self.asked.collection.clone());
        let narrowed = Some(query.filter.clone());
        State::Evaluated(evaluate::evaluate(query, |wanted| {
            scan(shared, collection, wanted, narrowed)
        }))
    }

    /// A page of a segment.
    async fn ordered(
        &mut self,
        mut segments: VecDeque<Segment>,
        position: Option<Position>,
    ) -> Result<Vec<Item>> {
        let Some(segment) = segments.front().copied() else {
            return Ok(Vec::new());
        };
        let wanted = self.left.saturating_add(self.skip);
        let most = self.rows.min(wanted);
        let Some(page) = self.asked.read(segment, position.as_ref(), most).await? else {
            return Ok(Vec::new());
        };
        self.last = page.last.clone().or_else(|| self.last.take());
        let mut found = page.found;
        let skipped = usize::try_from(self.skip)
            .unwrap_or(usize::MAX)
            .min(found.len());
        found.drain(..skipped);
        self.skip -= skipped as u64;
        found.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
        self.left -= found.len() as u64;
        let was_full = page.rows >= most;
        // The next page should weigh what a page should.
        self.rows = match page.bytes {
            bytes if bytes < PAGE_BYTES / 2 => (self.rows * 2).min(PAGE_ROWS),
            bytes if bytes > PAGE_BYTES => (self.rows / 2).max(1),
            _ => self.rows,
        };
        if self.left == 0 {
            // The page held the rest.
        } else if page.broken {
            self.state = self.rest()?;
        } else if was_full {
            self.state = State::Ordered {
                segments,
                position: page.last,
            };
        } else {
            segments.pop_front();
            self.state = match segments.is_empty() {
                true => State::End,
                false => State::Ordered {
                    segments,
                    position: None,
                },
            };
        }
        Ok(found
            .into_iter()
            .map(|stored| stored.into_item(&self.asked.shared))
            .collect())
    }

    /// Has the evaluator answer what comes behind all that was read.
    fn rest(&self) -> Result<State> {
        let mut query = self.asked.query.clone();
        query.limit = self.asked.query.limit.map(|_| self.left);
        // While some are to be skipped, none was given: from the start.
        if let Some(last) = self.last.clone().filter(|_| self.skip == 0) {
            let values = last.values.into_iter();
            let values = values
                .map(|value| value.unwrap_or_else(|| sort_key_or_missing(None)))
                .collect();
            query.offset = 0;
            query.after = Some(Cursor::new(&query, values, Key::new(last.key)?)?);
        }
        Ok(self.evaluated(query))
    }
}

impl<D: Driver> Asked<D> {
    /// Reads a page of at most so many rows; `None` if there is no such
    /// collection.
    async fn read(
        &self,
        segment: Segment,
        position: Option<&Position>,
        most: u64,
    ) -> Result<Option<Page>> {
        let statement = |table: &Table| {
            let (sql, values, _) = self.select(table, segment, position, most)?;
            Ok(vec![Statement::new(sql, values)])
        };
        let Some((table, answers)) = self.shared.read(&self.collection, statement).await? else {
            return Ok(None);
        };
        let (_, _, pushed) = self.select(&table, segment, position, most)?;
        let parts = self.parts(&pushed);
        let mut page = Page {
            found: Vec::new(),
            rows: 0,
            bytes: 0,
            last: None,
            broken: false,
        };
        for mut row in answers.into_iter().flat_map(|answer| answer.rows) {
            let mut stored = read(&mut row, parts, None)?;
            let key = stored.item.key.as_str().to_owned();
            let Some(position) = self.position(key, &row)? else {
                page.broken = true;
                break;
            };
            page.rows += 1;
            page.bytes += stored.bytes();
            page.last = Some(position);
            let matched = match &pushed.rest {
                None => true,
                Some(rest) => matches(rest, &stored.item)?,
            };
            if matched {
                if !self.query.parts.doc {
                    stored.item.doc = None;
                }
                page.found.push(stored);
            }
        }
        Ok(Some(page))
    }

    /// The parts that are read: the doc, too, where rows must be asked of.
    fn parts(&self, pushed: &Pushed) -> Parts {
        let asked = pushed.rest.as_ref().is_some_and(Filter::reads_doc);
        Parts {
            doc: self.query.parts.doc || asked,
            body: self.query.parts.body,
        }
    }

    /// The statement that reads a page, and what is left of the filter.
    fn select(
        &self,
        table: &Table,
        segment: Segment,
        position: Option<&Position>,
        most: u64,
    ) -> Result<(String, Vec<Value>, Pushed)> {
        let dialect = Columns {
            table,
            spelling: self.shared.spelling(),
        };
        let mut pushed = plan::filter(&self.query.filter, &table.declared, &dialect);
        let mut clauses = self.edges.clone();
        clauses.append(&mut pushed.clauses);
        if let Some(narrowed) = &self.narrowed {
            clauses.extend(plan::filter(narrowed, &table.declared, &dialect).clauses);
        }
        // A position among those that have a value says that they have one.
        if position.is_none() || segment == Segment::Missing {
            clauses.extend(order::in_segment(segment, &self.query.sort, &dialect));
        }
        if let Some(position) = position {
            clauses.push(order::behind(position, segment, &self.query, &dialect)?);
        }
        let Clause { sql, values } = Clause::all(clauses);
        let mut wanted_columns = columns(self.parts(&pushed), dialect.key());
        for sort in &self.query.sort {
            // A column that went with its index fails in the order below.
            let column = dialect.column(&sort.path);
            wanted_columns.push_str(", ");
            wanted_columns.push_str(column.as_deref().unwrap_or("NULL"));
        }
        let order = order::order(segment, &self.query, &dialect);
        let sql = format!(
            "SELECT {wanted_columns} FROM {} WHERE {sql} ORDER BY {order} LIMIT {most}",
            table.quoted
        );
        Ok((sql, values, pushed))
    }

    /// The place of a row, whose columns to sort by are what is left of it;
    /// `None` if they do not tell it.
    fn position(&self, key: String, row: &Row) -> Result<Option<Position>> {
        let mut values = Vec::with_capacity(row.len());
        for value in row {
            values.push(match value {
                Value::Null => None,
                Value::Bytes(kept) if !is_in_order(kept) => return Ok(None),
                Value::Bytes(kept) => Some(kept.clone()),
                Value::Int(number) | Value::Time(number) => Some(sort_key(&(*number).into())),
                Value::Text(text) => Some(sort_key(&text.clone().into())),
                _ => return Err(damaged(row)),
            });
        }
        Ok(Some(Position { values, key }))
    }
}

fn matches(filter: &Filter, item: &Item) -> Result<bool> {
    let doc = match filter.reads_doc() {
        true => item.doc()?.value()?,
        false => Json::Null,
    };
    Ok(filter.matches(&Subject {
        key: &item.key,
        entry: &item.entry,
        doc: &doc,
    }))
}
