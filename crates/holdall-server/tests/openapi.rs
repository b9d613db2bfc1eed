//! What the server says of itself is what it does.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "the helpers of tests"
)]

mod common;

use std::collections::BTreeSet;

use common::Asked;
use http::StatusCode;
use serde_json::Value;

const METHODS: [&str; 7] = ["GET", "HEAD", "PUT", "POST", "DELETE", "PATCH", "OPTIONS"];

async fn document() -> (Asked, Value) {
    let asked = Asked::new();
    let told = asked.ask("GET /openapi.json", "").await;
    assert_eq!(told.status, StatusCode::OK);
    assert_eq!(told.headers["content-type"], "application/json");
    let document = serde_json::from_slice(&told.bytes).unwrap();
    (asked, document)
}

/// Each call of a document, as `("GET", "/v1/item")`.
fn calls(document: &Value) -> BTreeSet<(String, String)> {
    let paths = document["paths"].as_object().unwrap();
    let all = paths.iter().flat_map(|(path, item)| {
        let methods = item.as_object().unwrap().keys();
        methods.map(move |method| (method.to_uppercase(), path.clone()))
    });
    all.collect()
}

#[tokio::test]
async fn each_call_of_the_document_is_a_route_and_each_other_method_is_refused() {
    let (asked, document) = document().await;
    let calls = calls(&document);
    assert!(calls.len() > 25, "{calls:?}");
    for path in document["paths"].as_object().unwrap().keys() {
        let url = path
            .replace("{id}", "0193c1f0-8a2b-7c3d-9e4f-001122334455")
            .replace("{collection}", "notes")
            .replace("{key}", "a/b");
        for method in METHODS {
            let told = asked
                .send(common::request(&format!("{method} {url}"), ""))
                .await;
            let (status, headers) = (told.status(), told.headers());
            let call = (method.to_owned(), path.clone());
            // axum answers HEAD wherever there is GET.
            let get = calls.contains(&("GET".to_owned(), path.clone()));
            if calls.contains(&call) || (method == "HEAD" && get) {
                assert_ne!(status, StatusCode::METHOD_NOT_ALLOWED, "{call:?}");
            } else {
                assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED, "{call:?}");
                let allowed = headers["allow"].to_str().unwrap().split(',');
                for method in allowed {
                    assert!(calls.contains(&(method.to_owned(), path.clone())) || method == "HEAD");
                }
            }
        }
    }
    let told = asked.ask("GET /v1/nothing", "").await;
    assert_eq!(told.status, StatusCode::NOT_FOUND);
}

/// Only `routes!` makes a route together with what the document says of it.
#[test]
fn there_is_no_route_beside_the_document() {
    let source = include_str!("../src/api/mod.rs");
    assert!(source.contains(".routes(routes!("));
    for beside in [".route(", ".route_service(", ".nest("] {
        assert!(!source.contains(beside), "{beside}");
    }
}

#[tokio::test]
async fn the_page_of_the_protocol_names_the_same_calls() {
    let (_, document) = document().await;
    let page = include_str!("../../../docs/http.md");
    let mut named = BTreeSet::new();
    for code in page.split('`').skip(1).step_by(2) {
        let code = code
            .replace("COLLECTION", "{collection}")
            .replace("KEY", "{key}");
        let code = code.replace("/ID", "/{id}");
        let Some((methods, path)) = code.split_once(" /") else {
            if let Some(path) = code.strip_prefix('/') {
                named.insert(format!("/{path}").split('?').next().unwrap().to_owned());
            }
            continue;
        };
        if methods.split(", ").all(|method| METHODS.contains(&method)) {
            let path = path.split('?').next().unwrap();
            named.insert(format!("/{path}"));
            for method in methods.split(", ") {
                let call = (method.to_owned(), format!("/{path}"));
                assert!(
                    calls(&document).contains(&call),
                    "{call:?} is in docs/http.md alone"
                );
            }
        }
    }
    for path in document["paths"].as_object().unwrap().keys() {
        let look = matches!(path.as_str(), "/" | "/docs/style.css");
        assert!(
            look || named.contains(path),
            "{path} is not in docs/http.md"
        );
    }
}

/// Every `(pointer, value)` below a value.
fn walk<'a>(value: &'a Value, at: String, all: &mut Vec<(String, &'a Value)>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                let name = name.replace('~', "~0").replace('/', "~1");
                walk(member, format!("{at}/{name}"), all);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                walk(item, format!("{at}/{index}"), all);
            }
        }
        _ => {}
    }
    all.push((at, value));
}

