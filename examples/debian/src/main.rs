//! Debian's packages in a store:
//!
//! ```sh
//! apt-get update
//! apt-cache dumpavail | cargo run --release -p debian -- lines - > packages.jsonl
//! cargo run --release -p debian -- answer packages.jsonl
//! ```

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use debian::{
    count_together, declare, import, list_date, matching, of_maintainer, record, sample, sections,
    stanzas,
};

type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;

const HELP: &str = "\
debian lines FILE|-             makes JSON lines of what apt-cache dumpavail prints
debian sample COUNT FILE|-      takes a sample of JSON lines, the same every time
debian answer FILE|- [OPTION]…  imports JSON lines, declares indexes, and answers

  --store URL           where to; sqlite:debian.db by default
  --date DATE           of which day the list is; from apt's folder by default
  --maintainer NAME     whose packages to list
  --words WORDS         what to look for in descriptions
  --tasks N, --each N   how many tasks count, and how far each; 16 and 1000 by default
";

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &[String]) -> Result<()> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["lines", file] => lines(input(file)?),
        ["sample", count, file] => {
            let all = input(file)?.lines().collect::<Result<Vec<_>, _>>()?;
            let mut output = BufWriter::new(std::io::stdout().lock());
            for line in sample(all, count.parse()?) {
                writeln!(output, "{line}")?;
            }
            Ok(output.flush()?)
        }
        ["answer", file, rest @ ..] => answer(input(file)?, &Options::read(rest)?).await,
        _ => {
            print!("{HELP}");
            Ok(())
        }
    }
}

fn input(file: &str) -> Result<Box<dyn BufRead>> {
    Ok(match file {
        "-" => Box::new(BufReader::new(std::io::stdin())),
        file => Box::new(BufReader::new(File::open(file)?)),
    })
}

fn lines(input: impl BufRead) -> Result<()> {
    let mut output = BufWriter::new(std::io::stdout().lock());
    let mut replaced = 0;
    for stanza in stanzas(input) {
        let stanza = stanza?;
        writeln!(output, "{}", record(&stanza)?)?;
        replaced += u64::from(stanza.replaced);
    }
    if replaced > 0 {
        eprintln!("{replaced} records held bytes that are no UTF-8; U+FFFD stands for them");
    }
    Ok(output.flush()?)
}

struct Options {
    store: String,
    date: Option<String>,
    maintainer: String,
    words: String,
    tasks: u64,
    each: u64,
}

impl Options {
    fn read(arguments: &[&str]) -> Result<Self> {
        let mut options = Self {
            store: "sqlite:debian.db".to_owned(),
            date: list_date(Path::new("/var/lib/apt/lists")),
            maintainer: "Debian Games Team <pkg-games-devel@lists.alioth.debian.org>".to_owned(),
            words: "real-time strategy".to_owned(),
            tasks: 16,
            each: 1000,
        };
        for pair in arguments.chunks(2) {
            match pair {
                ["--store", url] => options.store = (*url).to_owned(),
                ["--date", date] => options.date = Some((*date).to_owned()),
                ["--maintainer", name] => options.maintainer = (*name).to_owned(),
                ["--words", words] => options.words = (*words).to_owned(),
                ["--tasks", tasks] => options.tasks = tasks.parse()?,
                ["--each", each] => options.each = each.parse()?,
                other => {
                    return Err(format!("{other:?} is no option and its value\n\n{HELP}").into());
                }
            }
        }
        Ok(options)
    }
}

async fn answer(input: impl BufRead, options: &Options) -> Result<()> {
    let store = holdall::open(&options.store).await?;
    let seconds = |start: Instant| format!("{:.1} s", start.elapsed().as_secs_f64());

    let start = Instant::now();
    let count = import(&store, input).await?;
    let date = options.date.as_deref().unwrap_or("a day unknown");
    println!(
        "{count} packages, the list of {date}, imported in {}",
        seconds(start)
    );
    let start = Instant::now();
    declare(&store).await?;
    println!(
        "indexes on section, maintainer and the words of descriptions, in {}",
        seconds(start)
    );

    let start = Instant::now();
    let found = sections(&store).await?;
    println!("\n{} sections, counted in {}:", found.len(), seconds(start));
    for (section, count) in found.iter().take(5) {
        println!("  {count:>6}  {section}");
    }

    let start = Instant::now();
    let pages = of_maintainer(&store, &options.maintainer, 100).await?;
    let count: usize = pages.iter().map(Vec::len).sum();
    println!(
        "\n{count} packages of {}, in {} pages by cursor, in {}:",
        options.maintainer,
        pages.len(),
        seconds(start)
    );
    for page in pages.iter().take(3) {
        if let (Some(first), Some(last)) = (page.first(), page.last()) {
            println!("  {} … {}", first.package, last.package);
        }
    }

    let start = Instant::now();
    let (count, found) = matching(&store, &options.words, 5).await?;
    println!(
        "\n{count} with the words {:?}, in {}:",
        options.words,
        seconds(start)
    );
    for package in found {
        let summary = package.description.lines().next().unwrap_or_default();
        println!("  {}: {summary}", package.package);
    }

    let start = Instant::now();
    let (tasks, each) = (options.tasks, options.each);
    let shown = count_together(&store, tasks, each).await?;
    println!(
        "\n{tasks} tasks x {each} increments of one record: it shows {shown}, {} lost, in {}",
        (tasks * each).saturating_sub(shown),
        seconds(start)
    );
    store.close().await?;
    Ok(())
}
