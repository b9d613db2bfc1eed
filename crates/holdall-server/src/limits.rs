//! What a server takes, and for how long.

use std::ops::RangeInclusive;
use std::time::Duration;

use holdall_core::{Error, Result};

/// The limits of a server, each with a default.
///
/// Those of the store hold beside them: a doc has at most 1 MiB, whatever
/// `max_doc` says.
///
/// ```
/// use holdall_server::Limits;
/// let mut limits = Limits::default();
/// limits.set("max_body", "64MiB")?;
/// limits.set("idle_time", "5m")?;
/// assert_eq!(limits.max_body, 64 * 1024 * 1024);
/// # Ok::<(), holdall_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a body that is put or staged.
    pub max_body: u64,
    /// Bytes of a request's first line and headers together.
    pub max_head: u64,
    /// How many headers a request has.
    pub max_headers: usize,
    /// Bytes of a doc.
    pub max_doc: u64,
    /// Items of a page.
    pub max_page: usize,
    /// Bytes of a page, but for its last item.
    pub max_page_bytes: u64,
    /// Bytes of a batch, with the bodies in it.
    pub max_batch: u64,
    /// Operations of a batch.
    pub max_batch_ops: usize,
    /// Bytes of requests and pages that are held in memory at once.
    pub max_buffered: u64,
    /// Connections at once.
    pub max_connections: usize,
    /// Requests in flight, watchers not counted.
    pub max_requests: usize,
    /// Watchers at once.
    pub max_watchers: usize,
    /// Open transactions.
    pub max_transactions: usize,
    /// Bytes that all open transactions keep back together.
    pub transaction_bytes: u64,
    /// The longest expiry of a transaction.
    pub transaction_time: Duration,
    /// Requests in a second with one token.
    pub max_rate: u64,
    /// How long the head of a request may take, and a TLS handshake.
    pub head_time: Duration,
    /// How long the body of a request may take, whatever its size.
    pub body_time: Duration,
    /// The least bytes in a second of a body that takes longer than that.
    pub body_rate: u64,
    /// How long an answer may make no progress.
    pub write_time: Duration,
    /// How long a connection may stay without a request.
    pub idle_time: Duration,
    /// How long a request may take until its answer begins.
    pub request_time: Duration,
    /// How long an ending server waits for requests in flight.
    pub drain_time: Duration,
}

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_body: 16 * GIB,
            max_head: 32 * KIB,
            max_headers: 100,
            max_doc: MIB,
            max_page: 1000,
            max_page_bytes: 4 * MIB,
            max_batch: 16 * MIB,
            max_batch_ops: 10_000,
            max_buffered: 256 * MIB,
            max_connections: 16_384,
            max_requests: 512,
            max_watchers: 12_000,
            max_transactions: 1000,
            transaction_bytes: 256 * MIB,
            transaction_time: Duration::from_secs(600),
            max_rate: 1000,
            head_time: Duration::from_secs(10),
            body_time: Duration::from_secs(30),
            body_rate: 16 * KIB,
            write_time: Duration::from_secs(30),
            idle_time: Duration::from_secs(75),
            request_time: Duration::from_secs(120),
            drain_time: Duration::from_secs(8),
        }
    }
}

