//! Transactions that live on the server between requests.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::extract::State;
use futures_util::{StreamExt, stream};
use holdall_core::{
    CollectionName, Condition, Error, Key, NewBody, Put, Result, Timestamp, Transaction,
    TransactionOptions, Version,
};
use holdall_wire::{QueryShape, names, schema};
use http::{HeaderMap, StatusCode};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::content::Content;
use super::item::Wanted;
use super::params::{Id, Params};
use super::{Api, item, page, put as puts};
use crate::access::{Caller, Verb};
use crate::openapi;
use crate::{Answer, Failure, Limits};

/// The transactions that are open.
#[derive(Debug)]
pub(super) struct Open {
    most: usize,
    most_bytes: u64,
    bytes: Arc<AtomicU64>,
    all: Mutex<HashMap<Version, Held>>,
}

#[derive(Clone, Debug)]
struct Held {
    transaction: Transaction,
    /// Whose it is: the id of a token.
    owner: Option<String>,
    kept: Arc<Kept>,
}

impl Held {
    fn is_open(&self, now: Timestamp) -> bool {
        self.transaction.expires() > now
    }
}

/// The bytes that a transaction keeps.
#[derive(Debug)]
struct Kept {
    all: Arc<AtomicU64>,
    own: AtomicU64,
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.all.fetch_sub(*self.own.get_mut(), Ordering::Relaxed);
    }
}

impl Open {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            most: limits.max_transactions,
            most_bytes: limits.transaction_bytes,
            bytes: Arc::default(),
            all: Mutex::default(),
        }
    }

    fn add(&self, transaction: Transaction, owner: Option<String>, now: Timestamp) -> Result<()> {
        let mut all = self.all.lock();
        if all.len() >= self.most {
            all.retain(|_, held| held.is_open(now));
        }
        if all.len() >= self.most {
            return Err(Error::unavailable(format!(
                "{} transactions are open, as many as this server allows; try again later",
                self.most
            )));
        }
        let kept = Kept {
            all: self.bytes.clone(),
            own: AtomicU64::new(0),
        };
        let id = transaction.id();
        let kept = Arc::new(kept);
        all.insert(
            id,
            Held {
                transaction,
                owner,
                kept,
            },
        );
        Ok(())
    }

    /// How many there are that have not expired.
    pub(super) fn count(&self, now: Timestamp) -> usize {
        let all = self.all.lock();
        all.values().filter(|held| held.is_open(now)).count()
    }

    /// Lets those go that have expired. They stay until room is needed, so that
    /// their clients are told why they are over.
    fn sweep(&self, now: Timestamp) {
        self.all.lock().retain(|_, held| held.is_open(now));
    }

    fn find(&self, id: &str, caller: &Caller) -> Result<Held> {
        let id: Version = id.parse()?;
        let held = self.all.lock().get(&id).cloned();
        // Another's is not told from none.
        held.filter(|held| held.owner.as_deref() == caller.id())
            .ok_or_else(|| {
                Error::not_found(
                    "there is no such transaction: it is over, has expired, or the server began anew. Begin another",
                )
            })
    }

    fn remove(&self, held: &Held) {
        self.all.lock().remove(&held.transaction.id());
    }

    /// Makes room for what a transaction keeps.
    fn keep(&self, held: &Held, bytes: u64, now: Timestamp) -> Result<()> {
        let fits = |sum: u64| sum.checked_add(bytes).filter(|sum| *sum <= self.most_bytes);
        let take = || {
            self.bytes
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits)
        };
        take()
            .or_else(|_| {
                self.sweep(now);
                take()
            })
            .map_err(|_| {
                Error::unavailable(
                    "the open transactions hold as many bytes as this server allows; try again later",
                )
            })?;
        held.kept.own.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }
}

/// Begins a transaction.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Begin {
    /// After so many seconds it is given up; 60 if it is left out.
    #[serde(default)]
    expiry: Option<u64>,
}

/// A transaction that was begun.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct Begun {
    /// Names it, and is the version of what it will put.
    #[schema(value_type = schema::Version)]
    id: String,
    /// When it is given up (RFC 3339).
    #[schema(value_type = schema::Time)]
    expires: String,
}

