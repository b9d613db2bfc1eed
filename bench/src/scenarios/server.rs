//! A server beside a bare handler and beside rusqlite: reads, durable writes, a
//! large body, and many idle watchers.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use super::write::write_raw;
use crate::load::{self, Load};
use crate::options::Options;
use crate::place::Place;
use crate::report::{Report, Target};
use crate::rounds::{self, Contender, Work};
use crate::{Result, raw, size};

/// Bytes of a body.
pub(crate) const ITEM: usize = 1024;

/// Items that are read.
pub(crate) const ITEMS: u64 = 1000;

/// Connections that read, and that write.
const READERS: u32 = 16;
const WRITERS: u32 = 64;

/// Writes by hand in a round.
const ALONE: u64 = 512;

const WATCHERS: usize = 10_000;

const MIB: f64 = 1024.0 * 1024.0;

pub(crate) fn run(options: &Options, report: &mut Report) -> Result<()> {
    load::check()?;
    reads(options, report)?;
    writes(options, report)?;
    large(options, report)?;
    watchers(options, report)
}

fn reads(options: &Options, report: &mut Report) -> Result<()> {
    let place = Place::make(options)?;
    let bare = Process::start(&["bare"])?;
    let memory = Process::start(&["serve", "memory:"])?;
    let sqlite = Process::start(&["serve", &text(&place.file("served.db"))])?;
    let by_hand = Process::start(&["by-hand", &text(&place.file("hand.db"))])?;
    let place = &place;
    let told = RefCell::new(BTreeMap::<&str, Vec<(f64, f64)>>::new());
    let contender = |name: &'static str, server: &Process| {
        let (url, told) = (server.url.clone(), &told);
        let process = server.child.id();
        Contender::new(name, move |round| {
            let before = busy(process)?;
            let found = Load::reads(&url, READERS, ITEMS, place)?;
            let each = (busy(process)? - before) / found.requests;
            if round > 0 {
                let mut all = told.borrow_mut();
                all.entry(name).or_default().push((found.p99, each));
            }
            Ok(found.work)
        })
    };
    let mut contenders = vec![
        contender("Holdall over SQLite", &sqlite),
        contender("Holdall over memory", &memory),
        contender("axum and rusqlite by hand", &by_hand),
        contender("a bare axum handler", &bare),
    ];
    let rates = rounds::run(options.rounds, &mut contenders)?;
    drop(contenders);
    report.part(&format!("GET of 1 KiB, {READERS} connections"), &rates);
    if let [sqlite, memory, by_hand, bare] = rates.as_slice() {
        for rates in [sqlite, memory] {
            let what = format!("GET 1 KiB: {} over a bare handler", rates.name);
            report.ratio(&what, rates.over(bare), Target::AtLeast(0.6));
        }
        let what = "GET 1 KiB: Holdall over SQLite to one by hand";
        report.ratio(what, sqlite.over(by_hand), Target::None);
    }
    for (name, found) in told.into_inner() {
        let (slowest, each) = found.into_iter().unzip();
        let what = format!("GET 1 KiB: p99 of {name}");
        report.number(&what, median(slowest), "ms", Target::None);
        // What others do on this machine takes turns from a server, but hardly
        // adds to this.
        let what = format!("GET 1 KiB: processor time of a request to {name}");
        report.number(&what, median(each), "µs", Target::None);
    }
    Ok(())
}