/// A limit's value, as its kind is written.
enum Slot<'a> {
    /// Bytes, from so many on.
    Bytes(&'a mut u64, u64),
    /// Bytes of a page.
    Page(&'a mut u64),
    Count(&'a mut usize),
    Rate(&'a mut u64),
    Time(&'a mut Duration),
}

type Access = fn(&mut Limits) -> Slot<'_>;

/// Every limit by name, in the order of `docs/server.md`.
const TABLE: [(&str, Access); 23] = [
    ("max_body", |l| Slot::Bytes(&mut l.max_body, 1)),
    // A key and a collection of the longest names, percent-encoded, and what
    // clients send beside them must fit; hyper takes no less either.
    ("max_head", |l| Slot::Bytes(&mut l.max_head, 8 * KIB)),
    ("max_headers", |l| Slot::Count(&mut l.max_headers)),
    ("max_doc", |l| Slot::Bytes(&mut l.max_doc, 2)),
    ("max_page", |l| Slot::Count(&mut l.max_page)),
    ("max_page_bytes", |l| Slot::Page(&mut l.max_page_bytes)),
    ("max_batch", |l| Slot::Bytes(&mut l.max_batch, 1)),
    ("max_batch_ops", |l| Slot::Count(&mut l.max_batch_ops)),
    ("max_buffered", |l| Slot::Bytes(&mut l.max_buffered, 1)),
    ("max_connections", |l| Slot::Count(&mut l.max_connections)),
    ("max_requests", |l| Slot::Count(&mut l.max_requests)),
    ("max_watchers", |l| Slot::Count(&mut l.max_watchers)),
    ("max_transactions", |l| Slot::Count(&mut l.max_transactions)),
    ("transaction_bytes", |l| {
        Slot::Bytes(&mut l.transaction_bytes, 1)
    }),
    ("transaction_time", |l| Slot::Time(&mut l.transaction_time)),
    ("max_rate", |l| Slot::Rate(&mut l.max_rate)),
    ("head_time", |l| Slot::Time(&mut l.head_time)),
    ("body_time", |l| Slot::Time(&mut l.body_time)),
    ("body_rate", |l| Slot::Bytes(&mut l.body_rate, 1)),
    ("write_time", |l| Slot::Time(&mut l.write_time)),
    ("idle_time", |l| Slot::Time(&mut l.idle_time)),
    ("request_time", |l| Slot::Time(&mut l.request_time)),
    ("drain_time", |l| Slot::Time(&mut l.drain_time)),
];

/// The most of a count or a rate: each of them may cost memory.
const MOST: u64 = 10_000_000;

/// The most bytes of anything: 1 PiB.
const MOST_BYTES: u64 = 1024 * 1024 * GIB;

/// The most bytes of a page: the backend `http:` takes that, with the largest
/// item behind it, and no more.
const MOST_PAGE: u64 = 16 * MIB;

/// The longest time.
const MOST_TIME: Duration = Duration::from_secs(24 * 60 * 60);

impl Limits {
    /// The names, in the order of `docs/server.md`.
    pub fn names() -> impl Iterator<Item = &'static str> {
        TABLE.iter().map(|(name, _)| *name)
    }

    /// Sets one by its name. Sizes are bytes, or a number with `KiB`, `MiB` or
    /// `GiB`; times are a number with `ms`, `s`, `m` or `h`.
    ///
    /// # Errors
    /// `Invalid` if no limit is called so, listing those there are, or if the
    /// value is none of its kind.
    pub fn set(&mut self, name: &str, value: &str) -> Result<()> {
        let Some((name, access)) = TABLE.iter().find(|(own, _)| *own == name) else {
            let names: Vec<_> = Self::names().collect();
            return Err(Error::invalid(format!(
                "no limit is called {name:?}; there are {}",
                names.join(", ")
            )));
        };
        match access(self) {
            Slot::Bytes(slot, least) => *slot = bytes(name, value, least..=MOST_BYTES)?,
            Slot::Page(slot) => *slot = bytes(name, value, 1..=MOST_PAGE)?,
            Slot::Count(slot) => {
                *slot = usize::try_from(count(name, value)?)
                    .map_err(|_| misfit(name, value, "a smaller number"))?;
            }
            Slot::Rate(slot) => *slot = count(name, value)?,
            Slot::Time(slot) => *slot = time(name, value)?,
        }
        Ok(())
    }

    /// Refuses limits of which one leaves no room for another.
    ///
    /// # Errors
    /// `Invalid`, naming both.
    pub fn check(&self) -> Result<()> {
        let room = self.max_buffered;
        for (name, needs) in [
            ("max_batch", self.max_batch),
            ("max_page_bytes", self.max_page_bytes),
            ("max_doc", self.max_doc),
        ] {
            if needs > room {
                return Err(Error::invalid(format!(
                    "the limit max_buffered is {}, and {name} is {}, which would never fit into it; \
                     raise the one or lower the other",
                    show_bytes(room),
                    show_bytes(needs)
                )));
            }
        }
        Ok(())
    }

    /// Each name with the value in force, as [`set`](Self::set) takes it.
    pub fn values(&self) -> impl Iterator<Item = (&'static str, String)> + use<> {
        let mut limits = *self;
        TABLE.iter().map(move |(name, access)| {
            let value = match access(&mut limits) {
                Slot::Bytes(slot, _) | Slot::Page(slot) => show_bytes(*slot),
                Slot::Count(slot) => slot.to_string(),
                Slot::Rate(slot) => slot.to_string(),
                Slot::Time(slot) => show_time(*slot),
            };
            (*name, value)
        })
    }
}

fn misfit(name: &str, value: &str, wanted: &str) -> Error {
    Error::invalid(format!("the limit {name} is {wanted}, not {value:?}"))
}

fn count(name: &str, value: &str) -> Result<u64> {
    let number = digits(value).filter(|number| (1..=MOST).contains(number));
    number.ok_or_else(|| misfit(name, value, &format!("a number from 1 to {MOST}")))
}

fn bytes(name: &str, value: &str, within: RangeInclusive<u64>) -> Result<u64> {
    let (number, unit) = split(value);
    let unit = match unit {
        "" | "B" => Some(1),
        "KiB" => Some(KIB),
        "MiB" => Some(MIB),
        "GiB" => Some(GIB),
        _ => None,
    };
    digits(number)
        .zip(unit)
        .and_then(|(number, unit)| number.checked_mul(unit))
        .filter(|bytes| within.contains(bytes))
        .ok_or_else(|| {
            let wanted = format!(
                "a size from {} to {}, like 65536, 64KiB, 16MiB or 1GiB",
                show_bytes(*within.start()),
                show_bytes(*within.end())
            );
            misfit(name, value, &wanted)
        })
}

fn time(name: &str, value: &str) -> Result<Duration> {
    let (number, unit) = split(value);
    let unit = match unit {
        "ms" => Some(1),
        "s" => Some(1000),
        "m" => Some(60 * 1000),
        "h" => Some(60 * 60 * 1000),
        _ => None,
    };
    digits(number)
        .zip(unit)
        .and_then(|(number, unit)| number.checked_mul(unit))
        .map(Duration::from_millis)
        .filter(|time| !time.is_zero() && *time <= MOST_TIME)
        .ok_or_else(|| {
            misfit(
                name,
                value,
                "a time of at most a day, like 500ms, 10s, 5m or 1h",
            )
        })
}

fn split(value: &str) -> (&str, &str) {
    let number = value.trim_end_matches(|unit: char| unit.is_ascii_alphabetic());
    (number, value.strip_prefix(number).unwrap_or_default())
}

/// A number of digits alone: `parse` takes a plus sign, too.
fn digits(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

fn show_bytes(bytes: u64) -> String {
    for (unit, name) in [(GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")] {
        if bytes >= unit && bytes.is_multiple_of(unit) {
            return format!("{}{name}", bytes / unit);
        }
    }
    bytes.to_string()
}

fn show_time(time: Duration) -> String {
    let millis = time.as_millis();
    for (unit, name) in [(3_600_000, "h"), (60_000, "m"), (1000, "s")] {
        if millis >= unit && millis.is_multiple_of(unit) {
            return format!("{}{name}", millis / unit);
        }
    }
    format!("{millis}ms")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_set_by_its_name_and_shown_as_it_is_set() {
        let mut limits = Limits::default();
        let defaults: Vec<_> = limits.values().collect();
        for (name, value) in &defaults {
            limits.set(name, value).unwrap();
        }
        assert_eq!(limits, Limits::default());

        for (name, value, shown) in [
            ("max_body", "1000", "1000"),
            ("max_body", "1024B", "1KiB"),
            ("max_batch", "64KiB", "64KiB"),
            ("max_headers", "7", "7"),
            ("max_rate", "50", "50"),
            ("head_time", "1500ms", "1500ms"),
            ("idle_time", "120s", "2m"),
            ("drain_time", "1h", "1h"),
        ] {
            limits.set(name, value).unwrap();
            let found = limits.values().find(|(own, _)| *own == name).unwrap().1;
            assert_eq!(found, shown, "{name}");
        }
    }

    #[test]
    fn each_name_of_the_table_is_a_limit_of_its_own() {
        let changed = |name: &str, value: &str| {
            let mut limits = Limits::default();
            limits.set(name, value).ok()?;
            Some(
                limits
                    .values()
                    .zip(Limits::default().values())
                    .filter(|(now, before)| now != before)
                    .map(|(now, _)| now.0)
                    .collect::<Vec<_>>(),
            )
        };
        for name in Limits::names() {
            let all: Vec<_> = ["9999", "77s"]
                .iter()
                .filter_map(|value| changed(name, value))
                .collect();
            assert_eq!(all, [[name]], "{name}");
        }
    }

    #[test]
    fn what_is_no_value_of_a_limit_is_refused_with_its_name() {
        let mut limits = Limits::default();
        for (name, value) in [
            ("max_body", "0"),
            ("max_body", "16MB"),
            ("max_body", "+5"),
            ("max_body", "-1"),
            ("max_body", "1.5GiB"),
            ("max_body", "99999999999GiB"),
            ("max_head", "8191"),
            // A bug: the backend `http:` refused pages that were so large.
            ("max_page_bytes", "16777217"),
            ("max_headers", "0"),
            ("max_headers", "many"),
            ("max_requests", "10000001"),
            ("max_rate", "0"),
            ("head_time", "0s"),
            ("head_time", "5"),
            ("head_time", "25h"),
            ("head_time", ""),
        ] {
            let error = limits.set(name, value).unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
        }
        limits.set("max_head", "8192").unwrap();
        limits.set("max_page_bytes", "16MiB").unwrap();
        limits.set("head_time", "24h").unwrap();
        let error = limits.set("max_heads", "1").unwrap_err().to_string();
        assert!(
            error.contains("\"max_heads\"") && error.contains("max_head, max_headers"),
            "{error}"
        );
    }

    #[test]
    fn what_would_never_fit_into_the_buffers_is_refused() {
        Limits::default().check().unwrap();
        for name in ["max_batch", "max_page_bytes", "max_doc"] {
            let mut limits = Limits {
                max_buffered: 16 * MIB,
                ..Limits::default()
            };
            limits.set(name, "16MiB").unwrap();
            limits.check().unwrap();
            limits.max_buffered -= 1;
            let error = limits.check().unwrap_err().to_string();
            assert!(
                error.contains("max_buffered is 16777215") && error.contains("is 16MiB"),
                "{error}"
            );
        }
    }

    #[test]
    fn the_page_lists_each_limit_with_its_default() {
        let page = include_str!("../../../docs/server.md");
        let (_, page) = page.split_once("## Limits").unwrap();
        let rows = page.lines().filter_map(|line| {
            let mut cells = line.strip_prefix("| `")?.split("` | `");
            let (name, rest) = (cells.next()?, cells.next()?);
            Some((name, rest.split('`').next()?.to_owned()))
        });
        let rows: Vec<_> = rows.collect();
        assert_eq!(rows, Limits::default().values().collect::<Vec<_>>());
    }
}
