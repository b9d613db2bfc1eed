//! `holdall.toml`: what is read, and how what is wrong is named.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use holdall::{Config, ErrorKind, Layer, ModelKind, Stores, Value, json};

const WHOLE: &str = r#"
default = "main"

[backends.disk]
url = "memory:"

[backends.other]
url = "sqlite:x.db?synchronous=normal"
readers = 8

[stores.main]
backend = "disk"
layers = [
  { type = "namespace", name = "acme" },
  { type = "namespace", name = "inner" },
]

[models.contacts]
type = "records"
store = "main"
collection = "contacts"
"#;

#[test]
fn a_whole_configuration_is_read() {
    let config = Config::parse(WHOLE).unwrap();
    assert_eq!(config.default_name(), Some("main"));
    let other = &config.backends()["other"];
    assert_eq!(other.path(), "x.db");
    assert_eq!(other.option("readers"), Some("8"));
    assert_eq!(other.option("synchronous"), Some("normal"));
    let namespace = |name: &str| Layer::Namespace { name: name.into() };
    let main = config.store("main").unwrap();
    assert_eq!(main.layers, [namespace("acme"), namespace("inner")]);
    assert!(config.store("disk").unwrap().layers.is_empty());
    let model = &config.models()["contacts"];
    assert_eq!(
        (model.kind, model.store.as_str()),
        (ModelKind::Records, "main")
    );
    assert_eq!(Config::parse("").unwrap(), Config::default());
}

#[test]
fn a_map_of_the_same_shape_is_the_same() {
    let map = json!({
        "default": "main",
        "backends": {
            "disk": {"url": "memory:"},
            "other": {"url": "sqlite:x.db?synchronous=normal", "readers": 8},
        },
        "stores": {"main": {"backend": "disk", "layers": [
            {"type": "namespace", "name": "acme"},
            {"type": "namespace", "name": "inner"},
        ]}},
        "models": {"contacts": {"type": "records", "store": "main", "collection": "contacts"}},
    });
    assert_eq!(
        Config::from_json(&map).unwrap(),
        Config::parse(WHOLE).unwrap()
    );
    for wrong in [json!([]), json!({"stores": null}), json!({"x": 1})] {
        assert!(Config::from_json(&wrong).is_err(), "{wrong}");
    }
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    let backend = "[backends.a]\nurl = \"memory:\"\n";
    for (text, place) in [
        (
            "defalt = \"a\"",
            "defalt (line 1, column 1) is not valid: this name is unknown here; there are backends, stores, models, default",
        ),
        (
            "default = \"a\"",
            "default (line 1, column 1) is not valid: no store or backend is called \"a\"; there are none",
        ),
        ("default = 1", "a string"),
        (
            "[backends]\na = 1",
            "backends.a (line 2, column 1) is not valid: it takes a table",
        ),
        (
            "[backends.a]\nurll = \"memory:\"",
            "backends.a (line 1, column 11) is not valid: \"url\" is missing",
        ),
        (
            "[backends.a]\nurl = \"nothing\"",
            "backends.a.url (line 2, column 1)",
        ),
        (
            "[backends.a]\nurl = \"xy:z?a=1\"\na = 2",
            "in the URL and beside it",
        ),
        (
            "[backends.a]\nurl = \"xy:\"\nb = [1]",
            "backends.a.b (line 3, column 1)",
        ),
        ("[backends.a]\nurl = \"xy:\"\nb = 0x10", "not decimal"),
        ("[backends.\"\"]\nurl = \"xy:\"", "its name is empty"),
        ("[backends.a]\nurl = \"xy:\"\nurl = \"xy:\"", "line 3"),
        (
            "[stores.s]\nbackend = \"a\"",
            "no backend is called \"a\"; there are none",
        ),
        (
            "@[stores.s]\nbackend = \"a\"\nlayer = []",
            "stores.s.layer (line 5, column 1) is not valid: this name is unknown here; there are backend, layers",
        ),
        (
            "@[stores.s]\nbackend = \"a\"\nlayers = [{}]",
            "stores.s.layers[0] (line 5, column 11) is not valid: \"type\" is missing",
        ),
        (
            "@[stores.s]\nbackend = \"a\"\nlayers = [{ type = \"chache\" }]",
            "stores.s.layers[0].type (line 5, column 13) is not valid: the layer \"chache\" is unknown; there are namespace",
        ),
        (
            "@[stores.s]\nbackend = \"a\"\nlayers = [{ type = \"namespace\", name = \"x\", nme = 1 }]",
            "layers[0].nme",
        ),
        (
            "@[models.m]\ntype = \"mail\"",
            "the model \"mail\" is unknown; there are records",
        ),
        (
            "@[models.m]\ntype = \"records\"\nstore = \"b\"",
            "models.m.store (line 5, column 1)",
        ),
        (
            "@[models.m]\ntype = \"records\"\nstore = \"a\"\ncollection = \"\"",
            "a collection's name must not be empty",
        ),
        ("a = ", "is no TOML"),
    ] {
        let text = text.replace('@', backend);
        let error = Config::parse(&text).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains(place), "{text}\n{error}");
    }
}

