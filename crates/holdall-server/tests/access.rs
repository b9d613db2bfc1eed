//! Who may do what: every call of `docs/http.md`, by every kind of token.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test fails by panicking"
)]

mod common;

use std::time::Duration;

use axum::body::Body;
use common::{Asked, Told, request};
use futures_util::TryStreamExt;
use holdall_core::{
    BackendExt, Condition, Doc, DynBackend, Env, ManualClock, MemoryBackend, Put, Scan, Timestamp,
    json,
};
use holdall_server::Limits;
use holdall_server::access::{Access, Grant, NewToken, Secret, Tokens, Verb};
use http_body_util::BodyExt;

/// What a call needs.
#[derive(Clone, Copy, Debug)]
enum Needs {
    /// A verb on the collection `c`.
    On(Verb),
    /// One of two verbs on it.
    Either(Verb, Verb),
    /// A verb, whatever the collection.
    Any(Verb),
    /// A token.
    Token,
    /// Nothing.
    Nothing,
}

use Needs::{Any, Either, Nothing, On, Token};
use Verb::{Admin, Metrics, Read, Watch, Write};

/// A call, what it needs, and what it is answered then. `TX` is an open
/// transaction of the caller's.
struct Row(&'static str, &'static str, Needs, u16);

const JSON: &str = "\ncontent-type: application/json";

/// The calls in the order of `docs/http.md`.
const CALLS: &[Row] = &[
    Row("GET /v1/items/c/k", "", On(Read), 200),
    Row("GET /v1/items/c/absent", "", On(Read), 404),
    Row("GET /v1/items/c/k?part=item", "", On(Read), 200),
    Row("GET /v1/items/c/k\nrange: bytes=0-1", "", On(Read), 206),
    Row("HEAD /v1/items/c/k", "", On(Read), 200),
    Row("PUT /v1/items/c/k", "new", On(Write), 200),
    Row("PUT /v1/items/c/new", "new", On(Write), 201),
    Row("PUT /v1/items/c/k\nif-none-match: *", "new", On(Write), 412),
    Row("DELETE /v1/items/c/k", "", On(Write), 204),
    Row("DELETE /v1/items/c/absent", "", On(Write), 204),
    Row("GET /v1/item?collection=c&key=k", "", On(Read), 200),
    Row("HEAD /v1/item?collection=c&key=k", "", On(Read), 200),
    Row("PUT /v1/item?collection=c&key=k", "new", On(Write), 200),
    Row("DELETE /v1/item?collection=c&key=k", "", On(Write), 204),
    Row(
        "POST /v1/batches",
        r#"{"operations":[{"op":"put","collection":"c","key":"b","doc":{}}]}"#,
        On(Write),
        200,
    ),
    Row(
        "POST /v1/batches",
        r#"{"operations":[{"op":"delete","collection":"c","key":"k"}]}"#,
        On(Write),
        200,
    ),
    // The first is allowed to many; the whole batch is not.
    Row(
        "POST /v1/batches",
        r#"{"operations":[{"op":"put","collection":"elsewhere","key":"b","doc":{}},{"op":"put","collection":"c","key":"b","doc":{}}]}"#,
        On(Write),
        200,
    ),
    Row("POST /v1/stage?collection=c", "bytes", On(Write), 201),
    Row(
        "POST /v1/batches/0193c1f0-8a2b-7c3d-9e4f-001122334455/resolve",
        "",
        Any(Write),
        200,
    ),
    Row(
        "POST /v1/batches/0193c1f0-8a2b-7c3d-9e4f-001122334455/resolve",
        r#"{"witness":{"collection":"c","key":"k"}}"#,
        On(Write),
        200,
    ),
    Row(
        "POST /v1/get-many?collection=c",
        r#"{"keys":["k"]}"#,
        On(Read),
        200,
    ),
    Row("GET /v1/scan?collection=c", "", On(Read), 200),
    Row(
        "POST /v1/query?collection=c",
        r#"{"filter":{}}"#,
        On(Read),
        200,
    ),
    Row(
        "POST /v1/count?collection=c",
        r#"{"filter":{}}"#,
        On(Read),
        200,
    ),
    Row(
        "POST /v1/count?collection=c",
        r#"{"filter":{},"by":"n"}"#,
        On(Read),
        200,
    ),
    Row("GET /v1/collections", "", Any(Read), 200),
    Row("DELETE /v1/collections?collection=c", "", On(Admin), 204),
    Row(
        "POST /v1/indexes?collection=c",
        r#"{"indexes":[{"paths":["n"]}]}"#,
        On(Admin),
        204,
    ),
    Row("POST /v1/transactions", "", Any(Write), 201),
    Row("GET TX/item?collection=c&key=k", "", On(Read), 200),
    Row("PUT TX/item?collection=c&key=k", "new", On(Write), 204),
    Row("DELETE TX/item?collection=c&key=k", "", On(Write), 204),
    Row(
        "POST TX/query?collection=c",
        r#"{"filter":{}}"#,
        On(Read),
        200,
    ),
    Row("POST TX/commit", "", Any(Write), 200),
    Row("DELETE TX", "", Any(Write), 204),
    Row("GET /v1/watch?collection=c", "", On(Watch), 200),
    Row("GET /v1/watch", "", Any(Watch), 200),
    Row("GET /v1/capabilities", "", Token, 200),
    Row("GET /health", "", Nothing, 200),
    Row("GET /ready", "", Nothing, 200),
    Row("GET /openapi.json", "", Nothing, 200),
    Row("GET /docs", "", Nothing, 200),
    Row("GET /docs/style.css", "", Nothing, 200),
    Row("GET /docs/absent", "", Nothing, 404),
    Row("GET /", "", Nothing, 308),
    Row("GET /metrics", "", Any(Metrics), 200),
    // What is not there is nobody's business without a token either.
    Row("GET /v1/nothing", "", Token, 404),
    Row("GET /v1/items/c", "", Token, 404),
    Row("GET /health/", "", Token, 404),
    Row("GET /healthy", "", Token, 404),
    Row("GET /docsy", "", Token, 404),
    Row("GET //health", "", Token, 404),
    Row("POST /v1/items/c/k", "", Token, 405),
    Row("PATCH /v1/items/c/k", "", Token, 405),
    Row("OPTIONS /v1/items/c/k", "", Token, 405),
    Row("TRACE /v1/items/c/k", "", Token, 405),
    Row("GET /v1/batches", "", Token, 405),
];

