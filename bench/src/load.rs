//! Load on a server, from wrk, and from watchers.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::Result;
use crate::rounds::Work;
use crate::scenarios::server::work_of;

/// Seconds of a round.
const SECONDS: u32 = 4;

/// What a round of load found.
pub(crate) struct Load {
    pub(crate) work: Work,
    pub(crate) requests: f64,
    /// Milliseconds within which 99 of 100 were answered.
    pub(crate) p99: f64,
}

/// Says what is missing before anything is started.
pub(crate) fn check() -> Result<()> {
    let found = Command::new("wrk").arg("-v").stdout(Stdio::null()).status();
    match found {
        Ok(_) => Ok(()),
        Err(error) => Err(format!(
            "wrk makes the load, and cannot be started: {error}. Debian has it as `wrk`"
        )
        .into()),
    }
}

impl Load {
    pub(crate) fn of(url: &str, connections: u32, script: &Path) -> Result<Self> {
        let output = Command::new("taskset")
            .args(["-c", "1", "wrk", "-t1", "--latency", "-d"])
            .arg(format!("{SECONDS}s"))
            .arg(format!("-c{connections}"))
            .arg("-s")
            .arg(script)
            .arg(url)
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let refused = text.contains("Non-2xx") || text.contains("Socket errors");
        if !output.status.success() || refused {
            return Err(format!("wrk found trouble: {text}").into());
        }
        let requests = text.lines().find(|line| line.contains(" requests in "));
        let requests = requests.and_then(|line| line.split_whitespace().next());
        let word = |start: &str| {
            let line = text
                .lines()
                .find(|line| line.trim_start().starts_with(start));
            line.and_then(|line| line.split_whitespace().nth(1).map(str::to_owned))
                .ok_or_else(|| format!("wrk does not tell {start:?}: {text}"))
        };
        Ok(Self {
            work: work_of(word("Requests/sec:")?.parse()?),
            requests: requests.ok_or("wrk tells no number of requests")?.parse()?,
            p99: milliseconds(&word("99%")?)?,
        })
    }
}

fn milliseconds(text: &str) -> Result<f64> {
    for (unit, factor) in [("us", 0.001), ("ms", 1.0), ("s", 1000.0)] {
        if let Some(number) = text.strip_suffix(unit) {
            return Ok(number.parse::<f64>()? * factor);
        }
    }
    Err(format!("{text:?} is no time of wrk's").into())
}

/// A script that reads items one after the other.
pub(crate) fn reads(items: u64) -> String {
    format!(
        "local n = 0\n\
         request = function()\n  \
           n = (n + 1) % {items}\n  \
           return wrk.format('GET', '/v1/items/items/k' .. n)\n\
         end\n"
    )
}

/// A script that puts new items.
pub(crate) fn writes(round: usize, bytes: usize) -> String {
    format!(
        "local n = 0\n\
         local body = string.rep('x', {bytes})\n\
         request = function()\n  \
           n = n + 1\n  \
           return wrk.format('PUT', '/v1/items/items/w{round}-' .. n, nil, body)\n\
         end\n"
    )
}

/// What many watchers found.
pub(crate) struct Watched {
    pub(crate) resident: f64,
    pub(crate) told: usize,
}

/// Lets many watch, looks at the memory of the server, and then sees that each
/// is told of a change.
pub(crate) fn watch(
    url: &str,
    count: usize,
    mut resident: impl FnMut() -> Result<f64>,
) -> Result<Watched> {
    let _limit = rlimit::increase_nofile_limit(u64::MAX)?;
    let address = url.strip_prefix("http://").ok_or("the URL is not http:")?;
    let mut all = Vec::with_capacity(count);
    for _ in 0..count {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        write!(stream, "GET /v1/watch HTTP/1.1\r\nhost: {address}\r\n\r\n")?;
        all.push(stream);
    }
    for stream in &mut all {
        read_until(stream, b"watching\n\n")?;
    }
    let resident = resident()?;
    let mut writer = TcpStream::connect(address)?;
    write!(
        writer,
        "PUT /v1/items/watched/k HTTP/1.1\r\nhost: {address}\r\ncontent-length: 0\r\n\r\n"
    )?;
    BufReader::new(writer).read_line(&mut String::new())?;
    let mut told = 0;
    for stream in &mut all {
        if read_until(stream, b"event: put").is_ok() {
            told += 1;
        }
    }
    Ok(Watched { resident, told })
}

fn read_until(stream: &mut TcpStream, wanted: &[u8]) -> Result<()> {
    let mut read = Vec::new();
    let mut piece = [0; 1024];
    while !read.windows(wanted.len()).any(|part| part == wanted) {
        let count = stream.read(&mut piece)?;
        if count == 0 {
            return Err("the server ended a watch".into());
        }
        read.extend_from_slice(piece.get(..count).unwrap_or_default());
    }
    Ok(())
}
