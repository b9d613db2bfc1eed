//! The conformance suite on backends that each break one promise: the suite
//! has to notice, in the case that is about it. A suite that passes whatever
//! it is given would pass every other test here.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{StreamExt, TryStreamExt};
use holdall_core::conformance::{Options, Report, Status, Target, run};
use holdall_core::{
    Action, Backend, Batch, ByteStream, Capabilities, ChangeStream, CollectionName, Condition,
    EntryField, Env, Error, Filter, GetOptions, Group, Index, Item, ItemStream, Key, MemoryBackend,
    NewBody, Outcome, Parts, Path, Query, Result, Scan, Sort, Staged, Version, WatchFrom, Written,
    byte_stream,
};

/// What a backend does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// None: the suite passes.
    None,
    /// Checks conditions before the batch instead of at commit.
    ChecksEarly,
    /// Leaves out the checks of a batch.
    IgnoresChecks,
    /// Writes the operations of a batch one by one.
    WritesOneByOne,
    /// Gives its own id to every batch.
    ChangesIds,
    /// Keeps keys without surrounding white space.
    TrimsKeys,
    /// Keeps keys in lower case.
    FoldsKeys,
    /// Takes an empty body for none.
    DropsEmptyBodies,
    /// Ignores the range that was asked for.
    IgnoresRanges,
    /// Scans ascending whatever was asked for.
    NeverReverses,
    /// Includes the key that a scan should start behind.
    StartsAtAfter,
    /// Leaves unique indexes undeclared.
    ForgetsUnique,
    /// Says that a batch is aborted without remembering it.
    ForgetsAborts,
    /// Loses every fifth change of a watch.
    LosesChanges,
    /// Tells every version as the previous one.
    NoPrevious,
    /// Breaks ties by ascending key, whatever the direction.
    TiesAscend,
    /// Rounds integers to floats.
    RoundsNumbers,
    /// Counts without the filter.
    CountsAll,
    /// Works on after close.
    StaysOpen,
    /// Takes stages that fail in the middle for complete.
    SwallowsStreamErrors,
    /// Leaves its items when a collection is dropped.
    KeepsDropped,
    /// Answers get_many without the absent.
    SkipsAbsent,
    /// Ignores the version that a get asks for.
    IgnoresIfVersion,
    /// Reads an item in two steps.
    TornReads,
    /// Declares room for one operation more than there is.
    OverstatesLimits,
    /// Cuts a query off after an offset that it counted twice.
    DoubleOffset,
    /// Writes half of the batch before it first waits.
    NotCancelSafe,
}

#[derive(Debug)]
struct Broken {
    inner: MemoryBackend,
    fault: Fault,
    told: Arc<AtomicU64>,
    env: Env,
}

impl Broken {
    fn is(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    fn key(&self, key: &Key) -> Key {
        let text = key.as_str();
        match self.fault {
            Fault::TrimsKeys if !text.trim().is_empty() => {
                Key::new(text.trim()).unwrap_or_else(|_| key.clone())
            }
            Fault::FoldsKeys => Key::new(text.to_lowercase()).unwrap_or_else(|_| key.clone()),
            _ => key.clone(),
        }
    }

    /// Checks as if nothing could change between this and the write.
    async fn check_early(&self, batch: &Batch) -> Result<()> {
        for operation in batch.operations() {
            let options = GetOptions::parts(Parts::ENTRY);
            let found = self
                .inner
                .get(&operation.collection, &operation.key, options)
                .await?;
            let version = found.map(|item| item.entry.version);
            operation.condition.check(operation, version)?;
        }
        tokio::task::yield_now().await;
        Ok(())
    }

    async fn write_one_by_one(&self, batch: Batch) -> Result<Written> {
        let (mut id, mut entries) = (self.env.version(), Vec::new());
        for operation in batch.operations() {
            let mut one = match batch.id() {
                Some(id) if entries.is_empty() => Batch::with_id(id),
                _ => Batch::new(),
            };
            one.push(operation.clone());
            let written = self.inner.write(one).await?;
            id = written.id;
            entries.extend(written.entries);
            tokio::task::yield_now().await;
        }
        Ok(Written { id, entries })
    }
}

#[async_trait]
impl Backend for Broken {
    fn capabilities(&self) -> Capabilities {
        let mut can = self.inner.capabilities();
        if self.is(Fault::OverstatesLimits) {
            can.batch.max_ops += 1;
        }
        can
    }

