//! Random docs, filters and queries from small pools, so that they meet.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, RngExt};

use crate::conformance::Failure;
use crate::{
    Capabilities, Condition, Conditions, Doc, Filter, Holds, Index, Key, Parts, Path, Query,
    Result, Scan, Sort, Test, Type, Value, Version, json,
};

const KEYS: &[&str] = &[
    "a", "b", "a/b", "B", "é", "k1", "k10", "k2", "k3", "k4", "k5", "k6", "%", "😀", "z z",
];

/// Members of docs, and paths to them and into them.
const NAMES: &[&str] = &["a", "b", "t", "n", "x.y", "$key", "é\"'"];
const PATHS: &[&str] = &[
    "a", "a", "a", "b", "b", "t", "n", "n", "u", "v", r"x\.y", r"\$key", "é\"'", "a.b", "a.0",
    "a.1.b", "b.c", "b.c.0", "a.b.c", "none", "$doc", "$key", "$size",
];

const WORDS: &[&str] = &[
    "quick",
    "the fox",
    "STRASSE",
    "É",
    "10",
    "a",
    "fox -quick \"the\"",
    "日本",
];

const PREFIXES: &[&str] = &["", "a", "A", "a%", "e", "é", "1", "the ", "\u{ffff}", "_"];

/// Values that meet each other, and the edges of what is easily mixed up.
fn values() -> Vec<Value> {
    let mut values = vec![
        json!(null),
        json!(true),
        json!(false),
        json!(0),
        json!(-0.0),
        json!(1),
        json!(1.0),
        json!(2),
        json!(1.5),
        json!(-1),
        json!(10),
        json!(9),
        json!(9_007_199_254_740_992_i64),
        json!(9_007_199_254_740_993_i64),
        json!(9_007_199_254_740_992.0),
        json!(i64::MAX),
        json!(i64::MIN),
        json!(i64::MAX as u64 + 1),
        json!(9_223_372_036_854_775_808.0),
        json!(u64::MAX),
        json!(18_446_744_073_709_551_616.0),
        json!(1e300),
        json!(-1e300),
        json!(5e-324),
        json!([]),
        json!([1]),
        json!([1.0, "a"]),
        json!([null]),
        json!(["a", "ab"]),
        json!([[1], {"b": 1}]),
        json!({}),
        json!({"b": 1}),
        json!({"b": 1.0}),
        json!({"b": null}),
        json!({"c": ["x", 1]}),
        json!({"b": {"c": "quick"}}),
        json!({"0": "zero"}),
        json!({"$gt": 1}),
    ];
    values.extend(
        [
            "",
            "a",
            "A",
            "ab",
            "a%",
            "a_b",
            "é",
            "e\u{301}",
            "die Straße",
            "the quick fox",
            "The FOX",
            "10",
            "9",
            "null",
            "\u{ffff}",
            "😀",
            "日本",
            "'; --",
            "\\",
        ]
        .map(Value::from),
    );
    values
}

/// Makes everything that is random.
pub(super) struct Generator {
    rng: StdRng,
    values: Vec<Value>,
    can: Capabilities,
}

impl Generator {
    pub(super) fn new(rng: StdRng, can: Capabilities) -> Self {
        Self {
            rng,
            values: values(),
            can,
        }
    }

    pub(super) fn rng(&mut self) -> &mut StdRng {
        &mut self.rng
    }

    pub(super) fn can(&self) -> &Capabilities {
        &self.can
    }