/// A parser that shows the line which it stumbled over shows passwords.
#[test]
fn secrets_are_in_no_error() {
    for text in [
        "[backends]\na = \"postgres://u:hunter2@db\"",
        "[backends.a]\nurl = \"postgres://u:hunter2@db#x\"",
        "[backends.a]\nurl = \"postgres://u:hunter2@db\" x",
        "[backends.a]\nurl = \"postgres://u:hunter2@db",
        "[backends.a]\nurl = \"postgres:x\"\npassword = [\"hunter2\"]",
    ] {
        let error = Config::parse(text).unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }
    let config = Config::parse(
        "[backends.a]\nurl = \"postgres://u:hunter2@db?token=hunter2\"\nblob = \"hunter2\"",
    );
    let shown = format!("{:?}", config.unwrap());
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn too_much_is_refused() {
    let error = Config::parse(&" ".repeat(1024 * 1024 + 1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    let deep = format!("a = {}{}", "[".repeat(40), "]".repeat(40));
    assert!(
        Config::parse(&deep)
            .unwrap_err()
            .to_string()
            .contains("levels")
    );
}

#[tokio::test]
async fn stores_share_a_backend_and_see_their_own_part_of_it() {
    let stores = Stores::new(Config::parse(WHOLE).unwrap());
    let contacts = stores.records::<Value>("contacts").await.unwrap();
    contacts.create(Some("ada"), &json!({})).await.unwrap();
    let whole = stores.store("disk").await.unwrap();
    let names = whole.backend().collections().await.unwrap();
    assert_eq!(names[0].as_str(), "inner/acme/contacts");
    let main = stores.default().await.unwrap();
    assert_eq!(
        main.backend().collections().await.unwrap()[0].as_str(),
        "contacts"
    );

    let error = stores.store("nope").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(
        error.message().contains("\"disk\", \"main\", \"other\""),
        "{error}"
    );
    assert!(stores.records::<Value>("nope").await.is_err());
    stores.close().await.unwrap();
    assert!(main.health().await.is_err() || main.backend().collections().await.is_err());
}

#[tokio::test]
async fn a_layer_that_breaks_its_rule_names_the_store() {
    let text = "[backends.a]\nurl = \"memory:\"\n[stores.s]\nbackend = \"a\"\n\
                layers = [{ type = \"namespace\", name = \"a/b\" }]";
    let stores = Stores::new(Config::parse(text).unwrap());
    let error = stores.store("s").await.unwrap_err().to_string();
    assert!(
        error.contains("\"s\"") && error.contains("\"a/b\""),
        "{error}"
    );
}

#[test]
fn the_settings_of_a_server_are_handed_out_with_their_places() {
    let config = Config::parse(
        r#"
[server]
listen = "127.0.0.1:4520"
cors = ["https://a.example", "https://b.example"]
[server.limits]
max_headers = 7
[server.tls]
cert = "c.pem"
"#,
    )
    .unwrap();
    let server = config.server();
    let names: Vec<_> = server.keys().map(String::as_str).collect();
    assert_eq!(names, ["cors", "limits.max_headers", "listen", "tls.cert"]);
    assert_eq!(server["limits.max_headers"].value().unwrap(), "7");
    assert_eq!(server["cors"].values().len(), 2);
    let error = server["cors"].value().unwrap_err().to_string();
    assert!(error.contains("server.cors (line 4, column 1)"), "{error}");
    let error = server["tls.cert"].refuse("no").to_string();
    assert!(error.contains("server.tls.cert (line 8"), "{error}");
    assert!(!format!("{config:?}").contains("4520"));

    for wrong in [
        "server = 1",
        "[server]\nlisten = 1979-05-27",
        "[server]\ncors = [[1]]",
        "[server]\n\"a.b\" = 1\na.b = 2",
    ] {
        let error = Config::parse(wrong).unwrap_err().to_string();
        assert!(error.contains("server"), "{wrong}: {error}");
    }
}
