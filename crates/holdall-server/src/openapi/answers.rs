//! What is answered.

use std::collections::BTreeMap;

use holdall_wire::schema::{Base64, Digest, Line, Time};
use holdall_wire::{Problem, names};
use serde_json::json;
use utoipa::openapi::extensions::Extensions;
use utoipa::openapi::header::{Header, HeaderBuilder};
use utoipa::openapi::link::LinkBuilder;
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, SchemaFormat, Type};
use utoipa::openapi::{Components, ContentBuilder, Ref, RefOr, Response, ResponseBuilder, Schema};
use utoipa::{IntoResponses, PartialSchema, ToSchema};

/// Errors by status: a name, what they mean, and the header that tells more.
const PROBLEMS: [(u16, &str, &str, Option<&str>); 20] = [
    (
        400,
        "BadRequest",
        "The request is not as it should be.",
        None,
    ),
    (
        401,
        "Unauthorized",
        "There is no token that is good.",
        Some("WWW-Authenticate"),
    ),
    (
        403,
        "Forbidden",
        "The scope of the token does not reach so far.",
        None,
    ),
    (404, "NotFound", "There is no such thing.", None),
    (
        405,
        "MethodNotAllowed",
        "There is no such call.",
        Some("Allow"),
    ),
    (408, "RequestTimeout", "The request came too slowly.", None),
    (
        409,
        "Conflict",
        "Something is not as the write wanted it. Read it again, then decide.",
        None,
    ),
    (
        410,
        "Gone",
        "It is too late: the id of the batch is too old, or what followed the event is no longer kept.",
        None,
    ),
    (
        411,
        "LengthRequired",
        "The request must say how long its content is.",
        None,
    ),
    (
        412,
        "PreconditionFailed",
        "The item is not as `If-Match` or `If-None-Match` wanted it.",
        None,
    ),
    (
        413,
        "ContentTooLarge",
        "Something is larger than its limit.",
        None,
    ),
    (414, "UriTooLong", "The URL is longer than its limit.", None),
    (
        415,
        "UnsupportedMediaType",
        "The content is of a type, or of an encoding, that this call does not take.",
        None,
    ),
    (
        416,
        "RangeNotSatisfiable",
        "The range lies beyond the body.",
        Some("Content-Range"),
    ),
    (
        417,
        "ExpectationFailed",
        "The server does not know what `Expect` asks for.",
        None,
    ),
    (
        422,
        "Unsupported",
        "The store cannot do this; `/v1/capabilities` tells what it can.",
        None,
    ),
    (
        429,
        "TooManyRequests",
        "There are more requests in a second than one token may make.",
        Some("Retry-After"),
    ),
    (
        431,
        "HeadTooLarge",
        "The headers are larger, or more, than their limit.",
        None,
    ),
    (
        500,
        "Failed",
        "The store is damaged or failed. The server's log says more.",
        None,
    ),
    (
        503,
        "Unavailable",
        "The server is at a limit, is about to end, or its store does not work.",
        Some("Retry-After"),
    ),
];

/// A timeout, which is not one of HTTP's conditions but of the store.
const TIMEOUT: (u16, &str, &str, Option<&str>) = (
    504,
    "Timeout",
    "The store did not answer in time. A write may have happened.",
    None,
);

fn problems() -> impl Iterator<Item = (u16, &'static str, &'static str, Option<&'static str>)> {
    PROBLEMS.into_iter().chain([TIMEOUT])
}

/// Adds the answers that calls refer to.
pub(super) fn define(components: &mut Components) {
    for (_, name, what, more) in problems() {
        let headers: Vec<_> = ["Cache-Control"].into_iter().chain(more).collect();
        let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem")));
        let response = with_headers(ResponseBuilder::new().description(what), &headers)
            .content(Problem::TYPE, content.build());
        let response = RefOr::T(response.build());
        components.responses.insert(name.to_owned(), response);
    }
}

type Answers = BTreeMap<String, RefOr<Response>>;

fn errors(statuses: &[u16]) -> Answers {
    let named = problems().filter(|(status, ..)| statuses.contains(status));
    named
        .map(|(status, name, ..)| {
            let reference = Ref::from_response_name(name);
            (status.to_string(), RefOr::Ref(reference))
        })
        .collect()
}

fn with_headers(mut response: ResponseBuilder, headers: &[&str]) -> ResponseBuilder {
    for name in headers {
        response = response.header(*name, header(name));
    }
    response
}

