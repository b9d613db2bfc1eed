//! What was tried, what became of it, and whether the store agrees.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::TryStreamExt;
use holdall_core::{Key, Outcome, Parts, Scan, Scope, Version, json};

use super::{Result, Run, Summary, told};

/// A write that was tried.
#[derive(Clone, Debug)]
pub(super) struct Write {
    pub(super) id: Version,
    /// Keys that it puts, or deletes; in the order of one client, whose own they
    /// are, but for the counter.
    pub(super) puts: Vec<Key>,
    pub(super) deletes: Vec<Key>,
    pub(super) became: Became,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Became {
    Done,
    Failed,
    /// The outcome is unknown, so far.
    Unknown,
}

/// The key that all clients count up.
pub(super) const COUNTER: &str = "counter";

/// All writes, and what became of each.
pub(super) struct Ledger {
    pub(super) writes: Vec<Write>,
}

impl Ledger {
    /// Resolves what is unknown.
    pub(super) async fn settle(
        run: &Run,
        mut writes: Vec<Write>,
        summary: &mut Summary,
    ) -> Result<Self> {
        for write in &mut writes {
            match write.became {
                Became::Done => summary.acknowledged += 1,
                Became::Failed => summary.failed += 1,
                Became::Unknown => {
                    summary.unknown += 1;
                    let witness = write.puts.first().map(|key| (&run.items, key));
                    let outcome = run
                        .surely("resolving", || run.direct.resolve(write.id, witness))
                        .await?;
                    write.became = became(outcome);
                    if write.became == Became::Unknown
                        && run.direct.capabilities().batch.scope == Scope::Store
                    {
                        return Err(format!("batch {} cannot be resolved", write.id));
                    }
                }
            }
        }
        Ok(Self { writes })
    }

    /// Compares it with what is in the store.
    pub(super) async fn compare(&self, run: &Run) -> Result {
        let scan = || {
            let all = Scan::all().parts(Parts::DOC);
            run.direct.scan(&run.items, all).try_collect::<Vec<_>>()
        };
        let items = run.surely("reading all", scan).await?;
        let mut found = BTreeMap::new();
        let is_mark = |key: &Key| key.as_str().starts_with(super::telling::MARK);
        for item in items.into_iter().filter(|item| !is_mark(&item.key)) {
            let doc = item
                .doc()
                .and_then(|doc| doc.value())
                .map_err(told("a doc"))?;
            if doc.get("id") != Some(&json!(item.entry.version.to_string())) {
                return Err(format!("{} has the doc of another version", item.key));
            }
            found.insert(item.key.clone(), (item.entry.version, doc));
        }
        let counted = found.remove(&counter());
        let counted = counted.map_or(0, |(_, doc)| {
            doc.get("n").and_then(|n| n.as_u64()).unwrap_or(0)
        });
        self.compare_counter(counted)?;

        let mut keys: BTreeSet<&Key> = found.keys().collect();
        let own = |write: &&Write| !write.puts.contains(&counter());
        for write in self.writes.iter().filter(own) {
            keys.extend(write.puts.iter().chain(&write.deletes));
        }
        for key in keys {
            let found = found.get(key).map(|(version, _)| *version);
            let possible = self.possible(key);
            if !possible.contains(&found) {
                let history: Vec<_> = self
                    .writes
                    .iter()
                    .filter(|write| write.puts.contains(key) || write.deletes.contains(key))
                    .map(|write| (write.id, write.became, write.deletes.contains(key)))
                    .collect();
                return Err(format!(
                    "{key} should be one of {possible:?}, and is {found:?}; what was written \
                     (id, outcome, whether deleted): {history:?}"
                ));
            }
        }
        Ok(())
    }

    /// The versions that an item may have: that of the last write that happened, or of
    /// one behind it that nobody can tell of.
    fn possible(&self, key: &Key) -> Vec<Option<Version>> {
        let mut possible = vec![None];
        for write in &self.writes {
            let after = if write.puts.contains(key) {
                Some(write.id)
            } else if write.deletes.contains(key) {
                None
            } else {
                continue;
            };
            match write.became {
                Became::Done => possible = vec![after],
                Became::Unknown => possible.push(after),
                Became::Failed => {}
            }
        }
        possible
    }

    fn compare_counter(&self, counted: u64) -> Result {
        let with = |became| {
            let of = |write: &&Write| write.became == became && write.puts.contains(&counter());
            self.writes.iter().filter(of).count() as u64
        };
        let (done, unknown) = (with(Became::Done), with(Became::Unknown));
        if (done..=done + unknown).contains(&counted) {
            Ok(())
        } else {
            Err(format!(
                "the counter shows {counted} after {done} acknowledged increments and {unknown} \
                 that nobody can tell of"
            ))
        }
    }

    /// The versions that were put, or may have been.
    pub(super) fn versions(&self, which: Became) -> BTreeSet<Version> {
        let of = |write: &&Write| write.became == which && !write.puts.is_empty();
        self.writes
            .iter()
            .filter(of)
            .map(|write| write.id)
            .collect()
    }
}

pub(super) fn became(outcome: Outcome) -> Became {
    match outcome {
        Outcome::Committed(_) => Became::Done,
        Outcome::Aborted => Became::Failed,
        Outcome::Unknown => Became::Unknown,
    }
}

pub(super) fn counter() -> Key {
    #[allow(clippy::expect_used, reason = "it is a key")]
    Key::new(COUNTER).expect("a key")
}
