//! Point reads of the memory backend beside a map.

use std::time::Instant;

use holdall_core::{
    BackendExt, CollectionName, Condition, Doc, DynBackend, GetOptions, Key, MemoryBackend, Parts,
    Put,
};

use super::read::doc;
use crate::options::Options;
use crate::peers::{self, Peer};
use crate::place;
use crate::report::{Report, Target};
use crate::rounds::{self, Contender, Work};
use crate::{Result, data};

const COUNT: u64 = 100_000;
const BYTES: usize = 1024;
const READS: u64 = 2_000_000;

pub(crate) fn run(options: &Options, report: &mut Report) -> Result<()> {
    let runtime = place::runtime()?;
    let name = CollectionName::new("items")?;
    let keys = (0..COUNT)
        .map(|number| Key::new(data::key(number)))
        .collect::<Result<Vec<_>, _>>()?;
    let backend = MemoryBackend::new();
    runtime.block_on(async {
        for (number, key) in (0..).zip(&keys) {
            let put = Put::bytes(data::body(number, BYTES)).with_doc(Doc::parse(doc(number))?);
            backend.put(&name, key, Condition::Any, put).await?;
        }
        Ok::<_, holdall_core::Error>(())
    })?;
    let object: DynBackend = backend.clone().into();
    let parts = GetOptions::parts(Parts::BODY);

    // Not in this program: the map brings a second version of a crate that the
    // library has, and is not worth an exception.
    let program = peers::build()?;
    let nowhere = "none";
    let mut map = Peer::start(&program, "dashmap", nowhere, COUNT, BYTES)?;
    let mut opendal = Peer::start(&program, "opendal-memory", nowhere, COUNT, BYTES)?;

    let mut contenders = vec![
        Contender::new("MemoryBackend::read", |round| {
            let order = data::order(keys.len(), READS, round as u64);
            let start = Instant::now();
            for at in order {
                let key = keys.get(at).ok_or("a key that there is not")?;
                let item = backend
                    .read(&name, key, parts)?
                    .ok_or("an item is missing")?;
                std::hint::black_box(&item);
            }
            Ok(work(start))
        }),
        Contender::new("Arc<dyn Backend>", |round| {
            let order = data::order(keys.len(), READS, round as u64);
            let start = Instant::now();
            runtime.block_on(async {
                for at in order {
                    let key = keys.get(at).ok_or("a key that there is not")?;
                    let item = object.get(&name, key, parts).await?;
                    std::hint::black_box(&item.ok_or("an item is missing")?);
                }
                Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
            })?;
            Ok(work(start))
        }),
        Contender::new("DashMap<String, Bytes>", |round| {
            map.read(READS, round as u64)
        }),
        Contender::new("OpenDAL memory", |round| {
            opendal.read(READS / 10, round as u64)
        }),
    ];
    let rates = rounds::run(options.rounds, &mut contenders)?;
    drop(contenders);
    report.part(&format!("{COUNT} items of 1 KiB"), &rates);
    if let [concrete, object, map, opendal] = rates.as_slice() {
        report.ratio(
            "memory: time of DashMap that MemoryBackend::read takes",
            map.over(concrete),
            Target::AtMost(2.0),
        );
        report.ratio(
            "memory: time of DashMap that Arc<dyn Backend> takes",
            map.over(object),
            Target::AtMost(4.0),
        );
        report.ratio(
            "memory: Arc<dyn Backend> over OpenDAL memory",
            object.over(opendal),
            Target::None,
        );
    }
    Ok(())
}

fn work(start: Instant) -> Work {
    Work {
        operations: READS,
        nanos: start.elapsed().as_nanos(),
    }
}
