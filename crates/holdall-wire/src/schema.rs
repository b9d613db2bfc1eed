//! What stands in the shapes as text or as JSON of the user's, each with its
//! rule, for the OpenAPI document. Nothing makes values of these types.

use serde::{Deserialize, Serialize};
use utoipa::openapi::schema::{KnownFormat, Object, ObjectBuilder, Schema, SchemaFormat, Type};
use utoipa::openapi::{Ref, RefOr};
use utoipa::{PartialSchema, ToSchema};

macro_rules! schema_type {
    ($(#[doc = $doc:literal])* $name:ident, $schema:expr) => {
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug)]
        pub struct $name;

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                let description = concat!($($doc, "\n"),*).replace("\n ", "\n");
                ObjectBuilder::from($schema).description(Some(description.trim())).build().into()
            }
        }

        impl ToSchema for $name {}
    };
}

fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

schema_type! {
    /// The name of a collection: 1 to 128 bytes of UTF-8, without U+0000.
    Collection,
    text()
        .min_length(Some(1))
        .max_length(Some(holdall_core::MAX_COLLECTION))
        .pattern(Some(r"^[^\x00]*$"))
        .examples(["notes"])
}

schema_type! {
    /// The key of an item: 1 to 1024 bytes of UTF-8, without U+0000.
    Key,
    text()
        .min_length(Some(1))
        .max_length(Some(holdall_core::MAX_KEY))
        .pattern(Some(r"^[^\x00]*$"))
        .examples(["hello"])
}

schema_type! {
    /// A version: the id of the write that made it.
    Version,
    text()
        .format(Some(SchemaFormat::Custom("uuid".to_owned())))
        .examples(["0193c1f0-8a2b-7c3d-9e4f-001122334455"])
}

schema_type! {
    /// The id of a batch: a UUIDv7 of now.
    BatchId,
    text()
        .format(Some(SchemaFormat::Custom("uuid".to_owned())))
        .examples(["0193c1f0-8a2b-7c3d-9e4f-001122334455"])
}

schema_type! {
    /// A moment: RFC 3339 with microseconds, in UTC.
    Time,
    text()
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
        .examples(["2026-11-21T09:10:58.000000Z"])
}

schema_type! {
    /// A BLAKE3 digest in hexadecimal.
    Digest,
    text().pattern(Some("^[0-9a-f]{64}$"))
}

schema_type! {
    /// Bytes as base64.
    Base64,
    text().content_encoding("base64")
}

schema_type! {
    /// A document: any JSON object within the limits of docs.
    Doc,
    Object::new()
}

schema_type! {
    /// A filter: a JSON object in the query language, like `{"year":{"$lt":1900}}`.
    Filter,
    Object::new()
}

/// What an operation of a batch does.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Op {
    /// Puts an item.
    Put,
    /// Deletes an item.
    Delete,
    /// Checks the condition alone.
    Check,
}

/// Which values an index holds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum HoldsName {
    /// All values.
    Any,
    /// Nulls.
    Null,
    /// True and false.
    Bool,
    /// Numbers.
    Number,
    /// Strings.
    String,
    /// Arrays.
    Array,
    /// Objects.
    Object,
    /// The words of strings, for `$match`.
    Words,
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum OutcomeName {
    /// It took effect.
    Committed,
    /// It did not, and never will.
    Aborted,
    /// The store cannot tell.
    Unknown,
}

/// Whether the same request again helps.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum RetryName {
    /// It does not.
    No,
    /// It may, later.
    Yes,
    /// The request may have taken effect.
    Unknown,
}

/// The kind of an error.
#[derive(Clone, Copy, Debug)]
pub struct KindName;

impl PartialSchema for KindName {
    fn schema() -> RefOr<Schema> {
        let names = holdall_core::ErrorKind::ALL.map(|kind| kind.name());
        text()
            .description(Some("The kind of an error."))
            .enum_values(Some(names))
            .build()
            .into()
    }
}

impl ToSchema for KindName {}

/// A line of a page: an item, null where there is none of a key, and the end.
#[derive(Clone, Copy, Debug)]
pub struct Line;

impl PartialSchema for Line {
    fn schema() -> RefOr<Schema> {
        let of = |name: &str| RefOr::<Schema>::from(Ref::from_schema_name(name));
        let lines = utoipa::openapi::OneOfBuilder::new()
            .description(Some(
                "A line of a page: an item, null where there is none of a key, and the end.",
            ))
            .item(of("ItemLine"))
            .item(of("End"))
            .item(Object::with_type(Type::Null))
            .build();
        RefOr::T(Schema::OneOf(lines))
    }
}

impl ToSchema for Line {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push(("ItemLine".to_owned(), ItemLine::schema()));
        schemas.push(("End".to_owned(), crate::End::schema()));
        ItemLine::schemas(schemas);
        crate::End::schemas(schemas);
    }
}

/// The line of an item.
#[derive(Debug, ToSchema)]
pub struct ItemLine {
    /// The key.
    #[schema(value_type = Key)]
    pub key: String,
    /// The id of the write that made it.
    #[schema(value_type = Version)]
    pub version: String,
    /// When the item was first put.
    #[schema(value_type = Time)]
    pub created: String,
    /// When this version was put.
    #[schema(value_type = Time)]
    pub modified: String,
    /// The bytes of the body, if there is one.
    #[schema(nullable = false)]
    pub size: Option<u64>,
    /// The digest of the body, if there is one.
    #[schema(value_type = Digest, required = false)]
    pub digest: Option<String>,
    /// What layers keep with the item.
    #[schema(value_type = Base64, required = false)]
    pub attrs: Option<String>,
    /// The body, if it was asked for and has up to 64 KiB.
    #[schema(value_type = Base64, required = false)]
    pub body: Option<String>,
    /// The doc, if it was asked for.
    #[schema(value_type = Doc, required = false)]
    pub doc: Option<String>,
}
