//! The answers of a store about 2,000 packages, beside those that one computes
//! from the lines alone: on every backend the same.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "the helpers of a test fail as tests do"
)]

use std::collections::BTreeMap;

use debian::{COLLECTION, count_together, declare, import, matching, of_maintainer, sections};
use holdall::prelude::*;
use holdall::{Env, Layer, Value};
use holdall_testing::services::need;

const LINES: &str = include_str!("../../../fixtures/debian-2000.jsonl");

fn parsed() -> Vec<Value> {
    LINES
        .lines()
        .map(|line| Doc::parse(line).unwrap().value().unwrap())
        .collect()
}

fn text<'a>(package: &'a Value, member: &str) -> &'a str {
    package[member].as_str().unwrap()
}

/// Asks all that there is to ask, in a namespace of this test's own.
async fn answers(url: &str) {
    let name = Env::system().version().to_string();
    let store = open(url).await.unwrap();
    let store = store.layered(&[Layer::Namespace { name }]).unwrap();
    assert_eq!(import(&store, LINES.as_bytes()).await.unwrap(), 2000);
    declare(&store).await.unwrap();
    import(&store, LINES.as_bytes()).await.unwrap();
    every_record_is_there_as_it_came_however_often_it_is_imported(&store).await;
    sections_are_counted(&store).await;
    all_packages_of_a_maintainer_come_sorted_and_in_pages(&store).await;
    words_are_found_in_descriptions(&store).await;
    assert_eq!(count_together(&store, 16, 25).await.unwrap(), 400);
    for name in store.backend().collections().await.unwrap() {
        store.backend().drop_collection(&name).await.unwrap();
    }
    store.close().await.unwrap();
}

async fn answers_of(service: &str, url: impl FnOnce(String) -> String) {
    if let Some(server) = need(service) {
        answers(&url(server)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn memory() {
    answers("memory:").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sqlite() {
    let folder = tempfile::tempdir().unwrap();
    answers(&format!("sqlite:{}/debian.db", folder.path().display())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn postgres() {
    answers_of("postgres", |url| url).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn mysql() {
    answers_of("mysql", |url| url).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn mongodb() {
    answers_of("mongodb", |url| url).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn redis() {
    answers_of("redis", |url| url).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn dynamodb() {
    answers_of("dynamodb", |url| {
        let keys = "access_key_id=holdall&secret_access_key=holdall&region=eu-central-1";
        format!("dynamodb:debian?endpoint={url}&create_table=true&{keys}")
    })
    .await;
}

async fn every_record_is_there_as_it_came_however_often_it_is_imported(store: &Store) {
    let name = CollectionName::new(COLLECTION).unwrap();
    let count = store.backend().count(&name, &Filter::all()).await;
    assert_eq!(count.unwrap(), 2000, "no two packages share a key");
    for package in parsed() {
        let key = Key::new(text(&package, "key")).unwrap();
        let item = store
            .backend()
            .get(&name, &key, GetOptions::default())
            .await;
        let item = item.unwrap().unwrap();
        assert_eq!(item.doc().unwrap().value().unwrap(), package);
    }
}

async fn sections_are_counted(store: &Store) {
    let mut wanted = BTreeMap::<String, u64>::new();
    for package in parsed() {
        *wanted
            .entry(text(&package, "section").to_owned())
            .or_default() += 1;
    }
    assert!(wanted.len() > 20);
    let found = sections(store).await.unwrap();
    assert!(found.is_sorted_by(|a, b| a.1 >= b.1));
    assert_eq!(BTreeMap::from_iter(found), wanted);
}

async fn all_packages_of_a_maintainer_come_sorted_and_in_pages(store: &Store) {
    let all = parsed();
    let mut by_maintainer = BTreeMap::<&str, Vec<&str>>::new();
    for package in &all {
        let names = by_maintainer
            .entry(text(package, "maintainer"))
            .or_default();
        names.push(text(package, "package"));
    }
    let (maintainer, mut wanted) = by_maintainer
        .into_iter()
        .max_by_key(|(_, names)| names.len())
        .unwrap();
    wanted.sort_unstable();
    assert!(wanted.len() > 20);
    let pages = of_maintainer(store, maintainer, 7).await.unwrap();
    assert_eq!(pages.len(), wanted.len().div_ceil(7));
    assert!(pages.iter().rev().skip(1).all(|page| page.len() == 7));
    let found: Vec<_> = pages
        .iter()
        .flatten()
        .map(|package| &package.package)
        .collect();
    assert_eq!(found, wanted);
}

async fn words_are_found_in_descriptions(store: &Store) {
    let all = parsed();
    for words in [
        "library",
        "Python module",
        "development FILES",
        "no-such-word",
    ] {
        let wanted: Vec<String> = words.split([' ', '-']).map(str::to_lowercase).collect();
        let holds = |package: &&Value| {
            // Simpler than what Unicode says of words; right where no digit is next to a dot.
            let text = text(package, "description").to_lowercase();
            let there: Vec<&str> = text
                .split(|c: char| !c.is_alphanumeric() && !"'._:".contains(c))
                .map(|word| word.trim_matches(|c: char| !c.is_alphanumeric()))
                .collect();
            wanted.iter().all(|word| there.contains(&word.as_str()))
        };
        let count = all.iter().filter(holds).count() as u64;
        let (found, some) = matching(store, words, 5).await.unwrap();
        assert_eq!(found, count, "{words}");
        assert_eq!(some.len() as u64, count.min(5));
    }
}
