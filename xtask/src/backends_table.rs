//! `backends-table`: docs/backends.md, made from a run of the conformance suite on
//! every backend.

use std::fmt::Write as _;

use crate::services::{self, Missing};
use crate::shell::{Result, cargo, root};

/// A column: what users call it, and the test binary that joins the suite.
struct Backend {
    scheme: &'static str,
    package: &'static str,
    test: &'static str,
}

const BACKENDS: &[Backend] = &[
    Backend {
        scheme: "memory:",
        package: "holdall-core",
        test: "memory",
    },
    Backend {
        scheme: "sqlite:",
        package: "holdall-backends",
        test: "sqlite",
    },
    Backend {
        scheme: "http:",
        package: "holdall-backends",
        test: "http",
    },
    Backend {
        scheme: "postgres:",
        package: "holdall-backends",
        test: "postgres",
    },
    Backend {
        scheme: "mysql:",
        package: "holdall-backends",
        test: "mysql",
    },
    Backend {
        scheme: "mongodb:",
        package: "holdall-backends",
        test: "mongodb",
    },
    Backend {
        scheme: "mongodb:…?transactions=off",
        package: "holdall-backends",
        test: "mongodb_single",
    },
    Backend {
        scheme: "redis:",
        package: "holdall-backends",
        test: "redis",
    },
    Backend {
        scheme: "dynamodb:",
        package: "holdall-backends",
        test: "dynamodb",
    },
];

const PAGE: &str = "docs/backends.md";

/// Runs the suite on all backends, and writes the page.
pub(crate) fn run(arguments: &[String]) -> Result {
    if !arguments.is_empty() {
        return Err("backends-table takes no arguments: the page is of one run of all".into());
    }
    services::up_for_tests(Missing::Install);
    let mut columns = Vec::new();
    for backend in BACKENDS {
        columns.push(Column::of(backend)?);
    }
    let page = page(&columns)?;
    let path = root().join(PAGE);
    std::fs::write(&path, page)
        .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    eprintln!("\n{PAGE} is written; look at what changed, and commit it");
    let broken: Vec<_> = columns
        .iter()
        .flat_map(|column| column.cases.iter().map(move |case| (column, case)))
        .filter(|(_, case)| case.status == "failed")
        .map(|(column, case)| format!("{} {}: {}", column.scheme, case.name, case.why))
        .collect();
    if broken.is_empty() {
        Ok(())
    } else {
        Err(format!("promises are broken:\n{}", broken.join("\n")))
    }
}

/// What one backend's run says.
#[derive(Default)]
struct Column {
    scheme: &'static str,
    stands_on: String,
    can: Vec<(String, String)>,
    cases: Vec<Case>,
    speed: Vec<(String, f64)>,
}

struct Case {
    name: String,
    promise: String,
    status: String,
    why: String,
}

impl Column {
    fn of(backend: &Backend) -> Result<Self> {
        let name = format!("holdall-report-{}-{}", std::process::id(), backend.test);
        let path = std::env::temp_dir().join(name);
        // A promise that is broken stands in the page too.
        let ran = cargo(["test", "--release", "--all-features"])
            .args(["--package", backend.package, "--test", backend.test])
            .env("HOLDALL_REPORT", &path)
            // Of the speed of a release but for a few per cent, and built in a
            // fraction of its time.
            .env("CARGO_PROFILE_RELEASE_LTO", "off")
            .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
            .run();
        let text = std::fs::read_to_string(&path)
            .map_err(|_| format!("{} was not run: see above", backend.scheme));
        let _tidied = std::fs::remove_file(&path);
        match text {
            Ok(text) => Self::read(backend.scheme, &text),
            Err(why) => ran.and(Err(why)),
        }
    }

    /// The lines of a report: see `Report::lines` of the suite.
    fn read(scheme: &'static str, text: &str) -> Result<Self> {
        let mut column = Self {
            scheme,
            ..Self::default()
        };
        for line in text.lines() {
            let fields: Vec<&str> = line.split('\t').collect();
            match fields.as_slice() {
                ["on", what] => column.stands_on = (*what).to_owned(),
                ["can", name, value] => column.can.push(((*name).into(), (*value).into())),
                ["case", name, promise, status, why] => column.cases.push(Case {
                    name: (*name).into(),
                    promise: (*promise).into(),
                    status: (*status).into(),
                    why: (*why).into(),
                }),
                ["speed", what, number] => {
                    let number = number.parse().map_err(|_| format!("no speed: {line:?}"))?;
                    column.speed.push(((*what).into(), number));
                }
                _ => {
                    return Err(format!(
                        "the report of {scheme} has a strange line: {line:?}"
                    ));
                }
            }
        }
        Ok(column)
    }
}