/// A transaction that was committed.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct Committed {
    /// The version of what it put.
    #[schema(value_type = schema::Version)]
    id: String,
}

/// Begins a transaction
#[utoipa::path(
    post, path = "/v1/transactions", operation_id = "begin", tag = "Transactions",
    request_body = Option<Begin>,
    responses(openapi::Begun, openapi::WithContent, openapi::Usual),
)]
pub(super) async fn begin(
    State(api): State<Api>,
    caller: Caller,
    params: Params,
    content: Content,
) -> Answer {
    params.finish()?;
    caller.may_any(Verb::Write)?;
    let asked: Begin = match content.length() {
        Some(0) => Begin::default(),
        _ => content.json().await?,
    };
    let mut options = TransactionOptions {
        env: api.env().clone(),
        ..TransactionOptions::default()
    };
    let longest = api.limits().transaction_time;
    if let Some(seconds) = asked.expiry {
        options.expiry = Duration::from_secs(seconds);
    }
    if options.expiry > longest {
        return Err(Error::too_large(format!(
            "a transaction of this server expires after {} seconds at most",
            longest.as_secs()
        ))
        .into());
    }
    let transaction = Transaction::begin(api.backend(), &options);
    let begun = Begun {
        id: transaction.id().to_string(),
        expires: transaction.expires().to_string(),
    };
    let owner = caller.id().map(str::to_owned);
    let open = &api.0.transactions;
    open.add(transaction, owner, api.env().now())?;
    super::json(StatusCode::CREATED, &begun)
}

/// Reads an item in a transaction
#[utoipa::path(
    get,
    path = "/v1/transactions/{id}/item",
    operation_id = "get_item_in_transaction",
    tag = "Transactions",
    params(openapi::InTransaction, openapi::ByNames, openapi::ReadingWithin),
    responses(openapi::FoundWithin, openapi::TransactionFailed, openapi::Usual)
)]
pub(super) async fn get(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id,
    mut params: Params,
) -> Answer {
    let (collection, key) = (params.collection()?, params.key()?);
    let wanted = Wanted::whole(params)?;
    caller.may(Verb::Read, &collection)?;
    let held = api.0.transactions.find(&id, &caller)?;
    keep(&api, &held, weight(&key, &Put::default()))?;
    let found = held.transaction.get(&collection, &key).await?;
    let item = found.ok_or_else(|| item::absent(&collection, &key))?;
    item::answer(item, &wanted, &collection, false).await
}

/// Puts an item in a transaction
///
/// At its commit.
#[utoipa::path(
    put, path = "/v1/transactions/{id}/item", operation_id = "put_item_in_transaction", tag = "Transactions",
    params(openapi::InTransaction, openapi::ByNames, openapi::Frame),
    request_body(content(
        (schema::Doc = "application/json"),
        (openapi::Raw = "application/octet-stream"),
        (openapi::Raw = "application/vnd.holdall.item"),
    )),
    responses(openapi::Done, openapi::TransactionFailed, openapi::WithContent, openapi::Usual),
)]
pub(super) async fn put(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id,
    mut params: Params,
    headers: HeaderMap,
    content: Content,
) -> Answer {
    let (collection, key) = (params.collection()?, params.key()?);
    params.finish()?;
    caller.may(Verb::Write, &collection)?;
    refuse_conditions(&headers)?;
    let held = api.0.transactions.find(&id, &caller)?;
    let read = puts::read(&api, &collection, &key, Condition::Any, &headers, content).await;
    let (put, _hold) = read.map_err(|refused| match refused {
        puts::Refused::Early(error) => Failure::from(error),
        puts::Refused::Failed(failure) => failure,
    })?;
    keep(&api, &held, weight(&key, &put))?;
    held.transaction.put(&collection, &key, put)?;
    Ok(super::no_content())
}

