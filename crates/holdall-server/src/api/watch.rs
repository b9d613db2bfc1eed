//! Changes, as server-sent events.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::{Stream, StreamExt, stream};
use holdall_core::{Change, CollectionName, Error, Result, WatchFrom};
use holdall_wire::{ChangeShape, Problem};
use http::{HeaderMap, HeaderName};
use tokio::sync::OwnedSemaphorePermit;

use super::params::Params;
use super::{Api, conditions};
use crate::Answer;
use crate::access::{Caller, Verb};
use crate::openapi;

/// How often a comment shows that the connection lives.
const HEARTBEAT: Duration = Duration::from_secs(15);

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Tells of changes
///
/// As server-sent events. Every change comes at least once, those of one key in their
/// order.
#[utoipa::path(
    get,
    path = "/v1/watch",
    operation_id = "watch",
    tag = "Watching",
    params(openapi::Watching),
    responses(openapi::Changes, openapi::Usual)
)]
pub(super) async fn watch(
    State(api): State<Api>,
    caller: Caller,
    mut params: Params,
    headers: HeaderMap,
) -> Answer {
    let collection = params.text("collection").map(CollectionName::new);
    let collection = collection.transpose()?;
    let from = params.text("from");
    params.finish()?;
    match &collection {
        Some(name) => caller.may(Verb::Watch, name)?,
        None => caller.may_any(Verb::Watch)?,
    }
    let last = conditions::text(&headers, &LAST_EVENT_ID)?.map(str::to_owned);
    let from = match last.or(from) {
        None => WatchFrom::Now,
        Some(cursor) => WatchFrom::After(cursor.parse()?),
    };
    let place = api.0.watchers.clone().try_acquire_owned();
    let place = place.map_err(|_| {
        Error::unavailable("as many watch already as this server allows; try again later")
    })?;
    let changes = api.backend().watch(collection.as_ref(), from).await?;
    let seen = changes.filter_map(move |change| {
        let seen = match &change {
            Ok(change) => caller.reaches(Verb::Watch, &change.collection),
            Err(_) => true,
        };
        std::future::ready(seen.then_some(change))
    });
    let ending = api.0.ending.clone();
    let events = seen.take_until(ending.cancelled_owned());
    Ok(Sse::new(told(events, place))
        .keep_alive(KeepAlive::new().interval(HEARTBEAT))
        .into_response())
}

/// The events of changes; the place among the watchers is free again when they
/// end.
fn told(
    changes: impl Stream<Item = Result<Change>> + Send + 'static,
    place: OwnedSemaphorePermit,
) -> impl Stream<Item = Result<Event, Infallible>> + Send + 'static {
    let opening = stream::once(async { Event::default().comment("watching") });
    // An error ends the stream of changes.
    let events = changes.map(move |change| {
        let _ = &place;
        match change {
            Ok(change) => Event::default()
                .id(change.cursor.to_string())
                .event(change.kind.name())
                .data(text(&ChangeShape::from(&change))),
            Err(error) => Event::default()
                .event("error")
                .data(text(&Problem::of(&error))),
        }
    });
    opening.chain(events).map(Ok)
}

fn text(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
