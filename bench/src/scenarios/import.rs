//! Records in batches of 1,000, beside a bulk insert in transactions of 1,000.
//!
//! Both begin with the records as texts in memory. Holdall checks each doc and
//! keeps its log; the other does nothing but insert.

use std::time::{Duration, Instant};

use holdall_core::{Batch, CollectionName, Condition, Doc, Key, Path, Put};

use crate::data::Numbers;
use crate::options::Options;
use crate::place::{self, Place};
use crate::report::{Report, Target};
use crate::rounds::{self, Contender, Work};
use crate::{Result, raw};

const BATCH: usize = 1000;

/// Records that are made up, as many as Debian has packages.
const MADE: u64 = 63_000;

struct Line {
    key: String,
    doc: String,
}

pub(crate) fn run(options: &Options, report: &mut Report) -> Result<()> {
    let lines = match &options.lines {
        Some(file) => read(file, &options.key)?,
        None => (0..MADE).map(made).collect(),
    };
    let bytes: usize = lines.iter().map(|line| line.doc.len()).sum();
    let place = Place::make(options)?;
    let runtime = place::runtime()?;
    let mut checking = Duration::ZERO;
    let mut writing = Duration::ZERO;
    let mut contenders = vec![
        Contender::new("Holdall", |_| {
            let backend = runtime.block_on(place::holdall(&place.file("holdall.db")))?;
            let name = CollectionName::new("packages")?;
            let start = Instant::now();
            runtime.block_on(async {
                for lines in lines.chunks(BATCH) {
                    let begun = Instant::now();
                    let mut batch = Batch::new();
                    for line in lines {
                        let doc = Doc::parse(line.doc.clone())?;
                        batch =
                            batch.put(&name, &Key::new(&line.key)?, Condition::Any, Put::doc(doc));
                    }
                    checking += begun.elapsed();
                    let begun = Instant::now();
                    backend.write(batch).await?;
                    writing += begun.elapsed();
                }
                Ok::<_, holdall_core::Error>(())
            })?;
            let work = work(&lines, start);
            runtime.block_on(backend.close())?;
            drop(backend);
            place.remove("holdall.db");
            Ok(work)
        }),
        Contender::new("rusqlite bulk insert", |_| {
            let connection = raw::create(&place.file("raw.db"))?;
            let mut put = connection.prepare(&raw::put())?;
            let start = Instant::now();
            for (chunk, lines) in lines.chunks(BATCH).enumerate() {
                let transaction = connection.unchecked_transaction()?;
                for (at, line) in lines.iter().enumerate() {
                    let number = (chunk * BATCH + at) as u64;
                    raw::insert(&mut put, number, &line.key, &line.doc, None)?;
                }
                transaction.commit()?;
            }
            let work = work(&lines, start);
            drop(put);
            drop(connection);
            place.remove("raw.db");
            Ok(work)
        }),
    ];
    let rates = rounds::run(options.rounds, &mut contenders)?;
    drop(contenders);
    let title = format!(
        "{} records of {} bytes on average",
        lines.len(),
        bytes / lines.len().max(1)
    );
    report.part(&title, &rates);
    if let [holdall, raw] = rates.as_slice() {
        report.ratio(
            "import: Holdall over a bulk insert by hand",
            holdall.over(raw),
            Target::AtLeast(0.7),
        );
    }
    let share = checking.as_secs_f64() / (checking + writing).as_secs_f64();
    report.note(&format!(
        "{:.0} % of Holdall's time went into checking the docs, the rest into writing",
        share * 100.0
    ));
    Ok(())
}

fn work(lines: &[Line], start: Instant) -> Work {
    Work {
        operations: lines.len() as u64,
        nanos: start.elapsed().as_nanos(),
    }
}

/// JSON lines, and the key that stands in each.
fn read(file: &std::path::Path, key: &str) -> Result<Vec<Line>> {
    let key: Path = key.parse()?;
    let mut lines = Vec::new();
    for doc in std::fs::read_to_string(file)?.lines() {
        let value = Doc::parse(doc.to_owned())?.value()?;
        let found = key
            .in_doc(&value)
            .and_then(|value| value.as_str())
            .ok_or_else(|| format!("a line has no text at {key}: {doc}"))?;
        lines.push(Line {
            key: found.to_owned(),
            doc: doc.to_owned(),
        });
    }
    Ok(lines)
}

/// A record in the shape of Debian's packages.
fn made(number: u64) -> Line {
    const WORDS: [&str; 16] = [
        "library",
        "for",
        "fast",
        "text",
        "image",
        "network",
        "server",
        "client",
        "tools",
        "data",
        "development",
        "files",
        "plugin",
        "module",
        "simple",
        "the",
    ];
    let mut numbers = Numbers::from_seed(number);
    let mut text = |count: u64| {
        let words: Vec<&str> = (0..count)
            .filter_map(|_| WORDS.get(usize::try_from(numbers.below(16)).ok()?).copied())
            .collect();
        words.join(" ")
    };
    let (title, description) = (text(6), text(60));
    let section = numbers.below(60);
    let maintainer = numbers.below(2500);
    let (major, minor, revision) = (numbers.below(9), numbers.below(30), numbers.below(9));
    let size = numbers.below(9_000_000);
    let name = format!("package-{number}");
    let version = format!("{major}.{minor}-{revision}");
    let hash = format!(
        "{:016x}{:016x}{:016x}{:016x}",
        numbers.next(),
        numbers.next(),
        numbers.next(),
        numbers.next()
    );
    let key = format!("{name}_{version}_amd64");
    let doc = format!(
        "{{\"key\":\"{key}\",\"package\":\"{name}\",\"version\":\"{version}\",\"architecture\":\"amd64\",\
         \"section\":\"section{section}\",\"maintainer\":\"Maintainer {maintainer} <m{maintainer}@example.org>\",\
         \"size\":{size},\"installed_size\":{},\"title\":\"{title}\",\"description\":\"{description}\",\
         \"depends\":\"libc6 (>= 2.34), libstdc++6 (>= 5)\",\"filename\":\"pool/main/p/{name}/{key}.deb\",\
         \"sha256\":\"{hash}\"}}",
        size / 300
    );
    Line { key, doc }
}
