//! How MySQL and MariaDB spell statements.

use hashbrown::HashSet;
use holdall_core::{CollectionName, Digest, Holds, Index, Path, Test};

use super::json;
use crate::sql::plan::Tested;
use crate::sql::server::driver::{Row, Statement};
use crate::sql::server::layout::Table;
use crate::sql::server::{COLUMNS, Holding, Spelling, index_columns};
use crate::sql::{Clause, Kind, Value, marks};

/// What tells the tables of collections from others.
const COMMENT: &str = "a collection of Holdall";

/// The bytes of a word that are kept: a longer one is found by its start.
const WORD: usize = 255;

/// The most rows of a statement.
const ROWS: usize = 1024;

/// The most parameters of a statement, and some to spare.
const PARAMETERS: usize = 60_000;

/// How tables are kept. Text in them is compared byte by byte.
const KEPT: &str =
    "ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin";

#[derive(Clone, Debug)]
pub(super) struct MysqlSpelling {
    /// The most bytes of a statement with its values.
    pub(super) packet: usize,
    /// The seconds to wait for a lock on the schema.
    pub(super) patience: u64,
}

impl MysqlSpelling {
    /// A lock of a name, in this database. Locks are the server's, and their
    /// names have 64 characters.
    fn lock(&self, name: &str) -> Statement {
        let digest = Digest::of(name.as_bytes()).to_string();
        let name = digest.get(..24).unwrap_or_default().to_owned();
        Statement::lock(
            "SELECT GET_LOCK(CONCAT(?, MD5(DATABASE())), ?)",
            [
                Value::Text(format!("holdall{name}")),
                Value::Int(i64::try_from(self.patience).unwrap_or(i64::MAX)),
            ],
        )
    }

    /// The table that has the words of a column: a row for each word of an item.
    fn words_table(&self, table: &Table, column: &str) -> String {
        self.quote(&format!("holdall_words_{}_{column}", table.id))
    }

    /// Cuts rows into statements that a packet takes. Their numbers of rows are
    /// [`round`], so that few statements are prepared.
    fn cut<T>(&self, mut rows: Vec<T>, weight: impl Fn(&T) -> usize, width: usize) -> Vec<Vec<T>> {
        let most_rows = ROWS.min(PARAMETERS / width.max(1)).max(1);
        let most_bytes = self.packet / 2;
        let mut pieces = Vec::new();
        while !rows.is_empty() {
            let mut bytes = 0;
            let fitting = rows.iter().take(most_rows).take_while(|row| {
                bytes += weight(row);
                bytes <= most_bytes
            });
            let fitting = fitting.count().max(1);
            let rest = rows.split_off(round(fitting));
            pieces.push(std::mem::replace(&mut rows, rest));
        }
        pieces
    }

    /// Puts the words of rows into the tables of their columns.
    fn insert_words(&self, table: &Table, words: Vec<(String, Vec<Row>)>) -> Vec<Statement> {
        let statements = words.into_iter().flat_map(|(column, rows)| {
            let into = self.words_table(table, &column);
            self.cut(rows, row_weight, 2).into_iter().map(move |rows| {
                let tuples = vec!["(?, ?)"; rows.len()].join(", ");
                let sql = format!("INSERT INTO {into} (word, `key`) VALUES {tuples}");
                Statement::new(sql, rows.into_iter().flatten())
            })
        });
        statements.collect()
    }
}

/// A number with only its first two binary digits, or four of a large one: there are few
/// of these, and few of them make any number. Each statement is a round trip, and each that
/// is prepared takes memory of the server.
fn round(number: usize) -> usize {
    let digits = if number < 32 { 2 } else { 4 };
    let rest = (number.max(2).ilog2() + 1).saturating_sub(digits);
    number >> rest << rest
}

fn row_weight(row: &Row) -> usize {
    row.iter().map(weight).sum()
}

