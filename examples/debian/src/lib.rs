//! The list of Debian's packages as JSON lines, in a store, and questions
//! about it. `cargo run -p debian` is the program.

mod answers;
mod import;
mod list_date;
mod record;
mod sample;
mod stanza;

pub use answers::{Package, count_together, declare, matching, of_maintainer, sections};
pub use import::{COLLECTION, import};
pub use list_date::list_date;
pub use record::record;
pub use sample::sample;
pub use stanza::{Stanza, stanzas};
