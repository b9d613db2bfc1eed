//! One of the clients that write at once.

use std::sync::Arc;
use std::time::Duration;

use holdall_core::{
    Batch, Condition, Conditions, Doc, DynBackend, Env, Error, ErrorKind, GetOptions, Key, Put,
    Result as Answer, Retry, Scope, SystemClock, Version, byte_stream, json,
};

use super::ledger::{Became, Write, became, counter};
use super::{Result, Run, told};

pub(super) struct Client {
    run: Arc<Run>,
    store: DynBackend,
    number: u64,
    env: Env,
    /// Changes when the outcome of a write of the client's own keys is unknown and
    /// cannot be resolved: that could still come behind what is written next.
    age: u64,
    tried: Vec<Write>,
}

/// The body of a staged put.
const BODY: usize = 100_000;

/// How long a client waits before it goes on when the server is away.
const PAUSE: Duration = Duration::from_millis(20);

impl Client {
    pub(super) fn new(run: Arc<Run>, store: DynBackend, number: u64) -> Self {
        Self {
            store,
            number,
            env: Env::seeded(SystemClock, run.seed.wrapping_mul(1000) + number),
            run,
            age: 0,
            tried: Vec::new(),
        }
    }

    /// Writes until enough was answered, and answers all that was tried.
    pub(super) async fn write(mut self) -> Result<Vec<Write>> {
        // A server that dies is away for a while; one that stays away is a failure.
        const MOST: u64 = 100;
        let (mut answered, mut tries) = (0, 0);
        while answered < self.run.options.writes {
            tries += 1;
            if tries > MOST * self.run.options.writes {
                return Err(format!(
                    "client {} had {answered} writes answered in {tries} tries",
                    self.number
                ));
            }
            let went = match self.env.below(8) {
                0 | 1 => self.put(true).await?,
                2 => self.put(false).await?,
                3 => self.pair().await?,
                4 => self.delete().await?,
                5 => self.large().await?,
                6 => self.increment().await?,
                _ => self.read().await?,
            };
            if went {
                answered += 1;
                self.run.count();
            } else {
                tokio::time::sleep(PAUSE).await;
            }
        }
        Ok(self.tried)
    }

    fn key(&self, name: impl std::fmt::Display) -> Result<Key> {
        let text = format!("{}-{}-{name}", self.number, self.age);
        Key::new(text).map_err(told("a key"))
    }

    fn doc(&self, id: Version, n: u64) -> Result<Put> {
        let doc = json!({"id": id.to_string(), "client": self.number, "n": n});
        Ok(Put::doc(Doc::from_value(&doc).map_err(told("a doc"))?))
    }

    /// An item that was never there, or one in the place of another.
    async fn put(&mut self, is_new: bool) -> Result<bool> {
        let id = self.env.version();
        let (key, condition) = if is_new {
            (self.key(id)?, Condition::Absent)
        } else {
            (self.key("same")?, Condition::Any)
        };
        let batch = Batch::with_id(id).put(&self.run.items, &key, condition, self.doc(id, 0)?);
        self.commit(batch, id, vec![key], vec![]).await
    }

    /// Two items at once, where a batch may hold two.
    async fn pair(&mut self) -> Result<bool> {
        let limits = self.store.capabilities().batch;
        if limits.scope == Scope::Item || limits.max_ops < 2 {
            return self.put(false).await;
        }
        let id = self.env.version();
        let (left, right) = (self.key("left")?, self.key("right")?);
        let batch = Batch::with_id(id)
            .put(&self.run.items, &left, Condition::Any, self.doc(id, 1)?)
            .put(&self.run.items, &right, Condition::Any, self.doc(id, 2)?);
        self.commit(batch, id, vec![left, right], vec![]).await
    }

    async fn delete(&mut self) -> Result<bool> {
        let id = self.env.version();
        let key = self.key("same")?;
        let batch = Batch::with_id(id).delete(&self.run.items, &key, Condition::Any);
        self.commit(batch, id, vec![], vec![key]).await
    }

    /// An item whose body was staged before.
    async fn large(&mut self) -> Result<bool> {
        if self.store.capabilities().max_body < BODY as u64 {
            return self.put(true).await;
        }
        let id = self.env.version();
        let body = vec![b'x'; BODY];
        let staging = self.store.stage(&self.run.items, byte_stream(body));
        let staged = match self.run.in_time("staging", staging).await? {
            Ok(staged) => staged,
            Err(error) => return self.excuse("staging", &error),
        };
        let key = self.key("large")?;
        let doc = self.doc(id, 0)?.doc;
        let put = Put::staged(staged).with_doc(doc);
        let batch = Batch::with_id(id).put(&self.run.items, &key, Condition::Any, put);
        self.commit(batch, id, vec![key], vec![]).await
    }