#[tokio::test]
async fn the_document_holds_together() {
    let (_, document) = document().await;
    assert_eq!(document["openapi"], "3.1.0");
    let mut all = Vec::new();
    walk(&document, String::new(), &mut all);
    let mut ids = BTreeSet::new();
    let mut linked = BTreeSet::new();
    let mut used = BTreeSet::new();
    for (at, value) in &all {
        if let Some(reference) = value.get("$ref").and_then(Value::as_str) {
            let target = reference.strip_prefix('#').unwrap();
            assert!(
                document.pointer(target).is_some(),
                "{at} refers to {target}"
            );
            used.insert(target.to_owned());
        }
        if let Some(id) = value.get("operationId").and_then(Value::as_str) {
            // A link refers to an operation that stands elsewhere.
            if at.contains("/links/") {
                linked.insert(id);
                continue;
            }
            assert!(ids.insert(id), "two operations are called {id}");
            let summary = value["summary"].as_str().unwrap_or_default();
            assert!(!summary.is_empty(), "{id} says nothing of itself");
            assert!(value["tags"].is_array(), "{id} stands nowhere");
        }
        // Whatever has a name is told of.
        let of_header = at.contains("/headers/") && value.get("schema").is_some();
        if of_header || value.get("in").is_some_and(Value::is_string) {
            let described = value["description"].as_str().unwrap_or_default();
            assert!(!described.is_empty(), "{at} is not described");
        }
    }
    assert!(!linked.is_empty() && linked.is_subset(&ids), "{linked:?}");
    for kind in ["schemas", "responses"] {
        for name in document["components"][kind].as_object().unwrap().keys() {
            let target = format!("/components/{kind}/{name}");
            let unused = name == "MethodNotAllowed";
            assert!(unused || used.contains(&target), "{target} is not used");
        }
    }
}

#[tokio::test]
async fn each_call_names_its_errors_as_problems() {
    let (_, document) = document().await;
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let responses = operation["responses"].as_object().unwrap();
            let open = operation.get("security").is_some();
            for status in ["400", "401", "403", "429", "500", "503", "504"] {
                let named = responses.contains_key(status);
                assert!(open || named, "{method} {path} does not name {status}");
            }
            let takes_content = operation.get("requestBody").is_some();
            assert_eq!(
                responses.contains_key("415"),
                takes_content,
                "{method} {path}"
            );
            for (status, response) in responses {
                if status.as_str() < "400" {
                    continue;
                }
                let target = response["$ref"].as_str().unwrap().trim_start_matches('#');
                let content = &document.pointer(target).unwrap()["content"];
                let schema = &content["application/problem+json"]["schema"]["$ref"];
                assert_eq!(schema, "#/components/schemas/Problem");
            }
        }
    }
}

#[tokio::test]
async fn the_page_shows_each_call_and_loads_nothing_from_elsewhere() {
    let (asked, document) = document().await;
    let start = asked.ask("GET /", "").await;
    assert_eq!(start.status, StatusCode::PERMANENT_REDIRECT);
    assert_eq!(start.headers["location"], "/docs");

    let told = asked.ask("GET /docs", "").await;
    assert_eq!(told.status, StatusCode::OK);
    assert_eq!(told.headers["content-type"], "text/html; charset=utf-8");
    let policy = told.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'; style-src 'self';"));
    let html = std::str::from_utf8(&told.bytes).unwrap();
    for elsewhere in [
        "http:", "https:", "src=", "<script", "<style", " style=", " on",
    ] {
        let inside = html.split('<').filter_map(|rest| rest.split_once('>'));
        let inside = inside.map(|(tag, _)| format!("<{tag}"));
        let found: Vec<_> = inside.filter(|tag| tag.contains(elsewhere)).collect();
        assert!(found.is_empty(), "{found:?}");
    }

    // Each link leads somewhere.
    let links = html.split("href=\"").skip(1);
    for link in links.map(|rest| rest.split('"').next().unwrap()) {
        if let Some(id) = link.strip_prefix('#') {
            assert!(html.contains(&format!("id=\"{id}\"")), "{link}");
        } else if link != "data:," {
            let told = asked.ask(&format!("GET {link}"), "").await;
            assert_eq!(told.status, StatusCode::OK, "{link}");
        }
    }

    for (method, path) in calls(&document) {
        let operation = &document["paths"][&path][method.to_lowercase()];
        let id = operation["operationId"].as_str().unwrap();
        assert!(
            html.contains(&format!("<div id=\"{id}\">")),
            "{method} {path}"
        );
    }
    let opened = html.matches("<details>").count();
    assert_eq!(opened, html.matches("</details>").count());
}
