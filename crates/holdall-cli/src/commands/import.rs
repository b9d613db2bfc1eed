//! `import`: the items of JSON lines, in batches.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use holdall::{
    Batch, BatchLimits, CollectionName, Condition, Digest, Doc, DynBackend, Error, Key, NewBody,
    Outcome, Parts, Put, Retry, Scope, Store,
};
use serde_json::json;
use tokio::sync::mpsc;

use crate::args::Import;
use crate::exit::Failure;
use crate::input;
use crate::interrupt::Interrupt;
use crate::lines::{self, Content, Line, LineBody, NewItem, at_line, damaged};
use crate::output::Output;
use crate::progress::Progress;
use crate::store::{Access, Door};

/// The most items and bytes of a batch, where the store allows that.
const MAX_ITEMS: usize = 1000;
const MAX_BYTES: u64 = 8 * 1024 * 1024;

/// A body of more bytes is staged before its batch.
const INLINE: usize = 256 * 1024;

type Lines = mpsc::Receiver<holdall::Result<Line>>;

pub(crate) async fn run(
    door: &Door,
    output: &mut Output,
    wanted: Import,
    interrupt: &Interrupt,
) -> Result<(), Failure> {
    let key = wanted
        .key
        .as_deref()
        .map(holdall::Path::parse)
        .transpose()?;
    let progress = Progress::of_bytes(length_of(&wanted.file));
    let reader = input::open(&wanted.file)?;
    let mut lines = lines::read(reader, key, wanted.from_line);
    let store = door.open(Access::Any).await?;
    let mut import = Importer::new(store, wanted.collection).await?;
    let result = import.all(&mut lines, interrupt, &progress).await;
    drop(progress);
    let (imported, unchanged) = (import.imported, import.unchanged);
    match result {
        Ok(true) if output.tables() => output.line(&format!(
            "{imported} items imported, {unchanged} were there already"
        )),
        Ok(true) => output.json(&json!({"imported": imported, "unchanged": unchanged})),
        Ok(false) => Err(Failure::Interrupted(Some(import.so_far()))),
        Err(error) => Err(Error::new(
            error.kind(),
            error.retry(),
            format!(
                "{error}. Nothing of its batch was written; {}",
                import.so_far()
            ),
        )
        .into()),
    }
}

fn length_of(path: &Path) -> Option<u64> {
    let meta = std::fs::metadata(path).ok()?;
    meta.is_file().then_some(meta.len())
}

struct Importer {
    store: Store,
    collection: CollectionName,
    limits: BatchLimits,
    /// Whether there may be items that need not be put again.
    compare: bool,
    pending: Vec<Pending>,
    keys: BTreeSet<Key>,
    bytes: u64,
    imported: u64,
    unchanged: u64,
    /// Everything up to this line is in the store.
    done: u64,
}

struct Pending {
    number: u64,
    key: Key,
    doc: Doc,
    body: NewBody,
}

impl Importer {
    async fn new(store: &Store, collection: CollectionName) -> Result<Self, Failure> {
        let can = store.backend().capabilities();
        let limits = BatchLimits {
            scope: can.batch.scope,
            max_ops: match can.batch.scope {
                Scope::Item => 1,
                Scope::Collection | Scope::Store => can.batch.max_ops.clamp(1, MAX_ITEMS),
            },
            max_bytes: (can.batch.max_bytes / 2).min(MAX_BYTES),
        };
        let compare = store.backend().collections().await?.contains(&collection);
        Ok(Self {
            store: store.clone(),
            collection,
            limits,
            compare,
            pending: Vec::new(),
            keys: BTreeSet::new(),
            bytes: 0,
            imported: 0,
            unchanged: 0,
            done: 0,
        })
    }

    fn backend(&self) -> &DynBackend {
        self.store.backend()
    }

    fn so_far(&self) -> String {
        let (imported, unchanged, done) = (self.imported, self.unchanged, self.done);
        if done == 0 {
            return "nothing was imported".into();
        }
        format!(
            "the lines up to {done} are in the store ({imported} imported, {unchanged} there already), and \
             another run skips them"
        )
    }

    /// Imports all lines; answers false if it was interrupted.
    async fn all(
        &mut self,
        lines: &mut Lines,
        interrupt: &Interrupt,
        progress: &Progress,
    ) -> holdall::Result<bool> {
        loop {
            let line = tokio::select! {
                biased;
                () = interrupt.came() => return Ok(false),
                line = lines.recv() => line,
            };
            let Some(line) = line else {
                break;
            };
            let line = line?;
            match line.content {
                Content::Part(_) => {
                    let lost =
                        Error::invalid("it is a part of a body, and no item stands before it");
                    return Err(at_line(line.number, &lost));
                }
                Content::Item(item) => self.add(*item, line.number, lines).await?,
            }
            progress.at(line.end, format!("{} items", self.imported));
            if interrupt.is_there() {
                return Ok(false);
            }
        }
        self.flush().await?;
        Ok(true)
    }

