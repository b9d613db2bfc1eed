//! Removes what nobody needs any more, a little at a time.

use std::sync::Weak;
use std::time::Duration;

use holdall_core::{BATCH_ID_LIFE, Result, Timestamp, Version};

use super::Shared;
use super::bodies;
use super::commit::{newest, seq_of};
use super::error::damaged;
use super::row::{Place, Row};
use super::table::Range;

/// How often an open store looks.
const EVERY: Duration = Duration::from_secs(60);

/// Rows that a step looks at.
const STEP: i32 = 64;

/// Sweeps from time to time, while the store is open.
pub(super) async fn now_and_then(shared: Weak<Shared>) {
    loop {
        tokio::time::sleep(EVERY).await;
        let Some(shared) = shared.upgrade() else {
            return;
        };
        if shared.check_open().is_err() {
            return;
        }
        // What cannot be removed now is next time.
        while let Ok(true) = step(&shared).await {}
    }
}

/// Removes some; answers whether there is more.
pub(super) async fn step(shared: &Shared) -> Result<bool> {
    let now = shared.options.env.now();
    let leases = abandoned(shared, now).await?;
    let (dropped, upto) = dropped(shared, now).await?;
    let log = trim(shared, now, upto).await?;
    Ok(leases || dropped || log)
}

/// Bodies whose lease is over. Ids begin with the time, so the oldest come first.
async fn abandoned(shared: &Shared, now: Timestamp) -> Result<bool> {
    let range = Range {
        limit: STEP,
        columns: &["x"],
        ..Range::default()
    };
    let (rows, _) = shared
        .table
        .query(&shared.partition("staged"), &range)
        .await?;
    let mut removed = false;
    for row in rows {
        if row.time("x")? > now {
            continue;
        }
        let place = row.place()?;
        if shared
            .table
            .remove_if_below(&place, "x", now.as_micros())
            .await?
        {
            bodies::remove(shared, &place.sort).await?;
            removed = true;
        }
    }
    Ok(removed)
}

fn swept_place(shared: &Shared) -> Place {
    Place::new(shared.partition("meta"), "swept")
}

/// What batches that are long enough ago left behind. Answers whether there is more,
/// and up to which number of the log all is done.
async fn dropped(shared: &Shared, now: Timestamp) -> Result<(bool, u64)> {
    let swept = shared.table.get(&swept_place(shared)).await?;
    let swept = swept.map(|row| row.number("n")).transpose()?.flatten();
    let mut upto: u64 = swept.unwrap_or(0);
    let range = Range {
        bound: Some((">", format!("{upto:020}"))),
        limit: STEP,
        columns: &["t", "d", "g", "i"],
        ..Range::default()
    };
    let (rows, more) = shared.table.query(&shared.log(), &range).await?;
    let before = upto;
    for row in &rows {
        if row.time("t")? > now.before(shared.options.grace) {
            break;
        }
        for body in row.texts("d")? {
            bodies::remove(shared, &body).await?;
        }
        for partition in row.texts("g")? {
            clear(shared, &partition).await?;
        }
        let hints = row.texts("i")?;
        let hints: Result<Vec<_>> = hints.iter().map(|text| Place::read(text)).collect();
        shared.table.remove(hints?).await?;
        upto = seq_of(row)?;
    }
    if upto > before {
        let row = Row::at(&swept_place(shared)).with_number("n", upto);
        shared.table.put(row).await?;
    }
    Ok((more && upto > before, upto))
}

/// Removes a partition, and the large bodies of its items.
async fn clear(shared: &Shared, partition: &str) -> Result<()> {
    let range = Range {
        limit: STEP,
        columns: &["k"],
        ..Range::default()
    };
    // Elsewhere, `k` is the key of an item.
    let has_bodies = partition.starts_with(&shared.partition("items/"));
    loop {
        let (rows, more) = shared.table.query(partition, &range).await?;
        for row in rows.iter().filter(|_| has_bodies) {
            if let Some(body) = row.text_or_none("k")? {
                bodies::remove(shared, body).await?;
            }
        }
        let places = rows.iter().map(Row::place).collect::<Result<Vec<_>>>()?;
        shared.table.remove(places).await?;
        if !more {
            return Ok(());
        }
    }
}

/// Removes batches of the log that are two days old: by then, an id of a day ahead is
/// refused for its age. The last stays, so that numbers go on.
async fn trim(shared: &Shared, now: Timestamp, upto: u64) -> Result<bool> {
    let range = Range {
        limit: STEP,
        columns: &["t", "b"],
        ..Range::default()
    };
    let (rows, more) = shared.table.query(&shared.log(), &range).await?;
    let oldest = now.before(BATCH_ID_LIFE * 2);
    let last = newest(shared).await?;
    let mut places = Vec::new();
    for row in &rows {
        let seq = seq_of(row)?;
        if row.time("t")? > oldest || seq > upto || seq == last {
            break;
        }
        let id: Option<Version> = row.version("b")?;
        let id = id.ok_or_else(|| damaged("the log of changes"))?;
        // The record first: without it, the row of the log would never be found.
        places.push(shared.batch_place(id));
        places.push(row.place()?);
    }
    let all = places.len() == rows.len() * 2;
    for place in places {
        shared.table.remove([place]).await?;
    }
    Ok(all && more)
}
