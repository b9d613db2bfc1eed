//! Lines for whoever must know who did what: refused calls, and those that
//! change more than items.
//!
//! They are events of `tracing` with the target `holdall::audit`. What came from
//! outside is written as Rust writes strings, so that nothing forges a line; no
//! secret is in them, as none is handed to this file.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use axum::extract::MatchedPath;
use axum::http::{Method, StatusCode};
use holdall_core::{CollectionName, Error};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::scope::Verb;
use super::token::{Token, TokenId};
use crate::Peer;

/// Refused calls of one token, or of all without one, that are written in a
/// second. Who is refused may go on as often as they like, and the log must
/// not be filled by it; a token of its own is not hidden by the noise of
/// others.
const LINES: u32 = 10;

/// The most lines of a second.
const ALL_LINES: u32 = 200;

/// The call that a line is about.
#[derive(Clone, Debug)]
pub(super) struct Call {
    method: Method,
    route: Option<MatchedPath>,
    peer: Option<SocketAddr>,
}

impl Call {
    pub(super) fn of<B>(request: &axum::http::Request<B>) -> Self {
        let extensions = request.extensions();
        Self {
            method: request.method().clone(),
            route: extensions.get().cloned(),
            peer: extensions.get::<Peer>().and_then(Peer::address),
        }
    }

    /// The route and not the path, in which keys stand.
    fn route(&self) -> &str {
        self.route.as_ref().map_or("none", MatchedPath::as_str)
    }

    fn peer(&self) -> Option<tracing::field::DisplayValue<SocketAddr>> {
        self.peer.map(tracing::field::display)
    }
}

/// Writes the lines.
#[derive(Debug, Default)]
pub(super) struct Audit(Mutex<Window>);

/// What was written in this second.
#[derive(Debug, Default)]
struct Window {
    start: Option<Instant>,
    lines: HashMap<Option<TokenId>, u32>,
    all: u32,
    left_out: u64,
}

impl Window {
    /// Whether there is room for a line; if so, how many were left out before.
    fn room(&mut self, now: Instant, who: Option<&TokenId>) -> Option<u64> {
        let over = |start| now.duration_since(start) >= Duration::from_secs(1);
        if self.start.is_none_or(over) {
            self.start = Some(now);
            self.lines.clear();
            self.all = 0;
        }
        // Those who have lines are no more than the lines are.
        let own = self.lines.get(&who.cloned()).copied().unwrap_or(0);
        if own >= LINES || self.all >= ALL_LINES {
            self.left_out += 1;
            return None;
        }
        self.lines.insert(who.cloned(), own + 1);
        self.all += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

impl Audit {
    /// A call that was refused.
    pub(super) fn refused(
        &self,
        call: &Call,
        who: Option<&TokenId>,
        status: StatusCode,
        error: &Error,
    ) {
        let room = self.0.lock().room(Instant::now(), who);
        let Some(left_out) = room else {
            return;
        };
        tracing::warn!(
            target: "holdall::audit",
            token = who.map(TokenId::as_str),
            method = call.method.as_str(),
            route = call.route(),
            collection = error.collection().map(tracing::field::debug),
            outcome = status.as_u16(),
            peer = call.peer(),
            left_out = (left_out > 0).then_some(left_out),
            reason = ?error.message(),
            "refused"
        );
    }

    /// A call that changes more than items, and what became of it. None is
    /// left out: they are few, as it takes a token that allows them.
    pub(super) fn administered(
        &self,
        call: &Call,
        who: Option<&TokenId>,
        verb: Verb,
        collection: &CollectionName,
        outcome: Option<StatusCode>,
    ) {
        tracing::info!(
            target: "holdall::audit",
            token = who.map(TokenId::as_str),
            method = call.method.as_str(),
            route = call.route(),
            collection = ?collection,
            outcome = outcome.map_or("cut off", |status| if status.is_success() { "done" } else { "failed" }),
            status = outcome.map(|status| status.as_u16()),
            peer = call.peer(),
            "{verb}"
        );
    }
}

/// What happened to a token itself.
pub(super) fn token(what: &str, token: &Token) {
    let grant = &token.grant;
    tracing::info!(
        target: "holdall::audit",
        token = token.id.as_str(),
        name = ?token.name,
        verbs = ?grant.verbs(),
        collections = ?grant.collections(),
        expires = token.expires.map(tracing::field::debug),
        "token {what}"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_refused_calls_is_counted_and_not_written() {
        let mut window = Window::default();
        let anyone = |window: &mut Window| window.room(Instant::now(), None);
        for _ in 0..LINES {
            assert_eq!(anyone(&mut window), Some(0));
        }
        for _ in 0..5 {
            assert_eq!(anyone(&mut window), None);
        }
        // It does not hide what is done with a token.
        let id: TokenId = "00000000000000aa".parse().unwrap();
        assert_eq!(window.room(Instant::now(), Some(&id)), Some(5));
        assert_eq!(anyone(&mut window), None);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(anyone(&mut window), Some(1));
        assert_eq!(anyone(&mut window), Some(0));
        // Many tokens together have a limit, too.
        let mut written = 2;
        for number in 0..10_000 {
            let id: TokenId = format!("{number:016x}").parse().unwrap();
            written += u32::from(window.room(Instant::now(), Some(&id)).is_some());
        }
        assert_eq!(written, ALL_LINES);
        assert!(window.lines.len() <= ALL_LINES as usize);
    }
}
