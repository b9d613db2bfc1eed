//! How anything changes: the next number of the log is taken, and all else is done with
//! it, in one transaction.
//!
//! Numbers are taken one after the other. So what was read when the last number was
//! known is still so when the next one is taken: conditions, unique values and the
//! catalogue need no conditions of their own.

use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_dynamodb::types::{AttributeValue, CancellationReason, TransactWriteItem};
use hashbrown::HashMap;
use holdall_core::{ChangeKind, CollectionName, Error, Key, Result, Timestamp, Version};
use tokio::time::Instant;

use super::Shared;
use super::catalogue::{self, Collection};
use super::row::{Place, Row, texts};
use super::sent::Sent;
use super::table::{Range, Transacted};

/// The most actions of a transaction.
const MAX_ACTIONS: usize = 100;

/// The end of the log, and what was read since.
pub(super) struct Head {
    pub(super) seq: u64,
    catalogue: HashMap<CollectionName, Option<Arc<Collection>>>,
}

impl Head {
    async fn read(shared: &Shared) -> Result<Self> {
        Ok(Self {
            seq: newest(shared).await?,
            catalogue: HashMap::new(),
        })
    }

    /// A collection, as of this number.
    pub(super) async fn collection(
        &mut self,
        shared: &Shared,
        name: &CollectionName,
    ) -> Result<Option<Arc<Collection>>> {
        if let Some(known) = self.catalogue.get(name) {
            return Ok(known.clone());
        }
        let read = catalogue::read(shared, name).await?;
        self.catalogue.insert(name.clone(), read.clone());
        Ok(read)
    }
}

/// The last number of the log.
pub(super) async fn newest(shared: &Shared) -> Result<u64> {
    let range = Range {
        reverse: true,
        limit: 1,
        ..Range::default()
    };
    let (rows, _) = shared.table.query(&shared.log(), &range).await?;
    rows.first().map_or(Ok(0), seq_of)
}

/// The number of a row of the log.
pub(super) fn seq_of(row: &Row) -> Result<u64> {
    let text = row.text("s")?;
    text.parse()
        .map_err(|_| super::error::damaged("the log of changes"))
}

/// A change as the log has it.
pub(super) struct Logged {
    pub(super) collection: CollectionName,
    pub(super) key: Option<Key>,
    pub(super) kind: ChangeKind,
    pub(super) previous: Option<Version>,
}

impl Logged {
    fn value(&self) -> AttributeValue {
        let mut row = Row::default()
            .with_text("k", self.kind.name())
            .with_text("c", self.collection.as_str());
        if let Some(key) = &self.key {
            row = row.with_text("i", key.as_str());
        }
        if let Some(previous) = self.previous {
            row = row.with_bytes("v", *previous.as_bytes());
        }
        AttributeValue::M(row.into_values())
    }
}

/// What a transaction is to do, beside taking the next number.
pub(super) struct Plan<T> {
    pub(super) id: Version,
    pub(super) actions: Vec<TransactWriteItem>,
    pub(super) changes: Vec<Logged>,
    /// For each put, when its item was first put.
    pub(super) created: Vec<Timestamp>,
    /// Large bodies that no item has any more.
    pub(super) bodies: Vec<String>,
    /// Partitions that nobody reads any more.
    pub(super) partitions: Vec<String>,
    /// Rows of indexes that name versions of items that are replaced.
    pub(super) hints: Vec<Place>,
    /// The batch is given up.
    pub(super) aborts: bool,
    /// What the catalogue is then.
    pub(super) learns: Vec<(CollectionName, Option<Arc<Collection>>)>,
    pub(super) answer: T,
}

impl<T> Plan<T> {
    pub(super) fn new(id: Version, answer: T) -> Self {
        Self {
            id,
            actions: Vec::new(),
            changes: Vec::new(),
            created: Vec::new(),
            bodies: Vec::new(),
            partitions: Vec::new(),
            hints: Vec::new(),
            aborts: false,
            learns: Vec::new(),
            answer,
        }
    }

    fn rows(&self, shared: &Shared, seq: u64, now: Timestamp, token: Version) -> [Row; 2] {
        let log = Row::at(&shared.log_place(seq))
            .with_bytes("b", *self.id.as_bytes())
            .with_number("t", now.as_micros())
            .with(
                "c",
                AttributeValue::L(self.changes.iter().map(Logged::value).collect()),
            )
            .with("d", texts(self.bodies.iter().cloned()))
            .with("g", texts(self.partitions.iter().cloned()))
            .with("i", texts(self.hints.iter().map(Place::to_string)));
        let created = self.created.iter();
        let created = created.map(|time| AttributeValue::N(time.as_micros().to_string()));
        let batch = Row::at(&shared.batch_place(self.id))
            .with_number("t", now.as_micros())
            .with_bytes("o", *token.as_bytes())
            .with("c", AttributeValue::L(created.collect()));
        let batch = match self.aborts {
            true => batch.with_text("x", "aborted"),
            false => batch,
        };
        [log, batch]
    }
}

/// Makes plans: again and again, until one meets the state that it was made for.
#[async_trait]
pub(super) trait Planner: Sync {
    type Answer: Send;

    /// What to do, or an answer where nothing is to be done.
    async fn plan(
        &self,
        head: &mut Head,
        now: Timestamp,
    ) -> Result<Result<Plan<Self::Answer>, Self::Answer>>;
}

