//! The OpenAPI document, made from the code: each handler says what it takes
//! and answers, and the routes are made of the same words.

mod answers;
mod page;
mod parameters;

pub(crate) use answers::*;
pub(crate) use page::Pages;
pub(crate) use parameters::*;

use holdall_wire::Problem;
use holdall_wire::schema::{Doc, Line};
use utoipa::OpenApi as _;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{OpenApi, RefOr};

/// What is the same for all calls.
#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Holdall",
        description = "A store that many programs and machines share.\n\nAn item has a key in a collection, a JSON doc that queries look into, and a body of any size. Every error is a problem document (RFC 9457).",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    tags(
        (name = "Items", description = "One item: read, put, deleted. Versions are ETags."),
        (name = "Batches", description = "Several items at once, all or nothing, and what became of a write."),
        (name = "Many items", description = "Pages of items as lines of JSON, and counts."),
        (name = "Collections", description = "Collections and their indexes."),
        (name = "Transactions", description = "Reads and writes over several requests. The commit is one conditional batch; nothing is locked."),
        (name = "Watching", description = "Changes as server-sent events."),
        (name = "About", description = "What the server says of itself."),
    ),
    components(schemas(
        Problem, Doc, Line, holdall_wire::ChangeShape, holdall_wire::EntryShape,
        holdall_wire::StagedShape, holdall_wire::BatchAnswer, holdall_wire::OutcomeShape,
        holdall_wire::Counts, holdall_wire::CapabilitiesShape, crate::api::Collections,
        crate::api::Begun, crate::api::Committed, crate::api::Well,
    )),
)]
struct Base;

/// What is there before the first route.
pub(crate) fn base() -> OpenApi {
    Base::openapi()
}

/// The document of the routes that were added to [`base`].
pub(crate) fn finish(mut document: OpenApi) -> OpenApi {
    let paths = std::mem::take(&mut document.paths.paths);
    for (path, mut item) in paths {
        if let Some(get) = item.get.as_ref().filter(|get| is_of_items(get)) {
            item.head = Some(head_of(get));
        }
        // The router's way of saying that slashes are part of it.
        document.paths.paths.insert(path.replace("{*", "{"), item);
    }
    let components = document.components.get_or_insert_default();
    answers::define(components);
    let scheme = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some(
            "A token, as `holdall token create` shows it once. A server without tokens takes none, and listens on loopback only.",
        ))
        .build();
    components.add_security_scheme("token", SecurityScheme::Http(scheme));
    document.security = Some(vec![
        SecurityRequirement::new("token", [""; 0]),
        SecurityRequirement::default(),
    ]);
    document
}

fn is_of_items(operation: &Operation) -> bool {
    let tags = operation.tags.as_deref().unwrap_or_default();
    tags.iter().any(|tag| tag == "Items")
}

/// HEAD answers as GET does, without the content.
fn head_of(get: &Operation) -> Operation {
    let mut head = get.clone();
    head.summary = Some("Tells of an item without its content".to_owned());
    head.operation_id = head.operation_id.map(|id| id.replace("get", "head"));
    for status in ["206", "416"] {
        head.responses.responses.remove(status);
    }
    for response in head.responses.responses.values_mut() {
        if let RefOr::T(response) = response {
            response.content.clear();
        }
    }
    head
}