    fn pick<'a>(&mut self, pool: &[&'a str]) -> &'a str {
        pool.choose(&mut self.rng).copied().unwrap_or_default()
    }

    pub(super) fn key(&mut self) -> Result<Key> {
        Key::new(self.pick(KEYS))
    }

    fn value(&mut self) -> Value {
        let value = self
            .values
            .choose(&mut self.rng)
            .cloned()
            .unwrap_or_default();
        match self.rng.random_range(0..20) {
            0 => json!([value, 1]),
            1 => json!({"b": value}),
            2 => json!({"c": [value]}),
            _ => value,
        }
    }

    pub(super) fn doc(&mut self) -> Result<Doc> {
        let mut members = serde_json::Map::new();
        for name in NAMES {
            if self.rng.random_bool(0.45) {
                members.insert((*name).to_owned(), self.value());
            }
        }
        // For unique indexes: often missing, else from a larger pool.
        for name in ["u", "v"] {
            match self.rng.random_range(0..10) {
                0..5 => {}
                5 => {
                    members.insert(name.into(), self.value());
                }
                _ => {
                    members.insert(name.into(), self.rng.random_range(0..12).into());
                }
            }
        }
        Doc::from_value(&Value::Object(members))
    }

    pub(super) fn body(&mut self) -> Option<Vec<u8>> {
        let size = match self.rng.random_range(0..20) {
            0..10 => return None,
            10 => 0,
            11..18 => self.rng.random_range(1..50),
            18 => self.rng.random_range(1000..5000),
            _ => self.rng.random_range(50_000..150_000),
        };
        let mut bytes = vec![0; size];
        self.rng.fill_bytes(&mut bytes);
        Some(bytes)
    }

    pub(super) fn condition(&mut self, current: Option<Version>, old: &[Version]) -> Condition {
        let full = self.can.conditions == Conditions::Full;
        match self.rng.random_range(0..10) {
            5 | 6 if self.can.conditions >= Conditions::CreateOnly => Condition::Absent,
            7 if full => Condition::Present,
            8 if full => current.map_or(Condition::Absent, Condition::Version),
            9 if full => old
                .choose(&mut self.rng)
                .map_or(Condition::Any, |old| Condition::Version(*old)),
            _ => Condition::Any,
        }
    }

    fn path(&mut self) -> Result<Path> {
        self.pick(PATHS).parse()
    }

    pub(super) fn group_path(&mut self) -> Result<Path> {
        self.path()
    }

    pub(super) fn filter(&mut self, depth: u32, versions: &[Version]) -> Result<Filter, Failure> {
        Ok(
            match self.rng.random_range(0..if depth == 0 { 16 } else { 26 }) {
                16..20 => Filter::and(self.filters(depth, versions)?)?,
                20..24 => Filter::or(self.filters(depth, versions)?)?,
                24 | 25 => self.filter(depth - 1, versions)?.not()?,
                0 if self.rng.random_bool(0.2) => Filter::all(),
                1 if !versions.is_empty() => {
                    let one = versions.choose(&mut self.rng).map(ToString::to_string);
                    Filter::eq("$version", one.unwrap_or_default())?
                }
                _ => {
                    let path = self.path()?;
                    self.test(path)?
                }
            },
        )
    }

    fn filters(&mut self, depth: u32, versions: &[Version]) -> Result<Vec<Filter>, Failure> {
        let count = self.rng.random_range(0..4);
        (0..count)
            .map(|_| self.filter(depth - 1, versions))
            .collect()
    }

    fn test(&mut self, path: Path) -> Result<Filter, Failure> {
        let entry = match &path {
            Path::Entry(field) => Some(field.name()),
            Path::Doc(_) => None,
        };
        let value = |this: &mut Self| match entry {
            Some("$key") => json!(this.pick(KEYS)),
            Some(_) => json!(this.rng.random_range(0..60)),
            None => this.value(),
        };
        let text = entry != Some("$size");
        let test = match self.rng.random_range(0..16) {
            0 | 1 => Test::Eq(value(self)),
            2 => Test::Ne(value(self)),
            3 => Test::Gt(value(self)),
            4 => Test::Gte(value(self)),
            5 => Test::Lt(value(self)),
            6 => Test::Lte(value(self)),
            7 => Test::In(
                (0..self.rng.random_range(0..4))
                    .map(|_| value(self))
                    .collect(),
            ),
            8 => Test::Nin(
                (0..self.rng.random_range(0..4))
                    .map(|_| value(self))
                    .collect(),
            ),
            9 | 10 => Test::Exists(self.rng.random_bool(0.6)),
            11 | 12 if text => Test::Contains(value(self)),
            13 if text => Test::StartsWith(self.pick(PREFIXES).to_owned()),
            14 if text => Test::search(self.pick(WORDS))?,
            _ => Test::Gte(value(self)),
        };
        Ok(Filter::test(path, test)?)
    }

    pub(super) fn query(&mut self, versions: &[Version]) -> Result<Query, Failure> {
        let mut query = Query::new(self.filter(3, versions)?);
        for _ in 0..[0, 0, 1, 1, 1, 2, 3]
            .choose(&mut self.rng)
            .copied()
            .unwrap_or(0)
        {
            query.sort.push(Sort {
                path: self.path()?,
                descending: self.rng.random_bool(0.5),
                missing_first: self.rng.random_bool(0.3),
            });
        }
        if self.rng.random_bool(0.4) {
            query.limit = Some(self.rng.random_range(0..8));
        }
        if self.rng.random_bool(0.25) {
            query.offset = self.rng.random_range(0..8);
        }
        query.parts = self.parts();
        Ok(query)
    }

    pub(super) fn parts(&mut self) -> Parts {
        Parts {
            doc: self.rng.random_bool(0.7),
            body: self.rng.random_bool(0.2),
        }
    }

    pub(super) fn scan(&mut self) -> Scan {
        let edge = |this: &mut Self, chance| {
            this.rng
                .random_bool(chance)
                .then(|| this.pick(KEYS).to_owned())
        };
        Scan {
            prefix: edge(self, 0.4).map(|key| key.chars().take(1).collect()),
            after: edge(self, 0.4),
            reverse: self.rng.random_bool(0.5),
            limit: self
                .rng
                .random_bool(0.4)
                .then(|| self.rng.random_range(0..6)),
            parts: self.parts(),
        }
    }

    pub(super) fn index(&mut self, unique: bool) -> Result<Index, Failure> {
        if unique {
            let paths: &[&str] = [&["u"][..], &["u"], &["v"], &["v"], &["u", "v"], &["n", "u"]]
                .choose(&mut self.rng)
                .copied()
                .unwrap_or(&["u"]);
            let index = Index::parse(paths)?.unique();
            let typed = paths.len() == 1 && self.rng.random_bool(0.3);
            return Ok(if typed {
                index.holding(Holds::Only(Type::Number))
            } else {
                index
            });
        }
        let mut paths: Vec<Path> = Vec::new();
        for _ in 0..self.rng.random_range(1..4) {
            let path = self.path()?;
            if !paths.contains(&path) {
                paths.push(path);
            }
        }
        let kinds = [
            Type::Null,
            Type::Bool,
            Type::Number,
            Type::String,
            Type::Array,
            Type::Object,
        ];
        let of_doc = matches!(paths.first(), Some(Path::Doc(_)));
        let kind = kinds.choose(&mut self.rng).copied().unwrap_or(Type::Number);
        let choice = self.rng.random_range(0..4);
        if choice > 1 {
            return Ok(Index::on(paths));
        }
        paths.truncate(1);
        Ok(Index::on(paths).holding(match choice {
            0 if of_doc => Holds::Words,
            _ => Holds::Only(kind),
        }))
    }
}