fn weight(value: &Value) -> usize {
    let bytes = match value {
        Value::Null => 0,
        Value::Int(_) => 8,
        Value::Time(_) => 12,
        Value::Version(_) => 16,
        Value::Text(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        Value::Doc(text) => text.len(),
        Value::List(_, values) => values.iter().map(weight).sum(),
    };
    // Its type, and its length.
    bytes + 12
}

/// The words of a value of a word column, as rows of a word and further values.
fn word_rows(words: &Value, rest: &[&Value]) -> Vec<Row> {
    let Value::Text(words) = words else {
        return Vec::new();
    };
    let mut seen = HashSet::new();
    let words = words.split(' ').filter(|word| !word.is_empty());
    let words = words
        .map(kept_word)
        .filter(|word| seen.insert(word.to_vec()));
    words
        .map(|word| {
            let rest = rest.iter().map(|value| (*value).clone());
            std::iter::once(Value::Bytes(word.to_vec()))
                .chain(rest)
                .collect()
        })
        .collect()
}

fn kept_word(word: &str) -> &[u8] {
    let bytes = word.as_bytes();
    bytes.get(..WORD).unwrap_or(bytes)
}

/// The columns of sort keys, which are the table's own.
fn sort_columns(table: &Table) -> Vec<&str> {
    let columns = table.layout.columns.iter();
    let own = columns.filter(|column| column.holding == Holding::SortKey);
    own.map(|column| column.name.as_str()).collect()
}

/// Takes rows apart whose values behind the first `fixed` are those of the
/// columns of indexes: what stands in the table, and the words by their columns,
/// each with the first values of its row.
fn apart(
    table: &Table,
    rows: Vec<Row>,
    fixed: usize,
    with: usize,
) -> (Vec<Row>, Vec<(String, Vec<Row>)>) {
    let word_columns: Vec<(usize, String)> = table
        .layout
        .columns
        .iter()
        .enumerate()
        .filter(|(_, column)| column.holding == Holding::Words)
        .map(|(at, column)| (fixed + at, column.name.clone()))
        .collect();
    let mut words: Vec<(String, Vec<Row>)> = word_columns
        .iter()
        .map(|(_, name)| (name.clone(), Vec::new()))
        .collect();
    let rows = rows.into_iter().map(|mut row| {
        for ((at, _), (_, found)) in word_columns.iter().zip(&mut words) {
            let first: Vec<&Value> = row.iter().take(with).collect();
            if let Some(value) = row.get(*at) {
                found.extend(word_rows(value, &first));
            }
        }
        for (at, _) in word_columns.iter().rev() {
            if *at < row.len() {
                row.remove(*at);
            }
        }
        row
    });
    let rows = rows.collect();
    (rows, words)
}

/// Columns that are not NULL in all rows, and their values.
fn without_nulls(names: Vec<&str>, rows: Vec<Row>) -> (Vec<&str>, Vec<Row>) {
    let is_kept = |at: usize| rows.iter().any(|row| row.get(at) != Some(&Value::Null));
    let kept: Vec<bool> = (0..names.len()).map(is_kept).collect();
    let names = names.into_iter().zip(&kept);
    let names = names.filter_map(|(name, kept)| kept.then_some(name));
    let of_row = |row: Row| {
        let values = row.into_iter().zip(&kept);
        values
            .filter_map(|(value, kept)| kept.then_some(value))
            .collect()
    };
    (names.collect(), rows.into_iter().map(of_row).collect())
}

/// Rows as a table `r` of bytes.
fn rows_table(names: &[String], count: usize) -> String {
    let first: Vec<String> = names
        .iter()
        .map(|name| format!("CAST(? AS BINARY) AS {name}"))
        .collect();
    let next = format!(
        " UNION ALL SELECT {}",
        vec!["CAST(? AS BINARY)"; names.len()].join(", ")
    );
    format!(
        "(SELECT {}{}) AS r",
        first.join(", "),
        next.repeat(count.saturating_sub(1))
    )
}

impl Spelling for MysqlSpelling {
    /// What tells that all are there is made last.
    fn schema(&self) -> Vec<Statement> {
        [
            format!(
                "CREATE TABLE IF NOT EXISTS holdall_collections (
  id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
  name VARBINARY(1024) NOT NULL,
  table_name VARCHAR(64) NOT NULL,
  generation BIGINT NOT NULL,
  layout MEDIUMTEXT NOT NULL,
  UNIQUE KEY holdall_collections_name (name),
  UNIQUE KEY holdall_collections_table (table_name)
) {KEPT}"
            ),
            format!(
                "CREATE TABLE IF NOT EXISTS holdall_bodies (
  id BINARY(16) NOT NULL PRIMARY KEY,
  collection BIGINT NOT NULL,
  size BIGINT NOT NULL,
  digest BINARY(32),
  expires DATETIME(6),
  dropped DATETIME(6),
  KEY holdall_bodies_expires (expires),
  KEY holdall_bodies_dropped (dropped)
) {KEPT}"
            ),
            format!(
                "CREATE TABLE IF NOT EXISTS holdall_chunks (
  body BINARY(16) NOT NULL,
  number BIGINT NOT NULL,
  data LONGBLOB NOT NULL,
  PRIMARY KEY (body, number)
) {KEPT}"
            ),
            format!(
                "CREATE TABLE IF NOT EXISTS holdall_log (
  id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
  batch BINARY(16) NOT NULL,
  at DATETIME(6) NOT NULL,
  until DATETIME(6) NOT NULL,
  seq BIGINT,
  changes LONGBLOB NOT NULL,
  UNIQUE KEY holdall_log_batch (batch),
  UNIQUE KEY holdall_log_seq (seq)
) {KEPT}"
            ),
            format!(
                "CREATE TABLE IF NOT EXISTS holdall_meta (
  name VARCHAR(64) NOT NULL PRIMARY KEY,
  number BIGINT,
  version BINARY(16)
) {KEPT}"
            ),
        ]
        .map(Statement::define)
        .into()
    }

    fn lock_schema(&self) -> Statement {
        self.lock("schema")
    }

    fn lock_layout(&self, collection: &CollectionName) -> Option<Statement> {
        Some(self.lock(&format!("layout of {collection}")))
    }

    fn shared_lock(&self) -> &'static str {
        " LOCK IN SHARE MODE"
    }

    fn key(&self) -> &'static str {
        "`key`"
    }

    fn table(&self, name: &str) -> String {
        self.quote(name)
    }

    fn exists(&self, name: &str) -> Statement {
        Statement::once(
            "SELECT 1 FROM information_schema.tables \
             WHERE table_schema = DATABASE() AND table_name = ?",
            [Value::Text(name.to_owned())],
        )
    }

    /// A table that no collection has was left by one who ended in the middle.
    fn is_taken(&self, name: &str) -> Statement {
        Statement::once(
            "SELECT 1 FROM information_schema.tables AS t \
             WHERE t.table_schema = DATABASE() AND t.table_name = ? AND NOT (t.table_comment = ? \
             AND NOT EXISTS (SELECT 1 FROM holdall_collections AS c WHERE c.table_name = ?))",
            [name, COMMENT, name].map(|text| Value::Text(text.to_owned())),
        )
    }

    /// The doc is text and not `JSON`: MariaDB checks that only to a depth of 32,
    /// and MySQL writes it anew.
    fn create_table(&self, name: &str) -> Vec<Statement> {
        let table = self.table(name);
        vec![
            Statement::define(format!("DROP TABLE IF EXISTS {table}")),
            Statement::define(format!(
                "CREATE TABLE {table} (
  `key` VARBINARY(1024) NOT NULL PRIMARY KEY,
  version BINARY(16) NOT NULL,
  created DATETIME(6) NOT NULL,
  modified DATETIME(6) NOT NULL,
  size BIGINT NOT NULL,
  digest BINARY(32),
  chunks BINARY(16),
  attrs LONGBLOB,
  doc LONGTEXT NOT NULL,
  body LONGBLOB
) {KEPT} COMMENT = '{COMMENT}'"
            )),
        ]
    }

    /// Who writes to it is kept away by the row of its collection.
    fn lock_table(&self, _: &Table) -> Vec<Statement> {
        Vec::new()
    }

    fn empties_tables(&self) -> bool {
        false
    }

    fn empty_table(&self, table: &Table) -> Vec<Statement> {
        let columns = table.layout.columns.iter();
        let words = columns
            .filter(|column| column.holding == Holding::Words)
            .map(|column| self.words_table(table, &column.name));
        words
            .chain([table.quoted.clone()])
            .map(|name| Statement::define(format!("DROP TABLE IF EXISTS {name}")))
            .collect()
    }

    fn add_column(&self, table: &Table, column: &str, holding: Holding) -> Statement {
        Statement::define(match holding {
            Holding::SortKey => format!(
                "ALTER TABLE {} ADD COLUMN {column} VARBINARY(256)",
                table.quoted
            ),
            Holding::Words => format!(
                "CREATE TABLE IF NOT EXISTS {} (
  word VARBINARY({WORD}) NOT NULL,
  `key` VARBINARY(1024) NOT NULL,
  PRIMARY KEY (word, `key`),
  KEY (`key`),
  FOREIGN KEY (`key`) REFERENCES {} (`key`) ON DELETE CASCADE
) {KEPT}",
                self.words_table(table, column),
                table.quoted
            ),
        })
    }

    fn create_index(&self, table: &Table, name: &str, index: &Index) -> Vec<Statement> {
        if index.holds == Holds::Words {
            // The table of the words is one.
            return Vec::new();
        }
        let (mut columns, limit) = index_columns(table, index, self);
        let unique = if index.unique { "UNIQUE " } else { "" };
        let mut typed = String::new();
        // What is not of the type is NULL, which may be there often.
        if let (true, Some(limit), Some(first)) = (index.unique, limit, columns.first_mut()) {
            typed = format!(
                "ADD COLUMN {name} VARBINARY(256) GENERATED ALWAYS AS \
                 (CASE WHEN {limit} THEN {first} END) VIRTUAL, "
            );
            *first = name.to_owned();
        }
        // The key stands in every index of InnoDB, at its end.
        vec![Statement::define(format!(
            "ALTER TABLE {} {typed}ADD {unique}INDEX {name} ({})",
            table.quoted,
            columns.join(", ")
        ))]
    }

    fn drop_index(&self, table: &Table, name: &str, index: &Index) -> Vec<Statement> {
        if index.holds == Holds::Words {
            return Vec::new();
        }
        let is_typed = index.unique && matches!(index.holds, Holds::Only(_));
        let typed = match (is_typed, index.paths.first()) {
            (true, Some(Path::Doc(_))) => format!(", DROP COLUMN {name}"),
            _ => String::new(),
        };
        vec![Statement::define(format!(
            "ALTER TABLE {} DROP INDEX {name}{typed}",
            table.quoted
        ))]
    }

    fn any_of(&self, column: &str, _: Kind, mut values: Vec<Value>) -> Clause {
        let Some(least) = values.iter().min_by_key(|value| weight(value)).cloned() else {
            return Clause::never();
        };
        // Some values more than once, so that few statements are prepared.
        let count = match values.len() {
            few @ ..1024 => few.next_power_of_two(),
            many => many.next_multiple_of(1024),
        };
        values.resize(count, least);
        Clause::new(format!("{column} IN ({})", marks(count)), values)
    }

    fn insert(&self, table: &Table, rows: Vec<Vec<Value>>) -> Vec<Statement> {
        let mut names: Vec<&str> = COLUMNS.iter().map(|(name, _)| *name).collect();
        if let Some(key) = names.first_mut() {
            *key = self.key();
        }
        let (rows, words) = apart(table, rows, names.len(), 1);
        names.extend(sort_columns(table));
        let (names, rows) = without_nulls(names, rows);
        let tuple = format!("({})", marks(names.len()));
        let pieces = self.cut(rows, row_weight, names.len());
        let insert = pieces.into_iter().map(|rows| {
            let sql = format!(
                "INSERT INTO {} ({}) VALUES {}",
                table.quoted,
                names.join(", "),
                vec![tuple.as_str(); rows.len()].join(", ")
            );
            Statement::new(sql, rows.into_iter().flatten())
        });
        let mut statements: Vec<_> = insert.collect();
        statements.extend(self.insert_words(table, words));
        statements
    }

    /// Removes them, and inserts them again: a statement that updates many rows
    /// takes a unique value for the row that it is to update.
    fn update(&self, table: &Table, rows: Vec<Vec<Value>>) -> Vec<Statement> {
        let keys = rows.iter().filter_map(|row| row.first().cloned()).collect();
        let any = self.any_of(self.key(), Kind::Text, keys);
        let sql = format!("DELETE FROM {} WHERE {}", table.quoted, any.sql);
        let mut statements = vec![Statement::new(sql, any.values)];
        statements.extend(self.insert(table, rows));
        statements
    }

    fn fill(&self, table: &Table, rows: Vec<Vec<Value>>) -> Vec<Statement> {
        let (rows, words) = apart(table, rows, 2, 2);
        let mut statements = Vec::new();
        let columns = sort_columns(table);
        if !columns.is_empty() {
            let mut names = vec!["k".to_owned(), "v".to_owned()];
            names.extend(columns.iter().map(|column| format!("r_{column}")));
            let set: Vec<String> = columns
                .iter()
                .map(|column| format!("t.{column} = r.r_{column}"))
                .collect();
            for rows in self.cut(rows, row_weight, names.len()) {
                let sql = format!(
                    "UPDATE {} STRAIGHT_JOIN {} AS t ON t.`key` = r.k AND t.version = r.v SET {}",
                    rows_table(&names, rows.len()),
                    table.quoted,
                    set.join(", ")
                );
                statements.push(Statement::once(sql, rows.into_iter().flatten()));
            }
        }
        let names = ["w", "k", "v"].map(str::to_owned);
        for (column, rows) in words {
            for rows in self.cut(rows, row_weight, names.len()) {
                // Those that a writer put there stay. The lock has the version
                // hold until they are there.
                let sql = format!(
                    "INSERT IGNORE INTO {} (word, `key`) SELECT r.w, t.`key` FROM {} \
                     STRAIGHT_JOIN {} AS t ON t.`key` = r.k AND t.version = r.v LOCK IN SHARE MODE",
                    self.words_table(table, &column),
                    rows_table(&names, rows.len()),
                    table.quoted
                );
                statements.push(Statement::once(sql, rows.into_iter().flatten()));
            }
        }
        statements
    }

    fn insert_chunks(&self, rows: Vec<Vec<Value>>) -> Vec<Statement> {
        let pieces = self.cut(rows, row_weight, 3).into_iter().map(|rows| {
            let tuples = vec!["(?, ?, ?)"; rows.len()].join(", ");
            let sql = format!("INSERT INTO holdall_chunks (body, number, data) VALUES {tuples}");
            Statement::new(sql, rows.into_iter().flatten())
        });
        pieces.collect()
    }

    fn is_log_index(&self, index: &str) -> bool {
        index == "holdall_log_batch"
    }

    fn is_primary_key(&self, table: &Table, index: &str) -> bool {
        // MariaDB does not say of which table.
        let of = index.strip_suffix("PRIMARY");
        of.is_some_and(|of| of.is_empty() || of.strip_suffix('.') == Some(&table.name))
    }

    fn number_log(&self, last: i64, most: i64) -> Statement {
        // In this order, as the other would wait for batches that are under way.
        let sql = "UPDATE (SELECT w.id, ? + ROW_NUMBER() OVER (ORDER BY w.id) AS seq FROM (\
                     SELECT id FROM holdall_log WHERE seq IS NULL AND changes <> x'' ORDER BY id LIMIT ?\
                   ) AS w) AS n STRAIGHT_JOIN holdall_log AS l ON l.id = n.id SET l.seq = n.seq";
        Statement::new(sql, [Value::Int(last), Value::Int(most)])
    }

    fn literal(&self, bytes: &[u8]) -> String {
        let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("x'{digits}'")
    }

    fn seeks_rows(&self) -> bool {
        false
    }

    fn order(&self, expression: &str, descending: bool, nulls_first: bool) -> String {
        let direction = if descending { " DESC" } else { "" };
        // NULL comes before all else.
        match (descending, nulls_first) {
            (false, true) | (true, false) => format!("{expression}{direction}"),
            (false, false) => format!("{expression} IS NULL, {expression}"),
            (true, true) => format!("{expression} IS NULL DESC, {expression} DESC"),
        }
    }

    fn unindexed(&self, path: &Path, test: &Test, _: Option<&str>) -> Option<Tested> {
        json::unindexed(path, test)
    }

    fn has_words(&self, table: &Table, column: &str, words: &[String]) -> Clause {
        let from = self.words_table(table, column);
        let has = |word: &String| {
            let sql = format!("`key` IN (SELECT `key` FROM {from} WHERE word = ?)");
            Clause::new(sql, [Value::Bytes(kept_word(word).to_vec())])
        };
        Clause::all(words.iter().map(has).collect())
    }

    fn quote(&self, name: &str) -> String {
        format!("`{}`", name.replace('`', "``"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_of_any_size_is_few_statements_of_few_sizes() {
        let spelling = MysqlSpelling {
            packet: 1 << 24,
            patience: 1,
        };
        let mut sizes = HashSet::new();
        for count in 1..=1024 {
            let cut = spelling.cut(vec![(); count], |()| 0, 1);
            let cut: Vec<usize> = cut.iter().map(Vec::len).collect();
            assert_eq!(cut.iter().sum::<usize>(), count);
            assert!(cut.len() <= 4, "{count}: {cut:?}");
            sizes.extend(cut);
        }
        assert!(sizes.len() <= 50, "{sizes:?}");
    }

    #[test]
    fn columns_without_values_stay_out_of_an_insert() {
        let (one, null) = (Value::Int(1), Value::Null);
        let rows = vec![
            vec![one.clone(), null.clone(), null.clone()],
            vec![null.clone(), null.clone(), one.clone()],
        ];
        let (names, rows) = without_nulls(vec!["a", "b", "c"], rows);
        assert_eq!(names, ["a", "c"]);
        assert_eq!(rows, [vec![one.clone(), null.clone()], vec![null, one]]);
    }
}
