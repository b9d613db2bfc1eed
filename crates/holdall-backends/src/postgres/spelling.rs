//! How PostgreSQL spells statements.

use holdall_core::{CollectionName, Holds, Index, Path, Test, Type, Value as Json, sort_key_range};

use super::json::exact_text;
use crate::sql::plan::Tested;
use crate::sql::server::driver::Statement;
use crate::sql::server::layout::Table;
use crate::sql::server::{COLUMNS, Holding, Spelling, index_columns};
use crate::sql::{Clause, Kind, Value};

/// The advisory lock of those who change the schema: `HOLD`, and a number.
const SCHEMA_LOCK: i64 = 0x484F_4C44_0000_0001;

#[derive(Debug, Default)]
pub(super) struct PostgresSpelling {
    schema: String,
}

impl PostgresSpelling {
    pub(super) fn in_schema(schema: String) -> Self {
        Self { schema }
    }

    /// What is announced on, and listened to.
    pub(super) fn channel(&self) -> String {
        // 63 bytes, like every name.
        let name: String = format!("holdall_{}", self.schema);
        let end = name.char_indices().map(|(at, c)| at + c.len_utf8());
        let end = end.take_while(|end| *end <= 63).last().unwrap_or(0);
        self.quote(name.get(..end).unwrap_or("holdall"))
    }

    fn plain(&self, sql: impl Into<String>) -> Statement {
        Statement::once(sql, [])
    }
}

/// A column of [`Spelling::insert`]: its name, its kind, and how a parameter
/// becomes it.
struct Field {
    name: String,
    kind: Kind,
    holding: Option<Holding>,
}

impl Field {
    fn new(name: &str, kind: Kind) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            holding: None,
        }
    }
}

/// All columns of a table.
fn fields(table: &Table) -> Vec<Field> {
    let own = COLUMNS.iter().map(|(name, kind)| Field::new(name, *kind));
    own.chain(index_fields(table)).collect()
}

fn index_fields(table: &Table) -> impl Iterator<Item = Field> {
    table.layout.columns.iter().map(|column| Field {
        name: column.name.clone(),
        kind: match column.holding {
            Holding::SortKey => Kind::Bytes,
            Holding::Words => Kind::Text,
        },
        holding: Some(column.holding),
    })
}

fn type_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Int => "bigint",
        Kind::Text => "text",
        Kind::Bytes => "bytea",
        Kind::Time => "timestamptz",
        Kind::Version => "uuid",
        Kind::Doc => "jsonb",
    }
}

/// Docs come as texts: PostgreSQL takes an array of `jsonb` apart more slowly than it
/// reads the texts.
fn array_type(kind: Kind) -> &'static str {
    match kind {
        Kind::Int => "bigint[]",
        Kind::Text | Kind::Doc => "text[]",
        Kind::Bytes => "bytea[]",
        Kind::Time => "timestamptz[]",
        Kind::Version => "uuid[]",
    }
}

/// Rows as parameters of a statement.
struct Rows {
    /// What goes into each column.
    taken: Vec<String>,
    /// A table `r` of what differs between rows: an array for each column, so that
    /// any number of rows is the same statement.
    from: String,
    /// First those of `taken`, then those of `from`.
    values: Vec<Value>,
}

impl Rows {
    /// The first `told` columns are in `r` in any case; of the others only those
    /// that differ.
    fn new(fields: &[Field], told: usize, rows: Vec<Vec<Value>>) -> Self {
        let mut columns: Vec<Vec<Value>> = fields
            .iter()
            .map(|_| Vec::with_capacity(rows.len()))
            .collect();
        for row in rows {
            for (column, value) in columns.iter_mut().zip(row) {
                column.push(value);
            }
        }
        let (mut taken, mut arrays, mut names) = (Vec::new(), Vec::new(), Vec::new());
        let (mut values, mut lists) = (Vec::new(), Vec::new());
        for (at, (field, mut column)) in fields.iter().zip(columns).enumerate() {
            let is_one = at >= told && column.windows(2).all(|pair| pair.first() == pair.last());
            let given = match column.pop() {
                Some(one) if is_one => {
                    values.push(one);
                    format!("?::{}", type_name(field.kind))
                }
                last => {
                    column.extend(last);
                    arrays.push(format!("?::{}", array_type(field.kind)));
                    names.push(field.name.as_str());
                    lists.push(Value::List(field.kind, column));
                    format!("r.{}::{}", field.name, type_name(field.kind))
                }
            };
            taken.push(match field.holding {
                Some(Holding::Words) => format!("string_to_array({given}, ' ')"),
                _ => given,
            });
        }
        values.extend(lists);
        Self {
            taken,
            from: format!("unnest({}) AS r({})", arrays.join(", "), names.join(", ")),
            values,
        }
    }

