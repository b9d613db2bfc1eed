//! What the fuzz targets check.
//!
//! Each target is a function of any bytes that answers whether these were
//! accepted, and panics where a promise does not hold. `fuzz/` runs them on
//! random input, the tests here replay `fuzz/corpus/` on stable.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a target says what it found"
)]

mod config;
mod cursor;
mod doc;
mod filter;
mod key;
mod order;
mod path;
mod strict;
mod url;
mod wire;

pub use config::config;
pub use cursor::cursor;
pub use doc::doc;
pub use filter::filter;
pub use key::key;
pub use order::order;
pub use path::path;
pub use url::url;
pub use wire::wire;

/// A target: any bytes in, whether they were accepted out.
pub type Target = fn(&[u8]) -> bool;

/// Every target, by the name of its folder in the corpus.
pub const TARGETS: &[(&str, Target)] = &[
    ("config", config),
    ("cursor", cursor),
    ("doc", doc),
    ("filter", filter),
    ("key", key),
    ("order", order),
    ("path", path),
    ("url", url),
    ("wire", wire),
];

fn text(data: &[u8]) -> Option<&str> {
    std::str::from_utf8(data).ok()
}

/// The lines of an input, which must be UTF-8; those that are not there are
/// empty. The last one takes the rest.
fn lines<const N: usize>(data: &[u8]) -> Option<[&str; N]> {
    let mut parts = text(data)?.splitn(N, '\n');
    Some([(); N].map(|()| parts.next().unwrap_or_default()))
}

/// What is refused is refused in one line of a bounded length.
fn refused(error: &holdall_core::Error) {
    let text = error.to_string();
    assert!(text.len() < 5000, "an error of {} bytes", text.len());
    assert!(!text.contains(char::is_control), "{text:?}");
}
