//! What `watch` told meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use holdall_core::{
    BackendExt, Change, ChangeStream, Condition, Key, Put, Version, Watch, WatchFrom,
};
use parking_lot::Mutex;
use tokio::task::JoinHandle;

use super::ledger::{Became, Ledger};
use super::{Result, Run, told};

/// How the keys start that are put to see that changes are told.
pub(super) const MARK: &str = "mark";

/// A watch beside the proxy, on the run's collection.
pub(super) struct Telling(Option<(Arc<Mutex<Told>>, JoinHandle<Result>)>);

#[derive(Default)]
struct Told {
    /// By version and key, what was told of it, and by which of the streams.
    puts: BTreeMap<(Version, Key), (Change, u64)>,
}

impl Telling {
    pub(super) async fn start(run: &Arc<Run>) -> Result<Self> {
        if run.direct.capabilities().watch == Watch::None {
            return Ok(Self(None));
        }
        let watch = || run.direct.watch(Some(&run.items), WatchFrom::Now);
        let mut changes = run.surely("watching", watch).await?;
        // The first change gives a place to go on from, should the stream break.
        let mark = Key::new(MARK).map_err(told("a key"))?;
        let put = || {
            let (direct, mark) = (&run.direct, &mark);
            direct.put(&run.items, mark, Condition::Any, Put::default())
        };
        run.surely("a mark", put).await?;
        let first = run
            .in_time("the first change", changes.next())
            .await?
            .ok_or("the watch ended by itself")?
            .map_err(told("watching"))?;
        let all = Arc::new(Mutex::new(Told::default()));
        let task = tokio::spawn(follow(run.clone(), all.clone(), changes, first));
        Ok(Self(Some((all, task))))
    }

    /// All that happened was told, once, and nothing else was.
    pub(super) async fn compare(self, run: &Run, ledger: &Ledger) -> Result {
        let Some((all, mut task)) = self.0 else {
            return Ok(());
        };
        let (done, unknown) = (
            ledger.versions(Became::Done),
            ledger.versions(Became::Unknown),
        );
        let is_all = async {
            loop {
                let versions = all.lock().versions();
                if done.is_subset(&versions) {
                    return versions;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let versions = tokio::select! {
            ended = &mut task => {
                return Err(match ended {
                    Ok(Err(why)) => why,
                    _ => "the watch ended by itself".into(),
                });
            }
            versions = tokio::time::timeout(run.options.patience, is_all) => versions,
        };
        task.abort();
        let Ok(versions) = versions else {
            let told = all.lock().versions();
            let missing: Vec<_> = done.difference(&told).collect();
            return Err(format!("watch never told of {missing:?}"));
        };
        let made_up = versions
            .iter()
            .find(|version| !done.contains(version) && !unknown.contains(version));
        match made_up {
            Some(version) => Err(format!("watch told of {version}, which did not happen")),
            None => Ok(()),
        }
    }
}

/// Listens, and goes on where it was when the stream breaks.
async fn follow(
    run: Arc<Run>,
    all: Arc<Mutex<Told>>,
    mut changes: ChangeStream,
    first: Change,
) -> Result {
    const MOST: u64 = 1000;
    let mut last = first.cursor;
    for stream in 0..MOST {
        while let Some(Ok(change)) = changes.next().await {
            last = change.cursor.clone();
            all.lock().add(change, stream)?;
        }
        // The server is away, and comes again.
        let mut tries = 0;
        changes = loop {
            match run
                .direct
                .watch(Some(&run.items), WatchFrom::After(last.clone()))
                .await
            {
                Ok(changes) => break changes,
                Err(error) if tries == MOST => return Err(told("watching")(error)),
                Err(_) => tries += 1,
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
    }
    Err("the watch broke again and again".into())
}

impl Told {
    fn versions(&self) -> BTreeSet<Version> {
        self.puts.keys().map(|(version, _)| *version).collect()
    }

    /// A version is told once for each of its items; behind a break, the same may be
    /// told again.
    fn add(&mut self, change: Change, stream: u64) -> Result {
        let (Some(version), Some(key)) = (change.version, change.key.clone()) else {
            return Ok(());
        };
        if key.as_str() == MARK {
            return Ok(());
        }
        let before = self
            .puts
            .insert((version, key.clone()), (change.clone(), stream));
        match before {
            Some((same, earlier)) if earlier == stream || same != change => Err(format!(
                "watch told twice that {key} became {version}: {same:?}, then {change:?}"
            )),
            _ => Ok(()),
        }
    }
}
