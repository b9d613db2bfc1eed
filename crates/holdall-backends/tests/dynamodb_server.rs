//! DynamoDB as it is met: tables that are not there, servers that go away, that slow
//! down and that refuse, and what stands in the table.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{BehaviorVersion, Config, Credentials, Region};
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType,
    ScalarAttributeType,
};
use futures_util::{StreamExt, TryStreamExt};
use holdall_backends::dynamodb::{DynamoDbBackend, DynamoDbOptions};
use holdall_core::{
    Backend, BackendExt, Batch, CollectionName, Condition, Doc, Env, Error, ErrorKind, Filter,
    GetOptions, Index, Key, MAX_ATTRS, ManualClock, Outcome, Parts, Put, Query, Retry, Scan,
    WatchFrom, byte_stream,
};
use holdall_testing::faults::{self, Subject};
use holdall_testing::proxy::{Fault, Held, Proxy};
use holdall_testing::services::{Authority, Certificate, need, private};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::{
    self,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

const ANY: Condition = Condition::Any;

fn items() -> CollectionName {
    CollectionName::new("items").unwrap()
}

fn key(key: &str) -> Key {
    Key::new(key).unwrap()
}

fn doc(text: &str) -> Put {
    Put::doc(Doc::parse(text.to_owned()).unwrap())
}

/// A store of its own in a shared table.
fn options(endpoint: &str) -> DynamoDbOptions {
    DynamoDbOptions {
        endpoint: Some(endpoint.to_owned()),
        access_key_id: Some("hunter1".to_owned()),
        secret_access_key: Some("hunter2".to_owned()),
        prefix: Env::system().version().to_string(),
        create_table: true,
        ..DynamoDbOptions::new("stories")
    }
}

async fn open(options: DynamoDbOptions) -> DynamoDbBackend {
    DynamoDbBackend::open(options).await.unwrap()
}

async fn refused(options: DynamoDbOptions) -> Error {
    match DynamoDbBackend::open(options).await {
        Ok(store) => panic!("{store:?} should be refused"),
        Err(error) => error,
    }
}

fn told(error: &Error, kind: ErrorKind, retry: Retry, part: &str) {
    assert_eq!((error.kind(), error.retry()), (kind, retry), "{error}");
    assert!(error.to_string().contains(part), "{error}");
    assert!(!format!("{error:?}").contains("hunter"), "{error:?}");
}

/// A client of a caller's.
fn client(endpoint: &str) -> Client {
    let http = aws_smithy_http_client::Builder::new().build_http();
    let config = Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .http_client(http)
        .region(Region::new("us-east-1"))
        .endpoint_url(endpoint)
        .credentials_provider(Credentials::new("a", "b", None, None, "test"));
    Client::from_conf(config.build())
}

/// The rows of a partition.
async fn rows(
    endpoint: &str,
    partition: &str,
) -> Vec<std::collections::HashMap<String, AttributeValue>> {
    let query = client(endpoint)
        .query()
        .table_name("stories")
        .key_condition_expression("p = :p")
        .expression_attribute_values(":p", AttributeValue::S(partition.to_owned()))
        .consistent_read(true);
    query.send().await.unwrap().items.unwrap_or_default()
}

#[tokio::test]
async fn a_table_that_is_missing_is_made_only_if_that_is_wanted() {
    let Some(url) = need("dynamodb") else { return };
    let name = format!("t{}", Env::system().version());
    let missing = DynamoDbOptions {
        table: name.clone(),
        create_table: false,
        ..options(&url)
    };
    let error = refused(missing.clone()).await;
    told(&error, ErrorKind::NotFound, Retry::No, "create_table=true");
    let wanted = DynamoDbOptions {
        create_table: true,
        ..missing.clone()
    };
    let (one, other) = tokio::join!(open(wanted.clone()), open(wanted.clone()));
    let entry = one.put(&items(), &key("a"), ANY, doc("{}")).await.unwrap();
    assert_eq!(other.head(&items(), &key("a")).await.unwrap(), Some(entry));
    let elsewhere = DynamoDbOptions {
        create: false,
        prefix: "other".to_owned(),
        ..wanted.clone()
    };
    let error = refused(elsewhere).await;
    told(
        &error,
        ErrorKind::NotFound,
        Retry::No,
        "no store with the prefix",
    );
    client(&url)
        .delete_table()
        .table_name(name)
        .send()
        .await
        .unwrap();
}

#[tokio::test]
async fn a_table_of_another_shape_is_left_alone() {
    let Some(url) = need("dynamodb") else { return };
    let name = format!("t{}", Env::system().version());
    let client = client(&url);
    let attribute = AttributeDefinition::builder()
        .attribute_name("p")
        .attribute_type(ScalarAttributeType::N);
    let schema = KeySchemaElement::builder()
        .attribute_name("p")
        .key_type(KeyType::Hash);
    client
        .create_table()
        .table_name(&name)
        .billing_mode(BillingMode::PayPerRequest)
        .attribute_definitions(attribute.build().unwrap())
        .key_schema(schema.build().unwrap())
        .send()
        .await
        .unwrap();
    let error = refused(DynamoDbOptions {
        table: name.clone(),
        ..options(&url)
    })
    .await;
    told(
        &error,
        ErrorKind::Invalid,
        Retry::No,
        "other keys than Holdall needs",
    );
    client.delete_table().table_name(name).send().await.unwrap();
}

#[tokio::test]
async fn a_store_of_another_format_is_not_touched() {
    let Some(url) = need("dynamodb") else { return };
    let options = options(&url);
    open(options.clone()).await;
    let put = client(&url)
        .put_item()
        .table_name("stories")
        .item("p", AttributeValue::S(format!("{}/meta", options.prefix)))
        .item("s", AttributeValue::S("store".to_owned()))
        .item("f", AttributeValue::N("2".to_owned()));
    put.send().await.unwrap();
    let error = refused(options.clone()).await;
    told(&error, ErrorKind::Corrupt, Retry::No, "format 2");
}

/// docs/dynamodb.md tells where everything is.
#[tokio::test]
async fn other_programs_find_docs_as_the_page_says() {
    let Some(url) = need("dynamodb") else { return };
    let options = options(&url);
    let partition = |what: &str| format!("{}/{what}", options.prefix);
    let store = open(options.clone()).await;
    let index = Index::parse(&["n"]).unwrap().unique();
    store.define(&items(), &[index]).await.unwrap();
    let put = Put::bytes("body").with_doc(Doc::parse(r#"{ "n": 1 }"#).unwrap());
    let entry = store.put(&items(), &key("ü"), ANY, put).await.unwrap();
    let large = byte_stream(vec![7; 300_000]);
    store
        .put_stream(&items(), &key("large"), ANY, Put::default(), large)
        .await
        .unwrap();

    let collections = rows(&url, &partition("collections")).await;
    assert_eq!(collections.len(), 1);
    assert_eq!(collections[0]["s"].as_s().unwrap(), "items");
    let generation = collections[0]["g"].as_s().unwrap();
    let indexes: serde_json::Value =
        serde_json::from_str(collections[0]["x"].as_s().unwrap()).unwrap();
    assert_eq!(indexes[0]["paths"], serde_json::json!(["n"]));
    assert_eq!(indexes[0]["ready"], true);
    let there = rows(&url, &partition(&format!("items/{generation}"))).await;
    let keys: Vec<_> = there
        .iter()
        .map(|row| row["s"].as_s().unwrap().as_str())
        .collect();
    assert_eq!(keys, ["large", "ü"]);
    let item = &there[1];
    assert_eq!(item["d"].as_s().unwrap(), r#"{"n":1}"#);
    assert_eq!(item["b"].as_b().unwrap().as_ref(), b"body");
    assert_eq!(item["v"].as_b().unwrap().as_ref(), entry.version.as_bytes());
    assert_eq!(
        item["c"].as_n().unwrap(),
        &entry.created.as_micros().to_string()
    );
    assert_eq!(
        item["h"].as_b().unwrap().as_ref(),
        entry.digest.unwrap().as_bytes()
    );
    let values = rows(
        &url,
        &partition(&format!("unique/{}", indexes[0]["id"].as_str().unwrap())),
    )
    .await;
    assert_eq!(values.len(), 1);
    assert_eq!(values[0]["k"].as_s().unwrap(), "ü");
    let body = there[0]["k"].as_s().unwrap();
    let pieces = rows(&url, &partition(&format!("body/{body}"))).await;
    let sizes: Vec<_> = pieces
        .iter()
        .map(|row| row["b"].as_b().unwrap().as_ref().len())
        .collect();
    assert_eq!(sizes, [262_144, 300_000 - 262_144]);
    assert!(rows(&url, &partition("staged")).await.is_empty());
    let log = rows(&url, &partition("log")).await;
    let numbers: Vec<_> = log
        .iter()
        .map(|row| row["s"].as_s().unwrap().clone())
        .collect();
    let wanted: Vec<_> = (1..=log.len()).map(|n| format!("{n:020}")).collect();
    assert_eq!(numbers, wanted);
    let batch = rows(&url, &partition(&format!("batch/{}", entry.version))).await;
    assert_eq!(
        batch[0]["t"].as_n().unwrap(),
        &entry.modified.as_micros().to_string()
    );
}

#[tokio::test]
async fn a_batch_with_more_actions_than_a_transaction_has_touches_nothing() {
    let Some(url) = need("dynamodb") else { return };
    let store = open(options(&url)).await;
    let indexes = ["n", "m", "o"].map(|path| Index::parse(&[path]).unwrap().unique());
    store.define(&items(), &indexes).await.unwrap();
    let batch = |count: usize| {
        (0..count).fold(Batch::new(), |batch, n| {
            let text = format!(r#"{{"n":{n},"m":{n},"o":{n}}}"#);
            batch.put(&items(), &key(&format!("k{n}")), ANY, doc(&text))
        })
    };
    let error = store.write(batch(25)).await.unwrap_err();
    told(
        &error,
        ErrorKind::TooLarge,
        Retry::No,
        "DynamoDB does 100 at once",
    );
    assert_eq!(store.count(&items(), &Filter::all()).await.unwrap(), 0);
    store.write(batch(24)).await.unwrap();
    assert_eq!(store.count(&items(), &Filter::all()).await.unwrap(), 24);
}

/// Stands between a store and a server.
async fn through_proxy(url: &str) -> (DynamoDbBackend, Proxy) {
    let proxy = Proxy::before(url).await;
    let options = DynamoDbOptions {
        timeout: Duration::from_secs(2),
        ..options(&proxy.url)
    };
    (open(options).await, proxy)
}

/// The library sends it again, with the same token.
#[tokio::test]
async fn a_write_whose_answer_is_lost_takes_effect_once() {
    let Some(url) = need("dynamodb") else { return };
    let (store, proxy) = through_proxy(&url).await;
    store
        .put(&items(), &key("a"), ANY, doc("{}"))
        .await
        .unwrap();
    let mut changes = store.watch(Some(&items()), WatchFrom::Now).await.unwrap();
    let mut written = Vec::new();
    for n in 0..6 {
        // The batch reads first.
        proxy.arm([Fault::CutAnswer(usize::MAX), Fault::CutAnswer(1 + n)]);
        let put = doc(&format!(r#"{{"n":{n}}}"#));
        let entry = store.put(&items(), &key("a"), ANY, put).await;
        written.push(entry.unwrap().version);
        assert_eq!(proxy.left(), 0);
    }
    for version in written {
        let change = changes.next().await.unwrap().unwrap();
        assert_eq!(change.version, Some(version));
    }
}

#[tokio::test]
async fn a_server_that_says_nothing_leaves_an_outcome_that_can_be_resolved() {
    let Some(url) = need("dynamodb") else { return };
    let (store, proxy) = through_proxy(&url).await;
    store
        .put(&items(), &key("b"), ANY, doc("{}"))
        .await
        .unwrap();
    let id = Env::system().version();
    let batch = Batch::with_id(id).put(&items(), &key("a"), ANY, doc("{}"));
    let held = Held::new();
    // The batch reads first.
    proxy.arm([Fault::CutAnswer(usize::MAX), Fault::Hold(held.clone())]);
    let error = store.write(batch).await.unwrap_err();
    told(
        &error,
        ErrorKind::Timeout,
        Retry::Unknown,
        "did not answer in time",
    );
    assert_eq!(error.batch(), Some(id));
    proxy.arm([]);
    assert_eq!(store.resolve(id, None).await.unwrap(), Outcome::Aborted);
    held.go.add_permits(1);
    held.answered.acquire().await.unwrap().forget();
    assert_eq!(store.head(&items(), &key("a")).await.unwrap(), None);
}

/// Transactions meet these steps, one after the other, and then the last one; other calls
/// pass.
fn transactions<const N: usize>(steps: [Step; N]) -> impl FnMut(&str) -> Step + Send + 'static {
    let mut met = 0;
    move |name| {
        if name != "TransactWriteItems" {
            return Step::Pass;
        }
        met += 1;
        steps[N.min(met) - 1]
    }
}

/// Each try was told by its last error alone, which may be of a request that was refused
/// or never left, while an earlier one had arrived.
#[tokio::test]
async fn a_write_failed_only_if_none_of_its_requests_can_have_arrived() {
    let Some(url) = need("dynamodb") else { return };
    for (steps, retry, happened) in [
        (
            [Step::Refuse(400, "ThrottlingException"); 2],
            Retry::Yes,
            false,
        ),
        (
            [Step::Refuse(500, "InternalServerError"); 2],
            Retry::Unknown,
            false,
        ),
        (
            [Step::Lose, Step::Refuse(400, "ThrottlingException")],
            Retry::Unknown,
            true,
        ),
        (
            [
                Step::Lose,
                Step::Refuse(400, "TransactionInProgressException"),
            ],
            Retry::Unknown,
            true,
        ),
        ([Step::LoseAndEnd, Step::Pass], Retry::Unknown, true),
    ] {
        let mut with = options(&relay(&url, transactions(steps)).await);
        let store = open(with.clone()).await;
        let id = Env::system().version();
        let batch = Batch::with_id(id).put(&items(), &key("a"), ANY, doc("{}"));
        let error = store.write(batch).await.unwrap_err();
        told(&error, ErrorKind::Unavailable, retry, "DynamoDB");
        assert_eq!(error.batch(), Some(id), "{steps:?}");
        with.endpoint = Some(url.clone());
        let outcome = open(with).await.resolve(id, None).await.unwrap();
        let committed = matches!(outcome, Outcome::Committed(Some(_)));
        assert_eq!(committed, happened, "{steps:?}: {outcome:?}");
    }
}

/// A server that was started again does not know the tokens of before, and told a batch
/// whose answer was lost that its id was used already.
#[tokio::test]
async fn a_write_is_recognized_by_a_server_that_has_forgotten_it() {
    let Some(url) = need("dynamodb") else { return };
    let url = relay(&url, transactions([Step::Lose, Step::Forget])).await;
    let store = open(options(&url)).await;
    let mut changes = store.watch(None, WatchFrom::Now).await.unwrap();
    let entry = store
        .put(&items(), &key("a"), ANY, doc("{}"))
        .await
        .unwrap();
    assert_eq!(store.head(&items(), &key("a")).await.unwrap(), Some(entry));
    let change = changes.next().await.unwrap().unwrap();
    assert_eq!(change.version, Some(entry.version));
    // Another batch with this id is told.
    let again = Batch::with_id(entry.version).put(&items(), &key("b"), ANY, doc("{}"));
    let error = store.write(again).await.unwrap_err();
    told(&error, ErrorKind::Conflict, Retry::No, "an id is used once");
}

#[tokio::test]
async fn a_write_that_finds_nobody_listening_did_not_happen() {
    let Some(server) = private("dynamodb") else {
        return;
    };
    let store = open(options(&server.url())).await;
    // From now on it is known that there is no such collection, so nothing is read first.
    store.delete(&items(), &key("a"), ANY).await.unwrap();
    server.kill().unwrap();
    let unreachable = "cannot reach DynamoDB";
    let error = store.health().await.unwrap_err();
    told(&error, ErrorKind::Unavailable, Retry::Yes, unreachable);
    let put = store.put(&items(), &key("a"), ANY, doc("{}")).await;
    told(
        &put.unwrap_err(),
        ErrorKind::Unavailable,
        Retry::Yes,
        unreachable,
    );
    server.start().unwrap();
    assert_eq!(store.head(&items(), &key("a")).await.unwrap(), None);
    store
        .put(&items(), &key("a"), ANY, doc("{}"))
        .await
        .unwrap();
}

/// Speaks TLS before a server that does not.
async fn secured(server: &str, certificate: Certificate) -> String {
    let (chain, secret) = Authority::get().unwrap().files(certificate);
    let chain = CertificateDer::pem_file_iter(chain).unwrap();
    let chain = chain.collect::<Result<Vec<_>, _>>().unwrap();
    let secret = PrivateKeyDer::from_pem_file(secret).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(
        rustls::crypto::ring::default_provider(),
    ));
    let config = config.with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(chain, secret);
    let tls = TlsAcceptor::from(Arc::new(config.unwrap()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = server.strip_prefix("http://").unwrap().to_owned();
    tokio::spawn(async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            let (tls, server) = (tls.clone(), server.clone());
            tokio::spawn(async move {
                // Those who do not trust it hang up.
                if let Ok(mut client) = tls.accept(client).await {
                    let mut server = TcpStream::connect(server).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                }
            });
        }
    });
    format!("https://localhost:{port}")
}

#[tokio::test]
async fn tls_lets_in_only_whom_the_authority_vouches_for() {
    let Some(url) = need("dynamodb") else { return };
    let ca = Authority::get().unwrap().certificate_file();
    let with = |url: &str| {
        let mut options = options(url);
        options.set("ca", ca.to_str().unwrap()).unwrap();
        options
    };
    let good = secured(&url, Certificate::Good).await;
    let store = open(with(&good)).await;
    let entry = store
        .put(&items(), &key("a"), ANY, doc("{}"))
        .await
        .unwrap();
    assert_eq!(store.head(&items(), &key("a")).await.unwrap(), Some(entry));
    // Nobody but the tests trusts their authority.
    let no_safe = |error: &Error, part| told(error, ErrorKind::Unavailable, Retry::No, part);
    no_safe(&refused(options(&good)).await, "name that by the option ca");
    for certificate in [Certificate::WrongHost, Certificate::Expired] {
        let url = secured(&url, certificate).await;
        no_safe(&refused(with(&url)).await, "not to be trusted");
    }
    let plain = url.replace("http://", "https://");
    no_safe(&refused(with(&plain)).await, "does not speak TLS");

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca.pem");
    for (text, part) in [
        ("", "holds no certificate"),
        (
            "-----BEGIN CERTIFICATE-----\n?\n-----END CERTIFICATE-----\n",
            "is damaged",
        ),
        (
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            "none of an authority",
        ),
    ] {
        std::fs::write(&path, text).unwrap();
        let mut with = with(&good);
        with.ca = Some(path.clone());
        told(&refused(with).await, ErrorKind::Invalid, Retry::No, part);
    }
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_is_said_so() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", gone.local_addr().unwrap());
    drop(gone);
    let error = refused(options(&url)).await;
    told(
        &error,
        ErrorKind::Unavailable,
        Retry::Yes,
        "cannot reach DynamoDB",
    );
    let without = DynamoDbOptions {
        access_key_id: None,
        secret_access_key: None,
        ..options(&url)
    };
    told(
        &refused(without).await,
        ErrorKind::Invalid,
        Retry::No,
        "access_key_id",
    );
}

/// What a relay does with a call.
#[derive(Clone, Copy, Debug)]
enum Step {
    Pass,
    /// The answer does not come back.
    Lose,
    /// The same, and it takes no more connections.
    LoseAndEnd,
    /// It goes on without its token, as to a server that forgot that.
    Forget,
    /// It is answered with this error.
    Refuse(u16, &'static str),
    /// Nothing of a call of several rows is done.
    Postpone,
}

/// Stands before a server, and does with each call what a test says, which is told its
/// name.
async fn relay(server: &str, step: impl FnMut(&str) -> Step + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = server.strip_prefix("http://").unwrap().to_owned();
    let step = Arc::new(parking_lot::Mutex::new(step));
    let end = Arc::new(tokio::sync::Notify::new());
    tokio::spawn(async move {
        loop {
            let mut client = tokio::select! {
                client = listener.accept() => client.unwrap().0,
                () = end.notified() => return,
            };
            let (server, step, end) = (server.clone(), step.clone(), end.clone());
            tokio::spawn(async move {
                while let Some(mut request) = message(&mut client).await {
                    let text = String::from_utf8_lossy(&request).into_owned();
                    let mut lines = text.lines();
                    let name = lines.find_map(|line| line.split_once("DynamoDB_20120810."));
                    let step = (*step.lock())(name.unwrap().1);
                    if let Step::Refuse(status, code) = step {
                        client.write_all(&refusal(status, code)).await.unwrap();
                        continue;
                    }
                    if let Step::Postpone = step {
                        client.write_all(&postponed(&text)).await.unwrap();
                        continue;
                    }
                    if let Step::Forget = step {
                        assert!(text.contains(TOKEN), "{text}");
                        request = text.replace(TOKEN, &TOKEN.to_lowercase()).into_bytes();
                    }
                    let mut server = TcpStream::connect(&server).await.unwrap();
                    server.write_all(&request).await.unwrap();
                    let answer = message(&mut server).await.unwrap();
                    match step {
                        Step::Lose => return,
                        Step::LoseAndEnd => return end.notify_one(),
                        _ => client.write_all(&answer).await.unwrap(),
                    }
                }
            });
        }
    });
    url
}

/// What makes a transaction happen once. The server takes another name for none.
const TOKEN: &str = "\"ClientRequestToken\"";

fn refusal(status: u16, code: &str) -> Vec<u8> {
    answer(
        status,
        &format!(r#"{{"__type":"com.amazonaws.dynamodb.v20120810#{code}","message":"no"}}"#),
    )
}

/// All of it is left, as where the capacity is used up.
fn postponed(request: &str) -> Vec<u8> {
    let body = request.split_once("\r\n\r\n").unwrap().1;
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    let left = &body["RequestItems"];
    let body = serde_json::json!({ "UnprocessedKeys": left, "UnprocessedItems": left });
    answer(200, &body.to_string())
}

fn answer(status: u16, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "HTTP/1.1 {status} -\r\nContent-Type: application/x-amz-json-1.0\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// A head and as much as it says that follows.
async fn message(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut all = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&all).to_ascii_lowercase();
        if let Some(end) = text.find("\r\n\r\n") {
            let length = text
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.map_or(0, |length| length.trim().parse().unwrap());
            if all.len() >= end + 4 + length {
                return Some(all);
            }
        }
        let mut buffer = [0; 8192];
        let count = stream
            .read(&mut buffer)
            .await
            .ok()
            .filter(|count| *count > 0)?;
        all.extend_from_slice(&buffer[..count]);
    }
}

#[tokio::test]
async fn calls_that_are_slowed_down_are_tried_again_and_then_told() {
    let Some(url) = need("dynamodb") else { return };
    for code in [
        "ProvisionedThroughputExceededException",
        "ThrottlingException",
    ] {
        let mut left = 3;
        let slow = relay(&url, move |_| match left {
            0 => Step::Pass,
            _ => {
                left -= 1;
                Step::Refuse(400, code)
            }
        });
        let store = open(options(&slow.await)).await;
        store
            .put(&items(), &key("a"), ANY, doc("{}"))
            .await
            .unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = asked.clone();
        let slow = relay(&url, move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
            Step::Refuse(400, code)
        });
        let error = refused(options(&slow.await)).await;
        told(&error, ErrorKind::Unavailable, Retry::Yes, "slows us down");
        assert_eq!(asked.load(Ordering::SeqCst), 8);
    }
}

/// Where capacity is short, DynamoDB does a part of a call, and says what is left.
#[tokio::test]
async fn what_is_left_of_a_call_is_asked_for_again() {
    let Some(url) = need("dynamodb") else { return };
    let several = |name: &str| matches!(name, "BatchGetItem" | "BatchWriteItem");
    let (clock, mut left) = (ManualClock::at(Env::system().now()), 6);
    let short = relay(&url, move |name| match several(name) && left > 0 {
        true => {
            left -= 1;
            Step::Postpone
        }
        false => Step::Pass,
    });
    let with = DynamoDbOptions {
        env: Env::seeded(clock.clone(), Env::system().below(u64::MAX)),
        ..options(&short.await)
    };
    let store = open(with.clone()).await;
    let keys: Vec<_> = (0..5).map(|n| key(&format!("k{n}"))).collect();
    let batch = keys.iter().fold(Batch::new(), |batch, key| {
        batch.put(&items(), key, ANY, doc("{}"))
    });
    store.write(batch).await.unwrap();
    let found = store.get_many(&items(), &keys, Parts::ENTRY).await.unwrap();
    assert_eq!(found.iter().flatten().count(), 5);
    store.drop_collection(&items()).await.unwrap();
    clock.advance(Duration::from_secs(60 * 60));
    store.sweep().await.unwrap();
    let start = format!("{}/items/", with.prefix);
    assert_eq!(count_rows(&url, &start).await, 0);

    let never = relay(&url, move |name| match several(name) {
        true => Step::Postpone,
        false => Step::Pass,
    });
    let with = DynamoDbOptions {
        timeout: Duration::from_secs(1),
        ..options(&never.await)
    };
    let store = open(with).await;
    store
        .put(&items(), &key("a"), ANY, doc("{}"))
        .await
        .unwrap();
    let error = store.get_many(&items(), &[key("a")], Parts::ENTRY).await;
    told(
        &error.unwrap_err(),
        ErrorKind::Unavailable,
        Retry::Yes,
        "slows us down",
    );
}

/// A row of DynamoDB has 400 KiB at most.
#[tokio::test]
async fn the_largest_item_fits_into_a_row_and_a_larger_one_is_refused() {
    let Some(url) = need("dynamodb") else { return };
    let store = open(options(&url)).await;
    let name = key(&"k".repeat(1024));
    let text = |size: usize| format!(r#"{{"t":"{}"}}"#, "x".repeat(size - 8));
    let limit = store.capabilities().max_doc;
    let put = |size| {
        let mut put = Put::bytes(vec![7; 64 * 1024]);
        put.doc = Doc::parse(text(size)).unwrap();
        put.attrs.set("a", vec![1; MAX_ATTRS - 16]).unwrap();
        put
    };
    let entry = store.put(&items(), &name, ANY, put(limit)).await.unwrap();
    let read = store.get(&items(), &name, GetOptions::default()).await;
    let read = read.unwrap().unwrap();
    assert_eq!(
        (read.entry, read.doc().unwrap().as_bytes().len()),
        (entry, limit)
    );
    let error = store.put(&items(), &name, ANY, put(limit + 1)).await;
    told(
        &error.unwrap_err(),
        ErrorKind::TooLarge,
        Retry::No,
        "262144",
    );
    // A larger body is met by pieces, however it is given.
    let large = Put::bytes(vec![8; 1_000_000]);
    store.put(&items(), &name, ANY, large).await.unwrap();
    let read = store.get(&items(), &name, GetOptions::default()).await;
    let body = read.unwrap().unwrap().into_body().unwrap();
    assert_eq!(body.bytes(1 << 20).await.unwrap(), vec![8; 1_000_000]);
}

#[tokio::test]
async fn who_is_not_let_in_is_told_why() {
    let Some(url) = need("dynamodb") else { return };
    for (code, part) in [
        ("UnrecognizedClientException", "keys are wrong"),
        ("InvalidSignatureException", "keys are wrong"),
        ("ExpiredTokenException", "token has expired"),
        ("AccessDeniedException", "docs/dynamodb.md"),
    ] {
        let url = relay(&url, move |_| Step::Refuse(400, code)).await;
        let error = refused(options(&url)).await;
        told(&error, ErrorKind::Denied, Retry::No, part);
    }
}

#[tokio::test]
async fn a_client_of_the_callers_is_used() {
    let Some(url) = need("dynamodb") else { return };
    let with = DynamoDbOptions {
        endpoint: None,
        access_key_id: None,
        secret_access_key: None,
        ..options(&url)
    };
    let store = DynamoDbBackend::from_client(client(&url), with.clone())
        .await
        .unwrap();
    let entry = store
        .put(&items(), &key("a"), ANY, doc("{}"))
        .await
        .unwrap();
    store.close().await.unwrap();
    let again = DynamoDbBackend::from_client(client(&url), with)
        .await
        .unwrap();
    assert_eq!(again.head(&items(), &key("a")).await.unwrap(), Some(entry));
}

/// A store whose clock is set.
async fn with_clock(url: &str) -> (DynamoDbBackend, ManualClock, String) {
    let clock = ManualClock::at(Env::system().now());
    let options = DynamoDbOptions {
        env: Env::seeded(clock.clone(), Env::system().below(u64::MAX)),
        ..options(url)
    };
    (open(options.clone()).await, clock, options.prefix)
}

/// How many rows there are whose partition starts so.
async fn count_rows(url: &str, start: &str) -> usize {
    let pages = client(url)
        .scan()
        .table_name("stories")
        .filter_expression("begins_with(p, :p)")
        .expression_attribute_values(":p", AttributeValue::S(start.to_owned()))
        .consistent_read(true)
        .into_paginator()
        .items()
        .send();
    pages.collect::<Result<Vec<_>, _>>().await.unwrap().len()
}

#[tokio::test]
async fn what_nobody_has_goes_when_its_time_is_over() {
    let Some(url) = need("dynamodb") else { return };
    let (store, clock, prefix) = with_clock(&url).await;
    let start = format!("{prefix}/body/");
    let bodies = || count_rows(&url, &start);
    let large = || byte_stream(vec![5; 70_000]);
    for name in ["kept", "overwritten", "deleted"] {
        store
            .put_stream(&items(), &key(name), ANY, Put::default(), large())
            .await
            .unwrap();
    }
    let dropped = CollectionName::new("dropped").unwrap();
    store
        .define(&dropped, &[Index::parse(&["n"]).unwrap().unique()])
        .await
        .unwrap();
    for n in 0..70 {
        store
            .put(
                &dropped,
                &key(&format!("k{n}")),
                ANY,
                doc(&format!(r#"{{"n":{n}}}"#)),
            )
            .await
            .unwrap();
    }
    store
        .put_stream(&dropped, &key("large"), ANY, Put::default(), large())
        .await
        .unwrap();
    let abandoned = store.stage(&items(), large()).await.unwrap();
    let early = store
        .get(&items(), &key("deleted"), GetOptions::default())
        .await
        .unwrap();
    let mut reading = early.unwrap().into_body().unwrap().into_stream();
    store
        .put(&items(), &key("overwritten"), ANY, doc("{}"))
        .await
        .unwrap();
    store.delete(&items(), &key("deleted"), ANY).await.unwrap();
    store.drop_collection(&dropped).await.unwrap();
    assert_eq!(store.count(&dropped, &Filter::all()).await.unwrap(), 0);
    store.sweep().await.unwrap();
    assert_eq!(bodies().await, 5);
    clock.advance(Duration::from_secs(60 * 60));
    store
        .put_stream(&items(), &key("later"), ANY, Put::default(), large())
        .await
        .unwrap();
    store.sweep().await.unwrap();
    assert_eq!(bodies().await, 2);
    assert_eq!(count_rows(&url, &format!("{prefix}/items/")).await, 3);
    assert_eq!(count_rows(&url, &format!("{prefix}/unique/")).await, 0);
    assert_eq!(count_rows(&url, &format!("{prefix}/staged")).await, 0);
    let error = store
        .put(&items(), &key("a"), ANY, Put::staged(abandoned))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Expired);
    let error = reading.try_next().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");

    // The log has an end, too.
    let mut changes = store.watch(None, WatchFrom::Now).await.unwrap();
    let first = store
        .put(&items(), &key("a"), ANY, doc("{}"))
        .await
        .unwrap();
    let cursor = changes.next().await.unwrap().unwrap().cursor;
    store
        .put(&items(), &key("a"), ANY, doc("{}"))
        .await
        .unwrap();
    clock.advance(Duration::from_secs(49 * 60 * 60));
    store.sweep().await.unwrap();
    assert_eq!(count_rows(&url, &format!("{prefix}/log")).await, 1);
    assert_eq!(count_rows(&url, &format!("{prefix}/batch/")).await, 1);
    assert_eq!(
        store.resolve(first.version, None).await.unwrap(),
        Outcome::Unknown
    );
    let last = store
        .put(&items(), &key("b"), ANY, doc("{}"))
        .await
        .unwrap();
    clock.advance(Duration::from_secs(49 * 60 * 60));
    store.sweep().await.unwrap();
    let again = store.watch(None, WatchFrom::After(cursor)).await.map(drop);
    assert_eq!(again.unwrap_err().kind(), ErrorKind::Expired);
    assert_eq!(store.head(&items(), &key("b")).await.unwrap(), Some(last));
}

/// Rows of an index are put before the transaction that makes them true, and stay for a
/// while when it is no more: what is found is what the items say, and without reading all.
#[tokio::test]
async fn an_index_finds_what_the_items_say_and_reads_no_others() {
    let Some(url) = need("dynamodb") else { return };
    let queries = Arc::new(AtomicUsize::new(0));
    let counted = queries.clone();
    let through = relay(&url, move |name| {
        counted.fetch_add(usize::from(name == "Query"), Ordering::SeqCst);
        Step::Pass
    });
    let (store, clock, prefix) = with_clock(&through.await).await;
    let padding = "x".repeat(8000);
    let doc = |group: &str, n: u32| {
        doc(&format!(
            r#"{{"group":"{group}","n":{n},"padding":"{padding}"}}"#
        ))
    };
    let find = async |filter: &str| {
        let before = queries.load(Ordering::SeqCst);
        let found = store.query(&items(), Query::new(Filter::parse(filter).unwrap()));
        let found: Vec<_> = found.try_collect().await.unwrap();
        let keys: Vec<_> = found.iter().map(|item| item.key.to_string()).collect();
        (keys, queries.load(Ordering::SeqCst) - before)
    };
    let all: Vec<u32> = (0..192).collect();
    for some in all.chunks(32) {
        let batch = some.iter().fold(Batch::new(), |batch, n| {
            let group = ["even", "odd"][*n as usize % 2];
            batch.put(&items(), &key(&format!("k{n:03}")), ANY, doc(group, *n))
        });
        store.write(batch).await.unwrap();
    }
    let wanted = r#"{"group":"odd","n":{"$gte":189}}"#;
    let keys = ["k189", "k191"].map(str::to_owned).to_vec();
    let (found, pages) = find(wanted).await;
    assert_eq!(found, keys);
    assert!(pages > 1, "the whole collection is a page");
    let index = Index::parse(&["group", "n"]).unwrap();
    store.define(&items(), &[index]).await.unwrap();
    assert_eq!(find(wanted).await, (keys, 1));
    let rows = async || count_rows(&url, &format!("{prefix}/index/")).await;
    assert_eq!(rows().await, 192);

    // Moved, moved within the range, and deleted; and a batch that is refused.
    store
        .put(&items(), &key("k189"), ANY, doc("even", 189))
        .await
        .unwrap();
    store
        .put(&items(), &key("k001"), ANY, doc("odd", 1000))
        .await
        .unwrap();
    store.delete(&items(), &key("k191"), ANY).await.unwrap();
    store
        .put(&items(), &key("k003"), Condition::Absent, doc("odd", 1001))
        .await
        .unwrap_err();
    assert_eq!(find(wanted).await, (vec!["k001".to_owned()], 1));
    assert_eq!(rows().await, 194, "for who reads meanwhile");
    clock.advance(Duration::from_secs(60 * 60));
    store.sweep().await.unwrap();
    assert_eq!(rows().await, 191);
    assert_eq!(find(wanted).await, (vec!["k001".to_owned()], 1));

    store.drop_collection(&items()).await.unwrap();
    clock.advance(Duration::from_secs(60 * 60));
    store.sweep().await.unwrap();
    assert_eq!(rows().await, 0);
}

/// While an index is made, others write: none slips in unseen.
#[tokio::test]
async fn an_index_that_is_made_while_others_write_binds_all_of_them() {
    let Some(url) = need("dynamodb") else { return };
    let options = options(&url);
    let (store, other) = (open(options.clone()).await, open(options).await);
    for round in 0..4 {
        let items = CollectionName::new(format!("round{round}")).unwrap();
        for start in [0, 30, 60, 90] {
            let batch = (start..start + 30).fold(Batch::new(), |batch, n| {
                batch.put(
                    &items,
                    &key(&format!("old{n}")),
                    ANY,
                    doc(&format!(r#"{{"n":{n}}}"#)),
                )
            });
            store.write(batch).await.unwrap();
        }
        let index = [Index::parse(&["n"]).unwrap().unique()];
        let write = async {
            let mut won = 0;
            for n in 0..20 {
                let value = if n % 4 == 3 && round % 2 == 0 {
                    n
                } else {
                    1000 + n
                };
                let put = doc(&format!(r#"{{"n":{value}}}"#));
                match other.put(&items, &key(&format!("new{n}")), ANY, put).await {
                    Ok(_) => won += i32::from(value < 1000),
                    Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict, "{error}"),
                }
            }
            won
        };
        let (defined, shared) = tokio::join!(store.define(&items, &index), write);
        let found = store
            .scan(&items, Scan::all())
            .try_collect::<Vec<_>>()
            .await
            .unwrap();
        let values = found
            .iter()
            .map(|item| item.doc().unwrap().value().unwrap()["n"].as_i64().unwrap());
        let different: std::collections::HashSet<_> = values.collect();
        let late = other
            .put(&items, &key("late"), ANY, doc(r#"{"n":7}"#))
            .await;
        match defined {
            Ok(()) => {
                assert_eq!(different.len(), found.len(), "two items share a value");
                assert_eq!(late.unwrap_err().kind(), ErrorKind::Conflict);
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
                assert!(shared > 0, "{error}");
                late.unwrap();
            }
        }
    }
}

/// The promises hold while connections break and the server is killed.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_doubled_while_connections_break_and_the_server_dies() {
    let Some(server) = private("dynamodb") else {
        return;
    };
    let open = |url: String| async move {
        let mut options = DynamoDbOptions {
            prefix: "faults".to_owned(),
            ..options(&url)
        };
        options.set("timeout", "2s")?;
        options.set("connect_timeout", "2s")?;
        Ok(DynamoDbBackend::open(options).await?.into())
    };
    faults::check(Subject::new(server.url(), open).killed(server)).await;
}
