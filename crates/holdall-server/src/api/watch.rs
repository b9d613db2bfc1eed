//! Changes, as server-sent events.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::{StreamExt, TryStreamExt, stream};
use holdall_core::{Change, ChangeStream, CollectionName, Error, Result, WatchFrom};
use holdall_wire::{ChangeShape, Problem};
use http::{HeaderMap, HeaderName};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::params::Params;
use super::{Api, conditions};
use crate::Answer;
use crate::access::{Caller, Verb};
use crate::openapi;

/// How often a comment shows that the connection lives.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// How often a watch without changes looks whether its token is still good.
const RECHECK: Duration = Duration::from_secs(60);

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
    let events = stream::unfold(
        Some(Watching {
            changes,
            caller,
            place,
        }),
        |watching| async { watching?.next().await },
    );
    let opening = stream::once(async { Event::default().comment("watching") });
    let ending = api.0.ending.clone().cancelled_owned();
    let all = opening.chain(events).take_until(ending);
    Ok(Sse::new(all.map(Ok::<_, Infallible>))
        .keep_alive(KeepAlive::new().interval(HEARTBEAT))
        .into_response())
}

/// A watch that goes on. It has a place among the watchers until it ends.
struct Watching {
    changes: ChangeStream,
    caller: Caller,
    #[allow(dead_code, reason = "it counts until it is dropped")]
    place: OwnedSemaphorePermit,
}

impl Watching {
    /// The next event, and what goes on behind it: nothing behind an error.
    async fn next(mut self) -> Option<(Event, Option<Self>)> {
        match self.next_change().await {
            Ok(None) => None,
            Ok(Some(change)) => {
                let event = Event::default()
                    .id(change.cursor.to_string())
                    .event(change.kind.name())
                    .data(text(&ChangeShape::from(&change)));
                Some((event, Some(self)))
            }
            Err(error) => {
                let event = Event::default()
                    .event("error")
                    .data(text(&Problem::of(&error)));
                Some((event, None))
            }
        }
    }

    async fn next_change(&mut self) -> Result<Option<Change>> {
        loop {
            let Ok(next) = timeout(RECHECK, self.changes.try_next()).await else {
                self.caller.still_good().await?;
                continue;
            };
            let Some(change) = next? else {
                return Ok(None);
            };
            if self.caller.reaches(Verb::Watch, &change.collection) {
                // What happens behind the end of a token is none of its business.
                self.caller.still_good().await?;
                return Ok(Some(change));
            }
        }
    }
}

fn text(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
