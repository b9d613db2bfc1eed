//! Audit lines, and that no secret is ever in them, or anywhere.
#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::string_slice,
    reason = "a test fails by panicking"
)]

mod common;

use std::io::Write;
use std::sync::Arc;

use common::Asked;
use holdall_core::{DynBackend, Env, MemoryBackend};
use holdall_server::Limits;
use holdall_server::access::{Access, Grant, NewToken, TokenId, Tokens, Verb};
use parking_lot::Mutex;
use tracing_subscriber::fmt::MakeWriter;

/// Keeps what is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;
    fn make_writer(&self) -> Self {
        self.clone()
    }
}

impl Log {
    /// The lines since the last call.
    fn take(&self) -> Vec<String> {
        let bytes = std::mem::take(&mut *self.0.lock());
        let text = String::from_utf8(bytes).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    /// The one line, in which all of these stand.
    #[track_caller]
    fn tells(&self, parts: &[&str]) -> String {
        let lines = self.take();
        assert_eq!(lines.len(), 1, "{lines:#?}");
        for part in parts {
            assert!(lines[0].contains(part), "{part:?} in {lines:?}");
        }
        lines[0].clone()
    }
}

/// One test: what is logged is of the whole process.
#[tokio::test(start_paused = true)]
async fn who_did_what_is_told_and_no_secret_is() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(log.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);

    let kept: DynBackend = MemoryBackend::new().into();
    let tokens = Tokens::new(kept, Env::system()).unwrap();
    let access = Access::tokens(tokens.clone());
    let mut shown = format!("{tokens:?} {access:?}");
    let limits = Limits {
        max_rate: 20,
        ..Limits::default()
    };
    let server = Asked::with_access(MemoryBackend::new().into(), limits, access);

    let grant = Grant::new([Verb::Read, Verb::Admin], ["c*".parse().unwrap()]).unwrap();
    let new = NewToken {
        name: "the reporter".into(),
        grant,
        expires: None,
    };
    shown += &format!("{new:?}");
    let (token, secret) = tokens.create(new).await.unwrap();
    let id = token.id.as_str();
    shown += &format!("{token:?} {secret:?} {:?}", tokens.list().await.unwrap());
    let mut all = vec![log.tells(&["holdall::audit", "token created", id, "the reporter", "c*"])];
    let who = format!("\nauthorization: Bearer {}", secret.reveal());
    let told = async |line: &str| {
        let told = server.ask(line, "").await;
        (told.status.as_u16(), told.text().to_owned())
    };

    // What is allowed and changes items alone is no audit line.
    let (status, text) = told(&format!("GET /v1/items/c/absent{who}")).await;
    assert_eq!(status, 404);
    shown += &text;
    assert_eq!(log.take(), Vec::<String>::new());

    // Refused: no token, the wrong one, out of reach. The route is told and
    // not the path, in which keys stand.
    for (headers, parts) in [
        (String::new(), vec!["401"]),
        (
            format!("\nauthorization: Bearer hld_{id}_{}", "0".repeat(64)),
            vec!["401", id],
        ),
        (
            format!("\nauthorization: Bearer {}x", secret.reveal()),
            vec!["401"],
        ),
        (format!("\nauthorization: {}", secret.reveal()), vec!["401"]),
        (format!("{who}{who}"), vec!["401"]),
        (
            format!("{who}\norigin: http://evil.example"),
            vec!["403", "another site"],
        ),
    ] {
        let (_, text) = told(&format!("GET /v1/items/c/private{headers}")).await;
        shown += &text;
        let mut parts = parts;
        parts.extend([
            "holdall::audit",
            "refused",
            "GET",
            "/v1/items/{collection}/{*key}",
        ]);
        let line = log.tells(&parts);
        assert!(!line.contains("private"), "{line}");
        all.push(line);
    }
    tokio::time::advance(std::time::Duration::from_secs(1)).await;

    // Control characters forge no line.
    let forged = "x%0AERROR%1B%5B31m";
    let (status, text) = told(&format!("PUT /v1/item?collection={forged}&key=k{who}")).await;
    assert_eq!(status, 403);
    shown += &text;
    let line = log.tells(&["403", id, "PUT", r"x\nERROR\u{1b}[31m", "write"]);
    assert!(!line.contains('\u{1b}'));
    all.push(line);

    // Administrative ones, with what became of them.
    let (status, _) = told(&format!("DELETE /v1/collections?collection=c1{who}")).await;
    assert_eq!(status, 204);
    all.push(log.tells(&["holdall::audit", "admin", id, "DELETE", "c1", "done", "204"]));
    let (status, _) = told(&format!("POST /v1/indexes?collection=c1{who}")).await;
    assert_eq!(status, 415);
    all.push(log.tells(&["admin", id, "POST", "/v1/indexes", "failed", "415"]));

    // Too many: the first are told, and then how many more there were.
    tokio::time::advance(std::time::Duration::from_secs(60)).await;
    for _ in 0..50 {
        let (_, text) = told(&format!("GET /v1/items/c/absent{who}")).await;
        shown += &text;
    }
    let lines = log.take();
    assert_eq!(lines.len(), 10, "{lines:#?}");
    assert!(
        lines
            .iter()
            .all(|line| line.contains("429") && line.contains(id))
    );
    all.extend(lines);
    tokio::time::advance(std::time::Duration::from_secs(1)).await;
    told("GET /v1/items/c/absent").await;
    all.push(log.tells(&["401", "left_out=20"]));

    tokens.revoke(&token.id).await.unwrap();
    all.push(log.tells(&["token revoked", id]));
    let (_, text) = told(&format!("GET /v1/items/c/absent{who}")).await;
    shown += &text;
    all.push(log.tells(&["401", id, "revoked"]));
    tokens.close().await.unwrap();
    let (_, text) = told(&format!("GET /v1/items/c/absent{who}")).await;
    shown += &text;
    all.extend(log.take());

    // The whole token where an id is to stand.
    shown += &secret.reveal().parse::<TokenId>().unwrap_err().to_string();
    let bare = &secret.reveal()[21..];
    assert!(!shown.contains(bare), "{shown}");
    assert!(!shown.contains(&token_hash(secret.reveal())), "{shown}");
    let all = all.join("\n");
    assert!(!all.contains(bare), "{all}");
    assert!(!all.contains(&token_hash(secret.reveal())), "{all}");
}

/// The hash that is kept.
fn token_hash(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex().to_string()
}