/// A header of an answer. Those that always come are marked as required, which
/// utoipa has no word for.
fn header(name: &str) -> Header {
    let text = || ObjectBuilder::new().schema_type(Type::String);
    let size = || {
        ObjectBuilder::new()
            .schema_type(Type::Integer)
            .minimum(Some(0))
    };
    let (always, schema, what): (bool, RefOr<Schema>, _) = match name {
        "Accept-Ranges" => (
            true,
            text().enum_values(Some(["bytes"])).into(),
            "Ranges of the body can be asked for.",
        ),
        "Allow" => (true, text().into(), "The methods that are taken."),
        "Cache-Control" => (true, text().into(), "Whether a cache may keep the answer."),
        "Content-Range" => (
            true,
            text()
                .pattern(Some(r"^bytes (\*|[0-9]+-[0-9]+)/[0-9]+$"))
                .into(),
            "Which bytes these are, and of how many.",
        ),
        "Content-Security-Policy" => (
            true,
            text().into(),
            "What a browser may do with the answer: nothing.",
        ),
        "ETag" => (
            true,
            text().pattern(Some(r#"^"[0-9a-f-]{36}"$"#)).into(),
            "The version, in quotes.",
        ),
        "Holdall-Attrs" => (false, Base64::schema(), "What layers keep with the item."),
        "Holdall-Created" => (true, Time::schema(), "When the item was first put."),
        "Holdall-Digest" => (
            false,
            Digest::schema(),
            "The BLAKE3 digest of the body; absent where there is none.",
        ),
        "Holdall-Head-Length" => (
            false,
            size().into(),
            "Of `part=item`: so many bytes at the start of the content are the doc.",
        ),
        "Holdall-Modified" => (true, Time::schema(), "When this version was put."),
        "Holdall-Range" => (
            false,
            text().pattern(Some(r"^[0-9]+\.\.[0-9]+$")).into(),
            "Of `part=item`: which bytes of the body these are.",
        ),
        "Holdall-Size" => (
            false,
            size().into(),
            "The bytes of the body; absent where there is none.",
        ),
        "Last-Modified" => (
            true,
            text().into(),
            "When this version was put, to the second.",
        ),
        "Location" => (true, text().into(), "Where to go."),
        "Retry-After" => (false, size().into(), "In so many seconds, try again."),
        "Vary" => (
            false,
            text().into(),
            "Which headers of the request the answer depends on.",
        ),
        "WWW-Authenticate" => (true, text().into(), "How to send a token."),
        "X-Content-Type-Options" => (
            true,
            text().enum_values(Some(["nosniff"])).into(),
            "No browser is to guess another type.",
        ),
        // A test shows that there is none.
        _ => (false, text().into(), ""),
    };
    let header = HeaderBuilder::new()
        .schema(Some(schema))
        .description(Some(what));
    let required = always.then(|| Extensions::from_iter([("required", true)]));
    header.extensions(required).build()
}

/// What an answer says of an item.
const ENTRY: [&str; 7] = [
    "ETag",
    "Last-Modified",
    "Holdall-Created",
    "Holdall-Modified",
    "Holdall-Size",
    "Holdall-Digest",
    "Cache-Control",
];

fn binary() -> ObjectBuilder {
    let format = SchemaFormat::KnownFormat(KnownFormat::Binary);
    ObjectBuilder::new()
        .schema_type(Type::String)
        .format(Some(format))
}

/// Bytes as they are.
pub(crate) struct Raw;

impl PartialSchema for Raw {
    fn schema() -> RefOr<Schema> {
        binary().into()
    }
}

impl ToSchema for Raw {}

fn json<T: ToSchema>(what: &str) -> ResponseBuilder {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(T::name())));
    let response = ResponseBuilder::new().description(what);
    with_headers(response, &["Cache-Control"]).content("application/json", content.build())
}

fn content(schema: impl Into<RefOr<Schema>>) -> utoipa::openapi::Content {
    ContentBuilder::new().schema(Some(schema)).build()
}

/// Text that is a sequence of JSON values: JSON Schema says what they are.
fn sequence<T: ToSchema>(kind: &str) -> utoipa::openapi::Content {
    let of = json!({ "$ref": format!("#/components/schemas/{}", T::name()) });
    let schema = ObjectBuilder::new()
        .schema_type(Type::String)
        .content_media_type(kind)
        .extensions(Some(Extensions::from_iter([("contentSchema", of)])));
    content(schema)
}

