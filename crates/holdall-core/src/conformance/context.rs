//! What a case works with.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::runner::Options;
use super::{Check, Failure, Target};
use crate::{
    Batch, Capabilities, CollectionName, Condition, Doc, DynBackend, Env, Key, ManualClock, Put,
    Result, Scope, SystemClock, Timestamp, Value,
};

/// What a case works with: a store, names that nobody else uses, and
/// everything random from one seed.
///
/// Clones are of the same case.
#[derive(Clone)]
pub struct Context(Arc<Inner>);

struct Inner {
    case: &'static str,
    target: Target,
    store: DynBackend,
    options: Options,
    seed: u64,
    env: Env,
    used: Mutex<Vec<CollectionName>>,
}

/// Counts names within this process; together with the time they are unique in
/// the store too.
static NAMES: AtomicU64 = AtomicU64::new(0);

impl Context {
    pub(super) fn new(
        case: &'static str,
        target: &Target,
        store: DynBackend,
        options: &Options,
        seed: u64,
    ) -> Self {
        // Cases differ in what they do with the seed, so that adding one does
        // not change the others.
        let own = case.bytes().fold(seed, |sum, byte| {
            sum.wrapping_mul(0x0100_0000_01b3).wrapping_add(byte.into())
        });
        Self(Arc::new(Inner {
            case,
            target: target.clone(),
            store,
            options: options.clone(),
            seed,
            env: Env::seeded(SystemClock, own),
            used: Mutex::default(),
        }))
    }

    /// The store, which other cases use too.
    pub fn store(&self) -> &DynBackend {
        &self.0.store
    }

    /// Another handle, which is this case's alone and may be closed. It is on
    /// the same store if that [`reopens`](Target::reopens), else on an empty
    /// one.
    ///
    /// # Errors
    /// Those of opening.
    pub async fn open(&self) -> Result<DynBackend> {
        self.0.target.open().await
    }

    /// An empty store whose clock the case sets.
    ///
    /// # Errors
    /// Those of opening.
    pub async fn open_with_clock(&self) -> Result<(DynBackend, ManualClock, Env)> {
        let clock = ManualClock::at(Timestamp::from_micros(1_700_000_000_000_000));
        // Not the same ids in every case: some openers name their files so.
        let number = NAMES.fetch_add(1, Ordering::Relaxed);
        let env = Env::seeded(clock.clone(), self.0.seed ^ number);
        let store = self.0.target.open_with_env(env.clone()).await?;
        Ok((store, clock, env))
    }

    /// What the store can do.
    pub fn can(&self) -> Capabilities {
        self.0.store.capabilities()
    }

    /// The seed of the whole run.
    pub fn seed(&self) -> u64 {
        self.0.seed
    }

    /// How it is run.
    pub fn options(&self) -> &Options {
        &self.0.options
    }

    pub(super) fn target(&self) -> &Target {
        &self.0.target
    }

    /// The system's clock, and randomness from the seed.
    pub fn env(&self) -> &Env {
        &self.0.env
    }

    /// Randomness from the seed: the same for the same case and number.
    pub fn rng(&self, number: u64) -> StdRng {
        let name = self.0.case.bytes().fold(self.0.seed ^ number, |sum, byte| {
            sum.wrapping_mul(0x0100_0000_01b3).wrapping_add(byte.into())
        });
        StdRng::seed_from_u64(name)
    }

    /// The name of a collection that nobody else uses. It is dropped after the
    /// case.
    ///
    /// # Errors
    /// If `name` is longer than 30 bytes.
    pub fn collection(&self, name: &str) -> Result<CollectionName, Failure> {
        let number = NAMES.fetch_add(1, Ordering::Relaxed);
        let process = std::process::id();
        let now = self.0.env.now().as_micros() / 1000 % 0x1_0000_0000;
        self.use_collection(&format!("t{now:x}-{process:x}-{number:x}-{name}"))
    }

    /// A collection of this very name. It is dropped after the case.
    ///
    /// # Errors
    /// If the name is none.
    pub fn use_collection(&self, name: &str) -> Result<CollectionName, Failure> {
        let name = CollectionName::new(name)?;
        self.0.used.lock().push(name.clone());
        Ok(name)
    }

    /// Puts docs, in batches as large as the store takes them.
    ///
    /// # Errors
    /// Those of writing.
    pub fn fill(
        &self,
        collection: &CollectionName,
        docs: impl IntoIterator<Item = (impl AsRef<str>, Value)>,
    ) -> impl Future<Output = Check> + Send {
        self.fill_in(self.store(), collection, docs)
    }

    /// Puts docs into another store.
    ///
    /// # Errors
    /// Those of writing.
    pub fn fill_in(
        &self,
        store: &DynBackend,
        collection: &CollectionName,
        docs: impl IntoIterator<Item = (impl AsRef<str>, Value)>,
    ) -> impl Future<Output = Check> + Send {
        // Read before the future is made, which then holds no iterator of the
        // caller's: the compiler finds such futures not to be `Send`.
        let docs: Vec<_> = docs
            .into_iter()
            .map(|(key, doc)| (key.as_ref().to_owned(), doc))
            .collect();
        fill(store.clone(), collection.clone(), docs)
    }

    /// Drops what the case has used. Errors are not reported: the case said
    /// already what is wrong.
    pub(super) async fn clean(&self) {
        let used = std::mem::take(&mut *self.0.used.lock());
        for collection in used {
            let _ = self.0.store.drop_collection(&collection).await;
        }
    }
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context")
            .field("case", &self.0.case)
            .finish_non_exhaustive()
    }
}

async fn fill(store: DynBackend, collection: CollectionName, docs: Vec<(String, Value)>) -> Check {
    let limits = store.capabilities().batch;
    let most = match limits.scope {
        Scope::Item => 1,
        Scope::Collection | Scope::Store => limits.max_ops.min(100),
    };
    let mut batch = Batch::new();
    for (key, doc) in docs {
        let put = Put::doc(Doc::from_value(&doc)?);
        batch = batch.put(&collection, &Key::new(key)?, Condition::Any, put);
        if batch.operations().len() == most || batch.bytes() > limits.max_bytes / 4 {
            store.write(std::mem::take(&mut batch)).await?;
        }
    }
    if !batch.operations().is_empty() {
        store.write(batch).await?;
    }
    Ok(())
}
