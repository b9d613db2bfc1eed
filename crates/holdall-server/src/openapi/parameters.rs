//! What stands in URLs and headers of requests.

use holdall_wire::schema::{Base64, BatchId, Collection, Key, Version};
use serde_json::json;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{Object, ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Required, Schema};
use utoipa::{IntoParams, PartialSchema};

macro_rules! parameters {
    ($($(#[doc = $doc:literal])* $name:ident: [$($parameter:expr),+ $(,)?];)*) => {$(
        $(#[doc = $doc])*
        pub(crate) struct $name;

        impl IntoParams for $name {
            fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
                vec![$($parameter),+]
            }
        }
    )*};
}

parameters! {
    /// An item by its path.
    ByPath: [
        path("collection", Collection::schema(), "The collection, percent-encoded: a `/` in it is `%2F`."),
        path("key", Key::schema(), "The key: all that follows, percent-encoded. A `/` may stand as it is; segments that are `.` or `..` are refused, use `/v1/item` for them."),
    ];
    /// An item by its names.
    ByNames: [collection(), needed("key", Key::schema(), "The key.")];
    /// The collection that a call is about.
    InCollection: [collection()];
    /// What a read asks for.
    Reading: [
        part(),
        flag("doc", true, "Of `part=item`: whether the doc is wanted."),
        flag("body", true, "Of `part=item`: whether the body is wanted."),
        flag("attrs", false, "Of `part=item`: whether what layers keep is wanted."),
        query(
            "range",
            text().pattern(Some(r"^([0-9]+\.\.[0-9]*|-[0-9]+)$")).examples(["10..20"]),
            "Of `part=item`: bytes of the body, as `10..20` (the second left out), `10..`, or `-5` for the last five.",
        ),
        header("If-Match", text().pattern(Some(ANY_OR_TAG)), "`*`, or the version that the item must be of, in quotes; else 412."),
        header("If-None-Match", text(), "Versions in quotes; 304 if the item is of one of them."),
        header("Range", text().examples(["bytes=0-1023"]), "One range of bytes of the body, answered by 206."),
        header("If-Range", text(), "A version in quotes: the range holds only if the item is of it; else all is answered."),
    ];
    /// What a read in a transaction asks for.
    ReadingWithin: [
        part(),
        flag("doc", true, "Of `part=item`: whether the doc is wanted."),
        flag("body", true, "Of `part=item`: whether the body is wanted."),
        flag("attrs", false, "Of `part=item`: whether what layers keep is wanted."),
    ];
    /// What must hold for a write, and its id.
    Writing: [
        header("If-Match", text().pattern(Some(ANY_OR_TAG)), "`*`: only if there is such an item; a version in quotes: only if it is of that version. Else 412."),
        header("If-None-Match", text().enum_values(Some(["*"])), "`*`: only if there is no such item. Else 412."),
        header("Holdall-Batch", BatchId::schema(), "Gives the write an id, a UUIDv7 of now, by which it can be resolved."),
    ];
    /// What frames an item.
    Frame: [
        head_length("Of `application/vnd.holdall.item`: so many bytes at the start of the content are the doc."),
        header("Holdall-Body", text().enum_values(Some(["none"])), "`none`: the item has no body, and nothing stands behind the doc."),
        header("Holdall-Attrs", Base64::schema(), "What layers keep with the item."),
    ];
    /// What frames a batch.
    BatchFrame: [
        head_length("Of `application/vnd.holdall.batch`: so many bytes at the start of the content are the JSON."),
    ];
    /// What a scan asks for.
    Scanning: [
        query("prefix", text(), "Only keys that start so."),
        query("after", text(), "Goes on behind this key: the `next` of the page before."),
        flag("reverse", false, "From the last key to the first."),
        query("limit", whole().default(Some(json!(100))), "The most items of the page."),
        flag("doc", true, "Whether docs are wanted."),
        flag("body", false, "Whether bodies of up to 64 KiB are wanted."),
        flag("attrs", false, "Whether what layers keep is wanted."),
    ];
    /// Where a watch starts.
    Watching: [
        query("collection", Collection::schema(), "The collection; all if it is left out."),
        query("from", text(), "Goes on behind the event of this id."),
        header("Last-Event-ID", text(), "The same, and goes before it: browsers send it when they connect again."),
    ];
    /// The transaction.
    InTransaction: [path("id", Version::schema(), "The id of the transaction.")];
    /// The batch.
    OfBatch: [path("id", Version::schema(), "The id of the batch.")];
}

/// `*`, or a version in quotes.
const ANY_OR_TAG: &str = r#"^(\*|"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")$"#;

fn named(
    name: &str,
    place: ParameterIn,
    schema: impl Into<RefOr<Schema>>,
    what: &str,
) -> ParameterBuilder {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(place)
        .required(Required::False)
        .schema(Some(schema))
        .description(Some(what))
}

fn path(name: &str, schema: impl Into<RefOr<Schema>>, what: &str) -> Parameter {
    let parameter = named(name, ParameterIn::Path, schema, what);
    parameter.required(Required::True).build()
}

fn query(name: &str, schema: impl Into<RefOr<Schema>>, what: &str) -> Parameter {
    named(name, ParameterIn::Query, schema, what).build()
}

fn needed(name: &str, schema: impl Into<RefOr<Schema>>, what: &str) -> Parameter {
    let parameter = named(name, ParameterIn::Query, schema, what);
    parameter.required(Required::True).build()
}

fn header(name: &str, schema: impl Into<RefOr<Schema>>, what: &str) -> Parameter {
    named(name, ParameterIn::Header, schema, what).build()
}

fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

/// A number from 0 on.
fn whole() -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .minimum(Some(0))
}

fn flag(name: &str, default: bool, what: &str) -> Parameter {
    let schema = ObjectBuilder::new()
        .schema_type(Type::Boolean)
        .default(Some(json!(default)));
    query(name, schema, what)
}

fn collection() -> Parameter {
    needed("collection", Collection::schema(), "The collection.")
}

fn part() -> Parameter {
    query(
        "part",
        text().enum_values(Some(["doc", "body", "item"])),
        "Which content: `doc`, `body`, or `item` for both, framed. Left out, it is the body where there is one, else the doc.",
    )
}

fn head_length(what: &str) -> Parameter {
    let schema: Object = whole().build();
    header("Holdall-Head-Length", schema, what)
}