type Links = [(&'static str, Known)];
type Known = &'static [(&'static str, &'static str)];

/// What to call next, and which of its parameters are known from this answer.
fn leading(mut response: ResponseBuilder, links: &Links) -> ResponseBuilder {
    for (operation, known) in links {
        let mut link = LinkBuilder::new().operation_id(*operation);
        for (parameter, expression) in *known {
            link = link.parameter(*parameter, *expression);
        }
        response = response.link(*operation, link.build());
    }
    response
}

/// From an item that was put to what can be done with it.
const TO_ITEM: &Links = &[
    ("get_item", BY_NAMES),
    ("head_item", BY_NAMES),
    ("put_item", BY_NAMES),
    ("delete_item", BY_NAMES),
];
const BY_NAMES: Known = &[
    ("collection", "$request.query.collection"),
    ("key", "$request.query.key"),
];

/// The same by its path.
const TO_ITEM_BY_PATH: &Links = &[
    ("get_item_by_path", BY_PATH),
    ("head_item_by_path", BY_PATH),
    ("put_item_by_path", BY_PATH),
    ("delete_item_by_path", BY_PATH),
];
const BY_PATH: Known = &[
    ("collection", "$request.path.collection"),
    ("key", "$request.path.key"),
];

/// From a transaction to what can be done in it.
const TO_TRANSACTION: &Links = &[
    ("get_item_in_transaction", BY_ID),
    ("put_item_in_transaction", BY_ID),
    ("delete_item_in_transaction", BY_ID),
    ("query_in_transaction", BY_ID),
    ("commit", BY_ID),
    ("rollback", BY_ID),
];

const TO_BATCH: &Links = &[("resolve_batch", BY_ID)];
const BY_ID: Known = &[("id", "$response.body#/id")];

fn success(status: u16, response: ResponseBuilder) -> Answers {
    Answers::from([(status.to_string(), response.into())])
}

macro_rules! answers {
    ($($(#[doc = $doc:literal])* $name:ident: $($answers:expr),+;)*) => {$(
        $(#[doc = $doc])*
        pub(crate) struct $name;

        impl IntoResponses for $name {
            fn responses() -> Answers {
                let mut all = Answers::new();
                $(all.extend($answers);)+
                all
            }
        }
    )*};
}

/// The same for a type of what is answered.
macro_rules! json_answers {
    ($($(#[doc = $doc:literal])* $name:ident($status:literal, $type:ty, $what:literal) $(or $errors:expr)?;)*) => {$(
        $(#[doc = $doc])*
        pub(crate) struct $name;

        impl IntoResponses for $name {
            fn responses() -> Answers {
                #[allow(unused_mut)]
                let mut all = success($status, json::<$type>($what));
                $(all.extend(errors(&$errors));)?
                all
            }
        }
    )*};
}

answers! {
    /// What can go wrong with every call of the API.
    Usual: errors(&[400, 401, 403, 408, 413, 414, 417, 429, 431, 500, 503, 504]);
    /// What can go wrong where no token is needed.
    Open: errors(&[408, 413, 414, 417, 429, 431, 503]);
    /// What can go wrong with content.
    WithContent: errors(&[411, 415]);
    /// An item.
    Found: success(200, whole_item()), success(206, part_of_body()), success(304, unchanged()),
        errors(&[404, 412, 416]);
    /// An item, read in a transaction.
    FoundWithin: success(200, whole_item()), errors(&[404, 409]);
    /// An item that was put.
    Stored: stored(TO_ITEM);
    /// An item that was put by its path.
    StoredByPath: stored(TO_ITEM_BY_PATH);
    /// A transaction that was begun.
    Begun: success(201, leading(json::<crate::api::Begun>("The transaction."), TO_TRANSACTION)),
        errors(&[422]);
    /// A batch that was written.
    Wrote: success(200, leading(json::<holdall_wire::BatchAnswer>("All operations took effect."), TO_BATCH)),
        errors(&[409, 410, 422]);
    /// What was asked for is done, and there is nothing to say.
    Done: success(204, ResponseBuilder::new().description("It is done."));
    /// What can go wrong with a write.
    WriteFailed: errors(&[409, 410, 412, 422]);
    /// What can go wrong in a transaction.
    TransactionFailed: errors(&[404, 409, 410, 422]);
    /// What stores differ in.
    MayBeUnsupported: errors(&[404, 409, 422]);
    /// A page of items.
    PageOfLines: success(200, lines());
    /// Changes.
    Changes: success(200, events()), errors(&[410, 422]);
    /// What the server counts.
    Counts: success(200, with_headers(
        ResponseBuilder::new().description("The metrics."), &["Cache-Control"],
    ).content(crate::Metrics::TYPE, content(ObjectBuilder::new().schema_type(Type::String))));
    /// A page for people.
    ForPeople: success(200, with_headers(
        ResponseBuilder::new().description("The page."), &["Cache-Control", "Content-Security-Policy"],
    ).content("text/html", content(ObjectBuilder::new().schema_type(Type::String))));
    /// The look of the page.
    Look: success(200, with_headers(
        ResponseBuilder::new().description("The style sheet."), &["Cache-Control"],
    ).content("text/css", content(ObjectBuilder::new().schema_type(Type::String))));
    /// The way to the page.
    ToThePage: success(308, with_headers(
        ResponseBuilder::new().description("The page stands elsewhere."), &["Location"],
    ));
    /// This document.
    Document: success(200, with_headers(
        ResponseBuilder::new().description("An OpenAPI 3.1 document."), &["Cache-Control"],
    ).content("application/json", content(ObjectBuilder::new().schema_type(Type::Object))));
}

json_answers! {
    /// A body that was staged.
    StagedBody(201, holdall_wire::StagedShape, "The body waits for the batch that uses it.") or [422];
    /// What became of a batch.
    Outcome(200, holdall_wire::OutcomeShape, "What became of the batch.") or [410, 422];
    /// Numbers of items.
    Counted(200, holdall_wire::Counts, "How many items there are.") or [422];
    /// Collections.
    Collections(200, crate::api::Collections, "The collections that have items.") or [422];
    /// A transaction that was committed.
    Committed(200, crate::api::Committed, "The version of all that it put.");
    /// What the store can do.
    Can(200, holdall_wire::CapabilitiesShape, "What the store can do through this server.");
    /// All is well.
    Well(200, crate::api::Well, "All is well.");
}

fn whole_item() -> ResponseBuilder {
    let response = ResponseBuilder::new().description("The item.");
    let response = with_headers(response, &ENTRY);
    with_headers(
        response,
        &[
            "Content-Security-Policy",
            "X-Content-Type-Options",
            "Holdall-Head-Length",
            "Holdall-Range",
            "Holdall-Attrs",
        ],
    )
    .content("application/json", content(Ref::from_schema_name("Doc")))
    .content("application/octet-stream", content(binary()))
    .content(names::ITEM_TYPE, content(binary()))
}

fn part_of_body() -> ResponseBuilder {
    let response = ResponseBuilder::new().description("A range of the body.");
    let response = with_headers(response, &ENTRY);
    with_headers(response, &["Content-Range", "Accept-Ranges"])
        .content("application/octet-stream", content(binary()))
}

fn unchanged() -> ResponseBuilder {
    let response = ResponseBuilder::new().description("The item is still of this version.");
    with_headers(response, &ENTRY)
}

fn stored(links: &Links) -> Answers {
    let mut all = errors(&[409, 410, 412, 422]);
    for (status, what) in [
        (200, "The item took the place of another."),
        (201, "The item is new."),
    ] {
        all.extend(success(status, leading(entry(what), links)));
    }
    all
}

fn entry(what: &str) -> ResponseBuilder {
    with_headers(json::<holdall_wire::EntryShape>(what), &ENTRY)
}

fn lines() -> ResponseBuilder {
    let response = ResponseBuilder::new().description(
        "Lines of JSON, one for each item, and at last `{\"end\":true}`, with `next` where there may be more. A page whose last line is another was cut off.",
    );
    with_headers(response, &["Cache-Control"])
        .content(names::LINES_TYPE, sequence::<Line>(names::LINES_TYPE))
}

fn events() -> ResponseBuilder {
    const KIND: &str = "text/event-stream";
    let response = ResponseBuilder::new().description(
        "Events `put`, `delete` and `dropped`, each with a change as its data, and `error` with a problem, which is the end.",
    );
    with_headers(response, &["Cache-Control"])
        .content(KIND, sequence::<holdall_wire::ChangeShape>(KIND))
}