/// A server with tokens, over a store with an item in `c` and one in `d`.
struct Server {
    asked: Asked,
    tokens: Tokens,
    clock: ManualClock,
}

const HOUR: Duration = Duration::from_secs(3600);

impl Server {
    async fn new() -> Self {
        Self::with(Access::tokens).await
    }

    async fn with(access: impl FnOnce(Tokens) -> Access) -> Self {
        Self::within(Limits::default(), access).await
    }

    async fn within(limits: Limits, access: impl FnOnce(Tokens) -> Access) -> Self {
        let clock = ManualClock::at(Timestamp::from_micros(1_800_000_000_000_000));
        let env = Env::seeded(clock.clone(), 7);
        let tokens = Tokens::new(MemoryBackend::new().into(), env).unwrap();
        let store: DynBackend = MemoryBackend::new().into();
        for collection in ["c", "d"] {
            let put = Put::bytes("old").with_doc(Doc::parse(r#"{"n":1}"#).unwrap());
            let collection = collection.parse().unwrap();
            let key = "k".parse().unwrap();
            store
                .put(&collection, &key, Condition::Any, put)
                .await
                .unwrap();
        }
        let asked = Asked::with_access(store, limits, access(tokens.clone()));
        Self {
            asked,
            tokens,
            clock,
        }
    }

    async fn token(&self, verbs: &[Verb], collections: &[&str]) -> Secret {
        self.token_until(verbs, collections, None).await
    }

    async fn token_until(
        &self,
        verbs: &[Verb],
        collections: &[&str],
        expires: Option<Timestamp>,
    ) -> Secret {
        let collections = collections.iter().map(|text| text.parse().unwrap());
        let new = NewToken {
            name: "a test's".into(),
            grant: Grant::new(verbs.iter().copied(), collections).unwrap(),
            expires,
        };
        self.tokens.create(new).await.unwrap().1
    }

    /// Asks with some headers for who asks.
    async fn ask(&self, line: &str, who: &str, body: &str) -> Told {
        let kind = if body.starts_with('{') { JSON } else { "" };
        let line = format!("{line}{kind}{who}");
        let response = self.asked.send(request(&line, body.to_owned())).await;
        let (parts, body) = response.into_parts();
        let events = parts.headers.get("content-type");
        let endless = events.is_some_and(|kind| kind == "text/event-stream");
        let body = if endless { Body::empty() } else { body };
        Told {
            status: parts.status,
            headers: parts.headers,
            bytes: body.collect().await.unwrap().to_bytes(),
        }
    }

    /// `line` with a transaction of a caller's in the place of `TX`.
    async fn line(&self, line: &str, who: &str) -> String {
        if !line.contains("TX") {
            return line.to_owned();
        }
        let begun = self.ask("POST /v1/transactions", who, "").await;
        let id = begun.is(201).json()["id"].as_str().unwrap().to_owned();
        line.replace("TX", &format!("/v1/transactions/{id}"))
    }

    /// All that is in the store.
    async fn content(&self) -> String {
        let mut all = String::new();
        for name in self.asked.store.collections().await.unwrap() {
            let scan = self.asked.store.scan(&name, Scan::all());
            for item in scan.try_collect::<Vec<_>>().await.unwrap() {
                all += &format!("{name} {item:?}\n");
            }
        }
        all
    }
}

fn bearer(secret: &Secret) -> String {
    format!("\nauthorization: Bearer {}", secret.reveal())
}

fn all_but(verbs: &[Verb]) -> Vec<Verb> {
    let all = Verb::ALL.into_iter();
    all.filter(|verb| !verbs.contains(verb)).collect()
}

#[tokio::test]
async fn every_call_needs_the_token_that_it_needs() {
    let either = Row(
        "POST /v1/batches",
        r#"{"operations":[{"op":"check","collection":"c","key":"k"},{"op":"put","collection":"elsewhere","key":"b","doc":{}}]}"#,
        Either(Write, Read),
        200,
    );
    for Row(line, body, needs, status) in CALLS.iter().chain([&either]) {
        let server = Server::new().await;
        let before = server.content().await;
        let good = server.token(&Verb::ALL, &["*"]).await;
        let line_of_good = server.line(line, &bearer(&good)).await;

        let late = server.clock.clone();
        let expires = Env::seeded(late, 1).now().after(HOUR);
        let expired = server.token_until(&Verb::ALL, &["*"], Some(expires)).await;
        let revoked = server.token(&Verb::ALL, &["*"]).await;
        server.clock.advance(HOUR);
        server.tokens.revoke(revoked.id()).await.unwrap();
        let text = good.reveal();
        let wrong_end = |from: char, to: char| text.replace(from, &to.to_string());
        let other = if text.ends_with('0') { "1" } else { "0" };
        let strangers = [
            String::new(),
            "\nauthorization: ".into(),
            "\nauthorization: Bearer".into(),
            "\nauthorization: Bearer ".into(),
            "\nauthorization: Bearer hld_".into(),
            format!("\nauthorization: {text}"),
            format!("\nauthorization: Basic {text}"),
            format!("\nauthorization: Bearer {text}0"),
            format!("\nauthorization: Bearer {text},{text}"),
            format!("\nauthorization: Bearer {}", text.to_uppercase()),
            format!("\nauthorization: Bearer {}", wrong_end('_', '-')),
            format!("\nauthorization: Bearer {}{other}", &text[..text.len() - 1]),
            // The secret of one token with the id of another.
            format!(
                "\nauthorization: Bearer {}{}",
                &text[..21],
                &revoked.reveal()[21..]
            ),
            format!(
                "\nauthorization: Bearer hld_0123456789abcdef_{}",
                "0".repeat(64)
            ),
            // Twice, though it is good.
            format!("{0}{0}", bearer(&good)),
            format!("{}\nauthorization: Basic eDp5", bearer(&good)),
            // Elsewhere.
            format!("\ncookie: token={text}"),
            format!("\nx-api-key: {text}"),
            bearer(&expired),
            bearer(&revoked),
        ];
        for who in strangers {
            let told = server.ask(&line_of_good, &who, body).await;
            if matches!(needs, Nothing) {
                told.is(*status);
                continue;
            }
            assert_eq!(told.status.as_u16(), 401, "{line} {who:?} {}", told.text());
            assert!(told.header("www-authenticate").starts_with("Bearer"));
            if !line.starts_with("HEAD") {
                told.is_problem(401, "denied");
                assert!(!told.text().contains(&text[21..]), "{}", told.text());
            }
        }

        // Tokens whose scopes fall short by a little.
        let short: Vec<(Vec<Verb>, &str)> = match *needs {
            On(verb) => vec![
                (all_but(&[verb]), "*"),
                (Verb::ALL.to_vec(), "elsewhere"),
                (Verb::ALL.to_vec(), "C"),
                (Verb::ALL.to_vec(), "c?"),
                (Verb::ALL.to_vec(), "*cc"),
                (vec![verb], "d"),
            ],
            Either(verb, or) => vec![
                (all_but(&[verb, or]), "*"),
                (Verb::ALL.to_vec(), "elsewhere"),
            ],
            Any(verb) => vec![(all_but(&[verb]), "*")],
            Token | Nothing => vec![],
        };
        for (verbs, collections) in short {
            let token = server.token(&verbs, &[collections]).await;
            let told = server.ask(&line_of_good, &bearer(&token), body).await;
            let what = format!("{line} {verbs:?} {collections} {}", told.text());
            assert_eq!(told.status.as_u16(), 403, "{what}");
            assert_eq!(told.header("www-authenticate"), "", "{what}");
        }
        assert_eq!(server.content().await, before, "{line}");

        // And one that has what it takes and nothing else.
        let verbs = match *needs {
            On(verb) | Any(verb) => vec![verb],
            Either(..) => vec![Read, Write],
            Token | Nothing => vec![Watch],
        };
        let mut verbs = verbs;
        if line.contains("TX") {
            verbs.push(Write);
        }
        let scope = if body.contains("elsewhere") {
            &["c", "elsewhere"][..]
        } else {
            &["c"]
        };
        let exact = server.token(&verbs, scope).await;
        let own = server.line(line, &bearer(&exact)).await;
        if own != *line {
            // Another's transaction is as good as none.
            let told = server.ask(&line_of_good, &bearer(&exact), body).await;
            assert_eq!(told.status.as_u16(), 404, "{line}");
        }
        let told = server.ask(&own, &bearer(&exact), body).await;
        assert_eq!(told.status.as_u16(), *status, "{line} {}", told.text());
    }
}

/// A call that is added to the server must be added to the table.
#[tokio::test]
async fn the_table_has_every_call_that_the_server_describes() {
    let server = Server::with(|_| Access::open()).await;
    let document = server.ask("GET /openapi.json", "", "").await.is(200).json();
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.len() > 15);
    for (template, calls) in paths {
        for (method, call) in calls.as_object().unwrap() {
            if !call.is_object() {
                continue;
            }
            let has = |Row(line, ..): &Row| {
                let line = line.replace("TX", "/v1/transactions/0");
                let (own, path) = line.lines().next().unwrap().split_once(' ').unwrap();
                let path = path.split('?').next().unwrap();
                let segments = template.split('/').zip(path.split('/'));
                own.eq_ignore_ascii_case(method)
                    && template.split('/').count() == path.split('/').count()
                    && { segments }.all(|(own, found)| own == found || own.starts_with('{'))
            };
            assert!(CALLS.iter().any(has), "{method} {template}");
        }
    }
}

#[tokio::test]
async fn a_check_needs_leave_to_read_or_to_write() {
    let server = Server::new().await;
    let body = r#"{"operations":[{"op":"check","collection":"c","key":"k","if":"present"},{"op":"put","collection":"d","key":"b","doc":{}}]}"#;
    let both = server.token(&[Read, Write], &["c", "d"]).await;
    server
        .ask("POST /v1/batches", &bearer(&both), body)
        .await
        .is(200);
    let writes = server.token(&[Write], &["c", "d"]).await;
    server
        .ask("POST /v1/batches", &bearer(&writes), body)
        .await
        .is(200);
    let not_c = server.token(&[Read, Write], &["d"]).await;
    let told = server.ask("POST /v1/batches", &bearer(&not_c), body).await;
    assert_eq!(told.is_problem(403, "denied")["collection"], "c");
}

#[tokio::test]
async fn in_open_mode_every_call_is_allowed() {
    for Row(line, body, _, status) in CALLS {
        let server = Server::with(|_| Access::open()).await;
        let line = server.line(line, "").await;
        let told = server.ask(&line, "", body).await;
        assert_eq!(told.status.as_u16(), *status, "{line} {}", told.text());
    }
}

#[tokio::test]
async fn what_is_out_of_reach_looks_the_same_whether_it_is_there_or_not() {
    let server = Server::new().await;
    let token = server.token(&[Read], &["c"]).await;
    let mut told = Vec::new();
    for collection in ["d", "x"] {
        for line in [
            "GET /v1/items/C/k",
            "GET /v1/items/C/absent",
            "GET /v1/scan?collection=C",
            "DELETE /v1/collections?collection=C",
        ] {
            let line = line.replace('C', collection);
            let answer = server.ask(&line, &bearer(&token), "").await;
            let problem = answer.is_problem(403, "denied");
            let text = problem.to_string().replace(&format!("{collection:?}"), "");
            told.push((
                line.replace(&format!("/{collection}/"), "")
                    .replace(&format!("={collection}"), ""),
                text,
            ));
        }
    }
    let (there, not_there) = told.split_at(4);
    assert_eq!(there, not_there);
}

#[tokio::test]
async fn lists_and_watches_of_all_collections_leave_out_what_is_out_of_reach() {
    let server = Server::new().await;
    let some = bearer(&server.token(&[Read, Watch, Write], &["c", "e*"]).await);
    let all = bearer(&server.token(&Verb::ALL, &["*"]).await);
    let list = |told: Told| told.is(200).json()["collections"].clone();
    let line = "GET /v1/collections";
    assert_eq!(list(server.ask(line, &some, "").await), json!(["c"]));
    assert_eq!(list(server.ask(line, &all, "").await), json!(["c", "d"]));

    let watched = server
        .asked
        .send(request(&format!("GET /v1/watch{some}"), ""))
        .await;
    for collection in ["d", "e", "f", "c"] {
        let line = format!("PUT /v1/items/{collection}/w");
        let told = server.ask(&line, &all, "x").await;
        told.is(201);
    }
    let mut body = watched.into_body();
    let mut text = String::new();
    while !text.contains(r#""collection":"c""#) {
        let frame = body.frame().await.unwrap().unwrap();
        text += std::str::from_utf8(frame.data_ref().unwrap()).unwrap();
    }
    assert!(text.contains(r#""collection":"e""#), "{text}");
    assert!(!text.contains(r#""collection":"d""#), "{text}");
    assert!(!text.contains(r#""collection":"f""#), "{text}");
}

/// The server keeps what it knows of a token for a second.
#[tokio::test(start_paused = true)]
async fn a_revocation_by_another_process_arrives_within_a_second() {
    let store: DynBackend = MemoryBackend::new().into();
    let tokens = |store: &DynBackend| Tokens::new(store.clone(), Env::system()).unwrap();
    let here = tokens(&store);
    let server = Server {
        asked: Asked::with_access(
            MemoryBackend::new().into(),
            Limits::default(),
            Access::tokens(here.clone()),
        ),
        tokens: here,
        clock: ManualClock::at(Timestamp::from_micros(0)),
    };
    let secret = server.token(&Verb::ALL, &["*"]).await;
    let who = bearer(&secret);
    let line = "GET /v1/capabilities";
    server.ask(line, &who, "").await.is(200);
    // A watch that began before goes on, and must not outlive it.
    let watched = server
        .asked
        .send(request(&format!("GET /v1/watch{who}"), ""))
        .await;
    assert_eq!(watched.status(), 200);

    let there = tokens(&store);
    there.revoke(secret.id()).await.unwrap();
    tokio::time::advance(Duration::from_secs(1)).await;
    let told = server.ask(line, &who, "").await;
    let problem = told.is_problem(401, "denied");
    assert!(problem["detail"].as_str().unwrap().contains("revoked"));

    let put = Put::bytes("news");
    let place = ("c".parse().unwrap(), "k".parse().unwrap());
    let store = &server.asked.store;
    store
        .put(&place.0, &place.1, Condition::Any, put)
        .await
        .unwrap();
    let events = watched.into_body().collect().await.unwrap().to_bytes();
    let events = std::str::from_utf8(&events).unwrap();
    assert!(
        events.contains("event: error") && events.contains("revoked"),
        "{events}"
    );
    assert!(!events.contains("event: put"), "{events}");
    // Again changes nothing, and the first time stays.
    let first = there.list().await.unwrap()[0].revoked;
    assert_eq!(there.revoke(secret.id()).await.unwrap().revoked, first);
}

#[tokio::test]
async fn an_expired_token_says_so_only_to_who_has_its_secret() {
    let server = Server::new().await;
    let now = Env::seeded(server.clock.clone(), 1).now();
    let secret = server
        .token_until(&[Read], &["c"], Some(now.after(HOUR)))
        .await;
    let line = "GET /v1/items/c/k";
    server.clock.advance(HOUR - Duration::from_micros(1));
    server.ask(line, &bearer(&secret), "").await.is(200);
    server.clock.advance(Duration::from_micros(1));
    let told = server.ask(line, &bearer(&secret), "").await;
    assert!(
        told.is_problem(401, "denied")["detail"]
            .to_string()
            .contains("expired")
    );
    let guess = format!(
        "\nauthorization: Bearer hld_{}_{}",
        secret.id(),
        "0".repeat(64)
    );
    let unknown = format!(
        "\nauthorization: Bearer hld_{}_{}",
        "0".repeat(16),
        "0".repeat(64)
    );
    let guess = server.ask(line, &guess, "").await;
    assert_eq!(guess.bytes, server.ask(line, &unknown, "").await.bytes);
    // It could not be made so late either.
    let new = NewToken {
        name: "late".into(),
        grant: Grant::all(),
        expires: Some(now),
    };
    assert!(server.tokens.create(new).await.is_err());
}

#[tokio::test]
async fn the_scheme_is_read_in_any_case_and_spaces_do_no_harm() {
    let server = Server::new().await;
    let secret = server.token(&[Read], &["c"]).await;
    for scheme in ["Bearer ", "bearer ", "BEARER ", "Bearer   "] {
        let who = format!("\nauthorization: {scheme}{}", secret.reveal());
        server.ask("GET /v1/items/c/k", &who, "").await.is(200);
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_has_so_many_requests_in_a_second_and_others_are_not_held_up() {
    let limits = Limits {
        max_rate: 3,
        ..Limits::default()
    };
    let server = Server::within(limits, Access::tokens).await;
    let one = bearer(&server.token(&[Read], &["c"]).await);
    let two = bearer(&server.token(&[Read], &["c"]).await);
    let line = "GET /v1/items/c/k";
    for _ in 0..3 {
        server.ask(line, &one, "").await.is(200);
    }
    let told = server.ask(line, &one, "").await;
    assert_eq!(told.is_problem(429, "unavailable")["retry"], "yes");
    assert_eq!(told.header("retry-after"), "1");
    server.ask(line, &two, "").await.is(200);
    // A secret that is guessed takes nothing from the token.
    tokio::time::advance(Duration::from_secs(1)).await;
    let id = &one[one.len() - 81..one.len() - 65];
    let guess = format!("\nauthorization: Bearer hld_{id}_{}", "0".repeat(64));
    for _ in 0..9 {
        server.ask(line, &guess, "").await.is(401);
    }
    for _ in 0..3 {
        server.ask(line, &one, "").await.is(200);
    }
    server.ask(line, &one, "").await.is(429);
}

/// A store of tokens that cannot be read must not let anybody in.
#[tokio::test]
async fn where_tokens_cannot_be_checked_nobody_is_let_in() {
    let server = Server::new().await;
    let secret = server.token(&Verb::ALL, &["*"]).await;
    server.tokens.close().await.unwrap();
    let told = server.ask("GET /v1/items/c/k", &bearer(&secret), "").await;
    let problem = told.is_problem(503, "unavailable");
    assert!(!problem.to_string().contains("closed"), "{problem}");
}

/// A newer version may have put it there to narrow what a token allows.
#[tokio::test]
async fn a_record_with_a_member_that_is_not_known_lets_nobody_in() {
    let store: DynBackend = MemoryBackend::new().into();
    let server =
        Server::with(|_| Access::tokens(Tokens::new(store.clone(), Env::system()).unwrap())).await;
    let tokens = Tokens::new(store.clone(), Env::system()).unwrap();
    let new = NewToken {
        name: "x".into(),
        grant: Grant::all(),
        expires: None,
    };
    let (_, secret) = tokens.create(new).await.unwrap();
    let (collection, key) = (
        "tokens".parse().unwrap(),
        secret.id().as_str().parse().unwrap(),
    );
    let item = store
        .get(&collection, &key, Default::default())
        .await
        .unwrap()
        .unwrap();
    let mut doc = item.doc().unwrap().value().unwrap();
    doc["addresses"] = json!(["127.0.0.1"]);
    let put = Put::doc(Doc::from_value(&doc).unwrap());
    store
        .put(&collection, &key, Condition::Any, put)
        .await
        .unwrap();
    let told = server.ask("GET /v1/items/c/k", &bearer(&secret), "").await;
    told.is_problem(500, "corrupt");
}

#[tokio::test]
async fn a_page_of_another_site_reaches_nothing() {
    let open = Server::with(|_| Access::open()).await;
    let before = open.content().await;
    let guarded = Server::new().await;
    let token = bearer(&guarded.token(&Verb::ALL, &["*"]).await);
    // A line of headers, and whether it comes through to an open server and to
    // one with tokens.
    for (headers, through_open, through_tokens) in [
        ("", true, true),
        ("\nhost: localhost:4520", true, true),
        ("\nhost: LOCALHOST", true, true),
        ("\nhost: 127.0.0.1:4520", true, true),
        ("\nhost: 127.8.9.1:1", true, true),
        ("\nhost: [::1]:4520", true, true),
        ("\nhost: [::ffff:127.0.0.1]", true, true),
        // A name that was turned to 127.0.0.1 behind the browser's back.
        ("\nhost: evil.example:4520", false, true),
        ("\nhost: localhost.evil.example", false, true),
        ("\nhost: 127.0.0.1.evil.example", false, true),
        ("\nhost: 192.168.1.5:4520", false, true),
        (
            "\nhost: evil.example:4520\norigin: http://evil.example:4520",
            false,
            true,
        ),
        ("\nhost: localhost\nhost: evil.example", false, true),
        ("\nhost: ", false, true),
        // The server's own page.
        (
            "\nhost: localhost:4520\norigin: http://localhost:4520\nsec-fetch-site: same-origin",
            true,
            true,
        ),
        ("\nhost: localhost\norigin: http://localhost", true, true),
        ("\nhost: localhost:80\norigin: http://localhost", true, true),
        ("\nsec-fetch-site: none", true, true),
        // Another's.
        (
            "\nhost: localhost:4520\norigin: http://evil.example",
            false,
            false,
        ),
        (
            "\nhost: localhost:4520\norigin: http://localhost:3000",
            false,
            false,
        ),
        ("\nhost: localhost:4520\norigin: null", false, false),
        ("\nhost: localhost:4520\norigin: ", false, false),
        (
            "\nhost: localhost:4520\norigin: localhost:4520",
            false,
            false,
        ),
        (
            "\nhost: localhost:4520\norigin: file://localhost:4520",
            false,
            false,
        ),
        (
            "\nhost: localhost:4520\norigin: http://localhost:4520\norigin: http://evil.example",
            false,
            false,
        ),
        (
            "\nhost: localhost:4520\nsec-fetch-site: cross-site",
            false,
            false,
        ),
        (
            "\nhost: localhost:4520\nsec-fetch-site: same-site",
            false,
            false,
        ),
        (
            "\nhost: localhost:4520\nsec-fetch-site: none\nsec-fetch-site: cross-site",
            false,
            false,
        ),
        (
            "\nhost: localhost:4520\norigin: http://localhost:4520\nsec-fetch-site: cross-site",
            false,
            false,
        ),
    ] {
        for line in [
            "GET /v1/items/c/k",
            "PUT /v1/items/c/k\nif-match: *",
            "DELETE /v1/items/d/absent",
        ] {
            for (server, who, through) in [
                (&open, "", through_open),
                (&guarded, token.as_str(), through_tokens),
            ] {
                let told = server.ask(line, &format!("{headers}{who}"), "old").await;
                if through {
                    assert!(
                        told.status.is_success(),
                        "{line} {headers:?} {}",
                        told.text()
                    );
                } else {
                    told.is_problem(403, "denied");
                }
                assert_eq!(told.header("access-control-allow-origin"), "");
            }
        }
        // That the server lives, anybody may know who calls it by its name.
        if !headers.contains("origin") && through_tokens {
            guarded.ask("GET /health", headers, "").await.is(200);
        }
    }
    let lines = |text: &str| text.lines().count();
    assert_eq!(lines(&before), lines(&open.content().await));
    // HTTP/2 says whom it is for in the URL.
    open.ask("GET http://evil.example/v1/items/c/k", "", "")
        .await
        .is(403);
    open.ask("GET http://localhost:4520/v1/items/c/k", "", "")
        .await
        .is(200);
    // A link to the page about the server may stand anywhere.
    let told = open
        .ask("GET /health\nsec-fetch-site: cross-site", "", "")
        .await;
    told.is(200);
}

#[tokio::test]
async fn pages_of_allowed_origins_come_through_and_may_read_what_they_need() {
    let server = Server::with(|tokens| {
        Access::tokens(tokens).origins(["https://App.example:443".parse().unwrap()])
    })
    .await;
    let token = bearer(&server.token(&[Read], &["c"]).await);
    let from = "\nhost: holdall.example\norigin: https://app.example\nsec-fetch-site: cross-site";
    let preflight = format!(
        "OPTIONS /v1/items/c/k{from}\naccess-control-request-method: PUT\naccess-control-request-headers: authorization,if-match"
    );
    let told = server.ask(&preflight, "", "").await;
    told.is(200);
    assert_eq!(
        told.header("access-control-allow-origin"),
        "https://app.example"
    );
    assert!(told.header("access-control-allow-methods").contains("PUT"));
    for name in ["authorization", "if-match", "holdall-batch"] {
        assert!(
            told.header("access-control-allow-headers").contains(name),
            "{name}"
        );
    }
    let told = server
        .ask("GET /v1/items/c/k", &format!("{from}{token}"), "")
        .await;
    told.is(200);
    assert_eq!(
        told.header("access-control-allow-origin"),
        "https://app.example"
    );
    for name in [
        "etag",
        "holdall-digest",
        "holdall-head-length",
        "retry-after",
    ] {
        assert!(
            told.header("access-control-expose-headers").contains(name),
            "{name}"
        );
    }
    assert_eq!(told.header("access-control-allow-credentials"), "");
    // The page reads why it was refused.
    let told = server.ask("GET /v1/items/c/k", from, "").await;
    told.is_problem(401, "denied");
    assert_eq!(
        told.header("access-control-allow-origin"),
        "https://app.example"
    );
    // Another's preflight is answered without the header that would let it on.
    let told = server
        .ask(&preflight.replace("app.example", "evil.example"), "", "")
        .await;
    assert_eq!(told.header("access-control-allow-origin"), "");
    for wrong in [
        "*",
        "null",
        "",
        "app.example",
        "https://",
        "https://a/b",
        "https://a?b",
        "https://u@a",
        "https://a b",
        "https://*.example",
    ] {
        assert!(
            wrong.parse::<holdall_server::access::Origin>().is_err(),
            "{wrong}"
        );
    }
}