    async fn get(
        &self,
        collection: &CollectionName,
        key: &Key,
        mut options: GetOptions,
    ) -> Result<Option<Item>> {
        match self.fault {
            Fault::IgnoresRanges => options.range = None,
            Fault::IgnoresIfVersion => options.if_version = None,
            _ => {}
        }
        let mut item = self.inner.get(collection, &self.key(key), options).await?;
        if self.is(Fault::TornReads) && options.parts.body {
            tokio::task::yield_now().await;
            let later = self.inner.get(collection, key, options).await?;
            if let (Some(item), Some(later)) = (&mut item, later) {
                item.body = later.body;
            }
        }
        if self.is(Fault::DropsEmptyBodies)
            && let Some(item) = &mut item
            && item.entry.size == 0
        {
            item.body = None;
        }
        Ok(item)
    }

    async fn get_many(
        &self,
        collection: &CollectionName,
        keys: &[Key],
        parts: Parts,
    ) -> Result<Vec<Option<Item>>> {
        let keys: Vec<_> = keys.iter().map(|key| self.key(key)).collect();
        let mut found = self.inner.get_many(collection, &keys, parts).await?;
        if self.is(Fault::SkipsAbsent) {
            found.retain(Option::is_some);
        }
        Ok(found)
    }

    async fn stage(&self, collection: &CollectionName, body: ByteStream) -> Result<Staged> {
        if !self.is(Fault::SwallowsStreamErrors) {
            return self.inner.stage(collection, body).await;
        }
        let pieces: Vec<_> = body
            .take_while(|piece| std::future::ready(piece.is_ok()))
            .try_collect::<Vec<_>>()
            .await?;
        self.inner
            .stage(collection, byte_stream(pieces.concat()))
            .await
    }

    async fn write(&self, mut batch: Batch) -> Result<Written> {
        for operation in batch.operations_mut() {
            operation.key = self.key(&operation.key);
            if let (Fault::RoundsNumbers, Action::Put(put)) = (self.fault, &mut operation.action) {
                let rounded = put
                    .doc
                    .to_string()
                    .replace("9007199254740993", "9007199254740992");
                put.doc = rounded.parse()?;
            }
        }
        match self.fault {
            Fault::ChecksEarly => {
                self.check_early(&batch).await?;
                batch
                    .operations_mut()
                    .iter_mut()
                    .for_each(|operation| operation.condition = Condition::Any);
            }
            Fault::IgnoresChecks => {
                for operation in batch.operations_mut() {
                    if matches!(operation.action, Action::Check) {
                        operation.condition = Condition::Any;
                    }
                }
            }
            Fault::WritesOneByOne => return self.write_one_by_one(batch).await,
            Fault::NotCancelSafe if batch.operations().len() > 1 => {
                // As it is done where nobody thought of it.
                return self.write_one_by_one(batch).await;
            }
            Fault::ChangesIds => {
                let mut other = Batch::new();
                batch
                    .operations()
                    .iter()
                    .cloned()
                    .for_each(|operation| other.push(operation));
                batch = other;
            }
            Fault::DropsEmptyBodies => {
                for operation in batch.operations_mut() {
                    if let Action::Put(put) = &mut operation.action
                        && matches!(&put.body, NewBody::Bytes(bytes) if bytes.is_empty())
                    {
                        put.body = NewBody::None;
                    }
                }
            }
            _ => {}
        }
        self.inner.write(batch).await
    }