    /// What an update sets: all columns but the first few.
    fn set(&self, fields: &[Field], told: usize) -> String {
        let pairs = fields.iter().zip(&self.taken).skip(told);
        let pairs = pairs.map(|(field, taken)| format!("{} = {taken}", field.name));
        pairs.collect::<Vec<_>>().join(", ")
    }
}

impl Spelling for PostgresSpelling {
    fn schema(&self) -> Vec<Statement> {
        let [meta, collections, bodies, chunks, log] = [
            "holdall_meta",
            "holdall_collections",
            "holdall_bodies",
            "holdall_chunks",
            "holdall_log",
        ]
        .map(|name| self.table(name));
        [
            format!(
                "CREATE TABLE {meta} (name text PRIMARY KEY, number bigint, version uuid)"
            ),
            format!(
                "CREATE TABLE {collections} (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name text COLLATE \"C\" NOT NULL UNIQUE,
  table_name text NOT NULL UNIQUE,
  generation bigint NOT NULL,
  layout text NOT NULL
)"
            ),
            format!(
                "CREATE TABLE {bodies} (
  id uuid PRIMARY KEY,
  collection bigint NOT NULL,
  size bigint NOT NULL,
  digest bytea,
  expires timestamptz,
  dropped timestamptz
)"
            ),
            format!("CREATE INDEX holdall_bodies_expires ON {bodies} (expires) WHERE expires IS NOT NULL"),
            format!("CREATE INDEX holdall_bodies_dropped ON {bodies} (dropped) WHERE dropped IS NOT NULL"),
            format!(
                "CREATE TABLE {chunks} (
  body uuid NOT NULL,
  number bigint NOT NULL,
  data bytea NOT NULL,
  PRIMARY KEY (body, number)
)"
            ),
            // Bodies are often compressed already, and read in pieces.
            format!("ALTER TABLE {chunks} ALTER COLUMN data SET STORAGE EXTERNAL"),
            format!(
                "CREATE TABLE {log} (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  batch uuid NOT NULL,
  at timestamptz NOT NULL,
  until timestamptz NOT NULL,
  seq bigint UNIQUE,
  changes bytea NOT NULL,
  CONSTRAINT holdall_log_batch UNIQUE (batch)
)"
            ),
            format!("CREATE INDEX holdall_log_waiting ON {log} (id) WHERE seq IS NULL"),
            // It is read once or never: not worth packing.
            format!("ALTER TABLE {log} ALTER COLUMN changes SET STORAGE EXTERNAL"),
        ]
        .map(|sql| self.plain(sql))
        .into()
    }

    fn lock_schema(&self) -> Statement {
        self.plain(format!(
            "SELECT 1 FROM pg_advisory_xact_lock({SCHEMA_LOCK})"
        ))
    }

    // The lock on its row lasts, and what changes the schema waits for all who
    // use the table.
    fn lock_layout(&self, _: &CollectionName) -> Option<Statement> {
        None
    }

    fn shared_lock(&self) -> &'static str {
        ""
    }

    fn key(&self) -> &'static str {
        "key"
    }

    fn table(&self, name: &str) -> String {
        format!("{}.{}", self.quote(&self.schema), self.quote(name))
    }

    fn exists(&self, name: &str) -> Statement {
        Statement::once(
            "SELECT 1 FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n \
             ON n.oid = c.relnamespace WHERE n.nspname = ? AND c.relname = ?",
            [
                Value::Text(self.schema.clone()),
                Value::Text(name.to_owned()),
            ],
        )
    }

    fn is_taken(&self, name: &str) -> Statement {
        self.exists(name)
    }

    fn create_table(&self, name: &str) -> Vec<Statement> {
        let table = self.table(name);
        vec![
            self.plain(format!(
                "CREATE TABLE {table} (
  key text COLLATE \"C\" PRIMARY KEY,
  version uuid NOT NULL,
  created timestamptz NOT NULL,
  modified timestamptz NOT NULL,
  size bigint NOT NULL,
  digest bytea,
  chunks uuid,
  attrs bytea,
  doc jsonb NOT NULL,
  body bytea
)"
            )),
            self.plain(format!(
                "ALTER TABLE {table} ALTER COLUMN body SET STORAGE EXTERNAL"
            )),
        ]
    }

    fn lock_table(&self, table: &Table) -> Vec<Statement> {
        vec![self.plain(format!(
            "LOCK TABLE {} IN ACCESS EXCLUSIVE MODE",
            table.quoted
        ))]
    }

    fn empties_tables(&self) -> bool {
        true
    }

    fn empty_table(&self, table: &Table) -> Vec<Statement> {
        let mut statements = vec![self.plain(format!("TRUNCATE {}", table.quoted))];
        // Their indexes go with them.
        let columns = table.layout.columns.iter().map(|column| {
            self.plain(format!(
                "ALTER TABLE {} DROP COLUMN IF EXISTS {}",
                table.quoted, column.name
            ))
        });
        statements.extend(columns);
        let indexes = table.layout.indexes.iter().flat_map(|indexed| {
            let name = table.index_name(indexed.id);
            self.drop_index(table, &name, &indexed.index)
        });
        statements.extend(indexes);
        statements
    }

    fn drop_index(&self, _: &Table, name: &str, _: &Index) -> Vec<Statement> {
        let (index, inner) = (self.table(name), self.table(&format!("{name}_in")));
        vec![self.plain(format!("DROP INDEX IF EXISTS {index}, {inner}"))]
    }

    fn add_column(&self, table: &Table, column: &str, holding: Holding) -> Statement {
        let of = match holding {
            Holding::SortKey => "bytea",
            Holding::Words => "text[]",
        };
        self.plain(format!(
            "ALTER TABLE {} ADD COLUMN {column} {of}",
            table.quoted
        ))
    }

    fn create_index(&self, table: &Table, name: &str, index: &Index) -> Vec<Statement> {
        let path = index.paths.first();
        if index.holds == Holds::Words {
            let column = path.and_then(|path| table.column(path, Holding::Words));
            let column = column.unwrap_or_else(|| "key".to_owned());
            return vec![self.plain(format!(
                "CREATE INDEX IF NOT EXISTS {name} ON {} USING gin ({column})",
                table.quoted
            ))];
        }
        let (mut columns, limit) = index_columns(table, index, self);
        let holds_arrays = index.holds == Holds::Only(Type::Array);
        // What contains something may be a string, too, which is found by this
        // index then.
        let limit = limit.filter(|_| index.unique || !holds_arrays);
        let limit = limit.map_or(String::new(), |limit| format!(" WHERE {limit}"));
        let unique = if index.unique { "UNIQUE " } else { "" };
        // The key makes the index give items in the order of queries, ties too.
        if !index.unique && !columns.iter().any(|column| column == "key") {
            columns.push("key".to_owned());
        }
        let mut statements = vec![self.plain(format!(
            "CREATE {unique}INDEX IF NOT EXISTS {name} ON {} ({}){limit}",
            table.quoted,
            columns.join(", ")
        ))];
        if let (true, Some(Path::Doc(segments))) = (holds_arrays, path) {
            statements.push(self.plain(format!(
                "CREATE INDEX IF NOT EXISTS {name}_in ON {} USING gin ((doc #> {}) jsonb_path_ops)",
                table.quoted,
                path_literal(segments)
            )));
        }
        statements
    }

    fn any_of(&self, column: &str, kind: Kind, values: Vec<Value>) -> Clause {
        Clause::new(
            format!("{column} = ANY(?::{})", array_type(kind)),
            [Value::List(kind, values)],
        )
    }

    fn insert(&self, table: &Table, rows: Vec<Vec<Value>>) -> Vec<Statement> {
        let fields = fields(table);
        let rows = Rows::new(&fields, 1, rows);
        let names: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
        let sql = format!(
            "INSERT INTO {} ({}) SELECT {} FROM {}",
            table.quoted,
            names.join(", "),
            rows.taken.join(", "),
            rows.from
        );
        vec![Statement::new(sql, rows.values)]
    }

    fn update(&self, table: &Table, rows: Vec<Vec<Value>>) -> Vec<Statement> {
        let fields = fields(table);
        let rows = Rows::new(&fields, 1, rows);
        let sql = format!(
            "UPDATE {} AS t SET {} FROM {} WHERE t.key = r.key",
            table.quoted,
            rows.set(&fields, 1),
            rows.from
        );
        vec![Statement::new(sql, rows.values)]
    }

    fn fill(&self, table: &Table, rows: Vec<Vec<Value>>) -> Vec<Statement> {
        let mut all = vec![
            Field::new("key", Kind::Text),
            Field::new("version", Kind::Version),
        ];
        all.extend(index_fields(table));
        let rows = Rows::new(&all, 2, rows);
        let sql = format!(
            "UPDATE {} AS t SET {} FROM {} WHERE t.key = r.key AND t.version = r.version",
            table.quoted,
            rows.set(&all, 2),
            rows.from
        );
        vec![Statement::once(sql, rows.values)]
    }

    fn insert_chunks(&self, rows: Vec<Vec<Value>>) -> Vec<Statement> {
        let fields = [
            Field::new("body", Kind::Version),
            Field::new("number", Kind::Int),
            Field::new("data", Kind::Bytes),
        ];
        let rows = Rows::new(&fields, fields.len(), rows);
        let sql = format!(
            "INSERT INTO {} (body, number, data) SELECT {} FROM {}",
            self.table("holdall_chunks"),
            rows.taken.join(", "),
            rows.from
        );
        vec![Statement::new(sql, rows.values)]
    }

    fn is_log_index(&self, index: &str) -> bool {
        index == "holdall_log_batch"
    }

    fn is_primary_key(&self, table: &Table, index: &str) -> bool {
        // A number follows where the name was taken.
        let rest = index.strip_prefix(table.name.as_str());
        let rest = rest.and_then(|rest| rest.strip_prefix("_pkey"));
        rest.is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()))
    }

    fn number_log(&self, last: i64, most: i64) -> Statement {
        let log = self.table("holdall_log");
        let sql = format!(
            "UPDATE {log} AS l SET seq = n.seq FROM (\
               SELECT id, ? + row_number() OVER (ORDER BY id) AS seq FROM (\
                 SELECT id FROM {log} WHERE seq IS NULL AND changes <> ''::bytea ORDER BY id LIMIT ?\
               ) AS w\
             ) AS n WHERE l.id = n.id"
        );
        Statement::new(sql, [Value::Int(last), Value::Int(most)])
    }

    fn literal(&self, bytes: &[u8]) -> String {
        let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("E'\\\\x{digits}'::bytea")
    }

    fn seeks_rows(&self) -> bool {
        true
    }

    fn order(&self, expression: &str, descending: bool, nulls_first: bool) -> String {
        let direction = if descending { " DESC" } else { "" };
        let nulls = if nulls_first { "FIRST" } else { "LAST" };
        format!("{expression}{direction} NULLS {nulls}")
    }

    fn unindexed(&self, path: &Path, test: &Test, column: Option<&str>) -> Option<Tested> {
        let Path::Doc(segments) = path else {
            return None;
        };
        if !segments.iter().all(|segment| means_the_same(segment)) {
            return None;
        }
        let at = || {
            let segments = segments.iter().cloned().map(Value::Text).collect();
            Value::List(Kind::Text, segments)
        };
        const FOUND: &str = "doc #> ?::text[]";
        const TEXT: &str = "doc #>> ?::text[]";
        let ordered = |operator: &str, wanted: &Json| {
            let (of, compared, value) = match wanted {
                Json::String(text) => (
                    "string",
                    format!("({TEXT}) COLLATE \"C\" {operator} ?"),
                    text.clone(),
                ),
                Json::Number(number) => {
                    let compared = format!("({TEXT})::numeric {operator} ?::text::numeric");
                    let number = number.to_string();
                    let number = exact_text(number.as_bytes()).into_owned();
                    ("number", compared, String::from_utf8(number).ok()?)
                }
                _ => return None,
            };
            Some(Tested::exact(
                format!("CASE WHEN jsonb_typeof({FOUND}) = '{of}' THEN {compared} ELSE false END"),
                [at(), at(), Value::Text(value)],
            ))
        };
        match test {
            Test::Eq(wanted) => Some(Tested::exact(format!("{FOUND} = ?"), [at(), doc(wanted)])),
            Test::In(wanted) => {
                let wanted = wanted.iter().map(doc).collect();
                Some(Tested::exact(
                    format!("{FOUND} = ANY(?::text[]::jsonb[])"),
                    [at(), Value::List(Kind::Doc, wanted)],
                ))
            }
            Test::Exists(true) => Some(Tested::exact(format!("({FOUND}) IS NOT NULL"), [at()])),
            Test::Exists(false) => Some(Tested::exact(format!("({FOUND}) IS NULL"), [at()])),
            Test::Gt(wanted) => ordered(">", wanted),
            Test::Gte(wanted) => ordered(">=", wanted),
            Test::Lt(wanted) => ordered("<", wanted),
            Test::Lte(wanted) => ordered("<=", wanted),
            Test::StartsWith(prefix) => Some(Tested::exact(
                format!(
                    "CASE WHEN jsonb_typeof({FOUND}) = 'string' THEN starts_with({TEXT}, ?) ELSE false END"
                ),
                [at(), at(), Value::Text(prefix.clone())],
            )),
            Test::Contains(wanted) => {
                let array = Value::Doc(Json::Array(vec![wanted.clone()]).to_string().into());
                let in_array = format!("doc #> {} @> ?", path_literal(segments));
                let Json::String(text) = wanted else {
                    return Some(Tested::wider(in_array, [array]));
                };
                let (is_text, mut values) = match column {
                    Some(column) => {
                        let (low, high) = sort_key_range(Type::String);
                        let is_text = format!(
                            "{column} >= {} AND {column} < {}",
                            self.literal(&[low]),
                            self.literal(&[high])
                        );
                        (is_text, vec![array])
                    }
                    None => (
                        format!("jsonb_typeof({FOUND}) = 'string'"),
                        vec![array, at()],
                    ),
                };
                values.extend([Value::Text(text.clone()), at()]);
                let in_text = format!("{is_text} AND strpos({TEXT}, ?) > 0");
                let last = values.len();
                values.swap(last - 1, last - 2);
                Some(Tested::wider(format!("{in_array} OR ({in_text})"), values))
            }
            _ => None,
        }
    }

    fn has_words(&self, _: &Table, column: &str, words: &[String]) -> Clause {
        let words = words.iter().cloned().map(Value::Text).collect();
        Clause::new(
            format!("{column} @> ?::text[]"),
            [Value::List(Kind::Text, words)],
        )
    }

    fn quote(&self, name: &str) -> String {
        format!("\"{}\"", name.replace('"', "\"\""))
    }
}

/// A value as a parameter.
fn doc(value: &Json) -> Value {
    Value::Doc(value.to_string().into())
}

/// Whether `#>` understands a segment as a path does: it takes for an index of
/// an array what has a sign, a leading zero or a space, too.
fn means_the_same(segment: &str) -> bool {
    let digits = segment.trim_start_matches([' ', '\t', '\n', '\x0b', '\x0c', '\r', '+', '-']);
    let is_index = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    !is_index || segment == "0" || (digits == segment && !segment.starts_with('0'))
}

/// A path as it stands in a statement. It must be the same in a query and in the
/// index that answers it, so it cannot be a parameter.
fn path_literal(segments: &[String]) -> String {
    let quoted: Vec<String> = segments
        .iter()
        .map(|segment| {
            let mut out = String::from("E'");
            for character in segment.chars() {
                match character {
                    'a'..='z' | 'A'..='Z' | '0'..='9' | '_' | '-' | ' ' => out.push(character),
                    // Everything else by its number: nothing ends the literal.
                    other => out.push_str(&format!("\\U{:08X}", u32::from(other))),
                }
            }
            out.push('\'');
            out
        })
        .collect();
    format!("ARRAY[{}]::text[]", quoted.join(", "))
}
