//! Removes what nobody needs any more, a little at a time.

use std::sync::Weak;
use std::time::Duration;

use holdall_core::{BATCH_ID_LIFE, Result, Timestamp, Version};

use super::link::{Fault, Line};
use super::script::{Call, TRIM};
use super::{Shared, answer, bodies};

/// How often an open store looks.
const EVERY: Duration = Duration::from_secs(60);

/// Things of one kind that a step removes at most.
const STEP: u32 = 64;

/// Batches of the log that a step removes at most.
const LOG_STEP: u64 = 256;

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
    let log = trim(shared, now).await?;
    let leases = abandoned(shared, now).await?;
    let dropped = dropped(shared, now).await?;
    Ok(log || leases || dropped)
}

async fn trim(shared: &Shared, now: Timestamp) -> Result<bool> {
    let mut call = Call::new(
        &TRIM,
        shared.names.all(["meta", "log", "batches", "aborted"]),
    );
    call.number(now.as_micros())
        .number(now.before(BATCH_ID_LIFE).as_micros())
        .number(shared.options.log_bytes)
        .number(LOG_STEP);
    let removed = call.write(&shared.link, Line::Read).await;
    Ok(answer::integer(removed.map_err(Fault::of_read)?)? == LOG_STEP)
}

/// Bodies whose lease is over.
async fn abandoned(shared: &Shared, now: Timestamp) -> Result<bool> {
    let found = until(shared, "leases", now).await?;
    let ids = found.iter().map(|id| Version::from_slice(id));
    let ids = ids.collect::<Result<Vec<_>>>()?;
    bodies::discard(shared, &ids, Some(now)).await?;
    Ok(ids.len() == STEP as usize)
}

/// Large bodies of items that were overwritten, deleted or dropped. Their ids never
/// come back, so this may be done twice.
async fn dropped(shared: &Shared, now: Timestamp) -> Result<bool> {
    let found = until(shared, "dropped", now.before(shared.options.grace)).await?;
    let mut done = Vec::new();
    for member in &found {
        match member.split_first() {
            Some((b'b', id)) => {
                run(shared, "UNLINK", &[shared.names.with_id("body", id)]).await?;
                done.push(member.clone());
            }
            Some((b's', id)) if remove_some(shared, id).await? => done.push(member.clone()),
            _ => {}
        }
    }
    if !done.is_empty() {
        let mut arguments = vec![shared.names.one("dropped")];
        arguments.append(&mut done);
        run(shared, "ZREM", &arguments).await?;
    }
    Ok(!found.is_empty())
}

/// Some of the large bodies of a dropped collection; answers whether all are gone.
async fn remove_some(shared: &Shared, id: &[u8]) -> Result<bool> {
    let gone = shared.names.with_id("gone", id);
    let mut some = ::redis::cmd("SRANDMEMBER");
    some.arg(gone.as_slice()).arg(STEP);
    let found = shared.link.read(&some).await.map_err(Fault::of_read)?;
    let found = answer::list(found)?.into_iter();
    let ids = found.map(|id| answer::bytes(Some(id)));
    let ids = ids.collect::<Result<Vec<_>>>()?;
    if ids.is_empty() {
        return Ok(true);
    }
    let keys: Vec<_> = ids
        .iter()
        .map(|id| shared.names.with_id("body", id))
        .collect();
    run(shared, "UNLINK", &keys).await?;
    run(shared, "SREM", &[vec![gone], ids].concat()).await?;
    Ok(false)
}

/// Members of a sorted set whose time has come.
async fn until(shared: &Shared, what: &str, time: Timestamp) -> Result<Vec<Vec<u8>>> {
    let mut range = ::redis::cmd("ZRANGEBYSCORE");
    range
        .arg(shared.names.one(what).as_slice())
        .arg("-inf")
        .arg(time.as_micros())
        .arg("LIMIT")
        .arg(0)
        .arg(STEP);
    let found = shared.link.read(&range).await.map_err(Fault::of_read)?;
    let found = answer::list(found)?.into_iter();
    found.map(|member| answer::bytes(Some(member))).collect()
}

async fn run(shared: &Shared, name: &str, arguments: &[Vec<u8>]) -> Result<()> {
    let mut command = ::redis::cmd(name);
    for argument in arguments {
        command.arg(argument.as_slice());
    }
    let done = shared.link.write(Line::Read, &command).await;
    done.map(drop).map_err(Fault::of_read)
}