    /// Counts up what all clients count up.
    async fn increment(&mut self) -> Result<bool> {
        if self.store.capabilities().conditions < Conditions::Full {
            return self.put(false).await;
        }
        let key = counter();
        let reading = self.store.get(&self.run.items, &key, GetOptions::default());
        let (condition, n) = match self.run.in_time("reading", reading).await? {
            Ok(Some(item)) => {
                let doc = item
                    .doc()
                    .and_then(|doc| doc.value())
                    .map_err(told("a doc"))?;
                let n = doc.get("n").and_then(|n| n.as_u64()).unwrap_or(0);
                (Condition::Version(item.entry.version), n)
            }
            Ok(None) => (Condition::Absent, 0),
            Err(error) => return self.excuse("reading", &error),
        };
        let id = self.env.version();
        let batch = Batch::with_id(id).put(&self.run.items, &key, condition, self.doc(id, n + 1)?);
        self.commit(batch, id, vec![key], vec![]).await
    }

    /// Reads what it wrote: whole, or an error.
    async fn read(&mut self) -> Result<bool> {
        let key = self.key("large")?;
        let reading = async {
            let read = self.store.get(&self.run.items, &key, GetOptions::default());
            let Some(item) = read.await? else {
                return Ok(None);
            };
            let (entry, doc) = (item.entry, item.doc()?.value()?);
            let body = item.into_body()?.bytes(BODY).await?;
            Answer::Ok(Some((entry, doc, body)))
        };
        match self.run.in_time("reading", reading).await? {
            Ok(None) => Ok(true),
            Ok(Some((entry, doc, body))) => {
                let is_whole = doc.get("id") == Some(&json!(entry.version.to_string()))
                    && body.len() == BODY
                    && body.iter().all(|byte| *byte == b'x');
                is_whole
                    .then_some(true)
                    .ok_or_else(|| format!("{key} was read half, or mixed"))
            }
            Err(error) => self.excuse("reading", &error),
        }
    }

    /// Writes a batch and keeps what was told of it. Answers whether it was told as
    /// done.
    async fn commit(
        &mut self,
        batch: Batch,
        id: Version,
        puts: Vec<Key>,
        deletes: Vec<Key>,
    ) -> Result<bool> {
        let shared = puts.contains(&counter());
        let answer = self.run.in_time("a write", self.store.write(batch)).await?;
        let (told, went) = match answer {
            Ok(written) if written.id != id => {
                return Err(format!("{id} was acknowledged as {}", written.id));
            }
            Ok(_) => (Became::Done, true),
            Err(error) if error.retry() == Retry::Unknown => {
                (self.resolve(id, puts.first()).await?, false)
            }
            // Another client was faster.
            Err(error) if shared && error.kind() == ErrorKind::Conflict => (Became::Failed, true),
            Err(error) => (Became::Failed, self.excuse("a write", &error)?),
        };
        self.tried.push(Write {
            id,
            puts,
            deletes,
            became: told,
        });
        Ok(went)
    }

    /// Asks what became of a batch, as an application would, a few times.
    async fn resolve(&mut self, id: Version, witness: Option<&Key>) -> Result<Became> {
        for _ in 0..3 {
            let witness = witness.map(|key| (&self.run.items, key));
            let resolving = self.store.resolve(id, witness);
            match self.run.in_time("resolving", resolving).await? {
                Ok(outcome) if became(outcome.clone()) != Became::Unknown => {
                    return Ok(became(outcome));
                }
                Ok(_) => break,
                Err(error) => drop(self.excuse("resolving", &error)?),
            }
            tokio::time::sleep(PAUSE).await;
        }
        self.age += 1;
        Ok(Became::Unknown)
    }

    /// An error that a broken connection explains, or a failure.
    fn excuse(&self, what: &str, error: &Error) -> Result<bool> {
        match error.kind() {
            ErrorKind::Unavailable | ErrorKind::Timeout => Ok(false),
            kind => Err(format!(
                "client {}: {what} failed as {}, which no broken connection explains: {error}",
                self.number,
                kind.name()
            )),
        }
    }
}
