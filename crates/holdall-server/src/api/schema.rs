//! Collections and indexes.

use axum::extract::State;
use holdall_core::{Error, Index, Result};
use holdall_wire::Indexes;
use http::StatusCode;
use serde::Serialize;

use super::Api;
use super::content::Content;
use super::params::Params;
use crate::Answer;
use crate::access::{Caller, Verb};
use crate::openapi;

/// The collections that have items.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct Collections {
    /// By name.
    collections: Vec<String>,
}

/// Lists the collections that have items
#[utoipa::path(
    get,
    path = "/v1/collections",
    operation_id = "collections",
    tag = "Collections",
    responses(openapi::Collections, openapi::Usual)
)]
pub(super) async fn collections(State(api): State<Api>, caller: Caller, params: Params) -> Answer {
    params.finish()?;
    caller.may_any(Verb::Read)?;
    let all = api.backend().collections().await?;
    let seen = all
        .into_iter()
        .filter(|name| caller.reaches(Verb::Read, name));
    let collections = seen.map(|name| name.as_str().to_owned()).collect();
    super::json(StatusCode::OK, &Collections { collections })
}

/// Drops a collection
///
/// Its items and its indexes.
#[utoipa::path(
    delete,
    path = "/v1/collections",
    operation_id = "drop_collection",
    tag = "Collections",
    params(openapi::InCollection),
    responses(openapi::Done, openapi::MayBeUnsupported, openapi::Usual)
)]
pub(super) async fn drop(State(api): State<Api>, caller: Caller, mut params: Params) -> Answer {
    let collection = params.collection()?;
    params.finish()?;
    caller.may(Verb::Admin, &collection)?;
    api.backend().drop_collection(&collection).await?;
    Ok(super::no_content())
}

/// Declares indexes
#[utoipa::path(
    post, path = "/v1/indexes", operation_id = "define_indexes", tag = "Collections",
    params(openapi::InCollection),
    request_body = Indexes,
    responses(openapi::Done, openapi::MayBeUnsupported, openapi::WithContent, openapi::Usual),
)]
pub(super) async fn define(
    State(api): State<Api>,
    caller: Caller,
    mut params: Params,
    content: Content,
) -> Answer {
    const MOST: usize = 64;
    let collection = params.collection()?;
    params.finish()?;
    caller.may(Verb::Admin, &collection)?;
    let wanted: Indexes = content.json().await?;
    if wanted.indexes.len() > MOST {
        return Err(Error::too_large(format!(
            "{} indexes are declared at once; the limit is {MOST}",
            wanted.indexes.len()
        ))
        .into());
    }
    let indexes = wanted.indexes.iter().map(|index| index.read());
    let indexes = indexes.collect::<Result<Vec<Index>>>()?;
    api.backend().define(&collection, &indexes).await?;
    Ok(super::no_content())
}