    fn scan(&self, collection: &CollectionName, mut scan: Scan) -> ItemStream {
        match self.fault {
            Fault::NeverReverses => scan.reverse = false,
            Fault::StartsAtAfter => {
                if let Some(after) = scan.after.take().filter(|_| !scan.reverse) {
                    let found = self.inner.scan(
                        collection,
                        Scan {
                            limit: None,
                            ..scan.clone()
                        },
                    );
                    let limit =
                        usize::try_from(scan.limit.unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
                    return found
                        .try_filter(move |item| {
                            std::future::ready(item.key.as_str() >= after.as_str())
                        })
                        .take(limit)
                        .boxed();
                }
            }
            _ => {}
        }
        self.inner.scan(collection, scan)
    }

    fn query(&self, collection: &CollectionName, mut query: Query) -> ItemStream {
        match self.fault {
            Fault::DoubleOffset => query.offset = query.offset.saturating_mul(2),
            Fault::TiesAscend
                if query.sort.last().is_some_and(|sort| sort.descending)
                    && query.after.is_none() =>
            {
                query.sort.push(Sort::by(Path::Entry(EntryField::Key)));
            }
            _ => {}
        }
        self.inner.query(collection, query)
    }

    async fn count(&self, collection: &CollectionName, filter: &Filter) -> Result<u64> {
        let all = Filter::all();
        self.inner
            .count(
                collection,
                if self.is(Fault::CountsAll) {
                    &all
                } else {
                    filter
                },
            )
            .await
    }

    async fn count_by(
        &self,
        collection: &CollectionName,
        filter: &Filter,
        path: &Path,
    ) -> Result<Vec<Group>> {
        self.inner.count_by(collection, filter, path).await
    }

    async fn define(&self, collection: &CollectionName, indexes: &[Index]) -> Result<()> {
        if self.is(Fault::ForgetsUnique) {
            return indexes.iter().try_for_each(Index::validate);
        }
        self.inner.define(collection, indexes).await
    }

    async fn collections(&self) -> Result<Vec<CollectionName>> {
        self.inner.collections().await
    }

    async fn drop_collection(&self, collection: &CollectionName) -> Result<()> {
        if self.is(Fault::KeepsDropped) {
            return Ok(());
        }
        self.inner.drop_collection(collection).await
    }

    async fn resolve(
        &self,
        id: Version,
        witness: Option<(&CollectionName, &Key)>,
    ) -> Result<Outcome> {
        if self.is(Fault::ForgetsAborts) && id.check_batch_id(self.env.now()).is_ok() {
            // Asked of another store, this one does not remember it.
            return MemoryBackend::new().resolve(id, witness).await;
        }
        self.inner.resolve(id, witness).await
    }

    async fn watch(
        &self,
        collection: Option<&CollectionName>,
        from: WatchFrom,
    ) -> Result<ChangeStream> {
        let (changes, told, fault) = (
            self.inner.watch(collection, from).await?,
            self.told.clone(),
            self.fault,
        );
        let changed = changes.try_filter_map(move |mut change| {
            let number = told.fetch_add(1, Ordering::Relaxed);
            if fault == Fault::NoPrevious {
                change.previous = change.version;
            }
            let lost = fault == Fault::LosesChanges && number % 5 == 3;
            std::future::ready(Ok((!lost).then_some(change)))
        });
        Ok(changed.boxed())
    }

    async fn health(&self) -> Result<()> {
        self.inner.health().await
    }

    async fn close(&self) -> Result<()> {
        if self.is(Fault::StaysOpen) {
            return Ok(());
        }
        self.inner.close().await
    }
}

/// Runs the cases whose names hold `filter`.
#[allow(clippy::panic, reason = "a helper of tests")]
async fn report(fault: Fault, filter: &str) -> Report {
    let target = Target::new(format!("broken: {fault:?}"), move |_| async move {
        let broken = Broken {
            inner: MemoryBackend::new(),
            fault,
            told: Arc::default(),
            env: Env::system(),
        };
        Ok(Arc::new(broken) as holdall_core::DynBackend)
    });
    let options = Options {
        filter: Some(filter.to_owned()),
        steps: 1500,
        timeout: Duration::from_secs(60),
        patience: Duration::from_secs(2),
        ..Options::default()
    };
    match run(target, options).await {
        Ok(report) => report,
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_is_noticed_where_its_promise_is_tried() {
    let mut unnoticed = Vec::new();
    for (fault, case) in [
        (Fault::ChecksEarly, "races/one-creator"),
        (Fault::ChecksEarly, "races/increments"),
        (Fault::ChecksEarly, "races/linearizable"),
        (Fault::ChecksEarly, "races/transfers"),
        (Fault::IgnoresChecks, "races/write-skew"),
        (Fault::IgnoresChecks, "transactions/write-skew"),
        (Fault::IgnoresChecks, "conditions/hold-as-declared"),
        (Fault::WritesOneByOne, "atomic/failed-condition"),
        (Fault::WritesOneByOne, "atomic/readers-see-batches-whole"),
        (Fault::WritesOneByOne, "indexes/unique-after-the-batch"),
        (Fault::ChangesIds, "entries/version-is-the-batch-id"),
        (Fault::ChangesIds, "resolve/committed"),
        (Fault::ChangesIds, "differential/without-indexes"),
        (Fault::TrimsKeys, "keys/byte-for-byte"),
        (Fault::FoldsKeys, "keys/byte-for-byte"),
        (Fault::FoldsKeys, "differential/without-indexes"),
        (Fault::DropsEmptyBodies, "entries/body-none-or-empty"),
        (Fault::IgnoresRanges, "entries/ranges"),
        (Fault::NeverReverses, "scan/every-form"),
        (Fault::NeverReverses, "differential/without-indexes"),
        (Fault::StartsAtAfter, "scan/every-form"),
        (Fault::StartsAtAfter, "scan/pages-while-others-write"),
        (Fault::ForgetsUnique, "indexes/unique"),
        (Fault::ForgetsUnique, "races/one-owner-of-a-unique-value"),
        (Fault::ForgetsUnique, "differential/with-unique-indexes"),
        (Fault::ForgetsAborts, "resolve/aborts-for-good"),
        (Fault::LosesChanges, "watch/concurrent-writers"),
        (Fault::LosesChanges, "watch/resumes"),
        (Fault::NoPrevious, "watch/tells-changes"),
        (Fault::TiesAscend, "sorts/ties-by-key"),
        (Fault::TiesAscend, "differential/without-indexes"),
        (Fault::RoundsNumbers, "docs/values"),
        (Fault::RoundsNumbers, "filters/table"),
        (Fault::CountsAll, "filters/table"),
        (Fault::StaysOpen, "life/closed"),
        (Fault::SwallowsStreamErrors, "bodies/stream-fails"),
        (Fault::KeepsDropped, "collections/dropped"),
        (Fault::SkipsAbsent, "entries/get-many"),
        (Fault::IgnoresIfVersion, "conditions/get-if-version"),
        (Fault::TornReads, "atomic/get-is-whole"),
        (Fault::OverstatesLimits, "limits/operations"),
        (Fault::DoubleOffset, "pages/by-offset"),
        (Fault::NotCancelSafe, "cancel/write"),
    ] {
        let report = report(fault, case).await;
        if report.failed() == 0 {
            unnoticed.push((fault, case));
        } else {
            assert!(report.to_string().contains("promise: "), "{report}");
        }
    }
    assert!(unnoticed.is_empty(), "these went unnoticed: {unnoticed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_cases_pass_without_a_fault_and_what_is_not_claimed_is_listed() {
    let report = report(Fault::None, "e").await;
    assert_eq!(report.failed(), 0, "{report}");
    assert!(report.passed() > 80);
    let listed = report
        .results
        .iter()
        .find(|result| result.name == "life/reopened")
        .unwrap();
    assert!(matches!(&listed.status, Status::NotClaimed(why) if why.contains("gone")));
    assert!(report.to_string().contains("life/reopened: not claimed"));
}

#[tokio::test]
async fn a_store_that_cannot_be_opened_is_an_error() {
    let target = Target::new("nowhere:", |_| async {
        Err(Error::unavailable("there is nothing here"))
    });
    let error = run(target, Options::default()).await.unwrap_err();
    assert!(error.to_string().contains("nothing here"));
    let bad = Options::from_settings(|name| (name == "HOLDALL_STEPS").then(|| "many".to_owned()));
    assert!(bad.unwrap_err().to_string().contains("HOLDALL_STEPS"));
}

#[tokio::test]
async fn speed_is_told_when_it_is_asked_for() {
    let target = Target::new("memory:", |_| async { Ok(MemoryBackend::new().into()) });
    let options = Options {
        filter: Some("life/healthy".into()),
        speed: true,
        ..Options::default()
    };
    let report = run(target, options).await.unwrap();
    assert_eq!(report.speed.len(), 4, "{report}");
    assert!(report.speed.iter().all(|speed| speed.per_second() > 0.0));
    assert!(report.to_string().contains("a second"));
}

#[tokio::test]
async fn a_report_for_programs_names_all_that_was_found() {
    let folder = std::env::temp_dir().join(format!("holdall-report-{}", std::process::id()));
    let path = folder.to_str().unwrap().to_owned();
    let target = Target::new("memory:", |_| async { Ok(MemoryBackend::new().into()) });
    let options = Options {
        filter: Some("life/".into()),
        ..Options::from_settings(|name| (name == "HOLDALL_REPORT").then(|| path.clone())).unwrap()
    };
    let report = run(target.stands_on("nothing\tmuch"), options)
        .await
        .unwrap();
    let lines = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert_eq!(lines, report.lines());
    let lines: Vec<_> = lines.lines().collect();
    assert_eq!(lines[0], "on\tnothing much");
    assert!(lines.contains(&"can\tbatch.scope\tStore"), "{lines:?}");
    let starts = |start: &str| lines.iter().filter(|line| line.starts_with(start)).count();
    assert_eq!(starts("can\t"), 12);
    assert_eq!(starts("case\tlife/"), report.results.len());
    assert_eq!(starts("speed\t"), 4);
    let reopened = lines
        .iter()
        .find(|line| line.starts_with("case\tlife/reopened\t"));
    let reopened: Vec<_> = reopened.unwrap().split('\t').collect();
    assert_eq!(
        reopened[3..],
        ["not claimed", "the store is gone when it is closed"]
    );
}