fn median(mut found: Vec<f64>) -> f64 {
    found.sort_by(f64::total_cmp);
    found.get(found.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Microseconds that a process has had of processors, in the system too.
fn busy(process: u32) -> Result<f64> {
    const TICK: f64 = 10_000.0;
    let text = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    // Behind the name, which may have spaces: user and system are the 14th and
    // 15th of all.
    let (_, rest) = text.rsplit_once(')').ok_or("the system tells no times")?;
    let mut ticks = 0.0;
    for number in rest.split_whitespace().skip(11).take(2) {
        ticks += number.parse::<f64>()?;
    }
    Ok(ticks * TICK)
}

fn writes(options: &Options, report: &mut Report) -> Result<()> {
    let place = Place::make(options)?;
    let server = Process::start(&["serve", &text(&place.file("served.db"))])?;
    let by_hand = Process::start(&["by-hand", &text(&place.file("hand.db"))])?;
    let connection = raw::create(&place.file("raw.db"))?;
    let mut contenders = vec![
        Contender::new("PUT over HTTP", |round| {
            Ok(Load::writes(&server.url, WRITERS, round, ITEM, &place)?.work)
        }),
        Contender::new("axum and rusqlite by hand", |round| {
            Ok(Load::writes(&by_hand.url, WRITERS, round, ITEM, &place)?.work)
        }),
        Contender::new("rusqlite, a transaction each", |round| {
            write_raw(&connection, ALONE, ITEM, round)
        }),
    ];
    let rates = rounds::run(options.rounds, &mut contenders)?;
    drop(contenders);
    report.part(
        &format!("durable PUT of 1 KiB, {WRITERS} connections"),
        &rates,
    );
    if let [http, by_hand, raw] = rates.as_slice() {
        let what = "PUT 1 KiB: over HTTP to a transaction a write over HTTP";
        report.ratio(what, http.over(by_hand), Target::AtLeast(5.0));
        let what = "PUT 1 KiB: over HTTP to a transaction a write by a call";
        report.ratio(what, http.over(raw), Target::AtLeast(5.0));
    }
    Ok(())
}

fn large(options: &Options, report: &mut Report) -> Result<()> {
    let place = Place::make(options)?;
    let mut server = Process::start(&["serve", &text(&place.file("served.db"))])?;
    let bytes = options.body.to_string();
    let mut client = Process::start_on("1", &["http-body", &server.url, &bytes])?;
    let shown = size::show(options.body);
    for way in ["in", "out"] {
        server.ask("mark")?;
        let answer = client.ask(way)?;
        let (seconds, grown) = answer.split_once(' ').ok_or("no two numbers")?;
        let seconds: f64 = seconds.parse()?;
        report.note(&format!(
            "{shown} {way}: {:.0} MiB/s, on this machine",
            options.body as f64 / MIB / seconds
        ));
        let grown = [
            ("client", grown.parse::<f64>()?),
            ("server", server.ask("grown")?.parse()?),
        ];
        for (side, grown) in grown {
            let what = format!("body of {shown} {way}: memory of the {side} grows");
            report.number(&what, grown / MIB, "MiB", Target::AtMost(32.0));
        }
    }
    Ok(())
}

fn watchers(options: &Options, report: &mut Report) -> Result<()> {
    let place = Place::make(options)?;
    let mut server = Process::start(&["serve", &text(&place.file("served.db"))])?;
    let before: f64 = server.ask("rss")?.parse()?;
    let url = server.url.clone();
    let found = load::watch(&url, WATCHERS, || Ok(server.ask("rss")?.parse::<f64>()?))?;
    report.note(&format!(
        "resident before: {:.1} MiB; each of {} was told of a change",
        before / MIB,
        found.told
    ));
    report.holds(
        &format!("{WATCHERS} idle watchers: each is told of a change"),
        found.told == WATCHERS,
    );
    let what = format!("{WATCHERS} idle watchers: resident memory of the server");
    report.number(&what, found.resident / MIB, "MiB", Target::AtMost(200.0));
    Ok(())
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// This program, doing work of `bench child` on a processor of its own: servers
/// on the first, the load on the second.
struct Process {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    url: String,
}

impl Process {
    fn start(work: &[&str]) -> Result<Self> {
        Self::start_on("0", work)
    }

    fn start_on(processor: &str, work: &[&str]) -> Result<Self> {
        let mut child = Command::new("taskset")
            .args(["-c", processor])
            .arg(std::env::current_exe()?)
            .arg("child")
            .args(work)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| {
                format!("taskset gives a server a processor, and cannot be started: {error}")
            })?;
        let input = child.stdin.take().ok_or("the process has no input")?;
        let output = child.stdout.take().ok_or("the process has no output")?;
        let mut process = Self {
            child,
            input,
            output: BufReader::new(output),
            url: String::new(),
        };
        process.url = process.answer()?;
        Ok(process)
    }

    fn ask(&mut self, line: &str) -> Result<String> {
        writeln!(self.input, "{line}")?;
        self.answer()
    }

    fn answer(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.output.read_line(&mut line)? == 0 {
            return Err("a process of the benchmark ended too early".into());
        }
        Ok(line.trim_end().to_owned())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It was started here, and has nothing to finish.
        let _gone = self.child.kill();
        let _ended = self.child.wait();
    }
}

/// That a number of operations a second is what was counted.
pub(crate) fn work_of(rate: f64) -> Work {
    const SECONDS: u64 = 1000;
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate is small and positive"
    )]
    let operations = (rate * SECONDS as f64) as u64;
    Work {
        operations,
        nanos: u128::from(SECONDS) * 1_000_000_000,
    }
}