/// Why a transaction was cancelled.
enum Met {
    /// The batch with this id is there.
    Batch { aborted: bool },
    /// Others were faster, or are at it.
    Others,
    /// It is refused.
    Refused(Error),
}

/// Does what a planner says.
///
/// # Errors
/// Those of the planner; `Conflict` or `Expired` if the id was used or given up. What was
/// sent and not answered makes the outcome unknown.
pub(super) async fn commit<P: Planner>(shared: &Shared, planner: &P) -> Result<P::Answer> {
    let deadline = shared.table.deadline();
    let sent = Sent::default();
    for attempt in 0.. {
        // Those of this process wait for each other here, and not in the database.
        let mut turn = shared.head.lock().await;
        shared.check_open()?;
        let head = match &mut *turn {
            Some(head) => head,
            empty => empty.insert(Head::read(shared).await?),
        };
        let now = shared.options.env.now();
        let plan = match planner.plan(head, now).await {
            Ok(Ok(plan)) => plan,
            Ok(Err(answer)) => return Ok(answer),
            Err(error) => {
                // Refused for what is there: perhaps others have changed it.
                if newest(shared).await? == head.seq || Instant::now() >= deadline {
                    return Err(error);
                }
                *turn = None;
                continue;
            }
        };
        let seq = head.seq + 1;
        match attempt_to(shared, &plan, seq, now, &sent).await {
            Ok(None) => {
                head.seq = seq;
                for (name, collection) in plan.learns {
                    shared.known.learn(&name, collection.as_ref());
                    head.catalogue.insert(name, collection);
                }
                shared.bell.ring();
                return Ok(plan.answer);
            }
            Ok(Some(Met::Batch { aborted: true })) => {
                return Err(Error::expired(
                    "the batch was given up by `resolve` before it arrived; make a new one",
                ));
            }
            // It may be one of those that were sent and not answered.
            Ok(Some(Met::Batch { aborted: false })) if sent.is_open() => {
                return Err(sent.unknown(
                    Error::unavailable("DynamoDB did not say what became of the batch")
                        .in_backend("dynamodb"),
                ));
            }
            Ok(Some(Met::Batch { aborted: false })) => {
                return Err(Error::conflict(
                    "a batch with this id was committed already; an id is used once",
                ));
            }
            Ok(Some(Met::Refused(error))) => return Err(sent.unknown(error)),
            Ok(Some(Met::Others)) => *turn = None,
            Err(error) => {
                *turn = None;
                return Err(sent.unknown(error));
            }
        }
        drop(turn);
        if Instant::now() >= deadline {
            break;
        }
        // Short, as one process that writes all the time leaves others little room.
        shared.table.pause(attempt.min(3)).await;
    }
    let error = Error::unavailable(
        "too many write to the store at once; each write of a store in DynamoDB waits for the one before. Try again",
    );
    Err(sent.unknown(error.in_backend("dynamodb")))
}

async fn attempt_to<T>(
    shared: &Shared,
    plan: &Plan<T>,
    seq: u64,
    now: Timestamp,
    sent: &Sent,
) -> Result<Option<Met>> {
    let table = &shared.table;
    let count = plan.actions.len() + 2;
    if count > MAX_ACTIONS {
        return Ok(Some(Met::Refused(Error::too_large(format!(
            "the batch takes {count} actions with its unique values and staged bodies, and DynamoDB does {MAX_ACTIONS} at once; write less at once"
        )))));
    }
    let token = shared.options.env.version();
    let mut actions = plan.actions.clone();
    for row in plan.rows(shared, seq, now, token) {
        actions.push(table.creating(row)?);
    }
    let reasons = match table.transact(actions, token, sent).await? {
        Transacted::Done => return Ok(None),
        Transacted::Cancelled(reasons) => reasons,
    };
    let failed = |reason: &CancellationReason| reason.code() == Some("ConditionalCheckFailed");
    if let Some(batch) = reasons.last().filter(|reason| failed(reason)) {
        let row = batch.item().cloned().map(Row::of);
        let row = match row.filter(|row| row.time("t").is_ok()) {
            Some(row) => row,
            None => {
                let row = table.get(&shared.batch_place(plan.id)).await?;
                row.unwrap_or_default()
            }
        };
        // The library sent it again, and the server had forgotten the token.
        if row.bytes("o")? == Some(token.as_bytes()) {
            return Ok(None);
        }
        let aborted = row.text_or_none("x")?.is_some();
        return Ok(Some(Met::Batch { aborted }));
    }
    for reason in &reasons {
        match reason.code() {
            None
            | Some(
                "None"
                | "ConditionalCheckFailed"
                | "TransactionConflict"
                | "ThrottlingError"
                | "ProvisionedThroughputExceeded",
            ) => {}
            Some(code) => {
                let said = reason.message().unwrap_or_default();
                return Ok(Some(Met::Refused(
                    Error::other(format!("DynamoDB refused the batch: {code} ({said})"))
                        .in_backend("dynamodb"),
                )));
            }
        }
    }
    Ok(Some(Met::Others))
}

impl Shared {
    pub(super) fn log(&self) -> String {
        self.partition("log")
    }

    /// The row of a number of the log.
    pub(super) fn log_place(&self, seq: u64) -> Place {
        Place::new(self.log(), format!("{seq:020}"))
    }

    /// The row that tells what became of a batch.
    pub(super) fn batch_place(&self, id: Version) -> Place {
        Place::new(self.partition(&format!("batch/{id}")), "-")
    }
}
