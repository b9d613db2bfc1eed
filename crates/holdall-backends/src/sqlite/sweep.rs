//! Removes what nobody needs any more, a little at a time.

use std::time::Duration;

use holdall_core::{BATCH_ID_LIFE, Timestamp, Version};
use rusqlite::{Connection, OptionalExtension, Result};

use super::bodies::CHUNKS_PER_BODY;
use super::log::{HORIZON, TRIMMED};
use super::options::SqliteOptions;
use super::schema::{meta, set_meta};

/// Batches of the log, and pieces of bodies, that one step removes at most.
const STEP: i64 = 256;

/// When things may go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sweep {
    /// How long a dropped body stays.
    grace: Duration,
    /// The most bytes of the log.
    log_bytes: u64,
}

impl Sweep {
    pub(super) fn of(options: &SqliteOptions) -> Self {
        Self {
            grace: options.grace,
            log_bytes: options.log_bytes,
        }
    }

    /// Removes some; answers whether there is more.
    pub(super) fn step(self, connection: &Connection, now: Timestamp) -> Result<bool> {
        let log = self.trim_log(connection, now)?;
        let ids = connection.execute(
            "DELETE FROM holdall_aborted WHERE until < ?1",
            [now.as_micros()],
        )?;
        let bodies = self.remove_body(connection, now)?;
        Ok(log || ids > 0 || bodies)
    }

    /// Removes batches that are a day old, and more while the log is larger
    /// than it may be. The newest stays.
    fn trim_log(self, connection: &Connection, now: Timestamp) -> Result<bool> {
        let newest: Option<(i64, i64)> = connection
            .query_row(
                "SELECT seq, total FROM holdall_log ORDER BY seq DESC LIMIT 1",
                [],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .optional()?;
        let Some((newest, total)) = newest else {
            return Ok(false);
        };
        let oldest = now.before(BATCH_ID_LIFE).as_micros();
        let room = i64::try_from(self.log_bytes).unwrap_or(i64::MAX);
        let mut last = None;
        let mut horizon = meta(connection, HORIZON)?.unwrap_or(i64::MIN);
        let mut read = connection.prepare_cached(
            "SELECT seq, at, total, batch FROM holdall_log WHERE seq < ?1 ORDER BY seq LIMIT ?2",
        )?;
        let mut rows = read.query((newest, STEP))?;
        let mut count = 0;
        while let Some(row) = rows.next()? {
            let (at, upto): (i64, i64) = (row.get(1)?, row.get(2)?);
            if at >= oldest && total - upto <= room {
                break;
            }
            count += 1;
            last = Some(row.get::<_, i64>(0)?);
            let id = Version::from_bytes(row.get(3)?);
            horizon = horizon.max(id.time().map_or(at, Timestamp::as_micros));
        }
        let Some(last) = last else { return Ok(false) };
        connection.execute("DELETE FROM holdall_log WHERE seq <= ?1", [last])?;
        set_meta(connection, TRIMMED, last)?;
        set_meta(connection, HORIZON, horizon)?;
        Ok(count == STEP)
    }

    /// Removes pieces of one body whose time is over, and the body with its
    /// last piece.
    fn remove_body(self, connection: &Connection, now: Timestamp) -> Result<bool> {
        let body: Option<i64> = connection
            .query_row(
                "SELECT id FROM holdall_bodies WHERE expires < ?1 \
                 UNION ALL SELECT id FROM holdall_bodies WHERE dropped < ?2 LIMIT 1",
                (now.as_micros(), now.before(self.grace).as_micros()),
                |row| row.get(0),
            )
            .optional()?;
        let Some(body) = body else { return Ok(false) };
        let first = body * CHUNKS_PER_BODY;
        let removed = connection.execute(
            "DELETE FROM holdall_chunks WHERE id IN \
             (SELECT id FROM holdall_chunks WHERE id >= ?1 AND id < ?2 LIMIT ?3)",
            (first, first + CHUNKS_PER_BODY, STEP),
        )?;
        if removed == 0 {
            connection.execute("DELETE FROM holdall_bodies WHERE id = ?1", [body])?;
        }
        Ok(true)
    }
}