/// Deletes an item in a transaction
///
/// At its commit.
#[utoipa::path(
    delete,
    path = "/v1/transactions/{id}/item",
    operation_id = "delete_item_in_transaction",
    tag = "Transactions",
    params(openapi::InTransaction, openapi::ByNames),
    responses(openapi::Done, openapi::TransactionFailed, openapi::Usual)
)]
pub(super) async fn delete(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id,
    mut params: Params,
    headers: HeaderMap,
) -> Answer {
    let (collection, key) = (params.collection()?, params.key()?);
    params.finish()?;
    caller.may(Verb::Write, &collection)?;
    refuse_conditions(&headers)?;
    let held = api.0.transactions.find(&id, &caller)?;
    keep(&api, &held, weight(&key, &Put::default()))?;
    held.transaction.delete(&collection, &key)?;
    Ok(super::no_content())
}

fn keep(api: &Api, held: &Held, bytes: u64) -> Result<()> {
    api.0.transactions.keep(held, bytes, api.env().now())
}

/// The conditions of a transaction are what it has read.
fn refuse_conditions(headers: &HeaderMap) -> Result<()> {
    if super::conditions::has_any(headers) || headers.contains_key(names::BATCH) {
        return Err(Error::invalid(
            "a write in a transaction takes no If-Match, If-None-Match or Holdall-Batch: \
             read the item in the transaction, and the commit checks it",
        ));
    }
    Ok(())
}

/// About how many bytes a transaction keeps of a write, or remembers of a read.
fn weight(key: &Key, put: &Put) -> u64 {
    const FRAME: usize = 256;
    let body = match &put.body {
        NewBody::Bytes(bytes) => bytes.len(),
        NewBody::None | NewBody::Staged(_) => 0,
    };
    let attrs = put.attrs.encode().len();
    (FRAME + key.as_str().len() + put.doc.as_bytes().len() + attrs + body) as u64
}

/// Finds items in a transaction
///
/// As it will be with its writes.
#[utoipa::path(
    post, path = "/v1/transactions/{id}/query", operation_id = "query_in_transaction", tag = "Transactions",
    params(openapi::InTransaction, openapi::InCollection),
    request_body = QueryShape,
    responses(openapi::PageOfLines, openapi::TransactionFailed, openapi::WithContent, openapi::Usual),
)]
pub(super) async fn query(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id,
    mut params: Params,
    content: Content,
) -> Answer {
    let collection: CollectionName = params.collection()?;
    params.finish()?;
    caller.may(Verb::Read, &collection)?;
    let held = api.0.transactions.find(&id, &caller)?;
    let asked: QueryShape = content.json().await?;
    let (query, limit) = page::query_of(&api, &asked)?;
    let items = held.transaction.query(&collection, query.clone()).await?;
    let remembered = items.iter().map(|item| weight(&item.key, &Put::default()));
    keep(&api, &held, remembered.sum())?;
    let items = stream::iter(items.into_iter().map(Ok)).boxed();
    page::of_query(&api, asked.parts(), &query, limit, items).await
}

/// Commits a transaction
///
/// 409 says that something that was read has changed.
#[utoipa::path(
    post,
    path = "/v1/transactions/{id}/commit",
    operation_id = "commit",
    tag = "Transactions",
    params(openapi::InTransaction),
    responses(openapi::Committed, openapi::TransactionFailed, openapi::Usual)
)]
pub(super) async fn commit(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id,
    params: Params,
) -> Answer {
    params.finish()?;
    caller.may_any(Verb::Write)?;
    let held = api.0.transactions.find(&id, &caller)?;
    let committed = held.transaction.commit().await;
    api.0.transactions.remove(&held);
    let id = committed?.to_string();
    super::json(StatusCode::OK, &Committed { id })
}

/// Gives a transaction up
#[utoipa::path(
    delete,
    path = "/v1/transactions/{id}",
    operation_id = "rollback",
    tag = "Transactions",
    params(openapi::InTransaction),
    responses(openapi::Done, openapi::TransactionFailed, openapi::Usual)
)]
pub(super) async fn rollback(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id,
    params: Params,
) -> Answer {
    params.finish()?;
    caller.may_any(Verb::Write)?;
    let held = api.0.transactions.find(&id, &caller)?;
    held.transaction.rollback();
    api.0.transactions.remove(&held);
    Ok(super::no_content())
}
