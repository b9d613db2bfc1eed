//! Opening stores: by URL, by configuration, and what is refused.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use holdall::prelude::*;
use holdall::{Env, MemoryBackend, Registry};
use serde::{Deserialize, Serialize};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Note {
    text: String,
}

fn note(text: &str) -> Note {
    Note { text: text.into() }
}

async fn refused(url: &str) -> Error {
    match open(url).await {
        Ok(_) => panic!("{url} should be refused"),
        Err(error) => error,
    }
}

#[tokio::test]
async fn every_opening_of_memory_is_a_new_store() {
    let (one, two) = (
        open("memory:").await.unwrap(),
        open("memory:").await.unwrap(),
    );
    let notes = one.collection("notes").unwrap();
    notes.put("a", &note("x")).await.unwrap();
    assert!(two.backend().collections().await.unwrap().is_empty());
}

#[tokio::test]
async fn an_unknown_scheme_lists_those_there_are() {
    let error = refused("oracle://scott:tiger@db").await;
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let text = error.to_string();
    assert!(
        text.contains("memory:") && text.contains("oracle:"),
        "{text}"
    );
    assert!(!text.contains("tiger"), "{text}");
}

#[tokio::test]
async fn unknown_options_are_named() {
    let error = refused("memory:?size=1").await.to_string();
    assert!(
        error.contains("\"size\"") && error.contains("takes none"),
        "{error}"
    );
    assert!(
        refused("memory:x")
            .await
            .to_string()
            .contains("nothing stands behind")
    );
}

#[tokio::test]
async fn schemes_are_registered_once() {
    let registry = Registry::new();
    let memory = |_, env| async { Ok(DynBackend::from(MemoryBackend::with_env(env))) };
    registry.register("Toy", memory).unwrap();
    assert!(registry.schemes().contains(&"toy".to_owned()));
    let error = registry.register("toy", memory).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    for scheme in ["", "t", "1x", "a b", "a:"] {
        let error = registry.register(scheme, memory).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{scheme:?}");
    }
    let settings = Settings::parse("TOY:").unwrap();
    let store = Store::open_with(&registry, settings, Env::system()).await;
    assert!(store.unwrap().health().await.is_ok());
}

#[tokio::test]
async fn transactions_run_on_the_store() {
    let store = open("memory:").await.unwrap();
    let (notes, key) = ("notes".parse().unwrap(), "a".parse().unwrap());
    store
        .transact(|tx| {
            let put = Put::doc(Doc::from_value(&json!({"text": "x"})).unwrap());
            let result = tx.put(&notes, &key, put);
            async move { result }
        })
        .await
        .unwrap();
    let tx = store.begin();
    assert!(tx.get(&notes, &key).await.unwrap().is_some());
    tx.delete(&notes, &key).unwrap();
    tx.rollback();
    assert!(store.backend().head(&notes, &key).await.unwrap().is_some());
}

#[cfg(feature = "sqlite")]
mod sqlite {
    use super::*;

    #[tokio::test]
    async fn a_file_keeps_what_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a b?.db");
        let encoded = path
            .to_str()
            .unwrap()
            .replace('?', "%3F")
            .replace(' ', "%20");
        let url = format!("sqlite:{encoded}?synchronous=normal&readers=2");
        let store = open(&url).await.unwrap();
        store
            .collection("notes")
            .unwrap()
            .put("a", &note("x"))
            .await
            .unwrap();
        store.close().await.unwrap();
        assert!(path.exists());
        let again = open(&url).await.unwrap();
        let notes = again.collection::<Note>("notes").unwrap();
        assert_eq!(notes.get("a").await.unwrap().unwrap().value, note("x"));
        again.close().await.unwrap();
    }

    #[tokio::test]
    async fn what_does_not_fit_is_named_and_makes_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.db");
        let base = format!("sqlite:{}", path.display());
        for (url, part) in [
            ("sqlite:".to_owned(), "path of the file is missing"),
            ("sqlite://x.db".to_owned(), "sqlite:/absolute/PATH"),
            ("sqlite::memory:".to_owned(), "memory:"),
            (format!("{base}?nope=1"), "\"nope\" is unknown"),
            (format!("{base}?synchronous=off"), "full or normal"),
            (format!("{base}/y.db"), "y.db"),
        ] {
            let error = refused(&url).await.to_string();
            assert!(error.contains(part), "{url}: {error}");
        }
        assert!(!path.exists());
    }
}