    async fn add(&mut self, item: NewItem, number: u64, lines: &mut Lines) -> holdall::Result<()> {
        let NewItem { key, doc, body } = item;
        // An item stands in a batch once; of two lines the later one counts.
        if self.keys.contains(&key) {
            self.flush().await?;
        }
        let (body, last) = match body {
            LineBody::None => (NewBody::None, number),
            LineBody::Here(body) if body.len() > INLINE => {
                let pieces = holdall::byte_stream(body);
                let staged = self.backend().stage(&self.collection, pieces).await?;
                (NewBody::Staged(staged), number)
            }
            LineBody::Here(body) => (NewBody::Bytes(body), number),
            LineBody::Parts {
                count,
                size,
                digest,
            } => {
                let end = number.saturating_add(count);
                if self.is_there(&key, &doc, Some(digest)).await? {
                    self.skip(lines, number, count).await?;
                    self.flush().await?;
                    self.unchanged += 1;
                    self.done = end;
                    return Ok(());
                }
                let body = self.stage(lines, number, count, size, digest).await?;
                (body, end)
            }
        };
        let inline = match &body {
            NewBody::Bytes(bytes) => bytes.len(),
            NewBody::None | NewBody::Staged(_) => 0,
        };
        let bytes = (key.as_str().len() + doc.as_bytes().len() + inline) as u64;
        if self.bytes + bytes > self.limits.max_bytes {
            self.flush().await?;
        }
        // The lease of a staged body runs.
        let at_once = matches!(body, NewBody::Staged(_));
        self.bytes += bytes;
        self.keys.insert(key.clone());
        self.pending.push(Pending {
            number: last,
            key,
            doc,
            body,
        });
        if at_once || self.pending.len() >= self.limits.max_ops {
            self.flush().await?;
        }
        Ok(())
    }

    /// Writes what is pending, all or nothing.
    async fn flush(&mut self) -> holdall::Result<()> {
        let pending = std::mem::take(&mut self.pending);
        self.keys.clear();
        self.bytes = 0;
        let (Some(first), Some(last)) = (pending.first(), pending.last()) else {
            return Ok(());
        };
        let (first, last) = (first.number, last.number);
        let all = pending.len() as u64;
        let fresh = if self.compare {
            self.without_equal(pending).await?
        } else {
            pending
        };
        let put = fresh.len() as u64;
        if !fresh.is_empty() {
            self.write(fresh).await.map_err(|error| {
                let lines = if first == last {
                    format!("line {first}")
                } else {
                    format!("lines {first} to {last}")
                };
                Error::new(error.kind(), error.retry(), format!("{lines}: {error}"))
            })?;
        }
        self.imported += put;
        self.unchanged += all - put;
        self.done = last;
        Ok(())
    }

    async fn write(&self, items: Vec<Pending>) -> holdall::Result<()> {
        let id = self.store.env().version();
        let mut batch = Batch::with_id(id);
        let witness = items.first().map(|item| item.key.clone());
        for Pending { key, doc, body, .. } in items {
            let put = Put {
                doc,
                body,
                ..Put::default()
            };
            batch = batch.put(&self.collection, &key, Condition::Any, put);
        }
        let Err(error) = self.backend().write(batch).await else {
            return Ok(());
        };
        if error.retry() == Retry::Unknown {
            let witness = witness.as_ref().map(|key| (&self.collection, key));
            if let Ok(Outcome::Committed(_)) = self.backend().resolve(id, witness).await {
                return Ok(());
            }
        }
        Err(error)
    }

    /// Those that are not in the store already.
    async fn without_equal(&self, pending: Vec<Pending>) -> holdall::Result<Vec<Pending>> {
        let keys: Vec<_> = pending.iter().map(|item| item.key.clone()).collect();
        let found = self
            .backend()
            .get_many(&self.collection, &keys, Parts::DOC)
            .await?;
        let mut fresh = Vec::new();
        for (item, there) in pending.into_iter().zip(found) {
            let equal = there.is_some_and(|there| {
                there.entry.digest == item.body.measure().1 && there.doc.as_ref() == Some(&item.doc)
            });
            if !equal {
                fresh.push(item);
            }
        }
        Ok(fresh)
    }

    async fn is_there(
        &self,
        key: &Key,
        doc: &Doc,
        digest: Option<Digest>,
    ) -> holdall::Result<bool> {
        if !self.compare {
            return Ok(false);
        }
        let options = holdall::GetOptions::parts(Parts::DOC);
        let found = self.backend().get(&self.collection, key, options).await?;
        Ok(found.is_some_and(|item| item.entry.digest == digest && item.doc.as_ref() == Some(doc)))
    }

    /// Passes over the parts of a body.
    async fn skip(&self, lines: &mut Lines, number: u64, count: u64) -> holdall::Result<()> {
        for _ in 0..count {
            next_part(lines, number).await?;
        }
        Ok(())
    }

    /// Takes a body in from its parts, as they are read.
    async fn stage(
        &self,
        lines: &mut Lines,
        number: u64,
        count: u64,
        size: u64,
        digest: Digest,
    ) -> holdall::Result<NewBody> {
        // The stream must live for itself, so the parts go through a channel.
        let (sender, receiver) = mpsc::channel::<holdall::Result<Bytes>>(1);
        let bytes = Arc::new(AtomicU64::new(0));
        let counted = bytes.clone();
        let pieces = input::received(receiver).chain(stream::empty());
        let staging = self.backend().stage(&self.collection, pieces.boxed());
        let feeding = async move {
            for _ in 0..count {
                let part = next_part(lines, number).await;
                let failed = part.as_ref().err().map(|error| at_line(number, error));
                if let Ok(part) = &part {
                    counted.fetch_add(part.len() as u64, Ordering::Relaxed);
                }
                if sender.send(part).await.is_err() {
                    return Ok(());
                }
                if let Some(error) = failed {
                    return Err(error);
                }
            }
            Ok(())
        };
        let (staged, fed) = tokio::join!(staging, feeding);
        fed?;
        let staged = staged?;
        if staged.digest != digest || staged.size != size {
            return Err(at_line(number, &damaged()));
        }
        Ok(NewBody::Staged(staged))
    }
}

async fn next_part(lines: &mut Lines, number: u64) -> holdall::Result<Bytes> {
    match lines.recv().await.transpose()? {
        Some(Line {
            content: Content::Part(part),
            ..
        }) => Ok(part),
        _ => Err(Error::invalid(format!(
            "the body of line {number} lacks parts; the input was cut short"
        ))),
    }
}
