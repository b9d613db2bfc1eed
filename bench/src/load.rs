//! Load on a server, from oha, and from watchers.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde::Deserialize;

use crate::Result;
use crate::place::Place;
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
    let found = Command::new("oha")
        .arg("--version")
        .stdout(Stdio::null())
        .status();
    match found {
        Ok(_) => Ok(()),
        Err(error) => Err(format!(
            "oha makes the load, and cannot be started: {error}. `cargo xtask bench` installs it, or `cargo install oha`"
        )
        .into()),
    }
}

impl Load {
    /// Reads items in any order, through so many connections.
    pub(crate) fn reads(url: &str, connections: u32, items: u64, place: &Place) -> Result<Self> {
        let urls = place.file("urls");
        let all: String = (0..items)
            .map(|n| format!("{url}/v1/items/items/k{n}\n"))
            .collect();
        std::fs::write(&urls, all)?;
        Self::of(connections, |oha| {
            oha.arg("--urls-from-file").arg(&urls);
        })
    }

    /// Puts new items.
    pub(crate) fn writes(
        url: &str,
        connections: u32,
        round: usize,
        bytes: usize,
        place: &Place,
    ) -> Result<Self> {
        let body = place.file("put");
        std::fs::write(&body, vec![b'x'; bytes])?;
        Self::of(connections, |oha| {
            oha.args(["-m", "PUT", "-D"]).arg(&body);
            oha.arg("--rand-regex-url");
            oha.arg(format!("{url}/v1/items/items/w{round}-[a-z0-9]{{16}}"));
        })
    }

    fn of(connections: u32, set: impl FnOnce(&mut Command)) -> Result<Self> {
        let mut oha = Command::new("taskset");
        oha.args(["-c", "1", "oha", "--no-tui", "--output-format", "json"]);
        oha.arg("-z").arg(format!("{SECONDS}s"));
        oha.arg("-c").arg(connections.to_string());
        set(&mut oha);
        let output = oha.output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let told: Told = serde_json::from_str(&text).map_err(|error| {
            let said = String::from_utf8_lossy(&output.stderr);
            format!("oha tells {text:?} ({error}): {said}")
        })?;
        let errors: Vec<_> = told.errors.keys().filter(|why| *why != DEADLINE).collect();
        if !told.statuses.keys().all(|status| status.starts_with('2')) || !errors.is_empty() {
            return Err(format!("oha found trouble: {:?}, {errors:?}", told.statuses).into());
        }
        Ok(Self {
            work: work_of(told.summary.rate),
            requests: told.statuses.values().sum::<u64>() as f64,
            p99: told.percentiles.p99 * 1000.0,
        })
    }
}

/// What oha says of the requests that were under way at the end.
const DEADLINE: &str = "aborted due to deadline";

/// What oha tells.
#[derive(Deserialize)]
struct Told {
    summary: Summary,
    #[serde(rename = "latencyPercentiles")]
    percentiles: Percentiles,
    #[serde(rename = "statusCodeDistribution")]
    statuses: BTreeMap<String, u64>,
    #[serde(rename = "errorDistribution")]
    errors: BTreeMap<String, u64>,
}

#[derive(Deserialize)]
struct Summary {
    #[serde(rename = "requestsPerSec")]
    rate: f64,
}

#[derive(Deserialize)]
struct Percentiles {
    /// Seconds.
    p99: f64,
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
