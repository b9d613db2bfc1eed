//! The shapes of Holdall's HTTP protocol, as `docs/http.md` tells them: what the
//! server and the backend `http:` have in common.
//!
//! Each shape is what stands on the wire, and turns into what the contract
//! speaks of, or into an error that says what is wrong with it.

mod batch;
mod capabilities;
mod change;
mod entry;
mod events;
mod index;
mod line;
pub mod names;
mod outcome;
mod problem;
mod query;
mod range;
#[cfg(feature = "openapi")]
pub mod schema;

pub use batch::{BatchAnswer, BatchShape, Head, OperationShape, StagedShape};
pub use capabilities::{BatchLimitsShape, CapabilitiesShape};
pub use change::{ChangeShape, Event};
pub use entry::{EntryShape, etag, read_entry, read_etag, write_entry};
pub use events::{Block, Events};
pub use index::{IndexShape, Indexes};
pub use line::{End, Line, MAX_INLINE_BODY, write_absent, write_end, write_item};
pub use outcome::{OutcomeShape, Resolve, Witness};
pub use problem::{Problem, kind_of_status, status_of};
pub use query::{Count, Counts, GetMany, GroupShape, PartsShape, QueryShape};
pub use range::{read_range, write_range};

use holdall_core::{Attrs, Error, Result};

/// Attrs as base64 of their compact form.
pub fn write_attrs(attrs: &Attrs) -> String {
    data_encoding::BASE64.encode(&attrs.encode())
}

/// Reads what [`write_attrs`] wrote.
///
/// # Errors
/// `Invalid` if it is none.
pub fn read_attrs(text: &str) -> Result<Attrs> {
    let bytes = read_base64(text, "the attrs")?;
    Attrs::decode(&bytes).map_err(|error| Error::invalid("the attrs are damaged").because(error))
}

/// Reads a shape.
///
/// # Errors
/// `Invalid` if the JSON is none, or no object: serde takes a list of the
/// members' values, too, which is no part of the protocol.
pub fn read_object<'a, T: serde::Deserialize<'a>>(json: &'a [u8]) -> Result<T> {
    if json.trim_ascii_start().first() != Some(&b'{') {
        return Err(Error::invalid(
            "the JSON is not what this call takes: it takes an object, {…}",
        ));
    }
    serde_json::from_slice(json).map_err(not_taken)
}

fn not_taken(error: serde_json::Error) -> Error {
    Error::invalid("the JSON is not what this call takes").because(error)
}

fn read_base64(text: &str, what: &str) -> Result<Vec<u8>> {
    data_encoding::BASE64
        .decode(text.as_bytes())
        .map_err(|error| Error::invalid(format!("{what} must be base64")).because(error))
}