fn page(columns: &[Column]) -> Result<String> {
    let first = columns.first().ok_or("there are no backends")?;
    let mut page = String::from(
        "# Backends\n\n\
         Made by `cargo xtask backends-table` from a run of the conformance suite on each; do \
         not edit it.\n\n\
         ## What they can do\n\n\
         What a backend declares. It is refused at open what needs more. A number is the most \
         of something, bytes if not said otherwise.\n\n",
    );
    let mut table = Table::new("", columns);
    table.row(
        "stands on",
        columns.iter().map(|column| column.stands_on.clone()),
    );
    for (name, _) in &first.can {
        table.row(
            &format!("`{name}`"),
            columns.iter().map(|column| {
                let found = column.can.iter().find(|(is, _)| is == name);
                found.map_or_else(String::new, |(_, value)| shorter(value))
            }),
        );
    }
    page.push_str(&table.text);

    page.push_str(
        "\n## What they promise\n\n\
         Each line is a case of the suite. A backend that does not claim what a case needs \
         says what it declares instead.\n",
    );
    let mut area = "";
    let mut table = Table {
        text: String::new(),
    };
    for case in &first.cases {
        let (of, name) = case.name.split_once('/').unwrap_or(("", &case.name));
        if of != area {
            page.push_str(&table.text);
            write!(page, "\n### {of}\n\n").map_err(|error| error.to_string())?;
            table = Table::new("promise", columns);
            area = of;
        }
        let cells = columns.iter().map(|column| {
            let found = column.cases.iter().find(|other| other.name == case.name);
            found.map_or_else(|| "not run".into(), Case::cell)
        });
        table.row(&format!("{} (`{name}`)", case.promise), cells);
    }
    page.push_str(&table.text);

    write!(
        page,
        "\n## How fast\n\n\
         How often in a second, by one task that waits for each answer, on {}. One short run, \
         to compare orders of magnitude; [the benchmarks](../bench/README.md) measure with \
         care.\n\n",
        machine()
    )
    .map_err(|error| error.to_string())?;
    let mut table = Table::new("items a second", columns);
    for (what, _) in &first.speed {
        table.row(
            what,
            columns.iter().map(|column| {
                let found = column.speed.iter().find(|(is, _)| is == what);
                found.map_or_else(String::new, |(_, number)| rounded(*number))
            }),
        );
    }
    page.push_str(&table.text);
    Ok(page)
}

impl Case {
    fn cell(&self) -> String {
        match self.status.as_str() {
            "passed" => "yes".into(),
            "failed" => "**broken**".into(),
            _ => shorter(&self.why),
        }
    }
}

struct Table {
    text: String,
}

impl Table {
    fn new(corner: &str, columns: &[Column]) -> Self {
        let heads = columns.iter().map(|column| format!("`{}`", column.scheme));
        let mut table = Self {
            text: String::new(),
        };
        table.row(corner, heads);
        table.row("---", columns.iter().map(|_| "---".to_owned()));
        table
    }

    fn row(&mut self, first: &str, cells: impl Iterator<Item = String>) {
        self.text.push_str("| ");
        self.text.push_str(&first.replace('|', "\\|"));
        for cell in cells {
            self.text.push_str(" | ");
            self.text.push_str(&cell.replace('|', "\\|"));
        }
        self.text.push_str(" |\n");
    }
}

/// Large numbers as people say them; those without a limit as none.
fn shorter(text: &str) -> String {
    let Some(start) = text.find(|c: char| c.is_ascii_digit()) else {
        return text.to_owned();
    };
    let (words, number) = text.split_at(start);
    let Ok(number) = number.parse::<u64>() else {
        return text.to_owned();
    };
    let said = match number {
        _ if number >= 1 << 60 => "no limit".to_owned(),
        _ if number >= 1 << 40 && number % (1 << 40) == 0 => format!("{} TiB", number >> 40),
        _ if number >= 1 << 30 && number % (1 << 30) == 0 => format!("{} GiB", number >> 30),
        _ if number >= 1 << 20 && number % (1 << 20) == 0 => format!("{} MiB", number >> 20),
        _ => thousands(number),
    };
    format!("{words}{said}")
}

fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut said = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            said.push(',');
        }
        said.push(digit);
    }
    said
}

/// Two digits, as another run has others behind them.
fn rounded(number: f64) -> String {
    let mut unit = 1.0;
    while number / unit >= 100.0 {
        unit *= 10.0;
    }
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate is rounded when it is read"
    )]
    let whole = ((number / unit).round() * unit) as u64;
    thousands(whole)
}

/// The machine, as far as it matters here.
fn machine() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("an unknown processor", |(_, model)| model.trim());
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    format!("{cores} cores of {model}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_says_of_each_promise_who_keeps_it() {
        let report = |on: &str, status: &str, why: &str| {
            format!(
                "on\t{on}\ncan\tmax_body\t1073741824\ncase\twatch/tells\tChanges are told.\t{status}\t{why}\n\
                 speed\tget\t1234.5\n"
            )
        };
        let columns = [
            Column::read("a:", &report("A 1.2", "passed", "")).unwrap(),
            Column::read("b:", &report("B 3", "not claimed", "watch: None")).unwrap(),
            Column::read("c:", &report("", "failed", "it is | wrong")).unwrap(),
        ];
        let page = page(&columns).unwrap();
        for line in [
            "|  | `a:` | `b:` | `c:` |",
            "| stands on | A 1.2 | B 3 |  |",
            "| `max_body` | 1 GiB | 1 GiB | 1 GiB |",
            "### watch",
            "| Changes are told. (`tells`) | yes | watch: None | **broken** |",
            "| get | 1,200 | 1,200 | 1,200 |",
        ] {
            assert!(page.lines().any(|is| is == line), "no {line:?} in\n{page}");
        }
    }

    #[test]
    fn a_report_that_cannot_be_read_is_refused() {
        assert!(Column::read("a:", "case\tonly a name\n").is_err());
        assert!(Column::read("a:", "speed\tget\tfast\n").is_err());
    }
}
